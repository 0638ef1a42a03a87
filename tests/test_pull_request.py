"""`make pr-report`: the changes of a branch, as Markdown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from stages.tools.pull_request import changed_animations, picture, verdicts
from tests import small


@pytest.mark.integration
def test_the_report_lists_only_the_changes_of_the_branch(copied: Path) -> None:
    assert "\nNo verdict changed.\n" in small.run(copied, "python", "-m", "stages.tools.pull_request", "HEAD")
    small.run(copied, "git", "checkout", "--quiet", "-b", "change")
    small.run(copied, "dvc", "exp", "run", "--set-param", "dsm.sigma=0.3")
    small.run(copied, "git", "commit", "--quiet", "--all", "--message=sharper")
    small.run(copied, "git", "checkout", "--quiet", "main")
    (copied / "params.yaml").write_text((copied / "params.yaml").read_text() + "# changed on main\n")
    small.run(copied, "git", "commit", "--quiet", "--all", "--message=elsewhere")
    small.run(copied, "git", "checkout", "--quiet", "change")
    report = small.run(copied, "python", "-m", "stages.tools.pull_request", "main")
    sections = dict(part.split("\n", 1) for part in report.split("\n## ")[1:])
    assert set(sections) == {"Metrics", "Params", "Verdicts", "Pictures"}
    assert "| params.yaml | dsm.sigma |" in sections["Params"] and "changed on main" not in report
    assert "mog.dsm.score.relative_fisher_error" in sections["Metrics"] and "contrastive" not in sections["Metrics"]
    assert "changed: [reports/figures/mog/dsm/landscape.png](reports/figures/mog/dsm/landscape.png)" in sections["Pictures"]
    assert "changed: reports/animations/mog/dsm (not in git: `dvc repro` makes it)" in sections["Pictures"]
    assert "contrastive" not in sections["Pictures"] and "animations/mnist" not in sections["Pictures"]
    # Before the first run of the pipeline, there were neither pictures nor animations.
    report = small.run(copied, "python", "-m", "stages.tools.pull_request", "main~2")
    assert "new: [reports/figures/gallery.png]" in report and "new: reports/animations/mog/dsm (not in git" in report


def test_animations_are_compared_by_their_digests_in_dvc_lock() -> None:
    def lock(**digests: str) -> dict[str, Any]:
        outs = [{"path": f"reports/animations/mog/{name}", "md5": digest} for name, digest in digests.items()]
        return {"mog_figures": {"outs": [*outs, {"path": "models/mog/a.json", "md5": str(len(digests))}]}}

    changes = list(changed_animations(lock(a="1", b="2", c="3"), lock(a="1", c="4", d="5") | {"new": {}}))
    assert changes == [
        f"{state}: reports/animations/mog/{name} (not in git: `dvc repro` makes it)"
        for state, name in (("gone", "b"), ("changed", "c"), ("new", "d"))
    ]
    assert not list(changed_animations({}, {}))


def test_an_unknown_base_ends_in_a_one_line_error(reproduced: Path) -> None:
    output = small.run(reproduced, "python", "-m", "stages.tools.pull_request", "nowhere", status=1)
    assert output.count("\n") == 1 and output.startswith("error: git merge-base nowhere: ")


def test_on_github_a_picture_is_embedded_from_the_jobs_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in {"SERVER_URL": "https://example.org", "REPOSITORY": "a/b", "SHA": "0123"}.items():
        monkeypatch.setenv(f"GITHUB_{key}", value)
    assert "![reports/x.png](https://example.org/a/b/raw/0123/reports/x.png)" in picture("reports/x.png")
    assert picture("reports/x.png", gone=True) == "reports/x.png"
    monkeypatch.delenv("GITHUB_SHA")
    assert picture("reports/x.png") == "[reports/x.png](reports/x.png)"


def test_verdicts_are_compared_by_method_and_claim() -> None:
    old = {"a": {"is_good": {"verdict": "holds"}, "same": {"verdict": "fails"}}}
    new = {"a": {"is_good": {"verdict": "fails"}, "same": {"verdict": "fails"}}, "b": {"x": {"verdict": "holds"}}}
    table = verdicts(json.loads(json.dumps(old)), new)
    assert "| a | is good | holds | fails |" in table and "| b | x | – | holds |" in table and "same" not in table
    assert verdicts(old, old) == "No verdict changed.\n"
