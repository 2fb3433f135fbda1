"""Table 1 of the paper (Knuutila 2023, arXiv 2312.00570), to stand beside one's own: photographs split at random."""

from __future__ import annotations

PAPER_TABLE_1 = (
    ("income", "E4E", 0.794, 0.721, 0.756),
    ("education", "E4E", 0.769, 0.781, 0.775),
    ("health", "E4E", 0.899, 0.754, 0.820),
    ("income", "ReStyle", 0.788, 0.772, 0.780),
    ("education", "ReStyle", 0.773, 0.763, 0.768),
    ("health", "ReStyle", 0.836, 0.788, 0.811),
    ("income", "SG2-ADA", 0.716, 0.738, 0.727),
    ("education", "SG2-ADA", 0.735, 0.700, 0.717),
    ("health", "SG2-ADA", 0.747, 0.738, 0.742),
)


def paper_rows() -> list[dict[str, str | float]]:
    """Return the paper's nine rows, one dictionary each."""
    keys = ("axis", "method", "precision", "recall", "f1")
    return [dict(zip(keys, row, strict=True)) for row in PAPER_TABLE_1]
