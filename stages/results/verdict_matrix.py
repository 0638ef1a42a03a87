"""The matrix of verdicts on claims."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from matplotlib.figure import Figure

from stages.pipeline.descriptions import describe
from stages.plots import verdicts


def matrix(decided: Iterable[tuple[str, Mapping[str, Any]]], title: str) -> Figure:
    """Verdicts by method and claim.

    Args:
        decided: methods and verdicts on claims about them.
        title: above the matrix.
    """
    shown = {(method, entry["statement"]): entry for method, entry in decided}
    return verdicts.matrix({method: describe(method).short for method, _ in shown}, shown, title)
