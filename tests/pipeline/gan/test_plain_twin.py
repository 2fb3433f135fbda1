"""What the benchmark measures against does the same work: the same images, logits and gradients."""

import importlib.util
import subprocess
import sys

import pytest
import torch

from pipeline.gan.architecture import DiscriminatorArchitecture, GeneratorArchitecture
from pipeline.gan.networks import Discriminator, Generator


def benchmark(repository, name):
    spec = importlib.util.spec_from_file_location(name, repository / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def twin(repository):
    return benchmark(repository, "plain_twin")


@pytest.fixture
def training(repository, monkeypatch):
    monkeypatch.syspath_prepend(repository / "benchmarks")
    return benchmark(repository, "gan_training")


@pytest.fixture
def speed(repository, monkeypatch):
    monkeypatch.syspath_prepend(repository / "benchmarks")
    return benchmark(repository, "gan_speed")


@pytest.mark.parametrize("grouped", [True, False])
def test_it_renders_the_same_images(twin, grouped):
    torch.manual_seed(0)
    G = Generator(GeneratorArchitecture(8, 0, 8, 16, 3, 2, (8, 6, 4))).double()
    with torch.no_grad():
        for name, parameter in G.named_parameters():
            if name.endswith(("noise_strength", "bias")):
                parameter.normal_()
    z = torch.randn(3, 8, dtype=torch.float64)
    mine = G.synthesis(G.mapping(z), noise_mode="const")
    plain = twin.synthesis(G, twin.mapping(G, z), grouped=grouped)
    assert (mine - plain).abs().max() < 1e-10 * mine.abs().max()


def test_it_judges_the_same_and_bends_the_same(twin):
    torch.manual_seed(0)
    D = Discriminator(DiscriminatorArchitecture(0, 16, 3, (8, 6, 4))).double()
    with torch.no_grad():
        for name, parameter in D.named_parameters():
            if name.endswith("bias"):
                parameter.normal_()
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64).requires_grad_()

    def penalty(judge):
        logits = judge(images)
        (slope,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
        return logits, slope, *torch.autograd.grad(slope.square().sum(), [D.b16.conv0.weight, D.b8.conv1.weight])

    for mine, plain in zip(penalty(D), penalty(lambda x: twin.discriminator(D, x)), strict=True):
        assert (mine - plain).abs().max() < 1e-10 * mine.abs().max()


def test_training_of_both_stays_on_the_device_it_is_measured_on(training, twin):
    """On the device "meta", which computes nothing and refuses to be mixed with another, as a GPU does."""
    G, D = training.make_generator(16, 64, 8, 64, "meta"), training.make_discriminator(16, 64, 8, "meta")
    step = training.twin_step(G, D, torch.empty(training.BATCH, 3, 16, 16, device="meta"))
    for number in range(2):  # with R1 and without
        step(number)
    for mode in ("random", "const"):
        images = twin.synthesis(G, twin.mapping(G, torch.empty(2, 64, device="meta")), mode)
        assert (images.shape, images.device.type) == ((2, 3, 16, 16), "meta")


def test_operators_are_timed_in_bfloat16_where_the_device_has_it(speed, monkeypatch):
    both = speed.operator_times("meta", 1)
    monkeypatch.setattr(speed, "bf16_is_native", lambda device: False)
    single = speed.operator_times("meta", 1)
    assert set(both) == set(single)
    for name, times in single.items():
        assert set(times) == {f"{who}_{what}" for who in ("native", "plain") for what in ("forward", "both")}
        assert set(both[name]) == set(times) | {f"bf16_{key}" for key in times}


def test_the_benchmark_explains_itself(repository):
    command = [sys.executable, str(repository / "benchmarks" / "gan_speed.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PYTHONPATH": str(repository)})
    for section in ("generator", "training", "operators", "memory"):
        assert section in done.stdout
