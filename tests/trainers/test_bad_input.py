"""Bad input to distillation: one line that says what was found and what to do, at once, and nothing is lost."""
# ruff: noqa: E501  (commands and the messages they must print, one a line)

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner

import dsetpack
from dsetpack.cli import main
from dsetpack.formats.errors import FormatError
from dsetpack.trainers import objectives, parameterizations
from dsetpack.trainers.data import data_names, load
from dsetpack.trainers.distill import distill
from dsetpack.trainers.matches import pairs
from tests.support.paths import KFS
from tests.support.tiny_methods import COMMON, real, table, tiny

OLD = KFS.read_bytes()
"""What was there before: a pack, which may be replaced."""


@pytest.fixture(autouse=True)
def _where(tmp_path, monkeypatch):
    """A folder with an output file of an earlier run, its own caches, and no data folder unless a test names one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DSETPACK_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("DSETPACK_DATA", raising=False)
    Path("x.dpk").write_bytes(OLD)


def run(*arguments: Any) -> tuple[int, str]:
    done = CliRunner().invoke(main, [str(a) for a in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), repr(done.exception)
    return done.exit_code, done.output


def refused(*arguments: Any, keeps: bytes = OLD) -> str:
    """The one-line error of a command that must fail. The output file is unchanged, and no partial file is left."""
    status, printed = run("distill", *arguments, "--out", "x.dpk")
    assert status == 1, printed
    assert printed.startswith("error: ")
    assert printed.count("\n") == 1, printed
    assert Path("x.dpk").read_bytes() == keeps
    assert not list(Path().rglob("*.dpk-tmp"))
    return printed.removeprefix("error: ").strip()


def arguments(objective: str, on: str, changes: dict[str, Any] | None = None, data: str = "8") -> list[str]:
    """A pair in miniature: ``--recipe``, ``--data`` and ``--set``; data: a path, or the side of shrunk real images."""
    Path("tiny.toml").write_text(COMMON)
    if data.isdigit():
        images = real(int(data))
        data = saved(images.images.numpy(), images.labels.numpy(), name=f"side{data}")
    settings = table(objective, on, changes)
    return ["--recipe", "tiny.toml", "--data", data, *(f"--set={key}={json.dumps(v)}" for key, v in settings.items())]


def saved(images: np.ndarray, labels: np.ndarray, name: str = "data", **more: np.ndarray) -> str:
    """The path of an .npz file with these as training and test images."""
    np.savez(f"{name}.npz", x_train=images, y_train=labels, x_test=images, y_test=labels, **more)
    return f"{name}.npz"


def blank(*shape: int) -> str:
    """Six images of a shape, in three classes."""
    values = np.random.default_rng(0).integers(0, 256, (6, *shape), dtype=np.uint8)
    return saved(values, np.arange(6) % 3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (["--data", "fashion-minst"], "'fashion-minst' is neither a data set known by name .* did you mean 'fashion-mnist'"),
        (["--data", "nowhere.npz"], "'nowhere.npz' is neither .* nor an existing path"),
        (["--recipe", "haba-cifar10-bpc99"], "no recipe 'haba-cifar10-bpc99'; nearest is 'haba-cifar10-"),
        (["--recipe", "mine.toml"], "mine.toml: not a readable recipe"),
        (["--set", 'objective={"name": "dmm"}'], "no objective 'dmm'; nearest is 'dm', all are dc, dm, "),
        (["--set", 'parameterization={"name": "imgs"}'], "no parameterization 'imgs'; nearest is 'images', all are gen"),
        (["--set", "objective.network=convnet9"], "no network 'convnet9'; nearest is 'convnet"),
        (["--set", "objective.widht=8"], "no setting 'objective.widht'; nearest is 'objective.width'"),
        (["--set", "schedule.steps=0"], "setting schedule.steps: .*found 0"),
        (["--set", "parameterization.lr=-1"], "setting parameterization.lr: .*found -1"),
        (["--set", "space=zca"], "setting space: .*found 'zca'"),
    ],
)  # fmt: skip
def test_names_and_values(changed, message):
    assert re.search(message, refused(*arguments("dm", "images"), *changed))
    assert not Path("x.dpk.run").exists()


def test_an_unknown_method():
    message = refused("--method", "habba", "--data", "fashion-sample")
    assert re.search("no method 'habba' with preset cpu; nearest is 'haba', all are .*dim.*isa.*kfs", message)


@pytest.mark.parametrize("name", [name for name in data_names() if name != "fashion-sample"])
def test_a_root_without_the_files(name):
    Path("empty").mkdir()
    there = refused("--data", name, "--root", "empty")
    assert there.startswith(f"{name}: ")
    looked_for = re.findall(r"[\w./-]*\w[.-]\w[\w./-]*", there.removeprefix(f"{name}: "))
    assert looked_for, there  # names of files
    assert "empty" in there
    without = refused("--data", name)
    assert "--root" in without
    assert "no such folder" in refused("--data", name, "--root", "nowhere")


SHAPES: list[tuple[str, str, dict[str, Any], tuple[int, ...], str]] = [
    *((o, "images", {}, (4, 4), "convnet3 halves images 3 times: 4×4 .* is too small, 8 a side") for o in ("dc", "dm", "mtt")),
    *((o, "images", {}, (16, 4), "halves images 3 times: 16×4 .* is too small") for o in ("frepo", "isa")),
    ("dm", "images", {"objective.network": "vgg11"}, (16, 16), "vgg11 halves images 5 times: 16×16 .* is too small, 32 a side"),
    ("dm", "images", {"parameterization.init": "herding"}, (4, 4), "convnet3 halves images 3 times: 4×4"),
    ("logits", "generator", {}, (30, 30), "image size 30×30, expected a square with sides 4·2"),
    ("logits", "generator", {}, (8, 16), "image size 8×16, expected a square"),
    ("logits", "generator", {"parameterization.noise": 3}, (8, 8), "3 noise entries for 3 classes; expected more than 3"),
    ("dm", "haba", {"parameterization.form": "released"}, (2, 2), "released form needs images of at least 3×3, found 2×2"),
    ("dm", "haba", {"parameterization.source_channels": 3}, (8, 8), "source_channels 3, expected 1 or the image's 1"),
    ("dm", "haba", {"parameterization.source_channels": 2}, (3, 8, 8), "source_channels 2, expected 1 or the image's 3"),
    ("dm", "haba", {"parameterization.factor": 4}, (5, 8), "haba: factor 4 does not fit image height 5"),
    ("dc", "upsample", {"parameterization.factor": 3}, (8, 4), "factor 3 does not fit image width 4"),
    ("dm", "images", {}, (), r"images are torch.uint8 \[6\]; expected"),
    ("dm", "images", {}, (8,), r"images are torch.uint8 \[6, 8\]; expected uint8 or float32 \[N, C, H, W\]"),
    ("dm", "images", {}, (0, 8), r"images are torch.uint8 \[6, 1, 0, 8\]; expected"),
    ("dm", "images", {}, (2, 1, 8, 8), r"images are torch.uint8 \[6, 2, 1, 8, 8\]; expected"),
]  # fmt: skip


@pytest.mark.parametrize(("objective", "on", "changes", "shape", "message"), SHAPES)
def test_images_that_do_not_fit_the_method(objective, on, changes, shape, message):
    found = refused(*arguments(objective, on, changes, blank(*shape)))
    assert re.search(message, found), found
    assert not list(Path().rglob("*.pt"))


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.full((6, 8, 8), 0.5), np.arange(5) % 3, "6 images and 5 labels"),
        (np.full((6, 8, 8), 0.5), np.arange(6) / 2, r"labels are float64 \[12\] with 0.5, no class number"),
        (np.full((6, 8, 8), 0.5), np.arange(6) - 1, "class number -1 found; 0 or more expected"),
        (np.full((6, 8, 8), 1.5), np.arange(6) % 3, r"values range from 1.5 to 1.5; expected \[0, 1\]"),
        (np.full((6, 8, 8), np.nan), np.arange(6) % 3, r"expected \[0, 1\] without NaN"),
        (np.full((6, 8, 8), "a"), np.arange(6) % 3, "images are <U1; uint8 or floats expected"),
        (
            np.full((6, 8, 8), 0.5),
            np.arange(6) % 3 * 2,
            "labels 0..4 and none is 1; if that class has no images, declare the classes",
        ),
        (np.full((6, 8, 8), 0.5), np.full(6, 2), "labels 2..2 and none is 0"),
    ],
)
def test_arrays_that_are_no_data(images, labels, message):
    assert re.search(message, refused(*arguments("dm", "images", None, saved(images, labels))))


@pytest.mark.parametrize(("objective", "on"), pairs())
def test_a_class_without_images_is_refused_before_anything_is_learned(objective, on, tmp_path):
    noise = {"parameterization.init": "noise"} if on in ("images", "upsample", "haba") else {}
    missing = real(8).take(real(8).labels != 1)
    with pytest.raises(FormatError, match="fashion-sample has no image of class 1 .'Trouser'"):
        distill(missing, tiny(tmp_path, objective, on, noise), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_class_with_fewer_images_than_the_budget_picks():
    labels = np.array([0, 0, 0, 0, 1])
    names = np.array(["cat", "dog"])
    path = saved(real(8).images[:5].numpy(), labels, classes=names)
    for init in ("random", "k-center"):
        change = {"parameterization.init": init, "parameterization.selection": {"width": 4, "steps": 2}}
        assert re.search("has 1 image of class 'dog'; 2", refused(*arguments("dm", "images", change, path)))


BUDGETS: dict[str, tuple[dict[str, Any], str]] = {
    "images": ({"sources": 3}, "3 sources per class of [1, 8, 8] of images: 576 floats, more than the 384 of 2 images per class: "),
    "upsample": ({"sources": 3}, "3 sources per class of [1, 8, 8] of upsample: 576 floats, more than the 384 of 2 images per class: "),
    "haba": ({"over_parameterisation": 0.0}, "2 sources per class of [1, 8, 8] and 2 decoders of haba: "),
    "kfs": ({"over_parameterisation": 0.0, "decoders": 50}, "2 sources per class of [3, 1, 1] and 50 decoders of kfs: "),
}  # fmt: skip
"""For each parameterization: settings beyond the budget of 2 images of 1×8×8 per class, and the error."""


@pytest.mark.parametrize("on", BUDGETS)
def test_a_budget_smaller_than_the_sources(on):
    changes, message = BUDGETS[on]
    found = refused(*arguments("dm", on, {f"parameterization.{key}": value for key, value in changes.items()}))
    assert found.startswith(message), found
    assert found.endswith("or allow over_parameterisation")
    if on in ("haba", "kfs"):  # not even one fits
        one = {f"parameterization.{key}": value for key, value in (changes | {"sources": None}).items()}
        single = refused(*arguments("dm", on, one), "--ipc", "1")
        assert single.startswith("1 source per class of ")
        assert "more than the 192 of 1 image per class: raise ipc" in single
    assert not Path("x.dpk.run").exists()


def test_a_generator_costs_what_it_costs():
    """Its size does not depend on the budget; only ``sources`` is refused, because it has none."""
    assert set(BUDGETS) == {*parameterizations.known()} - {"generator"}
    assert "a generator stores none" in refused(*arguments("logits", "generator", {"parameterization.sources": 1}))


def test_a_checkpoint_of_another_recipe():
    """It is refused with the settings that differ; the checkpoint and the pack stay."""
    Path("x.dpk").unlink()
    common = arguments("dm", "images")
    assert run("distill", *common, "--out", "x.dpk")[0] == 0
    pack, state = Path("x.dpk").read_bytes(), Path("x.dpk.run/match.pt").read_bytes()
    for changed, difference in (
        (["--set", "parameterization.lr=0.25"], r"recipe.parameterization.lr: 0.05 there, 0.25 here"),
        (["--set", "schedule.steps=11"], r"recipe.schedule.steps: 10 there, 11 here"),
        (["--seed", "1"], r"seed: \d+ there, \d+ here"),
        (["--augment", "dsa"], r"recipe.siamese: None there"),
        (["--data", blank(8, 8)], r"data: sha256:\w+ there, sha256:\w+ here"),
        (["--set", 'objective={"name": "frepo", "width": 4}'], r"recipe.objective.name: dm there, frepo here"),
    ):
        found = refused(*common, *changed, "--resume", keeps=pack)
        assert re.search(f"x.dpk.run/match.pt: a checkpoint of another recipe .*{difference}", found), found
        assert Path("x.dpk.run/match.pt").read_bytes() == state
    assert run("distill", *common, "--out", "x.dpk", "--resume")[0] == 0
    assert Path("x.dpk").read_bytes() == pack
    Path("x.dpk.run/match.pt").write_bytes(state[:1000])
    assert "match.pt: not a readable checkpoint" in refused(*common, "--resume", keeps=pack)


HUGE = 1e30
DIVERGING: list[tuple[str, str, str, str]] = [
    ("dc", "images", "parameterization.lr", "step 1: matching is nan"),
    ("dm", "images", "parameterization.lr", "step 1: matching is nan"),
    ("frepo", "images", "parameterization.lr", "step 1: regression is nan"),
    ("isa", "upsample", "parameterization.lr", "step 1: regression is nan"),
    ("mtt", "images", "parameterization.lr", "step 1: trajectory is nan"),
    ("logits", "generator", "parameterization.lr", "step 1: critic is nan"),
    ("dm", "kfs", "parameterization.lr_decoders", "step 1: matching is nan"),
    ("dm", "haba", "parameterization.lr_hallucinators", "step 1: matching is nan"),
    ("dm", "haba", "adversary.lr", "step 1: cosine is nan"),
    ("dm", "kfs", "parameterization.pretrain_lr", "step 1: reconstruction is nan"),
    ("dm", "images", "parameterization.selection.lr", "step 1: cross_entropy is nan"),
    ("dc", "images", "objective.network_lr", "step 1: matching is nan"),
    ("frepo", "images", "objective.online_lr", "regression is nan"),
    ("logits", "generator", "objective.gan.lr", "step 0: deceit is nan"),
    ("logits", "generator", "objective.lr_network", "step 0: matching is nan"),
    ("mtt", "images", "objective.experts.lr", "expert 0: parameters that are not finite .* lower experts.lr"),
]
"""Objective, parameterization, the learning rate that is too high, and the error."""


@pytest.mark.parametrize(("objective", "on", "rate", "message"), DIVERGING)
def test_a_loss_that_is_nan(objective, on, rate, message):
    """The run stops, names the term, and keeps the last good state; resuming stops at the same step."""
    changes = {"parameterization.init": "herding"} if "selection" in rate else {}
    changes |= {"adversary.width": 4} if "adversary" in rate else {}
    common = arguments(objective, on, {**changes, rate: HUGE})
    found = refused(*common)
    assert re.search(message, found), found
    assert re.search("learning rates|experts.lr", found)
    states = sorted(Path("x.dpk.run").glob("*.pt"))
    kept = [path.read_bytes() for path in states]
    for path in states:
        assert finite(state_of(path))
    assert ("is kept in x.dpk.run" in found) == any(not state_of(path)["finished"] for path in states)
    assert refused(*common, "--resume") == found
    assert [path.read_bytes() for path in states] == kept
    assert sorted(Path("x.dpk.run").glob("*.pt")) == states


def test_every_objective_is_among_them():
    assert {objective for objective, *_ in DIVERGING} == set(objectives.known())


def test_a_last_step_into_infinity_is_seen():
    """Its loss is finite, but the set after it is not."""
    changes = {"schedule.optimizer": "sgd", "parameterization.lr": 3e38, "schedule.steps": 1}
    found = refused(*arguments("dc", "images", changes))
    assert "after step 0: work.synthetic.sources is not finite" in found
    assert not list(Path("x.dpk.run").glob("*.pt"))
    chosen = tiny(Path(), "dc", "images", changes)
    with pytest.raises(dsetpack.DsetpackError, match="work.synthetic.sources is not finite. Lower the learning rates"):
        distill(real(8), chosen, cache="cache")  # the same if nothing is kept


def test_a_pack_is_not_tested_on_images_of_another_shape():
    Path("x.dpk").unlink()
    assert run("distill", *arguments("dm", "images"), "--out", "x.dpk")[0] == 0
    for shape, message in (
        ((9, 9), r"images of \[1, 9, 9\]; the pack makes \[1, 8, 8\]"),
        ((3, 8, 8), r"images of \[3, 8, 8\]; the pack makes \[1, 8, 8\]"),
    ):
        status, printed = run("eval", "x.dpk", "--data", blank(*shape))
        assert status == 1
        assert re.search(message, printed)
    labels = np.arange(6)
    status, printed = run("eval", "x.dpk", "--data", saved(np.zeros((6, 8, 8), np.uint8), labels))
    assert (status, "6 classes; the pack has 3" in printed) == (1, True)


def state_of(path: Path) -> dict[str, Any]:
    return torch.load(path, weights_only=True)["state"]


def finite(state: Any) -> bool:
    """Whether all tensors in a state are finite."""
    if isinstance(state, torch.Tensor):
        return bool(state.isfinite().all())
    inner = state.values() if isinstance(state, dict) else state if isinstance(state, list | tuple) else ()
    return all(map(finite, inner))


@pytest.mark.parametrize(
    ("on", "changes"),
    [
        ("images", {"evaluation.arch": "convnet33"}),
        ("haba", {"adversary.network": "convnet33"}),
        ("generator", {"objective.networks": ["convnet3", "convnet33"]}),
    ],
)
def test_a_network_that_there_is_not_is_refused_before_anything_is_learned(on, changes, tmp_path, monkeypatch):
    monkeypatch.setattr("dsetpack.trainers.job.Job.learn", lambda *_: pytest.fail("learning began"))
    name = {"images": "dm-cpu", "haba": "haba-cpu", "generator": "dim-cpu"}[on]
    with pytest.raises(FormatError, match="no network 'convnet33'; nearest is 'convnet3'"):
        distill(load("fashion-sample"), name, settings=changes, out=tmp_path / "x.dpk")
    assert not (tmp_path / "x.dpk.run").exists()
