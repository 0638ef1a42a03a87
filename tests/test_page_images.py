"""The views of the interactive page of images and of verdicts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from stages.pipeline import artifacts, files
from tests.browsing import BROWSER, RECORD_TEXTS, OpenedPage, pixels, slide

pytestmark = pytest.mark.skipif(not BROWSER, reason="no browser: chromium is not installed")


@pytest.fixture
def embeddings(browser: Browser, page_project: Path) -> Iterator[Page]:
    """The page at the step of the images' embeddings."""
    opened = OpenedPage(browser, page_project, "#embeddings")
    opened.page.wait_for_function("() => page.figure.view.content && page.figure.view.scatter.visible && !page.app.waiting")
    yield opened.page
    assert opened.messages == []
    opened.context.close()


SCATTER = "#figure .scatter"


def test_images_are_filtered_selected_and_shown_with_their_nearest_neighbours(page_project: Path, embeddings: Page) -> None:
    page = embeddings
    arrays = np.load(page_project / "reports/fields/mnist/jepa_ema.npz")
    count = page.evaluate("() => page.figure.view.scatter.visible.length")
    readout = page.locator("#figure .side .readout")
    page.locator(SCATTER).focus()
    page.keyboard.press("ArrowRight")
    expect(readout).to_contain_text("test image 0: true class ")
    predicted = int((readout.text_content() or "").split("predicted class ")[1][0])
    assert predicted == arrays["predicted"][0]
    assert page.locator(".near figure").count() == 5
    assert pixels(page, "#figure .thumbnail") != pixels(page, ".near canvas")
    page.keyboard.press("ArrowLeft")
    expect(readout).to_contain_text(f"test image {count - 1}: ")
    page.click("#figure button:text-is('None')")
    expect(readout).to_contain_text("No image is shown.")
    assert page.locator(".near figure").count() == 0, "no image stays selected"
    page.click("#figure button:text-is('All')")
    page.get_by_label("misclassified only").check()
    visible = "() => page.figure.view.scatter.visible.length"
    page.wait_for_function(f"count => ({visible})() < count && ({visible})() > 0", arg=count)
    before = pixels(page, SCATTER)
    slide(page, "Training", 0)
    expect(page.locator("#figure .slider output")).to_have_text("step 0")
    assert pixels(page, SCATTER) != before


def test_no_image_is_marked_as_misclassified_before_the_end_of_training(embeddings: Page) -> None:
    total = embeddings.evaluate("() => page.figure.view.images.labels.shape[0]")
    embeddings.get_by_label("misclassified only").check()
    slide(embeddings, "Training", 0)
    embeddings.wait_for_function("total => page.figure.view.scatter.visible.length === total", arg=total)
    expect(embeddings.get_by_label("misclassified only")).to_be_disabled()
    expect(embeddings.locator("#figure .side .note")).to_contain_text("until then no dot is marked")


def test_hovering_over_a_point_of_the_scatter_plot_selects_its_image(embeddings: Page) -> None:
    box = embeddings.locator(SCATTER).bounding_box()
    assert box
    x, y = embeddings.evaluate(
        "() => { const s = page.figure.view.scatter; return s.places[7].map((p, d) => p / s.canvas[d ? 'height' : 'width']); }"
    )
    embeddings.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    expect(embeddings.locator("#figure .side .readout")).to_contain_text("test image 7: ")


def test_play_steps_through_the_snapshots_of_the_image_embeddings(embeddings: Page) -> None:
    embeddings.evaluate(RECORD_TEXTS, "#figure .slider output")
    embeddings.click("#figure button:text-is('Play training')")
    expect(embeddings.locator("#figure .slider output")).to_have_text("step 30")
    assert embeddings.evaluate("() => texts") == ["step 0", "step 5", "step 30"]


def test_the_scatter_plot_shows_the_pipelines_pca_projection(page_project: Path, embeddings: Page) -> None:
    expected = np.load(page_project / "reports/fields/mnist/jepa_ema.npz")["pca"]
    found = np.array(embeddings.evaluate("() => [...page.numbers(page.figure.view.content.pca)]")).reshape(expected.shape)
    assert np.abs(found - expected).max() < 1e-4 * np.ptp(expected)
    places = np.array(embeddings.evaluate("() => page.figure.view.scatter.places"))
    assert np.corrcoef(places[:, 0], expected[-1, :, 0])[0, 1] > 0.999
    assert np.corrcoef(places[:, 1], expected[-1, :, 1])[0, 1] < -0.999, "the second component increases upwards"


def test_reconstructions_and_accuracy_change_with_the_strength(browser: Browser, page_project: Path) -> None:
    opened = OpenedPage(browser, page_project, "#breaking")
    page = opened.page
    page.wait_for_function("() => page.figure.view.content && !page.app.waiting")
    shown = {pixels(page, ".pairs canvas")}
    page.select_option(".choice:has-text('Perturbation') select", "gaussian")
    page.wait_for_function("() => page.figure.view.chosen === 'gaussian' && !page.app.waiting")
    shown.add(pixels(page, ".pairs canvas"))
    readout = page.locator("#figure .below > .readout")
    measured = files.read_json(page_project / artifacts.metrics("mnist", "jepa_ema"))
    strength = page.evaluate("() => page.figure.view.content.strengths[page.figure.view.slider.value]")
    mse = measured["reconstruction"]["per_perturbation"]["gaussian"][f"{strength:g}"]["mse"]["mean"]
    accuracy = measured["robustness"]["gaussian"][f"{strength:g}"]["mean"]
    expect(readout).to_contain_text(f"mean squared error {mse:.4f}")
    expect(readout).to_contain_text(f"k-NN accuracy {accuracy:.3f} of ")
    slide(page, "Strength", 0)
    expect(page.locator(".slider:has-text('Strength') output")).to_have_text("0 % (clean images)")
    shown.add(pixels(page, ".pairs canvas"))
    assert len(shown) == 3
    expect(readout).to_contain_text(f"k-NN accuracy {measured['robustness_clean']['accuracy']['mean']:.3f} of ")
    opened.context.close()


def test_a_cell_of_the_matrix_opens_the_evidence_of_its_verdict(browser: Browser, page_project: Path) -> None:
    opened = OpenedPage(browser, page_project, "#verdicts")
    page = opened.page
    claims = files.read_json(page_project / "reports/claims.json")
    cells = page.locator(".matrix .cell")
    assert cells.count() == sum(len(one) for one in claims.values())
    entry = claims["dsm"]["learns_score"]
    page.locator(f".matrix .cell[aria-label*='Denoising score matching, {entry['statement']}: ']").first.click()
    evidence = page.locator(".evidence")
    expect(evidence).to_contain_text(entry["paper"]["cite"])
    expect(evidence).to_contain_text(f"Literature: {entry['claimed']}. Measured: ")
    page.wait_for_function("() => location.hash.includes('claim=learns_score')")
    page.reload()
    expect(page.locator(".evidence")).to_contain_text(entry["paper"]["cite"])
    opened.context.close()


def test_the_table_of_claims_is_sortable_filterable_and_linked(opened: OpenedPage, page_project: Path) -> None:
    page = opened.page
    page.click("#table > summary")
    rows = page.locator("table.claims tbody tr:visible")
    total = rows.count()

    def measured() -> list[str]:
        cells = page.locator("table.claims tbody tr td:nth-child(4)")
        return list(cells.evaluate_all("cells => cells.map(cell => cell.dataset.value)"))

    page.click("table.claims button:has-text('measured')")
    page.wait_for_selector("th[aria-sort=ascending]")
    numbers = [float(value) for value in measured() if value]
    assert numbers == sorted(numbers) and "" not in measured()[: len(numbers)]
    page.click("table.claims button:has-text('measured')")
    page.wait_for_selector("th[aria-sort=descending]")
    assert [float(value) for value in measured() if value] == sorted(numbers, reverse=True)
    assert "" not in measured()[: len(numbers)]
    page.select_option(".choice:has(span:text-is('Verdict')) select", "fails")
    page.wait_for_function(
        "total => document.querySelectorAll('table.claims tbody tr:not([hidden])').length < total", arg=total
    )
    expect(rows.first.locator(".verdict")).to_contain_text("fails")
    page.wait_for_function("() => location.hash.includes('verdict=fails')")
    page.reload()
    page.wait_for_selector("html[data-ready]")
    fewer = page.locator("table.claims tbody tr:not([hidden])").count()
    assert fewer < total, "the filter survives a reload"
    for script in ("page.app.dispatch({ step: 'critic' })", "page.app.reset()", "page.app.dispatch({ step: 'truth' })"):
        page.evaluate(f"() => {script}")
        page.wait_for_function("() => !page.app.waiting")
        assert page.locator("table.claims tbody tr:not([hidden])").count() == fewer, script
    links = page.locator("table.claims .verdict a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    missing = {link for link in links if not (page_project / "reports" / link).exists()}
    assert not {link for link in missing if "studies" not in link}
