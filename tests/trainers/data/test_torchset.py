"""Data sets of torch."""

import pytest
import torch
from PIL import Image

from dsetpack.formats.errors import FormatError
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
