"""The tables of accuracies of networks that were trained on packs."""

from __future__ import annotations

import statistics
import tomllib
from collections.abc import Sequence

from benchmarks.cases.continual import NAMES
from benchmarks.cases.recipes import ABLATIONS, ALL
from benchmarks.cases.recipes import TABLES as ROWS
from benchmarks.tables.results import Json, load, percent, rows_of, table, where
from dsetpack.trainers.recipe import load_recipe


def fashion() -> str:
    """KFS on Fashion-MNIST in four encodings, compared with random images in as many bytes."""
    results, rows, notes = load("fashion-cpu"), [], []
    for budget in results["budgets"]:
        for row in budget["rows"]:
            real = [f"{row['random_bytes']:,} ({row['random_per_class']} per class)", percent(row["random"])]
            rows.append([str(budget["ipc"]), row["encoding"], f"{row['bytes']:,}", percent(row), *real])
        trained, papers = budget["recipe"], ", ".join(f"{n} {v}" for n, v in budget["papers"].items())
        notes.append(
            f"- IPC {budget['ipc']}: {budget['floats']:,} floats, {budget['images']:,} images, distilled in "
            f"{budget['distill_seconds'] / 60:.0f} min; every network trains {trained['steps']} steps of "
            f"{trained['batch_size']}. Figures of papers (32-bit floats, ConvNet-3 of width 128): {papers}."
        )
        for encoding, cost in budget["cost_points"].items():
            notes.append(
                f"- IPC {budget['ipc']}: {encoding} costs {cost['mean']:+.2f} points against exact, 95% interval "
                f"{cost['low']:+.2f} to {cost['high']:+.2f}, {cost['pairs']} paired seeds."
            )
    head = ["IPC", "encoding", "file bytes", "accuracy, %", "random real images, bytes", "accuracy, %"]
    return "\n".join([table(head, rows), "", *notes, f"- {where(results['environment'])}"])


def methods() -> str:
    """All methods on Fashion-MNIST, compared with random images in as many bytes."""
    found, rows = rows_of("fashion-cpu"), []
    for one in sorted(found, key=lambda one: (one["row"] == ALL.name, one["ipc"], -points(one))):
        whole = one["row"] == ALL.name
        name = one["method"] + (f" ({one['objective']})" if one["objective"] not in (None, one["method"]) else "")
        rows.append(
            [
                "all" if whole else str(one["ipc"]),
                "all real images, 300 steps" if whole else name,
                f"{one['floats']:,}",
                f"{one['bytes']:,}",
                spread(one),
                *(beside(one) if "random" in one else ["", ""]),
                "" if whole else f"{one['distill_cpu_seconds'] / 60:.1f}",
            ]
        )
    there = {one["row"] for one in found}
    missing = [f"`{row.name}`" for row in ROWS["fashion-cpu"]() if row.name not in there]
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
    unrun = [f"- Not run: {', '.join(missing)}."] if missing else []
    notes = [*goals(found), *unrun, f"- {where(found[0]['environment'])}; all rows: commits {', '.join(commits)}"]
    return "\n".join([table(head, rows), "", *notes])


def beside(row: Json) -> list[str]:
    """The cells of random images in as many bytes, and of the points above them."""
    random = row["random"]
    gain = points(row) - 100 * random["accuracy"]
    return [f"{percent(random)} ({random['per_class']} per class, {random['bytes']:,})", f"{gain:+.1f}"]


def points(row: Json) -> float:
    """Mean accuracy in percent."""
    return 100 * statistics.fmean(row["accuracies"])


def spread(row: Json) -> str:
    """Mean accuracy and standard deviation in percent."""
    return percent({"accuracy": statistics.fmean(row["accuracies"]), "std": statistics.stdev(row["accuracies"])})


def goals(found: list[Json]) -> list[str]:
    """The goals of the rows, and whether they are met."""
    by = {(one["method"], one["ipc"]): one for one in found}
    lines = [
        _gap(f"{method} beats random images in as many bytes by 5 points at IPC {ipc}", gap(by, method, ipc), 5.0)
        for method, ipc in (("kfs", 1), ("idc", 1), ("isa", 1), ("haba", 10))
    ]
    lines.append(_gap("haba beats dm's plain images at IPC 10", between(by, ("haba", 10), ("dm", 10)), 0.0))
    return [
        *lines,
        *(
            _gap(f"isa is at most 0.5 points below frepo at IPC {ipc}", between(by, ("isa", ipc), ("frepo", ipc)), -0.5)
            for ipc in (1, 10)
        ),
    ]


def gap(by: dict[tuple[str, int], Json], method: str, ipc: int) -> float | None:
    """Points of a method above random images in as many bytes; None if it was not run."""
    row = by.get((method, ipc))
    return None if row is None else points(row) - 100 * row["random"]["accuracy"]


def between(by: dict[tuple[str, int], Json], one: tuple[str, int], other: tuple[str, int]) -> float | None:
    """Points of one method above another; None if one of them was not run."""
    return None if one not in by or other not in by else points(by[one]) - points(by[other])


def _gap(name: str, found: float | None, least: float) -> str:
    if found is None:
        return f'- Goal "{name}": not run.'
    return f'- Goal "{name}": {"met" if found >= least else "missed"}, {found:+.1f} points.'


def ablations() -> str:
    """The effects of what each paper calls essential, compared with the effects in the papers."""
    told = tomllib.loads(ABLATIONS.read_text(encoding="utf-8"))["group"]
    found, rows = {(one["group"], one["variant"]): one for one in rows_of("ablations")}, []
    for group in told:
        base, theirs = found.get((group["name"], group["base"])), group["variants"][group["base"]].get("paper")
        for number, (variant, content) in enumerate(group["variants"].items()):
            one, figure, is_base = found.get((group["name"], variant)), content.get("paper"), variant == group["base"]
            rows.append(
                [
                    f"{group['title']} ({group['source']})" if number == 0 else "",
                    variant,
                    spread(one) if one else "not run",
                    f"{points(one) - points(base):+.1f}" if one and base and not is_base else "",
                    f"{figure - theirs:+.1f}" if figure and theirs and not is_base else "",
                ]
            )
    head = ["what", "variant", "accuracy, % (3 seeds)", "effect, points", "the paper's effect, points"]
    commits = sorted({one["environment"]["commit"] for one in found.values()})
    notes = [f"{where(one['environment'])}; all: {', '.join(commits)}." for one in list(found.values())[:1]]
    return "\n".join([table(head, rows), "", *notes])


def cross() -> str:
    """Packs made with ConvNet-3 on other networks, compared with random images in as many bytes."""
    found = rows_of("cross-cpu")
    if not found:
        return "Not run yet."
    sets, nets = (dict.fromkeys(one[key] for one in found) for key in ("pack", "arch"))
    widths = {one["arch"]: one["width"] for one in found}
    by = {(one["set"], one["arch"]): one["accuracies"] for one in found}
    rows = []
    for pack in sets:
        size, per_class = next((one["bytes"], one["per_class"]) for one in found if one["pack"] == pack)
        names = {pack: f"{pack} ({size:,} bytes)", f"random-{pack}": f"random real images, {per_class} per class"}
        rows += [[text, *[_points(by.get((name, net), [])) for net in nets]] for name, text in names.items()]
    seeds = len(found[0]["accuracies"])
    head = ["set", *[f"{net}, width {widths[net]}" for net in nets]]
    return f"{table(head, rows)}\n\n{seeds} networks each, % of the test images. {where(found[0]['environment'])}."


def paper() -> str:
    """The rows of the papers' own tables, which need a GPU; a row that was not run says so."""
    rows, others = [], rows_of("rest")
    for name in ("fashion-paper", "cifar10-paper"):
        found = {one["row"]: one for one in rows_of(name)}
        for row in ROWS[name]():
            figures = load_recipe(row.recipe).figures
            theirs = f"{100 * figures[0].accuracy:.1f} ({figures[0].source})" if figures else "none"
            rows.append([f"`{row.recipe}`", theirs, spread(found[row.name]) if row.name in found else "not run"])
    for one in others:
        figure = one["figures"][0]
        rows.append([f"`{one['recipe']}`", f"{100 * figure['accuracy']:.1f} ({figure['source']})", spread(one)])
    left = f"{len(ROWS['rest']()) - len(others)} further recipes (`--table rest`) were not run."
    return "\n\n".join([table(["recipe", "the paper's, %", "here, %"], rows), left])


def continual() -> str:
    """Accuracy on all classes after the last stage, at the same bytes; a method without rows is left out.

    Raises:
        ValueError: if rows were measured with different settings.
    """
    found = rows_of("continual-fashion-mnist-cpu")
    if not found:
        return "Not run yet."
    if len({(one["steps"], one["batch_size"], one["per_class"]) for one in found}) > 1:
        raise ValueError("rows of continual-fashion-mnist-cpu were trained in several ways: measure all in one")
    nets = [net for net in ("convnet3", "resnet10") if any(one["net"] == net for one in found)]
    last = {(m, n): _last(found, m, n) for m in NAMES for n in nets}
    rows = []
    for method, name in NAMES.items():
        one = next((one for one in found if one["method"] == method), None)
        if one:
            stage = one["stages"][-1]
            cells = [_points([*last[method, net].values()], seeds=True) for net in nets]
            rows.append([name, f"{stage['bytes']:,}", f"{stage['images']:,}", *cells])
    widths = {one["net"]: one["width"] for one in found}
    head = ["memory", "bytes (seed 0)", "images (seed 0)", *[f"{net}, width {widths[net]}, %" for net in nets]]
    gains = [line for net in nets for real in ("random", "herding", "uncompressed") for line in _gains(last, net, real)]
    commits = sorted({one["environment"]["commit"] for one in found})
    told = f"- {where(found[0]['environment'])}; all rows: commits {', '.join(commits)}"
    return "\n".join([table(head, rows), "", *gains, told])


def _last(found: Sequence[Json], method: str, net: str) -> dict[int, float]:
    """Accuracy after the last stage, by seed."""
    own = [one for one in found if (one["method"], one["net"]) == (method, net)]
    return {one["seed"]: one["stages"][-1]["accuracy"] for one in own}


def _gains(last: dict[tuple[str, str], dict[int, float]], net: str, real: str) -> list[str]:
    """Points of each kind of pack above one kind of real images, over the seeds that both have."""
    told = []
    for method in ("kfs", "haba", "dm"):
        ours, theirs = last[method, net], last[real, net]
        if both := sorted(ours.keys() & theirs.keys()):
            gain = 100 * statistics.fmean(ours[seed] - theirs[seed] for seed in both)
            told.append(f"{NAMES[method]} {gain:+.1f} ({len(both)} seed{'s' * (len(both) > 1)})")
    return [f"- {net}, points over {NAMES[real]} (goal: 4): {', '.join(told)}."] if told else []


def _points(values: Sequence[float], *, seeds: bool = False) -> str:
    """Mean and standard deviation in percent, and the number of seeds if asked for."""
    if not values:
        return "not run"
    deviation = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    count = f" ({len(values)} seed{'s' * (len(values) > 1)})" if seeds else ""
    return f"{100 * statistics.fmean(values):.1f}{deviation}{count}"
