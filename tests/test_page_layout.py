"""The layout of the interactive page: what stays in view, what does not move, and what fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browsing import BROWSER, OpenedPage, settled, show

pytestmark = pytest.mark.skipif(not BROWSER, reason="no browser: chromium is not installed")


def test_the_head_of_the_table_of_claims_stays_in_view(browser: Browser, page_project: Path) -> None:
    opened = OpenedPage(browser, page_project)
    page = opened.page
    page.click("#table > summary")
    frame = page.locator("#measured .wide")
    frame.evaluate("frame => { frame.scrollIntoView({ block: 'end' }); frame.scrollTop = 600; }")
    head = page.locator("table.claims thead th").first.bounding_box()
    assert head is not None and 0 <= head["y"] <= 900 - head["height"]
    assert frame.evaluate("frame => frame.scrollTop") > 300
    opened.context.close()


@pytest.mark.parametrize("width, height", [(360, 740), (1280, 800)])
def test_head_and_claims_of_the_matrix_stay_while_it_scrolls(
    browser: Browser, page_project: Path, width: int, height: int
) -> None:
    opened = OpenedPage(browser, page_project, "#verdicts", viewport={"width": width, "height": height})
    page = opened.page
    places = """() => [".matrix thead th:nth-child(2)", ".matrix tbody tr:last-child th"].map((one) => {
      const { left, top } = document.querySelector(one).getBoundingClientRect(); return [left, top]; })"""
    frame = page.locator(".frame")
    before = page.evaluate(places)
    frame.evaluate("frame => { frame.scrollTop = 90; frame.scrollLeft = 90; }")
    moved = np.array(page.evaluate(places)) - before
    scrolled = frame.evaluate("frame => [frame.scrollLeft, frame.scrollTop]")
    assert moved[0].tolist() == pytest.approx([-scrolled[0], 0], abs=1), "the head moves sideways only"
    assert moved[1].tolist() == pytest.approx([0, -scrolled[1]], abs=1), "a claim moves up only"
    small = page.locator(".matrix .cell").evaluate_all(
        "cells => cells.filter((one) => Math.min(one.offsetWidth, one.offsetHeight) < 24).length"
    )
    assert not small, "cells are large enough for a finger"
    opened.context.close()


def test_pointing_at_an_image_moves_nothing(browser: Browser, page_project: Path) -> None:
    opened = OpenedPage(browser, page_project, "#embeddings")
    page = opened.page
    page.wait_for_function("() => page.figure.view.content && !page.app.waiting")
    places = """() => [".thumbnail", "#figure > .controls button", ".side h3"].map((one) =>
      document.querySelector(one).getBoundingClientRect().top)"""
    before = page.evaluate(places)
    for image in (0, 1, 5):
        show(page, image=image)
        expect(page.locator(".near figure").first).to_be_visible()
        assert page.evaluate(places) == before
    opened.context.close()


@pytest.mark.parametrize("width", [360, 800, 1280])
def test_numbers_at_the_axes_are_whole(browser: Browser, page_project: Path, width: int) -> None:
    opened = OpenedPage(browser, page_project, "#weights", viewport={"width": width, "height": 800})
    page = opened.page
    settled(page)
    page.wait_for_timeout(200)
    outside = page.evaluate(
        """() => [...document.querySelectorAll("#figure .map")].flatMap((map) => {
          const box = map.getBoundingClientRect();
          return [...map.querySelectorAll(".axis text")].filter((one) => {
            const { left, right, top, bottom } = one.getBoundingClientRect();
            return left < box.left - 0.5 || right > box.right + 0.5 || top < box.top - 0.5 || bottom > box.bottom + 0.5;
          }).map((one) => one.textContent); })"""
    )
    assert outside == []
    opened.context.close()


@pytest.mark.parametrize("width, height", [(1280, 800), (1366, 768)])
@pytest.mark.parametrize("step", ["truth", "similarity", "critic", "verdicts"])
def test_the_figure_of_a_step_fits_the_screen(browser: Browser, page_project: Path, step: str, width: int, height: int) -> None:
    opened = OpenedPage(browser, page_project, f"#{step}", viewport={"width": width, "height": height})
    page = opened.page
    settled(page)
    page.wait_for_timeout(200)
    assert page.evaluate("() => page.figure.host.scrollHeight - page.figure.host.clientHeight") <= 1
    opened.context.close()


def test_saved_pictures_say_what_was_chosen(browser: Browser, page_project: Path) -> None:
    opened = OpenedPage(browser, page_project, "#breaking")
    page = opened.page
    page.wait_for_function("() => page.figure.view.content && !page.app.waiting")
    # The picture's markup, before the browser draws it.
    page.evaluate(
        """() => { const { decode } = Image.prototype;
          Image.prototype.decode = function () { window.drawn = decodeURIComponent(this.src); return decode.call(this); }; }"""
    )
    with page.expect_download():
        page.click("text=Save picture")
    drawn = str(page.evaluate("() => window.drawn"))
    chosen = page.locator(".choice:has-text('Perturbation') select").evaluate("one => one.selectedOptions[0].textContent")
    assert f"Perturbation: {chosen}" in drawn and "Strength: " in drawn and "<select" not in drawn
    opened.context.close()


def test_a_saved_matrix_is_whole(browser: Browser, page_project: Path) -> None:
    opened = OpenedPage(browser, page_project, "#verdicts", viewport={"width": 360, "height": 740})
    page = opened.page
    with page.expect_download() as saved:
        page.click("text=Save picture")
    from PIL import Image

    with Image.open(saved.value.path()) as picture:
        assert picture.width >= 2 * page.locator(".matrix").evaluate("one => one.offsetWidth")
        assert picture.height >= 2 * page.locator(".matrix").evaluate("one => one.offsetHeight")
    opened.context.close()


def _idle(page: Page) -> list[str]:
    return list(
        page.locator("#controls label:has(> :disabled) > span").evaluate_all("all => all.map((one) => one.textContent)")
    )


def test_controls_of_explore_that_a_view_does_not_heed_are_off(browser: Browser, page_project: Path) -> None:
    opened = OpenedPage(browser, page_project, "#explore")
    page = opened.page
    settled(page)
    assert _idle(page) == []
    page.select_option(".choice:has(span:text-is('View')) select", label="embeddings of the images")
    page.wait_for_function("() => page.app.state.view === 'embeddings' && !page.app.waiting")
    assert {"Seed", "test points", "score arrows", "contours of the true log-density"} <= set(_idle(page))
    page.locator(".thumb[data-method=dsm]").click()
    page.wait_for_function("() => page.app.state.view === 'maps' && page.app.state.b === 'dsm'")
    opened.context.close()


def test_charts_and_bars_have_the_colour_of_the_method(browser: Browser, page_project: Path) -> None:
    from matplotlib.colors import to_rgb

    from stages.plots.colours import method_colour

    opened = OpenedPage(browser, page_project, "#weights", color_scheme="light")
    page = opened.page
    settled(page)
    line = page.locator("#figure .chart [stroke='var(--method-dsm)']")
    expect(line).to_have_count(1)
    shown = line.evaluate("one => getComputedStyle(one.querySelector('path') ?? one).stroke")
    assert shown == f"rgb({', '.join(str(round(255 * part)) for part in to_rgb(method_colour('dsm')))})"
    opened.context.close()
