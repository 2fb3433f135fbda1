"""Plain measures of pictures whose content is known."""

import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.boundaries.looks import HUES, LOOKS, looks


def plain(colour, size=16) -> np.ndarray:
    return np.full((1, size, size, 3), colour, np.uint8)


def test_a_lawn_under_a_blue_sky():
    picture = plain((60, 140, 50))
    picture[:, :8] = (120, 170, 230)
    found = looks(picture)
    assert found["vegetation"][0] == 0.5
    assert found["sky"][0] == 1
    assert found["edges"][0] == pytest.approx(1 / 15)  # one line of sixteen
    assert found["hue 120"][0] > 0.3
    assert found["hue 210"][0] > 0.3


def test_a_grey_wall_has_nothing_but_light():
    found = looks(plain((128, 128, 128)))
    assert found["brightness"][0] == pytest.approx(128 / 255)
    assert all(found[name][0] == 0 for name in LOOKS if name != "brightness")


def test_a_white_sky_counts_only_in_the_upper_half():
    picture = plain((90, 60, 50))
    picture[:, 8:] = 240
    assert looks(picture)["sky"][0] == 0
    assert looks(picture[:, ::-1])["sky"][0] == 1


@pytest.mark.parametrize("part", range(HUES))
def test_hues_fall_into_their_part(part):
    colour = np.round(255 * np.array(colorsys.hsv_to_rgb(part / HUES, 0.8, 0.9)))
    found = looks(plain(colour))
    assert found[f"hue {30 * part}"][0] == 1
    assert found["saturation"][0] == pytest.approx(0.8, abs=0.01)


@given(arrays(np.uint8, (2, 8, 8, 3)))
def test_every_measure_is_a_share_and_an_image_does_not_hang_on_others(images):
    found = looks(images)
    assert list(found) == list(LOOKS)
    for name, values in found.items():
        assert ((values >= 0) & (values <= 1 + 1e-6)).all(), name
        assert values[1] == looks(images[1:])[name][0]


@given(st.integers(0, 2**32 - 1))
def test_the_hue_histogram_sums_to_one_where_there_is_colour(seed):
    images = np.random.default_rng(seed).integers(0, 256, (1, 8, 8, 3), dtype=np.uint8)
    assert sum(looks(images)[f"hue {30 * k}"][0] for k in range(HUES)) == pytest.approx(1, abs=1e-5)
