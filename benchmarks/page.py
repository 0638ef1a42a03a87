"""Times of the interactive page in a headless browser, on reports/index.html of the working tree.

- One redraw of the map of a joint embedding, and of the truth beside it, after a movement of the reference point; the other
  side is the duration of a frame at 30 frames per second.
- The time from opening the page until its first view is drawn, with the processor as it is and throttled fourfold; the other
  sides are 1 s and 3 s.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from benchmarks.report import Row, duration
from benchmarks.turns import speedup
from stages.config.params import Params
from stages.tools.browser import find

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PAGE = Path("reports/index.html")
"""The page."""
FRAME = 1 / 30
"""Duration of a frame, seconds."""
READY = {1: 1.0, 4: 3.0}
"""Goal for the first view, in seconds, by the factor by which the processor is throttled."""
STEP = "similarity"
"""The step whose map follows the reference point."""
DRAG = """redraws => {
  const { app, figure } = page, { x, y } = app.domain.grid, started = performance.now();
  for (let i = 0; i < redraws; i++) {
    figure.render({ ...app.state, ref: [x[i % x.length], y[(7 * i) % y.length]] });
  }
  return (performance.now() - started) / redraws / 1000;
}"""
"""Script that moves the reference point and returns the seconds per redraw."""
OPENED = "() => performance.getEntriesByName('first view')[0]?.startTime"
"""Script: milliseconds from the start of loading to the first view, once it is drawn."""


def rows(params: Params, *, redraws: int, turns: int) -> list[Row]:
    """The rows; a redraw is the mean over `redraws` in each turn."""
    nodes = params.mog.evaluation.grid
    moved = f"redraw of both maps of the page for a moved reference point, {nodes} × {nodes} nodes"
    opened = {rate: "first view of the page" + (f", processor throttled {rate} times" if rate > 1 else "") for rate in READY}
    browser = find()
    missing = "chromium" if not browser else str(PAGE) if not PAGE.exists() else "" if find_spec("playwright") else "playwright"
    if not browser or missing:
        compared = [(moved, "a frame at 30 frames/s", FRAME)] + [
            (opened[rate], "the goal", goal) for rate, goal in READY.items()
        ]
        return [
            Row(measured=name, ours=f"not measured: {missing} is missing", compared=goal, theirs=duration(limit), ratio=None)
            for name, goal, limit in compared
        ]
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        found = [_row(moved, "a frame at 30 frames/s", dragging(chromium, redraws, turns), FRAME)]
        found += [_row(opened[rate], "the goal", opening(chromium, rate, turns), goal) for rate, goal in READY.items()]
        chromium.close()
    return found


def _row(measured: str, compared: str, seconds: list[float], limit: float) -> Row:
    return Row(
        measured=measured,
        ours=duration(median(seconds)),
        compared=compared,
        theirs=duration(limit),
        ratio=speedup(seconds, [limit] * len(seconds)),
        goal=1,
    )


def dragging(browser: Browser, redraws: int, turns: int) -> list[float]:
    """Seconds per redraw in each turn."""
    page = browser.new_page()
    page.goto(f"{PAGE.absolute().as_uri()}#{STEP}")
    page.wait_for_function("() => window.page?.app?.shown.every(name => window.page.app.get(name)?.details)", timeout=60_000)
    page.evaluate(DRAG, redraws)  # warm-up: the browser compiles frequent code
    found = [float(page.evaluate(DRAG, redraws)) for _ in range(turns)]
    page.close()
    return found


def opening(browser: Browser, rate: int, turns: int) -> list[float]:
    """Seconds until the first view, in each turn in a browser context of its own."""
    found = []
    for _ in range(turns):
        context = browser.new_context()
        page = context.new_page()
        context.new_cdp_session(page).send("Emulation.setCPUThrottlingRate", {"rate": rate})
        page.goto(PAGE.absolute().as_uri())
        page.wait_for_selector("html[data-ready]", timeout=60_000)
        found.append(float(page.evaluate(OPENED)) / 1000)
        context.close()
    return found
