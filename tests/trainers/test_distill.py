"""From real images to a pack in one call, in one go or in pieces."""

import os
import signal

import pytest
import torch

import dsetpack
from dsetpack.formats.errors import FormatError
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.distill import distill
from dsetpack.trainers.loop import Interrupted, Run

SMALL = {
    "parameterization.channels": (3, 2),
    "parameterization.decoders": 2,
    "parameterization.pretrain.steps": 6,
    "parameterization.pretrain_batch": 8,
    "parameterization.encoder_width": 4,
    "schedule.steps": 6,
    "objective.networks": 4,
    "objective.width": 4,
    "evaluation.steps": 4,
    "evaluation.width": 4,
}


@pytest.fixture(scope="module")
def data() -> ImageData:
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (24, 1, 16, 16), generator=g, dtype=torch.uint8)
    return ImageData(x, torch.arange(24) % 3, ("a", "b", "c"), "noise")


def run_small(data, tmp_path, **options):
    return distill(data, settings=SMALL | options.pop("settings", {}), cache=tmp_path / "cache", **options)


def interrupted_at(step: int, phase_calls: list[int]):
    """Send Ctrl-C at a step counted over both phases."""

    def act(done, terms):
        phase_calls.append(done)
        if len(phase_calls) == step:
            os.kill(os.getpid(), signal.SIGINT)

    return Run(on_step=act)


def test_a_pack_with_all_that_it_needs(data, tmp_path):
    out = tmp_path / "x.dpk"
    made = run_small(data, tmp_path, out=out, encoding="int8", seed=3)
    pack = dsetpack.open(out)
    assert len(pack) == len(made)
    card = pack.card
    assert (card.classes, card.shape, card.epoch_rule) == (("a", "b", "c"), (1, 16, 16), "product")
    assert card.space.kind == "normalized"
    provenance = card.provenance
    assert (provenance.dataset, provenance.dataset_digest, provenance.method) == ("noise", data.digest, "kfs")
    assert provenance.settings["seed"] == 3
    assert provenance.settings["inferred"]
    assert provenance.settings["over_parameterisation"] <= 0
    assert provenance.budget_floats == sum(p.numel() for p in made.parts[0].decoder.parameters()) + (
        made.parts[0].sources.numel()
    )
    report = pack.train(dsetpack_network(pack), seed=0)
    assert report["steps"] == 4
    assert (tmp_path / "x.dpk.run" / "match.csv").exists()


def dsetpack_network(pack):
    from dsetpack.trainers.evaluate import fresh

    return fresh(pack, pack.card.recipe, 0)


@pytest.mark.parametrize("step", [3, 6, 7, 10])
def test_interrupted_and_resumed_gives_the_same_pack(data, tmp_path, step):
    """Ctrl-C comes in pre-training, at its end, and in matching."""
    straight = run_small(data, tmp_path)
    folder = tmp_path / "run"
    with pytest.raises(Interrupted):
        run_small(data, tmp_path, folder=folder, run=interrupted_at(step, []))
    if step != 6:
        with pytest.raises(FormatError, match="unfinished run"):
            run_small(data, tmp_path, folder=folder)
    resumed = run_small(data, tmp_path, folder=folder, resume=True)
    assert resumed.to_bytes() == straight.to_bytes()
    assert run_small(data, tmp_path, folder=folder, resume=True).to_bytes() == straight.to_bytes()


def test_seeds_differ_and_other_recipes_are_refused(data, tmp_path):
    folder = tmp_path / "run"
    first = run_small(data, tmp_path, folder=folder, seed=0)
    other = run_small(data, tmp_path, seed=1)
    assert not torch.equal(first.parts[0].sources, other.parts[0].sources)
    with pytest.raises(FormatError, match=r"recipe.parameterization.noise: 0.1 there, 0.2 here"):
        run_small(data, tmp_path, folder=folder, resume=True, settings={"parameterization.noise": 0.2})
    fewer = data.take(torch.arange(21))
    with pytest.raises(FormatError, match="data: sha256"):
        run_small(fewer, tmp_path, folder=folder, resume=True)


def test_memory_fallbacks(data, tmp_path):
    whole = run_small(data, tmp_path)
    pieces = run_small(data, tmp_path, settings={"objective.chunk": 3})
    assert torch.allclose(whole.parts[0].sources, pieces.parts[0].sources, atol=1e-3)
    run_small(data, tmp_path, settings={"objective.share": 0.5})


def test_bad_requests(data, tmp_path):
    with pytest.raises(FormatError, match="no recipe 'kfs-cpus'; nearest is 'kfs-cpu'"):
        distill(data, "kfs-cpus")
    missing = data.take(data.labels < 2)
    with pytest.raises(FormatError, match="no image of class"):
        run_small(missing, tmp_path)
