"""How usual codes are among the generator's own."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.boundaries import OwnCodes, typicality
from pipeline.gan import Generator
from pipeline.gan.architecture import GeneratorArchitecture


def gaussian(seed: int = 0, n: int = 10_000, dim: int = 6) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, dim)) @ rng.standard_normal((dim, dim)) + rng.standard_normal(dim)


def layered(w: np.ndarray, layers: int = 3) -> np.ndarray:
    return np.repeat(w[:, None], layers, 1).astype(np.float32)


def test_the_mean_is_most_usual_and_the_far_never_seen():
    own = OwnCodes.of(gaussian())
    assert own.typicality(layered(own.mean[None]))[0] == 1
    assert own.typicality(layered(own.mean[None] + 1000))[0] == 0


def test_own_codes_are_spread_evenly():
    w = gaussian()
    shares = OwnCodes.of(w[:5000]).typicality(layered(w[5000:]))
    assert shares.dtype == np.float32
    np.testing.assert_allclose(np.quantile(shares, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.03)


def test_as_counted_by_hand():
    w = gaussian(1, 300, 4)
    own = OwnCodes.of(w)
    inverse = np.linalg.inv(np.cov(w.T, bias=True))

    def distance(x):
        return np.sqrt(np.einsum("nd,de,ne->n", x - w.mean(0), inverse, x - w.mean(0)))

    asked = gaussian(2, 50, 4)
    expected = (distance(w)[None] > distance(asked)[:, None]).mean(1)
    np.testing.assert_allclose(own.typicality(layered(asked)), expected, atol=1e-2)


@settings(max_examples=30)
@given(st.integers(0, 10**6), st.integers(0, 2))
def test_the_worst_layer_counts(seed, odd):
    own = OwnCodes.of(gaussian(0, 500))
    rng = np.random.default_rng(seed)
    w = layered(own.mean + rng.standard_normal((5, 6)))
    w[:, odd] += rng.standard_normal((5, 6)).astype(np.float32)
    each = np.stack([own.typicality(w[:, [i]]) for i in range(3)])
    np.testing.assert_array_equal(own.typicality(w), each.min(0))


def test_directions_the_generator_does_not_know_are_never_seen():
    w = gaussian()
    w[:, 5] = 2.0
    own = OwnCodes.of(w)
    code = own.mean.copy()
    assert own.typicality(layered(code[None]))[0] > 0.99
    code[5] += 0.5
    assert own.typicality(layered(code[None]))[0] == 0


def test_of_a_generator():
    torch.manual_seed(0)
    generator = Generator(GeneratorArchitecture(8, 0, 8, 8, 3, 2, (8, 8))).eval()
    z = torch.from_numpy(np.random.default_rng(9).standard_normal((2000, 8), dtype=np.float32))
    with torch.no_grad():
        w = generator.mapping(z).numpy()
    shares = typicality(w, generator, 1)
    assert shares.mean() == pytest.approx(0.5, abs=0.03)
    np.testing.assert_array_equal(shares, typicality(w, generator, 1))
    assert (shares != typicality(w, generator, 2)).any()


def test_many_codes_are_no_burden():
    own = OwnCodes.of(gaussian(0, 10_000, 64))
    w = np.broadcast_to(np.zeros((1, 1, 64), np.float32), (200_000, 8, 64))
    assert own.typicality(w).shape == (200_000,)


def test_the_farthest_layer_is_what_a_distance_says():
    rng = np.random.default_rng(2)
    own = OwnCodes.of(rng.standard_normal((4000, 5)) @ rng.standard_normal((5, 5)) + 3)
    w = np.stack([np.stack([own.mean, own.mean + row]) for row in rng.standard_normal((7, 5))])
    np.testing.assert_allclose(own.farthest(w), np.linalg.norm((w[:, 1] - own.mean) @ own.whitening, axis=1))
    assert own.farthest(w[:, :1]).max() == 0
