"""Time to redraw the page's maps when the reference point is dragged, compared with the duration of a frame.

Ours is one redraw of all maps of joint embeddings, small and large, as after each movement of the reference point, in a
headless browser on reports/index.html of the working tree. The other side is the duration of a frame at 30 frames per second.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from statistics import median

from benchmarks.report import Row, duration
from benchmarks.turns import speedup
from stages.config.params import Params
from stages.tools.browser import find

PAGE = Path("reports/index.html")
"""The page."""
FRAME = 1 / 30
"""Duration of a frame, seconds."""
DRAG = """redraws => {
  const { mixture } = page, { x, y } = mixture.domain.grid, started = performance.now();
  for (let i = 0; i < redraws; i++) {
    mixture.state.reference = [x[i % x.length], y[(7 * i) % y.length]];
    mixture.draw({ dragged: true });
  }
  return (performance.now() - started) / redraws / 1000;
}"""
"""Script that drags the reference point and returns the seconds per redraw."""


def rows(params: Params, *, redraws: int, turns: int) -> list[Row]:
    """The row of the seconds per redraw, each turn the mean over `redraws` redraws."""
    nodes = params.mog.evaluation.grid
    row = Row(
        measured=f"redraw of all maps of the page for a moved reference point, {nodes} × {nodes} nodes",
        ours="not measured",
        compared="a frame at 30 frames/s",
        theirs=duration(FRAME),
        ratio=None,
    )
    browser = find()
    missing = "chromium" if not browser else str(PAGE) if not PAGE.exists() else "" if find_spec("playwright") else "playwright"
    if not browser or missing:
        return [Row(**{**vars(row), "ours": f"not measured: {missing} is missing"})]
    seconds = dragging(browser, redraws, turns)
    return [Row(**{**vars(row), "ours": duration(median(seconds)), "ratio": speedup(seconds, [FRAME] * turns), "goal": 1})]


def dragging(browser: str, redraws: int, turns: int) -> list[float]:
    """Seconds per redraw in each turn."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page()
        page.goto(PAGE.absolute().as_uri())
        page.wait_for_selector("#mixture[data-ready]", timeout=60_000)
        page.evaluate(DRAG, redraws)  # warm-up: the browser compiles frequent code
        return [float(page.evaluate(DRAG, redraws)) for _ in range(turns)]
