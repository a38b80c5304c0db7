"""Data sets of torch."""

import warnings

import pytest
import torch
from PIL import Image

from dsetpack.formats.errors import FormatError
from dsetpack.formats.notices import Notice
from dsetpack.trainers.data import from_torch


class Items:
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def test_torch_datasets():
    x = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 3, 4, 4)
    as_pil = Items([(Image.fromarray(image.permute(1, 2, 0).numpy()), n) for n, image in enumerate(x)])
    assert torch.equal(from_torch(as_pil).images, x)
    floats = from_torch(Items([(image / 255, torch.tensor(n)) for n, image in enumerate(x)]), classes=("a", "b"))
    assert floats.images.dtype == torch.float32
    assert floats.classes == ("a", "b")
    with pytest.raises(FormatError, match="Items: labels 1..2 and none is 0"):
        from_torch(Items([(x[0], 1), (x[1], 2)]))
    assert from_torch(Items([(x[0], 1), (x[1], 2)]), classes="abc").labels.tolist() == [1, 2]
    assert from_torch(Items([(x[0], "dog"), (x[1], "cat")])).classes == ("cat", "dog")
    assert from_torch(Items([(x[0], torch.tensor([0, 1])), (x[1], torch.tensor([1, 0]))])).labels.tolist() == [1, 0]
    for label, words in ((0.7, "with 0.7, no class number"), ([0, 1], "labels of different shapes, such as 0")):
        with pytest.raises(FormatError, match=words):
            from_torch(Items([(x[0], 0), (x[1], label)]))
    with pytest.raises(FormatError, match="is empty"):
        from_torch(Items([]))
    with pytest.raises(FormatError, match=r"\[1\] is torch.uint8 \[3, 4, 3\]; the first image is"):
        from_torch(Items([(x[0], 0), (x[1][:, :, :3], 1)]))
    with pytest.raises(FormatError, match=r"expected \[0, 1\]"):
        from_torch(Items([(x[0].float(), 0)]))


def test_channels_of_arrays_and_tensors_may_be_last():
    x = torch.arange(2 * 3 * 5 * 6, dtype=torch.uint8).view(2, 3, 5, 6)
    for turn in (lambda image: image.permute(1, 2, 0), lambda image: image.permute(1, 2, 0).numpy()):
        last = Items([(turn(image), n) for n, image in enumerate(x)])
        with pytest.warns(Notice, match=r"\[2, 5, 6, 3\] are read as NHWC"):
            assert torch.equal(from_torch(last).images, x)
    first = Items([(image.numpy(), n) for n, image in enumerate(x)])
    assert torch.equal(from_torch(first).images, x)
    assert from_torch(Items([(image[0], n) for n, image in enumerate(x)])).shape == (1, 5, 6)
    both = Items([(image[:, :, :3], n) for n, image in enumerate(x)])
    with pytest.raises(FormatError, match=r"Items: images of shape \[2, 3, 5, 3\] can be"):
        from_torch(both)
    assert from_torch(both, axes="NHWC").shape == (3, 3, 5)


def test_pictures_of_any_mode_become_grey_or_colour():
    colours = torch.randint(0, 256, (3, 4, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    picture = Image.fromarray(colours.numpy())
    narrow = picture.crop((0, 0, 1, 3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        palette = from_torch(Items([(picture.convert("P", palette=Image.Palette.ADAPTIVE), 0)]))
        assert torch.equal(palette.images[0], colours.permute(2, 0, 1))  # not the numbers of its colours
        assert from_torch(Items([(narrow, 0)])).shape == (3, 3, 1)  # no axis of a picture is in doubt
        assert from_torch(Items([(picture.convert("1"), 0)])).images.unique().tolist() == [0, 255]
        assert from_torch(Items([(picture.convert("CMYK"), 0)])).shape == (3, 3, 4)
    with pytest.warns(Notice, match="opaque everywhere: 1"):
        assert torch.equal(from_torch(Items([(picture.convert("RGBA"), 0)])).images, palette.images)
    picture.putalpha(7)
    with pytest.raises(FormatError, match=r"Items\[0\]: transparent pixels"):
        from_torch(Items([(picture, 0)]))
    assert torch.equal(from_torch(Items([(picture, 0)]), drop_alpha=True).images, palette.images)
    with pytest.raises(FormatError, match="dtype uint16; uint8 or floats"):
        from_torch(Items([(Image.new("I;16", (4, 4)), 0)]))
    with pytest.raises(FormatError, match="dtype torch.int64; uint8 or floats"):
        from_torch(Items([(torch.zeros(1, 4, 4, dtype=torch.int64), 0)]))
