"""StyleGAN2-ADA's projector (Karras et al. 2020): the w whose image has the photograph's features, found by Adam.

As published, but for two things. The features are any `FeatureFunction`; by default EfficientNet-Lite0's, since
LPIPS's VGG16 is the user's to bring (`pipeline.lpips`); and since these are coarser, the pixels themselves have a part
in the loss (`ProjectorSettings.pixel_weight`). And many photographs are optimised at once: with its own optimiser
state, its own noise maps and its own random stream each one's code is the same alone and in any batch: `projection` has
the loop.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import numpy as np
import torch
from torch import Tensor

from atlas.progress import Progress, silent
from pipeline.features import FeatureFunction, load_perceptual
from pipeline.gan import Generator
from pipeline.inversion.inputs import check_unconditional, prepared
from pipeline.inversion.projection import WStatistics, draw_randomness, photo_stream, projection, w_statistics
from pipeline.inversion.schedule import ProjectorSettings

__all__ = ["Projected", "Projector", "ProjectorSettings"]


@dataclass(frozen=True)
class Projected:
    """What was found for a batch of photographs.

    Attributes:
        w: [N, num_ws, w_dim] float32; in W the same for all layers.
        noise: the optimised noise maps [N, R, R] by the name of their buffer, if they were to be kept. The original
            gives them up and renders with the network's own.
        steps: [N] int, how many each photograph took.
    """

    w: Tensor
    noise: dict[str, Tensor]
    steps: np.ndarray


@dataclass
class Projector:
    """Finds the latent codes of photographs by optimisation, a batch at a time.

    Args:
        settings: as published, unless told otherwise.
        seed: of the photographs' random streams.
        features: of the perceptual loss; EfficientNet-Lite0's when absent.

    Attributes:
        generator_: whose codes are looked for, after `fit`.
        statistics_: mean and standard deviation of its w.

    Example:
        >>> Projector(ProjectorSettings(steps=100), seed=1).fit(G).invert(images)   # [N, num_ws, w_dim]
    """

    settings: ProjectorSettings = field(default_factory=ProjectorSettings)
    seed: int = 1
    features: FeatureFunction | None = None

    def fit(self, generator: Generator) -> Self:
        """Take a generator, in eval mode, and measure its w: all that there is to learn before `invert`.

        The encoders' `fit` trains, and so asks for a dataset and for a file; what it learns the projector finds for
        each photograph anew.

        Raises:
            InputError: the generator is conditional or not one of RGB images.
        """
        check_unconditional(generator, "the projector's generator")
        self.generator_: Generator = generator
        self.statistics_: WStatistics = w_statistics(generator, self.settings.w_samples)
        self._features: FeatureFunction = self.features or load_perceptual(generator.mapping.w_avg.device)
        return self

    def invert(
        self,
        images: Tensor,
        names: Sequence[str] | None = None,
        start: Tensor | None = None,
        progress: Progress = silent,
    ) -> Tensor:
        """Return the code of each photograph, [N, num_ws, w_dim] float32. Arguments and errors as `project`."""
        return self.project(images, names, start, progress=progress).w

    def project(
        self,
        images: Tensor,
        names: Sequence[str] | None = None,
        start: Tensor | None = None,
        *,
        keep_noise: bool = False,
        progress: Progress = silent,
    ) -> Projected:
        """Find the code of each photograph.

        Args:
            images: [N, 3, H, H] in [-1, 1], or greyscale [N, 1, H, H], of any size; optimised at the generator's.
            names: a name per photograph, which with the seed decides its random stream; without names its own pixels
                do.
            start: codes [N, num_ws, w_dim] to start from, such as an encoder's; None for the mean of w.
            keep_noise: return the optimised noise maps too.
            progress: told of the optimiser's steps.

        Raises:
            InputError: the images are not square photographs.
        """
        generator = self.generator_
        images = prepared(images, generator.img_resolution, next(generator.synthesis.parameters()))
        streams = [photo_stream(self.seed, name) for name in (_names(images) if names is None else names)]
        randomness = draw_randomness(generator, streams, self.settings)
        w = torch.empty(len(images), generator.num_ws, generator.w_dim, device=images.device)
        noise = {name: torch.empty_like(m) for name, m in randomness.maps.items()} if keep_noise else {}
        steps = np.zeros(len(images), int)
        path = projection(generator, self._features, images, self.statistics_, randomness, self.settings, start)
        for done, step in enumerate(path):
            progress(done + 1, self.settings.steps)
            if not step.finished.any():
                continue
            over = torch.from_numpy(np.flatnonzero(step.finished)).to(w.device)
            rows = torch.from_numpy(step.rows[step.finished]).to(w.device)
            w[rows] = step.w[over].expand(-1, generator.num_ws, -1).float()
            steps[step.rows[step.finished]] = done + 1
            if keep_noise:
                for name, maps in step.maps.buffers().items():
                    noise[name][rows] = maps.detach()[over, 0]
        return Projected(w, noise, steps)


def _names(images: Tensor) -> list[str]:
    """Return a name for each image that hangs on its pixels alone."""
    pixels = images.float().cpu().numpy()
    return [hashlib.sha256(image.tobytes()).hexdigest() for image in pixels]
