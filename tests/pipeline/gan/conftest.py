"""Recorded tensors and tiny datasets for the tests of the GAN."""

import io
import json
import pickle
import sys
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pipeline.gan.checkpoint import check_device
from pipeline.photos.dataset import Photo, write_dataset

PARITY = Path(__file__).resolve().parents[2] / "parity"


@dataclass(frozen=True)
class Recording:
    """One recorded file: its tensors, its description, and a check that names what is off."""

    tensors: dict[str, Tensor]
    entry: dict[str, Any]

    def check(self, name: str, mine: Tensor) -> None:
        expected, limit = self.tensors[name], self.entry["outputs"][name]["suggested_atol"]
        assert mine.shape == expected.shape, name
        difference = (mine.detach().cpu() - expected.cpu()).abs().max().item()
        assert difference <= limit, f"{name} is off by {difference}, allowed {limit}"

    def on(self, device: str) -> "Recording":
        """The same with its tensors on a device; what is checked may lie anywhere."""
        return Recording({name: t.to(device) for name, t in self.tensors.items()}, self.entry)

    def weights(self, prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: t for name, t in self.tensors.items() if name.startswith(prefix)}


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> Iterator[None]:
    """Tiny tensors gain nothing from a second thread, and bytes can be compared with those of other processes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    """Run a test on each kind of device."""
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU on this machine")
    check_device(request.param)  # which makes float32 of a GPU float32
    return request.param


@pytest.fixture(scope="session")
def recording() -> Callable[[str], Recording]:
    entries = {e["file"]: e for e in json.loads((PARITY / "gan.json").read_text())["fixtures"]}

    def read(name: str) -> Recording:
        file = f"{name}.safetensors"
        return Recording(load_file(PARITY / file), entries[file])

    return read


@pytest.fixture(scope="session")
def network_files(
    recording: Callable[[str], Recording], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Give a recorded network as a file of bare official names: "generator_a", "discriminator_b", …"""
    folder = tmp_path_factory.mktemp("networks")

    def write(name: str) -> Path:
        path = folder / f"{name}.safetensors"
        if not path.exists():
            weights = recording(name).weights("G." if name.startswith("generator") else "D.")
            save_file({k: t.contiguous() for k, t in weights.items()}, path)
        return path

    return write


def draw_photographs(count: int, size: int, seed: int = 5) -> np.ndarray:
    """Squares of one colour on another, [count, size, size, 3] uint8: enough to learn something from."""
    rng = np.random.default_rng(seed)
    images = np.empty((count, size, size, 3), np.uint8)
    for image in images:
        image[:] = rng.integers(0, 256, 3)
        top, left = rng.integers(0, size // 2, 2)
        image[top : top + size // 2, left : left + size // 2] = rng.integers(0, 256, 3)
    return images


def write_photographs(path: Path, images: np.ndarray) -> Path:
    photo = Photo(
        file="",
        source="drawn",
        source_id="0",
        lat=51.5,
        lon=0.0,
        taken="",
        area="A",
        ranks=(1, 1, 1),
        percentiles=(0.5, 0.5, 0.5),
        group="E530N180",
    )
    write_dataset(path, ((photo, image) for image in images), {"licence": "", "attribution": ""})
    return path


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 drawn photographs of 16 px."""
    return write_photographs(tmp_path_factory.mktemp("data") / "dataset.zip", draw_photographs(40, 16))


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(3)


# What follows writes checkpoints as NVIDIA's training program does, by Python's and PyTorch's own picklers.

CLASSES = {"synthesis": "SynthesisNetwork", "mapping": "MappingNetwork", "affine": "FullyConnectedLayer"}
HOOKS = ("_backward_hooks", "_forward_hooks", "_forward_pre_hooks", "_state_dict_hooks", "_load_state_dict_pre_hooks")


@contextmanager
def official_modules():
    """Let there be modules of the names that an official program has, as long as something is pickled."""
    persistence, util = types.ModuleType("torch_utils.persistence"), types.ModuleType("dnnlib.util")
    exec("def _reconstruct_persistent_obj(meta): raise AssertionError('never called')", persistence.__dict__)
    exec("class EasyDict(dict): pass", util.__dict__)
    parents = {name: types.ModuleType(name) for name in ("torch_utils", "dnnlib")}
    made = {**parents, persistence.__name__: persistence, util.__name__: util}
    before = {name: sys.modules.get(name) for name in made}
    sys.modules.update(made)
    try:
        yield persistence._reconstruct_persistent_obj, util.EasyDict
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


class Persistent:
    """Pickles as NVIDIA's persistent classes do."""

    def __init__(self, function, meta):
        self.call = (function, (meta,))

    def __reduce__(self):
        return self.call


def official_state(module, kwargs, function, easy_dict, class_name, version=6):
    """The pickled form of a module: its ``__dict__``, with the source code of its class beside it."""
    children = OrderedDict(
        (name, official_state(child, {}, function, easy_dict, CLASSES.get(name, "Layer")))
        for name, child in module.named_children()
    )
    state = {
        "training": False,
        "_parameters": OrderedDict(module.named_parameters(recurse=False)),
        "_buffers": OrderedDict(module.named_buffers(recurse=False)),
        "_non_persistent_buffers_set": set(),
        **{name: OrderedDict() for name in HOOKS},
        "_modules": children,
        "weight_gain": np.sqrt(np.float64(2)),
        "padding": np.int64(1),
        "_init_args": (),
        "_init_kwargs": easy_dict(kwargs),
    }
    meta = {"type": "class", "version": version, "module_src": "raise SystemExit", "class_name": class_name}
    return Persistent(function, {**meta, "state": state})


def nvidia_bytes(networks: dict[str, tuple[nn.Module, dict]], protocol: int = 4, **further) -> bytes:
    """Pickle networks as training_loop.py does: name → (module, the arguments it was made with)."""
    with official_modules() as (function, easy_dict):
        content = {"training_set_kwargs": easy_dict(path="dataset.zip", resolution=32)}
        for name, (module, kwargs) in networks.items():
            class_name = "Discriminator" if name == "D" else "Generator"
            content[name] = official_state(module, kwargs, function, easy_dict, class_name)
        buffer = io.BytesIO()
        pickle.Pickler(buffer, protocol).dump({**content, "augment_pipe": None, **further})
        return buffer.getvalue()


def arguments_of(arch) -> dict:
    """The arguments an official network of this architecture was made with."""
    base, most = arch.channels[-1] * arch.img_resolution, max(arch.channels)
    size = {"channel_base": base, "channel_max": most, "num_fp16_res": 4, "conv_clamp": arch.conv_clamp}
    image = {"c_dim": arch.c_dim, "img_resolution": arch.img_resolution, "img_channels": arch.img_channels}
    if hasattr(arch, "z_dim"):
        latent = {"z_dim": arch.z_dim, "w_dim": arch.w_dim}
        return {**latent, "mapping_kwargs": {"num_layers": arch.mapping_layers}, "synthesis_kwargs": size, **image}
    mapping = {"num_layers": arch.mapping_layers} if arch.c_dim else {}
    epilogue = {"mbstd_group_size": arch.mbstd_group}
    return {"block_kwargs": {}, "mapping_kwargs": mapping, "epilogue_kwargs": epilogue, **size, **image}


@pytest.fixture(scope="session")
def layouts() -> dict[str, Any]:
    """Names and shapes of everything in the files of the official programs."""
    return json.loads((PARITY / "checkpoint.json").read_text())["layouts"]


@pytest.fixture(scope="session")
def pickle_networks() -> Callable[..., bytes]:
    return nvidia_bytes


@pytest.fixture(scope="session")
def official_arguments() -> Callable[[Any], dict]:
    return arguments_of


def random_generator(arch: Any, seed: int = 1) -> nn.Module:
    """A generator in which every tensor matters: noise, biases and the mean w are not zero."""
    from pipeline.gan import Generator

    rng = torch.Generator().manual_seed(seed)
    G = Generator(arch).eval().requires_grad_(False)
    for name, tensor in G.state_dict().items():
        if not name.endswith("resample_filter"):
            tensor.add_(0.3 * torch.randn(tensor.shape, generator=rng))
    return G


@pytest.fixture(scope="session")
def make_generator() -> Callable[..., nn.Module]:
    return random_generator
