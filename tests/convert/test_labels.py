"""Labels of converted files in every form: understood, or refused with the remedy."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from PIL import Image

from dsetpack import Raw
from dsetpack.convert import convert
from tests.support import release_layouts as made
from tests.support.bad_sources import refused

X = torch.zeros(10, 1, 4, 4, dtype=torch.uint8)
NUMBERS = torch.tensor([3, 1, 4, 1, 0, 2, 4, 3, 2, 0])
NAMES = ("ant", "bee", "cat", "dog", "emu")
SOFT = torch.softmax(made.noise(10, 1000).double(), 1)


def saved(path, labels, **more):
    if path.suffix == ".npz":
        np.savez(path, images=X.numpy(), labels=np.asarray(labels), **more)
    elif path.suffix == ".safetensors":
        safetensors.torch.save_file({"images": X, "labels": labels}, path)
    else:
        torch.save({"images": X, "labels": labels}, path)
    return path


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
@pytest.mark.parametrize("form", ["float", "half", "column", "one-hot", "one-hot bytes"])
def test_class_numbers_in_other_forms(tmp_path, suffix, form):
    one_hot = F.one_hot(NUMBERS)
    labels = {
        "float": NUMBERS.float(), "half": NUMBERS.half(), "column": NUMBERS[:, None].double(), "one-hot": one_hot,
        "one-hot bytes": one_hot.byte(),
    }[form]  # fmt: skip
    pack = convert(saved(tmp_path / f"x{suffix}", labels.contiguous()))
    assert (pack.labels.tolist(), pack.card.labels.kind) == (NUMBERS.tolist(), "hard")
    assert pack.card.classes == tuple("01234")


@pytest.mark.parametrize("suffix", [".npz", ".pt", "list.pt", ".npy"])
def test_labels_that_are_names(tmp_path, suffix):
    texts = [NAMES[n] for n in NUMBERS]
    if suffix == ".npz":
        path, options = saved(tmp_path / "x.npz", texts), {}
    elif suffix == ".npy":
        np.save(tmp_path / "y.npy", texts)
        torch.save(X, tmp_path / "x.pt")
        path, options = tmp_path / "x.pt", {"labels": tmp_path / "y.npy"}
    else:
        path, options = tmp_path / "x.pt", {}
        torch.save((X, texts) if suffix == "list.pt" else {"images": X, "labels": texts}, path)
    pack = convert(path, **options)
    assert (pack.labels.tolist(), pack.card.classes) == (NUMBERS.tolist(), NAMES)
    turned = convert(path, classes=NAMES[::-1], **options)
    assert (turned.labels.tolist(), turned.card.classes) == ((4 - NUMBERS).tolist(), NAMES[::-1])


def test_a_listing_of_names(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        Image.new("L", (4, 4)).save(tmp_path / name)
    (tmp_path / "labels.csv").write_text("file,label\na.png,dog\nb.png,cat\nc.png,dog\n")
    pack = convert(tmp_path)
    assert (pack.labels.tolist(), pack.card.classes) == ([1, 0, 1], ("cat", "dog"))
    (tmp_path / "labels.csv").write_text("file,label\na.png,dog\nb.png,1\n")
    refused(tmp_path, "labels.csv", "line 2", "'dog'", space=None)


def test_a_list_of_numbers_in_a_torch_file(tmp_path):
    assert convert(saved(tmp_path / "x.pt", NUMBERS.tolist())).labels.tolist() == NUMBERS.tolist()
    refused(saved(tmp_path / "y.pt", [*NUMBERS.tolist()[:-1], "a"]), "y.pt: labels", "list; a tensor expected")


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_probabilities_sum_to_1_within_the_precision_of_their_type(tmp_path, dtype, suffix):
    path = saved(tmp_path / f"x{suffix}", SOFT.to(dtype))
    pack = convert(path)
    assert torch.equal(pack.labels, SOFT.to(dtype).float())
    assert pack.card.labels.model_dump() == {"kind": "soft", "centred": False}


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_rounded_top_k_probabilities(tmp_path, dtype):
    """The five largest of 1000, divided by their sum in half precision: no sum is 1, all are within its precision."""
    top = SOFT.half().topk(5)
    kept = torch.zeros(10, 1000, dtype=torch.float16).scatter_(1, top.indices, top.values / top.values.sum(1, True))
    pack = convert(saved(tmp_path / "x.pt", kept), absent=True)
    assert torch.equal(pack.labels, kept.float())
    rough = (kept.float() * 1.01).to(dtype)
    refused(saved(tmp_path / "y.pt", rough), "sums to 1.01", "renormalised", absent=True, space=None)
    whole = convert(saved(tmp_path / "y.pt", rough), absent=True, labels="renormalised")
    assert torch.allclose(whole.labels.sum(1), torch.ones(10), atol=1e-6)
    assert torch.allclose(whole.labels, rough.float() / rough.float().sum(1, keepdim=True))


def test_probabilities_that_sum_to_less_are_kept_when_said(tmp_path):
    less = SOFT.float() * 0.9
    path = saved(tmp_path / "x.npz", less)
    refused(path, "x.npz: labels", "'probabilities' to keep them", "'renormalised' to divide", space=None)
    kept = convert(path, labels="probabilities")
    assert torch.equal(kept.labels, less)
    assert kept.card.provenance.settings["converted"]["declared"] == {"labels": "probabilities"}
    logits = saved(tmp_path / "y.npz", made.noise(10, 5))
    for rule in ("probabilities", "renormalised"):
        refused(logits, "no probabilities", "softmax", labels=rule, space=None)
    empty = SOFT.float() * (torch.arange(10) != 3)[:, None]
    refused(saved(tmp_path / "z.npz", empty), "row 3 sums to 0", labels="renormalised", space=None)


def test_a_rule_for_a_file_of_labels(tmp_path):
    torch.save(X, tmp_path / "x.pt")
    logits, numbers = made.noise(10, 5), tmp_path / "numbers.npy"
    np.save(tmp_path / "y.npy", logits.numpy())
    refused(tmp_path / "x.pt", "y.npy: labels", "labels='y.npy:softmax'", labels=tmp_path / "y.npy", space=None)
    pack = convert(tmp_path / "x.pt", labels=f"{tmp_path / 'y.npy'}:softmax")
    assert torch.allclose(pack.labels, logits.softmax(1))
    assert pack.card.provenance.settings["converted"]["declared"]["labels"] == "y.npy:softmax"
    np.save(numbers, NUMBERS.numpy() + 1)
    refused(tmp_path / "x.pt", "numbers.npy: labels", "labels='numbers.npy:one-based'", labels=numbers, space=None)
    assert convert(tmp_path / "x.pt", labels=f"{numbers}:one-based").labels.tolist() == NUMBERS.tolist()


def test_rules_that_do_not_fit(tmp_path):
    refused(saved(tmp_path / "x.pt", NUMBERS), "class number 0", "leave out", labels="one-based", space=None)
    refused(saved(tmp_path / "x.pt", NUMBERS), "class numbers already", labels="probabilities", space=None)
    refused(saved(tmp_path / "x.pt", SOFT), "these are soft labels", labels="one-based", space=None)
    refused(saved(tmp_path / "x.pt", NUMBERS.float() + 0.5), "with 3.5, no class number", space=None)
    refused(saved(tmp_path / "x.pt", F.one_hot(NUMBERS) * 2), "row 0 is not one-hot", space=None)
    refused(saved(tmp_path / "x.npz", np.array([b"cat"] * 10)), "x.npz", "numbers expected", space=None)


@pytest.mark.parametrize(("dataset", "classes"), [("svhn", None), ("mnist", None), (None, tuple("0123456789"))])
def test_digits_are_not_moved_by_one(tmp_path, dataset, classes):
    """In SVHN's own files, 10 means the digit 0; moved by one, every digit would have a wrong name."""
    path = saved(tmp_path / "x.pt", torch.arange(1, 11))
    refused(path, "the digit 1", "labels % 10", labels="one-based", space=Raw(), dataset=dataset, classes=classes)


def test_rules_in_any_spelling(tmp_path):
    torch.save(X, tmp_path / "x.pt")
    np.save(tmp_path / "y.npy", made.noise(10, 5).numpy())
    pack = convert(tmp_path / "x.pt", labels=f"{tmp_path / 'y.npy'}:SoftMax")
    assert pack.card.provenance.settings["converted"]["declared"]["labels"] == "y.npy:softmax"
    ordered = convert(tmp_path / "x.pt", labels="Order", classes=5)
    assert ordered.card.provenance.settings["converted"]["declared"]["labels"] == "order"
    assert ordered.labels.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
