"""LPIPS (Zhang et al. 2018, version 0.1) where the user has its files: AlexNet for encoders, VGG16 for all else.

It takes two state-dicts, the network's and the learnt weights', as ``.pth``, ``.pt`` or ``.safetensors``, read as data.
A folder may hold them: torchvision's ``alexnet*`` with LPIPS's ``alex``, or torchvision's ``vgg16*`` with LPIPS's
``vgg``. None of them comes with this project.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from atlas.errors import InputError
from atlas.files import sha256_path
from pipeline.features import PERCEPTUAL_NAME, FeatureFunction, load_perceptual, weights_sha256
from pipeline.weights import fill, read_tensors

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


class _Network(nn.Module):
    """The convolutions, by the names of torchvision's file."""

    def __init__(self, recipe: _Recipe) -> None:
        super().__init__()
        self.features = nn.ModuleDict({str(i): nn.Conv2d(a, b, k, s, p) for i, a, b, k, s, p in recipe.convolutions})


class _LinearLayers(nn.Module):
    """The weights of the channels at each tap, by the names of LPIPS's file."""

    def __init__(self, recipe: _Recipe) -> None:
        super().__init__()
        widths = {i: b for i, _, b, *_ in recipe.convolutions}
        for index, tap in enumerate(recipe.taps):
            self.add_module(f"lin{index}", nn.Module())
            layer = nn.Sequential(nn.Identity(), nn.Conv2d(widths[tap], 1, 1, bias=False))
            self.get_submodule(f"lin{index}").add_module("model", layer)

    def weights(self) -> list[Tensor]:
        """Return [C, 1, 1] for each tap."""
        return [weight[0] for weight in self.parameters()]


class Lpips(nn.Module):
    """Features [N, F] whose squared Euclidean distance is LPIPS.

    Attributes:
        name: what its values are called wherever they are shown.
    """

    def __init__(self, net: str) -> None:
        super().__init__()
        self.name = f"LPIPS ({net})"
        self.recipe = _RECIPES[net]
        self.network, self.learnt = _Network(self.recipe), _LinearLayers(self.recipe)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None])
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None])
        self.eval().requires_grad_(False)

    def activations(self, images: Tensor) -> list[Tensor]:
        """Return the activations [N, C, h, w] at each tap of images [N, 3, H, W] in [-1, 1]."""
        x = (images - self.get_buffer("mean")) / self.get_buffer("deviation")
        found = []
        for key, convolution in self.network.features.items():
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
        for tap, weight in zip(self.activations(images), self.learnt.weights(), strict=True):
            # Kept off 0, where no channel is active and the root has no slope: gradients would be no numbers there.
            unit = tap / (tap.square().sum(1, keepdim=True).clamp_min(1e-20).sqrt() + 1e-10)
            parts.append((unit * (weight / (tap.shape[2] * tap.shape[3])).sqrt()).flatten(1))
        return torch.cat(parts, 1)


@dataclass(frozen=True)
class Perceptual:
    """A perceptual distance that was chosen.

    Attributes:
        features: whose squared distance it is.
        name: what it is called wherever its values are shown.
        sha256: of its weights' file, or files.
    """

    features: FeatureFunction
    name: str
    sha256: str


def choose_perceptual(folder: str, net: str, like: str | torch.device | Tensor = "cpu") -> Perceptual:
    """Return LPIPS where the user has it, else the perceptual distance of EfficientNet-Lite0, which is always there.

    Args:
        folder: of the user's LPIPS files; "" for none.
        net: which LPIPS, "alexnet" or "vgg16".
        like: a device on which, or a tensor where and in whose type, it shall run.

    Raises:
        InputError: as `load_lpips`.
    """
    if not folder:
        return Perceptual(load_perceptual().to(like), PERCEPTUAL_NAME, weights_sha256())
    files = lpips_files(Path(folder), net)
    loaded = load_lpips(*files, net).to(like)
    return Perceptual(loaded, loaded.name, " ".join(map(sha256_path, files)))


def lpips_files(folder: Path, net: str = "alexnet") -> tuple[Path, Path]:
    """Return the files of a network, "alexnet" or "vgg16", and of its learnt weights.

    Raises:
        InputError: one is not there.
    """
    return _file(folder, net), _file(folder, _RECIPES[net].linear)


def load_lpips(network: Path, learnt: Path, net: str = "alexnet") -> Lpips:
    """Load LPIPS from the user's files, frozen.

    Args:
        network: torchvision's AlexNet or VGG16.
        learnt: LPIPS's weights for it.
        net: "alexnet" or "vgg16".

    Raises:
        InputError: a file is not data, or not what it should be.
    """
    found = Lpips(net)
    fill(found.network, read_tensors(network), network, f"torchvision's {net}", unused=("classifier.",))
    fill(found.learnt, read_tensors(learnt), learnt, f"the linear layers of LPIPS 0.1 for {net}")
    if any(bool((weight < 0).any()) for weight in found.learnt.weights()):
        raise InputError(f"{learnt}: the weights of {found.name} must not be negative; are these version 0.1?")
    return found


def _file(folder: Path, stem: str) -> Path:
    exact = [folder / f"{stem}{suffix}" for suffix in _SUFFIXES]
    dashed = [p for suffix in _SUFFIXES for p in sorted(folder.glob(f"{stem}-*{suffix}"))]
    for path in [*exact, *dashed]:
        if path.is_file():
            return path
    raise InputError(
        f"{folder} has no {stem}.pth (or {stem}-….pth, .pt, .safetensors), which LPIPS needs: put it there"
    )
