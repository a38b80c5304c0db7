"""The README's tables, rendered from ``benchmarks/results/*.json``.

    python benchmarks/tables.py [--check]

Each table stands in README.md between ``<!-- table: NAME -->`` and ``<!-- end -->``; a test checks them.
"""

from __future__ import annotations

import json
import re
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
README = Path(__file__).parents[1] / "README.md"
MARKED = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
Json = dict[str, Any]


def load(name: str) -> Json:
    content: Json = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def where(environment: Json) -> str:
    threads = f", {environment['threads']} thread(s)" if environment["device"] == "cpu" else ""
    device = "CPU" if environment["device"] == "cpu" else environment["device"]
    return (
        f"{device}{threads} ({environment['machine']}, {environment['cores']} cores), torch {environment['torch']}, "
        f"{environment['date'][:10]}, commit {environment['commit']}"
    )


def percent(value: Json) -> str:
    return f"{100 * value['accuracy']:.1f} ± {100 * value['std']:.1f}" if "accuracy" in value else "not measured"


def fashion() -> str:
    results, rows, notes = load("fashion-cpu"), [], []
    for budget in results["budgets"]:
        for row in budget["rows"]:
            real = [f"{row['random_bytes']:,} ({row['random_per_class']} a class)", percent(row["random"])]
            rows.append([str(budget["ipc"]), row["encoding"], f"{row['bytes']:,}", percent(row), *real])
        recipe, papers = budget["recipe"], ", ".join(f"{n} {v}" for n, v in budget["papers"].items())
        notes.append(
            f"- IPC {budget['ipc']}: {budget['floats']:,} floats, {budget['images']:,} images, distilled in "
            f"{budget['distil_seconds'] / 60:.0f} min; every network trains {recipe['steps']} steps of "
            f"{recipe['batch_size']}. Figures of papers (32-bit floats, ConvNet-3 of width 128): {papers}."
        )
        for encoding, cost in budget["cost_points"].items():
            notes.append(
                f"- IPC {budget['ipc']}: {encoding} costs {cost['mean']:+.2f} points against exact, 95% interval "
                f"{cost['low']:+.2f} to {cost['high']:+.2f}, {cost['pairs']} paired seeds."
            )
    head = ["IPC", "encoding", "file bytes", "accuracy, %", "random real images, bytes", "accuracy, %"]
    return "\n".join([table(head, rows), "", *notes, f"- {where(results['environment'])}"])


SIZES = ("kfs-1", "kfs-10", "haba-10", "images-10", "generator-0")
FORMATS = ("dpk", "safetensors", "torch.save", "npz", "h5py+gzip")


def container() -> str:
    results = load("container-cpu")
    shown = [
        r
        for r in results["sizes"]
        if r["case"].endswith(("-exact", "-int8")) and r["case"].startswith(tuple(f"{s}-" for s in SIZES))
    ]
    rows = [
        [r["case"].replace("-learned", ""), *[f"{r[name]:,}" for name in FORMATS], f"{r['overhead']:,}"] for r in shown
    ]
    goals = results["goals"].items()
    notes = [f'- Goal "{name.replace("_", " ")}": ' + _goal(goal) for name, goal in goals]
    head = ["kind, images a class, encoding", *FORMATS, "of ours not zstd payload"]
    return "\n".join([table(head, rows), "", *notes, f"- {where(results['environment'])}"])


def _goal(goal: Json) -> str:
    missed = f"missed by {', '.join(goal['missed_by'])}" if goal["missed_by"] else "met by all"
    return f"worst {goal['worst']:,} bytes, {missed}." if "worst" in goal else f"{missed}."


def decode() -> str:
    results = load("decode-cpu")
    rows = []
    for name, row in results["rows"].items():
        micro = {k: f"{1e6 * row['seconds_per_image'][k]['median']:.1f}" for k in ("pairs", "product", "copy")}
        ratio = {k: f"{v:.1f}×" for k, v in row["times_longer_than_pairs"].items()}
        rows.append([name, micro["pairs"], micro["product"], micro["copy"], ratio["loop"], ratio["loader"]])
    head = [
        "decoder",
        "pairs, µs",
        "product, µs",
        "copying decoded tensors, µs",
        "per-item loop",
        "one `__getitem__` each",
    ]
    released = results["released_haba_way_times_longer"]
    note = f"The released HaBa way takes {released:.1f} times as long. {where(results['environment'])}."
    return "\n".join([table(head, rows), "", note])


def runtime() -> str:
    results, rows = load("runtime-cpu"), []
    for name, run in results["training"].items():
        opened = [1e3 * results["opening"][name][k]["median"] for k in ("open", "open + first batch")]
        share = f"{100 * run['decode_share']:+.2f}%"
        rows.append(
            [
                name,
                *[f"{v:.1f}" for v in opened],
                f"{1e3 * run['pre-decoded']['median']:.0f}",
                share,
                f"{run['ratio']:.3f}",
            ]
        )
    head = [
        "pack",
        "open, ms",
        "open + first batch, ms",
        "training step, ms",
        "decoding instead of copying",
        "steps, ratio",
    ]
    imports = ", ".join(f"`{name}` {1e3 * seconds:.0f} ms" for name, seconds in results["imports"].items())
    return "\n".join([table(head, rows), "", f"{imports}. {where(results['environment'])}."])


def rows_of(name: str) -> list[Json]:
    """The rows of a table of ``reproduce.py``."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted((RESULTS / name).glob("*.json"))]


def points(row: Json) -> float:
    """Mean accuracy in percent."""
    return 100 * statistics.fmean(row["accuracies"])


def spread(row: Json) -> str:
    return percent({"accuracy": statistics.fmean(row["accuracies"]), "std": statistics.stdev(row["accuracies"])})


def methods() -> str:
    found, rows = rows_of("fashion-cpu"), []
    for one in sorted(found, key=lambda one: (one["ipc"], -points(one))):
        random, gain = one["random"], points(one) - 100 * one["random"]["accuracy"]
        name = one["method"] + (f" ({one['objective']})" if one["objective"] not in (None, one["method"]) else "")
        rows.append(
            [
                str(one["ipc"]),
                name,
                f"{one['floats']:,}",
                f"{one['bytes']:,}",
                spread(one),
                f"{percent(random)} ({random['per_class']} a class, {random['bytes']:,})",
                f"{gain:+.1f}",
                f"{one['distil_cpu_seconds'] / 60:.1f}",
            ]
        )
    head = [
        "IPC",
        "method (objective)",
        "floats",
        "file bytes, int8",
        "accuracy, % (3 seeds)",
        "random real images, % (bytes)",
        "gain",
        "core-minutes",
    ]
    commits = sorted({one["environment"]["commit"] for one in found})
    notes = [*goals(found), f"- {where(found[0]['environment'])}; all rows: commits {', '.join(commits)}"]
    return "\n".join([table(head, rows), "", *notes])


def goals(found: list[Json]) -> list[str]:
    """What the rows must show, met or missed."""
    by = {(one["method"], one["ipc"]): one for one in found}
    lines = [
        _gap(f"{method} beats random images of its bytes by 5 points at IPC {ipc}", gap(by, method, ipc), 5.0)
        for method, ipc in (("kfs", 1), ("idc", 1), ("isa", 1), ("haba", 10))
    ]
    lines.append(_gap("haba beats dm's plain images at IPC 10", between(by, ("haba", 10), ("dm", 10)), 0.0))
    return [
        *lines,
        *(
            _gap(f"isa is not 0.5 points below frepo at IPC {ipc}", between(by, ("isa", ipc), ("frepo", ipc)), -0.5)
            for ipc in (1, 10)
        ),
    ]


def gap(by: dict[tuple[str, int], Json], method: str, ipc: int) -> float | None:
    """Points of a method over random images in as many bytes."""
    row = by.get((method, ipc))
    return None if row is None else points(row) - 100 * row["random"]["accuracy"]


def between(by: dict[tuple[str, int], Json], one: tuple[str, int], other: tuple[str, int]) -> float | None:
    """Points of one method over another."""
    return None if one not in by or other not in by else points(by[one]) - points(by[other])


def _gap(name: str, found: float | None, least: float) -> str:
    if found is None:
        return f'- Goal "{name}": not run.'
    return f'- Goal "{name}": {"met" if found >= least else "missed"}, {found:+.1f} points.'


def onnx_decode() -> str:
    results, rows = load("onnx_decode-cpu"), []
    for name, row in results["rows"].items():
        micro = [f"{1e6 * row['seconds_per_image'][way]['median']:.1f}" for way in ("onnx", "torch", "loop")]
        longer = [f"{row['times_longer_than_onnx'][way]:.1f}×" for way in ("torch", "loop")]
        size = f"{row['model_bytes']:,} ({row['model_bytes'] / row['stored_bytes']:.3f}×)"
        rows.append([name, *micro, *longer, size])
    ways = ["`OnnxPack`, µs", "torch, µs", "a call an image, µs", "torch takes", "a call an image takes"]
    versions = f"onnxruntime {results['environment']['onnxruntime']}, {where(results['environment'])}"
    return "\n".join([table(["decoder", *ways, "bytes (of the stored tensors')"], rows), "", f"{versions}."])


def objectives() -> str:
    results = load("objectives-cpu")
    head = ["method", "ours, ms a step", "straightforward, ms", "times longer", "ours, MiB", "straightforward, MiB"]
    missed = [f"{name} (at least {row['goal']:g}×)" for name, row in results["rows"].items() if not row["met"]]
    goal = f"Goal missed by {', '.join(missed)}." if missed else "Goals met by all."
    rows = [[name, *_cost(row)] for name, row in results["rows"].items()]
    note = f"Narrow networks, {results['clock']} time. {goal} {where(results['environment'])}."
    effects = [
        f"- {method} in {exact}: {_effect(results['precision'][method][exact])}"
        for method in ("dm", "kfs")
        for exact in ("bf16", "tf32")
    ]
    return "\n".join([table(head, rows), "", note, "", *effects])


def _cost(row: Json) -> list[str]:
    times = [f"{1e3 * row['seconds'][side]['median']:,.0f}" for side in ("ours", "plain")]
    memory = [
        "not measured" if (size := row["peak_bytes"][side]) is None else f"{size / 2**20:,.0f}"
        for side in ("ours", "plain")
    ]
    low, high = row["quartiles"]
    return [*times, f"{row['times_longer']:.2f} ({low:.2f} to {high:.2f})", *memory]


def _effect(row: Any) -> str:
    """What coarser products do to the loss of a set, against float32 from the same start."""
    if isinstance(row, str):
        return f"{row}."
    return f"the set's loss, in float32, differs by {100 * row['change']:+.2f}% from that by float32."


TABLES: dict[str, Callable[[], str]] = {
    f.__name__: f for f in (fashion, methods, objectives, container, decode, runtime, onnx_decode)
}


def rendered(text: str) -> str:
    """The README with all tables made anew."""
    return MARKED.sub(lambda m: f"{m[1]}{TABLES[m[2]]()}\n{m[3]}", text)


def main() -> int:
    old = README.read_text(encoding="utf-8")
    new = rendered(old)
    if "--check" in sys.argv:
        return int(old != new)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
