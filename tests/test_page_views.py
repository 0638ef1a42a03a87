"""The views of the interactive page that show more of the mixture: critics, particles, spectra, profiles, collapse."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page, expect

from stages.core.paths import ROOT
from stages.metrics.collapse import normalise
from stages.mog.evaluation.model import apply
from stages.pipeline import artifacts, files
from tests.browsing import BROWSER, TO_SCREEN, OpenedPage, evaluated, settled, show, slide, state, values

pytestmark = pytest.mark.skipif(not BROWSER, reason="no browser: chromium is not installed")


@pytest.mark.parametrize("first", [0.0, 0.7])
def test_the_page_computes_the_pmi_of_two_views(page_project: Path, opened: OpenedPage, first: float) -> None:
    mixture = evaluated(page_project, "ncsn").mixture
    points = np.random.default_rng(0).uniform(-8, 10, (20, 2))
    found = opened.page.evaluate(
        """([points, first]) => points.map(([x, y]) => { const t = page.app.domain.mixture;
        const [a, b] = [x + 0.3, y - 0.2];
        return t.secondView([x, y], first, 0.5).logDensity(a, b) - t.smoothed(0.5).logDensity(a, b); })""",
        [points.tolist(), first],
    )
    assert np.allclose(
        found, mixture.pointwise_mutual_information(points, points + np.array([0.3, -0.2]), first, 0.5), atol=1e-9
    )


def test_the_map_of_a_critic_is_its_estimate_of_the_pmi(page_project: Path, browser: Browser) -> None:
    opened = OpenedPage(browser, page_project, "#critic")
    page = opened.page
    settled(page)
    model = evaluated(page_project, "contrastive_critic")
    point = page.evaluate("() => page.figure.view.chosen.point")
    coarse = page.evaluate("() => [page.app.domain.coarse.x, page.app.domain.coarse.y]")
    views = np.stack(np.meshgrid(*coarse), -1).reshape(-1, 2)
    with torch.no_grad():
        critic, everywhere = (
            model.trained.critic(torch.tensor([point], dtype=torch.float32), torch.from_numpy(x.astype(np.float32)))[
                0, 0
            ].numpy()
            for x in (views, model.nodes)
        )
    noise = model.settings["view"]["noise"]
    weights = np.exp(model.mixture.smoothed(noise).log_density(model.nodes))
    expected = critic - np.log((weights * np.exp(everywhere)).sum() / weights.sum())
    assert np.abs(values(page, "b") - np.clip(expected, -12, 12)).max() < 0.1
    truth = model.mixture.pointwise_mutual_information(np.array(point), model.nodes, 0.0, noise)
    assert np.allclose(values(page, "a"), truth, atol=1e-4)
    opened.context.close()


@pytest.fixture
def particles(browser: Browser, page_project: Path) -> Iterator[Page]:
    """The page with particles of the truth on the left and of ncsn, which has a noise schedule, on the right."""
    opened = OpenedPage(browser, page_project, "#score&b=ncsn&trail=0&temperature=1")
    settled(opened.page)
    yield opened.page
    assert opened.messages == []
    opened.context.close()


def test_particles_under_the_true_score_recover_the_mixing_weights(particles: Page) -> None:
    # Calls the page's steps directly, without animation frames.
    found = particles.evaluate(
        """() => {
          const view = page.figure.view, [mover] = view.movers;
          view.scatter(3000);
          view.run(false);
          for (let level = view.schedule.length - 1; level >= 0; level--) {
            view.level = level;
            view.setUp({ ...page.app.state, level });
            for (let i = 0; i < 60; i++) view.step();
          }
          view.draw();
          return [...document.querySelectorAll(".sides > div:first-child .weight .name")].map((one) => one.textContent);
        }"""
    )
    weights = particles.evaluate("() => page.app.domain.weights")
    shares = [int(re.findall(r"(\d+)%", text)[0]) / 100 for text in found]
    assert np.abs(np.array(shares) - weights).sum() / 2 < 0.07
    assert particles.locator(".weight").count() == 2 * len(weights)


def test_a_click_drops_particles_and_the_controls_change_their_dynamics(particles: Page) -> None:
    page = particles
    counts = "() => page.figure.view.movers.map(side => side.points.length)"
    page.locator("[data-side=a] .map svg").click(position={"x": 120, "y": 120})
    assert page.evaluate(counts) == [200, 200]
    page.click("text=Clear")
    assert page.evaluate(counts) == [0, 0]
    expect(page.locator("button:text-is('Run')")).to_be_visible()
    page.click("text=Drop one")
    assert page.evaluate(counts) == [1, 1]
    page.click("text=Drop 200 in the middle")
    assert page.evaluate(counts) == [201, 201]
    expect(page.locator("button:text-is('Pause')")).to_be_visible()
    page.click("button:text-is('Pause')")
    expect(page.locator("button:text-is('Run')")).to_be_visible()
    slide(page, "Temperature", 0)
    slide(page, "σ", 0)
    page.wait_for_function("() => page.figure.view.temperature === 0 && page.figure.view.level === 0")
    sigma, lowest = page.evaluate("() => { const p = page.figure.view; return [p.sigma, Math.min(...p.schedule)]; }")
    assert sigma == lowest
    page.click("text=Anneal σ")
    page.wait_for_function("() => page.figure.view.sigma > 2 * Math.min(...page.figure.view.schedule)")
    final = page.evaluate(
        """() => { const p = page.figure.view, [one] = p.movers;
        p.cooling = null; p.setUp({ ...page.app.state, level: 3 }); p.scatter(50); p.run(false);
        for (let i = 0; i < 2000; i++) p.step();
        return one.points.map(([x, y]) => one.truth.logDensity(x, y)); }"""
    )
    modes = page.evaluate(
        "() => { const t = page.figure.view.movers[0].truth; return t.means.map((m) => t.logDensity(...m)); }"
    )
    assert min(final) > min(modes) - 1e-3, "at temperature 0 every particle converges to a mode"


def test_reset_ends_the_particles(particles: Page) -> None:
    particles.click("text=Drop 200 in the middle")
    particles.click("#figure button:text-is('Reset')")
    expect(particles.locator("button:text-is('Run')")).to_be_visible()
    assert particles.evaluate("() => page.figure.view.movers.map(side => side.points.length)") == [0, 0]


def test_arrow_keys_move_the_first_view_of_a_critic(browser: Browser, page_project: Path) -> None:
    opened = OpenedPage(browser, page_project, "#critic")
    page = opened.page
    settled(page)
    for side in "ab":
        for key, axis, sign in (("ArrowRight", 0, 1), ("ArrowUp", 1, 1), ("ArrowLeft", 0, -1), ("ArrowDown", 1, -1)):
            page.locator(f"[data-side={side}] .reference").focus()
            before = page.evaluate("() => page.figure.view.chosen.point")
            page.keyboard.press(key)
            page.wait_for_function("before => page.figure.view.chosen.point.join() !== before.join()", arg=before)
            assert (page.evaluate("() => page.figure.view.chosen.point")[axis] - before[axis]) * sign > 0
    opened.context.close()


def test_a_click_where_no_reference_point_is_shown_moves_none(browser: Browser, page_project: Path) -> None:
    opened = OpenedPage(browser, page_project, "#weights")
    page = opened.page
    settled(page)
    page.locator("[data-side=b] .map svg").click(position={"x": 100, "y": 100})
    page.locator("[data-side=a] .map svg").click(position={"x": 100, "y": 100})
    assert state(page)["ref"] is None
    opened.context.close()


def test_a_method_without_a_noise_schedule_has_no_slider_for_its_noise(browser: Browser, page_project: Path) -> None:
    opened = OpenedPage(browser, page_project, "#score")
    settled(opened.page)
    expect(opened.page.locator(".slider:has(span:text-is('σ'))")).to_be_hidden()
    expect(opened.page.locator("button:text-is('Anneal σ')")).to_be_hidden()
    opened.page.locator("[data-side=b] .map svg").click(position={"x": 120, "y": 120})
    counts = "() => page.figure.view.movers.map(side => side.points.length)"
    assert opened.page.evaluate(counts) == [1, 1]
    expect(opened.page.locator("[data-side=b] .lines path")).to_have_count(1)
    opened.page.click("text=Drop 200 in the middle")
    assert opened.page.evaluate(counts) == [201, 201], "the button drops as many as it says"
    opened.page.locator("[data-side=b] .map svg").click(position={"x": 120, "y": 120})
    assert opened.page.evaluate(counts) == [401, 401], "a click takes none of many particles away"
    opened.context.close()


def test_learned_and_true_score_of_the_particles_have_the_same_noise_level(page_project: Path, particles: Page) -> None:
    show(particles, level=2)
    sigma = particles.evaluate("() => page.figure.view.sigma")
    learned = np.array(particles.evaluate("() => [...page.figure.view.movers[1].field.values]")).reshape(-1, 2)
    model = evaluated(page_project, "ncsn")
    expected = apply(lambda p: model.trained.score_at(p, sigma), model.nodes, model.device)[0]
    assert np.abs(learned - expected).max() < 1e-3 * np.abs(expected).max()
    variance = particles.evaluate("() => page.figure.view.movers[0].truth.covariances[0][0][0]")
    assert variance == pytest.approx(model.mixture.covariances[0, 0, 0] + sigma**2)


def test_the_spectrum_shows_the_metrics_and_maps_of_the_eigenfunctions(page_project: Path, opened: OpenedPage) -> None:
    page, measured = opened.page, files.read_json(page_project / artifacts.metrics("mog", "contrastive"))["spectrum"]
    page.evaluate("() => page.app.dispatch({ step: 'explore' })")
    show(page, view="spectrum", b="contrastive")
    page.wait_for_function("() => page.figure.view.functions && !page.app.waiting")
    readout = page.locator("#figure .below .readout")
    slide(page, "Eigenfunction", 3)
    expect(readout).to_contain_text(
        f"{measured['r2_3_untrained']['mean']:.3f} before training, {measured['r2_3']['mean']:.3f} after"
    )
    slide(page, "Eigenfunction", 1)
    expect(readout).to_contain_text("ψ1")
    truth = files.read_arrays(page_project / artifacts.SPECTRUM)
    data = truth["log_density"].ravel() > truth["log_density"].max() - 5
    np.testing.assert_allclose(values(page, "a")[data], truth["eigenfunctions"][1].ravel()[data], atol=0.1)
    show(page, b="ncsn")
    expect(readout).to_have_text("This method has no metrics of the spectrum.")


def test_the_profile_is_the_true_and_the_learned_energy_between_two_modes(page_project: Path, browser: Browser) -> None:
    opened = OpenedPage(browser, page_project, "#weights&from=0&to=1")
    page = opened.page
    settled(page)
    model = evaluated(page_project, "dsm")
    smoothed = model.mixture.smoothed(model.trained.sigma)
    low, high = (-smoothed.log_density(model.mixture.means[k][None])[0] for k in (0, 1))
    expect(page.locator("#figure .below .readout")).to_contain_text(
        f"minus that at mode 1: {high - low:.2f} nats for the truth".replace(": -", ": −")
    )
    disabled = page.locator(".choice:has-text('to mode') option").evaluate_all("all => all.map(one => one.disabled)")
    assert disabled == [True, False, False], "a line needs two modes"
    assert page.locator("#figure .chart [stroke='var(--method-dsm)']").count() == 1
    page.select_option(".choice:has-text('to mode') select", label="3")
    page.wait_for_function("() => page.app.state.to === 2")
    high = -smoothed.log_density(model.mixture.means[2][None])[0]
    expect(page.locator("#figure .below .readout")).to_contain_text(
        f"minus that at mode 1: {high - low:.2f} nats for the truth".replace(": -", ": −")
    )
    opened.context.close()


def test_noise_leads_to_the_largest_noise_level_and_back(opened: OpenedPage) -> None:
    page = opened.page
    page.evaluate("() => page.app.dispatch({ step: 'explore' })")
    show(page, view="bridge", a="ncsn", b="dsm")
    expect(page.locator("#figure .below .note").first).to_contain_text(
        "Denoising score matching has no scores at several noise levels"
    )
    levels = page.evaluate("() => page.figure.view.schedule('a').sigmas")
    slide(page, "Time", 2 * len(levels))
    expect(page.locator(".slider:has-text('Time') output")).to_have_text(f"removing it, σ = {levels[-1]:g}")
    frames = np.array(page.evaluate("() => page.figure.view.points('a')"))
    assert len(frames) == 2 * len(levels) + 1 and np.isfinite(frames).all()
    spread = frames[len(levels)].std(0)
    assert np.abs(spread / np.hypot(frames[0].std(0), levels[0]) - 1).max() < 0.1
    show(page, a="truth")
    expect(page.locator("#figure .below .note").first).to_contain_text("The truth and Denoising score matching have no scores")


def test_the_conditional_density_is_the_models_along_the_line(page_project: Path, browser: Browser) -> None:
    opened = OpenedPage(browser, page_project, "#hidden")
    page = opened.page
    settled(page)
    model = evaluated(page_project, "jepa_masked_density")
    for seen, axis in ((1, model.grid_y), (0, model.grid_x)):
        page.select_option(".choice:has-text('Visible') select", str(seen))
        slide(page, "at", 9)
        page.wait_for_function("() => page.figure.view.place === 9 && !page.app.waiting")
        readout = page.locator("#figure .below .readout").text_content() or ""
        mean = model.mixture.conditional_mean(1 - seen, axis[[9]])[0]
        assert (
            f"coordinate {axis[9]:.2f}: true mean {mean:.2f}; ".replace("-", "−") in readout and "point prediction" in readout
        )
        pairs = np.full((len(axis), 2), axis[9])
        pairs[:, 1 - seen] = model.grid_x if seen else model.grid_y
        visible = torch.tensor([1.0, 0.0] if seen == 0 else [0.0, 1.0])
        log = apply(lambda p, v=visible: model.trained.log_density(p, v.expand(p.shape)).unsqueeze(-1), pairs, model.device)
        found = page.evaluate(
            """([seen, count]) => {
              const { density } = page.app.get("jepa_masked_density").details.conditional;
              return [...page.part(density, seen)].slice(9 * count, 10 * count);
            }""",
            [seen, len(axis)],
        )
        assert np.allclose(found, np.exp(log[0, :, 0]), atol=1e-3)
    opened.context.close()


def test_embeddings_over_training_are_those_of_the_test_points(page_project: Path, opened: OpenedPage) -> None:
    page = opened.page
    page.evaluate("() => page.app.dispatch({ step: 'explore' })")
    show(page, view="collapse", a="contrastive", b="jepa_masked")
    model = evaluated(page_project, "contrastive")
    count = page.evaluate("() => page.app.domain.points.length")
    z = normalise(apply(model.trained.embed, model.test["x"][:count], model.device))[0]
    z -= z.mean(0)
    final = np.array(page.evaluate("() => [...page.part(page.app.get('contrastive').details.points, 2)]")).reshape(count, 2)
    axes, *_ = np.linalg.lstsq(z, final, rcond=None)
    assert np.abs(z @ axes - final).max() < 0.03, "a linear map of the embeddings"
    assert np.allclose(axes.T @ axes, np.eye(2), atol=0.1), "a projection"
    expect(page.locator(".cloud").first).to_contain_text("Contrastive joint embedding")
    expect(page.locator(".cloud figcaption").first).to_contain_text("seed 0, end of training")


def test_switches_of_the_ablation_show_the_studys_own_runs(opened: OpenedPage) -> None:
    page = opened.page
    page.evaluate("() => page.app.dispatch({ step: 'explore' })")
    show(page, view="collapse", b="contrastive")
    study = files.read_json(ROOT / "reports/studies/ablation.json")["cells"]
    readout = page.locator(".ablation .readout")
    for one in study:
        settings = one["settings"]
        show(
            page,
            predictor=settings["jepa_ema.predictor"],
            stop=settings["jepa_ema.stop_gradient"],
            ema=settings["jepa_ema.decay"] > 0,
        )
        spread = one["collapse.normalised_std"]
        expect(readout).to_contain_text(f"{spread['mean']:.3f} ± {spread['std']:.3f} over {settings['seeds']} seeds")
    show(page, predictor=True, stop=False, ema=True)
    expect(readout).to_contain_text("The study has no run of this combination")


def test_the_sandbox_trains_on_the_modes_that_the_visitor_moves(browser: Browser, page_project: Path) -> None:
    opened = OpenedPage(browser, page_project, "#sandbox")
    page = opened.page
    page.wait_for_selector(".grips circle")
    start = page.evaluate("() => page.app.domain.means[0]")
    page.locator(".grips circle").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("() => page.app.state.modes.length > 0")
    assert state(page)["modes"][:2] == [start[0] + 0.25, start[1]]
    page.mouse.move(*page.evaluate(TO_SCREEN, ["a", *state(page)["modes"][:2]]))
    page.mouse.down()
    page.mouse.move(*page.evaluate(TO_SCREEN, ["a", -6, -2]))
    page.mouse.up()
    assert np.allclose(state(page)["modes"][:2], [-6, -2], atol=0.3)
    page.click("#figure button:text-is('Train')")
    page.wait_for_function("() => (page.app.run?.out?.step ?? 0) >= 60", timeout=120_000)
    page.click("#figure button:text-is('Stop')")
    steps, losses = page.evaluate(
        "() => { const c = page.app.run.curve; return [c.map((p) => p.step), c.map((p) => p.loss)]; }"
    )
    assert steps == sorted(set(steps)) and np.isfinite(losses).all()
    # After 60 steps the energy is already lower where the points are than in a corner without any.
    learned, shown = (
        values(page, "b"),
        page.evaluate("() => [...page.app.domain.coarse.sample((x, y) => page.figure.view.truth.mixture.logDensity(x, y))]"),
    )
    assert learned[np.argmax(shown)] < learned[np.argmin(shown)]
    expect(page.locator("[data-side=b] .note")).to_contain_text("trained in this browser")
    page.locator(".grips circle").first.focus()
    page.keyboard.press("ArrowUp")
    expect(page.locator("[data-side=b] .note")).to_have_text("nothing is trained yet")
    page.select_option(".choice:has-text('Loss') select", "jepa_basic")
    page.click("#figure button:text-is('Train')")
    page.wait_for_function("() => page.app.run?.out?.loss === 'jepa_basic'", timeout=120_000)
    assert page.evaluate("() => page.figure.panels.b.shown.range") == [-1, 1]
    page.wait_for_function("() => page.app.run.out.step >= 30", timeout=120_000)
    first, *_, last = page.evaluate("() => page.app.run.curve.map((p) => p.spread)")
    assert last < first / 2, "the basic JEPA collapses"
    expect(page.locator("#figure .below .readout")).to_contain_text("spread of the embeddings")
    learned = page.evaluate("() => page.app.run.out.step")
    page.evaluate("() => page.app.dispatch({ step: 'verdicts' })")
    page.evaluate("() => page.app.dispatch({ step: 'sandbox' })")
    page.wait_for_function("learned => page.app.run.out.step > learned", arg=learned, timeout=120_000)
    expect(page.locator("[data-side=b] .note")).to_contain_text("trained in this browser")
    assert opened.messages == []
    opened.context.close()
