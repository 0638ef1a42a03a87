"""Image quality, classification and nearest neighbours, compared with scikit-image and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy import ndimage
from skimage import metrics as skimage
from sklearn.metrics import classification_report, confusion_matrix
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, NearestNeighbors

from stages.metrics import images, neighbours
from stages.metrics.classification import report
from stages.metrics.neighbours import knn_classify, knn_regress, nearest, vote
from stages.results.image_figures import confusion


def pictures(seed: int, height: int = 28, width: int = 28) -> np.ndarray:
    """Three images: noise, smoothed noise, and a binary image that is mostly black, as digits are."""
    noise = np.random.default_rng(seed).random((3, height, width))
    noise[1] = ndimage.gaussian_filter(noise[1], 2)
    noise[2] = np.where(noise[2] > 0.8, 1, 0)
    return noise


# ---------------------------------------------------------------- images


@given(st.integers(0, 999), st.integers(7, 30), st.integers(7, 30))
def test_mse_psnr_and_ssim_equal_scikit_image(seed: int, height: int, width: int) -> None:
    true, other = pictures(seed, height, width), pictures(seed + 1, height, width)
    pairs = list(zip(true, other, strict=True))
    assert_allclose(images.mse(true, other), [skimage.mean_squared_error(a, b) for a, b in pairs], atol=1e-12)
    psnr = [skimage.peak_signal_noise_ratio(a, b, data_range=1) for a, b in pairs]
    assert_allclose(images.psnr(true, other), psnr, atol=1e-7)
    ssim = [skimage.structural_similarity(a, b, data_range=1) for a, b in pairs]
    assert_allclose(images.ssim(true, other), ssim, atol=1e-7)


def test_metrics_of_colour_images_are_means_over_the_channels() -> None:
    true, other = (np.stack([pictures(seed + channel) for channel in range(3)], -1) for seed in (0, 5))
    pairs = list(zip(true, other, strict=True))
    assert_allclose(images.mse(true, other), [skimage.mean_squared_error(a, b) for a, b in pairs])
    assert_allclose(images.psnr(true, other), [skimage.peak_signal_noise_ratio(a, b, data_range=1) for a, b in pairs])
    ssim = [skimage.structural_similarity(a, b, data_range=1, channel_axis=-1) for a, b in pairs]
    assert_allclose(images.ssim(true, other), ssim, atol=1e-7)


def test_identical_images_have_the_best_values() -> None:
    x = pictures(0)
    assert_allclose(images.mse(x, x), 0)
    assert_allclose(images.ssim(x, x), 1)
    assert_allclose(images.psnr(x, x), 120)


def test_psnr_is_twenty_decibels_at_a_uniform_error_of_a_tenth() -> None:
    assert_allclose(images.psnr(np.zeros((1, 8, 8)), np.full((1, 8, 8), 0.1)), 20)


def test_ssim_is_symmetric() -> None:
    a, b = pictures(0), pictures(1)
    assert_allclose(images.ssim(a, b), images.ssim(b, a))


def test_ssim_of_a_binary_image_and_its_negative_is_below_zero() -> None:
    x = pictures(0)[2:]
    assert images.ssim(x, 1 - x) < 0


def test_metrics_treat_each_image_of_a_batch_independently() -> None:
    a, b = pictures(0), pictures(1)
    for metric in (images.mse, images.psnr, images.ssim):
        assert_allclose(metric(a, b), [metric(a[k : k + 1], b[k : k + 1])[0] for k in range(3)])


# ---------------------------------------------------------------- classification


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=80))
def test_classification_report_equals_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    true, predicted = np.array(pairs, dtype=np.int64).T
    ours = report(true, predicted)
    theirs = classification_report(true, predicted, output_dict=True, zero_division=0)
    assert ours["accuracy"] == pytest.approx((true == predicted).mean())
    for average in ("macro", "weighted"):
        for key, name in (("precision", "precision"), ("recall", "recall"), ("f1-score", "f1")):
            assert ours[f"{name}_{average}"] == pytest.approx(theirs[f"{average} avg"][key])
    assert ours["recall_weighted"] == pytest.approx(ours["accuracy"]), "weighted recall is accuracy"


def test_perfect_classification_has_the_value_one_in_all_metrics() -> None:
    labels = np.arange(10)
    assert set(report(labels, labels).values()) == {1.0}


def test_macro_recall_shows_errors_on_a_rare_class_that_accuracy_hides() -> None:
    metrics = report(np.array([0] * 99 + [1]), np.zeros(100, dtype=np.int64))
    assert metrics["accuracy"] == pytest.approx(0.99)
    assert metrics["recall_macro"] == pytest.approx(0.5)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=80))
def test_confusion_matrix_equals_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    true, predicted = np.array(pairs, dtype=np.int64).T
    assert np.array_equal(confusion(true, predicted, 5), confusion_matrix(true, predicted, labels=range(5)))


# ---------------------------------------------------------------- neighbours


def cloud(count: int, seed: int = 0) -> torch.Tensor:
    """Standard normal points (count, 6)."""
    return torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))


def labels(count: int, classes: int = 4) -> torch.Tensor:
    """Random labels (count,), the same every time."""
    return torch.randint(classes, (count,), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("queries", [1, 50, 2 * neighbours.CHUNK + 1])
def test_nearest_equals_scikit_learn_with_any_number_of_blocks(queries: int) -> None:
    index, q = cloud(300), cloud(queries, seed=2)
    oracle = NearestNeighbors(n_neighbors=5, algorithm="brute").fit(index.numpy())
    assert np.array_equal(nearest(index, q, 5).numpy(), oracle.kneighbors(q.numpy(), return_distance=False))


def test_nearest_neighbour_of_an_indexed_point_is_itself() -> None:
    index = cloud(200)
    assert torch.equal(nearest(index, index, 1)[:, 0], torch.arange(200))


def test_nearest_ranks_by_distance_and_not_by_direction() -> None:
    index = torch.tensor([[1.0, 0.0], [100.0, 0.0], [0.0, 0.9]])
    assert nearest(index, torch.tensor([[2.0, 0.0]]), 3).tolist() == [[0, 2, 1]]


@pytest.mark.parametrize("k", [1, 2, 4, 5, 300])
def test_knn_classification_equals_scikit_learn_including_ties(k: int) -> None:
    index, queries = cloud(300), cloud(neighbours.CHUNK + 100, seed=2)
    oracle = KNeighborsClassifier(k, algorithm="brute").fit(index.numpy(), labels(300).numpy())
    assert np.array_equal(knn_classify(index, labels(300), queries, k).numpy(), oracle.predict(queries.numpy()))


def test_vote_resolves_ties_by_the_smallest_label() -> None:
    assert vote(torch.tensor([[3, 1, 3, 1], [2, 2, 0, 1], [3, 2, 1, 0]]), 4).tolist() == [1, 2, 0]


@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_knn_regression_equals_scikit_learn(shape: tuple[int, ...]) -> None:
    index, queries = cloud(300).double(), cloud(neighbours.CHUNK + 100, seed=2).double()
    values = torch.randn(300, *shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    oracle = KNeighborsRegressor(5, algorithm="brute").fit(index.numpy(), values.reshape(300, -1).numpy())
    expected = oracle.predict(queries.numpy()).reshape(-1, *shape)
    assert_allclose(knn_regress(index, values, queries, 5).numpy(), expected, atol=1e-12)


def test_knn_regression_with_all_points_gives_their_mean() -> None:
    values = cloud(300, seed=3)
    assert_allclose(knn_regress(cloud(300), values, cloud(2, seed=2), 300), values.mean(0).expand(2, -1), atol=1e-6)


def test_nearest_is_exact_far_from_the_origin() -> None:
    index, queries = cloud(300) + 1000, cloud(100, seed=2) + 1000
    assert torch.equal(nearest(index, queries, 1), nearest(index.double(), queries.double(), 1))
