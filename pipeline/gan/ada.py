"""Adaptive discriminator augmentation: the controller of the probability p (Karras et al. 2020b, section 3)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class AdaController:
    """Steers p so that r_t, the mean sign of the discriminator's logits on photographs, stays at a target.

    r_t near 1 says that the discriminator knows its photographs by heart: p rises; below the target p falls.

    Attributes:
        target: wanted r_t.
        kimg: p needs at least so many thousand images to go from 0 to 1.
        p_max: p stays in [0, p_max].
        p: the probability now.
        r_t: what the last adjustment saw.
    """

    target: float
    kimg: float
    p_max: float
    p: float = 0.0
    r_t: float = 0.0

    def adjust(self, r_t: float, images: int) -> None:
        """Move p one step, by as much as ``images`` trained since the last step allow."""
        direction = (r_t > self.target) - (r_t < self.target)
        self.r_t = r_t
        self.p = min(max(self.p + direction * images / (self.kimg * 1000), 0.0), self.p_max)
