"""Stages of a continual learner: own images only, one bank, exact resume, and stages that are added later."""

import os
import signal
from dataclasses import replace

import pytest
import torch

import dsetpack
from dsetpack.formats import Reader
from dsetpack.formats.errors import FormatError
from dsetpack.spaces import Normalized, data_digest
from dsetpack.trainers.data import ImageData
from dsetpack.trainers.distill import distill
from dsetpack.trainers.loop import Interrupted, Run
from dsetpack.trainers.parameterizations.images import centred
from dsetpack.trainers.recipe import load_recipe
from dsetpack.trainers.stages import add_stage, distill_stages
from dsetpack.trainers.staging import spread
from tests.support.stage_cases import NAMES, SMALL, STEPS, of
from tests.support.tiny_methods import tiny

STAGES = [[3, 0], [4, 1]]
PAIR = [[0, 3], [1, 4]]
"""The same classes in order; class 2 is in no stage."""


@pytest.fixture(scope="module")
def data() -> ImageData:
    g = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 5
    x = torch.randint(0, 150, (60, 1, 16, 16), generator=g) + 20 * labels[:, None, None, None]
    return ImageData(x.to(torch.uint8), labels, NAMES, "noise")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def made(data, cache):
    return staged(data, cache)


def staged(data, cache, stages=STAGES, **options):
    return distill_stages(data, stages, settings=SMALL | options.pop("settings", {}), cache=cache, **options)


def garbled(data: ImageData, *classes: int) -> ImageData:
    """Replace the images of these classes by others."""
    images = data.images.clone()
    images[of(data, *classes)] = 255 - images[of(data, *classes)].flip(0)
    return replace(data, images=images)


def content(pack: dsetpack.Pack) -> str:
    return Reader(pack.to_bytes()).manifest.content_digest


def same_part(a: dsetpack.Part, b: dsetpack.Part) -> bool:
    banks = [part.decoder.state_dict() for part in (a, b)]
    return torch.equal(a.sources, b.sources) and all(torch.equal(v, banks[1][k]) for k, v in banks[0].items())


def test_parts_stages_and_labels_survive_the_file(data, cache, made, tmp_path):
    assert made.parts[0].decoder is made.parts[1].decoder
    staged(data, cache, out=tmp_path / "x.dpk")
    pack = dsetpack.open(tmp_path / "x.dpk")
    assert pack.parts[0].decoder is pack.parts[1].decoder
    assert [part.stage for part in pack.parts] == [0, 1]
    for part, other, classes in zip(pack.parts, made.parts, PAIR, strict=True):
        assert same_part(part, other)
        assert part.labels.tolist() == [label for label in classes for _ in range(len(part) // 2)]
        assert part.sources.std() > 0.1
    assert pack.card.classes == NAMES
    assert set(pack.labels.tolist()) == {0, 1, 3, 4}
    x, y = pack.decode(range(len(pack)))
    assert x.shape == (len(pack), 1, 16, 16)
    assert torch.equal(y, made.labels)
    with Reader(tmp_path / "x.dpk") as reader:
        assert sum("layers.0.weight" in name for name in reader.manifest.tensors) == 1


def test_the_first_stage_is_an_ordinary_distillation_with_the_papers_milestones(data, cache, made):
    every = distill_stages(data, [range(5)], settings=SMALL, cache=cache)
    by = load_recipe("kfs-cpu", SMALL | {"schedule.milestones": (0.25, 0.75), "schedule.gamma": 0.2})
    assert content(every) == content(distill(data, by, cache=cache))
    schedule = made.card.provenance.settings["schedule"]
    assert (schedule["milestones"], schedule["gamma"]) == ([0.25, 0.75], 0.2)
    assert load_recipe("kfs", {"schedule.milestones": (0.25, 0.75)}).schedule.steps == 20_000
    for asked in (by.model_copy(update={"schedule": by.schedule.model_copy(update={"milestones": (0.5,)})}), None):
        options = {"settings": SMALL | {"schedule.milestones": (0.5,)}} if asked is None else {"recipe": asked}
        pack = distill_stages(data, STAGES[:1], cache=cache, **options)
        assert pack.card.provenance.settings["schedule"]["milestones"] == [0.5]


def test_a_stage_depends_on_its_own_images_and_on_no_later_ones(data, cache, made):
    """Causality, seen from outside: a stage is the same if images that it does not use change."""
    assert content(staged(garbled(data, 2), cache)) == content(made)
    later = staged(garbled(data, 4), cache)
    assert same_part(later.parts[0], made.parts[0])
    assert later.card.space == made.card.space
    assert not torch.equal(later.parts[1].sources, made.parts[1].sources)
    first = distill_stages(data, STAGES[:1], settings=SMALL, cache=cache)
    assert same_part(first.parts[0], made.parts[0])
    # a later stage knows the decoders and the space of stage 0, and no image
    assert content(add_stage(first, garbled(data, 0, 2, 3), STAGES[1], settings=SMALL, cache=cache)) == content(made)


def test_each_stage_reads_its_own_images_only(data, tmp_path, monkeypatch):
    seen: list[str] = []
    raw = ImageData.raw

    def spy(self, index=slice(None)):
        seen.append(data_digest(self.images))
        return raw(self, index)

    monkeypatch.setattr(ImageData, "raw", spy)
    made = staged(data, tmp_path)
    expected = [data_digest(data.images[of(data, *classes)]) for classes in PAIR]
    assert list(dict.fromkeys(seen)) == expected
    assert seen == sorted(seen, key=expected.index)  # stage 0 is never read again
    assert [stage["data"] for stage in made.card.provenance.settings["stages"]] == expected
    assert made.space.model == Normalized.fit(data.images[of(data, *PAIR[0])]).model


def test_decoders_stay_bit_equal_while_codes_learn(data, cache, made, tmp_path):
    first = distill_stages(data, STAGES[:1], settings=SMALL, cache=cache)
    before = {key: value.clone() for key, value in first.parts[0].decoder.state_dict().items()}
    two = add_stage(first, data, STAGES[1], settings=SMALL, cache=cache, folder=tmp_path)
    for pack in (first, two, made):
        for part in pack.parts:
            assert all(torch.equal(value, before[key]) for key, value in part.decoder.state_dict().items())
            assert not any(p.requires_grad for p in part.decoder.parameters())
    state = torch.load(tmp_path / "stage-1" / "match.pt", weights_only=True)["state"]
    assert [len(group["params"]) for group in state["optimizer"]["param_groups"]] == [1]
    started = torch.load(tmp_path / "stage-1" / "pretrain.pt", weights_only=True)["state"]["work"]["decoder"]
    assert all(torch.equal(value, before[key]) for key, value in started.items())
    assert len(first.parts) == 1


def test_a_later_encoder_learns_to_be_decoded_by_the_kept_decoders(data, cache, tmp_path):
    settings = SMALL | {"parameterization.pretrain.steps": 60}
    terms: list[float] = []
    first = distill_stages(data, STAGES[:1], settings=settings, cache=cache)
    run = Run(on_step=lambda step, found: terms.append(found["loss"]))
    add_stage(first, data, STAGES[1], settings=settings, cache=cache, run=run)
    assert sum(terms[50:60]) < 0.9 * sum(terms[:10])


@pytest.mark.parametrize("at", [3, 2 * STEPS, 2 * STEPS + 2, 3 * STEPS + 2])
def test_interrupted_and_resumed_gives_the_same_pack(data, cache, made, tmp_path, at):
    """Ctrl-C in stage 0, at its end, in pre-training of stage 1, and in its matching."""
    calls: list[int] = []

    def act(done, terms):
        calls.append(done)
        if len(calls) == at:
            os.kill(os.getpid(), signal.SIGINT)

    out = tmp_path / "x.dpk"
    with pytest.raises(Interrupted):
        staged(data, cache, out=out, run=Run(on_step=act))
    assert not out.exists()
    with pytest.raises(FormatError, match="unfinished run"):
        staged(data, cache, out=out)
    assert content(staged(data, cache, out=out, resume=True, run=Run(on_step=act))) == content(made)
    assert len(calls) == 4 * STEPS  # no step twice
    assert dsetpack.open(out).to_bytes() == made.to_bytes()
    assert content(staged(data, cache, out=out, resume=True, run=Run(on_step=act))) == content(made)
    assert len(calls) == 4 * STEPS
    assert sorted(path.name for path in (tmp_path / "x.dpk.run").iterdir()) == ["stage-0", "stage-1"]


def test_more_stages_go_on_from_those_that_ended(data, cache, made, tmp_path):
    calls: list[int] = []
    staged(data, cache, STAGES[:1], folder=tmp_path)
    with pytest.raises(FormatError, match="1 of 2 stages have ended"):
        staged(data, cache, folder=tmp_path)
    again = staged(data, cache, folder=tmp_path, resume=True, run=Run(on_step=lambda *_: calls.append(1)))
    assert content(again) == content(made)
    assert len(calls) == 2 * STEPS
    with pytest.raises(FormatError, match="noise: 0.1 there, 0.3 here"):
        staged(data, cache, folder=tmp_path, resume=True, settings={"parameterization.noise": 0.3})
    with pytest.raises(FormatError, match="classes"):
        staged(data, cache, [[3, 0], [2, 1]], folder=tmp_path, resume=True)


def test_another_bank_is_another_run(data, cache, tmp_path):
    options = {"settings": SMALL, "cache": cache}
    first, other = (distill_stages(data, STAGES[:1], seed=seed, **options) for seed in (0, 1))
    add_stage(first, data, STAGES[1], folder=tmp_path, **options)
    with pytest.raises(FormatError, match="bank: sha256"):
        add_stage(other, data, STAGES[1], folder=tmp_path, resume=True, **options)


def test_decoders_count_once(made):
    """16 × 16 images, 2 classes per stage: 512 floats; codes of 3 × 4 × 4; 2 decoders of 3·2·16 + 2 + 2·16 + 1."""
    assert [len(part) for part in made.parts] == [2 * ((512 - 2 * 131) // 96), 2 * (512 // 96)] == [4, 10]
    stages = made.card.provenance.settings["stages"]
    assert [(s["classes"], s["sources"], s["floats"]) for s in stages] == [
        ([0, 3], 2, 4 * 48 + 262),
        ([1, 4], 5, 10 * 48),
    ]
    stored = sum(part.sources.numel() for part in made.parts)
    assert made.card.provenance.budget_floats == stored + 262
    assert [s["over_parameterisation"] for s in stages] == [round(454 / 512 - 1, 6), round(480 / 512 - 1, 6)]
    assert "sources" not in made.card.provenance.settings
    assert made.card.title == "noise, kfs, 1 image per class, 2 stages"


def test_equally_many_codes_on_request(data, cache):
    pack = staged(data, cache, settings={"parameterization.sources": 2})
    assert [len(part) for part in pack.parts] == [4, 4]
    with pytest.raises(FormatError, match="stage 0 of 2 classes: 5 sources per class of .* and 2 decoders of kfs"):
        staged(data, cache, settings={"parameterization.sources": 5})
    settings = SMALL | {"parameterization.sources": 6}
    with pytest.raises(FormatError, match=r"stage 2 of 1 class: 6 sources per class of \[3, 4, 4\] of kfs: 288 floats"):
        add_stage(pack, data, [2], settings=settings, cache=cache)


def test_seeds_differ_between_runs_and_between_stages(data, cache, made):
    assert not torch.equal(staged(data, cache, seed=1).parts[1].sources, made.parts[1].sources)
    twins = replace(
        data, images=torch.cat([data.images[of(data, 0)]] * 5), labels=torch.arange(5).repeat_interleave(12)
    )
    pack = staged(twins, cache, [[0], [1], [2]], settings={"parameterization.sources": 1, "ipc": 2})
    assert not torch.equal(pack.parts[1].sources, pack.parts[2].sources)


@pytest.mark.parametrize(
    ("objective", "on"), [("dm", "images"), ("dm", "upsample"), ("dc", "haba"), ("mtt", "images"), ("frepo", "images")]
)
def test_other_methods_make_a_part_with_its_own_bank_a_stage(data, tmp_path, objective, on):
    changes = {"parameterization.labels": "learned"} if objective == "frepo" else {}
    changes |= {"parameterization.class_wise": True, "parameterization.hallucinators": 1} if on == "haba" else {}
    by = tiny(tmp_path, objective, on, {"schedule.steps": 2, **changes})
    pack = distill_stages(data, STAGES, by, cache=tmp_path, out=tmp_path / "x.dpk")
    stored = dsetpack.open(tmp_path / "x.dpk")
    assert [part.stage for part in stored.parts] == [0, 1]
    hard = stored.labels if objective != "frepo" else stored.labels.argmax(1)
    assert set(hard.tolist()) == {0, 1, 3, 4}
    assert pack.parts[0].decoder is not pack.parts[1].decoder
    x, _ = stored.decode(range(len(stored)))
    assert torch.equal(x, pack.decode(range(len(pack)))[0])
    own = ImageData(data.images[of(data, *PAIR[0])], data.labels[of(data, *PAIR[0])] // 3, ("a", "d"), "own")
    alone = distill(own, by, cache=tmp_path)
    n = len(alone)
    assert torch.equal(x[:n], alone.decode(range(n))[0])  # each stage is what distilling it alone makes
    rates = [stage.get("lr") for stage in pack.card.provenance.settings["stages"]]
    if objective == "mtt":
        assert rates[0] == alone.card.recipe.lr
        assert pack.card.recipe.lr == pytest.approx(sum(rates) / 2)
    else:
        assert rates == [None, None]
    added = add_stage(distill_stages(data, STAGES[:1], by, cache=tmp_path), data, STAGES[1], by, cache=tmp_path)
    assert content(added) == content(pack)
    assert added.card == pack.card


def test_class_wise_decoders_are_those_of_the_class(data, tmp_path):
    by = tiny(tmp_path, "dm", "haba", {"parameterization.class_wise": True, "schedule.steps": 1})
    part = distill_stages(data, STAGES, by, cache=tmp_path).parts[1]
    lists = part.class_decoders
    assert len(lists) == 5
    assert (lists[1], lists[4]) == ((0, 1), (2, 3))


def test_learned_labels_spread_to_what_starts_among_all_classes():
    hard = torch.tensor([0, 1, 1])
    for scale in (None, 0.7):
        wide = spread(centred(hard, 2, scale), (1, 3), 5, scale)
        assert torch.allclose(wide, centred(torch.tensor([1, 3, 3]), 5, scale), atol=1e-6)
        assert wide.sum(1) == pytest.approx([0] * 3, abs=1e-6)
    same = centred(hard, 2)
    assert torch.allclose(spread(same, (0, 1), 2, None), same)


def test_a_selection_has_no_steps_and_works_too(data, cache):
    pack = distill_stages(data, STAGES, "random", ipc=3, cache=cache)
    assert torch.bincount(pack.labels).tolist() == [3, 3, 0, 3, 3]
    raw = pack.space.invert(pack.decode(range(12))[0])
    for image, label in zip(raw, pack.labels.tolist(), strict=True):
        assert (data.raw(of(data, label).nonzero()[:, 0]) - image).abs().amax((1, 2, 3)).min() < 1e-5


WRONG = [
    ([], "no stages"),
    ([[0, 1], []], "stage 1 has no classes"),
    ([[0, 1], [2, 5]], "stage 1: class 5 is unknown; noise has classes 0 to 4"),
    ([[0, -1]], "stage 0: class -1 is unknown"),
    ([[0, 1], [2, 1]], r"stage 1: class 1 \('b'\) is in stage 0 already"),
    ([[0, 0]], r"stage 0: class 0 \('a'\) is in stage 0 already"),
]


@pytest.mark.parametrize(("stages", "message"), WRONG)
def test_stages_that_cannot_be(data, cache, stages, message):
    with pytest.raises(FormatError, match=message):
        staged(data, cache, stages)


def test_nothing_is_computed_before_all_is_checked(data, cache, tmp_path):
    missing = data.take(data.labels != 4)
    with pytest.raises(FormatError, match=r"stage 1: noise has no image of class 4 \('e'\)"):
        staged(missing, cache, out=tmp_path / "x.dpk")
    generator = tiny(tmp_path, "logits", "generator")
    with pytest.raises(FormatError, match="generator in stages: a generator draws images of all classes"):
        distill_stages(data, STAGES, generator, cache=cache, out=tmp_path / "x.dpk")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["tiny.toml"]


def test_what_does_not_fit_a_pack_is_refused(data, cache, made, tmp_path):
    def add(pack=made, found=data, classes=(2,), **options):
        if "recipe" not in options:
            options["settings"] = SMALL | options.get("settings", {})
        return add_stage(pack, found, classes, cache=cache, **options)

    assert [part.stage for part in add().parts] == [0, 1, 2]
    for classes, message in (
        ([1], r"stage 2: class 1 \('b'\) is in stage 1 already"),
        ([], "stage 2 has no classes"),
        ([7], "stage 2: class 7 is unknown"),
    ):
        with pytest.raises(FormatError, match=message):
            add(classes=classes)
    with pytest.raises(FormatError, match="stage 2: noise has no image of class 2"):
        add(found=data.take(data.labels != 2))
    with pytest.raises(FormatError, match="all stages have the same list of classes"):
        add(found=replace(data, classes=tuple("vwxyz")))
    with pytest.raises(FormatError, match=r"images of shape \[1, 12, 16\], the pack of \[1, 16, 16\]"):
        add(found=replace(data, images=data.images[:, :, 2:14]))
    with pytest.raises(FormatError, match="pixel space is raw, the pack's is normalized"):
        add(settings={"space": "raw"})
    with pytest.raises(FormatError, match="decoders=2.*decoders=3"):
        add(settings={"parameterization.decoders": 3})
    plain = distill_stages(data, [[0, 1]], tiny(tmp_path, "dm", "images", {"schedule.steps": 1}), cache=cache)
    with pytest.raises(FormatError, match="no decoders of kind kfs to learn codes for, only parts of images"):
        add(pack=plain)
    with pytest.raises(FormatError, match="epoch rule paired, the pack has hard ones and product"):
        add(recipe=tiny(tmp_path, "dm", "haba"))


def test_a_stored_pack_takes_a_stage(data, cache, made, tmp_path):
    staged(data, cache, STAGES[:1], out=tmp_path / "first.dpk")
    opened = dsetpack.open(tmp_path / "first.dpk")
    two = add_stage(opened, data, STAGES[1], settings=SMALL, cache=cache, out=tmp_path / "two.dpk", encoding="int8")
    assert two.to_bytes() == made.to_bytes()
    assert len(dsetpack.open(tmp_path / "two.dpk").parts) == 2
    assert len(dsetpack.open(tmp_path / "first.dpk").parts) == 1
