"""InfoNCE with a cosine critic: limit cases, reference implementations, and the optimal critic."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from lightly.loss import NTXentLoss
from pytest import approx
from torch import Tensor
from torch.testing import assert_close

from stages.methods.contrastive import Contrastive
from stages.nn.losses import info_nce
from tests.plane import REFERENCE, domain, normal, source


def method(noise: float = 0.3, temperature: float = 0.1) -> Contrastive:
    torch.manual_seed(0)
    encoder = {"width": 8, "depth": 2, "dim": 4}
    return Contrastive(domain(), view={"noise": noise}, encoder=encoder, temperature=temperature).double()


def pmi(noises: tuple[float, float], batch: int, batches: int) -> Tensor:
    """The PMI log p(x' | x) / p(x') of all pairs of views in batches of the reference mixture, (batches, batch, batch)."""
    rng = np.random.default_rng(0)
    x = REFERENCE.sample(batch * batches, rng)[0].reshape(batches, batch, 2)
    first, second = (x + noise * rng.standard_normal(x.shape) for noise in noises)
    return torch.from_numpy(REFERENCE.pointwise_mutual_information(first[:, :, None], second[:, None], *noises))


def test_constant_embeddings_have_loss_log_b() -> None:
    collapsed = method()
    with torch.no_grad():
        collapsed.encoder[-1].weight.zero_()
    assert_close(collapsed.loss(normal(3, 32, 2), source())["loss"], torch.full((3,), math.log(32)).double())


def test_confident_critics_have_loss_zero_if_right_and_their_margin_if_wrong() -> None:
    assert info_nce(1000 * torch.eye(8)).item() == 0
    assert info_nce(1000 * torch.eye(8).roll(1, 0)).item() == 1000


def test_info_nce_equals_cross_entropy_with_diagonal_targets_in_value_and_gradient() -> None:
    critic, same = (normal(6, 6).requires_grad_() for _ in range(2))
    ours, expected = info_nce(critic), F.cross_entropy(same, torch.arange(6))
    assert_close(ours, expected)
    assert_close(torch.autograd.grad(ours, critic), torch.autograd.grad(expected, same))


def test_info_nce_of_the_nt_xent_critic_equals_lightlys_in_value_and_gradient() -> None:
    first, second = normal(2, 6, 4).requires_grad_()
    self_pairs = torch.eye(12, dtype=torch.bool).roll(6, 1)
    views, paired = torch.cat((first, second)), torch.cat((second, first))
    critic = (F.normalize(views, dim=-1) @ F.normalize(paired, dim=-1).T / 0.2).masked_fill(self_pairs, -torch.inf)
    ours, expected = info_nce(critic), NTXentLoss(temperature=0.2)(first, second)
    assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    assert_close(torch.autograd.grad(ours, (first, second)), torch.autograd.grad(expected, (first, second)))


def test_info_nce_ignores_functions_of_the_first_view_but_not_of_the_second() -> None:
    critic, shift = normal(5, 5), torch.arange(5.0).double()
    assert_close(info_nce(critic + shift[:, None]), info_nce(critic))
    assert info_nce(critic + shift).item() != approx(info_nce(critic).item(), abs=0.01)


def test_loss_is_info_nce_of_two_noisy_views_with_a_cosine_critic() -> None:
    trained, x, noise = method(), normal(3, 5, 2), source()
    first, second = (trained.encoder(x + 0.3 * noise.normal(x)) for _ in range(2))
    cosine = F.cosine_similarity(first[:, :, None], second[:, None], dim=-1) / 0.1
    expected = torch.stack([sum(torch.logsumexp(c[i], 0) - c[i, i] for i in range(5)) / 5 for c in cosine])
    assert_close(trained.loss(x, source())["loss"], expected)


def test_loss_depends_on_normalised_embeddings_only() -> None:
    trained, x = method(), normal(3, 8, 2)
    before = trained.loss(x, source())["loss"]
    with torch.no_grad():
        trained.encoder[-1].weight.mul_(7)
        trained.encoder[-1].bias.mul_(7)
    assert_close(trained.loss(x, source())["loss"], before)


def test_cosine_critics_loss_has_a_lower_bound_even_for_equal_views() -> None:
    bound = math.log(1 + 15 * math.exp(-2 / 0.5))
    assert (method(noise=0, temperature=0.5).loss(5 * normal(3, 16, 2), source())["loss"] >= bound).all()


def test_critic_covers_all_pairs_and_is_bounded_by_the_inverse_temperature() -> None:
    trained, x = method(temperature=0.2), 5 * normal(3, 8, 2)
    assert trained.critic(x, x[:, :5]).shape == (3, 8, 5)
    assert trained.critic(x, x).max().item() == approx(5)
    assert_close(trained.critic(x, x).diagonal(dim1=1, dim2=2), torch.full((3, 8), 5.0).double())


@pytest.mark.parametrize(
    ("noise", "batch", "information", "loss"),
    [(0.1, 128, 5.250, 0.574), (0.3, 128, 3.202, 1.848), (0.5, 256, 2.408, 3.179), (1, 128, 1.634, 3.253)],
)
def test_pmi_has_its_reference_loss_for_a_clean_and_a_noisy_view(
    noise: float, batch: int, information: float, loss: float
) -> None:
    critic = pmi((0, noise), batch, 8192 // batch)
    assert critic.diagonal(dim1=-2, dim2=-1).mean().item() == approx(information, abs=0.1)
    assert info_nce(critic).mean().item() == approx(loss, abs=0.06)


def test_two_noisy_views_share_less_information_than_a_clean_and_a_noisy_one() -> None:
    assert info_nce(pmi((0.3, 0.3), 64, 16)).mean() > info_nce(pmi((0, 0.3), 64, 16)).mean() + 0.2


@pytest.mark.parametrize(
    "change",
    [lambda c: 0.5 * c, lambda c: 2 * c, lambda c: c.clamp(-2, 2), lambda c: c.mT.sin()],
    ids=["halved", "doubled", "clamped", "sine of the transpose"],
)
def test_every_other_critic_has_a_higher_loss_than_pmi(change: Callable[[Tensor], Tensor]) -> None:
    critic = pmi((0.3, 0.3), 64, 16)
    assert info_nce(change(critic)).mean() > info_nce(critic).mean()
