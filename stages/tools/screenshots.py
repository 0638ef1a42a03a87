"""`make screenshots`: take the book's pictures of the page.

    python -m stages.tools.screenshots

Opens reports/index.html in the system's Chromium and writes page-maps.png, page-particles.png and page-digits.png to docs/. It
also copies some animations to docs/, since git ignores the originals. It requires the packages of requirements-dev.txt. The
particles move at random, so their picture differs each time.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

from PIL import Image

from stages.core.command import end
from stages.core.errors import UserError
from stages.pipeline import artifacts
from stages.tools.browser import find

PAGE = artifacts.PAGE
FOLDER = Path("docs")
ANIMATIONS = {
    "walk-contrastive": "mog/contrastive/walk.gif",
    "walk-dsm": "mog/dsm/walk.gif",
    "walk-ncsn": "mog/ncsn/walk.gif",
    "training-digits": "mnist/jepa_ema/pca.gif",
    "interpolation": "mnist/jepa_ema/interpolation.gif",
}
"""Animations that are copied, as name in docs/: path in reports/animations."""
DRAWN = "() => page.app.shown.every((name) => page.app.get(name)?.details) && !page.app.waiting"
"""Script: whether the figure shows all details of its methods."""
SCHEDULED = """async () => {
  for (const name of page.app.methods.keys()) {
    const { details } = page.app.learned.get(name) ?? {};
    if ((details ?? (await page.app.learned.get(name).load())).noise_schedule) return name;
  }
}"""
"""Script: the first method with a noise schedule."""
MISTAKE = """() => {
  const { content, images } = page.figure.view, labels = page.numbers(images.labels), found = page.numbers(content.predicted);
  page.app.set({ image: labels.findIndex((label, i) => label !== found[i]) });
}"""
"""Script that selects the first misclassified image."""
COOLED_MS = 9000
"""Milliseconds until σ has decreased to its minimum and the particles have settled."""


def take() -> None:
    """Open the page, bring each part into the state to be shown, and save its picture.

    Raises:
        UserError: the page or a browser is missing.
    """
    browser = find()
    if not browser:
        raise UserError("no browser found: chromium is not installed")
    for source in (PAGE, *(artifacts.ANIMATIONS / path for path in ANIMATIONS.values())):
        if not source.exists():
            raise UserError(f"{source} is missing: `dvc repro` makes it, `dvc pull` brings it")
    for name, path in ANIMATIONS.items():
        shutil.copyfile(artifacts.ANIMATIONS / path, FOLDER / f"{name}.gif")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
        page.goto(f"{PAGE.absolute().as_uri()}#explore&ref=-5,5")
        page.wait_for_selector("#controls[data-ready=true]")
        page.wait_for_function(DRAWN)
        _write("page-maps", page.screenshot())
        scheduled = page.evaluate(SCHEDULED)
        if scheduled:
            page.goto(f"{PAGE.absolute().as_uri()}#explore&view=particles&b={scheduled}")
            page.wait_for_function(DRAWN)
            page.click("text=Drop 1,000 everywhere")
            page.click("text=Anneal σ")
            page.wait_for_timeout(COOLED_MS)
            _write("page-particles", page.locator("#figure").screenshot())
        page.goto(f"{PAGE.absolute().as_uri()}#embeddings")
        page.wait_for_function("() => page.figure.view.scatter?.visible && !page.app.waiting")
        page.evaluate(MISTAKE)
        page.wait_for_selector(".near figure")
        _write("page-digits", page.screenshot())


def _write(name: str, png: bytes) -> None:
    picture = (
        Image.open(io.BytesIO(png)).convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    )
    picture.save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    end(lambda _: take())
