"""Pairwise JEPA: the loss does not depend on the pairing and minimises the variance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from stages.methods.jepa_pairwise import JepaPairwise, mean_squared_distance
from tests.plane import domain, normal, source


def brute_force(a: Tensor, b: Tensor) -> Tensor:
    """The mean squared distance over all pairs, computed pair by pair."""
    return (a[..., :, None, :] - b[..., None, :, :]).square().sum(-1).mean((-2, -1))


def method(depth: int = 2) -> JepaPairwise:
    torch.manual_seed(0)
    return JepaPairwise(domain(), view={"noise": 0.3}, encoder={"width": 8, "depth": depth, "dim": 4}).double()


A, B = normal(3, 20, 4, seed=0), 2 * normal(3, 20, 4, seed=1) + 1


def test_loss_is_the_mean_over_all_pairs_in_value_and_gradient() -> None:
    a, b = A.clone().requires_grad_(), B.clone().requires_grad_()
    ours, expected = mean_squared_distance(a, b)["loss"], brute_force(a, b)
    assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    assert_close(torch.autograd.grad(ours.sum(), (a, b)), torch.autograd.grad(expected.sum(), (a, b)), rtol=1e-5, atol=1e-5)


def test_loss_does_not_depend_on_the_pairing() -> None:
    assert_close(mean_squared_distance(A, B), mean_squared_distance(A, B[:, torch.randperm(20)]))


def test_loss_is_the_sum_of_two_variances_and_an_offset() -> None:
    parts = mean_squared_distance(A, B)
    traces = [sum(torch.cov(z.T, correction=0).trace() for z in pair) for pair in zip(A, B, strict=True)]
    assert_close(parts["variance"], torch.stack(traces))
    assert_close(parts["offset"], (A.mean(1) - B.mean(1)).square().sum(-1))
    assert_close(parts["loss"], parts["variance"] + parts["offset"])


def test_loss_of_equal_views_is_twice_their_variance() -> None:
    assert_close(mean_squared_distance(A, A)["loss"], 2 * A.var(1, correction=0).sum(-1))
    assert_close(mean_squared_distance(A, A)["offset"], torch.zeros(3).double())


def test_loss_of_two_constant_embeddings_is_their_offset() -> None:
    parts = mean_squared_distance(torch.zeros(1, 5, 4), torch.full((1, 5, 4), 3.0))
    assert (parts["variance"].item(), parts["offset"].item(), parts["loss"].item()) == (0, 36, 36)


def test_loss_is_quadratic_in_the_scale_of_the_embeddings() -> None:
    assert_close(mean_squared_distance(A / 10, B / 10)["loss"], mean_squared_distance(A, B)["loss"] / 100)


def test_the_numbers_of_first_and_second_views_may_differ() -> None:
    assert_close(mean_squared_distance(A, B[:, :7])["loss"], brute_force(A, B[:, :7]))


def test_loss_compares_embeddings_of_clean_and_noisy_points() -> None:
    trained, x = method(), normal(3, 16, 2, seed=2)
    expected = brute_force(trained.encoder(x), trained.encoder(x + 0.3 * source().normal(x)))
    assert_close(trained.loss(x, source())["loss"], expected)


def test_a_constant_encoder_has_zero_loss() -> None:
    collapsed = method()
    with torch.no_grad():
        collapsed.encoder[-1].weight.zero_()
    assert_close(collapsed.loss(normal(3, 16, 2, seed=3), source())["loss"], torch.zeros(3).double(), atol=1e-12, rtol=0)


@pytest.mark.parametrize("std", [1.0, 4.0])
def test_loss_of_a_linear_encoder_grows_with_the_variance_of_the_data(std: float) -> None:
    linear = method(depth=0)
    (layer,) = linear.encoder
    expected = (2 * std**2 + 0.3**2) * layer.weight.square().sum((-2, -1))
    assert_close(linear.loss(std * normal(3, 20_000, 2, seed=3), source())["loss"], expected, rtol=0.05, atol=0)
