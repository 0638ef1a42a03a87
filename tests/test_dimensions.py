"""Mixtures with more than two coordinates: their density, and what is measured there."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import norm

from stages.config import mixture, params
from stages.core.errors import UserError
from stages.core.paths import ROOT
from stages.metrics.sampling import unit_directions
from stages.mog import spectrum
from stages.mog.problem import setup
from stages.pipeline import artifacts, files
from stages.pipeline.lookup import look_up
from tests import methods

DESCRIBED = mixture.load(ROOT / "mixtures.yaml")
MEASURED = {
    "dsm": ("score.relative_fisher_error", "denoising.excess_over_error", "sampling.langevin.mode_weight_tv"),
    "ncsn": ("score.relative_fisher_error", "score.per_sigma", "sampling.annealed.mode_weight_tv"),
    "flow_matching": ("likelihood.kl", "velocity.relative_error", "sampling.flow.mode_weight_tv"),
    "contrastive_critic": ("critic.r2_pmi", "critic.implied_relative_fisher_error"),
    "diffusion": ("likelihood.kl", "sampling.control_flow.mode_weight_tv"),
    "nce": ("score.relative_fisher_error",),
    "vicreg": ("heldout_loss",),
}


@pytest.mark.parametrize("dim", [4, 8, 16])
def test_further_coordinates_are_standard_normal_and_independent(dim: int) -> None:
    plane, more = (setup.mixture(DESCRIBED[name]) for name in ("reference", f"reference_{dim}"))
    x, component = more.sample(2000, np.random.default_rng(0))
    assert x.shape == (2000, dim) and set(component) == {0, 1, 2}
    rest = x[:, 2:]
    assert_allclose(more.log_density(x), plane.log_density(x[:, :2]) + norm.logpdf(rest).sum(-1), rtol=1e-10)
    assert_allclose(more.score(x), np.hstack((plane.score(x[:, :2]), -rest)), atol=1e-10)
    assert_allclose(np.corrcoef(x.T)[2:], np.eye(dim)[2:], atol=0.1)


def test_the_box_covers_all_coordinates() -> None:
    described = DESCRIBED["reference_4"]
    start = setup.uniform_in_box(described, 1000, np.random.default_rng(0))
    low, high = np.array(setup.box(described)).T
    assert start.shape == (1000, 4) and (start >= low).all() and (start <= high).all()


@pytest.mark.parametrize("dim", [2, 3, 16])
def test_directions_have_length_one_and_no_preferred_axis(dim: int) -> None:
    directions = unit_directions(400, dim)
    assert_allclose(np.linalg.norm(directions, axis=-1), 1)
    assert_allclose((directions**2).mean(0), 1 / dim, atol=0.05)


@pytest.fixture(scope="module")
def four_dimensions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with points in four dimensions."""
    folder = tmp_path_factory.mktemp("four")
    methods.small_world(folder, "reference_4")
    return folder


@pytest.mark.parametrize("name", MEASURED)
def test_a_method_is_measured_beyond_the_plane_without_landscapes(name: str, four_dimensions: Path) -> None:
    metrics = methods.untrained(four_dimensions, name)
    for key in MEASURED[name]:
        assert look_up(metrics, key), key
    assert not (four_dimensions / f"reports/fields/{name}.npz").exists()
    assert "wells" not in metrics and "spectrum" not in metrics


def test_one_coordinate_of_each_held_out_point_is_hidden(four_dimensions: Path) -> None:
    visible = files.read_arrays(four_dimensions / artifacts.VIEWS)["visible"]
    assert ((visible == 0) | (visible == 1)).all() and (visible.sum(-1) == 3).all()
    assert_allclose((visible == 0).mean((0, 1)), 1 / 4, atol=0.1)


def test_landscapes_beyond_the_plane_are_refused_in_one_line(four_dimensions: Path) -> None:
    with (
        contextlib.chdir(four_dimensions),
        pytest.raises(UserError, match="4 coordinates: landscapes need a mixture in the plane"),
    ):
        spectrum.main(params.load())
