"""What an encoder is trained to make small. Each part is a small module or function; `EncoderLoss` adds them up.

As published (e4e section 4, ReStyle section 4): pixels, LPIPS (AlexNet) and a similarity of deep features (MoCo, for
other things than faces), differences between styles, and the latent discriminator. Where the user has no LPIPS or
MoCo files, EfficientNet-Lite0 stands for both, and the parts are named after what they are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline.features import FeatureFunction, load_efficientnet_lite0
from pipeline.features import perceptual_distance as squared_distance
from pipeline.inversion.encoders.blocks import Bottleneck
from pipeline.inversion.encoders.config import EncoderConfig
from pipeline.lpips import choose_perceptual
from pipeline.weights import fill, read_tensors

_MOCO_SIZE = 224
_MOCO_PREFIX = "module.encoder_q."
_MOCO_BLOCKS = ((64, 3), (128, 4), (256, 6), (512, 3))


class MocoFeatures(nn.Module):
    """The ResNet-50 of MoCo v2 (Chen et al. 2020), pooled and of unit length: [N, 3, H, W] in [-1, 1] → [N, 2048].

    As the published encoders use it: images stay in [-1, 1], and are brought to 224 px by the nearest pixel.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for level, (width, count) in enumerate(_MOCO_BLOCKS, 1):
            blocks = []
            for i in range(count):
                blocks.append(Bottleneck(channels, width, 2 if level > 1 and i == 0 else 1))
                channels = width * Bottleneck.EXPANSION
            self.add_module(f"layer{level}", nn.Sequential(*blocks))
        self.eval().requires_grad_(False)

    def train(self, mode: bool = True) -> MocoFeatures:
        """Stay in evaluation mode: the features are fixed."""
        return super().train(False)

    def forward(self, images: Tensor) -> Tensor:
        """Return the features."""
        x = F.interpolate(images, size=_MOCO_SIZE)
        x = F.max_pool2d(F.relu(self.bn1(self.conv1(x))), 3, 2, 1)
        for level in range(1, len(_MOCO_BLOCKS) + 1):
            x = self.get_submodule(f"layer{level}")(x)
        return F.normalize(x.mean((2, 3)), dim=1)


def load_moco(path: Path, device: str | torch.device = "cpu") -> MocoFeatures:
    """Load MoCo v2's query encoder from the user's published checkpoint, read as data, frozen.

    Raises:
        InputError: not readable, or a tensor is missing or of another shape.
    """
    features, tensors = MocoFeatures(), read_tensors(path)
    query = {n.removeprefix(_MOCO_PREFIX): t for n, t in tensors.items() if n.startswith(_MOCO_PREFIX)}
    fill(features, query, path, "MoCo v2", unused=("fc.",))
    return features.to(device)


def dissimilarity(features: Callable[[Tensor], Tensor], a: Tensor, b: Tensor) -> Tensor:
    """Return 1 − the cosine between the features of images ``a`` and ``b`` [N, 3, H, W]: [N], 0 … 2."""
    return 1 - F.cosine_similarity(features(a), features(b), dim=1)


def delta_size(codes: Tensor, stage: int) -> Tensor:
    """Return Σ over styles 1 … ``stage`` of the length of their difference from the first, averaged over N."""
    if stage == 0:
        return codes.new_zeros(())
    return (codes[:, 1 : stage + 1] - codes[:, :1]).norm(dim=2).sum(1).mean()


def unexplained(codes: Tensor, known: Tensor, variance: Tensor) -> Tensor:
    """Return the share of the codes' variance that is not explained: [N]; 1 for the mean code.

    Args:
        codes: [N, L, D].
        known: the codes that the images were rendered from, [N, L, D].
        variance: of the generator's codes, averaged over D, a scalar.
    """
    return (codes - known).square().mean((1, 2)) / variance


@dataclass(frozen=True)
class ImageLosses:
    """The parts that compare images.

    Attributes:
        perceptual: features whose squared distance is compared.
        perceptual_name: what they are called wherever their values are shown.
        similarity: deep features whose direction is compared; None for none.
        similarity_name: what they are called.
    """

    perceptual: FeatureFunction
    perceptual_name: str
    similarity: Callable[[Tensor], Tensor] | None
    similarity_name: str

    @classmethod
    def load(cls, config: EncoderConfig, lpips: str, moco: str, like: Tensor) -> ImageLosses:
        """Load the networks that a configuration asks for.

        Args:
            config: says which similarity.
            lpips: folder of the user's LPIPS files, or "".
            moco: the user's MoCo checkpoint, or "".
            like: they run where this is, in its type.

        Raises:
            InputError: a file cannot be used, or MoCo is asked for and not given.
        """
        chosen = choose_perceptual(lpips, "alexnet", like)
        perceptual, name = chosen.features, chosen.name
        if config.similarity == "moco":
            return cls(perceptual, name, load_moco(Path(moco)).to(like), "MoCo v2")
        if config.similarity == "efficientnet-lite0":
            return cls(perceptual, name, load_efficientnet_lite0().to(like).pooled, "EfficientNet-Lite0 pooled")
        return cls(perceptual, name, None, "none")

    @property
    def names(self) -> str:
        """Return what the parts are, in words."""
        return f"perceptual: {self.perceptual_name}; similarity: {self.similarity_name}"

    def parts(self, images: Tensor, photographs: Tensor) -> dict[str, Tensor]:
        """Return "l2", "perceptual" and, where wanted, "similarity": scalars, averaged over [N, 3, H, W]."""
        found = {
            "l2": F.mse_loss(images, photographs),
            "perceptual": squared_distance(self.perceptual, images, photographs).mean(),
        }
        if self.similarity is not None:
            found["similarity"] = dissimilarity(self.similarity, images, photographs).mean()
        return found
