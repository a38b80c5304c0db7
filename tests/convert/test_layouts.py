"""Every layout becomes the pack that its release would have decoded, and the card says where each fact comes from."""

from __future__ import annotations

import contextlib
import re
import warnings

import numpy as np
import pytest
import safetensors.torch
import torch
import torch.nn.functional as F
from PIL import Image

import dsetpack
from dsetpack import Normalized, NormalizedSpace, Raw, Zca
from dsetpack.convert import PUBLISHED, convert, detect, layout_names, layout_of, published
from dsetpack.formats import FormatError
from dsetpack.formats.notices import Notice
from dsetpack.trainers.data import load
from dsetpack.unpack import form_names
from tests.support import release_layouts as made
from tests.support.bad_sources import refused
from tests.support.paths import DOCS

SPACE = Normalized(NormalizedSpace(mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.2)))


pytestmark = pytest.mark.usefixtures("one_thread")


def declared(pack):
    return pack.card.provenance.settings["converted"]["declared"]


@pytest.mark.parametrize(("channels", "width", "step"), [(3, 3, "best"), (1, 3, "15000"), (3, 6, "best")])
def test_haba_decodes_as_the_release_does(tmp_path, channels, width, step):
    bases, nets = made.haba(tmp_path, channels=channels, width=width, step=step)
    pack = convert(tmp_path, space=SPACE, classes=made.CLASSES, lr=0.02)
    images, labels = pack.decode(range(len(pack)))
    assert torch.allclose(images, made.hallucinated(bases, nets), atol=1e-6)
    assert labels.tolist() == [c for c in range(made.CLASSES) for _ in range(2 * 3)]
    assert (pack.parts[0].kind, pack.card.epoch_rule) == ("haba", "paired")
    assert pack.parts[0].config.form == "released"
    assert pack.card.recipe.lr == 0.02
    assert declared(pack) == {"space": "normalized", "classes": made.CLASSES, "lr": 0.02}
    reopened = dsetpack.open(pack.to_bytes())
    assert torch.equal(reopened.decode(range(len(pack)))[0], images)


def test_haba_takes_the_best_then_the_latest_and_names_its_files(tmp_path):
    made.haba(tmp_path, step="9000")
    bases, _ = made.haba(tmp_path, step="15000", per_class=3)
    pack = convert(tmp_path, space=SPACE, classes=made.CLASSES, lr="none")
    assert set(pack.card.provenance.settings["converted"]["files"]) == {"images_15000.pt", "styles_15000.pt"}
    assert torch.equal(pack.parts[0].sources, bases)
    assert pack.card.recipe is None
    assert pack.card.augmentation.align_corners
    one = convert(tmp_path / "images_9000.pt", space=SPACE, classes=made.CLASSES, lr="none")
    assert len(one.parts[0]) == 2 * made.CLASSES
    best, _ = made.haba(tmp_path, per_class=1)
    assert torch.equal(convert(tmp_path, space=SPACE, classes=5, lr=1.0).parts[0].sources, best)


@pytest.mark.parametrize("method", ["DC", "DSA", "DM"])
def test_the_sets_of_dc_dsa_and_dm(tmp_path, method):
    path = tmp_path / f"res_{method}_CIFAR10_ConvNet_2ipc.pt"
    sets = made.dc(path)
    assert detect(path) == "tensors"
    pack = convert(path, space=SPACE, experiment=1)
    assert torch.equal(pack.parts[0].sources, sets[1][0])
    assert torch.equal(pack.labels, sets[1][1])
    assert (pack.card.provenance.method, pack.card.recipe.lr) == (method.lower(), 0.01)
    assert pack.card.recipe.epochs == (300 if method == "DC" else 1000)
    assert (pack.card.augmentation is None) == (method == "DC")
    assert declared(pack) == {"space": "normalized", "experiment": 1}


def test_mtt_images_and_their_labels(tmp_path):
    x, y = made.mtt(tmp_path, "4000")
    made.mtt(tmp_path, "5000")
    torch.save(x.abs().clamp(0, 1), tmp_path / "images_zca_4000.pt")
    assert detect(tmp_path) == "tensors"
    pack = convert(tmp_path / "images_4000.pt", space=SPACE, lr=0.03, dataset="cifar10", classes=made.CLASSES)
    assert torch.equal(pack.parts[0].sources, x)
    assert torch.equal(pack.labels, y)
    assert pack.card.augmentation.align_corners
    assert pack.card.recipe.lr == 0.03
    assert "images_5000.pt" in convert(tmp_path, space=SPACE, lr=1.0).card.description
    raw = convert(tmp_path / "images_zca_4000.pt", space=Raw(), lr=1.0)
    assert raw.card.space.kind == "raw"
    assert torch.equal(raw.labels, y)


def test_digits_are_not_mirrored(tmp_path):
    made.mtt(tmp_path)
    ops = {
        name: convert(tmp_path, space=SPACE, lr=1.0, classes=5, dataset=name).card.augmentation.ops
        for name in ("svhn", "cifar10")
    }
    assert set(ops["cifar10"]) - set(ops["svhn"]) == {"flip"}


@pytest.mark.parametrize(("factor", "side"), [(1, 8), (2, 8), (3, 8), (2, 7)])
def test_idc_images_hold_smaller_ones(tmp_path, factor, side):
    x, y = made.idc(tmp_path, side=side)
    pack = convert(tmp_path, factor=factor)
    assert pack.parts[0].kind == ("upsample" if factor > 1 else "images")
    expected = made.multi_formation(x, factor).transpose(0, 1).flatten(0, 1)
    images, labels = pack.decode(range(len(pack)))
    assert torch.allclose(images, expected, atol=1e-6)
    assert torch.equal(labels, y.repeat_interleave(factor**2))
    assert (pack.card.space.kind, pack.card.epoch_rule) == ("raw", "product")
    assert (pack.card.recipe.batch_size, pack.card.recipe.cutmix) == (64, 0.5)


def test_frepo_labels_stay_centred_targets_or_are_put_back(tmp_path):
    x, y, numbers = made.frepo(tmp_path / "step000001.npz")
    path = tmp_path / "step000001.npz"
    assert detect(path) == "frepo"
    pack = convert(path, space=SPACE)
    assert torch.equal(pack.parts[0].sources, x)
    assert torch.equal(pack.labels, y)
    assert pack.card.labels.model_dump() == {"kind": "soft", "centred": True}
    assert pack.card.provenance.budget_floats == x.numel()  # labels do not count, as in the papers
    assert (pack.card.recipe.loss, pack.card.recipe.steps, pack.card.recipe.batch_size) == ("mse", 1000, 10)
    back = convert(path, space=SPACE, labels="uncentred")
    assert torch.allclose(back.labels, F.one_hot(numbers, made.CLASSES).float(), atol=1e-6)
    assert not back.card.labels.centred
    assert torch.equal(convert(path, space=SPACE, labels="hard").labels, numbers)


def test_rfad_is_told_by_its_other_arrays(tmp_path):
    x, y, numbers = made.rfad(tmp_path / "best.npz")
    assert detect(tmp_path / "best.npz") == "frepo"
    pack = convert(tmp_path / "best.npz", space=SPACE)
    assert torch.equal(pack.parts[0].sources, x)
    assert torch.equal(pack.labels, y)
    assert pack.card.recipe is None
    assert convert(tmp_path / "best.npz", space=SPACE, lr=0.1).card.recipe.loss == "mse"
    back = convert(tmp_path / "best.npz", space=SPACE, labels="uncentred").labels
    assert torch.allclose(back, F.one_hot(numbers, made.CLASSES).float(), atol=1e-6)


def test_dd_ranking_folder(tmp_path):
    x, logits = made.dd_ranking(tmp_path)
    pack = convert(tmp_path, space=SPACE, labels="softmax")
    assert detect(tmp_path) == "ddranking"
    assert torch.equal(pack.parts[0].sources, x)
    assert torch.allclose(pack.labels, torch.exp(logits) / torch.exp(logits).sum(1, keepdim=True), atol=1e-6)
    assert pack.card.recipe.lr == pytest.approx(0.0123)
    assert torch.equal(convert(tmp_path, space=SPACE, labels="centred").labels, logits)
    made.dd_ranking(tmp_path, labels=torch.arange(10) % 5)
    assert convert(tmp_path, space=SPACE).labels.tolist() == [*range(5), *range(5)]


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_plain_arrays(tmp_path, suffix):
    x = torch.arange(6 * 5 * 5 * 3, dtype=torch.int32).reshape(6, 5, 5, 3).remainder(256).byte()
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    path = tmp_path / f"mine{suffix}"
    if suffix == ".npz":
        np.savez(path, x_train=x.numpy(), y_train=y.numpy(), classes=np.array(["a", "b", "c"]))
    elif suffix == ".pt":
        torch.save((x.permute(0, 3, 1, 2), y), path)
    else:
        safetensors.torch.save_file({"images": x, "labels": y}, path)
    pack = convert(path, split="train" if suffix == ".npz" else None)
    assert torch.equal((pack.parts[0].sources * 255).round().byte(), x.permute(0, 3, 1, 2))
    assert torch.equal(pack.labels, y)
    assert (pack.card.space.kind, pack.card.recipe) == ("raw", None)
    assert pack.card.classes == (("a", "b", "c") if suffix == ".npz" else ("0", "1", "2"))
    assert convert(path, lr=0.5, split="train" if suffix == ".npz" else None).card.recipe.lr == 0.5


def write_images(path, images, labels):
    """Write images and labels into a file of the layout that its name shows."""
    if path.suffix == ".npz":
        names = ("image", "label") if path.stem == "frepo" else ("x_train", "y_train")
        np.savez(path, **dict(zip(names, (images.numpy(), labels.numpy()), strict=True)))
    elif path.suffix == ".safetensors":
        safetensors.torch.save_file({"images": images.contiguous(), "labels": labels}, path)
    elif path.name == "data.pt":
        torch.save([images, labels], path)
    elif path.name == "images.pt":
        torch.save(images, path)
        torch.save(labels, path.with_name("labels.pt"))
    else:
        torch.save({"images": images, "labels": labels}, path)


SOURCES = {
    "mine.pt": {},
    "mine.npz": {},
    "mine.safetensors": {},
    "frepo.npz": {},
    "data.pt": {"factor": 2, "space": None},
    "images.pt": {"layout": "ddranking", "lr": 0.1},
}


@pytest.mark.parametrize("name", SOURCES)
def test_channels_may_be_last_in_every_layout_of_arrays(tmp_path, name):
    path = tmp_path / name
    source = tmp_path if name == "images.pt" else path
    options = {"space": SPACE, **SOURCES[name]}
    labels = torch.arange(10) % made.CLASSES
    if name == "frepo.npz":
        labels = made.centred(labels, made.CLASSES, 1.0)
    first = made.noise(10, 3, 8, 6)
    write_images(path, first, labels)
    expected = convert(source, **options)
    write_images(path, first.movedim(1, 3), labels)
    silent = name == "frepo.npz"  # its own order
    with contextlib.nullcontext() if silent else pytest.warns(Notice, match=r"\[10, 8, 6, 3\] are read as NHWC"):
        pack = convert(source, **options)
    assert torch.equal(pack.parts[0].sources, first)
    assert torch.equal(pack.decode(range(10))[0], expected.decode(range(10))[0])
    said = convert(source, axes="NHWC", **options)
    assert torch.equal(said.parts[0].sources, first)
    assert declared(said)["axes"] == "NHWC"
    if not silent:
        write_images(path, made.noise(10, 3, 6, 3), labels)
        with pytest.raises(FormatError, match=r"\[10, 3, 6, 3\] can be NCHW .* or NHWC .* \(--axes\)"):
            convert(source, **options)
        assert convert(source, axes="NHWC", **options).parts[0].sources.shape[1:] == (3, 3, 6)


def test_eight_bit_channels_last_in_a_torch_file(tmp_path):
    x = torch.randint(0, 256, (10, 32, 32, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    torch.save({"images": x, "labels": torch.arange(10)}, tmp_path / "mine.pt")
    with pytest.warns(Notice, match=r"\[10, 32, 32, 3\] are read as NHWC"):
        pack = dsetpack.open(convert(tmp_path / "mine.pt").to_bytes())
    assert pack.card.shape == (3, 32, 32)
    assert torch.equal((pack.decode(range(10))[0] * 255).round().byte(), x.permute(0, 3, 1, 2))


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_in_arrays_is_dropped_only_when_said(tmp_path, channels):
    x = torch.randint(0, 256, (6, 9, 7, channels), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    path = tmp_path / "mine.npz"
    for images in (x, x.movedim(3, 1)):
        np.savez(path, images=images.numpy(), labels=np.arange(6) % 3)
        with pytest.warns(Notice, match=rf"all {channels} channels are kept; .*\(--drop-alpha\)"):
            kept = convert(path)
        assert kept.card.shape == (channels, 9, 7)
        dropped = convert(path, drop_alpha=True, axes="NHWC" if images is x else None)
        assert torch.equal(dropped.parts[0].sources, kept.parts[0].sources[:, :-1])
        assert declared(dropped)["drop_alpha"] is True
    np.savez(path, images=made.noise(6, channels, 9, 7).numpy(), labels=np.arange(6) % 3)  # as codes may be
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        space = Normalized(NormalizedSpace(mean=(0.5,) * channels, std=(0.2,) * channels))
        assert convert(path, space=space).card.shape == (channels, 9, 7)
    np.savez(path, images=x[..., :1].numpy(), labels=np.arange(6) % 3)
    assert convert(path, drop_alpha=True).card.shape == (1, 9, 7)  # there is none


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_in_image_files_is_dropped_only_when_said(tmp_path, mode):
    rng, size = np.random.default_rng(0), len(Image.new(mode, (1, 1)).getbands())
    pixels = rng.integers(0, 255, (4, 6, 5, size), dtype=np.uint8)
    for number in range(4):
        folder = tmp_path / str(number % 2)
        folder.mkdir(exist_ok=True)
        Image.fromarray(pixels[number], mode).save(folder / f"{number}.png")
    with pytest.raises(FormatError, match=rf"0\.png: transparent pixels \(mode {mode}\); .*\(--drop-alpha\)"):
        convert(tmp_path)
    pack = convert(tmp_path, drop_alpha=True)
    colours = torch.from_numpy(pixels[[0, 2, 1, 3], ..., :-1]).permute(0, 3, 1, 2)
    assert torch.equal((pack.parts[0].sources * 255).round().byte(), colours)
    pixels[..., -1] = 255
    for number in range(4):
        Image.fromarray(pixels[number], mode).save(tmp_path / str(number % 2) / f"{number}.png")
    with pytest.warns(Notice, match="opaque everywhere: 4"):
        assert torch.equal(convert(tmp_path).parts[0].sources, pack.parts[0].sources)


@pytest.mark.parametrize("factor", [1, 2])
def test_raw_pixels_of_idc_may_have_any_range(tmp_path, factor):
    x, y = made.idc(tmp_path)
    x[0, 0, 0, :2] = torch.tensor([-25.8, 35.5])
    torch.save([x, y], tmp_path / "data.pt")
    with pytest.warns(Notice, match="values from -25.8 to 35.5 are kept as raw"):
        pack = convert(tmp_path, factor=factor)
    assert torch.equal(dsetpack.open(pack.to_bytes()).parts[0].sources, x)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_the_remedy_for_pixels_in_0_to_255_works(tmp_path, suffix):
    x, path = torch.randint(0, 81, (10, 3, 8, 8)).float(), tmp_path / f"mine{suffix}"
    for space in (Raw(), SPACE):
        for values in (x, x / 3, SPACE.apply(x)) if space is SPACE else (x, x / 3):
            write_images(path, values, torch.arange(10))
            with pytest.raises(FormatError, match="look like pixels in 0..255; .*divide them by 255"):
                convert(path, space=space)
        write_images(path, space.apply(x / 255), torch.arange(10))
        assert convert(path, space=space).card.space.kind == space.model.kind
    write_images(path, x.byte(), torch.arange(10))
    assert torch.equal((convert(path).parts[0].sources * 255).round(), x)


def test_a_folder_of_images(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 5, 3), dtype=np.uint8)
    for number, name in enumerate(("cat/b.png", "cat/a.png", "ant/x.png", "dog/deep/y.png")):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels[number]).save(tmp_path / name)
    pack = convert(tmp_path)
    assert pack.card.classes == ("ant", "cat", "dog")
    assert pack.labels.tolist() == [0, 1, 1, 2]
    order = pixels[[2, 1, 0, 3]].transpose(0, 3, 1, 2)
    assert np.array_equal((pack.parts[0].sources * 255).round().byte().numpy(), order)


def splits(path, suffix):
    """Write a source of two splits: class 0 is black, class 1 white; ``test`` has an image of class 1 alone."""
    x = {"train": np.array([0, 255], np.uint8), "test": np.array([255], np.uint8)}
    y = {"train": np.array([0, 1]), "test": np.array([1])}
    if suffix == "":
        for split, folder in (("train", "train"), ("test", "val")):
            for value, label in zip(x[split], y[split], strict=True):
                (path / folder / "ab"[label]).mkdir(parents=True)
                Image.fromarray(np.full((4, 4), value, np.uint8)).save(path / folder / "ab"[label] / "x.png")
        return path
    arrays = {}
    for split in x:
        arrays |= {f"x_{split}": np.tile(x[split][:, None, None], (1, 4, 4)), f"y_{split}": y[split]}
    file = path / f"x{suffix}"
    tensors = {name: torch.from_numpy(values) for name, values in arrays.items()}
    if suffix == ".npz":
        np.savez(file, **arrays)
    else:
        torch.save(tensors, file) if suffix == ".pt" else safetensors.torch.save_file(tensors, file)
    return file


@pytest.mark.parametrize("suffix", ["", ".npz", ".safetensors", ".pt"])
def test_splits_are_read_as_data_readers_do(tmp_path, suffix):
    path = splits(tmp_path, suffix)
    with pytest.warns(Notice, match=rf"{path.name}: the split 'train' is read; pass split='test'"):
        pack = convert(path)
    assert (pack.labels.tolist(), len(pack.card.classes)) == ([0, 1], 2)
    assert "split train" in pack.card.description
    assert "split" not in declared(pack)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        assert torch.equal(convert(path, split="train").labels, pack.labels)
        test = convert(path, split="test", absent=True)
    assert (len(test), declared(test)) == (1, {"split": "test", "absent": True})
    assert test.parts[0].sources.unique().tolist() == [1.0]
    if suffix in ("", ".npz"):
        for split, made_of in (("train", pack), ("test", test)):
            data = load(path, split=split)
            assert torch.equal(data.raw(), made_of.parts[0].sources)
            assert torch.equal(data.labels, made_of.labels)
            assert data.classes == made_of.card.classes


def test_a_split_of_a_source_without_splits_is_refused(tmp_path):
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 4, 4), np.uint8), labels=np.arange(2))
    made.idc(tmp_path / "idc")
    (tmp_path / "pictures" / "cat").mkdir(parents=True)
    Image.new("L", (4, 4)).save(tmp_path / "pictures" / "cat" / "a.png")
    for source in ("x.npz", "idc", "pictures"):
        for split in ("train", "test"):
            with pytest.raises(dsetpack.formats.FormatError, match="split"):
                convert(tmp_path / source, split=split, factor=1 if source == "idc" else None)


def test_a_folder_with_a_listing(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 6, 5), dtype=np.uint8)
    for number in range(2):
        Image.fromarray(pixels[number]).save(tmp_path / f"{number}.png")
    (tmp_path / "labels.csv").write_text("file,label\n1.png,4\n0.png,2\n")
    pack = convert(tmp_path, absent=True)
    assert pack.labels.tolist() == [4, 2]
    assert pack.card.shape == (1, 6, 5)
    assert np.array_equal((pack.parts[0].sources[:, 0] * 255).round().byte().numpy(), pixels[::-1])
    (tmp_path / "labels.csv").write_text("file,yes,no\n1.png,0.25,0.75\n0.png,1,0\n")
    soft = convert(tmp_path)
    assert soft.card.classes == ("yes", "no")
    assert soft.labels.tolist() == [[0.25, 0.75], [1.0, 0.0]]


@pytest.mark.parametrize("suffix", [".npy", ".pt"])
def test_labels_from_a_file_of_their_own(tmp_path, suffix):
    x, _ = made.mtt(tmp_path)
    y = torch.tensor([4, 3, 2, 1, 0] * 2)
    path = tmp_path / f"mine{suffix}"
    np.save(path, y.numpy()) if suffix == ".npy" else torch.save(y, path)
    pack = convert(tmp_path, space=SPACE, lr=1.0, labels=path)
    assert torch.equal(pack.labels, y)
    assert torch.equal(pack.parts[0].sources, x)
    assert declared(pack)["labels"] == path.name, "never a path of the machine"


def test_labels_by_order_where_there_are_none(tmp_path):
    torch.save(made.noise(10, 3, 8, 8), tmp_path / "alone.pt")
    assert convert(tmp_path / "alone.pt", space=SPACE, labels="order", classes=5).labels.tolist() == [
        0, 0, 1, 1, 2, 2, 3, 3, 4, 4
    ]  # fmt: skip


def test_whitened_images_go_back_through_the_declared_zca(tmp_path):
    real = torch.rand(60, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    zca = Zca.fit(real, "kornia")
    raw = real[:10]
    torch.save({"images": zca.apply(raw), "labels": torch.arange(10)}, tmp_path / "white.pt")
    pack = dsetpack.open(convert(tmp_path / "white.pt", space=zca).to_bytes())
    assert torch.allclose(pack.space.invert(pack.decode(range(10))[0]), raw, atol=1e-4)
    assert pack.card.space.fitted_on == zca.model.fitted_on
    small = convert(tmp_path / "white.pt", space=zca.stored("refit"))
    assert small.card.space.storage == "refit"


def test_published_statistics():
    assert published("cifar10").mean == (0.4914, 0.4822, 0.4465)
    assert published("cifar10").std == (0.2023, 0.1994, 0.2010)
    for name in PUBLISHED:
        found = published(name)
        assert len(found.mean) == len(found.std) == (1 if "mnist" in name else 3)


def test_the_page_lists_every_layout_and_form():
    sections = re.split(r"^## ", (DOCS / "convert.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    rows = {text.partition("\n")[0]: re.findall(r"^\| `([a-z]+)` \|", text, re.MULTILINE) for text in sections}
    assert sorted(rows["Layouts"]) == list(layout_names())
    assert sorted(rows["Back to plain files"]) == list(form_names())
    for name in layout_names():
        assert layout_of(name).recognised
        assert layout_of(name).unknown


def test_the_steps_of_dataset_distillation(tmp_path):
    """Each batch once, although every epoch names it again; order and rates are kept beside."""
    steps = made.steps(tmp_path / "results.pth", count=3, epochs=2)
    assert detect(tmp_path / "results.pth") == "tensors"
    message = refused(tmp_path / "results.pth", "results.pth", "6 steps", "Dataset Distillation", "--lr none")
    assert "order" in message
    pack = convert(tmp_path / "results.pth", space=SPACE, lr="none")
    assert torch.equal(pack.parts[0].sources, torch.cat([images for images, _, _ in steps[:3]]))
    assert torch.equal(pack.labels, torch.arange(5).repeat(3))
    assert (pack.card.provenance.method, pack.card.recipe) == ("dd", None)
    kept = pack.card.extra["steps"]
    assert (kept["sizes"], kept["batches"]) == ([5, 5, 5], [0, 1, 2, 0, 1, 2])
    assert kept["lr"] == [float(rate) for _, _, rate in steps]
    assert convert(tmp_path / "results.pth", space=SPACE, recipe="dm").card.recipe.epochs == 1000
    images, labels, rate = steps[0]
    for wrong, words in (
        ((images, labels[:-1], rate), ["step 1", "[4]"]),
        ((images[:, :1], labels, rate), ["step 1", "[5, 1, 8, 8]"]),
        ((images, labels, "fast"), ["step 1", "one number expected"]),
    ):
        torch.save([steps[0], wrong], tmp_path / "wrong.pth")
        refused(tmp_path / "wrong.pth", "wrong.pth", *words, lr="none")


def test_fred_saves_decoded_images(tmp_path):
    path = tmp_path / "dm" / "res_DM_CIFAR10_ConvNet_2ipc.pt"
    x, y = made.fred(path, classes=10)
    with pytest.warns(Notice, match="a set of FreD, saved as decoded images; the pack keeps these and no mask"):
        pack = convert(path, space=SPACE, dataset="cifar10")
    assert torch.equal(pack.parts[0].sources, x)
    assert torch.equal(pack.labels, y)
    assert (pack.card.provenance.method, pack.card.recipe.epochs) == ("fred", 1000)
    assert pack.card.extra["claimed"] == [{"accuracy": 0.6, "seeds": 1, "arch": "ConvNet"}]
    x, y = made.mtt(tmp_path / "tm", classes=10)
    made.fred_mask(tmp_path / "tm", x)
    with pytest.warns(Notice, match="a set of FreD"):
        pack = convert(tmp_path / "tm", space=SPACE, lr=0.02, dataset="cifar10")
    assert torch.equal(pack.parts[0].sources, x)
    assert (pack.card.provenance.method, pack.card.augmentation.align_corners) == ("fred", True)
    torch.save(x, tmp_path / "tm" / "mask.pt")
    with pytest.warns(Notice, match="taken for a set of MTT"):
        convert(tmp_path / "tm", space=SPACE, lr=0.02, dataset="cifar10")


def test_ddif_is_refused_by_name(tmp_path):
    made.ddif(tmp_path / "DDiF_TM_1ipc#synset_best.pt")
    refused(tmp_path / "DDiF_TM_1ipc#synset_best.pt", "DDiF (Shin et al. 2025): 10 neural fields", "torch.save", lr=0.1)


def test_mosaics_of_rded_stay_whole_images(tmp_path):
    pixels = made.rded(tmp_path / "set")
    with pytest.warns(Notice, match="set: a set of RDED, whose images may be mosaics"):
        pack = convert(tmp_path / "set")
    assert np.array_equal((pack.parts[0].sources * 255).round().byte().numpy(), pixels.transpose(0, 3, 1, 2))
    assert pack.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert (pack.card.provenance.method, pack.card.classes) == ("rded", ("00000", "00001", "00002"))
