"""The scripts of the interactive page: the committed bundle is the build of the sources, and their own tests."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from stages.core.paths import ROOT

PAGE = ROOT / "stages/page"
BUNDLE = (PAGE / "page.js").read_text(encoding="utf-8")


def test_the_bundle_is_the_build_of_the_sources() -> None:
    """The digest is that of build.js."""
    sources = [path.relative_to(PAGE).as_posix() for path in (PAGE / "src").rglob("*") if path.is_file()]
    digest = hashlib.sha256()
    for name in sorted([*sources, "build.js", "package-lock.json", "story.yaml"]):
        digest.update(f"{name}\n".encode())
        digest.update((PAGE / name).read_bytes())
    (built,) = re.findall(r"// sources (\w+)\n\Z", BUNDLE)
    assert built == digest.hexdigest(), "stale: make page"


def test_the_bundle_can_stand_inside_a_page() -> None:
    assert "</script" not in BUNDLE and "<!--" not in BUNDLE


def test_the_bundle_is_built_again_byte_for_byte(tmp_path: Path) -> None:
    if not (PAGE / "node_modules/esbuild").is_dir():
        pytest.skip("esbuild is not installed: npm ci in stages/page")
    again = subprocess.run(["node", "build.js", str(tmp_path)], cwd=PAGE, capture_output=True, text=True, check=False)
    assert again.returncode == 0, again.stderr
    for name in ("page.js", "equations.json", "math.woff2", "LICENSES"):
        assert (tmp_path / name).read_bytes() == (PAGE / name).read_bytes(), name


def test_the_pure_functions_pass_their_tests() -> None:
    node = shutil.which("node")
    if not node:
        pytest.skip("Node.js is not installed")
    done = subprocess.run([node, "--test", "test/"], cwd=PAGE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
