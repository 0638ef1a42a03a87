"""Batched networks with one copy per seed, EMA targets, and gradients with respect to the points."""

from __future__ import annotations

import pytest
import torch
from pytest import approx
from torch import nn
from torch.testing import assert_close

from stages.nn.ema import follow, frozen_copy
from stages.nn.gradient import gradient
from stages.nn.mlp import BatchedMLP
from tests.plane import points

# networks and EMA targets


def test_a_batched_network_equals_separate_networks_in_value_and_gradient() -> None:
    batched, x = BatchedMLP(copies=3, sizes=[2, 5, 6, 4]), points()
    batched(x).square().sum().backward()
    for s in range(3):
        single = nn.Sequential(nn.Linear(2, 5), nn.SiLU(), nn.Linear(5, 6), nn.SiLU(), nn.Linear(6, 4))
        for i in (0, 2, 4):
            single[i].weight.data, single[i].bias.data = batched[i].weight.data[s].T, batched[i].bias.data[s, 0]
        single(x[s]).square().sum().backward()
        assert_close(batched(x)[s], single(x[s]))
        for i in (0, 2, 4):
            assert_close(batched[i].weight.grad[s].T, single[i].weight.grad, rtol=1e-4, atol=1e-5)
            assert_close(batched[i].bias.grad[s, 0], single[i].bias.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", [[2, 4], [2, 5, 6, 4]])
def test_forward_mode_jacobian_equals_reverse_mode_derivatives(sizes: list[int]) -> None:
    network, x = BatchedMLP(copies=3, sizes=sizes).double(), points().double().requires_grad_()
    value, jacobian = network.with_jacobian(x)
    assert_close(value, network(x))
    rows = [torch.autograd.grad(network(x)[..., i].sum(), x)[0] for i in range(4)]
    assert_close(jacobian, torch.stack(rows, -1).movedim(-2, 0))


def test_points_without_a_seed_dimension_are_broadcast_to_all_copies() -> None:
    batched, x = BatchedMLP(copies=3, sizes=[2, 5, 4]), points()[0]
    assert (batched(x) == batched(x.expand(3, -1, -1))).all()
    assert batched(x).shape == (3, 16, batched.outputs)


def test_a_network_without_hidden_layers_is_affine() -> None:
    (layer,) = affine = BatchedMLP(copies=3, sizes=[2, 4])
    assert_close(affine(points()), points() @ layer.weight + layer.bias)


def test_copies_are_initialised_independently_and_as_pytorchs_linear() -> None:
    weight = BatchedMLP(copies=2, sizes=[16, 500])[0].weight.detach()
    assert (weight[0] != weight[1]).all()
    assert weight.abs().max() <= 1 / 4 and weight.std().item() == approx(1 / 4 / 3**0.5, rel=0.05)
    assert nn.Linear(16, 500).weight.std().item() == approx(weight.std().item(), rel=0.05)


def test_ema_target_follows_the_update_formula() -> None:
    target, online = nn.Linear(3, 2), nn.Linear(3, 2)
    expected = [0.9 * slow + 0.1 * fast for slow, fast in zip(target.parameters(), online.parameters(), strict=True)]
    follow(target, online, 0.9)
    assert_close(list(target.parameters()), expected, rtol=1e-5, atol=1e-6)


def test_decay_zero_copies_the_online_network_and_decay_one_keeps_the_target() -> None:
    target, online = nn.Linear(3, 2), nn.Linear(3, 2)
    before = target.weight.clone()
    follow(target, online, 1)
    assert (target.weight == before).all()
    follow(target, online, 0)
    assert (target.weight == online.weight).all()


def test_ema_target_keeps_its_own_batch_norm_statistics() -> None:
    target, online = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    online(points()[0] + 5)
    follow(target, online, 0)
    assert (target.running_mean == 0).all() and (online.running_mean != 0).all()


def test_a_frozen_copy_is_equal_independent_and_without_gradient() -> None:
    network = nn.Linear(3, 2)
    frozen = frozen_copy(network)
    assert (frozen.weight == network.weight).all() and network.weight.requires_grad
    network.weight.data.zero_()
    assert (frozen.weight != 0).all() and not any(p.requires_grad for p in frozen.parameters())


# gradients with respect to the points


def test_gradient_of_a_quadratic_is_linear_and_separate_for_each_copy() -> None:
    x, steepness = points(), torch.tensor([[1.0], [2], [3]])
    found = gradient(lambda x: steepness * x.square().sum(-1) / 2, x, copies=3, create_graph=False)
    assert_close(found, steepness[..., None] * x)


def test_points_without_a_seed_dimension_have_a_gradient_for_every_copy() -> None:
    steepness = torch.tensor([[1.0], [2], [3]])
    found = gradient(lambda x: steepness * x.square().sum(-1) / 2, points()[0], copies=3, create_graph=False)
    assert_close(found, steepness[..., None] * points()[0])


def test_gradient_works_under_no_grad_and_leaves_the_points_unchanged() -> None:
    x = points()
    with torch.no_grad():
        found = gradient(lambda x: x.square().sum(-1), x, copies=3, create_graph=False)
    assert_close(found, 2 * x)
    assert not found.requires_grad and not x.requires_grad


@pytest.mark.parametrize("create_graph", [True, False])
def test_gradient_can_be_differentiated_if_and_only_if_a_graph_is_created(create_graph: bool) -> None:
    weight = torch.ones(3, 1, requires_grad=True)
    found = gradient(lambda x: weight**2 * x.square().sum(-1), points(), copies=3, create_graph=create_graph)
    assert found.requires_grad == create_graph
    if create_graph:
        (second,) = torch.autograd.grad(found.sum(), weight)
        assert_close(second, 4 * points().sum((1, 2))[:, None])
