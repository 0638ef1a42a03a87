"""The maps of the interactive page, and the controls of "Explore freely"."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, expect

from stages.metrics.collapse import normalise
from stages.mog.evaluation.model import apply
from tests.browsing import (
    BROWSER,
    MAP,
    METHODS,
    NODE,
    RECORD_TEXTS,
    TO_SCREEN,
    OpenedPage,
    above_minimum,
    evaluated,
    fields,
    pixels,
    settled,
    show,
    slide,
    state,
    values,
)  # fmt: skip

pytestmark = pytest.mark.skipif(not BROWSER, reason="no browser: chromium is not installed")


def test_dragging_the_reference_point_shows_minus_cosine_to_its_embedding(page_project: Path, browser: Browser) -> None:
    opened = OpenedPage(browser, page_project, "#similarity")
    page = opened.page
    settled(page)
    model = evaluated(page_project, "contrastive")
    embeddings = normalise(apply(model.trained.embed, model.nodes, model.device))[0]
    before, truth = pixels(page, f"{MAP} canvas"), pixels(page, "[data-side=a] .map canvas")
    page.mouse.move(*page.evaluate(TO_SCREEN, ["b", 0, 0]))
    page.mouse.down()
    for node in (23, 41, 100, 240, 460):
        page.mouse.move(*page.evaluate(TO_SCREEN, ["b", *model.nodes[node].tolist()]))
        page.wait_for_function(f"node => ({NODE})() === node && !page.app.waiting", arg=node)
        assert np.abs(values(page, "b") + embeddings @ embeddings[node]).max() < 1e-3
    page.mouse.up()
    assert pixels(page, f"{MAP} canvas") != before
    assert pixels(page, "[data-side=a] .map canvas") == truth, "the reference point does not change the truth"
    page.locator("[data-side=b] .reference").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function(f"() => ({NODE})() === 459")
    opened.context.close()


def test_arrow_keys_move_the_reference_by_a_node_of_the_grid_that_is_shown(opened: OpenedPage) -> None:
    page = opened.page
    page.evaluate("() => page.app.dispatch({ step: 'explore' })")
    show(page, b="contrastive", at=0)
    page.locator("[data-side=b] .reference").focus()
    coarse = "() => page.app.domain.coarse.nearest(...page.app.reference)"
    before = page.evaluate(coarse)
    page.keyboard.press("ArrowRight")
    page.wait_for_function(f"column => ({coarse})().column === column + 1", arg=before["column"])
    assert page.evaluate(coarse)["row"] == before["row"]


def test_the_page_computes_density_score_and_conditional_of_the_mixture(page_project: Path, opened: OpenedPage) -> None:
    mixture = evaluated(page_project, "ncsn").mixture
    points = np.random.default_rng(0).uniform(-8, 10, (20, 2))
    found = opened.page.evaluate(
        """points => points.map(([x, y]) => {
        const t = page.app.domain.mixture, m = t.smoothed(0.4), s = [0, 0]; m.score(x, y, s);
        const c = t.conditional(1, y);
        return [m.logDensity(x, y), ...s, page.lineDensity(c, x)]; })""",
        points.tolist(),
    )
    smoothed = mixture.smoothed(0.4)
    expected = np.column_stack(
        (smoothed.log_density(points), smoothed.score(points), np.exp(mixture.conditional_log_density(0, points)))
    )
    assert np.allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("method", METHODS)
def test_maps_show_learned_and_true_energy_on_fixed_scales(page_project: Path, opened: OpenedPage, method: str) -> None:
    page, arrays = opened.page, fields(page_project, method)
    page.evaluate("() => page.app.dispatch({ step: 'explore' })")
    show(page, a="truth", b=method)
    energy, truth = arrays["energy"][0].ravel().astype(float), -arrays["log_density"].ravel().astype(float)
    assert np.allclose(values(page, "a"), above_minimum(truth), atol=1e-4)
    scores = "score" in arrays
    expected = above_minimum(energy) if scores else energy
    # The reference point of an embedding's map is the node nearest to that of the pipeline.
    tolerance = 1e-3 * np.ptp(energy) if scores else 0.15
    assert np.abs(values(page, "b") - expected).max() < tolerance
    assert page.evaluate("() => page.figure.panels.b.shown.range") == ([0, 12] if scores else [-1, 1])
    show(page, own=True)
    low, high = page.evaluate("() => page.figure.panels.b.shown.range")
    assert (low, high) == pytest.approx((expected.min(), expected.max()), abs=tolerance)
    show(page, own=False, shows="difference")
    expected = above_minimum(energy) - above_minimum(truth) if scores else energy
    assert np.abs(values(page, "b") - expected).max() < 2 * tolerance


@pytest.mark.parametrize("method", ["contrastive", "ncsn"])
def test_sliders_select_the_seed_and_the_snapshot(page_project: Path, opened: OpenedPage, method: str) -> None:
    page, arrays = opened.page, fields(page_project, method)
    page.evaluate("() => page.app.dispatch({ step: 'explore' })")
    show(page, b=method)
    slide(page, "Seed", 1)
    page.wait_for_function("() => page.app.state.seed === 1 && !page.app.waiting")
    second_seed = values(page, "b")
    expect(page.locator("[data-side=b] .note")).to_contain_text("seed 1, end of training")
    training = page.locator("#figure .slider:has-text('Training')")
    expect(training.locator("input")).to_be_disabled()
    expect(training.locator("output")).to_have_text("end (recorded for seed 0 only)")
    slide(page, "Seed", 0)
    expect(training.locator("input")).to_be_enabled()
    slide(page, "Training", 0)
    page.wait_for_function("() => page.app.state.at === 0 && !page.app.waiting")
    expect(training.locator("output")).to_have_text("step 0")
    expect(page.locator(".slider:has(span:text-is('Seed')) input")).to_be_disabled()
    expect(page.locator("[data-side=b] .note")).to_contain_text("seed 0, step 0 of ")
    first_snapshot = values(page, "b")
    assert len(first_snapshot) == 64
    every = slice(None, None, 3)  # 8 of the 22 nodes along a side
    if method == "ncsn":
        for found, expected in ((second_seed, arrays["energy"][1]), (first_snapshot, arrays["snapshot_energy"][0])):
            assert np.abs(found - above_minimum(expected[every, every])).max() < 1e-3 * np.ptp(expected)
        expect(page.locator("[data-side=b] .arrows path")).to_have_count(0)
        show(page, at=None)
        expect(page.locator("[data-side=b] .arrows path")).not_to_have_count(0)
    else:
        assert -1.001 < second_seed.min() < -0.99 and not np.allclose(second_seed, first_snapshot, atol=0.01)


def test_play_goes_through_the_training_and_stops(opened: OpenedPage) -> None:
    page = opened.page
    page.evaluate("() => page.app.dispatch({ step: 'explore' })")
    show(page, b="ncsn")
    page.evaluate(RECORD_TEXTS, "#figure .slider output")
    page.click("#figure button:text-is('Play training')")
    expect(page.locator("#figure button:text-is('Pause')")).to_be_visible()
    expect(page.locator("#figure button:text-is('Play training')")).to_be_visible()
    steps = page.evaluate("() => page.app.learned.get('ncsn').overview.steps")
    assert page.evaluate("() => texts") == [*(f"step {step}" for step in steps[:-1]), "end"]


@pytest.mark.parametrize(
    "label, selector",
    [
        ("contours of the true log-density", ".contours path"),
        ("test points", ".points circle"),
        ("score arrows", ".arrows path"),
    ],
)
def test_a_checkbox_hides_and_shows_a_layer_of_the_maps(opened: OpenedPage, label: str, selector: str) -> None:
    page = opened.page
    page.evaluate("() => page.app.dispatch({ step: 'explore' })")
    show(page, b="ncsn")
    marks = page.locator(f"[data-side=b] {selector}")
    page.wait_for_selector(f"[data-side=b] {selector}", state="attached")
    page.get_by_label(label).uncheck()
    expect(marks).to_have_count(0)
    page.get_by_label(label).check()
    expect(marks).not_to_have_count(0)


def test_the_readout_shows_the_value_at_the_pointer_and_moves_nothing(opened: OpenedPage) -> None:
    page = opened.page
    page.evaluate("() => page.app.dispatch({ step: 'similarity' })")
    settled(page)
    below = page.locator("#figure .below")
    before = below.evaluate("one => one.getBoundingClientRect().top")
    page.locator(f"{MAP} svg").hover(position={"x": 90, "y": 90})
    readout = page.locator("[data-side=b] .readout").text_content() or ""
    found = re.fullmatch(r"at \((.*), (.*)\): (.*) −cos", readout)
    assert found and -1 <= float(found[3].replace("−", "-")) <= 1
    assert below.evaluate("one => one.getBoundingClientRect().top") == pytest.approx(before, abs=0.5)


def test_tiles_are_grouped_by_family_and_choose_the_method_of_a_map(opened: OpenedPage) -> None:
    page = opened.page
    page.evaluate("() => page.app.dispatch({ step: 'explore' })")
    page.locator("#controls").scroll_into_view_if_needed()
    page.wait_for_selector("#controls[data-ready=true]")
    heads = page.locator("#controls .family h4").all_text_contents()
    assert heads[0] == "The truth" and len(heads) == 5
    page.locator("button[data-method=dsm]").click()
    page.select_option(".choice:has-text('A tile changes the') select", "a")
    page.locator("button[data-method=ncsn]").click()
    settled(page)
    assert [state(page)[side] for side in "ab"] == ["ncsn", "dsm"]
    expect(page.locator("button[data-method=dsm]")).to_have_attribute("data-sides", "right")
    expect(page.locator("[data-side=a] h3 span").first).to_have_text("Noise-conditional score network")
    # Thumbnails show the end of training whatever the figure shows, as the text says.
    drawn = pixels(page, "button[data-method=ncsn] canvas")
    show(page, at=0)
    assert pixels(page, "button[data-method=ncsn] canvas") == drawn


def test_a_control_of_explore_freely_keeps_what_a_step_shows(opened: OpenedPage) -> None:
    page = opened.page
    page.evaluate("() => page.app.dispatch({ step: 'weights' })")
    settled(page)
    page.select_option(".choice:has-text('View') select", "maps")
    page.wait_for_function("() => page.app.state.step === 'explore'")
    assert [state(page)[key] for key in ("view", "a", "b")] == ["maps", "truth", "dsm"]


def test_the_truth_appears_with_the_last_point(opened: OpenedPage) -> None:
    page = opened.page
    total = page.evaluate("() => page.app.domain.points.length")
    expect(page.locator("[data-side=a] .points circle")).to_have_count(60)
    slide(page, "Points", 5)
    expect(page.locator("[data-side=a] .points circle")).to_have_count(5)
    expect(page.locator("[data-side=a] .contours path")).to_have_count(0)
    blank = "one => new Set(one.getContext('2d').getImageData(0, 0, one.width, one.height).data).size"
    assert page.locator("[data-side=a] canvas").first.evaluate(blank) == 1, "the colours do not give the density away"
    page.locator("[data-side=a] .map svg").hover(position={"x": 200, "y": 200})
    expect(page.locator("[data-side=a] .readout")).to_have_text("")
    page.click("text=Draw points")
    expect(page.locator("[data-side=a] .points circle")).to_have_count(total)
    expect(page.locator("[data-side=a] .contours path")).not_to_have_count(0)


def test_a_method_chosen_before_its_data_loads_is_shown_afterwards(browser: Browser, page_project: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    # Delay the data, as a slow disk would.
    page.route("**/page_data/mog/*.js", lambda route: (page.wait_for_timeout(300), route.continue_()))
    page.goto((page_project / "reports/index.html").as_uri() + "#explore", wait_until="commit")
    page.wait_for_selector("html[data-ready]")
    page.click("button[data-method=jepa_masked_density]")
    page.click("button[data-method=ncsn]")
    page.locator(f"{MAP} svg").hover()
    settled(page)
    expect(page.locator("[data-side=b] h3 span").first).to_have_text("Noise-conditional score network")
    assert errors == []
    context.close()
