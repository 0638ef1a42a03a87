"""The interactive page in a browser: its story, its address, accessibility, loading, and what it saves."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, expect

from stages.core.paths import ROOT
from stages.pipeline import artifacts, files
from stages.results.tables import cell
from stages.tools import screenshots
from tests import small
from tests.browsing import BROWSER, MAP, NODE, STEPS, TO_SCREEN, OpenedPage, settled, show, slide, state

pytestmark = pytest.mark.skipif(not BROWSER, reason="no browser: chromium is not installed")
SCATTER = "#figure .scatter"
"""Selector of the scatter plot of images."""


def test_the_first_view_reads_less_than_2_mb_of_local_files(page_project: Path, opened: OpenedPage) -> None:
    opened.page.wait_for_timeout(500)
    loaded = {url.rsplit("reports/", 1)[1] for url in opened.requests}
    assert loaded == {"index.html", "page_data/mixture.js"}
    assert sum((page_project / "reports" / name).stat().st_size for name in loaded) < 2_000_000


@pytest.mark.parametrize("step", STEPS)
def test_every_step_opens_from_its_address_without_an_error(browser: Browser, page_project: Path, step: str) -> None:
    opened = OpenedPage(browser, page_project, f"#{step}")
    page = opened.page
    settled(page)
    assert state(page)["step"] == step
    expect(page.locator(f"#{step}")).to_have_attribute("aria-current", "step")
    expect(page.locator(f"#{step}")).to_be_in_viewport()
    expect(page.locator("#figure")).to_be_in_viewport()
    page.wait_for_timeout(300)
    assert page.locator(".error:visible").count() == 0
    assert opened.messages == []
    opened.context.close()


def test_the_steps_are_those_whose_methods_the_run_has(opened: OpenedPage) -> None:
    assert opened.page.locator(".step").evaluate_all("steps => steps.map(step => step.id)") == STEPS
    numbers = opened.page.locator(".step .number").all_text_contents()
    assert numbers == [str(k) for k in range(len(STEPS) - 1)]


def test_measured_numbers_of_the_story_are_the_metrics(page_project: Path, opened: OpenedPage) -> None:
    metric = files.read_json(page_project / artifacts.metrics("mog", "dsm"))["score"]["relative_fisher_error"]
    expect(opened.page.locator("#score .measured")).to_contain_text(f"learned score: {cell(metric)} ")


def test_scrolling_changes_the_step_and_the_address_names_it(opened: OpenedPage) -> None:
    page = opened.page
    for step in ("similarity", "score"):
        page.locator(f"#{step}").evaluate("one => one.scrollIntoView({ block: 'center', behavior: 'instant' })")
        page.wait_for_function("step => page.app.state.step === step", arg=step)
        page.wait_for_function("step => location.hash === `#${step}`", arg=step)


def test_back_forward_and_reload_keep_the_state(opened: OpenedPage) -> None:
    page = opened.page
    page.click("nav a:has-text('Explore freely')")
    page.wait_for_function("() => page.app.state.step === 'explore'")
    page.wait_for_selector("#controls[data-ready=true]")
    page.click("button[data-method=ncsn]")
    slide(page, "Seed", 1)
    page.get_by_label("test points").uncheck()
    page.wait_for_function("() => location.hash.includes('points=0')")
    before = state(page)
    assert before["b"] == "ncsn" and before["seed"] == 1 and not before["points"]
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert state(page) == before
    page.wait_for_selector("#controls[data-ready=true]")
    expect(page.get_by_label("test points")).not_to_be_checked()
    page.go_back()
    page.wait_for_function("() => page.app.state.step !== 'explore'")
    page.go_forward()
    page.wait_for_function("() => page.app.state.step === 'explore'")
    assert state(page) == before


def test_a_step_that_was_left_shows_again_what_it_showed(opened: OpenedPage) -> None:
    page = opened.page
    page.evaluate("() => page.app.dispatch({ step: 'weights' })")
    show(page, to=2)
    page.evaluate("() => page.app.dispatch({ step: 'score' })")
    page.evaluate("() => page.app.dispatch({ step: 'weights' })")
    assert state(page)["to"] == 2


def test_links_to_other_parts_of_the_page_leave_the_step(browser: Browser, page_project: Path) -> None:
    opened = OpenedPage(browser, page_project, "#score")
    page = opened.page
    # Without the scrolling to the link, by which the step would change.
    page.locator("nav a:has-text('Provenance')").evaluate("link => link.click()")
    expect(page.locator("#provenance-title")).to_be_in_viewport()
    assert state(page)["step"] in ("score", "explore"), "by scrolling at most"
    opened.context.close()
    opened = OpenedPage(browser, page_project, "#provenance-title")
    expect(opened.page.locator("#provenance-title")).to_be_in_viewport()
    opened.context.close()


def test_the_step_follows_the_scrolling_right_after_a_link(opened: OpenedPage) -> None:
    page = opened.page
    page.evaluate("() => { location.hash = '#similarity'; }")
    page.wait_for_timeout(150)
    page.locator("#weights").evaluate("one => one.scrollIntoView({ block: 'center', behavior: 'instant' })")
    page.wait_for_function("() => page.app.state.step === 'weights'")


def test_the_keyboard_goes_from_a_step_to_its_figure(opened: OpenedPage) -> None:
    page = opened.page
    page.locator("#weights .to-figure").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("() => page.app.state.step === 'weights' && !page.app.waiting")
    page.keyboard.press("Tab")
    inside = "() => document.querySelector('#figure').contains(document.activeElement)"
    assert page.evaluate(inside)
    settled(page)
    page.wait_for_timeout(300)
    assert state(page)["step"] == "weights"


@pytest.mark.parametrize(
    "address, error",
    [
        ("#unknown", ""),
        ("#similarity&b=nothing", "nothing is not among the methods of this run"),
        ("#similarity&ref=1&contours=constructor", ""),
        ("#explore&view=__proto__&loss=constructor&shows=toString", ""),
        (
            "#explore&view=nothing&seed=99999&at=-5&k=999&from=77&level=99&image=99999999&ref=1e9,-1e9&phase=9999&temperature=-1",
            "",
        ),
    ],
)
def test_unusable_addresses_show_a_page_and_at_most_one_line_of_error(
    browser: Browser, page_project: Path, address: str, error: str
) -> None:
    opened = OpenedPage(browser, page_project, address)
    opened.page.wait_for_timeout(500)
    for view in ("maps", "particles", "profile", "conditional", "bridge", "embeddings", "breaking"):
        opened.page.evaluate("view => page.app.set({ view })", view)
        opened.page.wait_for_timeout(200)
        assert opened.page.locator("#figure > .error").text_content() == error
    assert opened.messages == []
    opened.context.close()


def test_a_view_is_saved_as_a_picture_and_linked(opened: OpenedPage, tmp_path: Path) -> None:
    page = opened.page
    page.evaluate("() => page.app.dispatch({ step: 'similarity' })")
    settled(page)
    with page.expect_download() as download:
        page.click("text=Save picture")
    download.value.save_as(tmp_path / "saved.png")
    saved = Image.open(tmp_path / "saved.png").convert("RGB")
    width, height = page.evaluate("() => [page.figure.host.clientWidth, page.figure.host.scrollHeight]")
    assert saved.size == (2 * width, 2 * height)
    # The colours of the true energy's well and of its plateau are in the picture, where the map is.
    pixels_ = np.asarray(saved.resize((width, height))).reshape(-1, 3).astype(int)
    for colour in ((68, 1, 84), (253, 231, 37)):
        assert (np.abs(pixels_ - colour).sum(-1) < 30).mean() > 0.005, colour
    page.click("text=Copy link")
    expect(page.locator(".told")).not_to_be_empty()
    assert page.evaluate("() => page.app.link").endswith("reports/index.html#similarity")


def test_reset_returns_to_the_start_of_the_step(opened: OpenedPage) -> None:
    page = opened.page
    page.evaluate("() => page.app.dispatch({ step: 'similarity' })")
    show(page, at=0, contours=False)
    page.click("text=Reset")
    page.wait_for_function("() => page.app.state.at === null && page.app.state.contours")
    page.wait_for_function("() => location.hash === '#similarity'")


def test_nothing_moves_by_itself(browser: Browser, page_project: Path) -> None:
    """Animation starts only when it is asked for, so that reduced motion needs nothing else."""
    opened = OpenedPage(browser, page_project, reduced_motion="reduce")
    page = opened.page
    for step in STEPS:
        page.evaluate("step => page.app.dispatch({ step })", step)
        settled(page)
        page.wait_for_timeout(400)
        before = state(page)
        page.wait_for_timeout(300)
        assert state(page) == before and page.locator("button:text-is('Pause'):visible").count() == 0
    opened.context.close()


def test_screenshots_of_the_page_are_written(page_project: Path, tmp_path: Path) -> None:
    for source in screenshots.ANIMATIONS.values():
        (page_project / artifacts.ANIMATIONS / source).parent.mkdir(parents=True, exist_ok=True)
        (page_project / artifacts.ANIMATIONS / source).write_bytes(source.encode())
    small.run(page_project, "python", "-m", "stages.tools.screenshots")
    for name, source in screenshots.ANIMATIONS.items():
        assert (page_project / f"docs/{name}.gif").read_bytes() == source.encode()
    for name in ("maps", "particles", "digits"):
        picture = np.asarray(Image.open(page_project / f"docs/page-{name}.png").convert("RGB"))
        assert picture.shape[0] > 200 and picture.std() > 20
    output = small.run(tmp_path, "python", "-m", "stages.tools.screenshots", status=1, PYTHONPATH=str(ROOT))
    assert output == "error: reports/index.html is missing: `dvc repro` makes it, `dvc pull` brings it\n"


def test_the_benchmark_measures_the_page(page_project: Path) -> None:
    code = """
from benchmarks import page
from stages.config import params
rows = page.rows(params.load(), redraws=3, turns=2)
assert len(rows) == 3 and all(row.ratio and row.ours.endswith("s") for row in rows), rows
"""
    small.run(page_project, "python", "-c", code, PYTHONPATH=str(ROOT))


def test_taps_move_the_reference_point_but_touch_presses_do_not(browser: Browser, page_project: Path) -> None:
    opened = OpenedPage(
        browser, page_project, "#similarity", viewport={"width": 360, "height": 700}, has_touch=True, is_mobile=True
    )
    page = opened.page
    settled(page)
    before = page.evaluate(NODE)
    page.locator(f"{MAP} svg").dispatch_event(
        "pointerdown", {"pointerType": "touch", "button": 0, "clientX": 260, "clientY": 150}
    )
    page.wait_for_timeout(100)
    assert page.evaluate(NODE) == before
    page.touchscreen.tap(*page.evaluate(TO_SCREEN, ["b", -5, 4]))
    page.wait_for_function(f"before => ({NODE})() !== before", arg=before)
    page.evaluate("() => page.app.dispatch({ step: 'embeddings' })")
    page.wait_for_function("() => page.figure.view.scatter?.places && !page.app.waiting")
    canvas = page.locator(SCATTER)
    box = canvas.bounding_box()
    assert box
    x, y = page.evaluate(
        "() => { const s = page.figure.view.scatter; return s.places[7].map((place) => place / s.canvas.width); }"
    )
    canvas.tap(position={"x": x * box["width"], "y": y * box["width"]})
    expect(page.locator("#figure .side .readout")).to_contain_text("test image 7: ")
    opened.context.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("step", STEPS)
def test_axe_finds_no_serious_or_moderate_violation(browser: Browser, page_project: Path, scheme: str, step: str) -> None:
    opened = OpenedPage(browser, page_project, f"#{step}", color_scheme=scheme)
    settled(opened.page)
    opened.page.wait_for_timeout(300)
    found = Axe().run(opened.page).response["violations"]
    bad = {v["id"]: [n["html"][:200] for n in v["nodes"]] for v in found if v["impact"] in ("moderate", "serious", "critical")}
    assert bad == {}
    opened.context.close()


@pytest.mark.parametrize("width", [360, 800, 1280, 1600])
def test_the_page_fits_the_width_of_the_viewport_at_every_step(browser: Browser, page_project: Path, width: int) -> None:
    opened = OpenedPage(browser, page_project, viewport={"width": width, "height": 800})
    page = opened.page
    for step in STEPS:
        page.evaluate("step => page.app.dispatch({ step })", step)
        settled(page)
        page.wait_for_timeout(150)
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width, step
        inside = page.evaluate("() => page.figure.host.scrollWidth <= page.figure.host.clientWidth + 1")
        assert inside, f"{step}: the figure is wider than its column"
    opened.context.close()


def test_the_theme_button_toggles_light_and_dark_and_is_kept(opened: OpenedPage) -> None:
    page, colour = opened.page, "() => getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(colour)
    page.click("#theme")
    after = page.evaluate(colour)
    assert after != before
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.evaluate(colour) == after
    page.click("#theme")
    assert page.evaluate(colour) == before


def test_without_javascript_the_page_shows_story_figures_and_claims(browser: Browser, page_project: Path) -> None:
    opened = OpenedPage(browser, page_project, java_script_enabled=False)
    page = opened.page
    assert page.locator(".step:visible math").count() >= 5
    page.click("#table > summary")
    assert page.locator("table.claims tbody tr:visible").count() > 5
    pictures = page.locator("noscript img, img")
    assert pictures.count() >= 3
    for picture in pictures.all():
        assert (page_project / "reports" / str(picture.get_attribute("src"))).exists()
    opened.context.close()


@pytest.mark.parametrize(
    "name, address, place",
    [
        ("mixture.js", "", "main > .error"),
        ("mog/contrastive.js", "#similarity", "#figure > .error"),
        ("mog/contrastive.details.js", "#similarity", "#figure > .error"),
        ("spectrum.js", "#explore&view=spectrum&b=contrastive", "#figure > .error"),
        ("images.js", "#embeddings", "#figure > .error"),
        ("mnist/jepa_ema.js", "#embeddings", "#figure > .error"),
        ("mnist/jepa_ema.reconstruction.js", "#breaking", "#figure > .error"),
    ],
)
def test_a_missing_data_script_is_reported_where_it_is_needed(
    browser: Browser, page_project: Path, tmp_path: Path, name: str, address: str, place: str
) -> None:
    shutil.copytree(page_project / "reports", tmp_path / "reports")
    (tmp_path / "reports/page_data" / name).unlink()
    context = browser.new_context()
    page = context.new_page()
    page.goto((tmp_path / "reports/index.html").as_uri() + address)
    expect(page.locator(place)).to_have_text(f"page_data/{name} is missing: dvc repro makes it, dvc pull brings it")
    if address:
        page.evaluate("() => page.app.dispatch({ step: 'score' })")
        settled(page)
        expect(page.locator("#figure > .error")).to_be_hidden()
    context.close()


@pytest.mark.hostile
def test_html_in_params_and_claims_is_escaped(page_project: Path, tmp_path: Path, browser: Browser) -> None:
    folder = tmp_path / "clone"
    shutil.copytree(page_project, folder, symlinks=True)
    html = "<img src=x onerror=\"document.title='executed'\">"
    small.change_params(folder, {"claims.yaml": {"criteria": {"in_batch_negatives": {"statement": html}}}})
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(f"# </pre><script>document.title = 'executed'</script>\n{params}")
    small.run(folder, "dvc", "repro", "report")
    opened = OpenedPage(browser, folder, "#verdicts")
    assert opened.page.title().startswith("Energy Wells")
    assert html in (opened.page.locator("table.claims").text_content() or "")
    assert html in (opened.page.locator(".matrix").text_content() or "")
    assert opened.messages == []
    opened.context.close()
