"""The plot ``docs/continual.png``: mean accuracy after each stage of ``measure/continual.py``."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.cases.continual import METHODS, NAMES, NETS, REAL


def draw(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Draw the mean accuracy after each stage: a panel per network, and in it a curve per method.

    There are no error bars: before the last stage, a deviation tells which classes came first, not how certain a
    difference is.

    Raises:
        click.UsageError: if matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise click.UsageError(f"--plot needs matplotlib ({error}): pip install matplotlib") from error
    nets = [net for net in NETS if any(r["net"] == net for r in rows)]
    figure = Figure(figsize=(4.2 * len(nets) + 2.4, 3.6), layout="constrained")
    panels = figure.subplots(1, len(nets), squeeze=False, sharey=True)[0]
    for net, axes in zip(nets, panels, strict=True):
        for method in METHODS:
            curves = [[s["accuracy"] for s in r["stages"]] for r in rows if (r["method"], r["net"]) == (method, net)]
            if not curves:
                continue
            means = [100 * statistics.fmean(values) for values in zip(*curves, strict=True)]
            seen = [2 * (stage + 1) for stage in range(len(means))]
            style = "--" if method in (*REAL, "all") else "-"
            axes.plot(seen, means, style, marker=".", color=f"C{METHODS.index(method)}", label=NAMES[method])
        axes.set(title=net, xlabel="classes seen", xticks=[2, 4, 6, 8, 10])
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("accuracy on them, %")
    lines = {line.get_label(): line for axes in panels for line in axes.lines}
    figure.legend(lines.values(), lines.keys(), loc="outside right center", fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
