"""The browser of this machine, in which the page is tested, measured and photographed."""

from __future__ import annotations

import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")


def find() -> str | None:
    """The path of a browser that Playwright can drive, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)
