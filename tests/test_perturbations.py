"""Transforms of images and their random augmentation: equality with scipy and torch, limit cases, randomness."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from torch import Tensor
from torch.testing import assert_close

from stages.config import params
from stages.config.images import Perturbations, Severities
from stages.core.paths import ROOT
from stages.mnist.images import augmentation, transforms
from stages.mnist.images.augmentation import UNIT, Affine, Augmentation, Morphology, Step, make
from stages.mnist.images.transforms import affine, dilation, elastic, erosion, gaussian, inversion, salt_and_pepper

FULL = {
    "affine": {"probability": 1.0, "rotation": 45.0, "scale": 0.3, "shear": 30.0, "translation": 4.0},
    "elastic": {"probability": 1.0, "nodes": 6, "displacement": 3.0},
    "erosion": {"probability": 1.0, "side": 5},
    "dilation": {"probability": 1.0, "side": 5},
    "low_contrast": {"probability": 1.0, "loss": 0.9},
    "inversion": {"probability": 1.0, "amount": 1.0},
    "salt_and_pepper": {"probability": 1.0, "fraction": 0.3},
    "gaussian": {"probability": 1.0, "std": 0.6},
}
HALF = {
    "affine": {"probability": 1.0, "rotation": 22.5, "scale": 0.15, "shear": 15.0, "translation": 2.0},
    "elastic": {"probability": 1.0, "nodes": 6, "displacement": 1.5},
    "erosion": {"probability": 1.0, "side": 3},
    "dilation": {"probability": 1.0, "side": 3},
    "low_contrast": {"probability": 1.0, "loss": 0.45},
    "inversion": {"probability": 1.0, "amount": 0.5},
    "salt_and_pepper": {"probability": 1.0, "fraction": 0.15},
    "gaussian": {"probability": 1.0, "std": 0.3},
}
KINDS = list(FULL)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int = 4, size: int = 28) -> Tensor:
    """Images of uniform noise, the same every time."""
    return torch.rand(count, 1, size, size, generator=seeded(), dtype=torch.float64)


def strokes(count: int = 4, size: int = 28) -> Tensor:
    """Images like digits: bright curves with soft edges on black, some of which touch the border."""
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(count, size, size)), (0, 3, 3))
    return torch.from_numpy(np.clip(1.5 - 120 * np.abs(smooth), 0, 1)).unsqueeze(1)


def dot(*, right: float = 0, down: float = 0, count: int = 1, size: int = 28) -> Tensor:
    """Images of a round blob, `right` and `down` pixels from the centre."""
    offset = torch.arange(size) - (size - 1) / 2
    distance = (offset - right).square() + (offset[:, None] - down).square()
    return torch.exp(-distance / 4).expand(count, 1, size, size)


def centre_of_mass(x: Tensor) -> Tensor:
    """Centres of mass (B, 2), in pixels to the right of and below the centre of the image."""
    offset = torch.arange(x.shape[-1], dtype=x.dtype) - (x.shape[-1] - 1) / 2
    mass = x.sum((-1, -2)).squeeze(1)
    return torch.stack(((x.sum(-2).squeeze(1) @ offset) / mass, (x.sum(-1).squeeze(1) @ offset) / mass), -1)


def move(x: Tensor, *, angle: float = 0, scale: float = 1, shear: float = 0, shift: tuple[float, float] = (0, 0)) -> Tensor:
    """Apply the same affine map to all images."""
    ones = x.new_ones(len(x))
    return affine(x, angle=ones * angle, scale=ones * scale, shear=ones * shear, shift=ones[:, None] * x.new_tensor(shift))


# ---------------------------------------------------------------- elastic


def test_elastic_without_displacement_is_the_identity() -> None:
    assert_close(elastic(noise(), noise().new_zeros(4, 2, 6, 6)), noise())


@pytest.mark.parametrize("right, down", [(2, 0), (0, -3), (1, 2)])
def test_uniform_displacement_shifts_the_image_in_the_opposite_direction(right: int, down: int) -> None:
    nodes = noise().new_tensor([right, down]).view(1, 2, 1, 1).expand(4, 2, 5, 5)
    assert_close(elastic(noise(), nodes), move(noise(), shift=(-right, -down)), atol=1e-12, rtol=0)


@pytest.mark.parametrize("nodes, size", [(2, (28, 28)), (6, (28, 28)), (5, (9, 14)), (28, (28, 28))])
def test_bicubic_surface_equals_torch_interpolation(nodes: int, size: tuple[int, int]) -> None:
    values = torch.randn(3, 2, nodes, nodes, generator=seeded(), dtype=torch.float64)
    matrix = transforms.bicubic(nodes, *size, torch.device("cpu"), torch.float64)
    expected = torch.nn.functional.interpolate(values, size, mode="bicubic", align_corners=True)
    assert_close((values.flatten(2) @ matrix).view_as(expected), expected)


def test_displacement_of_one_node_deforms_only_its_neighbourhood() -> None:
    nodes = noise().new_zeros(4, 2, 6, 6)
    nodes[:, 0, 1, 1] = 2
    change = (elastic(strokes(), nodes) - strokes()).abs().amax((0, 1))
    assert change[2:9, 2:9].max() > 0.1 and change[18:, 18:].max() < 1e-12


def test_elastic_displacements_have_the_standard_deviation_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(augmentation, "elastic", lambda x, displacement: seen.append(displacement) or x)
    make("elastic", FULL["elastic"], UNIT)(noise(500), 0.5, seeded())
    assert seen[0].shape == (500, 2, 6, 6)
    assert seen[0].std() == pytest.approx(1.5, rel=0.02) and abs(seen[0].mean()) < 0.05


# ---------------------------------------------------------------- morphology


@pytest.mark.parametrize("images", [noise, strokes])
@pytest.mark.parametrize("size", range(1, 7))
@pytest.mark.parametrize("ours, oracle", [(erosion, ndimage.grey_erosion), (dilation, ndimage.grey_dilation)])
def test_morphology_equals_scipy(
    ours: Callable[[Tensor, int], Tensor], oracle: Callable[..., np.ndarray], size: int, images: Callable[[], Tensor]
) -> None:
    x = images()
    assert np.array_equal(ours(x, size).numpy(), [[oracle(image[0].numpy(), size=(size, size))] for image in x])


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 6), st.integers(0, 99))
def test_morphology_equals_scipy_on_any_image_shape(height: int, width: int, size: int, seed: int) -> None:
    x = torch.rand(1, 1, height, width, generator=seeded(seed))
    image = x[0, 0].numpy()
    assert np.array_equal(erosion(x, size)[0, 0].numpy(), ndimage.grey_erosion(image, size=(size, size)))
    assert np.array_equal(dilation(x, size)[0, 0].numpy(), ndimage.grey_dilation(image, size=(size, size)))


@pytest.mark.parametrize("size", range(1, 7))
def test_dilation_is_the_negative_of_the_eroded_negative(size: int) -> None:
    # An even square reaches further to one side, and dilation reflects it; hence the flips.
    assert_close(dilation(noise(), size), 1 - erosion(1 - noise().flip(-1, -2), size).flip(-1, -2))


@pytest.mark.parametrize("kind, function, sign", [("erosion", erosion, -1), ("dilation", dilation, 1)])
def test_morphology_grows_with_strength_and_interpolates_between_integer_sides(
    kind: str, function: Callable[[Tensor, int], Tensor], sign: int
) -> None:
    step, x = make(kind, FULL[kind], UNIT), noise()
    for side in range(1, 6):
        assert torch.equal(step(x, (side - 1) / 4, seeded()), function(x, side))
    assert_close(step(x, 0.375, seeded()), (function(x, 2) + function(x, 3)) / 2)
    grey_values = torch.stack([step(x, factor, seeded()) for factor in np.linspace(0, 1, 33).tolist()])
    changes = sign * grey_values.diff(dim=0)
    assert changes.min() > -1e-12
    # Every increase in strength changes the images: otherwise, two of the sets at .33, .67 and 1 of a side of 3 could be equal.
    assert (changes.flatten(1).amax(-1) > 0.01).all()


# ---------------------------------------------------------------- affine


def test_affine_with_neutral_parameters_is_the_identity() -> None:
    assert_close(move(noise()), noise())


@given(st.integers(-30, 30), st.integers(-30, 30))
def test_integer_shift_moves_right_and_down_with_zero_padding(right: int, down: int) -> None:
    x = noise(1)
    expected = ndimage.shift(x.numpy(), (0, 0, down, right), order=0, mode="constant")
    assert_close(move(x, shift=(right, down)).numpy(), expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("quarters", [-1, 1, 2])
def test_positive_angle_rotates_clockwise(quarters: int) -> None:
    assert_close(move(strokes(), angle=quarters * math.pi / 2), strokes().rot90(-quarters, (-2, -1)), atol=1e-12, rtol=0)


def test_scale_two_doubles_the_distance_from_the_centre() -> None:
    assert_close(centre_of_mass(move(dot(right=3, down=-2), scale=2)), torch.tensor([[6.0, -4.0]]), atol=0.05, rtol=0)


def test_shear_shifts_along_x_in_proportion_to_y() -> None:
    assert_close(centre_of_mass(move(dot(down=6), shear=math.pi / 4)), torch.tensor([[6.0, 6.0]]), atol=0.02, rtol=0)


@given(
    st.floats(-math.pi, math.pi),
    st.floats(0.3, 3),
    st.floats(-1, 1),
    st.floats(-9, 9),
    st.floats(-9, 9),
    st.integers(2, 28),
)
def test_affine_equals_scipy(angle: float, scale: float, shear: float, right: float, down: float, size: int) -> None:
    x = noise(1, size)
    rotation = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    inverse = np.linalg.inv(scale * rotation @ np.array([[1, math.tan(shear)], [0, 1]]))[::-1, ::-1]  # (x, y) to (row, column)
    middle = (size - 1) / 2
    offset = middle - inverse @ (np.array([down, right]) + middle)
    expected = ndimage.affine_transform(x[0, 0].numpy(), inverse, offset, order=1, mode="grid-constant")
    moved = move(x, angle=angle, scale=scale, shear=shear, shift=(right, down))
    assert_close(moved[0, 0].numpy(), expected, atol=1e-9, rtol=0)


def test_each_image_of_a_batch_has_its_own_affine_map() -> None:
    first, second = {"angle": 0.3, "scale": 0.8, "shear": 0.2}, {"angle": -1.0, "scale": 1.3, "shear": -0.4}
    x, shift = noise(2).float(), torch.tensor([[1.5, -2.0], [0.0, 3.0]])
    together = affine(x, **{key: torch.tensor([first[key], second[key]]) for key in first}, shift=shift)
    assert_close(together[:1], move(x[:1], **first, shift=(1.5, -2)))
    assert_close(together[1:], move(x[1:], **second, shift=(0, 3)))


def test_affine_rejects_images_that_are_not_square() -> None:
    with pytest.raises(ValueError, match="square"):
        move(torch.zeros(1, 1, 28, 27))


@pytest.mark.parametrize(
    "setting, limit, start, largest",
    [
        ("translation", 3, (0, 0), (3, 3)),
        ("rotation", 30, (8, 0), (8 - 8 * math.cos(math.pi / 6), 8 * math.sin(math.pi / 6))),
        ("scale", 0.25, (8, 0), (2, 0)),
        ("shear", 45, (0, 5), (5, 0)),
    ],
)
def test_random_affine_parameters_fill_their_range(
    setting: str, limit: float, start: tuple[float, float], largest: tuple[float, float]
) -> None:
    identity = {"probability": 1.0, "rotation": 0.0, "scale": 0.0, "shear": 0.0, "translation": 0.0}
    x, expected = dot(right=start[0], down=start[1], count=400), torch.tensor(largest).float()
    displacement = centre_of_mass(make("affine", {**identity, setting: limit}, UNIT)(x, 1, seeded())) - torch.tensor(start)
    assert_close(displacement.abs().amax(0), expected, atol=0.1, rtol=0.02)
    both_ways = displacement[:, expected > 1.5]
    assert (both_ways.amin(0) < 0).all() and (both_ways.amax(0) > 0).all()


def test_random_affine_parameters_are_uncorrelated(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Tensor] = {}
    monkeypatch.setattr(augmentation, "affine", lambda x, **parameters: seen.update(parameters))
    make("affine", FULL["affine"], UNIT)(torch.zeros(2000, 1, 1, 1), 1, seeded())
    columns = torch.stack([seen["angle"], seen["scale"], seen["shear"], *seen["shift"].T])
    assert (columns.corrcoef() - torch.eye(5)).abs().max() < 0.1


# ---------------------------------------------------------------- grey values


def test_inverting_twice_is_the_identity() -> None:
    assert_close(inversion(inversion(noise(), 1.0), 1.0), noise())


def test_inversion_at_full_strength_is_the_negative() -> None:
    assert_close(make("inversion", FULL["inversion"], UNIT)(noise(), 1, seeded()), 1 - noise())
    full = params.load(ROOT / "params.yaml").mnist_severity.inversion.model_dump()
    assert_close(make("inversion", full, UNIT)(noise(), 1, seeded()), 1 - noise())


@pytest.mark.parametrize("loss", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.parametrize("factor", [0.5, 1])
def test_low_contrast_blends_with_grey_and_never_inverts(loss: float, factor: float) -> None:
    x, grey = noise(), torch.full_like(noise(), 0.5)
    faded = make("low_contrast", {"probability": 1.0, "loss": loss}, UNIT)(x, factor, seeded())
    assert_close(faded, (1 - loss * factor) * x + loss * factor * grey)
    # Pixels brighter than grey never become darker than grey: the image is no negative.
    assert ((faded - grey) * (x - grey) >= 0).all()


def test_inversion_blends_each_image_by_its_own_amount() -> None:
    x = noise(3)
    blended = inversion(x, torch.tensor([0.0, 0.5, 1.0]))
    assert_close(blended, torch.stack((x[0], torch.full_like(x[1], 0.5), 1 - x[2])))


@pytest.mark.parametrize("fraction", [0.0, 0.05, 0.3, 1.0])
def test_salt_and_pepper_sets_its_fraction_to_black_or_white_equally_often(fraction: float) -> None:
    x = torch.full((100, 1, 28, 28), 0.5)
    noisy = salt_and_pepper(x, torch.rand(x.shape, generator=seeded()), fraction)
    error = 5 * math.sqrt(fraction / x.numel())
    for colour in (0, 1):
        assert (noisy == colour).double().mean().item() == pytest.approx(fraction / 2, abs=error)
    assert set(noisy.unique().tolist()) <= {0.0, 0.5, 1.0}


def test_salt_and_pepper_takes_a_fraction_per_image() -> None:
    noisy = salt_and_pepper(torch.full((2, 1, 28, 28), 0.5), torch.rand(2, 1, 28, 28), torch.tensor([0.0, 1.0]))
    assert (noisy[0] == 0.5).all() and (noisy[1] != 0.5).all()


def test_gaussian_noise_has_the_given_standard_deviation_and_zero_mean() -> None:
    x = torch.full((100, 1, 28, 28), 0.5)
    added = gaussian(x, torch.randn(x.shape, generator=seeded()), 0.1) - x
    assert added.std().item() == pytest.approx(0.1, rel=0.02)
    assert added.mean().item() == pytest.approx(0, abs=0.002)


def test_gaussian_noise_is_clipped_to_the_unit_interval() -> None:
    assert gaussian(torch.tensor([[[[0.2, 0.9]]]]), torch.tensor([[[[-1.0, 1.0]]]]), 0.5).flatten().tolist() == [0, 1]


# ---------------------------------------------------------------- random augmentation and its schedule


@pytest.mark.parametrize("kind", KINDS)
def test_half_the_factor_equals_half_the_strength(kind: str) -> None:
    x = strokes().float()
    assert_close(make(kind, FULL[kind], UNIT)(x, 0.5, seeded()), make(kind, HALF[kind], UNIT)(x, 1, seeded()))


@pytest.mark.parametrize("kind", KINDS)
def test_factor_zero_leaves_images_unchanged(kind: str) -> None:
    x = strokes().float()
    assert_close(make(kind, FULL[kind], UNIT)(x, 0, seeded()), x)


@pytest.mark.parametrize("kind", KINDS)
def test_probability_zero_changes_no_image_and_one_changes_all(kind: str) -> None:
    x = strokes(50).float()
    never, always = (Augmentation([make(kind, {**FULL[kind], "probability": p}, UNIT)], (1, 1)) for p in (0.0, 1.0))
    assert torch.equal(never(x, 1, seeded()), x)
    assert (always(x, 1, seeded()) != x).flatten(1).any(-1).all()


@pytest.mark.parametrize("kind", KINDS)
def test_transform_is_applied_with_its_probability(kind: str) -> None:
    x = strokes(1).float().expand(1000, -1, -1, -1)
    augmented = Augmentation([make(kind, {**FULL[kind], "probability": 0.3}, UNIT)], (1, 1))(x, 1, seeded())
    assert (augmented != x).flatten(1).any(-1).double().mean().item() == pytest.approx(0.3, abs=0.05)


@pytest.mark.parametrize("kind", ["affine", "elastic", "salt_and_pepper", "gaussian"])
def test_equal_images_get_different_random_parameters(kind: str) -> None:
    x = strokes(1).float().expand(64, -1, -1, -1)
    augmented = Augmentation([make(kind, FULL[kind], UNIT)], (1, 1))(x, 1, seeded())
    assert len(augmented.flatten(1).unique(dim=0)) == 64


def test_transforms_are_selected_independently_of_each_other() -> None:
    steps: list[Step] = [make(kind, {**FULL[kind], "probability": 0.5}, UNIT) for kind in ("inversion", "dilation")]
    augmented = Augmentation(steps, (1, 1))(dot(count=400), 1, seeded())
    different, counts = augmented.flatten(1).unique(dim=0, return_counts=True)
    assert len(different) == 4 and counts.min() > 70


def test_transforms_are_applied_in_their_order() -> None:
    first, second = make("inversion", FULL["inversion"], UNIT), make("dilation", FULL["dilation"], UNIT)
    x = strokes()
    assert torch.equal(Augmentation([first, second], (1, 1))(x, 1, seeded()), dilation(1 - x, 5))
    assert torch.equal(Augmentation([second, first], (1, 1))(x, 1, seeded()), 1 - dilation(x, 5))


@pytest.mark.parametrize("progress, amount", [(0, 0.2), (0.5, 0.5), (1, 0.8)])
def test_schedule_interpolates_strengths_from_its_start_to_its_end(progress: float, amount: float) -> None:
    augment = Augmentation([make("inversion", {"probability": 1.0, "amount": 1.0}, UNIT)], (0.2, 0.8))
    assert_close(augment(noise(), progress, seeded()), inversion(noise(), amount))


def test_augmentation_without_transforms_is_the_identity() -> None:
    assert torch.equal(Augmentation([], (1, 1))(noise(), 1, seeded()), noise())


def test_randomness_depends_on_the_generator_alone() -> None:
    augment, x = Augmentation([make(kind, FULL[kind], UNIT) for kind in KINDS], (1, 1)), strokes().float()
    torch.manual_seed(1)
    first = augment(x, 1, seeded())
    torch.manual_seed(2)
    assert torch.equal(augment(x, 1, seeded()), first)
    assert not torch.equal(augment(x, 1, seeded(1)), first)


@given(
    st.integers(1, 5),
    st.integers(7, 28),
    st.lists(st.sampled_from(KINDS), max_size=6),
    st.floats(0, 1),
    st.integers(0, 9999),
)
def test_augmented_values_stay_in_range_and_the_input_is_unchanged(
    count: int, size: int, kinds: list[str], progress: float, seed: int
) -> None:
    x = torch.rand(count, 1, size, size, generator=seeded(seed)).round(decimals=1)
    before = x.clone()
    y = Augmentation([make(kind, FULL[kind], UNIT) for kind in kinds], (0.1, 1.0))(x, progress, seeded(seed))
    assert y.shape == x.shape and y.dtype == x.dtype
    assert y.min() >= 0 and y.max() <= 1 + 1e-6, "the weights of a bilinear interpolation are rounded"
    assert torch.equal(x, before)


def test_unselected_images_and_the_input_are_unchanged() -> None:
    x = torch.rand(200, 1, 28, 28, generator=seeded())
    before = x.clone()
    for kind in KINDS:
        y = Augmentation([make(kind, {**FULL[kind], "probability": 0.3}, UNIT)], (1.0, 1.0))(x, 0.0, seeded())
        assert torch.equal(x, before)
        unchanged = (x == y).flatten(1).all(1).float().mean().item()
        assert abs(unchanged - 0.7) < 4 * (0.3 * 0.7 / 200) ** 0.5, kind


@pytest.mark.parametrize("kinds", [*([kind] for kind in KINDS), KINDS], ids="+".join)
@pytest.mark.parametrize("count", [1, 3, 64])
def test_batches_augmented_together_equal_those_augmented_in_turn(kinds: list[str], count: int) -> None:
    augment = Augmentation([make(kind, {**FULL[kind], "probability": 0.5}, UNIT) for kind in kinds], (0.1, 1.0))
    x, progress = torch.rand(4, count, 1, 28, 28, generator=seeded()), (0.2, 0.2, 0.7, 1.0)
    alone, together = seeded(1), seeded(1)
    in_turn = [augment(batch, at, alone) for batch, at in zip(x, progress, strict=True)]
    draws = [augment.draw(batch, at, together) for batch, at in zip(x, progress, strict=True)]
    assert torch.equal(augment.transform(x.flatten(0, 1), draws), torch.cat(in_turn))
    assert torch.equal(alone.get_state(), together.get_state())


def test_every_perturbation_of_the_params_has_a_transform() -> None:
    assert list(Severities.model_fields) == KINDS
    assert [kind for kind in KINDS if kind in Perturbations.model_fields] == list(Perturbations.model_fields)
    assert all(isinstance(make(kind, FULL[kind], UNIT), Step) for kind in KINDS)


# ---------------------------------------------------------------- sides and colour


def test_lengths_grow_with_the_side_of_the_images() -> None:
    small, large = (make("affine", FULL["affine"], side) for side in (28, 56))
    assert isinstance(small, Affine) and isinstance(large, Affine)
    assert (large.translation, large.rotation) == (2 * small.translation, small.rotation)
    x = strokes().float()
    doubled = torch.nn.functional.interpolate(x, scale_factor=2.0)
    for kind in ("erosion", "dilation"):
        ours = make(kind, {"probability": 1.0, "side": 3}, 56)(doubled, 1, seeded())
        assert_close(ours, {"erosion": erosion, "dilation": dilation}[kind](doubled, 5))
    tiny = make("dilation", {"probability": 1.0, "side": 3}, 8)
    assert isinstance(tiny, Morphology) and tiny.side == pytest.approx(1 + 2 * 8 / 28)


@pytest.mark.parametrize("kind", [*KINDS, "flip"])
def test_every_transform_works_on_colour_and_changes_each_channel_as_it_would_alone(kind: str) -> None:
    x = torch.rand(6, 3, 16, 16, generator=seeded())
    step = make(kind, FULL.get(kind, {"probability": 1.0}), 16)
    y = step(x, 1, seeded())
    assert y.shape == x.shape and not torch.equal(y, x)
    if kind != "gaussian":  # whose noise is independent in each channel
        for channel in range(3):
            assert_close(y[:, channel : channel + 1], step(x[:, channel : channel + 1], 1, seeded()))


def test_a_flip_mirrors_images_with_its_probability_and_not_at_strength_zero() -> None:
    x = torch.rand(400, 1, 8, 8, generator=seeded())
    flip = make("flip", {"probability": 0.5}, 8)
    y = Augmentation([flip], (1, 1))(x, 0, seeded())
    mirrored = (y == x.flip(-1)).flatten(1).all(-1)
    assert ((y == x).flatten(1).all(-1) ^ mirrored).all() and 150 < mirrored.sum() < 250
    assert torch.equal(flip(x, 0, seeded()), x)
