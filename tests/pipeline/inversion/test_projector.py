"""The projector against tensors recorded from the official one, and against itself alone."""

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call

from atlas.errors import InputError
from pipeline.features import load_perceptual
from pipeline.gan import Generator
from pipeline.gan.architecture import GeneratorArchitecture
from pipeline.inversion import Projector, ProjectorSettings
from pipeline.inversion.encoders.architecture import EncoderArchitecture
from pipeline.inversion.encoders.encoder import Encoder
from pipeline.inversion.measures import l2, measure
from pipeline.inversion.noise import NoiseMaps, noise_buffers, noise_regulariser, regulariser_and_gradients, synthesise
from pipeline.inversion.projection import (
    Randomness,
    WStatistics,
    draw_randomness,
    photo_stream,
    projection,
    w_statistics,
)
from pipeline.inversion.schedule import Clocks, learning_rate, w_noise_strength


def pooled_pixels(images):
    """The features of the recording: 0.5 · pixels / 255, averaged over squares of an eighth of the side."""
    return 0.5 * F.avg_pool2d((images + 1) / 2, images.shape[2] // 8).flatten(1)


def trace(generator, recorded, *, chance: bool, noise_weight: float):
    tensors, facts = recorded
    steps = facts["config"]["trace_num_steps"]
    maps = {n: tensors[f"in.noise_init.{n}"][None] for n in facts["noise_buffer_order"]}
    w_noise = list(tensors["in.w_noise"][:, None, None] * float(chance))
    settings = ProjectorSettings(steps=steps, noise_weight=noise_weight, pixel_weight=0.0)
    statistics = w_statistics(generator, facts["config"]["w_avg_samples"])
    target = tensors["in.target"][None] / 127.5 - 1
    return list(projection(generator, pooled_pixels, target, statistics, Randomness(maps, w_noise), settings))


def test_schedules_as_recorded(recorded):
    tensors, facts = recorded
    settings = ProjectorSettings(steps=facts["config"]["schedule_num_steps"])
    steps = tensors["out.schedule.steps"].tolist()
    rates = [learning_rate(s, settings) for s in steps]
    strengths = [w_noise_strength(s, settings) for s in steps]
    np.testing.assert_allclose(rates, tensors["out.schedule.lr"], rtol=0, atol=1e-8)  # recorded in float32
    np.testing.assert_allclose(strengths, tensors["out.schedule.w_noise_over_w_std"], rtol=0, atol=1e-8)


def test_schedules_of_the_recorded_generator_and_trace(official_generator, recorded):
    tensors, facts = recorded
    atol, config = facts["suggested_atol"], facts["config"]
    std = w_statistics(official_generator, config["w_avg_samples"]).std
    for name, steps, total in (
        ("schedule.w_noise_scale_for_this_G", tensors["out.schedule.steps"].tolist(), config["schedule_num_steps"]),
        ("trace.w_noise_scale", range(config["trace_num_steps"]), config["trace_num_steps"]),
    ):
        found = torch.tensor([std * w_noise_strength(step, ProjectorSettings(steps=total)) for step in steps])
        assert (found - tensors[f"out.{name}"]).abs().max() <= atol[f"out.{name}"], name
    rates = [learning_rate(step, ProjectorSettings(steps=20)) for step in range(20)]
    assert (torch.tensor(rates) - tensors["out.trace.lr"]).abs().max() <= atol["out.trace.lr"]


def test_the_published_numbers_are_the_defaults(recorded):
    _, facts = recorded
    config, ours = facts["config"], ProjectorSettings()
    assert (ours.learning_rate, ours.rampup, ours.rampdown) == (
        config["initial_learning_rate"],
        config["lr_rampup_length"],
        config["lr_rampdown_length"],
    )
    assert (ours.w_noise, ours.w_noise_length) == (config["initial_noise_factor"], config["noise_ramp_length"])
    assert (ours.noise_weight, ours.steps, ours.w_samples) == (config["regularize_noise_weight"], 1000, 10_000)


def test_mean_and_spread_of_w_as_recorded(official_generator, recorded):
    tensors, facts = recorded
    found = w_statistics(official_generator, facts["config"]["w_avg_samples"])
    atol = facts["suggested_atol"]
    assert (found.mean - tensors["out.w_avg"][0, 0]).abs().max() <= atol["out.w_avg"]
    assert abs(found.std - float(tensors["out.w_std"])) <= atol["out.w_std"]


@pytest.mark.parametrize("i", range(3))
def test_noise_regulariser_of_one_map_as_recorded(recorded, i):
    tensors, facts = recorded
    found = noise_regulariser(tensors[f"in.noise_map.{i}"][None, None])
    assert found.shape == (1, 1)
    assert (
        abs(float(found) - float(tensors[f"out.noise_reg.map{i}"])) <= facts["suggested_atol"][f"out.noise_reg.map{i}"]
    )


@given(st.dictionaries(st.sampled_from([4, 8, 16, 32, 64]), st.integers(1, 3), min_size=1), st.integers(1, 3))
@settings(max_examples=25, deadline=None)
def test_the_gradients_written_out_are_those_of_the_sum(kinds, n):
    """Of maps of any resolutions, which climb the pyramid together."""
    rng = np.random.default_rng(n)
    stacks = [torch.from_numpy(rng.standard_normal((n, k, r, r))).requires_grad_() for r, k in kinds.items()]
    value, gradients = regulariser_and_gradients(stacks)
    plain = torch.stack([noise_regulariser(maps).sum(1) for maps in stacks]).sum(0)
    torch.testing.assert_close(value, plain.detach())
    for gradient, expected in zip(gradients, torch.autograd.grad(plain.sum(), stacks), strict=True):
        torch.testing.assert_close(gradient, expected, rtol=1e-9, atol=1e-12)


def test_noise_buffers_in_the_official_order(official_generator, recorded):
    _, facts = recorded
    assert [name for name, _ in noise_buffers(official_generator.synthesis)] == facts["noise_buffer_order"]


def test_trace_of_twenty_steps_as_recorded(official_generator, recorded):
    tensors, facts = recorded
    steps = trace(official_generator, recorded, chance=True, noise_weight=1e5)
    atol = facts["suggested_atol"]
    found = {
        "w": torch.cat([s.w[:, 0] for s in steps]),
        "dist": torch.cat([s.distance for s in steps]),
        "reg": torch.cat([s.regulariser for s in steps]),
        "loss": torch.cat([s.distance + 1e5 * s.regulariser for s in steps]),
    }
    for name, value in found.items():
        assert (value - tensors[f"out.trace.{name}"]).abs().max() <= atol[f"out.trace.{name}"], name
    assert abs(float(steps[0].regulariser) - float(tensors["out.noise_reg_at_init"])) <= atol["out.noise_reg_at_init"]


def test_trace_without_noise_as_recorded(official_generator, recorded):
    tensors, facts = recorded
    steps = trace(official_generator, recorded, chance=False, noise_weight=0.0)
    atol = facts["suggested_atol"]
    assert (torch.cat([s.w[:, 0] for s in steps]) - tensors["out.trace_nonoise_noreg.w"]).abs().max() <= atol[
        "out.trace_nonoise_noreg.w"
    ]
    assert (torch.cat([s.distance for s in steps]) - tensors["out.trace_nonoise_noreg.dist"]).abs().max() <= atol[
        "out.trace_nonoise_noreg.dist"
    ]


def photographs(n: int, size: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(8).uniform(-1, 1, (n, 3, size, size)))


def in_double(generator):
    double = copy.deepcopy(generator).double()
    for block in double.synthesis.children():
        block.dtype = torch.float64
    return double


def project(generator, features, images, names, steps=20, start=None, **numbers):
    """Return the codes [N, L, D] and how many steps each photograph took, in double precision."""
    settings = ProjectorSettings(steps=steps, **numbers)
    randomness = draw_randomness(generator, [photo_stream(4, name) for name in names], settings)
    statistics = WStatistics(torch.zeros(generator.w_dim, dtype=torch.float64), 1.5)
    codes, took = {}, {}
    path = projection(generator, features, images, statistics, randomness, settings, start)
    for number, step in enumerate(path, 1):
        for row, w, finished in zip(step.rows, step.w, step.finished, strict=True):
            if finished:
                codes[int(row)], took[int(row)] = w, number
    return torch.stack([codes[i] for i in range(len(images))]), [took[i] for i in range(len(images))]


@pytest.mark.parametrize(
    ("steps", "numbers"),
    [(50, {}), (50, {"space": "w+"}), (60, {"patience": 4, "tolerance": 0.05})],
    ids=["w", "w+", "stopping early"],
)
def test_a_photograph_has_the_same_code_alone_and_in_any_batch(tiny_generator, steps, numbers):
    generator = in_double(tiny_generator)
    features = load_perceptual().double() if not numbers else pooled_pixels  # the whole loss once; it takes its time
    images, names = photographs(4, 16), [f"{i}.png" for i in range(4)]
    together, took = project(generator, features, images, names, steps, **numbers)
    turned, _ = project(generator, features, images[1:].flip(0), names[:0:-1], steps, **numbers)
    alone = [project(generator, features, images[i : i + 1], names[i : i + 1], steps, **numbers) for i in range(4)]
    assert (together - torch.cat([w for w, _ in alone])).abs().max() < 1e-8
    assert (together[1:] - turned.flip(0)).abs().max() < 1e-8
    assert took == [steps[0] for _, steps in alone]
    assert (together[0] - together[1]).abs().max() > 0.01  # and the codes are not simply all the same
    if "patience" in numbers:
        assert len(set(took)) > 1  # photographs left the batch at different steps
        assert max(took) < steps


def test_w_plus_gives_each_layer_a_code_and_comes_nearer(tiny_generator):
    generator, images = in_double(tiny_generator), photographs(3, 16)
    w, _ = project(generator, pooled_pixels, images, list("abc"), 120, pixel_weight=10.0)
    plus, _ = project(generator, pooled_pixels, images, list("abc"), 120, pixel_weight=10.0, space="w+")
    assert w.shape == (3, 1, 8)
    assert plus.shape == (3, 6, 8)
    assert (plus - plus.mean(1, keepdim=True)).abs().max() > 0.01
    before = l2(generator.synthesis(w.expand(-1, 6, -1), noise_mode="const"), images)
    after = l2(generator.synthesis(plus, noise_mode="const"), images)
    assert (after < before).all()


def test_noise_on_w_plus_is_its_own_in_every_layer_and_on_the_same_schedule(tiny_generator):
    drawn = draw_randomness(tiny_generator, [photo_stream(1, "a")], ProjectorSettings(steps=40, space="w+"))
    noise = torch.stack(list(drawn.w_noise))
    assert noise.shape == (40, 1, 6, 8)
    assert len(np.unique(noise.numpy())) == noise.numel()
    assert abs(float(noise.mean())) < 0.1
    assert abs(float(noise.std()) - 1) < 0.1


def test_drawing_bit_by_bit_gives_what_drawing_at_once_gives(tiny_generator):
    for steps in (1, 31, 32, 100):
        settings = ProjectorSettings(steps=steps)
        drawn = torch.cat(list(draw_randomness(tiny_generator, [photo_stream(7, "a")], settings).w_noise))
        whole = photo_stream(7, "a")
        for _, r in noise_buffers(tiny_generator.synthesis):
            whole.standard_normal((r, r), dtype=np.float32)
        np.testing.assert_array_equal(drawn[:, 0], whole.standard_normal((steps, 8), dtype=np.float32))


def test_a_search_starts_from_codes_that_are_given(tiny_generator):
    generator, features = in_double(tiny_generator), pooled_pixels
    images, names = photographs(2, 16), ["a", "b"]
    given = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 6, 8)))
    still = {"steps": 1, "start": given}  # at step 0 the learning rate is 0
    in_plus, _ = project(generator, features, images, names, space="w+", **still)
    in_w, _ = project(generator, features, images, names, **still)
    torch.testing.assert_close(in_plus, given)
    torch.testing.assert_close(in_w, given.mean(1, keepdim=True))


def test_a_photograph_that_gains_nothing_goes_to_the_ramp_down_and_stays_to_its_end():
    settings = ProjectorSettings(steps=100, patience=5, tolerance=0.1)
    clocks = Clocks(2, settings)
    assert settings.fall == 75
    seen = []
    for step in range(100):
        seen.append(clocks.learning_rates().tolist())
        # The first gains in every step, the second nothing from step 10 on.
        finished = clocks.advance(torch.tensor([0.8**step, 0.8 ** min(step, 10)]))
        if finished.any():
            break
    assert finished.tolist() == [False, True]
    assert len(seen) == 10 + 1 + 5 + 25
    alone = [learning_rate(s, settings) for s in (*range(16), *range(75, 100))]
    np.testing.assert_array_equal([rates[1] for rates in seen], alone)
    np.testing.assert_array_equal([rates[0] for rates in seen], [learning_rate(s, settings) for s in range(41)])
    clocks.keep(~finished)
    assert clocks.learning_rates().tolist() == [learning_rate(41, settings)]


def test_kept_noise_is_what_the_projector_saw(tiny_generator):
    settings = ProjectorSettings(steps=60, w_samples=100)
    images = photographs(3, 16).float()
    projector = Projector(settings, features=pooled_pixels).fit(tiny_generator)
    found = projector.project(images, list("abc"), keep_noise=True)
    assert {n: tuple(m.shape) for n, m in found.noise.items()} == {
        n: (3, r, r) for n, r in noise_buffers(tiny_generator.synthesis)
    }
    for maps in found.noise.values():
        assert maps.mean((1, 2)).abs().max() < 1e-5
        assert (maps.square().mean((1, 2)) - 1).abs().max() < 1e-4
    with_noise = l2(synthesise(tiny_generator, found.w, found.noise), images)
    without = l2(synthesise(tiny_generator, found.w), images)
    assert (with_noise < without).all()
    assert projector.project(images, list("abc")).noise == {}


def invert(generator, images, names=None, **settings):
    numbers = {"steps": 5, "w_samples": 100}
    seed = settings.pop("seed", 1)
    projector = Projector(ProjectorSettings(**(numbers | settings)), seed=seed, features=pooled_pixels)
    return projector.fit(generator).invert(images, names)


def test_the_seed_and_the_name_decide_and_nothing_else(tiny_generator):
    images = photographs(1, 16).float()
    first = invert(tiny_generator, images, ["a.png"])
    torch.manual_seed(99)
    torch.randn(10)
    assert first.equal(invert(tiny_generator, images, ["a.png"]))
    assert not first.equal(invert(tiny_generator, images, ["a.png"], seed=2))
    assert not first.equal(invert(tiny_generator, images, ["b.png"]))


def test_without_names_a_photograph_s_pixels_are_its_name(tiny_generator):
    images = photographs(3, 16).float()
    every = invert(tiny_generator, images)
    torch.testing.assert_close(invert(tiny_generator, images[1:2]), every[1:2], rtol=0, atol=1e-4)
    named = invert(tiny_generator, images[1:2], ["a"])
    assert (named - every[1:2]).abs().max() > 1e-3


def test_pixels_have_a_part_in_the_loss_and_none_at_weight_0(tiny_generator):
    images = photographs(3, 16).float()
    streams = [photo_stream(4, name) for name in "abc"]
    first = {}
    for weight in (0.0, 3.0):
        settings = ProjectorSettings(steps=3, pixel_weight=weight)
        randomness = draw_randomness(tiny_generator, copy.deepcopy(streams), settings)
        statistics = WStatistics(torch.zeros(8), 0.0)
        first[weight] = next(
            projection(tiny_generator, pooled_pixels, images, statistics, randomness, settings)
        ).distance
    maps = NoiseMaps.stack(randomness.maps).buffers()
    start = functional_call(tiny_generator.synthesis, maps, (torch.zeros(3, 6, 8),), {"noise_mode": "const"})
    torch.testing.assert_close(first[3.0] - first[0.0], 3 * (start - images).square().mean((1, 2, 3)))


def test_the_generator_is_left_as_it_was(tiny_generator):
    before = {name: t.clone() for name, t in tiny_generator.state_dict().items()}
    invert(tiny_generator, photographs(2, 16).float())
    assert all(t.equal(before[name]) for name, t in tiny_generator.state_dict().items())


def test_it_finds_images_that_the_generator_made(tiny_generator):
    z = torch.from_numpy(np.random.default_rng(0).standard_normal((4, 8), dtype=np.float32))
    images = tiny_generator.synthesis(tiny_generator.mapping(z), noise_mode="const")
    assert images.abs().mean() < 1
    mean = w_statistics(tiny_generator, 1000).mean.expand(4, tiny_generator.num_ws, -1)
    w = Projector(ProjectorSettings(steps=200, w_samples=1000)).fit(tiny_generator).invert(images, list("abcd"))
    assert w.shape == (4, tiny_generator.num_ws, 8)
    assert (w == w[:, :1]).all()
    found = measure(tiny_generator, load_perceptual(), w, images)
    start = measure(tiny_generator, load_perceptual(), mean, images)
    assert (found["perceptual"] < 0.6 * start["perceptual"]).all()


def test_photographs_of_another_size_and_grey_ones_are_prepared_as_the_encoders_do(tiny_generator):
    projector = Projector(ProjectorSettings(steps=3, w_samples=10), features=pooled_pixels).fit(tiny_generator)
    images = photographs(2, 16).float()
    large = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    w = projector.invert(images, ["a", "b"])
    assert torch.equal(projector.invert(large, ["a", "b"]), w)
    assert not torch.equal(projector.invert(large.flip(0), ["a", "b"]), w)
    grey = images.mean(1, keepdim=True)
    assert torch.equal(projector.invert(grey), projector.invert(grey.repeat(1, 3, 1, 1)))
    encoder = Encoder(EncoderArchitecture.made_for("e4e", "narrow", "e4e", 6, 8, 16, 1), torch.zeros(8)).eval()
    for shape in ((1, 3, 16, 32), (1, 4, 16, 16), (3, 16, 16)):
        told = []
        for invert in (projector.invert, encoder):
            with pytest.raises(InputError, match=r"must be square, \[N, 3, H, H\] or greyscale") as refused:
                invert(torch.zeros(shape))
            told.append(str(refused.value))
        assert told[0] == told[1]


@pytest.mark.parametrize("architecture", [(8, 2, 8, 16, 3, 2, (8, 8, 8)), (8, 0, 8, 16, 1, 2, (8, 8, 8))])
def test_generators_of_other_images_are_refused(architecture):
    generator = Generator(GeneratorArchitecture(*architecture)).eval()
    with pytest.raises(InputError, match="projector's generator must be an unconditional generator of RGB images"):
        Projector(ProjectorSettings(w_samples=10), features=pooled_pixels).fit(generator)


def test_maps_keep_their_names_and_come_out_white():
    maps = {"b4.conv1.noise_const": 4, "b8.conv0.noise_const": 8, "b8.conv1.noise_const": 8}
    given = {name: torch.randn(3, r, r) * 7 + 2 for name, r in maps.items()}
    stacked = NoiseMaps.stack(given)
    assert all(buffer.squeeze(1).equal(given[name]) for name, buffer in stacked.buffers().items())
    alone = sum(noise_regulariser(m[:, None])[:, 0] for m in given.values())
    torch.testing.assert_close(stacked.regulariser()[0], alone)
    stacked.normalise()
    for stack in stacked.stacks.values():
        assert stack.mean((2, 3)).abs().max() < 1e-5
        assert (stack.square().mean((2, 3)) - 1).abs().max() < 1e-5
