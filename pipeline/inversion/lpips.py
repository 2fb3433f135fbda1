"""LPIPS (Zhang et al. 2018, version 0.1) where the user has its files: AlexNet for encoders, VGG16 for the projector.

A folder must hold two state-dicts, the network's and the learnt weights', as ``.pth``, ``.pt`` or ``.safetensors``,
read as data: torchvision's ``alexnet*`` with LPIPS's ``alex``, or torchvision's ``vgg16*`` with LPIPS's ``vgg``. None
of them comes with this project.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atlas.errors import InputError
from pipeline.gan.formats import read_safetensors
from pipeline.torchfile import read_torch_file

_MEAN, _DEVIATION = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
_SUFFIXES = (".safetensors", ".pth", ".pt")


@dataclass(frozen=True)
class _Recipe:
    """Layers as torchvision numbers them: (index, inputs, outputs, kernel, stride, padding), "pool" before a layer.

    ``taps`` are the convolutions after whose ReLU the distance looks.
    """

    convolutions: tuple[tuple[int, int, int, int, int, int], ...]
    pooled_before: tuple[int, ...]
    pool: tuple[int, int]
    taps: tuple[int, ...]
    linear: str


_RECIPES = {
    "alexnet": _Recipe(
        (
            *((0, 3, 64, 11, 4, 2), (3, 64, 192, 5, 1, 2), (6, 192, 384, 3, 1, 1), (8, 384, 256, 3, 1, 1)),
            (10, 256, 256, 3, 1, 1),
        ),
        (3, 6),
        (3, 2),
        (0, 3, 6, 8, 10),
        "alex",
    ),
    "vgg16": _Recipe(
        tuple(
            (i, a, b, 3, 1, 1)
            for i, a, b in (
                *((0, 3, 64), (2, 64, 64), (5, 64, 128), (7, 128, 128), (10, 128, 256), (12, 256, 256), (14, 256, 256)),
                *((17, 256, 512), (19, 512, 512), (21, 512, 512), (24, 512, 512), (26, 512, 512), (28, 512, 512)),
            )
        ),
        (5, 10, 17, 24),
        (2, 2),
        (2, 7, 14, 21, 28),
        "vgg",
    ),
}


class Lpips(nn.Module):
    """Features [N, F] whose squared Euclidean distance is LPIPS."""

    def __init__(self, net: str) -> None:
        super().__init__()
        self.name = f"LPIPS ({net})"
        self.recipe = _RECIPES[net]
        self.convolutions = nn.ModuleDict(
            {str(i): nn.Conv2d(a, b, k, s, p) for i, a, b, k, s, p in self.recipe.convolutions}
        )
        widths = {i: b for i, _, b, *_ in self.recipe.convolutions}
        self.weights = nn.ParameterList([nn.Parameter(torch.ones(widths[tap])) for tap in self.recipe.taps])
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None])
        self.eval().requires_grad_(False)

    def activations(self, images: Tensor) -> list[Tensor]:
        """Return the activations [N, C, h, w] at each tap of images [N, 3, H, W] in [-1, 1]."""
        x = (images - self.get_buffer("mean")) / self.get_buffer("deviation")
        found = []
        for key, convolution in self.convolutions.items():
            if int(key) in self.recipe.pooled_before:
                x = F.max_pool2d(x, *self.recipe.pool)
            x = F.relu(convolution(x))
            if int(key) in self.recipe.taps:
                found.append(x)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Map images [N, 3, H, W] in [-1, 1] to features [N, F].

        Raises:
            InputError: the images are too small for the network.
        """
        least = 31 if self.recipe.linear == "alex" else 16
        if images.shape[-1] < least:
            raise InputError(f"{self.name} needs images of {least} px or more, got {images.shape[-1]}: leave it out")
        parts = []
        for tap, weight in zip(self.activations(images), self.weights, strict=True):
            unit = tap / (tap.square().sum(1, keepdim=True).sqrt() + 1e-10)
            parts.append((unit * (weight / (tap.shape[2] * tap.shape[3])).sqrt()[:, None, None]).flatten(1))
        return torch.cat(parts, 1)


def load_lpips(folder: Path, net: str = "alexnet", device: str | torch.device = "cpu") -> Lpips:
    """Load LPIPS from the user's files, frozen.

    Args:
        folder: holds both state-dicts.
        net: "alexnet" or "vgg16".
        device: where it shall run.

    Raises:
        InputError: a file is missing, not data, or not what its name says.
    """
    found = Lpips(net)
    network = read_state_dict(_file(folder, net), prefix="features.")
    learnt = read_state_dict(_file(folder, found.recipe.linear))
    wanted: dict[str, Tensor] = {}
    for name in found.convolutions.state_dict():
        wanted[f"convolutions.{name}"] = _tensor(network, name, folder, net)
    for i in range(len(found.weights)):
        wanted[f"weights.{i}"] = _tensor(learnt, f"lin{i}.model.1.weight", folder, found.recipe.linear).flatten()
    try:
        found.load_state_dict(wanted | dict(found.named_buffers()))
    except RuntimeError as error:
        raise InputError(f"{folder}: the files do not fit {found.name}: {error}") from error
    if any(bool((weight < 0).any()) for weight in found.weights):
        raise InputError(f"{folder}: the weights of {found.name} must not be negative; are these version 0.1?")
    return found.to(device)


def read_state_dict(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """Read named tensors from a ``.pt``, ``.pth`` or ``.safetensors`` as data; those below ``prefix``, without it."""
    content = read_safetensors(path)[0] if path.suffix == ".safetensors" else read_torch_file(path)
    inner = content.get("state_dict", content)
    if not isinstance(inner, Mapping):
        raise InputError(f"{path} must hold named tensors")
    return {n.removeprefix(prefix): t for n, t in inner.items() if isinstance(t, Tensor) and n.startswith(prefix)}


def _file(folder: Path, stem: str) -> Path:
    exact = [folder / f"{stem}{suffix}" for suffix in _SUFFIXES]
    dashed = [p for suffix in _SUFFIXES for p in sorted(folder.glob(f"{stem}-*{suffix}"))]
    for path in [*exact, *dashed]:
        if path.is_file():
            return path
    raise InputError(
        f"{folder} has no {stem}.pth (or {stem}-….pth, .pt, .safetensors), which LPIPS needs: put it there"
    )


def _tensor(tensors: Mapping[str, Tensor], name: str, folder: Path, stem: str) -> Tensor:
    if name not in tensors:
        raise InputError(f"{folder}: the file {stem} has no tensor {name}: is it the state-dict of {stem}?")
    return tensors[name].float()
