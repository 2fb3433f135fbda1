"""The measures against definitions written out by hand."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.features import load_perceptual
from pipeline.inversion.measures import l2, measure, psnr, ssim


def image(seed: int, size: int = 24, n: int = 1) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (n, 3, size, size)).astype(np.float32))


def ssim_by_hand(a: np.ndarray, b: np.ndarray) -> float:
    """Wang et al. (2004), window by window, on [3, H, W] in [-1, 1]."""
    x, y = (np.tensordot([0.299, 0.587, 0.114], (im.astype(np.float64) + 1) * 127.5, 1) for im in (a, b))
    r = np.arange(11) - 5
    g = np.exp(-(r**2) / (2 * 1.5**2))
    w = np.outer(g, g) / g.sum() ** 2
    values = []
    for i in range(x.shape[0] - 10):
        for j in range(x.shape[1] - 10):
            p, q = x[i : i + 11, j : j + 11], y[i : i + 11, j : j + 11]
            mp, mq = (w * p).sum(), (w * q).sum()
            vp, vq, c = (w * (p - mp) ** 2).sum(), (w * (q - mq) ** 2).sum(), (w * (p - mp) * (q - mq)).sum()
            c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
            values.append((2 * mp * mq + c1) * (2 * c + c2) / ((mp**2 + mq**2 + c1) * (vp + vq + c2)))
    return float(np.mean(values))


def test_ssim_as_by_hand():
    a = image(0)
    b = 0.7 * a + 0.3 * image(1)
    assert float(ssim(a, b)) == pytest.approx(ssim_by_hand(a[0].numpy(), b[0].numpy()), abs=1e-9)


def test_l2_as_by_hand():
    a, b = image(0, n=3), image(1, n=3)
    np.testing.assert_allclose(l2(a, b), [((a[i] - b[i]).numpy() ** 2).mean() for i in range(3)], rtol=1e-6)


@settings(max_examples=25)
@given(st.integers(0, 10**6), st.integers(4, 20))
def test_ssim_is_one_for_equal_images_and_symmetric_below(seed, size):
    a, b = image(seed, size), image(seed + 1, size)
    assert float(ssim(a, a)) == pytest.approx(1)
    assert float(ssim(a, b)) == pytest.approx(float(ssim(b, a)))
    assert float(ssim(a, b)) < 1


def test_an_image_measured_against_itself(tiny_generator):
    w = tiny_generator.mapping(torch.zeros(2, 8) + torch.tensor([[1.0], [-1.0]]))
    images = tiny_generator.synthesis(w, noise_mode="const").clamp(-1, 1)
    found = measure(tiny_generator, load_perceptual(), w, images)
    assert found["l2"].tolist() == [0, 0]
    assert found["perceptual"].tolist() == [0, 0]
    np.testing.assert_allclose(found["ssim"], 1)
    one = measure(tiny_generator, load_perceptual(), w[:1], images)  # one code against all photographs
    assert one["l2"][0] < 1e-10
    assert one["l2"][1] > 0
    assert all(v.shape == (2,) and v.dtype == np.float32 for v in one.values())


def test_psnr_by_hand_and_its_limit():
    error = np.array([4.0, 0.04, (2 / 255) ** 2], np.float32)  # black against white; a tenth; one step of 8 bits
    np.testing.assert_allclose(psnr(error), [0, 20, 20 * np.log10(255)], rtol=1e-6)
    assert psnr(np.zeros(1))[0] == pytest.approx(107.1, abs=0.1)
