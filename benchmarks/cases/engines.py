"""The engines of ``measure/engines.py``, and what runs one model in one of them.

    python benchmarks/cases/engines.py ENGINE MODEL BATCHES RESULTS

The Python of the engine's own environment runs this file, so it imports neither dsetpack nor torch, and no engine
before it is asked for. MODEL is an ONNX file, BATCHES an .npz with ``NAME/index``, ``NAME/noise``, ``NAME/image`` and
``NAME/label`` for each batch. RESULTS gets one line of JSON per batch, at once: if the engine takes the process down,
what was there before stays.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
Run = Callable[[Arrays], "list[np.ndarray]"]
"""From the inputs of a batch, in the order of the model's, to images and labels."""
SHARED = ("numpy==2.4.6", "onnx==1.23.2")
RUNTIME = "onnxruntime==1.32.0"
TOLERANCE = 1e-5
"""The largest error of an image that is right, as a share of the range of all of the batch's."""
OUTPUTS = ["image", "label"]
LONGEST = 300
"""Characters of a message that are kept."""


@dataclass(frozen=True)
class Engine:
    """An engine, or a tool that changes a model before onnxruntime runs it.

    Attributes:
        title: its name for people.
        pins: what its environment has, besides ``SHARED``.
        load: from the path of a model to a function that runs it.
        fixed: whether it takes a model for one batch size only, which must be written into the file.
    """

    title: str
    pins: tuple[str, ...]
    load: Callable[[Path], Run]
    fixed: bool = False

    @property
    def requirements(self) -> tuple[str, ...]:
        """All of its environment's packages, with versions."""
        named = {pin.partition("==")[0]: pin for pin in (*SHARED, *self.pins)}
        return tuple(named.values())


def onnxruntime(path: Path) -> Run:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda feed: session.run(OUTPUTS, feed)


def openvino(path: Path) -> Run:
    import openvino

    # In float32: by default, processors with AMX compute in bfloat16.
    model = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(feed: Arrays) -> list[np.ndarray]:
        found = model(feed)
        return [np.array(found[name]) for name in OUTPUTS]

    return run


def iree(path: Path) -> Run:
    import iree.compiler.tools
    import iree.runtime

    mlir = path.with_suffix(".mlir")
    importer = Path(sys.executable).parent / "iree-import-onnx"
    told([str(importer), str(path), "-o", str(mlir), "--opset-version", "17"])
    flags = ["--iree-llvmcpu-target-cpu=host"]
    code = iree.compiler.tools.compile_file(
        str(mlir), input_type="onnx", target_backends=["llvm-cpu"], extra_args=flags
    )
    context = iree.runtime.SystemContext(config=iree.runtime.Config("local-task"))
    context.add_vm_module(iree.runtime.VmModule.copy_buffer(context.instance, code))
    function = context.modules.module[graph_name(path)]
    return lambda feed: [np.asarray(found) for found in function(*feed.values())]


def tvm(path: Path) -> Run:
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx

    module = relax.transform.LegalizeOps()(from_onnx(onnx.load(path)))
    machine = relax.VirtualMachine(tvm.compile(module, target="llvm"), tvm.cpu())
    return lambda feed: [found.numpy() for found in machine["main"](*map(tvm.runtime.tensor, feed.values()))]


def reference(path: Path) -> Run:
    from onnx.reference import ReferenceEvaluator

    session = ReferenceEvaluator(str(path))
    return lambda feed: session.run(OUTPUTS, feed)


def opencv(path: Path) -> Run:
    import cv2

    net = cv2.dnn.readNetFromONNX(str(path))

    def run(feed: Arrays) -> list[np.ndarray]:
        for name, values in feed.items():
            net.setInput(values, name)
        return list(net.forward(OUTPUTS))

    return run


def mnn(path: Path) -> Run:
    import MNN
    import MNN.expr

    converted, names = path.with_suffix(".mnn"), [name for name, _ in inputs(path)]
    # What mnnconvert does, but without its ``pip install`` and its statistics, both at every call.
    converter = [sys.executable, "-c", "import sys, _tools; _tools.mnnconvert(['mnnconvert', *sys.argv[1:]])"]
    told([*converter, "-f", "ONNX", "--modelFile", str(path), "--MNNModel", str(converted), "--bizCode", "x"])
    net = MNN.nn.load_module_from_file(str(converted), names, OUTPUTS)

    def given(values: np.ndarray) -> Any:
        whole = values.dtype == np.int64  # MNN has int32 alone
        values = values.astype(np.int32) if whole else values
        kind = MNN.expr.int if whole else MNN.expr.float
        return MNN.expr.const(values.ravel().tolist(), list(values.shape), MNN.expr.NCHW, kind)

    def run(feed: Arrays) -> list[np.ndarray]:
        outputs = net.forward(list(map(given, feed.values())))
        if len(outputs) != len(OUTPUTS):
            raise RuntimeError(f"{len(outputs)} outputs come back, and no exception")
        found = [MNN.expr.convert(value, MNN.expr.NCHW) for value in outputs]
        return [np.array(value.read()).reshape(value.shape) for value in found]

    return run


def tract(path: Path) -> Run:
    import tract

    model = tract.onnx().load(path)
    for number, (_, (kind, shape)) in enumerate(inputs(path)):
        model.set_input_fact(number, ",".join([*map(str, shape), {"int64": "i64", "float32": "f32"}[kind]]))
    runnable = model.into_model().into_runnable()
    return lambda feed: [found.to_numpy() for found in runnable.run(list(feed.values()))]


def onnxslim(path: Path) -> Run:
    import onnxslim

    return changed(path, lambda target: onnxslim.slim(str(path), str(target)))


def pre_process(path: Path) -> Run:
    from onnxruntime.quantization import quant_pre_process

    return changed(path, lambda target: quant_pre_process(str(path), str(target)))


ENGINES = {
    "onnxruntime": Engine("onnxruntime", (RUNTIME,), onnxruntime),
    "onnxruntime-oldest": Engine("onnxruntime", ("onnxruntime==1.20.1",), onnxruntime),
    "openvino": Engine("OpenVINO, float32", ("openvino==2026.4.1",), openvino),
    "tract": Engine("tract", ("tract==0.23.9",), tract, fixed=True),
    "mnn": Engine("MNN", ("mnn==3.6.1",), mnn),
    "opencv": Engine("OpenCV dnn", ("opencv-python-headless==5.0.0.93",), opencv),
    "onnxslim": Engine("onnxslim, then onnxruntime", ("onnxslim==0.1.98", RUNTIME), onnxslim),
    "pre_process": Engine("quant_pre_process, then onnxruntime", (RUNTIME, "sympy==1.14.0"), pre_process),
    "reference": Engine("onnx.reference", (), reference),
    "tvm": Engine("TVM", ("apache-tvm==0.27.0",), tvm),
    "iree": Engine("IREE", ("iree-base-compiler==3.13.0", "iree-base-runtime==3.13.0"), iree),
}
"""The engines and tools by name; the slow ones come last."""


def changed(path: Path, change: Callable[[Path], object]) -> Run:
    """Change a model by a tool, and run it in onnxruntime."""
    target = path.with_suffix(".changed.onnx")
    change(target)
    return onnxruntime(target)


def told(command: list[str]) -> None:
    """Run a command; what it says is the message of the error if it fails."""
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(done.stdout.strip() or f"status {done.returncode}")


def inputs(path: Path) -> list[tuple[str, tuple[str, list[int]]]]:
    """Names, types and shapes of a model's inputs; 0 for an axis of any length."""
    import onnx

    def described(value: Any) -> tuple[str, list[int]]:
        tensor = value.type.tensor_type
        kind = onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type).name
        return kind, [axis.dim_value for axis in tensor.shape.dim]

    return [(value.name, described(value)) for value in onnx.load(path).graph.input]


def graph_name(path: Path) -> str:
    """The name of a model's graph."""
    import onnx

    return onnx.load(path).graph.name


def with_size(path: Path, size: int) -> Path:
    """A copy of a model for batches of one size."""
    import onnx

    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = size
    target = path.with_suffix(f".{size}.onnx")
    onnx.save(model, target)
    return target


def answers(engine: Engine, path: Path, batches: dict[str, Arrays]) -> Iterator[dict[str, Any]]:
    """Run a model on batches, and compare what it makes with what torch made.

    An engine that has run one size and fails on another gets the model anew.

    Yields:
        for each batch its name and ``error``, the largest difference as a share of the range (None if there is none to
        be had), and whether the model was loaded ``anew``; or the ``message`` of an exception.
    """
    loaded = None if engine.fixed else attempt(lambda: engine.load(path))
    for name, batch in batches.items():
        feed = {key: values for key, values in batch.items() if key not in OUTPUTS}
        found = loaded if isinstance(loaded, str) or loaded is None else attempt(lambda: loaded(feed))  # noqa: B023
        anew = engine.fixed or (isinstance(found, str) and callable(loaded))
        if anew:
            fitting = with_size(path, len(batch["index"])) if engine.fixed else path
            found = attempt(lambda: engine.load(fitting)(feed))  # noqa: B023
        yield {
            "batch": name,
            **({"message": found} if isinstance(found, str) else difference(found, batch) | {"anew": anew}),
        }


def attempt(make: Callable[[], Any]) -> Any:
    """What a function returns, or the message of what it raises."""
    try:
        return make()
    except Exception as error:
        return first_line(error)


def difference(found: list[np.ndarray], batch: Arrays) -> dict[str, Any]:
    """How far images and labels are from those that are expected."""
    image, label = (np.asarray(values) for values in found)
    for name, values in (("image", image), ("label", label)):
        if values.shape != batch[name].shape:
            return {"error": None, "message": f"{name} of shape {list(values.shape)}"}
    if not np.allclose(label, batch["label"], rtol=TOLERANCE, atol=0):
        return {"error": None, "message": "labels differ"}
    spread = float(np.ptp(batch["image"])) or 1.0
    error = float(np.abs(image.astype(np.float64) - batch["image"]).max() / spread)
    return {"error": error if np.isfinite(error) else None}


def first_line(error: Exception) -> str:
    """The first line of a message without folders, or the type of an error that has none."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return re.sub(r"(/[\w.+-]+)+/", "", lines[0] if lines else type(error).__name__)[:LONGEST]


def main(engine: str, model: str, given: str, results: str) -> None:
    """Write a line for each batch."""
    batches: dict[str, Arrays] = {}
    with np.load(given) as file:
        for key in file.files:
            batch, name = key.split("/")
            batches.setdefault(batch, {})[name] = file[key]
    with Path(results).open("w", encoding="utf-8") as lines:
        for answer in answers(ENGINES[engine], Path(model), batches):
            lines.write(json.dumps(answer) + "\n")
            lines.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
