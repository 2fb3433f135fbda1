"""LPIPS from the user's files: the published sum, and files that do not do."""

import pytest
import torch
import torch.nn.functional as F

from atlas.errors import InputError
from atlas.files import sha256_path
from pipeline.features import perceptual_distance
from pipeline.lpips import choose_perceptual, load_lpips, lpips_files


@pytest.mark.parametrize("net", ["alexnet", "vgg16"])
def test_lpips_is_the_published_sum(net, write_lpips, tmp_path):
    _, learnt, _ = write_lpips(tmp_path, net)
    features = load_lpips(*lpips_files(tmp_path, net), net)
    a, b = torch.rand(2, 2, 3, 40, 40) * 2 - 1
    # Layer by layer as published: unit length over channels (with 1e-10), squared difference, weighted, mean of places.
    expected = torch.zeros(2)
    for i, (x, y) in enumerate(zip(features.activations(a), features.activations(b), strict=True)):
        unit = [t / (t.square().sum(1, keepdim=True).sqrt() + 1e-10) for t in (x, y)]
        expected += F.conv2d((unit[0] - unit[1]).square(), learnt[f"lin{i}.model.1.weight"]).mean((1, 2, 3))
    assert torch.allclose(perceptual_distance(features, a, b), expected, rtol=1e-4)
    assert features.name == f"LPIPS ({net})"
    assert not any(p.requires_grad for p in features.parameters())


def test_alexnets_layers_are_torchvisions(write_lpips, tmp_path):
    network, _, _ = write_lpips(tmp_path, "alexnet")
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
    for mine, theirs in zip(load_lpips(*lpips_files(tmp_path)).activations(x), expected, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-6)


def test_lpips_files_that_do_not_do(write_lpips, tmp_path):
    with pytest.raises(InputError, match=r"has no alexnet\.pth"):
        load_lpips(*lpips_files(tmp_path))
    write_lpips(tmp_path, "alexnet")
    with pytest.raises(InputError, match="31 px or more, got 16"):
        load_lpips(*lpips_files(tmp_path))(torch.zeros(1, 3, 16, 16))
    torch.save({"lin0.model.1.weight": torch.rand(1, 64, 1, 1)}, tmp_path / "alex.pth")
    with pytest.raises(InputError, match=r"lin1\.model\.1\.weight is missing"):
        load_lpips(*lpips_files(tmp_path))


def test_negative_weights_are_no_distance(write_lpips, tmp_path):
    _, learnt, _ = write_lpips(tmp_path, "alexnet")
    learnt["lin2.model.1.weight"][0, 0] = -0.1
    torch.save(learnt, tmp_path / "alex.pth")
    with pytest.raises(InputError, match="must not be negative"):
        load_lpips(*lpips_files(tmp_path))


def test_where_no_channel_is_active_gradients_are_numbers(write_lpips, tmp_path):
    features = load_lpips(*write_lpips(tmp_path, "alexnet")[2])
    features.network.features["10"].bias.fill_(-1e3)
    images = (torch.rand(1, 3, 40, 40) * 2 - 1).requires_grad_()
    assert features.activations(images)[-1].abs().max() == 0
    features(images).square().sum().backward()
    assert images.grad.isfinite().all()
    assert images.grad.abs().max() > 0


def test_where_the_user_has_none_another_distance_stands_for_it_by_name(write_lpips, tmp_path):
    _, _, files = write_lpips(tmp_path, "vgg16")
    own, other = choose_perceptual(str(tmp_path), "vgg16"), choose_perceptual("", "vgg16")
    assert (own.name, other.name) == ("LPIPS (vgg16)", "EfficientNet-Lite0 perceptual")
    assert own.sha256 == " ".join(sha256_path(file) for file in files)
    assert own.features(torch.zeros(1, 3, 16, 16)).shape != other.features(torch.zeros(1, 3, 16, 16)).shape
    exact = choose_perceptual(str(tmp_path), "vgg16", torch.zeros((), dtype=torch.float64))
    assert exact.features(torch.zeros(1, 3, 16, 16, dtype=torch.float64)).dtype == torch.float64
    with pytest.raises(InputError, match=r"has no alexnet\.pth"):
        choose_perceptual(str(tmp_path), "alexnet")
