"""What a stage made that the pipeline no longer has is gone after the next run, and nothing is stale in a clone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.dag.leftovers import leftovers, remove
from stages.dag.lock import file_md5
from tests import small

WITHOUT: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "on the mixture": ({"methods": ["dsm"]}, "mog/contrastive", ["reports/fields/contrastive.npz"]),
    "on the images": ({"mnist": {"methods": ["jepa_ema"]}}, "mnist/contrastive", ["reports/embeddings/mnist/contrastive.npz"]),
}


REPRO = ("dvc", "repro")
CASES = [
    (small.PARALLEL, "on the mixture"),
    pytest.param(small.PARALLEL, "on the images", marks=pytest.mark.integration),
    pytest.param(REPRO, "on the mixture", marks=pytest.mark.integration),
    pytest.param(REPRO, "on the images", marks=pytest.mark.integration),
]


@pytest.mark.parametrize(("command", "domain"), CASES)
def test_a_method_that_was_taken_out_leaves_nothing_behind(copied: Path, tmp_path: Path, command: Any, domain: str) -> None:
    changes, name, paths = WITHOUT[domain]
    folder, method = name.split("/")
    assert all((copied / path).exists() for path in paths)
    small.change_params(copied, changes)
    small.run(copied, *command)
    made = [path.relative_to(copied) for top in ("models", "reports") for path in (copied / top).rglob("*")]
    own = [path for path in made if path.name.split(".")[0] == method and folder in path.parts]
    assert not own and not any((copied / path).exists() for path in paths)
    small.run(copied, "git", "add", "--all")
    small.run(copied, "git", "commit", "--quiet", "--message=without")
    clone = tmp_path / "clone"
    small.run(tmp_path, "git", "clone", "--quiet", str(copied), str(clone))
    small.run(clone, "dvc", "config", "--local", "cache.dir", str(copied / ".dvc/cache"))
    small.run(clone, "dvc", "checkout")
    assert "up to date" in small.run(clone, "dvc", "status")


def test_what_another_stage_writes_now_is_no_leftover(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def leave(folder: Path, out: str, content: str, *, digest: str | None = None) -> Path:
    """A file that dvc.lock has as the output of a stage that the pipeline lacks."""
    path = folder / out
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    lock = yaml.safe_load((folder / "dvc.lock").read_text())
    lock["stages"]["gone"] = {"cmd": "x", "outs": [{"path": out, "md5": digest or file_md5(path)}]}
    (folder / "dvc.lock").write_text(yaml.safe_dump(lock))
    return path


@pytest.mark.hostile
def test_only_what_is_as_it_was_made_goes_and_only_while_the_pipeline_is_reproduced(
    copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(copied)
    monkeypatch.delenv("DVC_STAGE", raising=False)
    path = leave(copied, "reports/metrics/mog/gone.json", "{}")
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
@pytest.mark.parametrize("out", ["../victim/theirs", "linked/theirs"])
def test_nothing_outside_of_the_project_is_a_leftover(copied: Path, monkeypatch: pytest.MonkeyPatch, out: str) -> None:
    monkeypatch.chdir(copied)
    (copied.parent / "victim").mkdir()
    (copied / "linked").symlink_to("../victim")
    path = leave(copied, out, "theirs")
    remove(reproducing=True)
    assert path.read_text() == "theirs"
