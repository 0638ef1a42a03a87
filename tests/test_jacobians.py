"""JEPA-SCORE, the log-volume of an encoder's Jacobian: closed forms, scale, unresolved directions, an exact Gaussian map."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pytest import approx
from torch.testing import assert_close

from stages.metrics.ranks import spearman
from stages.mog.evaluation.jacobians import RESOLVED, log_volume
from tests.plane import REFERENCE, domain, gaussianised, normal


def test_log_volume_of_a_linear_map_is_half_the_log_determinant() -> None:
    weights = normal(3, 2, 5)
    expected = torch.linalg.det(weights @ weights.mT).log() / 2
    found = log_volume(lambda x: x @ weights)(normal(4, 2))
    assert_close(found, expected[:, None].expand(3, 4))


def test_log_volume_is_the_sum_of_the_log_singular_values_of_the_jacobian() -> None:
    torch.manual_seed(0)
    encoder, x = domain(copies=2).encoder(width=8, depth=2, dim=4).double(), normal(5, 2)
    for index, point in enumerate(x):
        jacobian = torch.autograd.functional.jacobian(lambda p: encoder(p[None])[:, 0], point)
        expected = torch.linalg.svdvals(jacobian).log().sum(-1)
        assert_close(log_volume(encoder)(x)[:, index], expected)


@pytest.mark.parametrize("scale", [1.0, 3e-3, 1e-9])
def test_log_volume_of_a_scaled_map_differs_by_a_constant(scale: float) -> None:
    torch.manual_seed(0)
    encoder, x = domain(copies=2).encoder(width=8, depth=2, dim=4), normal(5, 2).float()
    found = log_volume(lambda points: scale * encoder(points))(x)
    assert_close(found, log_volume(encoder)(x) + 2 * math.log(scale), atol=1e-4, rtol=0)


def test_an_unresolved_direction_counts_as_a_fraction_of_the_other() -> None:
    found = log_volume(lambda x: x.expand(1, *x.shape[-2:]) * torch.tensor([2.0, 0.0]))(normal(4, 2))
    assert_close(found, torch.full((1, 4), math.log(4 * RESOLVED)).double())


@pytest.mark.parametrize(("first", "correlation"), [(0, 0.21), (1, 0.27)])
def test_an_exact_gaussian_embedding_of_the_plane_orders_points_by_density_only_weakly(first: int, correlation: float) -> None:
    x, _ = REFERENCE.sample(4000, np.random.default_rng(0))
    score = log_volume(lambda points: gaussianised(points, first))(torch.from_numpy(x))[0].numpy()
    z, log_density = gaussianised(torch.from_numpy(x), first)[0].numpy(), REFERENCE.log_density(x)
    np.testing.assert_allclose(score, log_density + (z**2).sum(-1) / 2 + math.log(2 * math.pi), atol=1e-3)
    assert spearman(score, log_density) == approx(correlation, abs=0.01)
