"""Real images as a pack."""

import torch

from dsetpack.spaces import Normalized
from dsetpack.trainers.real import RealImages
from tests.support.score_cases import data


def test_real_images_come_once_an_epoch_in_the_space():
    real = data(11)
    space = Normalized.fit(real.images)
    loader = RealImages(real, space).loader(batch_size=4, seed=3, device=torch.device("cpu"))
    assert len(loader) == 3
    epochs = [[torch.cat(part) for part in zip(*loader, strict=True)] for _ in range(2)]
    assert not torch.equal(epochs[0][0], epochs[1][0])
    expected = space.apply(real.raw())
    for x, y in epochs:
        found = [(expected - image).abs().amax((1, 2, 3)).argmin() for image in x]
        assert sorted(map(int, found)) == list(range(11))
        assert torch.equal(real.labels[torch.stack(found)], y)
    again = RealImages(real, space).loader(batch_size=4, seed=3, device=torch.device("cpu"))
    assert torch.equal(next(iter(again))[0], epochs[0][0][:4])
