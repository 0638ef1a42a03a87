"""The views of the interactive page of images and of verdicts."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from stages.config import params as parameters
from stages.mnist import evaluate, reconstruct_evaluate
from stages.pipeline import artifacts, files, page_script
from tests import small
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
SIDE = 12
"""Side of the coloured images."""
CLASSES = ["Straße", *(chr(ord("A") + k) for k in range(1, 26))]
"""Names of the classes of the coloured images."""


def coloured(labels: np.ndarray) -> np.ndarray:
    """An image (SIDE, SIDE, 3) for each label, all pixels of one colour of the class."""
    colours = np.stack([labels * 9, 255 - labels * 9, np.where(labels % 2, 255, 0)], -1).astype(np.uint8)
    return colours[:, None, None].repeat(SIDE, 1).repeat(SIDE, 2)


@pytest.fixture(scope="module")
def coloured_project(page_project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the small clone whose page shows coloured images of 26 classes, as the pipeline writes them."""
    folder = tmp_path_factory.mktemp("coloured") / "clone"
    shutil.copytree(page_project, folder, symlinks=True, ignore=shutil.ignore_patterns(".dvc", ".git"))
    title = {"mnist": {"datasets": {"enlarged": {"title": "Letters in colour"}}}}
    small.change_params(folder, title)
    for file in (folder / "data/mnist/test.npz", folder / artifacts.CLASSES):
        file.unlink()
    with contextlib.chdir(folder):
        params = parameters.load()
        labels = np.arange(params.mnist.test_images) % len(CLASSES)
        images = coloured(labels)
        files.write_arrays(artifacts.data("mnist", "test"), {"images": images, "labels": labels})
        files.write_json(artifacts.CLASSES, {"classes": CLASSES})
        count = params.mnist.snapshot_images
        for name in params.mnist.methods:
            fields = {**files.read_arrays(artifacts.fields("mnist", name)), "predicted": np.roll(labels, 1)}
            close = np.arange(count)[:, None] + np.arange(5)
            content = evaluate.page_data(fields, close % len(images), images, labels)
            _replace(artifacts.page_data("mnist", name), f"mnist/{name}", content)
        rows = np.arange(params.page.reconstructions)
        perturbed = {"rows": rows, "gaussian": np.stack([255 - images[rows]] * len(params.mnist.evaluation.strengths))}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(reconstruct_evaluate.quality, "reconstruct", lambda decoder, images, device: images / 255)
            patch.setattr(reconstruct_evaluate, "kinds", lambda perturbed: ["gaussian"])
            for name in params.mnist_reconstruct.methods:
                content = reconstruct_evaluate.page_data(None, perturbed, images, params, None)  # type: ignore[arg-type]
                _replace(artifacts.page_data("mnist", f"{name}.reconstruction"), f"mnist/{name}/reconstruction", content)
        small.run(folder, "python", "-m", "stages.report")
    return folder


def _replace(path: Path, name: str, content: dict[str, object]) -> None:
    """Write page data in place of a link into the cache."""
    path.unlink()
    page_script.write(path, name, content)


def test_page_shows_coloured_images_with_the_names_of_their_classes(browser: Browser, coloured_project: Path) -> None:
    opened = OpenedPage(browser, coloured_project, "#embeddings&image=27")
    page = opened.page
    page.wait_for_function("() => page.figure.view.content && page.figure.view.scatter.visible && !page.app.waiting")
    readout = page.locator("#figure .side .readout")
    expect(readout).to_have_text(f"test image 27: true class {CLASSES[1]}, predicted class {CLASSES[0]} (misclassified)")
    assert page.locator(".near figcaption").all_text_contents() == CLASSES[1:6]
    assert page.locator("#figure .tick:has-text('Straße')").count() == 1
    size, colour = page.evaluate(
        """() => {
          const canvas = document.querySelector("#figure .thumbnail"), middle = canvas.width / 2;
          return [[canvas.width, canvas.height], [...canvas.getContext("2d").getImageData(middle, middle, 1, 1).data]];
        }"""
    )
    assert size == [108, 108], "a multiple of the side of the images"
    assert np.abs(np.array(colour[:3]) - coloured(np.array([1]))[0, 0, 0]).max() < 12
    assert "MNIST" not in page.locator("body > header, main").all_text_contents()[0]
    assert "Letters in colour" in (page.locator("header").text_content() or "")
    page.evaluate("() => page.app.dispatch({ step: 'breaking' })")
    page.wait_for_function("() => page.figure.view.content?.perturbed && !page.app.waiting")
    legend = page.locator("#figure .classes span").all_text_contents()
    assert legend == CLASSES
    assert page.evaluate("() => document.querySelector('.pairs canvas').width") % SIDE == 0
    assert opened.messages == []
    opened.context.close()


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
    embeddings.wait_for_function("() => texts.length === 3")  # the slider is at the last step before, too
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
