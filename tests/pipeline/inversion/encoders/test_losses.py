"""The parts of the loss, and the networks that the user may bring."""

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from atlas.errors import InputError
from atlas.preset import EncoderSettings
from pipeline.features import perceptual_distance
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
from pipeline.inversion.lpips import Lpips, load_lpips

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


def write_lpips(folder, net, stem, features_suffix=".pth"):
    """Made-up weights in the layout of torchvision's and LPIPS's files."""
    torch.manual_seed(1)
    mine = Lpips(net)
    network = {f"features.{name}": torch.randn_like(t) * 0.05 for name, t in mine.convolutions.state_dict().items()}
    network["classifier.1.weight"] = torch.zeros(2, 2)
    learnt = {f"lin{i}.model.1.weight": torch.rand(1, len(w), 1, 1) for i, w in enumerate(mine.weights)}
    torch.save(network, folder / f"{net}-0a1b2c3d.pth")
    torch.save(learnt, folder / f"{stem}.pth")
    return network, learnt


@pytest.mark.parametrize(("net", "stem"), [("alexnet", "alex"), ("vgg16", "vgg")])
def test_lpips_is_the_published_sum(net, stem, tmp_path):
    _, learnt = write_lpips(tmp_path, net, stem)
    features = load_lpips(tmp_path, net)
    a, b = torch.rand(2, 2, 3, 40, 40) * 2 - 1
    # Layer by layer as published: unit length over channels (with 1e-10), squared difference, weighted, mean of places.
    expected = torch.zeros(2)
    for i, (x, y) in enumerate(zip(features.activations(a), features.activations(b), strict=True)):
        unit = [t / (t.square().sum(1, keepdim=True).sqrt() + 1e-10) for t in (x, y)]
        expected += F.conv2d((unit[0] - unit[1]).square(), learnt[f"lin{i}.model.1.weight"]).mean((1, 2, 3))
    assert torch.allclose(perceptual_distance(features, a, b), expected, rtol=1e-4)
    assert features.name == f"LPIPS ({net})"
    assert not any(p.requires_grad for p in features.parameters())


def test_alexnets_layers_are_torchvisions(tmp_path):
    network, _ = write_lpips(tmp_path, "alexnet", "alex")
    x = torch.rand(1, 3, 64, 64) * 2 - 1
    scaled = (x - torch.tensor([-0.030, -0.088, -0.188])[:, None, None]) / torch.tensor([0.458, 0.448, 0.450])[
        :, None, None
    ]

    def conv(y, index, stride, padding):
        return F.relu(
            F.conv2d(y, network[f"features.{index}.weight"], network[f"features.{index}.bias"], stride, padding)
        )

    one = conv(scaled, 0, 4, 2)
    two = conv(F.max_pool2d(one, 3, 2), 3, 1, 2)
    three = conv(F.max_pool2d(two, 3, 2), 6, 1, 1)
    four = conv(three, 8, 1, 1)
    expected = [one, two, three, four, conv(four, 10, 1, 1)]
    for mine, theirs in zip(load_lpips(tmp_path).activations(x), expected, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_lpips_files_that_do_not_do(tmp_path):
    with pytest.raises(InputError, match=r"has no alexnet\.pth"):
        load_lpips(tmp_path)
    write_lpips(tmp_path, "alexnet", "alex")
    with pytest.raises(InputError, match="31 px or more, got 16"):
        load_lpips(tmp_path)(torch.zeros(1, 3, 16, 16))
    torch.save({"lin0.model.1.weight": torch.rand(1, 64, 1, 1)}, tmp_path / "alex.pth")
    with pytest.raises(InputError, match="no tensor lin1"):
        load_lpips(tmp_path)


def test_negative_weights_are_no_distance(tmp_path):
    _, learnt = write_lpips(tmp_path, "alexnet", "alex")
    learnt["lin2.model.1.weight"][0, 0] = -0.1
    torch.save(learnt, tmp_path / "alex.pth")
    with pytest.raises(InputError, match="must not be negative"):
        load_lpips(tmp_path)


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
    with pytest.raises(InputError, match="not a MoCo v2 checkpoint"):
        load_moco(tmp_path / "other.safetensors")
