"""The pinned packages: each within its range, with its digests, and the same in all three files."""

from __future__ import annotations

import re

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from stages.core.paths import ROOT
from stages.dag.requirements import pinned

NAMES = ("requirements", "requirements-cluster", "requirements-dev")


def pins(name: str) -> dict[str, str]:
    return dict(pin.split("==") for pin in pinned(ROOT / f"{name}.txt"))


@pytest.mark.parametrize("name", NAMES)
def test_every_range_has_a_pin_within_it(name: str) -> None:
    lines = (ROOT / f"{name}.in").read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(line.split("#")[0]) for line in lines if line and not line.startswith(("#", "-r"))]
    assert wanted
    for one in wanted:
        version = pins(name)[canonicalize_name(one.name)]
        assert one.specifier.contains(version, prereleases=True), f"{one} is pinned to {version}: make requirements"


@pytest.mark.parametrize("name", NAMES)
def test_every_pin_has_digests(name: str) -> None:
    text = (ROOT / f"{name}.txt").read_text(encoding="utf-8")
    entries = [entry for entry in re.split(r"(?m)^(?=[a-z0-9])", text) if "==" in entry.split("\n", 1)[0]]
    assert len(entries) == len(pinned(ROOT / f"{name}.txt"))
    assert all("--hash=sha256:" in entry for entry in entries)
    assert "://" not in text


def test_the_files_agree() -> None:
    base, cluster, dev = map(pins, NAMES)
    assert base.items() <= cluster.items() <= dev.items()
