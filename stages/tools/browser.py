"""The system's browser, in which the page is tested, measured and photographed."""

from __future__ import annotations

import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")
"""Executables, in order of preference."""


def find() -> str | None:
    """The path of a browser that Playwright can drive; None if none is installed."""
    return next(filter(None, map(shutil.which, NAMES)), None)
