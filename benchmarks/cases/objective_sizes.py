"""How large everything is in ``measure/objectives.py``, and what that changes in dsetpack's recipes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

NETWORKS = 2
"""The number of different networks of distribution matching; their real means are computed in advance."""
EPOCHS = 3
"""Epochs of the one expert of trajectory matching."""


@dataclass(frozen=True)
class Size:
    """How large everything is.

    Attributes:
        image: the shape of the real images; their pixels are random, since their content does not affect time.
        classes: the number of classes.
        per_class: real images per class.
        width: width of the networks.
        ipc: images per class of plain sets; sources per class of IDC.
        codes: codes per class of KFS.
        bases: bases per class of HaBa.
        matched: real images per class in a step of distribution or gradient matching.
        inner: DC's epochs between two steps.
        idc: IDC's real images per class in a step, and its batches between two steps.
        steps: steps of a student.
        graphs: the number of images whose graphs trajectory matching keeps: its default at the papers' size, and fewer
            in proportion at other sizes.
        online: FRePo's batch of real images.
        generator: width of DiM's generator.
        gan_batch: batch of DiM's GAN.
        batch: batch of DiM's matching.
        learned: batches that a network of DiM learns before a step.
    """

    image: tuple[int, int, int]
    classes: int
    per_class: int
    width: int
    ipc: int
    codes: int
    bases: int
    matched: int
    inner: int
    idc: tuple[int, int]
    steps: int
    graphs: int
    online: int
    generator: int
    gan_batch: int
    batch: int
    learned: int


SIZES = {
    "paper": Size(
        image=(3, 32, 32),
        classes=10,
        per_class=5000,
        width=128,
        ipc=10,
        codes=12,
        bases=9,
        matched=256,
        inner=50,
        idc=(64, 32),
        steps=30,
        graphs=512,
        online=1024,
        generator=196,
        gan_batch=128,
        batch=64,
        learned=16,
    ),
    "cpu": Size(
        image=(3, 32, 32),
        classes=5,
        per_class=400,
        width=32,
        ipc=4,
        codes=9,
        bases=4,
        matched=64,
        inner=10,
        idc=(32, 4),
        steps=8,
        graphs=30,
        online=256,
        generator=32,
        gan_batch=32,
        batch=32,
        learned=4,
    ),
    "tiny": Size(
        image=(3, 16, 16),
        classes=3,
        per_class=12,
        width=4,
        ipc=2,
        codes=2,
        bases=2,
        matched=5,
        inner=2,
        idc=(4, 2),
        steps=3,
        graphs=8,
        online=20,
        generator=6,
        gan_batch=6,
        batch=6,
        learned=2,
    ),
}
SIZES["paper-short"] = replace(SIZES["paper"], per_class=1000, steps=4, graphs=68)
"""``paper`` has the size of CIFAR-10 and the papers' networks, with KFS at IPC 1 and all other methods at IPC 10.
``paper-short``, for a CPU, has a fifth of the real images and 4 of the student's 30 steps; the same share of graphs is
kept. ``tiny`` is for checks."""


# Settings of the recipes by size. Learning rates are low, so that nothing diverges on random images.


def kfs(size: Size) -> dict[str, Any]:
    return {
        "parameterization.sources": size.codes,
        "parameterization.over_parameterisation": 10.0,
        "parameterization.pretrain.steps": 1,
        "objective.width": size.width,
        "objective.networks": NETWORKS,
    }


def kfs_batch(size: Size) -> dict[str, Any]:
    return {**kfs(size), "objective.real_batch": size.matched}


def dm(size: Size) -> dict[str, Any]:
    return {
        "ipc": size.ipc,
        "parameterization.lr": 0.1,
        "objective.width": size.width,
        "objective.networks": NETWORKS,
        "objective.real_batch": size.matched,
    }


def haba(size: Size) -> dict[str, Any]:
    return {
        "ipc": size.bases + 1,
        "parameterization.sources": size.bases,
        "parameterization.over_parameterisation": 10.0,
        "parameterization.lr_bases": 0.1,
        "parameterization.lr_hallucinators": 0.001,
        "objective.width": size.width,
    }


def haba_dm(size: Size) -> dict[str, Any]:
    return {**haba(size), "objective.networks": NETWORKS, "objective.real_batch": None, "adversary": None}


def haba_dm_batch(size: Size) -> dict[str, Any]:
    return {**haba_dm(size), "objective.real_batch": size.matched}


def dc(size: Size) -> dict[str, Any]:
    return {
        "ipc": size.ipc,
        "objective.width": size.width,
        "objective.real_batch": size.matched,
        "objective.outer": 10,
        "objective.inner": size.inner,
    }


def idc(size: Size) -> dict[str, Any]:
    real, inner = size.idc
    return {
        "ipc": size.ipc,
        "parameterization.clip": False,
        "objective.width": size.width,
        "objective.real_batch": real,
        "objective.inner": inner,
    }


def trajectories(size: Size) -> dict[str, Any]:
    """What all variants of trajectory matching share."""
    return {
        "objective.width": size.width,
        "objective.syn_steps": size.steps,
        "objective.graph_images": size.graphs,
        "objective.max_start": 2,
        "objective.experts": {"count": 1, "epochs": EPOCHS, "epoch_steps": 1, "batch": size.matched},
    }


def mtt(size: Size) -> dict[str, Any]:
    return {"ipc": size.ipc, "parameterization.lr": 0.1, **trajectories(size)}


def mtt_graphs(size: Size) -> dict[str, Any]:
    """MTT that keeps all graphs."""
    return {**mtt(size), "objective.graph_images": size.steps * size.classes * size.ipc}


def haba_mtt(size: Size) -> dict[str, Any]:
    return {**haba(size), **trajectories(size), "adversary.width": size.width}


def haba_mtt_graphs(size: Size) -> dict[str, Any]:
    """HaBa on MTT that keeps all graphs."""
    return {**haba_mtt(size), "objective.graph_images": 2 * size.steps * size.classes * size.bases}


def frepo(size: Size) -> dict[str, Any]:
    return {
        "ipc": size.ipc,
        "objective.width": size.width,
        "objective.batch": size.online,
        "schedule.optimizer": "adam",
    }


def dim(size: Size) -> dict[str, Any]:
    return {
        "parameterization.width": size.generator,
        "objective.networks": ["convnet3"],
        "objective.network_width": size.width,
        "objective.gan": {"steps": 1, "batch": size.gan_batch},
        "objective.batch": size.batch,
        "objective.real_steps": size.learned,
    }
