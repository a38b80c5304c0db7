"""Exported files: size, precision, metadata, where they come from, and what cannot be exported."""

from __future__ import annotations

import io
import math
import pickle
import re
import subprocess
import sys
import tomllib

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

import dsetpack
from dsetpack import FormatError, LimitError, formats
from dsetpack.cli import main
from dsetpack.formats.card import Card
from dsetpack.formats.errors import DsetpackError, IntegrityError
from dsetpack.formats.manifest import ITEMSIZE
from dsetpack.onnx import OnnxPack, export, exporter
from dsetpack.onnx.exporter import model
from tests.support.onnx_packs import CASES, HABA, KFS, assert_close, mixed, pack_of
from tests.support.paths import ROOT

NODES = 600
"""Bytes of operators that a network of its own may cost."""


@pytest.mark.parametrize(
    ("kind", "config", "sources"),
    [
        ("images", {}, 60),
        ("upsample", {"factor": 2}, 60),
        ("haba", {"decoders": 5}, 60),
        ("haba", {"decoders": 40, "channels": 3}, 10),
        ("kfs", {"decoders": 8, "channels": [12, 9, 6]}, 900),
        ("kfs", {"decoders": 100, "channels": [12, 9, 6], "kernel": 4}, 10),
        ("generator", {"width": 64, "noise": 100}, 0),
    ],
)
@pytest.mark.parametrize("encoding", ["f16", "int8"])
def test_files_are_no_larger_than_what_they_hold(kind, config, sources, encoding):
    data = pack_of(kind, config, (3, 32, 32), sources=sources, encoding=encoding)
    found = model(data)
    held = sum(math.prod(d.shape) * ITEMSIZE[d.dtype] for d in formats.Reader(data).manifest.datasets.values())
    networks = config.get("decoders", 1) if kind in ("haba", "kfs") else 1
    assert len(found) <= 1.1 * held + NODES * networks
    assert all(not t.external_data for t in onnx.load_from_string(found).graph.initializer)


@pytest.mark.parametrize(("encoding", "kind"), [("f16", "FLOAT16"), ("int8", "UINT8"), ("exact", "FLOAT")])
def test_tensors_keep_their_precision(encoding, kind):
    proto = onnx.load_from_string(model(pack_of(*HABA, encoding=encoding)))
    types = {t.name: onnx.TensorProto.DataType.Name(t.data_type) for t in proto.graph.initializer}
    assert {types["/sources"], types["/sigma"]} == {kind}


def test_the_metadata_say_what_it_is():
    data = pack_of(*KFS, epoch_rule="paired", title="tïtle", extra={"a": [1, None]})
    proto = onnx.load_from_string(model(data, "raw"))
    found, reader = {p.key: p.value for p in proto.metadata_props}, formats.Reader(data)
    assert Card.model_validate_json(found["dsetpack.card"], strict=True) == reader.manifest.card
    assert f'"digest":"{reader.digest}"' in found["dsetpack"]
    assert '"epoch_rule":"paired"' in found["dsetpack"]
    assert '"space":"raw"' in found["dsetpack"]


def test_the_same_bytes_each_time():
    assert model(mixed("int8")) == model(mixed("int8"))


def test_from_a_path_bytes_a_file_object_and_a_pack(tmp_path, monkeypatch):
    data, file = pack_of(*KFS, encoding="int8"), tmp_path / "x.dpk"
    file.write_bytes(data)
    expected = model(data)
    for where in (file, str(file), io.BytesIO(data)):
        size = export(where, tmp_path / "x.onnx")
        assert (tmp_path / "x.onnx").read_bytes() == expected
        assert size == len(expected)
    monkeypatch.chdir(tmp_path)
    packs = [dsetpack.open(data), dsetpack.open(file), dsetpack.open("x.dpk"), dsetpack.open(f"file://{file}")]
    monkeypatch.chdir("/")
    for pack in (*packs, packs[0].with_space(packs[0].space), pickle.loads(pickle.dumps(packs[2]))):
        assert pack.to_onnx(tmp_path / "y.onnx") == len(expected)
        assert (tmp_path / "y.onnx").read_bytes() == expected
    in_memory = model(dsetpack.open(data).select(classes=[0]), encoding="int8")
    assert "UINT8" in {
        onnx.TensorProto.DataType.Name(t.data_type) for t in onnx.load_from_string(in_memory).graph.initializer
    }
    found, chosen = OnnxPack(in_memory, threads=1), dsetpack.open(data).select(classes=[0])
    assert len(found) == len(chosen) < len(pack)
    with pytest.raises(FormatError, match="encoding="):
        export(file, tmp_path / "x.onnx", encoding="int8")


def test_a_pack_that_is_no_longer_its_file(tmp_path):
    file, target = tmp_path / "x.dpk", tmp_path / "x.onnx"
    file.write_bytes(pack_of(*KFS, encoding="int8"))
    pack = dsetpack.open(file)
    pack.to_onnx(target)
    before = target.read_bytes()
    for tensor in (pack.parts[0].sources, pack.parts[0].labels, pack.parts[0].decoder.state_dict()["layers.1.bias"]):
        tensor[-1] += 1
        with pytest.raises(FormatError, match=r"x\.dpk: the pack's tensors were changed"):
            pack.to_onnx(target)
        tensor[-1] -= 1
    pack.parts[0].sources[-1] = 7  # as if a user had trained it
    pack.to_onnx(tmp_path / "new.onnx", encoding="exact")
    pairs = range(len(pack))
    assert_close(OnnxPack(tmp_path / "new.onnx", threads=1).decode(pairs)[0], pack.decode(pairs)[0].numpy())
    pack = dsetpack.open(file)
    file.write_bytes(pack_of(*KFS, encoding="f16"))
    with pytest.raises(IntegrityError, match="another file"):
        pack.to_onnx(target)
    file.unlink()
    with pytest.raises(FileNotFoundError):
        pack.to_onnx(target)
    assert target.read_bytes() == before


def test_a_model_does_not_replace_its_pack(tmp_path):
    file = tmp_path / "x.dpk"
    file.write_bytes(pack_of(*KFS))
    (tmp_path / "link.onnx").symlink_to(file)
    before = file.read_bytes()
    for target in (file, tmp_path / "link.onnx"):
        with pytest.raises(FormatError, match="it is what is read here"):
            dsetpack.open(file).to_onnx(target)
        done = CliRunner().invoke(main, ["export", str(file), str(target)])
        assert (done.exit_code, "it is what is read here" in done.output) == (1, True)
    assert file.read_bytes() == before


def test_images_a_class_of_a_generator(tmp_path):
    kind, config, image = CASES["generator 8"]
    with pytest.raises(FormatError, match="per_class="):
        export(pack_of(kind, config, image, per_class=None), tmp_path / "x.onnx")
    export(pack_of(kind, config, image, per_class=None), tmp_path / "x.onnx", per_class=5)
    assert len(OnnxPack(tmp_path / "x.onnx", threads=1)) == 15
    export(pack_of(kind, config, image, per_class=None), tmp_path / "y.onnx", decoder_only=True)
    with pytest.raises(FormatError, match="per_class"):
        export(pack_of(kind, config, image), tmp_path / "x.onnx", per_class=0)


def test_what_cannot_be_exported(tmp_path, monkeypatch):
    data = pack_of(*KFS)
    with pytest.raises(FormatError, match="'grey'"):
        export(data, tmp_path / "x.onnx", space="grey")
    with pytest.raises(DsetpackError, match="x.dpk|bytes"):
        export(data[:-10], tmp_path / "x.onnx")
    singular = {"kind": "zca", "variant": "kornia", "epsilon": 0.1, "fitted_on": "sha256:" + "0" * 64}
    singular |= {"storage": "embed", "mean": "m", "matrix": "w"}
    tensors = {"m": np.zeros(4, np.float32), "w": np.ones((4, 4), np.float32)}
    flat = pack_of("images", {}, (1, 2, 2), space=singular, space_tensors=tensors)
    with pytest.raises(FormatError, match="inverted"):
        export(flat, tmp_path / "x.onnx", space="raw")
    monkeypatch.setattr(exporter, "LARGEST", 100)
    with pytest.raises(LimitError, match="at most 100"):
        export(data, tmp_path / "x.onnx")
    assert not list(tmp_path.iterdir())


def test_a_kind_without_an_onnx_form(monkeypatch):
    known = dsetpack.onnx.kinds.by_name("dsetpack.onnx.kinds", "GRAPH")
    monkeypatch.setattr(dsetpack.onnx.kinds, "by_name", lambda *_: {"images": known["images"]})
    with pytest.raises(FormatError, match="'kfs' cannot be exported.*images"):
        model(pack_of(*KFS))


def test_without_onnx_the_error_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(DsetpackError, match=r"package onnx,.*'dsetpack\[onnx\]'"):
        export(pack_of(*KFS), tmp_path / "x.onnx")


def test_no_extra_brings_both_runtimes():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]

    def brought(extra: str) -> set[str]:
        """The packages of an extra, including those of the extras that it names."""
        found = set()
        for requirement in extras[extra]:
            name, _, rest = re.match(r"([\w-]+)(\[([\w,-]+)\])?", requirement).group(1, 2, 3)
            found |= set().union(*(brought(other) for other in rest.split(","))) if name == "dsetpack" else {name}
        return found

    runtimes = {extra: brought(extra) & {"onnxruntime", "onnxruntime-gpu"} for extra in extras}
    assert all(len(found) <= 1 for found in runtimes.values()), runtimes
    assert {extra for extra, found in runtimes.items() if "onnxruntime-gpu" in found} == {"onnx-gpu"}
    assert runtimes["onnx"] == runtimes["all"] == {"onnxruntime"}
    assert not [r for r in project["dependencies"] if "onnx" in r]


def test_exporting_needs_no_torch(tmp_path):
    (tmp_path / "x.dpk").write_bytes(mixed("int8"))
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from dsetpack.onnx import export\n"
        "export(sys.argv[1], sys.argv[2], space='raw')\n"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path / "x.dpk"), str(tmp_path / "x.onnx")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "x.onnx").read_bytes() == model(mixed("int8"), "raw")
