"""Whether the cells of a study show its finding.

A condition must be met by more than two standard errors of the mean over seeds. Differences between cells are taken seed by
seed. A metric of a single run has no standard error, and is compared as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.pipeline import digests
from stages.studies.grid import ALIKE, Change, Condition, Study

Cell = Mapping[str, Any]
"""The method, the settings and the metrics of a cell."""
NOT_SHOWN = "These runs do not show this: "
"""What stands before a statement that the metrics do not show."""
ERRORS = 2.0
"""Standard errors by which a condition must be met."""


def shown(study: Study, found: Sequence[Cell]) -> bool:
    """Whether all conditions of the study's finding are met."""
    return all(met(condition, study, found) for condition in study.shown_by)


def met(condition: Condition, study: Study, found: Sequence[Cell]) -> bool:
    """Whether a condition is met; not if one of its cells lacks the metric. Params that vary jointly count as one."""
    chosen = [cell for cell in found if _chosen(condition, cell)]
    if not chosen or any(condition.metric not in cell for cell in chosen):
        return False
    along = condition.rises_with or condition.falls_with
    if along:
        return _monotonic(condition, along, study, chosen)
    return all(_beyond(condition, measured) for measured in _measured(condition, study, found, chosen))


def _measured(condition: Condition, study: Study, found: Sequence[Cell], chosen: Sequence[Cell]) -> list[NDArray[Any]]:
    """The values over seeds of each cell, minus those of the cell in `against`."""
    if not condition.against:
        return [values(cell[condition.metric]) for cell in chosen]
    named = (*study.settings, *study.grid, *study.together)
    measured = []
    for cell in chosen:
        method = condition.against.get("method", cell["method"])
        changed = {key.format(method=method): value for key, value in condition.against.items() if key != "method"}
        # Params of the method's own block have another key in the other method's cell.
        keys = {key.format(method=cell["method"]): key.format(method=method) for key in named}
        settings = {keys.get(key, key): value for key, value in cell["settings"].items()}
        wanted = {"method": method, "settings": {**settings, **changed}}
        other = next((one for one in found if {key: one[key] for key in wanted} == wanted), {})
        if condition.metric in other:
            measured.append(difference(cell[condition.metric], other[condition.metric]))
    return measured if len(measured) == len(chosen) else [np.array([np.nan])]


def _beyond(condition: Condition, measured: NDArray[Any]) -> bool:
    """Whether the mean is beyond the threshold."""
    if condition.above is not None:
        return bool(lowest(measured) > condition.above)
    return bool(-lowest(-measured) < float(condition.below or 0))


def _monotonic(condition: Condition, along: str, study: Study, chosen: Sequence[Cell]) -> bool:
    """Whether the metric rises or falls from each value of a param to the next, all else being equal."""
    sign = 1 if condition.rises_with else -1
    jointly = study.together if along in study.together else [along]
    groups: dict[str, list[tuple[Any, Any]]] = {}
    for cell in chosen:
        method = cell["method"]
        varied = {key.format(method=method) for key in jointly}
        settings = {"method": method, **{key: v for key, v in cell["settings"].items() if key not in varied}}
        value = cell["settings"][along.format(method=method)]
        groups.setdefault(digests.of_content(settings), []).append((value, cell[condition.metric]))
    for group in groups.values():
        ordered = [metric for _, metric in sorted(group, key=lambda pair: pair[0])]
        if len(ordered) < 2 or any(lowest(sign * difference(b, a)) <= 0 for a, b in pairwise(ordered)):
            return False
    return True


def _chosen(condition: Condition, cell: Cell) -> bool:
    wanted = {key.format(method=cell["method"]): value for key, value in condition.where.items()}
    of_method = not condition.methods or cell["method"] in condition.methods
    return of_method and all(cell["settings"].get(key) == value for key, value in wanted.items())


def changed(metric: Any, other: Any) -> set[Change]:
    """How a metric differs from another: `higher` or `lower` beyond the standard error, `alike` if not or hardly.

    Higher and lower mean by more than `ERRORS` standard errors, hardly by at most the fraction `ALIKE`.
    """
    apart = difference(metric, other)
    found: set[Change] = {"higher"} if lowest(apart) > 0 else {"lower"} if lowest(-apart) > 0 else {"alike"}
    return found | ({"alike"} if abs(apart.mean()) <= ALIKE * abs(values(other).mean()) else set())


def values(metric: Any) -> NDArray[Any]:
    """The values over seeds of a metric; a plain number is one value."""
    return np.atleast_1d(np.array(metric["values"] if isinstance(metric, Mapping) else metric, np.float64))


def difference(metric: Any, other: Any) -> NDArray[Any]:
    """A metric minus another one: seed by seed, or the means if the numbers of seeds differ."""
    a, b = values(metric), values(other)
    return a - b if len(a) == len(b) else np.atleast_1d(a.mean() - b.mean())


def lowest(measured: NDArray[Any]) -> float:
    """The mean of values over seeds minus `ERRORS` standard errors."""
    error = np.std(measured, ddof=1) / np.sqrt(len(measured)) if len(measured) > 1 else 0.0
    return float(np.mean(measured) - ERRORS * error)
