"""Rendered walks are inverted again as the photographs were: space, weights and start are those of the latents."""

import dataclasses

import numpy as np
import pytest
import torch

from atlas.errors import InputError
from pipeline.boundaries.inverting import Again
from pipeline.gan import Generator
from pipeline.gan.architecture import GeneratorArchitecture
from pipeline.gan.rendering import random_codes, render_codes
from pipeline.inversion import Projector, ProjectorSettings

LAYERS, DIM, SIZE = 6, 8, 16
TOLD = ProjectorSettings(steps=9, space="w+", pixel_weight=0.5, w_samples=100)


@pytest.fixture(scope="module")
def generator():
    torch.manual_seed(0)
    return Generator(GeneratorArchitecture(DIM, 0, DIM, SIZE, 3, 2, (8, 8, 8))).eval()


@pytest.fixture(scope="module")
def images(generator):
    return render_codes(generator, random_codes(generator, 2, 0.7, 3), 2)


def codes_of(generator, images, facts, space="w"):
    return Again({}, 3, 1, "cpu", print).inverter(generator, "projector", space, facts)(images)


def projected(generator, images, settings, start=None):
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 127.5 - 1
    return Projector(settings, 1).fit(generator).invert(x, ["walk 0", "walk 1"], start).numpy()


def test_the_projector_s_settings_are_the_latents_own_but_for_the_steps(generator, images):
    found = codes_of(generator, images, {"projector": dataclasses.asdict(TOLD), "start": "mean of w"})
    assert found.shape == (2, LAYERS, DIM)
    assert (found[:, 0] != found[:, 1]).any()  # w+, though the codes were said to be of w
    np.testing.assert_array_equal(found, projected(generator, images, dataclasses.replace(TOLD, steps=3)))
    plain = projected(generator, images, ProjectorSettings(steps=3, space="w+", w_samples=100))
    assert (found != plain).any()  # the weight of the pixels counts


@pytest.mark.parametrize("space", ["w", "w+"])
def test_codes_that_do_not_say_are_taken_for_what_they_look_like(generator, images, space):
    found = codes_of(generator, images, {}, space)
    assert (found == found[:, :1]).all() == (space == "w")


def test_a_projector_that_started_from_an_encoder_needs_it(generator):
    said = []
    again = Again({}, 3, 1, "cpu", said.append)
    assert again.inverter(generator, "projector", "w", {"start": "e4e"}) is None
    assert again.inverter(generator, "e4e", "w+", {}) is None
    assert said == [
        "boundaries: rendered walks of projector are not inverted again: no encoder e4e was given",
        "boundaries: rendered walks of e4e are not inverted again: no encoder e4e was given",
    ]


def test_settings_of_another_projector_are_refused(generator):
    with pytest.raises(InputError, match=r"settings of the projector cannot be read .*momentum"):
        Again({}, 3, 1, "cpu", print).inverter(generator, "projector", "w", {"projector": {"momentum": 0.9}})


def test_other_features_than_those_of_the_photographs_are_said(generator):
    said = []
    Again({}, 3, 1, "cpu", said.append).inverter(generator, "projector", "w", {"features": "LPIPS (vgg16)"})
    assert said == [
        "boundaries: photographs were projected by LPIPS (vgg16), rendered walks are by EfficientNet-Lite0 perceptual"
    ]
