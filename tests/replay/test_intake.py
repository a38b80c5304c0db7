"""``ReplayMemory.add_stage``: the recipe runs on the stage's own images and gives what ``distill_stages`` gives."""

from __future__ import annotations

import pytest
import torch

from dsetpack.formats.card import NormalizedSpace
from dsetpack.formats.errors import FormatError
from dsetpack.replay import ReplayMemory
from dsetpack.spaces import Normalized, Raw
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.loop import Interrupted, Run
from dsetpack.trainers.stages import StageData, distill_stages
from tests.support.replay_packs import state
from tests.support.stage_cases import NAMES, SMALL, of

HABA = {
    "parameterization.hallucinators": 2,
    "parameterization.over_parameterisation": 3.0,
    "objective.networks": 2,
    "objective.width": 4,
    "adversary.width": 4,
    "schedule.steps": 2,
    "evaluation.steps": 4,
}
DM = {key: value for key, value in HABA.items() if key.startswith(("objective", "schedule", "evaluation"))}


@pytest.fixture(scope="module")
def data() -> ImageData:
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 5
    x = torch.randint(0, 150, (60, 1, 16, 16), generator=g) + 20 * labels[:, None, None, None]
    return ImageData(x.to(torch.uint8), labels, NAMES, "noise")


@pytest.fixture(scope="module")
def own(data):
    """The images of the classes of two stages."""
    return [data.take(of(data, *classes).nonzero()[:, 0]) for classes in ([0, 3], [1, 4])]


@pytest.fixture
def options(tmp_path):
    return {"settings": SMALL, "cache": tmp_path}


@pytest.mark.slow
def test_kfs_learns_codes_on_the_decoders_of_the_first_stage(data, own, options):
    memory = ReplayMemory("1MB", encoding="exact")
    for images, task in zip(own, ("a", "b"), strict=True):
        memory.add_stage(StageData(images), "kfs-cpu", task=task, **options)
    expected = distill_stages(data, [[0, 3], [1, 4]], "kfs-cpu", **options)
    assert memory.tasks == ("a", "b")
    assert memory.pack.parts[0].decoder is memory.pack.parts[1].decoder
    first, second = memory.pack.parts[0], expected.parts[0]
    assert first.labels.tolist() == second.labels.tolist()
    assert set(memory.targets.tolist()) == {0, 1, 3, 4}
    # Space, means and images come from the stage's own images alone, so the stages are the same.
    assert torch.equal(first.sources, second.sources)
    assert torch.equal(memory.pack.parts[1].sources, expected.parts[1].sources)
    assert memory.pack.card.recipe == expected.card.recipe
    assert len(memory.pack.card.provenance.settings["stages"]) == 2
    memory.add_stage(StageData(data.take(of(data, 2).nonzero()[:, 0])), "kfs-cpu", **options)  # one class alone
    assert memory.tasks == ("a", "b", "2")


@pytest.mark.parametrize(("method", "settings"), [("haba-cpu", HABA), ("dm-cpu", DM)])
def test_other_methods_have_their_own_decoders(method, settings, own, tmp_path):
    memory = ReplayMemory("1MB")
    for images in own:
        memory.add_stage(StageData(images), method, settings=settings, cache=tmp_path, ipc=2)
    assert memory.tasks == ("0", "1")
    assert [part.stage for part in memory.pack.parts] == [0, 1]
    assert len({id(part.decoder) for part in memory.pack.parts}) == (2 if method == "haba-cpu" else 1)


@pytest.mark.parametrize(("encoding", "images"), [("int8", 4), ("exact", 1), ("int4", 8)])
def test_a_stages_budget_in_bytes(encoding, images, own, tmp_path):
    """The budget holds 4 images of 256 pixels for each of 2 classes in 8 bits."""
    memory = ReplayMemory("1MB", encoding=encoding)
    memory.add_stage(StageData(own[0]), "dm-cpu", settings=DM, cache=tmp_path, budget=4 * 256 * 2 + 100)
    assert memory.counts() == {"0": {"a": images, "d": images}}


def test_the_first_stage_is_distilled_in_the_memorys_space(own, options, tmp_path):
    space = Normalized(NormalizedSpace(mean=(0.3,), std=(0.4,)))
    memory = ReplayMemory("1MB", space=space)
    for images in own:
        memory.add_stage(StageData(images), "haba-cpu", settings=HABA, cache=tmp_path, ipc=2)
    assert memory.pack.card.space == space.model
    with pytest.raises(FormatError, match="pixel space is normalized, the given one is raw: .*'space': 'raw'"):
        ReplayMemory("1MB", space=Raw()).add_stage(StageData(own[0]), "haba-cpu", settings=HABA, cache=tmp_path, ipc=2)


def test_a_refused_recipe_says_how_it_fits_the_memorys_space(own, tmp_path):
    memory = ReplayMemory("1MB", classes=NAMES)
    memory.add_arrays(own[0].images, own[0].labels)
    with pytest.raises(FormatError, match="is normalized, the pack's is raw: .*'space': 'raw'"):
        memory.add_stage(StageData(own[1]), "dm-cpu", settings=DM, cache=tmp_path, ipc=2)
    with pytest.raises(FormatError, match="the pixel space is the memory's; settings="):
        memory.add_stage(StageData(own[1]), "dm-cpu", settings=DM, cache=tmp_path, ipc=2, space="raw")
    memory.add_stage(StageData(own[1]), "dm-cpu", settings={**DM, "space": "raw"}, cache=tmp_path, ipc=2)
    assert memory.tasks == ("0", "1")


def test_a_removed_stage_leaves_no_record(data, own, options):
    memory = ReplayMemory("1MB")
    for images in own:
        memory.add_stage(StageData(images), "kfs-cpu", **options)
    _, second = memory.pack.card.provenance.settings["stages"]
    memory.remove("0")
    assert memory.pack.card.provenance.settings["stages"] == [second]
    memory.add_stage(StageData(data.take(of(data, 2).nonzero()[:, 0])), "kfs-cpu", **options)
    assert len(memory.pack.card.provenance.settings["stages"]) == 2
    assert "2 stages" in memory.pack.card.title


def test_progress_is_shown(own, options, capsys):
    ReplayMemory().add_stage(StageData(own[0]), **options, show=True)
    assert "match: 5/5" in capsys.readouterr().err
    ReplayMemory().add_stage(StageData(own[0]), **options)
    assert not capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"recipe": "kfs-cqu"}, "no recipe 'kfs-cqu'"),
        ({"task": "first"}, "'first' is in the memory already"),
        ({"budget": 200}, "less than one image per class, 512 bytes"),
        ({"recipe": "dim-cpu", "settings": {}}, "generator"),
        ({"data": 0}, "is in stage 0 already"),
        ({"settings": {**SMALL, "parameterization.decoders": 3}}, "the pack's decoders are"),
        ({"settings": {**SMALL, "space": "raw"}}, "pixel space"),
    ],
)
def test_what_cannot_be_distilled_changes_nothing(change, message, own, options):
    memory = ReplayMemory()
    memory.add_stage(StageData(own[0]), task="first", **options)
    before = state(memory)
    arguments = {"data": 1, **options, **change}
    with pytest.raises(FormatError, match=message):
        memory.add_stage(StageData(own[arguments.pop("data")]), **arguments)
    assert state(memory)[:3] == before[:3]


def test_what_cannot_fit_is_refused_before_the_work(own, options, monkeypatch):
    monkeypatch.setattr(StageData, "distill_stage", lambda *_, **__: pytest.fail("distilled"))
    with pytest.raises(FormatError, match="the memory '0', '1'"):
        ReplayMemory(classes=2).add_stage(StageData(own[0]), **options)
    with pytest.raises(FormatError, match="the pixel space is the memory's"):
        ReplayMemory().add_stage(StageData(own[0]), **options, space=Raw())
    with pytest.raises(FormatError, match="budget= and ipc="):
        ReplayMemory().add_stage(StageData(own[0]), **options, budget="1MB", ipc=1)
    with pytest.raises(FormatError, match="a budget of 100 bytes does not hold a file, which takes"):
        ReplayMemory(100).add_stage(StageData(own[0]), **options)


def test_a_stage_that_was_stopped_is_not_in_the_memory(own, options):
    def stop(step, terms):
        raise Interrupted(step, None)

    memory = ReplayMemory()
    with pytest.raises(Interrupted):
        memory.add_stage(StageData(own[0]), **options, run=Run(on_step=stop))
    assert memory.tasks == ()
    memory.add_stage(StageData(own[0]), **options)
    assert memory.tasks == ("0",)


def test_a_stage_that_the_budget_does_not_hold_is_refused(own, options):
    memory = ReplayMemory(2000)
    with pytest.raises(FormatError, match="a budget of 2,000 bytes"):
        memory.add_stage(StageData(own[0]), **options)
    assert memory.tasks == ()
