"""The page: how much of a frame it takes to follow the reference point.

Ours is one redraw of all maps of joint embeddings, small and large, as every movement of the dragged point causes one, in a
headless browser on reports/index.html of the working tree. It is compared with the time that a frame has at 30 a second.
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
FRAME = 1 / 30
DRAG = """redraws => {
  const { mixture } = page, { x, y } = mixture.domain.grid, started = performance.now();
  for (let i = 0; i < redraws; i++) {
    mixture.state.reference = [x[i % x.length], y[(7 * i) % y.length]];
    mixture.draw({ dragged: true });
  }
  return (performance.now() - started) / redraws / 1000;
}"""


def rows(params: Params, *, redraws: int, turns: int) -> list[Row]:
    """Seconds that the maps take to follow the reference point, each turn the mean over so many redraws."""
    nodes = params.mog.evaluation.grid
    row = Row(
        measured=f"all maps of the page follow the reference point, {nodes} × {nodes} nodes",
        ours="not measured",
        compared="a frame at 30 a second",
        theirs=duration(FRAME),
        ratio=None,
    )
    browser = find()
    if not (browser and PAGE.exists() and find_spec("playwright")):
        why = f"not measured: {PAGE} is not there" if browser else "not measured: no chromium"
        return [Row(**{**vars(row), "ours": why})]
    seconds = dragging(browser, redraws, turns)
    return [Row(**{**vars(row), "ours": duration(median(seconds)), "ratio": speedup(seconds, [FRAME] * turns), "goal": 1})]


def dragging(browser: str, redraws: int, turns: int) -> list[float]:
    """Seconds a redraw, of each turn."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        page = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"]).new_page()
        page.goto(PAGE.absolute().as_uri())
        page.wait_for_selector("#mixture[data-ready]", timeout=60_000)
        page.evaluate(DRAG, redraws)  # once without counting: the browser compiles what it sees often
        return [float(page.evaluate(DRAG, redraws)) for _ in range(turns)]
