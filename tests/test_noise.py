"""Noise sources: fresh noise in training, fixed noise on the held-out points."""

from __future__ import annotations

import pytest
import torch
from pytest import approx
from torch import Tensor

from stages.nn.noise import FixedNoise, TrainingNoise, stratified
from stages.nn.points import Points
from tests.plane import generator, points


def test_training_noise_is_standard_normal_and_fresh() -> None:
    source, like = TrainingNoise(generator()), torch.zeros(2, 5000, 2)
    first, second = source.normal(like), source.normal(like)
    assert first.mean().item() == approx(0, abs=0.03) and first.std().item() == approx(1, abs=0.03)
    assert (first != second).any() and (first[0] != first[1]).any()


def test_training_mask_hides_one_coordinate_and_alternates_between_steps() -> None:
    source = TrainingNoise(generator())
    for step, visible in enumerate([[0, 1], [1, 0], [0, 1]]):
        source.advance(step, 3)
        assert (source.visible(points()) == torch.tensor(visible)).all() and source.visible(points()).shape == (3, 16, 2)


def test_stratified_numbers_fill_the_unit_interval_evenly() -> None:
    u = stratified(TrainingNoise(generator()), torch.zeros(3, 10, 2))
    assert u.shape == (3, 10, 1) and ((u.squeeze(-1) * 10).floor() == torch.arange(10)).all()
    assert (u[0] != u[1]).all()


@pytest.mark.parametrize("steps", [1, 2, 11])
def test_progress_runs_from_zero_to_one(steps: int) -> None:
    source = TrainingNoise(generator())
    progress = [source.advance(step, steps) or source.progress for step in range(steps)]
    assert progress == approx([step / (steps - 1) if steps > 1 else 0 for step in range(steps)])


def test_fixed_noise_returns_its_arrays_in_order_and_raises_when_exhausted() -> None:
    noise, mask = points(2), torch.eye(2).repeat(8, 1)
    source = FixedNoise(noise, mask)
    for k in (0, 1):
        assert (source.normal(points()) == noise[k].expand(3, 16, 2)).all()
    assert (source.visible(points()) == mask.expand(3, 16, 2)).all()
    with pytest.raises(ValueError, match="more noise than the held-out views hold"):
        source.normal(points())


def test_training_uniform_noise_covers_the_unit_interval_and_is_fresh() -> None:
    source, like = TrainingNoise(generator()), torch.zeros(2, 5000, 2).double()
    first, second = source.uniform(like), source.uniform(like)
    assert first.shape == like.shape and first.dtype == like.dtype
    assert first.min() >= 0 and first.max() < 1
    assert first.flatten().histc(10, 0, 1).div(len(first.flatten())).tolist() == approx([0.1] * 10, abs=0.01)
    assert (first != second).all() and (first[0] != first[1]).all()


def test_fixed_uniform_noise_is_shared_by_all_seeds_and_reproducible() -> None:
    def uniform(seed: int) -> Tensor:
        return FixedNoise(points(2), torch.eye(2).repeat(8, 1), seed=seed).uniform(points(count=5))

    assert uniform(0).shape == (3, 5, 2) and (uniform(0) == uniform(0)[0]).all()
    assert (uniform(0) == uniform(0)).all() and (uniform(0) != uniform(1)).all()


def test_fixed_uniform_noise_is_fresh_and_does_not_consume_normal_noise() -> None:
    source = FixedNoise(points(2), torch.eye(2).repeat(8, 1))
    assert (source.uniform(points()) != source.uniform(points())).all()
    assert (source.normal(points()) == points(2)[0]).all()


def test_uniform_points_cover_the_box_evenly() -> None:
    box = [[-1, 3], [10, 11]]
    like = torch.zeros(2, 5000, 2)
    uniform = Points(copies=2, box=box).uniform(like, TrainingNoise(generator()))
    assert uniform.shape == like.shape and uniform.dtype == like.dtype
    for axis, (low, high) in enumerate(box):
        values = uniform[..., axis].flatten()
        assert values.min() >= low and values.max() <= high
        assert values.histc(10, low, high).div(len(values)).tolist() == approx([0.1] * 10, abs=0.01)
    assert torch.corrcoef(uniform[0].T)[0, 1].item() == approx(0, abs=0.05)
