"""A run removes the unmodified outputs of stages that are no longer in the pipeline, so that no stage is stale in a clone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.dag.leftovers import leftovers, remove
from stages.dag.lock import file_md5
from tests import small

REMOVALS: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "mixture": ({"methods": ["dsm"]}, "mog/contrastive", ["reports/fields/contrastive.npz"]),
    "images": ({"mnist": {"methods": ["jepa_ema"]}}, "mnist/contrastive", ["reports/embeddings/mnist/contrastive.npz"]),
}
"""For each domain: params without one of its methods, DOMAIN/METHOD of that method, and some of its outputs."""
REPRO = ("dvc", "repro")
CASES = [
    (small.PARALLEL, "mixture"),
    pytest.param(small.PARALLEL, "images", marks=pytest.mark.integration),
    pytest.param(REPRO, "mixture", marks=pytest.mark.integration),
    pytest.param(REPRO, "images", marks=pytest.mark.integration),
]


@pytest.mark.parametrize(("command", "domain"), CASES)
def test_removed_method_leaves_no_outputs_and_no_stale_stage(copied: Path, tmp_path: Path, command: Any, domain: str) -> None:
    changes, name, paths = REMOVALS[domain]
    folder, method = name.split("/")
    assert all((copied / path).exists() for path in paths)
    small.change_params(copied, changes)
    small.run(copied, *command)
    written = [path.relative_to(copied) for top in ("models", "reports") for path in (copied / top).rglob("*")]
    own = [path for path in written if path.name.split(".")[0] == method and folder in path.parts]
    assert not own and not any((copied / path).exists() for path in paths)
    small.run(copied, "git", "add", "--all")
    small.run(copied, "git", "commit", "--quiet", "--message=without")
    clone = tmp_path / "clone"
    small.run(tmp_path, "git", "clone", "--quiet", str(copied), str(clone))
    small.run(clone, "dvc", "config", "--local", "cache.dir", str(copied / ".dvc/cache"))
    small.run(clone, "dvc", "checkout")
    assert "up to date" in small.run(clone, "dvc", "status")


def test_path_that_a_current_stage_writes_is_no_leftover(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(copied)
    assert not list(leftovers())
    lock = yaml.safe_load(Path("dvc.lock").read_text())
    moved = lock["stages"].pop("mog_evaluate@dsm")
    lock["stages"]["mog_measure@dsm"] = moved
    lock["stages"]["mnist_tables"] = {
        "cmd": "x",
        "outs": [{"path": "reports/metrics"}, {"path": "reports/metrics/mnist/a.json"}],
    }
    lock["stages"]["gone"] = {"cmd": "x", "outs": [{"path": "reports/gone.md"}, {"path": "reports/was there"}]}
    Path("dvc.lock").write_text(yaml.safe_dump(lock))
    Path("reports/gone.md").write_text("old")
    assert [path for path, _ in leftovers()] == [Path("reports/gone.md")]
    Path("dvc.lock").write_text("stages: {mog_data: {cmd")
    with pytest.raises(Exception, match="not readable"):
        list(leftovers())


def add_leftover(folder: Path, out: str, content: str) -> Path:
    """Write a file, and record it in dvc.lock as the output of a stage that dvc.yaml does not define."""
    path = folder / out
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    lock["stages"]["gone"] = {"cmd": "x", "outs": [{"path": out, "md5": file_md5(path)}]}
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    return path


@pytest.mark.hostile
def test_only_unmodified_leftovers_are_removed_and_only_during_a_reproduction(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copied)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    path = add_leftover(copied, "reports/metrics/mog/gone.json", "{}")
    remove()
    small.run(copied, "python", "-m", "stages.track")
    assert path.exists()
    path.write_text('{"mine": 1}')
    remove(reproducing=True)
    assert path.exists()
    assert (
        capsys.readouterr().out == "reports/metrics/mog/gone.json no longer belongs to a stage; it was modified and is kept\n"
    )
    path.write_text("{}")
    monkeypatch.setenv("DVC_STAGE", "compare")
    remove()
    assert not path.exists()


@pytest.mark.hostile
@pytest.mark.parametrize("out", ["../outside/file", "link/file"])
def test_file_outside_the_project_is_no_leftover(copied: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    monkeypatch.chdir(copied)
    (copied.parent / "outside").mkdir()
    (copied / "link").symlink_to("../outside")
    path = add_leftover(copied, out, "mine")
    remove(reproducing=True)
    assert path.read_text() == "mine"
