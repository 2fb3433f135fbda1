"""What an evaluation is told. This module imports no PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


def _limits(default: Any, low: float, high: float) -> Any:
    return field(default=default, metadata={"range": (low, high)})


@dataclass(frozen=True)
class MetricsSettings:
    """How much is compared. More samples cost time and tell more; 50,000 are usual where FIDs are published."""

    samples: int = _limits(2000, 20, 1_000_000)
    photographs: int = _limits(0, 0, 10_000_000)
    pairs: int = _limits(1000, 0, 1_000_000)
    sampling: str = field(default="end", metadata={"choices": ("end", "full")})
    truncation: float = _limits(1.0, 0.0, 2.0)
