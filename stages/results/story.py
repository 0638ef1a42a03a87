"""The story of the interactive page: its steps with the metrics of the run in their text, and the families of the methods."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from markupsafe import Markup

from stages.core.errors import UserError
from stages.pipeline.lookup import look_up
from stages.results.tables import cell

PLACE = re.compile(r"\{(?:(?P<domain>mnist)/)?(?P<method>\w+) (?P<key>[\w.]+)\}")
"""A metric in the text of a step: {METHOD KEY}, or {mnist/METHOD KEY}."""
MINUS = re.compile(r"(?<![\d.e])-(?=\d)")
"""The hyphen of a negative number."""
OTHER = "Other methods"
"""The family of methods that no family lists."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of the story.

    Args:
        id: its name in the page's address.
        title: its heading.
        text: the idea.
        state: what the figure shows (stages/page/src/state.js).
        equation: MathML, or empty.
        paper: `cite` and `url`, or None.
        attempt: something to try, or empty.
        measured: what was measured, or empty.
    """

    id: str
    title: str
    text: str
    state: Mapping[str, Any]
    equation: Markup
    paper: Mapping[str, str] | None
    attempt: str
    measured: str


def families(folder: Path, methods: Iterable[str]) -> dict[str, str]:
    """The family of each method; a method that the page's text does not name is among the other methods."""
    listed = _read(folder)["families"]
    return {name: next((family for family, members in listed.items() if name in members), OTHER) for name in methods}


def steps(
    folder: Path, methods: Iterable[str], images: Iterable[str], metrics: Callable[[str, str], Mapping[str, Any]]
) -> list[Step]:
    """The steps whose methods the run has, in order.

    Args:
        folder: stages/page, with story.yaml and the equations that build.js made of it.
        methods: methods on the mixture.
        images: methods on the images.
        metrics: the metrics of a domain, "mog" or "mnist", and a method.

    Raises:
        UserError: a step names a metric that its method does not have.
    """
    equations = json.loads((folder / "equations.json").read_text(encoding="utf-8"))
    known = {"mog": set(methods), "mnist": set(images)}
    found = []
    for one in _read(folder)["steps"]:
        places = list(PLACE.finditer(one.get("measured", "")))
        state = one["state"]
        wanted = {("mog", state[side]) for side in ("a", "b") if state.get(side, "truth") != "truth"}
        wanted |= {(place["domain"] or "mog", place["method"]) for place in places}
        if all(method in known[domain] for domain, method in wanted):
            found.append(
                Step(
                    id=one["id"],
                    title=one["title"],
                    text=one["text"],
                    state=state,
                    equation=Markup(equations.get(one["id"], "")),  # noqa: S704  # made by the project's own build
                    paper=one.get("paper"),
                    attempt=one.get("try", ""),
                    measured=PLACE.sub(lambda place: _measured(place, metrics), one.get("measured", "")),
                )
            )
    return found


def _measured(place: re.Match[str], metrics: Callable[[str, str], Mapping[str, Any]]) -> str:
    """The metric of a place in the text, with its deviation over seeds where it has one."""
    value = look_up(metrics(place["domain"] or "mog", place["method"]), place["key"])
    if value is None:
        raise UserError(f"stages/page/story.yaml: {place['method']} has no metric {place['key']}")
    return MINUS.sub("−", cell(value))


def _read(folder: Path) -> Any:
    return yaml.safe_load((folder / "story.yaml").read_text(encoding="utf-8"))
