"""The feature networks that a user may give: names, shapes, and files that are refused."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from atlas.errors import InputError
from pipeline.metrics import extractors, inception, vgg
from pipeline.weights import fill, read_tensors


def random_tensors(network, seed=0):
    """Random weights that keep activations of a moderate size, by the network's names."""
    rng = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, t in network.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        scale = (2 / t[0].numel()) ** 0.5 if t.ndim > 1 else 0.1
        tensors[name] = torch.randn(t.shape, generator=rng) * scale + (t.ndim == 1) * name.endswith(("weight", "var"))
        if name.endswith("var"):
            tensors[name] = tensors[name].abs() + 0.1
    return tensors


@pytest.fixture(scope="module")
def inception_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "inception.pth"
    tensors = random_tensors(inception.Inception())
    torch.save({**tensors, "fc.weight": torch.zeros(1008, 2048), "fc.bias": torch.zeros(1008)}, path)
    return path


def test_inception_is_the_published_network(inception_file):
    names = inception.Inception().state_dict()
    convolutions = [n for n in names if n.endswith("conv.weight")]
    assert len(convolutions) == 94
    parameters = sum(t.numel() for n, t in names.items() if n.endswith(("conv.weight", "bn.weight", "bn.bias")))
    assert parameters == 21_785_568  # of Inception-v3 without its classifiers
    assert names["Mixed_7c.branch3x3dbl_3b.conv.weight"].shape == (384, 384, 3, 1)
    assert names["Mixed_6c.branch7x7dbl_2.conv.weight"].shape == (160, 160, 7, 1)


def test_inception_features(inception_file):
    extractor = extractors.inception_v3(inception_file, "cpu")
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    found = extractors.extract(extractor, lambda start, stop: images[start:stop], 2, "cpu")
    assert found.shape == (2, 2048)
    assert np.isfinite(found).all()
    assert np.abs(found[0] - found[1]).max() > 1e-3
    assert "299" in extractor.resize


def test_average_pools_of_inception_do_not_count_the_padding():
    block = inception._Mixed(1, [[("branch1x1", 1, 1, 1)]], "average", 1)
    for name, t in random_tensors(block).items():
        block.state_dict()[name].copy_(torch.ones_like(t))
        if name.endswith(("mean", "bias")):
            block.state_dict()[name].zero_()
    pooled = block.eval()(torch.ones(1, 1, 4, 4))[0, 1]
    assert torch.allclose(pooled, torch.ones(4, 4), atol=2e-3)


def test_vgg_is_the_published_network():
    with torch.device("meta"):
        network = vgg.VGG16()
    assert sum(p.numel() for p in network.features.parameters()) == 14_714_688
    assert sum(p.numel() for p in network.classifier.parameters()) == 119_545_856


def test_vgg_and_lpips(tmp_path, monkeypatch):
    monkeypatch.setattr(vgg, "FEATURES", 8)  # of the hundred million weights of the last layers, few
    network = vgg.VGG16()
    save_file(random_tensors(network), tmp_path / "vgg.safetensors")
    linear = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1) for i, c in enumerate((64, 128, 256, 512, 512))}
    torch.save(linear, tmp_path / "lpips.pth")
    distance = extractors.lpips_distance(tmp_path / "vgg.safetensors", tmp_path / "lpips.pth", "cpu").function
    a, b = torch.rand(2, 1, 3, 32, 32, dtype=torch.float64) * 2 - 1
    assert distance(a, a) == 0
    assert (distance(a, b) > 0).all()
    assert torch.allclose(distance(a, b), distance(b, a))
    assert extractors.LPIPS_SIDE == 256  # as published
    monkeypatch.setattr(extractors, "LPIPS_SIDE", 32)
    large = torch.rand(2, 1, 3, 64, 64, dtype=torch.float64)
    assert torch.allclose(distance(*large), distance(*(F.avg_pool2d(x, 2) for x in large)))
    features = extractors.vgg16(tmp_path / "vgg.safetensors", "cpu").function(a.float())
    assert features.shape == (1, 8)


def test_a_program_is_refused(tmp_path):
    class Doubling(torch.nn.Module):
        def forward(self, x):
            return 2 * x

    path = tmp_path / "inception-2015-12-05.pt"
    torch.jit.script(Doubling()).save(str(path))
    with pytest.raises(InputError, match="a program, which is not run"):
        read_tensors(path)


def test_what_does_not_fit_is_listed(tmp_path):
    network = torch.nn.Linear(2, 3)
    tensors = {"weight": torch.zeros(3, 4), "more": torch.zeros(1), "head.weight": torch.zeros(1)}
    with pytest.raises(InputError, match="does not hold a line: bias is missing; more is unexpected; weight must be"):
        fill(network, tensors, tmp_path / "file.pt", "a line", unused=("head.",))
