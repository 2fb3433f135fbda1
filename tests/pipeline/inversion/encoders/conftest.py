"""The rule by which the recorded encoders' weights were made, and small encoders and their generators."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

PARITY = Path(__file__).resolve().parents[3] / "parity"
_KINDS = {
    "conv": lambda n: n * np.sqrt(1 / np.prod(n.shape[1:])),
    "styleconv": lambda n: n * np.sqrt(2 / np.prod(n.shape[1:])),
    "eqlinear": lambda n: n,
    "normal": lambda n: n,
    "norm": lambda n: 1 + 0.1 * n,
    "prelu": lambda n: 0.25 + 0.05 * n,
    "bias": lambda n: 0.1 * n,
    "mean": lambda n: 0.1 * n,
    "var": lambda n: np.exp(0.1 * n),
    "mlpw": lambda n: 100 * n,
    "mlpb": lambda n: 30 * n,
    "one": lambda n: 1 + 0.3 * n,
    "pt3": lambda n: 0.3 * n,
}


def drawn(name: str, shape: list[int], kind: str) -> Tensor:
    """The tensor that the rule gives to a name."""
    if kind == "zero":
        return torch.zeros(shape, dtype=torch.int64)
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    n = np.random.default_rng(seed).standard_normal(shape)
    return torch.from_numpy(np.asarray(_KINDS[kind](n))).float()


@dataclass(frozen=True)
class Recording:
    """A recorded encoder: expected outputs, description, and its weights made anew."""

    tensors: dict[str, Tensor]
    entry: dict[str, Any]
    names: dict[str, tuple[list[int], str]]

    def weights(self, prefix: str = "") -> dict[str, Tensor]:
        return {name: drawn(prefix + name, shape, kind) for name, (shape, kind) in self.names.items() if kind != "keep"}

    def check(self, name: str, mine: Tensor) -> None:
        expected, limit = self.tensors[name], self.entry["outputs"][name]["suggested_atol"]
        assert mine.shape == expected.shape, name
        difference = (mine - expected).abs().max().item()
        assert difference <= limit, f"{name} is off by {difference}, allowed {limit}"


@pytest.fixture(autouse=True, scope="session")
def one_thread_from_the_start():
    """Also what is made once for many tests is made on one thread, so that bytes can be compared."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def encoder_recording():
    entries = {e["file"]: e for e in json.loads((PARITY / "encoders.json").read_text())["fixtures"]}

    def read(name: str) -> Recording:
        entry = entries[f"{name}.safetensors"]
        names = entry["names"] if "names" in entry else entries[entry["names_as"]]["names"]
        return Recording(load_file(PARITY / entry["file"]), entry, names)

    return read


@pytest.fixture(scope="session")
def rule():
    """Gives the tensor that the rule makes of (name, shape, kind)."""
    return drawn


@pytest.fixture(scope="session")
def recorded_input() -> Tensor:
    """The image and the "reconstruction" that all recorded encoders saw, [1, 6, 256, 256], by their formula."""
    place = (np.arange(256) + 0.5) / 256
    u, v = place[None, :], place[:, None]
    channels = []
    for o in (0.0, 0.37):
        for c in range(3):
            x = 0.55 * np.sin(2 * np.pi * ((1 + c + o) * u + (2 - 0.5 * c) * v) + 0.7 * c + o)
            x = x + 0.30 * np.cos(2 * np.pi * ((5 + 2 * o) * u * v + (3 + c) * u * u) - 0.4 * c)
            channels.append(x + 0.15 * np.sin(2 * np.pi * (17 + o) * (u - 0.5 * v)))
    return torch.from_numpy(np.stack(channels)[None]).float()
