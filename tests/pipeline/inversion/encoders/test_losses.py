"""The parts of the loss, and the networks that the user may bring."""

import pytest
import torch
from safetensors.torch import save_file

from atlas.errors import InputError
from atlas.preset import EncoderSettings
from pipeline.gan.architecture import GeneratorArchitecture
from pipeline.inversion.encoders.config import resolve
from pipeline.inversion.encoders.losses import (
    ImageLosses,
    MocoFeatures,
    delta_size,
    dissimilarity,
    load_moco,
    unexplained,
)

AT_32 = GeneratorArchitecture(64, 0, 64, 32, 3, 2, (64, 64, 64, 32))


def test_differences_between_styles_are_measured_by_their_length():
    codes = torch.zeros(2, 4, 2)
    codes[0, 1] = torch.tensor([3.0, 4.0])
    codes[1, 2] = torch.tensor([0.0, 2.0])
    codes[:, 3] = 100
    assert delta_size(codes, 0) == 0
    assert delta_size(codes, 1) == pytest.approx(2.5)
    assert delta_size(codes, 2) == pytest.approx(3.5)


def test_the_mean_code_explains_nothing_and_the_known_one_everything():
    known = torch.randn(500, 3, 16, generator=torch.Generator().manual_seed(0)) * 2 + 5
    variance = known.var(0).mean()
    assert unexplained(known, known, variance).max() == 0
    assert unexplained(torch.full_like(known, 5), known, variance).mean().item() == pytest.approx(1, abs=0.02)


def test_what_the_parts_are_is_said(tmp_path):
    config = resolve("e4e", EncoderSettings(similarity="efficientnet-lite0"), AT_32)
    losses = ImageLosses.load(config, "", "", "cpu")
    assert losses.names == "perceptual: EfficientNet-Lite0 perceptual; similarity: EfficientNet-Lite0 pooled"
    images = torch.rand(2, 3, 32, 32) * 2 - 1
    assert all(value.item() == pytest.approx(0, abs=1e-5) for value in losses.parts(images, images).values())
    parts = losses.parts(images, -images)
    assert set(parts) == {"l2", "perceptual", "similarity"}
    assert all(value > 0.01 for value in parts.values())
    off = ImageLosses.load(resolve("e4e", EncoderSettings(similarity="off"), AT_32), "", "", "cpu")
    assert set(off.parts(images, -images)) == {"l2", "perceptual"}
    assert off.names.endswith("similarity: none")


def test_dissimilarity_is_one_minus_the_cosine():
    a, b = torch.tensor([[1.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 2.0], [3.0, 3.0]])
    assert dissimilarity(lambda x: x, a, b).tolist() == pytest.approx([1.0, 0.0], abs=1e-6)


def test_moco_is_read_from_its_published_layout(tmp_path):
    own = MocoFeatures()
    state = {f"module.encoder_q.{name}": t for name, t in own.state_dict().items()}
    extra = {"module.encoder_q.fc.0.weight": torch.zeros(2, 2), "module.encoder_k.conv1.weight": torch.zeros(1)}
    torch.save({"state_dict": state | extra, "epoch": 800, "arch": "resnet50"}, tmp_path / "moco.pth.tar")
    loaded = load_moco(tmp_path / "moco.pth.tar")
    image = torch.rand(1, 3, 32, 32) * 2 - 1
    features = loaded(image)
    assert features.shape == (1, 2048)
    assert features.norm().item() == pytest.approx(1, abs=1e-5)
    assert torch.allclose(features, own(image), atol=1e-6)
    save_file({"x": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="does not hold MoCo v2"):
        load_moco(tmp_path / "other.safetensors")
