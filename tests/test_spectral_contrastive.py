"""Spectral contrastive loss: definition, expectation, minimum, gradient."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytest import approx
from torch import Tensor
from torch.testing import assert_close

from stages.methods.spectral_contrastive import SpectralContrastive
from stages.metrics.spectrum import spectral_excess
from stages.mog.problem.spectrum import extended, pair_operator
from stages.nn.losses import spectral_contrastive_loss
from tests.plane import REFERENCE, domain, normal, source


def method(noise: float = 1.0) -> SpectralContrastive:
    torch.manual_seed(0)
    return SpectralContrastive(domain(), view={"noise": noise}, encoder={"width": 8, "depth": 2, "dim": 4}).double()


def test_loss_matches_its_definition() -> None:
    trained, x = method(), normal(3, 7, 2)
    noise = source()
    first, second = (trained.encoder(x + noise.normal(x)) for _ in range(2))
    found = trained.loss(x, source())
    for s in range(3):
        own = sum(first[s, i] @ second[s, i] for i in range(7)) / 7
        others = sum((first[s, i] @ second[s, j]) ** 2 for i in range(7) for j in range(7) if i != j) / 42
        assert_close(found["loss"][s], -2 * own + others)
        assert_close(found["repulsion"][s], others)


@pytest.mark.parametrize("dim", [1, 4, 9])
def test_minimum_is_minus_the_sum_of_the_squared_eigenvalues(dim: int) -> None:
    operator = pair_operator(REFERENCE, 1.0)
    values, functions = operator.eigenpairs(17)
    rng = np.random.default_rng(0)
    x, _ = REFERENCE.sample(20_000, rng)
    views = [x + rng.standard_normal(x.shape) for _ in range(2)]
    embedded = [
        torch.from_numpy(np.sqrt(values[:dim, None]) * extended(REFERENCE, 1.0, operator, values, functions, view)[:dim]).T
        for view in views
    ]
    losses = [spectral_contrastive_loss(*(z[part] for z in embedded))["loss"] for part in torch.arange(20_000).split(500)]
    found = torch.stack(losses)
    assert found.mean().item() == approx(-(values[:dim] ** 2).sum(), abs=5 * found.std().item() / len(found) ** 0.5)


def test_loss_in_batches_is_an_unbiased_estimate_of_the_exact_loss() -> None:
    operator = pair_operator(REFERENCE, 1.0)
    trained = method()
    with torch.no_grad():
        z = trained.embed(torch.from_numpy(operator.nodes))[0].numpy()
        exact = spectral_excess(z, operator.measure, operator.matrix, np.zeros(4))
        x = torch.from_numpy(REFERENCE.sample(40_000, np.random.default_rng(0))[0]).view(400, 1, 100, 2).expand(-1, 3, -1, -1)
        noise = source()
        losses = torch.stack([trained.loss(batch, noise)["loss"][0] for batch in x])
    assert losses.mean().item() == approx(exact, abs=5 * losses.std().item() / 20)


def test_constant_embeddings_of_unit_length_have_the_loss_minus_one() -> None:
    z = torch.zeros(3, 16, 4).double()
    z[..., 1] = 1
    assert_close(spectral_contrastive_loss(z, z)["loss"], torch.full((3,), -1.0).double())


@pytest.mark.parametrize("length", [0.5, 2.0])
def test_constant_embeddings_of_other_lengths_have_a_higher_loss(length: float) -> None:
    z = torch.full((1, 16, 1), length)
    assert spectral_contrastive_loss(z, z)["loss"].item() == approx(length**4 - 2 * length**2)


def test_rotations_of_the_embedding_do_not_change_the_loss() -> None:
    first, second = normal(3, 16, 4), normal(3, 16, 4, seed=2)
    rotation, _ = torch.linalg.qr(normal(4, 4))
    expected = spectral_contrastive_loss(first, second)
    assert_close(spectral_contrastive_loss(first @ rotation, second @ rotation), expected)


def test_gradient_of_equal_views_is_that_of_the_factorisation() -> None:
    """With B points and z' = z the loss is −2/B tr G + (‖G‖² − Σ G_ii²)/(B(B−1)), G = z zᵀ."""
    z = normal(1, 6, 3).requires_grad_()
    spectral_contrastive_loss(z, z)["loss"].sum().backward()
    gram = (z @ z.mT).detach()
    outside = gram - torch.diag_embed(gram.diagonal(dim1=-2, dim2=-1))
    expected: Tensor = -4 / 6 * z.detach() + 4 / 30 * outside @ z.detach()
    assert_close(z.grad, expected)
