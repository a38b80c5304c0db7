"""``dsetpack audit``: how well networks trained on a pack give away which images it was made from."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from dsetpack.cli.options import Names, Sections, data_options, device_option, per_class_option

if TYPE_CHECKING:
    from dsetpack.trainers.audit import Audit, Leak

_NAMES = {
    "threshold": "threshold on the loss",
    "lr": "logistic regression",
    "mlp": "multi-layer perceptron",
    "rf": "random forest",
    "knn": "k nearest neighbours",
}


@click.command(
    "audit",
    cls=Sections,
    sections={
        "Real images": ("data", "root", "axes", "drop_alpha", "count"),
        "Networks": ("seeds", "steps", "real_steps", "real_augment", "device", "per_class"),
        "Attacks": ("attacks",),
        "Output": ("as_json",),
    },
)
@click.argument("file")
@data_options()
@click.option(
    "--count",
    default=10_000,
    show_default=True,
    type=click.IntRange(20),
    metavar="N",
    help="The number of members, and of non-members.",
)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), metavar="N", help="Networks per kind.")
@click.option("--steps", type=click.IntRange(1), metavar="N", help="Steps on FILE; by default the card's recipe.")
@click.option(
    "--real-steps", type=click.IntRange(1), metavar="N", help="Steps on members; by default 100 passes over them."
)
@click.option("--real-augment", is_flag=True, help="Augment members by the card, too, so that networks memorise less.")
@click.option(
    "--attack",
    "attacks",
    multiple=True,
    type=Names(list(_NAMES)),
    help="Only this attack; may be repeated. By default all five.",
)
@device_option
@per_class_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
def command(
    file: str,
    data: str,
    root: Path | None,
    count: int,
    seeds: int,
    steps: int | None,
    real_steps: int | None,
    real_augment: bool,
    attacks: tuple[str, ...],
    device: str,
    per_class: int | None,
    as_json: bool,
    **how: Any,
) -> None:
    """Measure what networks trained on FILE give away.

    The command trains networks on FILE, and on the real images that it was distilled from, and attacks both. The
    attacks guess from a network's output whether an image is one of the real training images (members) or a test image
    (non-members). The command prints their AUC: 0.5 is guessing, 1 gives every member away. The training images of the
    data must be those that FILE was distilled from, as the card's provenance says. All attacks except 'threshold' need
    scikit-learn: pip install 'dsetpack[audit]'.
    """
    import dsetpack
    from dsetpack.loading.device import usable
    from dsetpack.trainers.attacks import ATTACKS
    from dsetpack.trainers.audit import audit, known_members
    from dsetpack.trainers.data import load
    from dsetpack.trainers.real import with_its_space

    target = usable(device)
    pack = dsetpack.open(file, per_class=per_class)
    members, test = load(data, root, "train", **how), load(data, root, "test", **how)
    if not known_members(pack, members):
        click.echo(f"warning: the card of {file} does not pin the real images; {members.name} is assumed", err=True)
    found = audit(
        with_its_space(pack, members),
        members,
        test,
        count=count,
        seeds=seeds,
        steps=steps,
        real_steps=real_steps,
        real_augment=real_augment,
        names=tuple(name for name in ATTACKS if name in attacks or not attacks),
        device=target,
    )
    if as_json:
        facts = {"file": file, "digest": pack.digest, "data": members.name, "known_members": found.known}
        kinds = {"pack": _facts(found.pack), "real": _facts(found.real)}
        click.echo(json.dumps({**facts, "members": found.count, "seeds": seeds, **kinds}, indent=2))
        return
    click.echo(
        f"{file}: attack AUC on {found.count:,} training images of {members.name} (members) and as many test images; "
        f"seeds: {seeds}; 0.5 is guessing"
    )
    _show(found)


def _facts(leak: Leak) -> dict[str, Any]:
    auc = {name: _spread(values) for name, values in leak.auc.items()}
    return {"steps": leak.steps, "accuracy": _spread(leak.accuracy), "auc": auc}


def _spread(values: tuple[float, ...]) -> dict[str, Any]:
    std = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.fmean(values), "std": std, "values": values}


def _show(found: Audit) -> None:
    rows = [("trained on", "the pack", "members")]
    rows += [("steps", f"{found.pack.steps:,}", f"{found.real.steps:,}")]
    rows += [("test accuracy", _percent(found.pack.accuracy), _percent(found.real.accuracy))]
    rows += [(_NAMES[name], _number(values), _number(found.real.auc[name])) for name, values in found.pack.auc.items()]
    for words, pack, real in rows:
        click.echo(f"  {words:<24}{pack:<18}{real}")


def _percent(values: tuple[float, ...]) -> str:
    spread = f" ± {statistics.stdev(values):.2%}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2%}{spread}"


def _number(values: tuple[float, ...]) -> str:
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{spread}"
