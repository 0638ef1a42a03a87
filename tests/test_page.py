"""The interactive page in a browser: its controls, values equal to the pipeline's, no network access, accessibility."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

from stages.core.paths import ROOT
from stages.metrics.collapse import normalise
from stages.mog.evaluation.model import EvaluatedModel, apply
from stages.pipeline import artifacts, files
from stages.tools import screenshots
from stages.tools.browser import find
from tests import small

BROWSER = find()
pytestmark = pytest.mark.skipif(not BROWSER, reason="no browser: chromium is not installed")

# A machine that is busy with other tests is slow.
expect.set_options(timeout=30_000)
METHODS = ["contrastive", "ncsn", "jepa_masked_density"]
"""A joint embedding, a score with a noise schedule, and a predictor with a conditional density."""
CHANGES = {
    "methods": METHODS,
    "mog": {"evaluation": {"grid": 22}},
    "annealed": {"particles": 50, "steps": 3, "frames": 4},
    "ncsn": {"train": {"steps": 20, "batch_size": 32, "warmup": 2}},
    "jepa_masked_density": {"train": {"steps": 20, "batch_size": 32, "warmup": 2}},
}
"""Changes of the small clone's params."""


@pytest.fixture(scope="module")
def project(reproduced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small clone with the page of `METHODS`."""
    folder = tmp_path_factory.mktemp("page") / "clone"
    shutil.copytree(reproduced, folder, symlinks=True)
    small.change_params(folder, CHANGES)
    small.reproduce(folder, "2")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


class OpenedPage:
    """The page, opened from the file system, with the messages of its console and the URLs that it requested.

    Args:
        browser: in which to open it.
        folder: the clone.
        context: options of the browser context.
    """

    def __init__(self, browser: Browser, folder: Path, **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        self.messages: list[str] = []
        self.requests: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("request", self._record)
        self.page.goto((folder / "reports/index.html").as_uri())
        if context.get("java_script_enabled", True):
            self.page.wait_for_selector("#reconstructions[data-ready]", timeout=60_000)

    def _record(self, request: Request) -> None:
        if not request.url.startswith("data:image/png;base64,"):
            self.requests.append(request.url)


@pytest.fixture
def opened(browser: Browser, project: Path) -> Iterator[OpenedPage]:
    """The page; in the end the test fails if the page wrote to the console or requested anything outside reports/."""
    opened = OpenedPage(browser, project)
    yield opened
    reports = (project / "reports").as_uri()
    assert [url for url in opened.requests if not url.startswith(reports)] == []
    assert opened.messages == []
    opened.context.close()


def slide(page: Page, label: str, value: float) -> None:
    """Set the slider with a label to a value and dispatch the event of a user's input."""
    slider = page.locator(f".slider:has-text('{label}') input").first
    slider.evaluate("(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", value)


def pixels(page: Page, selector: str) -> Any:
    """The content of a canvas as a data URL."""
    return page.locator(selector).first.evaluate("canvas => canvas.toDataURL()")


MAP = ".large .map canvas"
"""Selector of the large map's canvas."""


def test_the_page_is_below_1_mb_and_loads_only_its_data_scripts(project: Path, opened: OpenedPage) -> None:
    assert (project / "reports/index.html").stat().st_size < 1_000_000
    loaded = {url.rsplit("reports/", 1)[1] for url in opened.requests}
    assert loaded == {
        "index.html",
        "page_data/domains.js",
        "page_data/mnist/jepa_ema.js",
        "page_data/mnist/jepa_ema.reconstruction.js",
    } | {f"page_data/mog/{name}.js" for name in METHODS}


TO_SCREEN = """([x, y]) => {
  const svg = page.mixture.map.svg.node(), box = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
  const at = (place, start, size, low, high) =>
    Math.max(low + 1, Math.min(high - 1, low + (place - start) / size * (high - low)));
  return [at(page.mixture.map.x(x), view.x, view.width, box.left, box.right),
          at(page.mixture.map.y(y), view.y, view.height, box.top, box.bottom)];
}"""
"""Script from a point of the plane to its pixel on the screen, kept a pixel inside the map: the edge gets no pointer events."""


def test_dragging_the_reference_point_shows_minus_cosine_to_its_embedding(
    project: Path, opened: OpenedPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened.page
    monkeypatch.chdir(project)
    model = EvaluatedModel("contrastive")
    embeddings = normalise(apply(model.trained.embed, model.nodes, model.device))[0]
    before = pixels(page, MAP)
    page.locator(".large .map svg").scroll_into_view_if_needed()
    page.mouse.move(*page.evaluate(TO_SCREEN, [0, 0]))
    page.mouse.down()
    for node in (23, 41, 100, 240, 460):
        page.mouse.move(*page.evaluate(TO_SCREEN, model.nodes[node].tolist()))
        page.wait_for_function("node => page.mixture.domain.grid.node(...page.mixture.state.reference) === node", arg=node)
        page.evaluate("() => new Promise(requestAnimationFrame)")
        shown = np.array(page.evaluate("() => [...page.mixture.seen.values]"))
        assert np.abs(shown + embeddings @ embeddings[node]).max() < 1e-3
    page.mouse.up()
    assert pixels(page, MAP) != before
    page.locator(".reference").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("() => page.mixture.domain.grid.node(...page.mixture.state.reference) === 459")


def test_the_page_computes_density_score_and_conditional_of_the_mixture(
    project: Path, opened: OpenedPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    mixture = EvaluatedModel("ncsn").mixture
    points = np.random.default_rng(0).uniform(-8, 10, (20, 2))
    found = opened.page.evaluate(
        """points => points.map(([x, y]) => { const m = page.mixture.domain.mixture.smoothed(0.4), s = [0, 0]; m.score(x, y, s);
        const c = page.mixture.domain.mixture.conditional(1, y);
        return [m.logDensity(x, y), ...s, lineDensity(c, x)]; })""",
        points.tolist(),
    )
    smoothed = mixture.smoothed(0.4)
    expected = np.column_stack(
        (smoothed.log_density(points), smoothed.score(points), np.exp(mixture.conditional_log_density(0, points)))
    )
    assert np.allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_particles_under_the_true_score_recover_the_mixing_weights(opened: OpenedPage) -> None:
    page = opened.page
    page.click("button[data-method=ncsn]")
    page.wait_for_selector(".particles")
    # Calls the page's steps directly, without animation frames.
    shares = page.evaluate(
        """() => {
          const particles = page.mixture.tools.parts[0];
          particles.scatter(3000);
          particles.run(false);
          for (particles.cooling = 0; particles.cooling !== null; ) particles.step();
          for (let i = 0; i < 50; i++) particles.step();
          particles.draw();
          return particles.sides[1].bars.attr("data-shares").split(" ").map(Number);
        }"""
    )
    weights = page.evaluate("() => page.mixture.domain.weights")
    assert np.abs(np.array(shares) - weights).sum() / 2 < 0.06
    assert page.locator(".weight").count() == 2 * len(weights)


def test_a_click_drops_particles_and_the_controls_change_their_dynamics(opened: OpenedPage) -> None:
    page = opened.page
    page.click("button[data-method=ncsn]")
    page.locator(".particles .map svg").first.click(position={"x": 200, "y": 200})
    counts = "() => page.mixture.tools.parts[0].sides.map(side => side.points.length)"
    assert page.evaluate(counts) == [200, 200]
    page.click("text=Clear")
    assert page.evaluate(counts) == [0, 0]
    page.click("text=Drop 200 in the middle")
    expect(page.locator("button:has-text('Pause')")).to_be_visible()
    page.click("text=Pause")
    expect(page.locator("button:has-text('Run')")).to_be_visible()
    slide(page, "Temperature", 0)
    slide(page, "σ", 0)
    temperature, sigma, lowest = page.evaluate(
        "() => { const p = page.mixture.tools.parts[0]; return [p.temperature, p.sigma, Math.min(...p.schedule)]; }"
    )
    assert temperature == 0 and sigma == lowest
    page.click("text=Anneal σ")
    page.wait_for_function("() => page.mixture.tools.parts[0].cooling > 1")
    assert page.evaluate("() => page.mixture.tools.parts[0].sigma") > lowest
    final = page.evaluate(
        """() => { const p = page.mixture.tools.parts[0]; p.cooling = null; p.noise(p.schedule[3]); p.scatter(50); p.run(false);
        for (let i = 0; i < 2000; i++) p.step(); return p.sides[1].points.map(([x, y]) => p.truth.logDensity(x, y)); }"""
    )
    modes = page.evaluate("() => { const t = page.mixture.tools.parts[0].truth; return t.means.map(m => t.logDensity(...m)); }")
    assert min(final) > min(modes) - 1e-3, "at temperature 0 every particle converges to a mode"


def test_learned_and_true_score_of_the_particles_have_the_same_noise_level(project: Path, opened: OpenedPage) -> None:
    page = opened.page
    page.click("button[data-method=ncsn]")
    page.wait_for_selector(".particles")
    sigma = page.evaluate("() => { const p = page.mixture.tools.parts[0]; p.noise(p.sigmaAt(2)); return p.sigma; }")
    field = np.array(page.evaluate("() => [...page.mixture.tools.parts[0].field.values]")).reshape(-1, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        model = EvaluatedModel("ncsn")
        learned = apply(lambda p: model.trained.score_at(p, sigma), model.nodes, model.device)[0]
    assert np.abs(field - learned).max() < 1e-3 * np.abs(learned).max()
    variance = page.evaluate("() => page.mixture.tools.parts[0].truth.covariances[0][0][0]")
    assert variance == pytest.approx(model.mixture.covariances[0, 0, 0] + sigma**2)


def test_mode_weights_are_mean_responsibilities_of_particles_that_have_not_escaped(project: Path, opened: OpenedPage) -> None:
    page = opened.page
    page.click("button[data-method=ncsn]")
    page.wait_for_selector(".particles")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project)
        mixture = EvaluatedModel("ncsn").mixture.smoothed(3.0)
    points = mixture.sample(500, np.random.default_rng(0))[0]
    escaped = [[1e6, 0.0], [float("1e9"), 1e9]]
    shares = page.evaluate(
        """points => {
          const particles = page.mixture.tools.parts[0];
          particles.truth = page.mixture.domain.mixture.smoothed(3);
          return particles.shares(points);
        }""",
        [*points.tolist(), *escaped],
    )
    assert np.allclose(shares, mixture.responsibilities(points).mean(0))


def fields(folder: Path, name: str) -> Any:
    """The arrays that the stage mog_evaluate wrote for a method."""
    return np.load(folder / f"reports/fields/{name}.npz")


def choose(page: Page, method: str) -> None:
    """Select a method and wait until the large map shows it."""
    page.click(f"button[data-method={method}]")
    page.wait_for_function("name => page.mixture.title.textContent.startsWith(name)", arg=method)


def large_map(page: Page) -> Any:
    """The values of the large map."""
    return np.array(page.evaluate("() => [...page.mixture.seen.values]"))


@pytest.mark.parametrize("method", METHODS)
def test_maps_show_the_true_energy_and_learned_minus_true_energy(project: Path, opened: OpenedPage, method: str) -> None:
    page, arrays = opened.page, fields(project, method)
    choose(page, method)
    energy, truth = arrays["energy"][0].ravel(), -arrays["log_density"].ravel()
    learned = large_map(page)
    page.select_option(".choice:has-text('Maps show') select", "true")
    assert np.allclose(large_map(page), truth, atol=1e-4)
    page.select_option(".choice:has-text('Maps show') select", "difference")
    if method == "ncsn":
        assert np.abs(learned - energy).max() < 1e-3 * np.ptp(energy)
        assert np.allclose(large_map(page), learned - truth, atol=1e-3)
    else:
        expected = (learned.argsort().argsort() - truth.argsort().argsort()) / (len(truth) - 1)
        assert np.median(np.abs(large_map(page) - expected)) < 1e-3
        expect(page.locator(".large .note")).to_contain_text("even for an ideal embedding")


@pytest.mark.parametrize("method", METHODS)
def test_sliders_select_the_seed_and_the_snapshot(project: Path, opened: OpenedPage, method: str) -> None:
    page, arrays = opened.page, fields(project, method)
    choose(page, method)
    slide(page, "Seed", 1)
    assert page.evaluate("() => page.mixture.state.seed") == 1
    second_seed = large_map(page)
    slide(page, "Training", 0)
    assert page.evaluate("() => [page.mixture.state.snapshot, page.mixture.state.seed]") == [0, 0]
    expect(page.locator("#mixture .slider:has-text('Training') output")).to_have_text("step 0")
    first_snapshot = large_map(page)
    count = int(len(first_snapshot) ** 0.5)
    assert count == 8
    every = slice(None, None, 3)  # 8 of the 22 nodes along a side
    if method == "ncsn":
        for found, expected in ((second_seed, arrays["energy"][1]), (first_snapshot, arrays["snapshot_energy"][0])):
            assert np.abs(found.reshape(8, 8) - expected[every, every]).max() < 1e-3 * np.ptp(expected)
        expect(page.locator(".large .arrows path")).to_have_count(0)
        slide(page, "Training", 2)
        expect(page.locator(".large .arrows path")).not_to_have_count(0)
    else:
        assert -1.001 < second_seed.min() < -0.99 and not np.allclose(second_seed, first_snapshot, atol=0.01)


@pytest.mark.parametrize(
    "label, selector",
    [
        ("contours of the true log-density", ".contours path"),
        ("test points", ".points circle"),
        ("score arrows", ".arrows path"),
    ],
)
def test_a_checkbox_hides_and_shows_a_layer_of_the_map(opened: OpenedPage, label: str, selector: str) -> None:
    page = opened.page
    page.click("button[data-method=ncsn]")
    marks = page.locator(f".large {selector}")
    page.wait_for_selector(f".large {selector}", state="attached")
    page.get_by_label(label).uncheck()
    expect(marks).to_have_count(0)
    page.get_by_label(label).check()
    expect(marks).not_to_have_count(0)


def test_a_checkbox_gives_all_maps_a_shared_colour_scale(opened: OpenedPage) -> None:
    page = opened.page
    ranges = "() => page.mixture.small.map(({ name }) => page.mixture.shown(page.mixture.learned.get(name)).range)"
    page.wait_for_function("count => page.mixture.learned.size === count", arg=len(METHODS))
    assert page.evaluate(ranges)[0] != [-1, 1]
    page.get_by_label("shared colour scale").check()
    contrastive, ncsn, masked = page.evaluate(ranges)
    assert contrastive == masked == [-1, 1] and ncsn[1] - ncsn[0] == 12
    page.select_option(".choice:has-text('Maps show') select", "true")
    assert len({tuple(pair) for pair in page.evaluate(ranges)}) == 1


def test_the_readout_shows_the_value_at_the_pointer(opened: OpenedPage) -> None:
    page = opened.page
    page.locator(".large .map svg").hover(position={"x": 150, "y": 150})
    readout = page.locator(".large .readout").text_content() or ""
    found = re.match(r"at \((.*), (.*)\): (.*) \(−cos\); truth: −log p = ", readout)
    assert found and -1 <= float(found[3]) <= 1


def test_the_spectrum_shows_the_metrics_and_maps_of_the_eigenfunctions(project: Path, opened: OpenedPage) -> None:
    page, measured = opened.page, files.read_json(project / artifacts.metrics("mog", "contrastive"))["spectrum"]
    page.locator(".thumb[data-method=contrastive]").click()
    bars = page.locator(".spectrum .eigenfunction")
    expect(bars.first).to_have_attribute("aria-pressed", "true")
    drawn = pixels(page, ".spectrum .map canvas")
    bars.nth(2).click()
    shown = f"{measured['r2_3_untrained']['mean']:.3f} before training, {measured['r2_3']['mean']:.3f} after"
    expect(page.locator(".spectrum .readout")).to_contain_text(shown)
    assert pixels(page, ".spectrum .map canvas") != drawn
    on_page = """() => {
      const { spectrum, grid } = page.mixture.domain;
      return [grid.x, grid.y, part(spectrum.functions, 0)].map((values) => Array.from(values));
    }"""
    *axes, first = (np.array(values) for values in page.evaluate(on_page))
    truth = files.read_arrays(project / artifacts.SPECTRUM)
    np.testing.assert_allclose(axes, [truth["grid_x"], truth["grid_y"]], atol=0.01)
    data = truth["log_density"].ravel() > truth["log_density"].max() - 5
    np.testing.assert_allclose(first[data], truth["eigenfunctions"][1].ravel()[data], atol=0.1)
    bars.nth(4).focus()
    page.keyboard.press("Enter")
    expect(page.locator(".spectrum .readout")).to_contain_text("ψ5")
    page.locator(".thumb[data-method=ncsn]").click()
    expect(page.locator(".spectrum")).to_have_count(0)


def test_the_conditional_density_is_the_models_along_the_line(
    project: Path, opened: OpenedPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened.page
    monkeypatch.chdir(project)
    model = EvaluatedModel("jepa_masked_density")
    page.click("button[data-method=jepa_masked_density]")
    page.wait_for_selector(".conditional svg path.learned")
    for seen, axis in ((1, model.grid_y), (0, model.grid_x)):
        page.select_option(".choice:has-text('The line is') select", str(seen))
        page.locator(".conditional .slider input").evaluate("i => { i.value = 9; i.dispatchEvent(new Event('input')); }")
        readout = page.locator(".conditional .readout").text_content() or ""
        mean = model.mixture.conditional_mean(1 - seen, axis[[9]])[0]
        assert f"coordinate {axis[9]:.2f}: true mean {mean:.2f}, learned prediction" in readout
        pairs = np.full((len(axis), 2), axis[9])
        pairs[:, 1 - seen] = model.grid_x if seen else model.grid_y
        visible = torch.tensor([1.0, 0.0] if seen == 0 else [0.0, 1.0])
        log = apply(lambda p, v=visible: model.trained.log_density(p, v.expand(p.shape)).unsqueeze(-1), pairs, model.device)
        found = page.evaluate(
            """([seen, count]) => {
              const { density } = page.mixture.tools.parts[0].learned.content.conditional;
              return [...page.part(density, seen)].slice(9 * count, 10 * count);
            }""",
            [seen, len(axis)],
        )
        assert np.allclose(found, np.exp(log[0, :, 0]), atol=1e-3)


def test_images_are_filtered_selected_and_shown_with_their_nearest_neighbours(opened: OpenedPage) -> None:
    page = opened.page
    fields = np.load(Path(page.url.removeprefix("file://")).parent / "fields/mnist/jepa_ema.npz")
    count = page.evaluate("() => page.embeddings.visible.length")
    canvas = page.locator("#embeddings .embeddings > canvas")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#embeddings .readout")).to_contain_text("test image 0: true class ")
    predicted = int((page.locator("#embeddings .readout").text_content() or "").split("predicted class ")[1][0])
    assert predicted == fields["predicted"][0]
    assert page.locator(".near figure").count() == 5
    assert pixels(page, "#embeddings .thumbnail") != pixels(page, ".near canvas")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#embeddings .readout")).to_contain_text(f"test image {count - 1}: ")
    page.click("text=None")
    expect(page.locator("#embeddings .readout")).to_contain_text("test image")
    assert page.evaluate("() => page.embeddings.visible.length") == 0
    page.click("#embeddings button:has-text('All')")
    page.get_by_label("misclassified only").check()
    page.wait_for_function("count => page.embeddings.visible.length < count && page.embeddings.visible.length > 0", arg=count)
    before = pixels(page, "#embeddings .embeddings > canvas")
    slide(page, "Training", 0)
    page.locator("#embeddings .slider input").evaluate("i => { i.value = 0; i.dispatchEvent(new Event('input')); }")
    expect(page.locator("#embeddings .slider output")).to_have_text("step 0")
    assert pixels(page, "#embeddings .embeddings > canvas") != before


def test_screenshots_of_the_page_are_written(project: Path, tmp_path: Path) -> None:
    for source in screenshots.ANIMATIONS.values():
        (project / artifacts.ANIMATIONS / source).parent.mkdir(parents=True, exist_ok=True)
        (project / artifacts.ANIMATIONS / source).write_bytes(source.encode())
    small.run(project, "python", "-m", "stages.tools.screenshots")
    for name, source in screenshots.ANIMATIONS.items():
        assert (project / f"docs/{name}.gif").read_bytes() == source.encode()
    for name in ("maps", "particles", "digits"):
        picture = np.asarray(Image.open(project / f"docs/page-{name}.png").convert("RGB"))
        assert picture.shape[0] > 200 and picture.std() > 20
    output = small.run(tmp_path, "python", "-m", "stages.tools.screenshots", status=1, PYTHONPATH=str(ROOT))
    assert output == "error: reports/index.html is missing: `dvc repro` makes it, `dvc pull` brings it\n"


def test_the_benchmark_measures_the_redraw_time_of_the_maps(project: Path) -> None:
    code = """
from benchmarks import page
from stages.config import params
(row,) = page.rows(params.load(), redraws=3, turns=2)
assert row.ratio and row.ours.endswith("ms"), row
"""
    small.run(project, "python", "-c", code, PYTHONPATH=str(ROOT))


def test_hovering_over_a_point_of_the_scatter_plot_selects_its_image(opened: OpenedPage) -> None:
    page = opened.page
    canvas = page.locator("#embeddings .embeddings > canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    x, y = page.evaluate(
        "() => page.embeddings.places[7].map((place, d) => place / page.embeddings.canvas[d ? 'height' : 'width'])"
    )
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    expect(page.locator("#embeddings .readout")).to_contain_text("test image 7: ")


def test_play_steps_through_the_snapshots_of_the_image_embeddings(opened: OpenedPage) -> None:
    page = opened.page
    page.evaluate(RECORD_TEXTS, "#embeddings .slider output")
    page.click("#embeddings button:has-text('Play')")
    expect(page.locator("#embeddings .slider output")).to_have_text("step 30")
    assert page.evaluate("() => texts") == ["step 0", "step 5", "step 30"]


RECORD_TEXTS = """(place) => {
  window.texts = []
  const watched = document.querySelector(place)
  new MutationObserver(() => watched.textContent !== texts.at(-1) && texts.push(watched.textContent))
    .observe(watched, {childList: true, characterData: true, subtree: true})
}"""
"""Script that records every text of an element from now on, however briefly it is shown."""


def test_the_scatter_plot_shows_the_pipelines_pca_projection(project: Path, opened: OpenedPage) -> None:
    expected = np.load(project / "reports/fields/mnist/jepa_ema.npz")["pca"]
    found = np.array(opened.page.evaluate("() => [...page.numbers(page.embeddings.content.pca)]")).reshape(expected.shape)
    assert np.abs(found - expected).max() < 1e-4 * np.ptp(expected)
    places = np.array(opened.page.evaluate("() => page.embeddings.places"))
    assert np.corrcoef(places[:, 0], expected[-1, :, 0])[0, 1] > 0.999
    assert np.corrcoef(places[:, 1], expected[-1, :, 1])[0, 1] < -0.999, "the second component increases upwards"


def test_taps_select_images_and_reference_points_but_touch_presses_do_not(browser: Browser, project: Path) -> None:
    opened = OpenedPage(browser, project, viewport={"width": 360, "height": 700}, has_touch=True, is_mobile=True)
    page = opened.page
    canvas = page.locator("#embeddings .embeddings > canvas")
    box = canvas.bounding_box()
    assert box
    x, y = page.evaluate("() => page.embeddings.places[7].map((place) => place / page.embeddings.canvas.width)")
    canvas.tap(position={"x": x * box["width"], "y": y * box["width"]})
    expect(page.locator("#embeddings .readout")).to_contain_text("test image 7: ")
    before = page.evaluate("() => page.mixture.state.reference")
    page.locator(".large .map svg").dispatch_event(
        "pointerdown", {"pointerType": "touch", "button": 0, "clientX": 120, "clientY": 300}
    )
    assert page.evaluate("() => page.mixture.state.reference") == before
    page.locator(".large .map svg").tap(position={"x": 200, "y": 60})
    page.wait_for_function("before => page.mixture.state.reference.join() !== before.join()", arg=before)
    opened.context.close()


def test_a_method_selected_before_its_data_loads_is_shown_afterwards(browser: Browser, project: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    # Delay the data, as a slow disk would.
    page.route("**/page_data/mog/*.js", lambda route: (page.wait_for_timeout(300), route.continue_()))
    page.goto((project / "reports/index.html").as_uri(), wait_until="commit")
    page.click("button[data-method=jepa_masked_density]")
    page.click("button[data-method=ncsn]")
    page.locator(".large .map svg").hover()
    page.wait_for_selector("#mixture[data-ready]", timeout=60_000)
    page.wait_for_selector("#embeddings[data-ready]")
    assert (page.locator(".large h3").text_content() or "").startswith("ncsn")
    assert page.locator(".particles").count() == 1 and page.locator(".conditional").count() == 0
    assert errors == []
    context.close()


def test_reconstructions_change_with_the_perturbation_and_its_severity(opened: OpenedPage) -> None:
    page = opened.page
    shown = {pixels(page, ".pairs canvas")}
    page.select_option(".choice:has-text('Perturbation') select", "gaussian")
    page.wait_for_function("() => page.reconstructions.state.kind === 'gaussian'")
    shown.add(pixels(page, ".pairs canvas"))
    slide(page, "Severity", 0)
    expect(page.locator(".slider:has-text('Severity') output")).to_have_text("0 % (clean images)")
    shown.add(pixels(page, ".pairs canvas"))
    assert len(shown) == 3
    expect(page.locator("#reconstructions .readout")).to_contain_text("mean squared error")


def test_the_table_of_claims_is_sortable_filterable_and_linked(opened: OpenedPage, project: Path) -> None:
    page = opened.page
    rows = page.locator("table.claims tbody tr:visible")
    total = rows.count()
    page.click("table.claims button:has-text('measured')")
    numbers = page.locator("table.claims tbody tr td:nth-child(4)").evaluate_all(
        "cells => cells.map(cell => cell.dataset.value)"
    )
    measured = [float(value) for value in numbers if value]
    assert measured == sorted(measured) and "" not in numbers[: len(measured)]
    page.click("table.claims button:has-text('measured')")
    numbers = page.locator("table.claims tbody tr td:nth-child(4)").evaluate_all(
        "cells => cells.map(cell => cell.dataset.value)"
    )
    assert [float(value) for value in numbers if value] == sorted(measured, reverse=True) and "" not in numbers[: len(measured)]
    page.select_option(".choice:has-text('Verdict') select", "fails")
    assert 0 < rows.count() < total
    expect(rows.first.locator(".verdict")).to_contain_text("fails")
    links = page.locator("table.claims .verdict a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    missing = {link for link in links if not (project / "reports" / link).exists()}
    assert not {link for link in missing if "studies" not in link}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("method", METHODS)
def test_the_page_has_no_serious_accessibility_violation(browser: Browser, project: Path, scheme: str, method: str) -> None:
    opened = OpenedPage(browser, project, color_scheme=scheme)
    choose(opened.page, method)
    found = Axe().run(opened.page).response["violations"]
    serious = {v["id"]: [n["html"][:200] for n in v["nodes"]] for v in found if v["impact"] in ("serious", "critical")}
    assert serious == {}
    opened.context.close()


@pytest.mark.parametrize("width", [360, 800, 1600])
def test_the_page_fits_the_width_of_the_viewport(browser: Browser, project: Path, width: int) -> None:
    opened = OpenedPage(browser, project, viewport={"width": width, "height": 900})
    assert opened.page.evaluate("() => document.documentElement.scrollWidth") <= width
    opened.context.close()


def test_the_theme_button_toggles_light_and_dark(opened: OpenedPage) -> None:
    colour = "() => getComputedStyle(document.body).backgroundColor"
    before = opened.page.evaluate(colour)
    opened.page.click("#theme")
    assert opened.page.evaluate(colour) != before
    opened.page.click("#theme")
    assert opened.page.evaluate(colour) == before


def test_without_javascript_the_page_shows_figures_and_the_table_of_claims(browser: Browser, project: Path) -> None:
    opened = OpenedPage(browser, project, java_script_enabled=False)
    assert opened.page.locator("table.claims tbody tr:visible").count() > 5
    pictures = opened.page.locator("noscript img, img")
    assert pictures.count() >= 3
    for picture in pictures.all():
        assert (project / "reports" / str(picture.get_attribute("src"))).exists()
    opened.context.close()


@pytest.mark.parametrize(
    "name, section", [("mnist/jepa_ema.js", "#embeddings"), ("mog/ncsn.js", "#mixture"), ("domains.js", "main")]
)
def test_a_missing_data_script_is_reported_in_the_section_that_needs_it(
    browser: Browser, project: Path, tmp_path: Path, name: str, section: str
) -> None:
    shutil.copytree(project / "reports", tmp_path / "reports")
    (tmp_path / "reports/page_data" / name).unlink()
    context = browser.new_context()
    page = context.new_page()
    page.goto((tmp_path / "reports/index.html").as_uri())
    expect(page.locator(f"{section} > .error")).to_have_text(
        f"page_data/{name} is missing: dvc repro makes it, dvc pull brings it"
    )
    if name != "domains.js":
        page.wait_for_selector("#reconstructions[data-ready]")
    if section == "#mixture":
        choose(page, "jepa_masked_density")
    context.close()


@pytest.mark.hostile
def test_html_in_params_and_claims_is_escaped(project: Path, tmp_path: Path, browser: Browser) -> None:
    folder = tmp_path / "clone"
    shutil.copytree(project, folder, symlinks=True)
    html = "<img src=x onerror=\"document.title='executed'\">"
    small.change_params(folder, {"claims.yaml": {"criteria": {"in_batch_negatives": {"statement": html}}}})
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(f"# </pre><script>document.title = 'executed'</script>\n{params}")
    small.run(folder, "dvc", "repro", "report")
    opened = OpenedPage(browser, folder)
    assert opened.page.title().startswith("Energy Wells")
    assert html in (opened.page.locator("table.claims").text_content() or "")
    assert opened.messages == []
    opened.context.close()
