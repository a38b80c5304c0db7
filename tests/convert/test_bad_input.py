"""Whatever is wrong with a source ends in one clear error that names the file and the field, and runs nothing."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from PIL import Image

from dsetpack import Normalized, NormalizedSpace, Raw
from dsetpack.convert import convert, detect, given_zca
from dsetpack.formats import DsetpackError, FormatError, LimitError, Limits
from tests.support import release_layouts as made

SPACE = Normalized(NormalizedSpace(mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2)))
X, Y = made.noise(10, 3, 8, 8), torch.arange(5).repeat_interleave(2)


class Runs:
    """Pickles as a call of ``os.system``."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def refused(path, *words, kind=FormatError, **options):
    with pytest.raises(kind) as caught:
        convert(path, **{"space": SPACE, **options})
    message = str(caught.value)
    for word in words:
        assert word in message, message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, legacy):
    ran, path = tmp_path / "ran", tmp_path / "res_DSA_CIFAR10_ConvNet_1ipc.pt"
    held = {"data": [[X, Y]], "accs_all_exps": Runs(f"touch {ran}")}
    torch.save(held, path, _use_new_zipfile_serialization=not legacy)
    message = refused(path, str(path), "torch.save", kind=FormatError)
    assert legacy or "posix.system" in message
    assert not ran.exists()
    with path.open("rb") as file:  # the file does run code where it is let
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


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".npy", ".pt"])
@pytest.mark.parametrize("seed", range(6))
def test_damaged_files_give_a_pack_or_one_clear_error(tmp_path, suffix, seed):
    """Any byte may be wrong: never another exception, never values that are not finite."""
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


@pytest.mark.parametrize("rate", [torch.ones(2), torch.tensor(-1.0), torch.tensor(float("nan")), "fast", True])
def test_a_learning_rate_that_is_none(tmp_path, rate):
    made.dd_ranking(tmp_path, lr=rate)
    refused(tmp_path, "lr.pt", "learning rate", labels="softmax")


@pytest.mark.parametrize(
    ("images", "labels", "words"),
    [
        (X, Y[:-1], ["pair.pt: labels", "9 labels", "10 images"]),
        (X, Y - 1, ["pair.pt: labels", "-1"]),
        (X, made.noise(10, 5), ["pair.pt: labels", "probabilities", "softmax"]),
        (X, torch.full((10, 5), torch.nan), ["pair.pt: labels", "NaN"]),
        (X, Y.float(), ["pair.pt: labels", "float32"]),
        (X.masked_fill(X > 2, torch.inf), Y, ["pair.pt: images", "infinite"]),
        (X.long(), Y, ["pair.pt: images", "int64"]),
        (X[0, 0], Y, ["pair.pt: images", "[8, 8]"]),
        (X.to_sparse(), Y, ["pair.pt: images", "to_dense"]),
        (X.to("meta"), Y, ["pair.pt: images", "without values"]),
        (X[:0], Y[:0], ["pair.pt: images", "[0, 3, 8, 8]"]),
        (X.to(torch.complex64), Y, ["pair.pt: images", "complex"]),
        ("x", Y, ["pair.pt: images", "str"]),
        (X[:, :2], Y, ["pair.pt: images", "2 channels"]),
    ],
)
def test_images_and_labels_that_are_none(tmp_path, images, labels, words):
    torch.save([images, labels], tmp_path / "pair.pt")
    refused(tmp_path / "pair.pt", *words)


def test_other_things_in_torch_files(tmp_path):
    path = tmp_path / "x.pt"
    for held, words in (
        ({"weights": X}, ["'images'", "weights"]),
        ([X, Y, Y], ["3 entries"]),
        ({"data": []}, ["'data' is empty"]),
        ({"data": [[X]]}, ["data[0]", "1 entries"]),
        (7, ["int"]),
    ):
        torch.save(held, path)
        refused(path, "x.pt", *words)


def test_options_that_do_not_fit_the_source(tmp_path):
    made.mtt(tmp_path)
    refused(tmp_path, "factor", "idc", factor=2, lr=1.0)
    refused(tmp_path, "experiment", experiment=0, lr=1.0)
    refused(tmp_path, "labels='order'", labels="order", classes=5, lr=1.0)
    refused(tmp_path, "class numbers already", labels="softmax", lr=1.0)
    refused(tmp_path, "labels up to 4 for 3 classes", classes=3, lr=1.0)
    refused(tmp_path, "lr", lr=-1.0)
    refused(tmp_path, "not raw pixels", space=Raw(), lr=1.0)
    refused(tmp_path, "no layout 'mta'", "idc", layout="mta")
    refused(tmp_path, "nothing.npy", "no such file", labels=tmp_path / "nothing.npy", lr=1.0)
    refused(tmp_path, "sometimes", "uncentred", labels="sometimes", lr=1.0)
    refused(tmp_path / "gone", "gone", "no such file or folder")
    made.idc(tmp_path / "idc")
    refused(tmp_path / "idc", "data.pt: images", "raw", "not normalized", factor=2)
    refused(tmp_path / "idc", "factor 7", factor=7, space=None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FormatError, match="in no layout known here.*haba: a folder with"):
        detect(tmp_path / "empty")


def _npy(shape: tuple[int, ...], dtype: str = "<f4", data: bytes = b"") -> bytes:
    """An ``.npy`` file that declares whatever it likes."""
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
        archive.filelist[0].file_size = 1 << 50  # the directory at its end lies
    refused(tmp_path / "huge.npz", "huge.npz", kind=DsetpackError)
    with zipfile.ZipFile(tmp_path / "tight.npz", "w") as archive:
        archive.writestr("images.npy", _npy((4,), data=bytes(16)))
        archive.filelist[0].file_size = 1 << 30
    refused(tmp_path / "tight.npz", "more than any compression gives")


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
        ("file,label\na.png\n", ["line 2", "1 columns"]),
        ("file,label\na.png,cat\n", ["line 2", "'cat'"]),
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
    refused(tmp_path, "b.png", "4×5", "4×4", space=None)
    whole = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)).save(whole, format="PNG")
    for damaged in (b"", b"GIF", whole.getvalue()[:-30]):
        (tmp_path / "b.png").write_bytes(damaged)
        refused(tmp_path, "b.png", "image", space=None)
    for deep, mode in ((np.full((4, 4), 900, np.uint16), "I;16"), (np.full((4, 4), 0.5, np.float32), "F")):
        Image.fromarray(deep).save(tmp_path / "b.png", format="PNG" if mode == "I;16" else "TIFF")
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


def test_a_space_of_another_size_is_refused(tmp_path):
    made.mtt(tmp_path)
    grey = Normalized(NormalizedSpace(mean=(0.5,), std=(0.5,)))
    refused(tmp_path, "images_best.pt", "3 channels", space=grey, lr=1.0)
