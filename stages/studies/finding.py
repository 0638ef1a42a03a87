"""Whether the cells of a study show its finding."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from stages.pipeline import digests
from stages.studies.grid import Condition, Study

Cell = Mapping[str, Any]
"""The method, the settings and the metrics of a cell."""


def shown(study: Study, found: Sequence[Cell]) -> bool:
    """Whether all conditions of the study's finding are met."""
    return all(met(condition, study, found) for condition in study.shown_by)


def met(condition: Condition, study: Study, found: Sequence[Cell]) -> bool:
    """Whether a condition is met; not if no cell has the metric. Params that vary jointly count as one."""
    chosen = [cell for cell in found if condition.metric in cell and _chosen(condition, cell)]
    along = condition.rises_with or condition.falls_with
    if not along:
        means = [mean(cell[condition.metric]) for cell in chosen]
        high = all(value > condition.above for value in means) if condition.above is not None else True
        low = all(value < condition.below for value in means) if condition.below is not None else True
        return bool(means) and high and low
    sign = 1 if condition.rises_with else -1
    jointly = study.together if along in study.together else [along]
    groups: dict[str, list[tuple[Any, float]]] = {}
    for cell in chosen:
        method = cell["method"]
        value = cell["settings"][along.format(method=method)]
        varied = {key.format(method=method) for key in jointly}
        settings = {"method": method, **{key: v for key, v in cell["settings"].items() if key not in varied}}
        groups.setdefault(digests.of_content(settings), []).append((value, sign * mean(cell[condition.metric])))
    ordered = [[metric for _, metric in sorted(group)] for group in groups.values()]
    return bool(ordered) and all(len(g) > 1 and all(a < b for a, b in pairwise(g)) for g in ordered)


def _chosen(condition: Condition, cell: Cell) -> bool:
    wanted = {key.format(method=cell["method"]): value for key, value in condition.where.items()}
    of_method = not condition.methods or cell["method"] in condition.methods
    return of_method and all(cell["settings"].get(key) == value for key, value in wanted.items())


def mean(metric: Any) -> float:
    """The mean of a metric, which is a number or has a mean over seeds."""
    return float(metric["mean"] if isinstance(metric, Mapping) else metric)
