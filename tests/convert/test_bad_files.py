"""Bad arrays, archives, safetensors and folders: one clear error that names the file."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from dsetpack.convert import convert, given_zca
from dsetpack.formats import DsetpackError, FormatError, LimitError, Limits
from tests.support import release_layouts as made
from tests.support.bad_sources import Runs, X, Y, refused


def _npy(shape: tuple[int, ...], dtype: str = "<f4", data: bytes = b"") -> bytes:
    """An ``.npy`` file whose header may lie."""
    header = f"{{'descr': {dtype!r}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (64 - (len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def _zip(path: Path, compression: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(f"{name}.npy", data)
    return path


def test_an_npz_with_objects_is_refused_and_not_run(tmp_path):
    ran, path = tmp_path / "ran", tmp_path / "x.npz"
    np.savez(path, images=np.array([Runs(f"touch {ran}")], dtype=object), labels=Y.numpy())
    refused(path, "x.npz", "'images'", "object array", "np.savez")
    assert not ran.exists()


def test_an_npz_that_declares_more_than_it_holds(tmp_path):
    lies = _zip(tmp_path / "lies.npz", images=_npy((1 << 20, 3, 1 << 10, 1 << 10)), labels=_npy((10,), "<i8"))
    refused(lies, "lies.npz", "'images'", "declares")
    bomb = _zip(tmp_path / "bomb.npz", images=_npy((4, 3, 512, 512), data=bytes(4 * 3 * 512 * 512 * 4)))
    assert bomb.stat().st_size < 20_000
    refused(bomb, "bomb.npz", "12,58", "raise limits.total", kind=LimitError, limits=Limits(total=1 << 20))
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("images.npy", _npy((4,), data=bytes(16)))
        archive.filelist[0].file_size = 1 << 50  # the archive's directory lies
    refused(tmp_path / "huge.npz", "huge.npz", kind=DsetpackError)
    with zipfile.ZipFile(tmp_path / "tight.npz", "w") as archive:
        archive.writestr("images.npy", _npy((4,), data=bytes(16)))
        archive.filelist[0].file_size = 1 << 30
    refused(tmp_path / "tight.npz", "more than any compression gives")


def test_npz_files_that_are_none(tmp_path):
    text = tmp_path / "text.npz"
    text.write_text("no zip")
    refused(text, "text.npz", "zip")
    refused(_zip(tmp_path / "none.npz", weights=_npy((1,), data=bytes(4))), "none.npz", "weights", "x_train")
    unlabelled = _zip(tmp_path / "unlabelled.npz", images=_npy((1, 3, 2, 2), data=bytes(48)))
    refused(unlabelled, "no array labels", "--labels")
    records = _zip(tmp_path / "records.npz", images=_npy((1,), [("a", "<f4")], bytes(4)))
    refused(records, "'images'", "numbers expected")
    twice = tmp_path / "twice.npz"
    with zipfile.ZipFile(twice, "w") as archive:
        archive.writestr("images.npy", _npy((1,), data=bytes(4)))
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("images.npy", _npy((1,), data=bytes(4)))
    refused(twice, "two members of one name")
    np.savez(tmp_path / "f.npz", image=X[:, 0].numpy(), label=made.noise(10, 5).numpy())
    refused(tmp_path / "f.npz", "f.npz: image", "[10, 8, 8]", "[N, H, W, C]")
    np.savez(tmp_path / "empty.npz", image=X.numpy(), label=np.zeros((10, 0), np.float32))
    refused(tmp_path / "empty.npz", "empty.npz: label", "[10, 0]")
    np.savez(tmp_path / "not.npz", image=X.numpy(), label=Y.numpy())
    refused(tmp_path / "not.npz", "no arrays 'image' and 'label' [N, classes]", layout="frepo")


def _safetensors(header: bytes, data: bytes = b"", length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


@pytest.mark.parametrize(
    "content",
    [
        b"",
        _safetensors(b"{}", length=1 << 40),
        _safetensors(b"not json"),
        _safetensors(
            json.dumps({"images": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 4]}}).encode(), b"0000"
        ),
        _safetensors(json.dumps({"images": {"dtype": "F99", "shape": [1], "data_offsets": [0, 4]}}).encode(), b"0000"),
        _safetensors(json.dumps({"images": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode(), b"00"),
    ],
    ids=["empty", "long header", "no JSON", "shape", "dtype", "cut off"],
)
def test_safetensors_with_a_bad_header(tmp_path, content):
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    refused(path, str(path), "not a sound safetensors file")


def test_safetensors_without_images_or_with_a_card_that_is_none(tmp_path):
    path = tmp_path / "x.safetensors"
    safetensors.torch.save_file({"weights": X}, path)
    refused(path, "x.safetensors", "weights", "images")
    for card in ("no card", '{"title": "x"}'):
        safetensors.torch.save_file({"images": X, "labels": Y}, path, metadata={"dsetpack.card": card})
        refused(path, "x.safetensors", "dsetpack.card", space=None)
    good = '{"title": "x", "classes": ["a", "b", "c", "d", "e"], "shape": [3, 8, 8]}'
    safetensors.torch.save_file({"images": X, "labels": Y}, path, metadata={"dsetpack.card": good})
    assert len(convert(path)) == 10
    refused(path, "leave out space")
    white = good[:-1] + (
        ', "space": {"kind": "zca", "variant": "kornia", "epsilon": 0.1, "storage": "embed", "mean": "m", '
        f'"matrix": "z", "fitted_on": "sha256:{"0" * 64}"}}}}'
    )
    safetensors.torch.save_file({"images": X, "labels": Y}, path, metadata={"dsetpack.card": white})
    refused(path, "x.safetensors", "'m'", space=None)


def test_folders_that_are_none(tmp_path):
    listing = tmp_path / "labels.csv"
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    for text, words in (
        ("", ["columns none"]),
        ("name,label\na.png,1\n", ["name, label"]),
        ("file,label\n", ["0 rows"]),
        ("file,label\na.png\n", ["line 2", "1 column;"]),
        ("file,label\na.png,cat\nb.png,1\n", ["line 2", "'cat'"]),
        ("file,label\na.png,\n", ["line 2", "no label"]),
        ("file,label\na.png,1.5\n", ["line 2", "1.5"]),
        ("file,label\nb.png,1\n", ["line 2", "b.png"]),
        ("file,label\n../a.png,1\n", ["line 2", "inside the folder"]),
        (f"file,label\n{tmp_path / 'a.png'},1\n", ["line 2", "inside the folder"]),
        ("file,yes,no\na.png,0.5,nan\n", ["labels.csv", "NaN"]),
        ("file,yes,no\na.png,5,7\n", ["labels.csv", "probabilities"]),
    ):
        listing.write_text(text)
        refused(tmp_path, "labels.csv", *words, space=None)
    listing.write_bytes(b"file,label\n\xff\xfe,1\n")
    refused(tmp_path, "labels.csv", "UTF-8", space=None)
    listing.write_text("file,label\na.png,1\nb.png,0\n")
    Image.new("RGB", (4, 5)).save(tmp_path / "b.png")
    refused(tmp_path, "b.png", "5×4", "4×4", space=None)
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(whole, format="PNG")
    for damaged in (b"", b"GIF", whole.getvalue()[:-30]):
        (tmp_path / "b.png").write_bytes(damaged)
        refused(tmp_path, "b.png", "image", space=None)
    for deep, mode in ((np.full((4, 4), 900, np.uint16), "I"), (np.full((4, 4), 0.5, np.float32), "F")):
        Image.fromarray(deep).save(tmp_path / "b.png", format="PNG" if mode == "I" else "TIFF")
        refused(tmp_path, "b.png", f"mode {mode}", "8 bits", space=None)
    (tmp_path / "b.png").unlink()
    listing.write_text("file,label\na.png,1\n")
    (tmp_path / "card.json").write_text("{}")
    refused(tmp_path, "card.json", "classes", space=None)
    (tmp_path / "card.json").unlink()
    refused(tmp_path, kind=LimitError, limits=Limits(total=100), space=None)
    refused(tmp_path, "raw")


def test_zca_files_that_are_none(tmp_path):
    images = torch.rand(20, 3, 4, 4)
    for held, words in (
        ({"mean": torch.zeros(47), "matrix": torch.eye(48)}, ["[47]", "[48, 48]"]),
        ({"mean": torch.zeros(48), "matrix": torch.full((48, 48), torch.nan)}, ["NaN"]),
        ({"mean": torch.zeros(48)}, ["whitening_transform"]),
        ([1], ["list"]),
    ):
        torch.save(held, tmp_path / "zca.pt")
        with pytest.raises(FormatError) as caught:
            given_zca(tmp_path / "zca.pt", "kornia", images)
        assert all(word in str(caught.value) for word in ("zca.pt", *words)), str(caught.value)
    np.savez(tmp_path / "zca.npz", zca_mean=np.zeros(48), whitening_transform=np.eye(48))
    with pytest.raises(FormatError, match=r"zca\.npz.*channel_mean"):
        given_zca(tmp_path / "zca.npz", "frepo", images)
