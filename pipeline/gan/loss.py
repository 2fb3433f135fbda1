"""What is minimised: non-saturating logistic loss, R1 and path length regularisation (Karras et al. 2020).

Each method of `Losses` returns one number per sample, before the mean; the training loop weighs and differentiates
them, one phase at a time.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from pipeline.gan.networks import Discriminator, Generator
from pipeline.gan.rendering import render_with_noise
from pipeline.processes import ALONE, WHOLE, Processes, Share


def style_mix(ws: Tensor, others: Callable[[], Tensor], probability: float, rng: torch.Generator) -> Tensor:
    """With the given probability replace the last layers of w, from one random cut on, by another latent's.

    Args:
        ws: [N, L, D].
        others: gives the other latents' w, [N, L, D]; called only when there is mixing.
        probability: of mixing; the cut, the same for the whole batch, is uniform in [1, L).
        rng: where chance comes from.
    """
    layers = ws.shape[1]
    if layers < 2 or probability == 0:
        return ws
    cut = int(torch.randint(1, layers, [], generator=rng, device=rng.device))
    if float(torch.rand([], generator=rng, device=rng.device)) >= probability:
        return ws
    return torch.cat([ws[:, :cut], others()[:, cut:]], dim=1)


def path_gradients(images: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
    """Return d Σ(images · noise) / d ws, [N, L, D], itself differentiable; ``noise`` is unit normal, [N, 3, H, W]."""
    weighted = (images * noise).sum() / math.sqrt(images.shape[2] * images.shape[3])
    (grads,) = torch.autograd.grad(weighted, ws, create_graph=True)
    return grads


def path_lengths(grads: Tensor) -> Tensor:
    """Return √(mean over layers of Σ over D of the squared gradients): [N, L, D] → [N]."""
    return grads.square().sum(dim=2).mean(dim=1).sqrt()


@dataclass
class Losses:
    """The losses of one pair of networks, on this process's share of each batch.

    Latents, photographs and what is returned are the share's, N = batch / processes; chance is drawn for all.

    Attributes:
        G, D: in training mode.
        augment: applied to what the discriminator sees, photographs and fakes alike.
        rng: where chance comes from.
        gamma: weight of R1 (its half is used, as in the paper's equation).
        pl_weight, pl_decay, pl_shrink: see `TrainConfig`.
        style_mixing: probability of style mixing.
        noise_mode: of the synthesis network.
        share, processes: which rows of a whole batch these are; by default there is one process.
        pl_mean: running mean of path lengths, a scalar, moved in place; part of the training state.
    """

    G: Generator
    D: Discriminator
    augment: Callable[[Tensor], Tensor]
    rng: torch.Generator
    gamma: float
    pl_weight: float = 2.0
    pl_decay: float = 0.01
    pl_shrink: int = 2
    style_mixing: float = 0.9
    noise_mode: str = "random"
    share: Share = WHOLE
    processes: Processes = ALONE
    pl_mean: Tensor = field(default_factory=lambda: torch.zeros([]))

    def render(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map, mix styles and render: [N, z_dim] → images [N, 3, H, W], ws [N, L, D]. Moves w_avg."""
        ws = self.G.mapping(z, update_w_avg=True)
        ws = style_mix(ws, lambda: self.G.mapping(self.normal(z.shape)), self.style_mixing, self.rng)
        return self.synthesise(ws), ws

    def synthesise(self, ws: Tensor) -> Tensor:
        """Render [N, L, D] → [N, 3, H, W]; random noise is the same however a batch is shared."""
        if self.noise_mode != "random":
            return self.G.synthesis(ws, noise_mode=self.noise_mode)
        return render_with_noise(self.G, ws, self.rng, self.share)

    def generator(self, z: Tensor) -> Tensor:
        """Return softplus(−D(G(z))), [N, 1]: small when the fakes pass for photographs."""
        images, _ = self.render(z)
        return F.softplus(-self.D(self.augment(images)))

    def path_length(self, z: Tensor) -> Tensor:
        """Return the weighted path length penalty of the first N / pl_shrink latents; moves ``pl_mean``."""
        images, ws = self.render(z[: max(1, len(z) // self.pl_shrink)])
        return self.path_penalty(images, ws, self.normal(images.shape))

    def path_penalty(self, images: Tensor, ws: Tensor, noise: Tensor) -> Tensor:
        """Return pl_weight · (length − mean)², [N]; the mean takes part in the gradient, its update does not."""
        lengths = path_lengths(path_gradients(images, ws, noise))
        mean = self.pl_mean.lerp(self.processes.mean(lengths.mean()), self.pl_decay)
        self.pl_mean.copy_(mean.detach())
        return (lengths - mean).square() * self.pl_weight

    def discriminator(self, z: Tensor, real: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return softplus(D(G(z))), softplus(−D(real)) and the logits D(real), [N, 1] each.

        No gradient reaches the generator.
        """
        with torch.no_grad():
            fakes, _ = self.render(z)
        fake_logits, real_logits = self.judge(fakes, real)
        return F.softplus(fake_logits), F.softplus(-real_logits), real_logits.detach()

    def judge(self, fakes: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of augmented fakes and photographs, [N, 1] each, in one call where that is the same.

        One call on 2·N images costs less than two on N. The minibatch deviation must not see across: its groups are
        strided, so fakes and photographs are woven such that each group holds one kind only.
        """
        n, group = len(fakes), self.D.architecture.mbstd_group
        if n % group:  # a group would be smaller than it is in a call on all
            return self.D(self.augment(fakes)), self.D(self.augment(real))
        woven = torch.stack([fakes.unflatten(0, (group, -1)), real.unflatten(0, (group, -1))], dim=1)
        logits = self.D(self.augment(woven.flatten(0, 2))).view(group, 2, n // group)
        return logits[:, 0].reshape(n, 1), logits[:, 1].reshape(n, 1)

    def r1(self, real: Tensor) -> tuple[Tensor, Tensor]:
        """Return γ/2 · ‖∂D/∂real‖², [N], through the augmentation, and the logits [N, 1]."""
        real = real.detach().requires_grad_(True)
        logits = self.D(self.augment(real))
        (grads,) = torch.autograd.grad(logits.sum(), real, create_graph=True)
        return grads.square().sum(dim=[1, 2, 3]) * (self.gamma / 2), logits.detach()

    def normal(self, shape: torch.Size) -> Tensor:
        """Draw unit normal numbers of a share's shape, [N, …], in the type of the generator's w."""
        return self.share.normal(shape, self.rng, self.G.mapping.w_avg.dtype)
