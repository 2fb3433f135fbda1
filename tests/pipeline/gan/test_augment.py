"""The augmentation by its properties: derivatives, switches, and samples that are left alone."""

import dataclasses

import pytest
import torch

from pipeline.gan.augment import (
    AugmentSettings,
    RandomDraws,
    apply_colour,
    apply_geometry,
    augment,
    colour_matrices,
    geometry_matrices,
)

GROUPS = {
    "blit": ("xflip", "rotate90", "xint"),
    "geometry": ("scale", "rotate", "aniso", "xfrac"),
    "colour": ("brightness", "contrast", "lumaflip", "hue", "saturation"),
}


@pytest.fixture
def images(rng):
    return torch.rand(6, 3, 16, 16, generator=rng) * 2 - 1


def test_p_zero_changes_nothing(images, rng):
    assert augment(images, 0.0, AugmentSettings(), RandomDraws(rng)) is images


def test_first_and_second_derivatives(rng):
    images = torch.rand(1, 3, 4, 4, generator=rng, dtype=torch.float64).requires_grad_()
    moved = geometry_matrices(1, 4, 4, 1.0, AugmentSettings(), RandomDraws(rng)).double()
    coloured = colour_matrices(1, 1.0, AugmentSettings(), RandomDraws(rng)).double()

    def pipeline(x):
        return apply_colour(apply_geometry(x, moved), coloured)

    assert torch.autograd.gradcheck(pipeline, (images,))
    assert torch.autograd.gradgradcheck(lambda x: pipeline(x) ** 2, (images,))


@pytest.mark.parametrize("group", GROUPS)
def test_a_group_switched_off_has_no_effect(group, rng):
    settings = AugmentSettings.groups(**{group: False})
    assert all(getattr(settings, op) == 0 for op in GROUPS[group])
    others = [op for name, operations in GROUPS.items() if name != group for op in operations]
    assert all(getattr(settings, op) == 1 for op in others)
    moved = geometry_matrices(8, 16, 16, 1.0, settings, RandomDraws(rng))
    coloured = colour_matrices(8, 1.0, settings, RandomDraws(rng))
    still, plain = torch.equal(moved, torch.eye(3).expand(8, 3, 3)), torch.equal(coloured, torch.eye(4).expand(8, 4, 4))
    assert (still, plain) == (False, group == "colour")


def test_colour_alone_moves_no_pixel(images, rng):
    settings = AugmentSettings.groups(blit=False, geometry=False)
    assert torch.equal(apply_geometry(images, geometry_matrices(6, 16, 16, 1.0, settings, RandomDraws(rng))), images)


@pytest.mark.parametrize("op", [op for operations in GROUPS.values() for op in operations])
def test_each_operation_is_applied_with_its_probability(op, rng):
    settings = dataclasses.replace(AugmentSettings.groups(False, False, False), **{op: 1.0})
    p, n = 0.3, 4000
    matrices = [
        geometry_matrices(n, 16, 16, p, settings, RandomDraws(rng)),
        colour_matrices(n, p, settings, RandomDraws(rng)),
    ]
    changed = [(m != torch.eye(m.shape[1])).flatten(1).any(dim=1).float().mean().item() for m in matrices]
    expected = {"xflip": p / 2, "rotate90": p * 3 / 4, "lumaflip": p / 2}.get(op, p)
    assert sorted(changed) == pytest.approx([0.0, expected], abs=0.03)


def test_samples_that_stay_are_untouched_and_the_others_as_if_alone(images, rng):
    matrices = geometry_matrices(6, 16, 16, 0.07, AugmentSettings(), RandomDraws(rng))
    still = (matrices == torch.eye(3)).flatten(1).all(dim=1)
    assert 0 < still.sum() < 6
    result = apply_geometry(images, matrices)
    assert torch.equal(result[still], images[still])
    alone = torch.cat([apply_geometry(images[i : i + 1], matrices[i : i + 1]) for i in range(6)])
    assert torch.allclose(result, alone, atol=1e-5)


def test_leaving_the_identity_alone_is_what_the_full_path_gives(images):
    almost = torch.eye(3).repeat(6, 1, 1)
    almost[:, 0, 2] = 1e-7
    assert torch.allclose(apply_geometry(images, almost), images, atol=1e-4)
