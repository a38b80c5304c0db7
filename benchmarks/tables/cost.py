"""The tables of bytes and seconds."""

from __future__ import annotations

from typing import Any

from benchmarks.tables.results import Json, load, table, where

SIZES = ("kfs-1", "kfs-10", "haba-10", "images-10", "generator-0")
"""The packs that the container table shows: kind, and sources per class."""
FORMATS = ("dpk", "safetensors", "torch.save", "npz", "h5py+gzip")
"""The file formats that it shows."""


def container() -> str:
    """Bytes of packs, compared with the same tensors in other file formats."""
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
    head = ["kind, images per class, encoding", *FORMATS, "dpk beyond its zstd payload"]
    return "\n".join([table(head, rows), "", *notes, f"- {where(results['environment'])}"])


def _goal(goal: Json) -> str:
    missed = f"missed by {', '.join(goal['missed_by'])}" if goal["missed_by"] else "met by all"
    return f"worst {goal['worst']:,} bytes, {missed}." if "worst" in goal else f"{missed}."


def decode() -> str:
    """Decode times, compared with ways to make images without dsetpack."""
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
    """The cost of a pack in training, compared with decoded tensors."""
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


def onnx_decode() -> str:
    """Decode times of exported packs."""
    results, rows = load("onnx_decode-cpu"), []
    for name, row in results["rows"].items():
        micro = [f"{1e6 * row['seconds_per_image'][way]['median']:.1f}" for way in ("onnx", "torch", "loop")]
        longer = [f"{row['times_longer_than_onnx'][way]:.1f}×" for way in ("torch", "loop")]
        size = f"{row['model_bytes']:,} ({row['model_bytes'] / row['stored_bytes']:.3f}×)"
        rows.append([name, *micro, *longer, size])
    ways = ["`OnnxPack`, µs", "torch, µs", "one call per image, µs", "torch takes", "one call per image takes"]
    versions = f"onnxruntime {results['environment']['onnxruntime']}, {where(results['environment'])}"
    return "\n".join([table(["decoder", *ways, "bytes (of the stored tensors')"], rows), "", f"{versions}."])


def objectives() -> str:
    """Steps of distillation, compared with straightforward implementations, at two sizes."""
    narrow, full = load("objectives-cpu"), load("objectives-cpu-paper-short")
    effects = [
        f"- {method} in {exact}: {_effect(narrow['precision'][method][exact])}"
        for method in ("dm", "kfs")
        for exact in ("bf16", "tf32")
    ]
    return "\n".join(
        [
            *_steps(narrow),
            "",
            *effects,
            "",
            "With the papers' networks and images, a fifth of CIFAR-10's number of images, and 4 of 30 student steps:",
            "",
            *_steps(full),
        ]
    )


def _steps(results: Json) -> list[str]:
    """One run: its table, and the goals that it missed."""
    head = ["method", "ours, ms per step", "straightforward, ms", "times longer", "ours, MiB", "straightforward, MiB"]
    rows = [[name, *_cost(row)] for name, row in results["rows"].items()]
    missed = [f"{name} (at least {row['goal']:g}×)" for name, row in results["rows"].items() if not row["met"]]
    goal = f"Goal missed by {', '.join(missed)}." if missed else "Goals met by all."
    return [
        table(head, rows),
        "",
        f"Size {results['size']}, {results['clock']} time. {goal} {where(results['environment'])}.",
    ]


def _cost(row: Json) -> list[str]:
    """The cells of one method: times, their ratio, and memory."""
    times = [f"{1e3 * row['seconds'][side]['median']:,.0f}" for side in ("ours", "plain")]
    memory = [
        "not measured" if (size := row["peak_bytes"][side]) is None else f"{size / 2**20:,.0f}"
        for side in ("ours", "plain")
    ]
    low, high = row["quartiles"]
    return [*times, f"{row['times_longer']:.2f} ({low:.2f} to {high:.2f})", *memory]


def _effect(row: Any) -> str:
    """How coarser products change the loss of a set, compared with float32 from the same start."""
    if isinstance(row, str):
        return f"{row}."
    return f"the loss of the set, in float32, differs by {100 * row['change']:+.2f}% from that of the float32 run."


def replay_cost() -> str:
    """Training steps with rehearsal from a memory, compared with rehearsal from decoded tensors."""
    results, rows = load("replay_cost-cpu"), []
    for name, run in results["memories"].items():
        added = f"{100 * run['added_by_decoding']:+.2f}%"
        rows.append([name, f"{run['images']:,}", f"{run['bytes']:,}", f"{run['ratio']:.3f}", added])
    head = ["memory of 100 classes", "images", "bytes", "steps, ratio", "decoding instead of copying"]
    return f"{table(head, rows)}\n\n{where(results['environment'])}."
