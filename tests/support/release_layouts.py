"""Small files in the layouts of releases, written and decoded as the releases' own code does it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE, CLASSES = 8, 5


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Hallucinator(nn.Module):
    """The module whose state dicts the release saves."""

    def __init__(self, channels: int, width: int, side: int) -> None:
        super().__init__()
        self.enc = nn.Conv2d(channels, width, 3)
        self.scale = nn.Parameter(1 + 0.3 * noise(1, width, side - 2, side - 2, seed=3))
        self.shift = nn.Parameter(0.3 * noise(1, width, side - 2, side - 2, seed=4))
        self.dec = nn.ConvTranspose2d(width, 3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.dec(self.scale * self.enc(x) + self.shift)


def haba(folder: Path, per_class: int = 2, count: int = 3, channels: int = 3, width: int = 3, step: str = "best"):
    """Write ``images_best.pt``, ``weights_best.pt`` or ``images_N.pt``, ``styles_N.pt``; return bases and nets."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    nets = nn.ModuleList([Hallucinator(channels, width, SIDE) for _ in range(count)])
    for number, net in enumerate(nets):
        net.scale.data += number / 10
    bases = noise(CLASSES, per_class, channels, SIDE, SIDE).flatten(0, 1)
    torch.save(bases, folder / f"images_{step}.pt")
    torch.save(nets.state_dict(), folder / ("weights_best.pt" if step == "best" else f"styles_{step}.pt"))
    return bases, nets


def hallucinated(bases: Tensor, nets: nn.ModuleList) -> Tensor:
    """The release's loop: one basis and one hallucinator at a time, basis by basis."""
    with torch.no_grad():
        return torch.cat([net(basis[None]) for basis in bases for net in nets])


def dc(path: Path, experiments: int = 2, ipc: int = 2, classes: int = CLASSES) -> list[tuple[Tensor, Tensor]]:
    """The result of DC, DSA and DM: the sets of all experiments, and accuracies by network as numpy numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    y = torch.arange(classes).repeat_interleave(ipc)
    sets = [(noise(classes * ipc, 3, SIDE, SIDE, seed=e), y) for e in range(experiments)]
    accuracies = {"ConvNet": [np.float64(0.1) * e for e in range(3)], "ResNet18": [np.float32(0.5), np.int64(3)]}
    torch.save({"data": [list(pair) for pair in sets], "accs_all_exps": accuracies}, path)
    return sets


def mtt(folder: Path, step: str = "best", ipc: int = 2) -> tuple[Tensor, Tensor]:
    folder.mkdir(parents=True, exist_ok=True)
    x, y = noise(CLASSES * ipc, 3, SIDE, SIDE), torch.arange(CLASSES).repeat_interleave(ipc)
    torch.save(x, folder / f"images_{step}.pt")
    torch.save(y, folder / f"labels_{step}.pt")
    return x, y


def idc(folder: Path, ipc: int = 2, side: int = SIDE, classes: int = CLASSES) -> tuple[Tensor, Tensor]:
    folder.mkdir(parents=True, exist_ok=True)
    x, y = noise(classes * ipc, 3, side, side).div(4).add(0.5), torch.arange(classes).repeat_interleave(ipc)
    torch.save([x, y], folder / "data.pt")
    return x, y


def multi_formation(images: Tensor, factor: int) -> Tensor:
    """Decode as IDC does: patch by patch, all images at once; [patches, N, C, H, W]."""
    side = images.shape[-1]
    if rest := side % factor:
        images = F.pad(images, (0, factor - rest, 0, factor - rest), value=0.5)
    size = math.ceil(side / factor)
    grow = nn.Upsample(size=side, mode="bilinear")
    rows = [images[:, :, i * size : (i + 1) * size] for i in range(factor)]
    return torch.stack([grow(row[..., j * size : (j + 1) * size]) for row in rows for j in range(factor)])


def centred(labels: Tensor, classes: int, scale: float) -> Tensor:
    return (F.one_hot(labels, classes).float() - 1 / classes) * scale


def frepo(path: Path, ipc: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Write NHWC images, and labels as FRePo starts them; return NCHW images, the labels, and the class numbers."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = torch.arange(CLASSES).repeat_interleave(ipc)
    x, y = noise(len(numbers), SIDE, SIDE, 3), centred(numbers, CLASSES, 1 / math.sqrt(CLASSES / 10))
    np.savez(path, image=x.numpy(), label=y.numpy())
    return x.permute(0, 3, 1, 2), y, numbers


def rfad(path: Path, ipc: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    numbers = torch.arange(CLASSES).repeat_interleave(ipc)
    x, y = noise(len(numbers), 3, SIDE, SIDE), centred(numbers, CLASSES, 1.0)
    np.savez(path, images=x.numpy(), labels=y.numpy(), valid_loss=np.float64(1.1), k=np.float32(3.7), jit=5e-3)
    return x, y, numbers


def dd_ranking(folder: Path, labels: Tensor | None = None, lr: object = 0.0123) -> tuple[Tensor, Tensor]:
    folder.mkdir(parents=True, exist_ok=True)
    x, logits = noise(CLASSES * 2, 3, SIDE, SIDE), 3 * noise(CLASSES * 2, CLASSES, seed=5)
    torch.save(x, folder / "images.pt")
    torch.save(logits if labels is None else labels, folder / "labels.pt")
    if lr is not None:
        torch.save(torch.tensor(lr) if isinstance(lr, float) else lr, folder / "lr.pt")
    return x, logits
