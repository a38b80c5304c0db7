"""Torch files that are damaged or hold something else: one clear error, and no code runs."""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict

import numpy as np
import pytest
import torch

from dsetpack.convert import convert
from dsetpack.formats import FormatError, LimitError, Limits
from tests.support import release_layouts as made
from tests.support.bad_sources import SPACE, Runs, X, Y, refused


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, legacy):
    ran, path = tmp_path / "ran", tmp_path / "res_DSA_CIFAR10_ConvNet_1ipc.pt"
    held = {"data": [[X, Y]], "accs_all_exps": Runs(f"touch {ran}")}
    torch.save(held, path, _use_new_zipfile_serialization=not legacy)
    message = refused(path, str(path), "torch.save", kind=FormatError)
    assert legacy or "posix.system" in message
    assert not ran.exists()
    with path.open("rb") as file:  # the file does run code if it is allowed to
        torch.load(file, weights_only=False)
    assert ran.exists()


def test_a_bare_pickle_is_refused_and_not_run(tmp_path):
    ran, path = tmp_path / "ran", tmp_path / "data.pt"
    path.write_bytes(pickle.dumps(Runs(f"touch {ran}"), protocol=2))
    refused(path, str(path), factor=2, space=None)
    assert not ran.exists()


def test_other_objects_are_refused_with_advice(tmp_path):
    path = tmp_path / "net.pt"
    torch.save(torch.nn.Linear(2, 2), path)
    refused(path, str(path), "torch.nn.modules.linear.Linear", "save its tensors again")


def test_accuracies_as_numpy_numbers_are_no_code(tmp_path):
    path, allowed = tmp_path / "res_DM_CIFAR10_ConvNet_2ipc.pt", torch.serialization.get_safe_globals()
    made.dc(path, experiments=1)
    assert torch.serialization.get_unsafe_globals_in_checkpoint(str(path)), "numpy scalars, as in the releases"
    assert len(convert(path, space=SPACE)) == 10
    torch.save({"data": [[X, Y]], "accs": np.zeros(3)}, path)
    refused(path, "numpy", "save its tensors again")
    assert set(torch.serialization.get_safe_globals()) == set(allowed), "nothing of ours stays allowed"


@pytest.mark.parametrize("keep", [0, 10, 200, -300, -1])
def test_a_truncated_torch_file(tmp_path, keep):
    path = tmp_path / "cut.pt"
    torch.save([X, Y], path)
    path.write_bytes(path.read_bytes()[:keep])
    refused(path, str(path))


def test_bases_without_hallucinators(tmp_path):
    made.haba(tmp_path)
    (tmp_path / "weights_best.pt").unlink()
    refused(tmp_path, "images_best.pt", "labels_best.pt", "weights_best.pt", "hallucinators", lr="none")
    refused(tmp_path, "images_best.pt", "without hallucinators", "weights_best.pt", layout="haba", classes=5)
    (tmp_path / "images_best.pt").unlink()
    refused(tmp_path, "images_best.pt", layout="haba")


def _state(**changes):
    net = made.Hallucinator(3, 3, 8)
    state = OrderedDict(
        (f"{n}.{key}", value.detach().clone()) for n in range(2) for key, value in net.state_dict().items()
    )
    for key, value in changes.items():
        name = key.replace("_", ".").replace("n", "", 1)
        if value is None:
            del state[name]
        else:
            state[name] = value
    return state


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n1_scale": None}, ["'1.scale'"]),
        ({"n0_extra": torch.ones(1)}, ["'0.extra'"]),
        ({"n1_enc_bias": torch.ones(4)}, ["1.enc.bias", "[4]", "[3]"]),
        ({"n0_enc_weight": torch.full((3, 3, 3, 3), torch.nan)}, ["0.enc.weight", "NaN"]),
        ({"n1_shift": torch.ones(1, 3, 6, 6, dtype=torch.int64)}, ["1.shift", "int64"]),
    ],
)
def test_hallucinators_that_are_none(tmp_path, changes, words):
    made.haba(tmp_path)
    torch.save(_state(**changes), tmp_path / "weights_best.pt")
    refused(tmp_path, "weights_best.pt", *words, classes=5, lr="none")


def test_hallucinators_without_channels(tmp_path):
    made.haba(tmp_path)
    empty = {"enc_weight": torch.ones(0, 3, 3, 3), "enc_bias": torch.ones(0), "dec_weight": torch.ones(0, 3, 3, 3)}
    empty |= {"scale": torch.ones(1, 0, 6, 6), "shift": torch.ones(1, 0, 6, 6)}
    changes = {f"n{number}_{name}": tensor for number in range(2) for name, tensor in empty.items()}
    torch.save(_state(**changes), tmp_path / "weights_best.pt")
    refused(tmp_path, "weights_best.pt: hallucinators: channels", classes=5, lr="none")


def test_bases_that_do_not_fit(tmp_path):
    made.haba(tmp_path)
    torch.save(made.noise(10, 3, 9, 8), tmp_path / "images_best.pt")
    refused(tmp_path, "images_best.pt", "[3, 9, 8]", "weights_best.pt", "[3, 8, 8]", classes=5, lr="none")
    torch.save(made.noise(10, 3, 8, 8).long(), tmp_path / "images_best.pt")
    refused(tmp_path, "images_best.pt", "int64", classes=5, lr="none")
    torch.save([1, 2], tmp_path / "weights_best.pt")
    refused(tmp_path, "weights_best.pt", "list", "state dict", classes=5, lr="none")


@pytest.mark.parametrize("rate", [torch.ones(2), torch.tensor(-1.0), torch.tensor(float("nan")), "fast", True])
def test_a_learning_rate_that_is_none(tmp_path, rate):
    made.dd_ranking(tmp_path, lr=rate)
    refused(tmp_path, "lr.pt", "learning rate", labels="softmax")


def test_other_things_in_torch_files(tmp_path):
    path = tmp_path / "x.pt"
    for held, words in (
        ({"weights": X}, ["no array of images", "weights"]),
        ([X, Y, Y], ["3 entries"]),
        ({"data": []}, ["'data' is empty"]),
        ({"data": [[X]]}, ["data[0]", "1 entry"]),
        (7, ["int"]),
    ):
        torch.save(held, path)
        refused(path, "x.pt", *words)


def test_a_torch_file_that_unpacks_to_more_than_allowed(tmp_path):
    plain, bomb = tmp_path / "plain.pt", tmp_path / "bomb.pt"
    torch.save([torch.zeros(10, 3, 256, 256), Y], plain)
    with zipfile.ZipFile(plain) as old, zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member))
    assert bomb.stat().st_size < 50_000
    refused(bomb, "bomb.pt", "unpacked", kind=LimitError, limits=Limits(total=1 << 20))
    spread = torch.zeros(1).expand(1 << 12, 3, 1 << 10, 1 << 10)
    torch.save([spread, torch.zeros(1 << 12, dtype=torch.int64)], tmp_path / "spread.pt")
    assert (tmp_path / "spread.pt").stat().st_size < 50_000
    refused(tmp_path / "spread.pt", "spread.pt: images", ".contiguous()")
    for labels in (torch.zeros(1, dtype=torch.int8).expand(1 << 43), torch.zeros(1).expand(10, 1 << 43)):
        torch.save([X, labels], tmp_path / "labels.pt")
        refused(tmp_path / "labels.pt", "labels.pt: labels", ".contiguous()")
    torch.save([torch.zeros(100, 3, 8, 8, dtype=torch.uint8), Y.repeat(10)], tmp_path / "bytes.pt")
    refused(tmp_path / "bytes.pt", "76,800 bytes", kind=LimitError, limits=Limits(total=50_000))
