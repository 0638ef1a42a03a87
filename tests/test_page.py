"""The page in a real browser: what its controls do, that its numbers are the pipeline's, that it stays by itself."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from stages.core.paths import ROOT
from stages.metrics.collapse import normalise
from stages.mog.evaluation.model import EvaluatedModel, apply
from stages.tools.browser import find
from tests import small

BROWSER = find()
if not BROWSER:
    pytest.skip("no browser: chromium is not installed", allow_module_level=True)

from axe_playwright_python.sync_playwright import Axe  # noqa: E402  # only where there is a browser to use it
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright  # noqa: E402

# A machine that is busy with other tests may take its time.
expect.set_options(timeout=30_000)
METHODS = ["contrastive", "ncsn", "jepa_masked_density"]
EVERY_KIND = {
    "methods": METHODS,
    "mog": {"evaluation": {"grid": 22}},
    "annealed": {"particles": 50, "steps": 3, "frames": 4},
    "ncsn": {"train": {"steps": 20, "batch_size": 32, "warmup": 2}},
    "jepa_masked_density": {"train": {"steps": 20, "batch_size": 32, "warmup": 2}},
}


@pytest.fixture(scope="module")
def made(reproduced: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small clone with a method of every kind, and its page."""
    folder = tmp_path_factory.mktemp("page") / "clone"
    shutil.copytree(reproduced, folder, symlinks=True)
    small.change_params(folder, EVERY_KIND)
    small.reproduce(folder, "2")
    return folder


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """The page, opened from the file system; whatever it complains of or asks the network for is a failure in the end."""

    def __init__(self, browser: Browser, folder: Path, **context: Any) -> None:
        self.context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", self._asked)
        self.page.goto((folder / "reports/index.html").as_uri())
        if context.get("java_script_enabled", True):
            self.page.wait_for_selector("#reconstructions[data-ready]", timeout=60_000)

    def _asked(self, request: Request) -> None:
        if not request.url.startswith("data:image/png;base64,"):
            self.requests.append(request.url)


@pytest.fixture
def opened(browser: Browser, made: Path) -> Iterator[Opened]:
    one = Opened(browser, made)
    yield one
    inside = (made / "reports").as_uri()
    assert [url for url in one.requests if not url.startswith(inside)] == []
    assert one.complaints == []
    one.context.close()


def slide(page: Page, label: str, value: float) -> None:
    """Move the slider of that name as a user does: the value, then its event."""
    slider = page.locator(f".slider:has-text('{label}') input").first
    slider.evaluate("(input, value) => { input.value = value; input.dispatchEvent(new Event('input')); }", value)


def pixels(page: Page, selector: str) -> Any:
    """What a canvas shows."""
    return page.locator(selector).first.evaluate("canvas => canvas.toDataURL()")


MAP = ".large .map canvas"


def test_the_page_is_small_and_made_of_what_it_loads(made: Path, opened: Opened) -> None:
    assert (made / "reports/index.html").stat().st_size < 1_000_000
    loaded = {url.rsplit("reports/", 1)[1] for url in opened.requests}
    assert loaded == {
        "index.html",
        "page_data/domains.js",
        "page_data/mnist/jepa_ema.js",
        "page_data/mnist/jepa_ema.reconstruction.js",
    } | {f"page_data/mog/{name}.js" for name in METHODS}


PLACE_OF = """([x, y]) => {
  const svg = page.mixture.map.svg.node(), box = svg.getBoundingClientRect(), view = svg.viewBox.baseVal;
  const at = (place, start, size, low, high) =>
    Math.max(low + 1, Math.min(high - 1, low + (place - start) / size * (high - low)));
  return [at(page.mixture.map.x(x), view.x, view.width, box.left, box.right),
          at(page.mixture.map.y(y), view.y, view.height, box.top, box.bottom)];
}"""
"""Where on the screen a point of the plane is, a hair inside the map: its very edge belongs to no pointer."""


def test_the_landscape_follows_the_reference_and_is_the_stages_own(
    made: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = opened.page
    monkeypatch.chdir(made)
    model = EvaluatedModel("contrastive")
    directions = normalise(apply(model.trained.embed, model.nodes, model.device))[0]
    before = pixels(page, MAP)
    page.locator(".large .map svg").scroll_into_view_if_needed()
    page.mouse.move(*page.evaluate(PLACE_OF, [0, 0]))
    page.mouse.down()
    for node in (23, 41, 100, 240, 460):
        page.mouse.move(*page.evaluate(PLACE_OF, model.nodes[node].tolist()))
        page.wait_for_function("node => page.mixture.domain.grid.node(...page.mixture.state.reference) === node", arg=node)
        page.evaluate("() => new Promise(requestAnimationFrame)")
        shown = np.array(page.evaluate("() => [...page.mixture.seen.values]"))
        assert np.abs(shown + directions @ directions[node]).max() < 1e-3
    page.mouse.up()
    assert pixels(page, MAP) != before
    page.locator(".reference").focus()
    page.keyboard.press("ArrowLeft")
    page.wait_for_function("() => page.mixture.domain.grid.node(...page.mixture.state.reference) === 459")


def test_the_truth_of_the_page_is_that_of_the_mixture(made: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(made)
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


def test_particles_under_the_true_score_reach_the_true_weights(opened: Opened) -> None:
    page = opened.page
    page.click("button[data-method=ncsn]")
    page.wait_for_selector(".particles")
    # The page's own steps, without waiting for the frames of a screen.
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


def test_particles_are_dropped_where_one_clicks_and_obey_the_controls(opened: Opened) -> None:
    page = opened.page
    page.click("button[data-method=ncsn]")
    page.locator(".particles .map svg").first.click(position={"x": 200, "y": 200})
    counted = "() => page.mixture.tools.parts[0].sides.map(side => side.points.length)"
    assert page.evaluate(counted) == [200, 200]
    page.click("text=Clear")
    assert page.evaluate(counted) == [0, 0]
    page.click("text=Drop 200 in the middle")
    expect(page.locator("button:has-text('Pause')")).to_be_visible()
    page.click("text=Pause")
    expect(page.locator("button:has-text('Run')")).to_be_visible()
    slide(page, "Temperature", 0)
    slide(page, "σ", 0)
    lowest = page.evaluate(
        "() => { const p = page.mixture.tools.parts[0]; return [p.temperature, p.sigma, Math.min(...p.schedule)]; }"
    )
    assert lowest[0] == 0 and lowest[1] == lowest[2]
    page.click("text=Anneal σ")
    page.wait_for_function("() => page.mixture.tools.parts[0].cooling > 1")
    assert page.evaluate("() => page.mixture.tools.parts[0].sigma") > lowest[1]
    cold = page.evaluate(
        """() => { const p = page.mixture.tools.parts[0]; p.cooling = null; p.noise(p.schedule[3]); p.scatter(50); p.run(false);
        for (let i = 0; i < 2000; i++) p.step(); return p.sides[1].points.map(([x, y]) => p.truth.logDensity(x, y)); }"""
    )
    top = page.evaluate("() => { const t = page.mixture.tools.parts[0].truth; return t.means.map(m => t.logDensity(...m)); }")
    assert min(cold) > min(top) - 1e-3, "without noise every particle ends on top of a mode"


def test_both_sides_of_the_particles_are_at_the_same_noise_level(made: Path, opened: Opened) -> None:
    page = opened.page
    page.click("button[data-method=ncsn]")
    page.wait_for_selector(".particles")
    sigma = page.evaluate("() => { const p = page.mixture.tools.parts[0]; p.noise(p.sigmaAt(2)); return p.sigma; }")
    field = np.array(page.evaluate("() => [...page.mixture.tools.parts[0].field.values]")).reshape(-1, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        model = EvaluatedModel("ncsn")
        learned = apply(lambda p: model.trained.score_at(p, sigma), model.nodes, model.device)[0]
    assert np.abs(field - learned).max() < 1e-3 * np.abs(learned).max()
    means = page.evaluate("() => page.mixture.tools.parts[0].truth.covariances[0][0][0]")
    assert means == pytest.approx(model.mixture.covariances[0, 0, 0] + sigma**2)


def test_the_share_of_a_mode_is_what_the_pipeline_counts(made: Path, opened: Opened) -> None:
    page = opened.page
    page.click("button[data-method=ncsn]")
    page.wait_for_selector(".particles")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(made)
        mixture = EvaluatedModel("ncsn").mixture.smoothed(3.0)
    points = mixture.sample(500, np.random.default_rng(0))[0]
    away = [[1e6, 0.0], [float("1e9"), 1e9]]
    shares = page.evaluate(
        """points => {
          const particles = page.mixture.tools.parts[0];
          particles.truth = page.mixture.domain.mixture.smoothed(3);
          return particles.shares(points);
        }""",
        [*points.tolist(), *away],
    )
    assert np.allclose(shares, mixture.responsibilities(points).mean(0))


def fields(folder: Path, name: str) -> Any:
    return np.load(folder / f"reports/fields/{name}.npz")


def choose(page: Page, method: str) -> None:
    page.click(f"button[data-method={method}]")
    page.wait_for_function("name => page.mixture.title.textContent.startsWith(name)", arg=method)


def seen(page: Page) -> Any:
    """The values of the large map."""
    return np.array(page.evaluate("() => [...page.mixture.seen.values]"))


@pytest.mark.parametrize("method", METHODS)
def test_the_maps_show_the_truth_and_the_difference(made: Path, opened: Opened, method: str) -> None:
    page, there = opened.page, fields(made, method)
    choose(page, method)
    energy, truth = there["energy"][0].ravel(), -there["log_density"].ravel()
    learned = seen(page)
    page.select_option(".choice:has-text('Maps show') select", "true")
    assert np.allclose(seen(page), truth, atol=1e-4)
    page.select_option(".choice:has-text('Maps show') select", "difference")
    if method == "ncsn":
        assert np.abs(learned - energy).max() < 1e-3 * np.ptp(energy)
        assert np.allclose(seen(page), learned - truth, atol=1e-3)
    else:
        expected = (learned.argsort().argsort() - truth.argsort().argsort()) / (len(truth) - 1)
        assert np.median(np.abs(seen(page) - expected)) < 1e-3
        expect(page.locator(".large .note")).to_contain_text("even for an ideal embedding")


@pytest.mark.parametrize("method", METHODS)
def test_seeds_and_training_are_under_sliders(made: Path, opened: Opened, method: str) -> None:
    page, there = opened.page, fields(made, method)
    choose(page, method)
    slide(page, "Seed", 1)
    assert page.evaluate("() => page.mixture.state.seed") == 1
    of_seed = seen(page)
    slide(page, "Training", 0)
    assert page.evaluate("() => [page.mixture.state.snapshot, page.mixture.state.seed]") == [0, 0]
    expect(page.locator("#mixture .slider:has-text('Training') output")).to_have_text("step 0")
    at_start = seen(page)
    count = int(len(at_start) ** 0.5)
    assert count == 8
    every = slice(None, None, 3)  # of the 22 nodes along a side
    if method == "ncsn":
        for found, expected in ((of_seed, there["energy"][1]), (at_start, there["snapshot_energy"][0])):
            assert np.abs(found.reshape(8, 8) - expected[every, every]).max() < 1e-3 * np.ptp(expected)
        expect(page.locator(".large .arrows path")).to_have_count(0)
        slide(page, "Training", 2)
        expect(page.locator(".large .arrows path")).not_to_have_count(0)
    else:
        assert -1.001 < of_seed.min() < -0.99 and not np.allclose(of_seed, at_start, atol=0.01)


@pytest.mark.parametrize(
    "label, selector",
    [
        ("contours of the true log-density", ".contours path"),
        ("test points", ".points circle"),
        ("score arrows", ".arrows path"),
    ],
)
def test_what_lies_on_a_map_can_be_taken_off(opened: Opened, label: str, selector: str) -> None:
    page = opened.page
    page.click("button[data-method=ncsn]")
    marks = page.locator(f".large {selector}")
    page.wait_for_selector(f".large {selector}", state="attached")
    page.get_by_label(label).uncheck()
    expect(marks).to_have_count(0)
    page.get_by_label(label).check()
    expect(marks).not_to_have_count(0)


def test_methods_share_a_scale_on_demand(opened: Opened) -> None:
    page = opened.page
    ranges = "() => page.mixture.small.map(({ name }) => page.mixture.shown(page.mixture.learned.get(name)).range)"
    page.wait_for_function("count => page.mixture.learned.size === count", arg=len(METHODS))
    assert page.evaluate(ranges)[0] != [-1, 1]
    page.get_by_label("shared colour scale").check()
    contrastive, ncsn, masked = page.evaluate(ranges)
    assert contrastive == masked == [-1, 1] and ncsn[1] - ncsn[0] == 12
    page.select_option(".choice:has-text('Maps show') select", "true")
    assert len({tuple(one) for one in page.evaluate(ranges)}) == 1


def test_the_value_under_the_pointer_is_told(opened: Opened) -> None:
    page = opened.page
    page.locator(".large .map svg").hover(position={"x": 150, "y": 150})
    said = page.locator(".large .readout").text_content() or ""
    value = re.match(r"at \((.*), (.*)\): (.*) \(−cos\); truth: −log p = ", said)
    assert value and -1 <= float(value[3]) <= 1


def test_the_conditional_is_that_of_the_line(made: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    page = opened.page
    monkeypatch.chdir(made)
    model = EvaluatedModel("jepa_masked_density")
    page.click("button[data-method=jepa_masked_density]")
    page.wait_for_selector(".conditional svg path.learned")
    for seen, axis in ((1, model.grid_y), (0, model.grid_x)):
        page.select_option(".choice:has-text('The line is') select", str(seen))
        page.locator(".conditional .slider input").evaluate("i => { i.value = 9; i.dispatchEvent(new Event('input')); }")
        said = page.locator(".conditional .readout").text_content() or ""
        mean = model.mixture.conditional_mean(1 - seen, axis[[9]])[0]
        assert f"coordinate {axis[9]:.2f}: true mean {mean:.2f}, learned prediction" in said
        pairs = np.full((len(axis), 2), axis[9])
        pairs[:, 1 - seen] = model.grid_x if seen else model.grid_y
        visible = torch.tensor([1.0, 0.0] if seen == 0 else [0.0, 1.0])
        log = apply(lambda p, v=visible: model.trained.log_density(p, v.expand(p.shape)).unsqueeze(-1), pairs, model.device)
        found = page.evaluate(
            """([seen, count]) => {
              const { density } = page.mixture.tools.parts[0].learned.content.conditional;
              return [...part(density, seen)].slice(9 * count, 10 * count);
            }""",
            [seen, len(axis)],
        )
        assert np.allclose(found, np.exp(log[0, :, 0]), atol=1e-3)


def test_digits_are_filtered_found_and_shown_with_their_neighbours(opened: Opened) -> None:
    page = opened.page
    fields = np.load(Path(page.url.removeprefix("file://")).parent / "fields/mnist/jepa_ema.npz")
    count = page.evaluate("() => page.embeddings.visible.length")
    canvas = page.locator("#embeddings .embeddings > canvas")
    canvas.focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator("#embeddings .readout")).to_contain_text("test image 0: true class ")
    taken = int((page.locator("#embeddings .readout").text_content() or "").split("predicted class ")[1][0])
    assert taken == fields["predicted"][0]
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


def test_pictures_of_it_are_taken(made: Path, tmp_path: Path) -> None:
    small.run(made, "python", "-m", "stages.tools.screenshots")
    for name in ("maps", "particles", "digits"):
        picture = np.asarray(Image.open(made / f"docs/page-{name}.png").convert("RGB"))
        assert picture.shape[0] > 200 and picture.std() > 20
    output = small.run(tmp_path, "python", "-m", "stages.tools.screenshots", status=1, PYTHONPATH=str(ROOT))
    assert output == "error: reports/index.html is missing: `dvc repro` makes it, `dvc pull` brings it\n"


def test_its_redraws_are_measured(made: Path) -> None:
    code = """
from benchmarks import page
from stages.config import params
(row,) = page.rows(params.load(), redraws=3, turns=2)
assert row.ratio and row.ours.endswith("ms"), row
"""
    small.run(made, "python", "-c", code, PYTHONPATH=str(ROOT))


def test_a_pointer_finds_a_digit(opened: Opened) -> None:
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


def test_the_training_of_the_digits_can_be_played(opened: Opened) -> None:
    page = opened.page
    page.evaluate(WATCH, "#embeddings .slider output")
    page.click("#embeddings button:has-text('Play')")
    expect(page.locator("#embeddings .slider output")).to_have_text("step 30")
    assert page.evaluate("() => seen") == ["step 0", "step 5", "step 30"]


WATCH = """(place) => {
  window.seen = []
  const watched = document.querySelector(place)
  new MutationObserver(() => watched.textContent !== seen.at(-1) && seen.push(watched.textContent))
    .observe(watched, {childList: true, characterData: true, subtree: true})
}"""
"""Notes what an element says from now on, however briefly."""


def test_the_digits_lie_where_the_projection_has_them(made: Path, opened: Opened) -> None:
    expected = np.load(made / "reports/fields/mnist/jepa_ema.npz")["pca"]
    found = np.array(opened.page.evaluate("() => [...numbers(page.embeddings.content.pca)]")).reshape(expected.shape)
    assert np.abs(found - expected).max() < 1e-4 * np.ptp(expected)
    places = np.array(opened.page.evaluate("() => page.embeddings.places"))
    assert np.corrcoef(places[:, 0], expected[-1, :, 0])[0, 1] > 0.999
    assert np.corrcoef(places[:, 1], expected[-1, :, 1])[0, 1] < -0.999, "up is up"


def test_a_finger_finds_a_digit_and_scrolls_past_the_maps(browser: Browser, made: Path) -> None:
    one = Opened(browser, made, viewport={"width": 360, "height": 700}, has_touch=True, is_mobile=True)
    page = one.page
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
    one.context.close()


def test_a_method_that_is_chosen_before_its_data_are_there_is_shown_when_they_are(browser: Browser, made: Path) -> None:
    context = browser.new_context()
    page = context.new_page()
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    # Data that come late, as from a slow disk.
    page.route("**/page_data/mog/*.js", lambda route: (page.wait_for_timeout(300), route.continue_()))
    page.goto((made / "reports/index.html").as_uri(), wait_until="commit")
    page.click("button[data-method=jepa_masked_density]")
    page.click("button[data-method=ncsn]")
    page.locator(".large .map svg").hover()
    page.wait_for_selector("#mixture[data-ready]", timeout=60_000)
    page.wait_for_selector("#embeddings[data-ready]")
    assert (page.locator(".large h3").text_content() or "").startswith("ncsn")
    assert page.locator(".particles").count() == 1 and page.locator(".conditional").count() == 0
    assert complaints == []
    context.close()


def test_reconstructions_follow_method_perturbation_and_severity(opened: Opened) -> None:
    page = opened.page
    seen = {pixels(page, ".pairs canvas")}
    page.select_option(".choice:has-text('Perturbation') select", "gaussian")
    page.wait_for_function("() => page.reconstructions.state.kind === 'gaussian'")
    seen.add(pixels(page, ".pairs canvas"))
    slide(page, "Severity", 0)
    expect(page.locator(".slider:has-text('Severity') output")).to_have_text("0 % (clean images)")
    seen.add(pixels(page, ".pairs canvas"))
    assert len(seen) == 3
    expect(page.locator("#reconstructions .readout")).to_contain_text("mean squared error")


def test_the_table_is_sorted_narrowed_down_and_linked(opened: Opened, made: Path) -> None:
    page = opened.page
    rows = page.locator("table.claims tbody tr:visible")
    total = rows.count()
    page.click("table.claims button:has-text('measured')")
    numbers = page.locator("table.claims tbody tr td:nth-child(4)").evaluate_all(
        "cells => cells.map(cell => cell.dataset.value)"
    )
    there = [float(value) for value in numbers if value]
    assert there == sorted(there) and "" not in numbers[: len(there)]
    page.click("table.claims button:has-text('measured')")
    numbers = page.locator("table.claims tbody tr td:nth-child(4)").evaluate_all(
        "cells => cells.map(cell => cell.dataset.value)"
    )
    assert [float(value) for value in numbers if value] == sorted(there, reverse=True) and "" not in numbers[: len(there)]
    page.select_option(".choice:has-text('Verdict') select", "fails")
    assert 0 < rows.count() < total
    expect(rows.first.locator(".verdict")).to_contain_text("fails")
    links = page.locator("table.claims .verdict a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
    missing = {link for link in links if not (made / "reports" / link).exists()}
    assert not {link for link in missing if "studies" not in link}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("method", METHODS)
def test_nothing_serious_keeps_anyone_from_using_it(browser: Browser, made: Path, scheme: str, method: str) -> None:
    one = Opened(browser, made, color_scheme=scheme)
    choose(one.page, method)
    found = Axe().run(one.page).response["violations"]
    serious = {v["id"]: [n["html"][:200] for n in v["nodes"]] for v in found if v["impact"] in ("serious", "critical")}
    assert serious == {}
    one.context.close()


@pytest.mark.parametrize("width", [360, 800, 1600])
def test_it_fits_any_width(browser: Browser, made: Path, width: int) -> None:
    one = Opened(browser, made, viewport={"width": width, "height": 900})
    assert one.page.evaluate("() => document.documentElement.scrollWidth") <= width
    one.context.close()


def test_light_and_dark_can_be_changed(opened: Opened) -> None:
    colour = "() => getComputedStyle(document.body).backgroundColor"
    before = opened.page.evaluate(colour)
    opened.page.click("#theme")
    assert opened.page.evaluate(colour) != before
    opened.page.click("#theme")
    assert opened.page.evaluate(colour) == before


def test_without_scripts_the_pictures_and_the_table_are_there(browser: Browser, made: Path) -> None:
    one = Opened(browser, made, java_script_enabled=False)
    assert one.page.locator("table.claims tbody tr:visible").count() > 5
    pictures = one.page.locator("noscript img, img")
    assert pictures.count() >= 3
    for picture in pictures.all():
        assert (made / "reports" / str(picture.get_attribute("src"))).exists()
    one.context.close()


@pytest.mark.parametrize(
    "name, place", [("mnist/jepa_ema.js", "#embeddings"), ("mog/ncsn.js", "#mixture"), ("domains.js", "main")]
)
def test_data_that_is_missing_is_told_where_it_is_missed(
    browser: Browser, made: Path, tmp_path: Path, name: str, place: str
) -> None:
    shutil.copytree(made / "reports", tmp_path / "reports")
    (tmp_path / "reports/page_data" / name).unlink()
    context = browser.new_context()
    page = context.new_page()
    page.goto((tmp_path / "reports/index.html").as_uri())
    expect(page.locator(f"{place} > .error")).to_have_text(
        f"page_data/{name} is missing: dvc repro makes it, dvc pull brings it"
    )
    if name != "domains.js":
        page.wait_for_selector("#reconstructions[data-ready]")
    if place == "#mixture":
        choose(page, "jepa_masked_density")
    context.close()


@pytest.mark.hostile
def test_what_a_params_file_says_is_shown_and_not_obeyed(made: Path, tmp_path: Path, browser: Browser) -> None:
    folder = tmp_path / "clone"
    shutil.copytree(made, folder, symlinks=True)
    evil = "<img src=x onerror=\"document.title='obeyed'\">"
    small.change_params(folder, {"claims.yaml": {"criteria": {"contrastive": {"statement": evil}}}})
    params = (folder / "params.yaml").read_text()
    (folder / "params.yaml").write_text(f"# </pre><script>document.title = 'obeyed'</script>\n{params}")
    small.run(folder, "dvc", "repro", "report")
    one = Opened(browser, folder)
    assert one.page.title().startswith("Energy Wells")
    assert evil in (one.page.locator("table.claims").text_content() or "")
    assert one.complaints == []
    one.context.close()
