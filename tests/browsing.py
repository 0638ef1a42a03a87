"""The interactive page of a small run in a browser, for tests."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
from playwright.sync_api import Browser, Page, Request, expect

from stages.mog.evaluation.model import EvaluatedModel
from stages.tools.browser import find

BROWSER = find()
"""The browser, or None."""
# A machine that is busy with other tests is slow.
expect.set_options(timeout=30_000)
METHODS = ["contrastive", "ncsn", "jepa_masked", "jepa_masked_density", "contrastive_critic", "dsm"]
"""Methods of the small run: an embedding, scores with and without a noise schedule, predictors, a critic."""
STEPS = [
    "truth",
    "similarity",
    "spectrum",
    "critic",
    "score",
    "weights",
    "hidden",
    "embeddings",
    "breaking",
    "sandbox",
    "verdicts",
    "explore",
]
"""The steps of this run; the others need methods that it has not."""
CHANGES = {
    "methods": METHODS,
    "mog": {"evaluation": {"grid": 22}},
    "annealed": {"particles": 50, "steps": 3, "frames": 4},
    **{name: {"train": {"steps": 20, "batch_size": 32, "warmup": 2}} for name in METHODS[1:]},
}
"""Changes of the small clone's params."""
MAP = "[data-side=b] .map"
"""Selector of the right map."""
TO_SCREEN = """([side, x, y]) => {
  const { map } = page.figure.panels[side], svg = map.svg.node(), box = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
  const at = (place, start, size, low, high) =>
    Math.max(low + 1, Math.min(high - 1, low + (place - start) / size * (high - low)));
  return [at(map.x(x), view.x, view.width, box.left, box.right), at(map.y(y), view.y, view.height, box.top, box.bottom)];
}"""
"""Script from a point of the plane to its pixel on the screen, kept a pixel inside the map: the edge gets no pointer events."""
NODE = "() => page.app.domain.grid.node(...page.app.reference)"
"""Script: the node of the reference point."""
RECORD_TEXTS = """(place) => {
  window.texts = []
  const watched = document.querySelector(place)
  new MutationObserver(() => watched.textContent !== texts.at(-1) && texts.push(watched.textContent))
    .observe(watched, {childList: true, characterData: true, subtree: true})
}"""
"""Script that records every text of an element from now on, however briefly it is shown."""


class OpenedPage:
    """The page, opened from the file system, with the messages of its console and the URLs that it requested.

    Args:
        browser: in which to open it.
        folder: the clone.
        address: what follows the page's address, such as "#collapse".
        context: options of the browser context.
    """

    def __init__(self, browser: Browser, folder: Path, address: str = "", **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", self._record)
        self.page.goto((folder / "reports/index.html").as_uri() + address)
        if context.get("java_script_enabled", True):
            self.page.wait_for_selector("html[data-ready]", timeout=60_000)

    def _record(self, request: Request) -> None:
        if not request.url.startswith(("data:", "blob:")):
            self.requests.append(request.url)


def slide(page: Page, label: str, value: float) -> None:
    """Set the slider with a label to a value and dispatch the event of a user's input."""
    slider = page.locator(f".slider:has(span:text-is('{label}')) input:visible").first
    slider.evaluate("(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", value)


def pixels(page: Page, selector: str) -> Any:
    """The content of a canvas as a data URL."""
    return page.locator(selector).first.evaluate("canvas => canvas.toDataURL()")


def show(page: Page, **state: Any) -> None:
    """Change the state, and wait until the figure shows it with all details of its methods."""
    page.evaluate("state => page.app.set(state)", state)
    settled(page)


def settled(page: Page) -> None:
    """Wait until the details of the shown methods are loaded and drawn."""
    page.wait_for_function("() => page.app.shown.every(name => page.app.get(name)?.details) && !page.app.waiting")


def state(page: Page) -> Any:
    """The page's state."""
    return page.evaluate("() => page.app.state")


def values(page: Page, side: str) -> Any:
    """The values of the map of a side, "a" or "b"."""
    return np.array(page.evaluate("side => [...page.figure.panels[side].shown.values]", side))


def fields(folder: Path, name: str) -> Any:
    """The arrays that the stage mog_evaluate wrote for a method."""
    return np.load(folder / f"reports/fields/{name}.npz")


def evaluated(folder: Path, name: str) -> EvaluatedModel:
    """The evaluated model of a method."""
    with contextlib.chdir(folder):
        return EvaluatedModel(name)


def above_minimum(energy: Any) -> Any:
    return (energy - energy.min()).ravel()
