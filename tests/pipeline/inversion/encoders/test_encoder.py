"""An encoder in use: whatever it is given, it says clearly what it does with it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from atlas.errors import InputError
from pipeline.inversion.encoders.architecture import EncoderArchitecture
from pipeline.inversion.encoders.encoder import Encoder
from pipeline.inversion.inputs import to_size


def encoder_for(generator, method="e4e", variant="e4e") -> Encoder:
    torch.manual_seed(1)
    arch = EncoderArchitecture.made_for(method, "narrow", variant, generator.num_ws, generator.w_dim, 16, 3)
    average = torch.randn(generator.w_dim)
    encoder = Encoder(arch, average, generator if method == "restyle" else None)
    return encoder.eval().requires_grad_(False)


def test_the_latent_average_is_included(tiny_generator):
    encoder = encoder_for(tiny_generator)
    images = torch.randn(3, 3, 16, 16)
    assert torch.equal(encoder(images), encoder.latent_avg + encoder.network(images))
    assert encoder(images).dtype == torch.float32


@pytest.mark.parametrize("method", ["e4e", "restyle"])
def test_styles_beyond_the_stage_that_training_reached_are_the_first(method, tiny_generator):
    encoder = encoder_for(tiny_generator, method)
    images, whole = torch.randn(2, 3, 16, 16), encoder.stage
    encoder.stage = 2
    codes = encoder(images) - encoder.latent_avg
    assert torch.allclose(codes[:, 3:], codes[:, :1].expand(-1, 3, -1), atol=1e-5)
    assert (codes[:, 1:3] - codes[:, :1]).abs().amax(2).min() > 1e-3
    encoder.stage = whole
    assert (encoder(images)[:, 3:] - encoder(images)[:, :1]).abs().amax(2).min() > 1e-3


@pytest.mark.parametrize("method", ["e4e", "restyle"])
def test_a_photograph_has_the_same_code_alone_and_in_a_batch(method, tiny_generator):
    encoder = encoder_for(tiny_generator, method)
    images = torch.randn(4, 3, 16, 16)
    together, alone = encoder(images), torch.cat([encoder(image[None]) for image in images])
    assert torch.allclose(together, alone, atol=1e-5)


def test_restyle_refines_what_it_sees(tiny_generator):
    encoder = encoder_for(tiny_generator, "restyle")
    images = torch.randn(2, 3, 16, 16)
    passes = list(encoder.passes(images))
    assert len(passes) == 3
    assert torch.equal(passes[-1], encoder(images))
    codes = encoder.latent_avg.expand(2, -1, -1)
    for found in passes:
        look = tiny_generator.synthesis(codes, noise_mode="const")
        codes = codes + encoder.network(torch.cat([images, look], 1))
        assert torch.allclose(found, codes, atol=1e-5)


@pytest.mark.parametrize("size", [8, 16, 24, 64])
def test_photographs_of_another_size_are_resized(size, tiny_generator):
    encoder = encoder_for(tiny_generator)
    images = torch.randn(2, 3, size, size)
    assert torch.equal(encoder(images), encoder(to_size(images, 16)))


def test_shrinking_takes_means_and_enlarging_repeats():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert to_size(image, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert torch.equal(to_size(to_size(image, 8), 4), image)
    assert to_size(image, 4) is image


@settings(deadline=None)
@given(st.floats(-1, 1, width=32), st.integers(1, 40))
def test_one_colour_stays_itself_in_any_size(value, size):
    resized = to_size(torch.full((1, 3, size, size), value), 16)
    assert torch.allclose(resized, torch.full((1, 3, 16, 16), value), atol=1e-6)


def test_greyscale_is_taken_as_grey(tiny_generator):
    encoder = encoder_for(tiny_generator)
    grey = torch.randn(2, 1, 16, 16)
    assert torch.equal(encoder(grey), encoder(grey.repeat(1, 3, 1, 1)))


@pytest.mark.parametrize("shape", [(2, 3, 16, 12), (2, 4, 16, 16), (3, 16, 16)])
def test_what_is_no_square_photograph_is_refused(shape, tiny_generator):
    with pytest.raises(InputError, match="square"):
        encoder_for(tiny_generator)(torch.zeros(shape))


def test_pixels_that_were_not_scaled_are_refused(tiny_generator):
    with pytest.raises(InputError, match=r"\[-1, 1\], got torch.uint8"):
        encoder_for(tiny_generator)(torch.zeros(1, 3, 16, 16, dtype=torch.uint8))


def test_restyle_without_a_generator_says_so(tiny_generator):
    encoder = encoder_for(tiny_generator, "restyle")
    encoder = Encoder(encoder.architecture, encoder.latent_avg)
    with pytest.raises(InputError, match="give load_encoder the generator"):
        encoder(torch.zeros(1, 3, 16, 16))
