"""Pinned packages: within their ranges, with digests, and consistent across the three requirements files."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stages.core.paths import ROOT
from stages.dag.requirements import pinned

NAMES = ("requirements", "requirements-cluster", "requirements-dev")
"""Requirements files, each with the packages of those before it."""


def pins(name: str) -> dict[str, str]:
    """The pinned version of each package."""
    return dict(pin.split("==") for pin in pinned(ROOT / f"{name}.txt"))


@pytest.mark.parametrize("name", [*NAMES, "requirements-docs"])
def test_every_requirement_is_pinned_within_its_range(name: str) -> None:
    lines = (ROOT / f"{name}.in").read_text(encoding="utf-8").splitlines()
    required = [Requirement(line.split("#")[0]) for line in lines if line and not line.startswith(("#", "-r"))]
    assert required
    for requirement in required:
        version = pins(name)[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{requirement} is pinned to {version}: make requirements"
        )


@pytest.mark.parametrize("name", [*NAMES, "requirements-docs"])
def test_every_pin_has_digests(name: str) -> None:
    text = (ROOT / f"{name}.txt").read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"(?m)^(?=[a-z0-9])", text) if "==" in entry.split("\n", 1)[0]]
    assert len(entries) == len(pinned(ROOT / f"{name}.txt"))
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text


def test_packages_of_the_book_agree_with_those_of_the_pipeline() -> None:
    assert pins("requirements").items() <= pins("requirements-docs").items()


def test_larger_sets_of_requirements_contain_the_pins_of_smaller_ones() -> None:
    base, cluster, dev = map(pins, NAMES)
    assert base.items() <= cluster.items() <= dev.items()
