"""EfficientNet-Lite0: the weights fit, it sees what is in a picture, and the fast path equals the plain one."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_sample_image

from pipeline.features import (
    EfficientNetLite0,
    PerceptualFeatures,
    load_efficientnet_lite0,
    load_perceptual,
    normalise,
    perceptual_distance,
    same_conv2d,
    weights_sha256,
)


@pytest.fixture(scope="module")
def net():
    return load_efficientnet_lite0()


@pytest.fixture(scope="module")
def perceptual():
    return load_perceptual()


def sample(name: str, size: int) -> torch.Tensor:
    """A clear photograph that comes with scikit-learn, [1, 3, size, size] in [-1, 1]."""
    pixels = np.array(load_sample_image(name))
    side = min(pixels.shape[:2])
    top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
    square = torch.from_numpy(pixels[top : top + side, left : left + side]).permute(2, 0, 1)[None].float()
    return F.interpolate(square, size=(size, size), mode="bilinear", antialias=True) / 127.5 - 1


@pytest.mark.parametrize(("name", "seen"), [("china.jpg", 698), ("flower.jpg", 985)])  # palace; daisy
def test_it_recognises_a_clear_photograph(net, name, seen):
    chances = net(sample(name, 224)).softmax(1)[0]
    assert int(chances.argmax()) == seen
    assert chances.max() > 0.2  # of 1,000 classes


def test_pixels_are_normalised_as_in_training():
    pixels = torch.tensor([0.0, 127.0, 255.0])
    torch.testing.assert_close(normalise(pixels / 127.5 - 1), (pixels - 127) / 128)


@pytest.mark.parametrize("size", [32, 48, 64, 128])
def test_small_images_give_features_that_differ(net, perceptual, size):
    a, b = sample("china.jpg", size), sample("flower.jpg", size)
    pooled = net.pooled(torch.cat([a, b]))
    assert pooled.shape == (2, 1280)
    assert (pooled >= 0).all()
    assert (pooled.std(1) > 0.05).all()
    assert 0.1 < float(perceptual_distance(perceptual, a, b)) < 4


def test_folding_the_batch_norms_changes_nothing(net):
    taps = (-1, 0, 2, 4, 10, 15)
    folded = PerceptualFeatures(net, taps).activations(sample("china.jpg", 64))
    x = net.stem(sample("china.jpg", 64))
    plain = [x]
    for i, block in enumerate(net.blocks):
        x = block(x)
        if i in taps:
            plain.append(x)
    for a, b in zip(folded, plain, strict=True):
        assert (a - b).abs().max() < 1e-4 * b.abs().max()


def test_padding_as_tensorflow_has_it():
    x = torch.arange(6.0).reshape(1, 1, 1, 6).expand(1, 1, 6, 6)
    weight = torch.zeros(1, 1, 3, 3)
    weight[0, 0, 1, 1] = 1
    # An even side and stride 2 pad at the far side only, so the first window stands on pixels 0, 1, 2.
    assert same_conv2d(x, weight, None, 2, 1)[0, 0, 0].tolist() == [1, 3, 5]
    assert same_conv2d(x, weight, None, 1, 1)[0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5]
    odd = x[..., :5, :5]
    assert same_conv2d(odd, weight, None, 2, 1)[0, 0, 0].tolist() == [0, 2, 4]


def test_distance_is_zero_for_the_same_image_and_symmetric_and_grows_with_noise(perceptual):
    a, b = sample("china.jpg", 64), sample("flower.jpg", 64)
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal(a.shape, dtype=np.float32))
    assert float(perceptual_distance(perceptual, a, a)) == 0
    torch.testing.assert_close(perceptual_distance(perceptual, a, b), perceptual_distance(perceptual, b, a))
    steps = [float(perceptual_distance(perceptual, a, a + s * noise)) for s in (0.02, 0.1, 0.5)]
    assert steps == sorted(steps)
    assert steps[0] < 0.5 * steps[1]


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(16, 16), (32, 32), (33, 20)]))
def test_distance_is_within_its_range(seed, shape):
    rng = np.random.default_rng(seed)
    a, b = (torch.from_numpy(rng.uniform(-1, 1, (2, 3, *shape)).astype(np.float32)) for _ in range(2))
    found = perceptual_distance(load_perceptual(), a, b)
    assert ((found >= 0) & (found <= 4)).all()


def test_gradients_reach_the_image_and_only_the_image(net, perceptual):
    image = sample("china.jpg", 32).requires_grad_()
    perceptual(image).square().sum().backward()
    assert image.grad is not None
    assert torch.isfinite(image.grad).all()
    assert not any(p.requires_grad for p in (*net.parameters(), *perceptual.parameters()))


def test_it_cannot_be_put_into_training_mode():
    net = EfficientNetLite0().train()
    assert not any(module.training for module in net.modules())


def test_the_fingerprint_of_the_weights():
    assert weights_sha256().startswith("57934424")  # as the published file is named
