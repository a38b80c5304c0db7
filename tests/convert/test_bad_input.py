"""Every fault in a source gives one clear error that names the file and the field, and no code runs."""

from __future__ import annotations

import numpy as np
import pytest
import safetensors.torch
import torch

from dsetpack import Normalized, NormalizedSpace
from dsetpack.convert import convert, detect
from dsetpack.formats import DsetpackError, FormatError, Limits
from tests.support import release_layouts as made
from tests.support.bad_sources import SPACE, X, Y, refused


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".npy", ".pt"])
@pytest.mark.parametrize("seed", range(6))
def test_damaged_files_give_a_pack_or_one_clear_error(tmp_path, suffix, seed):
    """Any byte may be wrong; there is never another exception, and values are always finite."""
    path = tmp_path / f"x{suffix}"
    if suffix == ".npz":
        np.savez(path, images=X.numpy(), labels=Y.numpy())
    elif suffix == ".npy":
        np.save(path, Y.numpy())
        torch.save(X, tmp_path / "alone.pt")
    elif suffix == ".safetensors":
        safetensors.torch.save_file({"images": X, "labels": Y}, path)
    else:
        torch.save([X, Y], path)
    rng, whole = np.random.default_rng(seed), path.read_bytes()
    for _ in range(12):
        damaged = bytearray(whole)
        for place in rng.integers(0, min(len(whole), 1200), rng.integers(1, 4)):
            damaged[place if rng.random() < 0.5 else -1 - place % len(whole)] = rng.integers(256)
        path.write_bytes(damaged)
        source, labels = (tmp_path / "alone.pt", path) if suffix == ".npy" else (path, None)
        try:
            pack = convert(source, space=SPACE, labels=labels, limits=Limits(total=1 << 20))
        except DsetpackError:
            continue
        assert bool(pack.decode([0])[0].isfinite().all())


def test_a_rate_is_a_number_or_none(tmp_path):
    torch.save([X, Y], tmp_path / "x.pt")
    refused(tmp_path / "x.pt", "lr is '0.01'; a number or 'none' expected", lr="0.01")
    assert convert(tmp_path / "x.pt", space=SPACE, lr="None").card.recipe is None


def test_what_nobody_said_is_asked_for(tmp_path):
    made.haba(tmp_path / "haba")
    refused(tmp_path / "haba", "--classes", lr=0.01)
    refused(tmp_path / "haba", "--lr", "learning rate", classes=5)
    refused(tmp_path / "haba", "--space", "zca-kornia", classes=5, lr=0.01, space=None)
    refused(tmp_path / "haba", "equally many", "10", "3 classes", classes=3, lr=0.01)
    made.mtt(tmp_path / "mtt")
    refused(tmp_path / "mtt", "images_best.pt", "--lr")
    refused(tmp_path / "mtt", "images_best.pt", "--space", lr=0.01, space=None)
    made.idc(tmp_path / "run_factor2_cut" / "ipc10")
    refused(tmp_path / "run_factor2_cut" / "ipc10", "data.pt", "--factor", "its folder's name says 2", space=None)
    made.dc(tmp_path / "res_DC_MNIST_ConvNet_1ipc.pt")
    refused(tmp_path / "res_DC_MNIST_ConvNet_1ipc.pt", "2 experiments", "--experiment")
    refused(tmp_path / "res_DC_MNIST_ConvNet_1ipc.pt", "no experiment 7", experiment=7)
    made.dd_ranking(tmp_path / "dd", lr=None)
    refused(tmp_path / "dd", "labels.pt", "softmax", "centred")
    refused(tmp_path / "dd", "--lr", labels="softmax")
    torch.save(X, tmp_path / "alone.pt")
    refused(tmp_path / "alone.pt", "alone.pt", "no labels", "--labels order")
    refused(tmp_path / "alone.pt", "--classes", labels="order")


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (X, Y[:-1], ["pair.pt: labels", "9 labels", "10 images"]),
        (X, Y - 1, ["pair.pt: labels", "-1"]),
        (X, made.noise(10, 5), ["pair.pt: labels", "probabilities", "softmax"]),
        (X, torch.full((10, 5), torch.nan), ["pair.pt: labels", "NaN"]),
        (X, Y + 0.5, ["pair.pt: labels", "float32", "0.5"]),
        (X.masked_fill(X > 2, torch.inf), Y, ["pair.pt: images", "infinite"]),
        (X.long(), Y, ["pair.pt: images", "int64"]),
        (X[0, 0], Y, ["pair.pt: images", "[8, 8]"]),
        (X.to_sparse(), Y, ["pair.pt: images", "to_dense"]),
        (X.to("meta"), Y, ["pair.pt: images", "without values"]),
        (X[:0], Y[:0], ["pair.pt: images", "[0, 3, 8, 8]"]),
        (X.to(torch.complex64), Y, ["pair.pt: images", "complex"]),
        ("x", Y, ["pair.pt: images", "str"]),
        (X[:, :2], Y, ["pair.pt: images", "2 channels"]),
        (X.int(), Y, ["pair.pt: images", "int32", "cast 0..255 to uint8"]),
        (X[:, :, :, :3], Y, ["pair.pt: images", "NCHW (3 channels", "NHWC (3 channels", "--axes"]),
        ((X * 9 + 99).clamp(0, 255), Y, ["pair.pt: images", "pixels in 0..255", "divide them by 255"]),
        (SPACE.apply((X * 9 + 99).clamp(0, 255)), Y, ["pair.pt: images", "pixels in 0..255", "divide them by 255"]),
        (X.byte(), Y, ["pair.pt: images", "8-bit values are raw, not normalized", "leave out"]),
    ],
)
def test_images_and_labels_that_are_none(tmp_path, images, labels, words):
    torch.save([images, labels], tmp_path / "pair.pt")
    refused(tmp_path / "pair.pt", *words)


def test_options_that_do_not_fit_the_source(tmp_path):
    made.mtt(tmp_path)
    refused(tmp_path, "factor", "idc", factor=2, lr=1.0)
    refused(tmp_path, "experiment", experiment=0, lr=1.0)
    refused(tmp_path, "labels='order'", labels="order", classes=5, lr=1.0)
    refused(tmp_path, "class numbers already", labels="softmax", lr=1.0)
    refused(tmp_path, "labels up to 4 for 3 classes", classes=3, lr=1.0)
    refused(tmp_path, "lr", lr=-1.0)
    refused(tmp_path, "no layout 'mta'", "idc", layout="mta")
    refused(tmp_path, "nothing.npy", "no such file", labels=tmp_path / "nothing.npy", lr=1.0)
    refused(tmp_path, "sometimes", "uncentred", labels="sometimes", lr=1.0)
    refused(tmp_path / "gone", "gone", "no such file or folder")
    made.idc(tmp_path / "idc")
    refused(tmp_path / "idc", "data.pt: images", "raw", "not normalized", factor=2)
    refused(tmp_path / "idc", "factor 7", factor=7, space=None)
    made.haba(tmp_path / "haba")
    refused(tmp_path / "haba", "images are NCHW, not NHWC", "leave out", axes="NHWC", classes=5, lr=1.0)
    refused(tmp_path / "haba", "no alpha channel", "leave out", drop_alpha=True, classes=5, lr=1.0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="in no layout known here.*haba: a folder with"):
        detect(tmp_path / "empty")


def test_a_space_of_another_size_is_refused(tmp_path):
    made.mtt(tmp_path)
    grey = Normalized(NormalizedSpace(mean=(0.5,), std=(0.5,)))
    refused(tmp_path, "images_best.pt", "3 channels", space=grey, lr=1.0)
