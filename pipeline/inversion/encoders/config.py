"""Everything that decides an encoder's training, resolved from the preset's ``[encoder]``. Imports no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from atlas.errors import InputError
from atlas.preset import ENCODERS, EncoderSettings
from pipeline.gan.architecture import GeneratorArchitecture
from pipeline.inversion.encoders.architecture import EncoderArchitecture


@dataclass(frozen=True)
class EncoderConfig:
    """All numbers of a training run, beside the generator, the photographs and the seed.

    Attributes:
        architecture: the encoder.
        batch: images per step, ``generated`` of them rendered from known codes and the rest photographs.
        optimizer, lr, beta1, beta2, epsilon: the encoder's optimiser.
        l2, perceptual, similarity_weight: weights of the images' parts of the loss.
        similarity: "efficientnet-lite0", "moco" or "off".
        delta: weight of the styles' differences from the first (progressive encoders).
        adversarial: weight of the latent discriminator (progressive encoders).
        code: weight of the regression of known codes.
        stage_start, stage_every: style 1 gets its difference at step ``stage_start``, each further one
            ``stage_every`` steps later.
        lr_discriminator, r1, r1_interval, pool: the latent discriminator's rate, its penalty and pools.
        average: half-life, in steps, of the averaged weights that are kept; 0 for none.
        mirror: mirrored photographs count as further ones.
        checkpoint: steps between checkpoints.
    """

    architecture: EncoderArchitecture
    batch: int
    generated: int
    optimizer: str
    lr: float
    similarity: str
    stage_start: int
    stage_every: int
    lr_discriminator: float
    average: int
    mirror: bool
    checkpoint: int
    beta1: float
    epsilon: float
    l2: float
    beta2: float = 0.999
    perceptual: float = 0.8
    similarity_weight: float = 0.5
    delta: float = 2e-4
    adversarial: float = 0.1
    code: float = 1.0
    r1: float = 10.0
    r1_interval: int = 16
    pool: int = 50

    def stage(self, step: int) -> int:
        """Return how many styles beyond the first have their own difference in training step ``step``, from 0."""
        arch = self.architecture
        if not arch.progressive or step < self.stage_start:
            return 0 if arch.progressive else arch.last_stage
        return min(arch.last_stage, 1 + (step - self.stage_start) // self.stage_every)


@dataclass(frozen=True)
class _Recipe:
    steps: int
    batch: int
    optimizer: str
    lr: float
    stage_start: int
    stage_every: int
    lr_discriminator: float
    average: int
    checkpoint: int
    similarity: str
    l2: float


# "full" is as published, for 200,000 steps on a GPU. "narrow" is for a few thousand on a processor: the published
# schedule four hundred times faster, rates ten times higher, Adam, since Ranger's first hundred steps move little, and
# averaged weights, which do for a short run what a falling rate would and, unlike it, do not hang on how long the run
# shall be. Pixels weigh more, as they do in the projector where EfficientNet stands for LPIPS; and there is no
# similarity: small pictures have no deep features worth comparing, and these would take as long as all of the rest.
_RECIPES = {
    "full": _Recipe(200_000, 8, "ranger", 1e-4, 20_000, 2_000, 2e-5, 0, 2_000, "efficientnet-lite0", 1.0),
    "narrow": _Recipe(2_000, 8, "adam", 1e-3, 50, 5, 2e-4, 100, 100, "off", 10.0),
}


def completed(settings: EncoderSettings) -> EncoderSettings:
    """Return the settings with what follows from the others filled in: the steps, and MoCo where it is given.

    The number of steps is no part of `EncoderConfig`: a training goes on when more are asked for.

    Raises:
        InputError: MoCo asked for and not given, or given and another similarity asked for.
    """
    if settings.similarity == "moco" and not settings.moco:
        raise InputError('encoder.similarity is "moco": say where its checkpoint is with encoder.moco')
    if settings.moco and settings.similarity not in ("default", "moco"):
        raise InputError(
            f'encoder.similarity is "{settings.similarity}", which has no use for the checkpoint of encoder.moco: '
            "leave one of them out"
        )
    steps = settings.steps or _RECIPES[settings.backbone].steps
    return replace(settings, steps=steps, similarity="moco" if settings.moco else settings.similarity)


def resolve(method: str, settings: EncoderSettings, generator: GeneratorArchitecture) -> EncoderConfig:
    """Fill in every number.

    Args:
        method: "e4e" or "restyle".
        settings: the preset's ``[encoder]``; 0 stands for "as the configuration has it".
        generator: whose codes the encoder shall give: resolution, number and size of styles are read from it.

    Raises:
        InputError: an unknown method, or as `completed`.
    """
    settings = completed(settings)
    if method not in ENCODERS:
        raise InputError(f"an encoder's method must be one of {', '.join(ENCODERS)}, got {method!r}")
    recipe = _RECIPES[settings.backbone]
    batch = settings.batch or recipe.batch
    optimizer = recipe.optimizer if settings.optimizer == "default" else settings.optimizer
    ranger = optimizer == "ranger"
    return EncoderConfig(
        architecture=EncoderArchitecture.made_for(
            method,
            settings.backbone,
            settings.variant,
            generator.num_ws,
            generator.w_dim,
            generator.img_resolution,
            settings.iterations,
        ),
        batch=batch,
        generated=round(settings.generated * batch),
        optimizer=optimizer,
        beta1=0.95 if ranger else 0.9,  # each as published
        epsilon=1e-5 if ranger else 1e-8,
        lr=settings.lr or recipe.lr,
        similarity=recipe.similarity if settings.similarity == "default" else settings.similarity,
        stage_start=settings.stage_start or recipe.stage_start,
        stage_every=settings.stage_every or recipe.stage_every,
        lr_discriminator=recipe.lr_discriminator,
        average=recipe.average,
        l2=recipe.l2,
        mirror=settings.mirror,
        checkpoint=settings.checkpoint or recipe.checkpoint,
    )
