"""What a training begins from: random networks, or those of a checkpoint. Imports PyTorch only for the latter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atlas.errors import InputError
from atlas.files import sha256_bytes, sha256_path
from atlas.preset import TrainSettings
from pipeline.gan.config import TrainConfig, resolve, transferred

if TYPE_CHECKING:
    from pipeline.gan.networks import Discriminator, Generator


@dataclass(frozen=True)
class Beginning:
    """The networks that a training begins from.

    Attributes:
        G: the (averaged) generator.
        D: the discriminator; None where the checkpoint has none.
    """

    G: Generator
    D: Discriminator | None

    def news(self, init: str, config: TrainConfig) -> str:
        """Return in a line what training begins from and what it does not take over."""
        parts = [f"train: beginning from {init}"]
        if self.D is None:
            parts.append("with a discriminator that starts anew")
        networks = {"generator": self.G, "discriminator": self.D}
        for name, network in networks.items():
            limit = None if network is None else network.architecture.conv_clamp
            if network is not None and limit != config.conv_clamp:
                parts.append(f"its {name} limits activations to {_limit(limit)}, here to {_limit(config.conv_clamp)}")
        return ", ".join(parts)


def _limit(conv_clamp: float | None) -> str:
    return "nothing" if conv_clamp is None else f"±{conv_clamp:g}"


def initial_files(init: str) -> dict[str, Path]:
    """Return the files that ``[train] init`` means, by what they are; a folder is that of an earlier training.

    Raises:
        InputError: there is nothing.
    """
    path = Path(init)
    if not init:
        return {}
    if path.is_dir():
        names = {f"initial {kind}": path / f"{kind}.safetensors" for kind in ("generator", "discriminator")}
        found = {name: file for name, file in names.items() if file.exists()}
        if "initial generator" not in found:
            raise InputError(f"training cannot begin from the folder {path}: it has no generator.safetensors")
        return found
    if not path.exists():
        raise InputError(f"training cannot begin from {path}: there is no such file or folder")
    return {"initial generator": path}


def configure(settings: TrainSettings, resolution: int) -> tuple[TrainConfig, Beginning | None]:
    """Resolve every hyperparameter, and read the networks to begin from if there are any.

    Raises:
        InputError: a setting does not suit StyleGAN2, or the networks cannot be read or do not suit the settings.
    """
    config = resolve(settings, resolution)
    files = initial_files(settings.init)
    if not files:
        return config, None
    beginning = _read(files)
    architecture = None if beginning.D is None else beginning.D.architecture
    digest = sha256_bytes("".join(sha256_path(file) for file in files.values()).encode())
    config = transferred(config, settings, beginning.G.architecture, architecture, digest, settings.init)
    return config, beginning


def _read(files: dict[str, Path]) -> Beginning:
    from pipeline.gan.checkpoint import read_network
    from pipeline.gan.formats import open_checkpoint
    from pipeline.gan.networks import Discriminator, Generator

    source = files["initial generator"]
    G, _ = read_network(source, "generator")
    D = None
    if "initial discriminator" in files:
        D, _ = read_network(files["initial discriminator"], "discriminator")
    elif "discriminator" in open_checkpoint(source):
        D, _ = read_network(source, "discriminator")
    assert isinstance(G, Generator)
    assert D is None or isinstance(D, Discriminator)
    return Beginning(G, D)
