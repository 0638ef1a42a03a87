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
        page = chromium.new_page(viewport={"width": 1200, "height": 900}, color_scheme="light")
        page.goto(PAGE.absolute().as_uri())
        page.wait_for_selector("#reconstructions[data-ready], #embeddings[data-ready]")
        page.evaluate("() => page.mixture.drag(-5, 5)")
        page.wait_for_timeout(500)
        _write("page-maps", page.locator("#mixture > .mixture").screenshot())
        name = page.evaluate("() => [...page.mixture.learned.values()].find((one) => one.content.noise_schedule)?.name")
        if name:
            page.click(f"button[data-method={name}]")
            page.click("text=Drop 1,000 everywhere")
            page.click("text=Anneal σ")
            page.wait_for_timeout(COOLED_MS)
            _write("page-particles", page.locator(".particles").screenshot())
        mistake = """() => {
          const { embeddings } = page, labels = numbers(embeddings.domain.labels);
          const taken = numbers(embeddings.content.predicted);
          embeddings.show(labels.findIndex((label, i) => label !== taken[i]));
        }"""
        page.evaluate(mistake)
        _write("page-digits", page.locator("#embeddings .embeddings").screenshot())


def _write(name: str, png: bytes) -> None:
    picture = (
        Image.open(io.BytesIO(png)).convert("RGB").quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    )
    picture.save(FOLDER / f"{name}.png", optimize=True)


if __name__ == "__main__":
    end(lambda _: take())
