"""What an encoder is made of: the few facts that fix all of its tensors. This module imports no PyTorch.

The facts stand as JSON in our own files; in a published one they are read off the names and shapes of its tensors.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from atlas.errors import InputError
from atlas.preset import ENCODERS

BACKBONES = ("ir-se50", "resnet34", "narrow")
HEADS = ("pyramid", "simple")
PUBLISHED_SIZE = 256  # what the published encoders shrink or enlarge every photograph to
NARROW_SIZE = 128  # the narrow backbone looks at no more than this
ITERATIONS = 5  # passes of ReStyle, as published


@dataclass(frozen=True)
class EncoderArchitecture:
    """An encoder.

    Attributes:
        method: "e4e": one pass over the photograph; "restyle": passes over photograph and reconstruction, each
            adding to the codes of the one before.
        backbone: "ir-se50", "resnet34", or "narrow" for small generators on small machines.
        heads: "pyramid": coarse styles are read from coarse features, fine ones from fine features; "simple": all
            from the last.
        progressive: styles are a first one and differences from it (Encoder4Editing), not each for itself (pSp).
        num_ws, w_dim: of the generator whose codes it gives.
        size: side of the square images that the backbone takes.
        iterations: passes; 1 for e4e.
    """

    method: str
    backbone: str
    heads: str
    progressive: bool
    num_ws: int
    w_dim: int
    size: int
    iterations: int = 1

    def __post_init__(self) -> None:
        for name, allowed in (("method", ENCODERS), ("backbone", BACKBONES), ("heads", HEADS)):
            if getattr(self, name) not in allowed:
                raise InputError(f"an encoder's {name} must be one of {', '.join(allowed)}, got {getattr(self, name)}")
        if self.backbone == "resnet34" and self.heads != "simple":
            raise InputError("the backbone resnet34 has simple heads only")
        lowest = 32 if self.backbone != "narrow" else 4
        if self.size < lowest or self.size & (self.size - 1):
            raise InputError(f"an encoder's size must be a power of two from {lowest} up, got {self.size}")
        if min(self.num_ws, self.w_dim, self.iterations) < 1 or (self.method == "e4e" and self.iterations != 1):
            raise InputError(
                f"an encoder needs styles, their size and passes (1 for e4e), "
                f"got {self.num_ws}, {self.w_dim} and {self.iterations}"
            )

    @property
    def in_channels(self) -> int:
        """Return 3 for a photograph, 6 for a photograph and its reconstruction so far."""
        return 6 if self.method == "restyle" else 3

    @property
    def last_stage(self) -> int:
        """Return the stage of progressive training from which on every style has its own difference."""
        return self.num_ws - 1

    @classmethod
    def made_for(
        cls, method: str, backbone: str, variant: str, num_ws: int, w_dim: int, resolution: int, iterations: int
    ) -> Self:
        """Return the encoder for a generator.

        Args:
            method: "e4e" or "restyle".
            backbone: "full": as published, IR-SE50 for e4e and ResNet34 for ReStyle, on 256 px; or "narrow".
            variant: what ReStyle refines with, "psp" or "e4e" (progressive).
            num_ws, w_dim, resolution: of the generator.
            iterations: of ReStyle.
        """
        full = {"e4e": "ir-se50", "restyle": "resnet34"}[method] if backbone == "full" else "narrow"
        return cls(
            method=method,
            backbone=full,
            heads="pyramid" if method == "e4e" else "simple",
            progressive=method == "e4e" or variant == "e4e",
            num_ws=num_ws,
            w_dim=w_dim,
            size=PUBLISHED_SIZE if backbone == "full" else min(resolution, NARROW_SIZE),
            iterations=iterations if method == "restyle" else 1,
        )

    @classmethod
    def infer(cls, shapes: Mapping[str, Sequence[int]], progressive: bool, iterations: int, file: str) -> Self:
        """Read the architecture off a published encoder's tensors, named without prefix.

        Args:
            shapes: of all tensors.
            progressive: leaves no trace in the tensors.
            iterations: nor does this.
            file: for messages.

        Raises:
            InputError: the tensors are not those of a published encoder.
        """
        styles = sorted(
            {
                int(m.group(1))
                for m in (re.match(r"styles\.(\d+)\.linear\.weight$", n) for n in shapes)
                if m and len(shapes[m.group()]) == 2
            }
        )
        stem = next((n for n in ("input_layer.0.weight", "conv1.weight") if len(shapes.get(n, ())) == 4), None)
        if stem is None or not styles or styles != list(range(len(styles))):
            raise InputError(
                f"{file} holds no encoder that is known here: tensors styles.N.linear.weight and input_layer.0.weight "
                "(IR-SE50) or conv1.weight (ResNet34) must be there"
            )
        method = "restyle" if shapes[stem][1] == 6 else "e4e"
        pyramid = "latlayer1.weight" in shapes
        return cls(
            method=method,
            backbone="ir-se50" if stem.startswith("input_layer") else "resnet34",
            heads="pyramid" if pyramid else "simple",
            progressive=progressive,
            num_ws=len(styles),
            w_dim=int(shapes["styles.0.linear.weight"][0]),
            size=PUBLISHED_SIZE,
            iterations=iterations if method == "restyle" else 1,
        )

    def to_dict(self) -> dict[str, object]:
        """Return the architecture as JSON-able facts."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, table: object, file: str) -> Self:
        """Read what `to_dict` gave.

        Raises:
            InputError: a key is missing, unknown or out of range.
        """
        try:
            return cls(**table)  # type: ignore[arg-type]
        except (TypeError, InputError) as error:
            raise InputError(
                f"{file}: the encoder's architecture cannot be read ({error}): {json.dumps(table)}"
            ) from error
