"""Retrieval, compared with scikit-learn's average precision, and limit cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from stages.metrics.neighbours import nearest
from stages.metrics.retrieval import average_precision, retrieve, without_itself


def test_average_precision_equals_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    relevant = rng.random((20, 50)) < 0.3
    expected = [average_precision_score(row, -np.arange(50)) for row in relevant]
    torch.testing.assert_close(average_precision(torch.from_numpy(relevant)), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("ranking, expected", [([1, 1, 0, 0], 1), ([0, 0, 0, 0], 0), ([0, 0, 0, 1], 0.25), ([0, 1, 0, 1], 0.5)])
def test_average_precision_is_exact_for_simple_rankings(ranking: list[int], expected: float) -> None:
    assert average_precision(torch.tensor([ranking], dtype=torch.bool)).item() == expected


def test_separated_classes_are_retrieved_perfectly_and_shuffled_labels_at_chance() -> None:
    labels = torch.arange(600) % 3
    points = labels[:, None] * 10.0 + torch.rand(600, 2, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(retrieve(points, labels, torch.arange(600)), torch.ones(600, dtype=torch.float64))
    shuffled = labels[torch.randperm(600, generator=torch.Generator().manual_seed(1))]
    assert retrieve(points, shuffled, torch.arange(600)).mean().item() == pytest.approx(1 / 3, abs=0.03)


def test_query_is_excluded_from_its_ranking() -> None:
    points = torch.rand(50, 4, generator=torch.Generator().manual_seed(0))
    items = torch.tensor([41, 7, 8, 30])
    ranked = without_itself(nearest(points, points[items], 6), items)
    assert ranked.shape == (4, 5)
    assert not (ranked == items[:, None]).any()


def test_retrieval_evaluates_the_given_queries_in_their_order() -> None:
    labels = torch.arange(1200) % 3
    points = torch.rand(1200, 4, generator=torch.Generator().manual_seed(0)) + labels[:, None] * 0.3
    every = retrieve(points, labels, torch.arange(1200))
    queries = torch.arange(1199, 0, -2)
    torch.testing.assert_close(retrieve(points, labels, queries), every[queries])


def test_last_item_is_removed_if_the_query_is_not_in_its_ranking() -> None:
    ranked = without_itself(torch.tensor([[3, 4, 5]]), torch.tensor([0]))
    assert ranked.tolist() == [[3, 4]]
