"""The proof of reproduction: what it compares, and that it fails where bytes differ."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from stages.config import params
from stages.core.errors import UserError
from stages.core.paths import ROOT
from stages.dag import machine
from stages.dag.lock import entries, file_md5, locked_stages, outputs
from stages.tools.reproduce import Report, differing, other_order
from tests import small

TEXT = """schema: '2.0'
stages:
  one:
    cmd: python -m stages.one
    params:
      params.yaml:
        seed: 0
    outs:
    - path: a.json
      hash: md5
      md5: aaaaaaaaaa
      size: 1
    - path: b.json
      hash: md5
      md5: bbbbbbbbbb
      size: 1
  two:
    cmd: python -m stages.two
"""


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    path = tmp_path / "dvc.lock"
    path.write_text(TEXT)
    return path


def test_the_outputs_of_a_lock(lock: Path) -> None:
    assert outputs(entries(lock)) == {"one": {"a.json": "aaaaaaaaaa", "b.json": "bbbbbbbbbb"}, "two": {}}


def test_a_lock_that_was_cut_off_anywhere_is_read_or_refused_in_a_line(lock: Path) -> None:
    whole, found, refused = outputs(entries(lock)), [], []
    for end in range(len(TEXT)):
        lock.write_text(TEXT[:end])
        try:
            found.append(outputs(entries(lock)))
        except UserError as error:
            refused.append(str(error))
    assert refused and all(line.startswith(f"{lock}: ") and "\n" not in line for line in refused)
    assert {} in found and {"one": {"a.json": ""}} in found and {"one": whole["one"]} in found
    for path, digest in ((path, digest) for digests in found for path, digest in digests.get("one", {}).items()):
        assert whole["one"].get(path, digest).startswith(digest)
    lock.unlink()
    assert entries(lock) == {}


def test_what_differs_is_named_with_both_digests(lock: Path) -> None:
    there = outputs(entries(lock))
    assert differing(there, there) == (2, [])
    there["one"]["cut.json"] = ""
    here = {"one": {"a.json": "aaaaaaaaaa", "b.json": "cccccccccc", "cut.json": "e", "new.json": "d"}, "three": {}}
    assert differing(there, here) == (
        1,
        [
            ("one: b.json", "bbbbbbbb -> cccccccc", True),
            ("one: cut.json", "none -> e", False),
            ("one: new.json", "none -> d", False),
            ("two", "only one of them has the stage", False),
            ("three", "only one of them has the stage", False),
        ],
    )


def test_the_other_order_is_legal_and_another_one() -> None:
    graph = nx.DiGraph(
        [("train@a", "data"), ("train@b", "data"), ("table", "train@a"), ("table", "train@b"), ("page", "table")]
    )
    assert other_order(graph) == ["data", "train@b", "train@a", "table", "page"]


def test_a_report_says_whether_it_is_proved() -> None:
    assert "**Reproduced.** Two clones" in Report("Two clones", 3, []).markdown()
    allowed = Report("Two clones", 3, [("one: a", "x -> y", True)]).markdown()
    assert "**Reproduced.**" in allowed and "| ok | one: a | x -> y |" in allowed
    many = Report("Two clones", 3, [*(("one: a", "x -> y", True) for _ in range(50)), ("figure", "1 -> 2", False)])
    assert many.markdown().count("\n| ok |") == 50 and "more in" not in many.markdown()
    assert many.markdown(40).count("\n| ok |") == 39 and "| **no** | figure |" in many.markdown(40)
    assert "… and 11 more in reports/reproduction.md." in many.markdown(40)
    failed = Report("Two clones", 3, [("one: a", "x -> y", True), ("one: b", "x -> y", False)], ["took 3 s"]).markdown()
    assert "**Not reproduced.**" in failed and "- took 3 s\n" in failed and "2 differences, 1 of them not allowed" in failed
    assert failed.index("**no** | one: b") < failed.index("ok | one: a")
    assert "**Not reproduced.**" in Report("Nothing", 0, []).markdown()


def test_the_facts_of_a_machine_are_told_where_they_differ() -> None:
    here = machine.facts(params.load(ROOT / "params.yaml"))
    assert {"system", "device", "torch instructions", "numpy instructions", "linear algebra", "python", "torch"} <= set(here)
    assert all(value and isinstance(value, str) for value in here.values())
    assert machine.differences(here, here) == []
    there = {**here, "torch instructions": "AVX9", "MKL_CBWR": "AVX2"}
    assert machine.differences(there, here) == [
        f"torch instructions: AVX9 there, {here['torch instructions']} here",
        "MKL_CBWR: AVX2 there, not set here",
    ]


def forge(folder: Path, metrics: dict[str, Any], message: str, **facts: str) -> None:
    """Commit other metrics of dsm as if these were the results of the pipeline, made on a machine of which these facts hold."""
    path, lock, noted = (folder / name for name in ("reports/metrics/mog/dsm.json", "dvc.lock", machine.FILE))
    before = file_md5(path)
    path.write_text(json.dumps(metrics))
    lock.write_text(lock.read_text().replace(before, file_md5(path)))
    with contextlib.chdir(folder):
        record = machine.record(locked_stages(params.read()), json.loads(noted.read_text())["facts"] | facts)
    noted.write_text(json.dumps(record))
    small.run(folder, "git", "commit", "--quiet", "--all", f"--message={message}")


@pytest.mark.integration
def test_the_small_pipeline_is_reproduced_in_two_clones(copied: Path) -> None:
    output = small.run(copied, "python", "-m", "stages.tools.reproduce", "--quick")
    assert "**Reproduced.** The small pipeline" in output and "0 differences" in output
    assert (copied / "reports/reproduction.md").read_text() in output


@pytest.mark.integration
def test_what_is_not_reproduced_is_named(copied: Path) -> None:
    path, before = copied / "stages/results/tables.py", '"| " + " | ".join(header)'
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, f'f"{{hash(header[0])}}" + {before}'))
    small.run(copied, "git", "commit", "--quiet", "--all", "--message=differs", PYTHONHASHSEED="0")
    output = small.run(copied, "python", "-m", "stages.tools.reproduce", "--quick", status=1, PYTHONHASHSEED="0")
    assert "**Not reproduced.**" in output and "| **no** | compare: reports/table.md |" in output
    assert output.splitlines()[-1] == "error: not reproduced: reports/reproduction.md lists the differences"


@pytest.mark.integration
def test_the_committed_results_are_reproduced_and_on_this_machine_to_the_last_byte(copied: Path) -> None:
    output = small.run(copied, "python", "-m", "stages.tools.reproduce")
    assert "**Reproduced.** The whole pipeline" in output and "all outputs must be identical" in output
    metrics = json.loads((copied / "reports/metrics/mog/dsm.json").read_text())
    metrics["score"]["relative_fisher_error"]["mean"] *= 1.1
    forge(copied, metrics, "edited")
    output = small.run(copied, "python", "-m", "stages.tools.reproduce", status=1)
    assert "| **no** | mog_evaluate@dsm: reports/metrics/mog/dsm.json |" in output
    assert "| **no** | reports/metrics/mog/dsm.json | differs from the committed file |" in output


@pytest.mark.integration
def test_on_another_machine_bytes_may_differ_and_figures_by_what_chance_explains(copied: Path) -> None:
    elsewhere = {"torch instructions": "of another machine"}
    metrics = json.loads((copied / "reports/metrics/mog/dsm.json").read_text())
    figure = metrics["score"]["relative_fisher_error"]
    figure["mean"] += figure["std"]
    forge(copied, metrics, "elsewhere", **elsewhere)
    output = small.run(copied, "python", "-m", "stages.tools.reproduce")
    assert "torch instructions: of another machine there" in output
    assert "| ok | dsm:score.relative_fisher_error |" in output
    figure["mean"] *= 100
    forge(copied, metrics, "wrong", **elsewhere)
    output = small.run(copied, "python", "-m", "stages.tools.reproduce", status=1)
    assert "| **no** | dsm:score.relative_fisher_error |" in output


def test_what_cannot_be_compared_is_one_line(copied: Path) -> None:
    (copied / "somewhere").write_text("")
    output = small.run(copied, "python", "-m", "stages.tools.reproduce", "--keep", "somewhere", status=1)
    assert output == "error: somewhere exists and is not an empty folder\n"
    machine_file = copied / "reports/machine.json"
    recorded = json.loads(machine_file.read_text())
    machine_file.write_text(json.dumps({**recorded, "outputs": "of something else"}))
    small.run(copied, "git", "commit", "--quiet", "--all", "--message=another machine's")
    output = small.run(copied, "python", "-m", "stages.tools.reproduce", status=1)
    assert output.startswith("error: reports/machine.json does not belong to the results in dvc.lock")
    small.run(copied, "git", "rm", "--quiet", "dvc.lock")
    small.run(copied, "git", "commit", "--quiet", "--all", "--message=no results")
    output = small.run(copied, "python", "-m", "stages.tools.reproduce", status=1)
    assert output == "error: nothing to compare with: there is no dvc.lock in HEAD\n"


@pytest.mark.integration
def test_a_run_that_fails_leaves_its_log_and_no_older_report(copied: Path) -> None:
    (copied / "reports/reproduction.md").write_text("**Reproduced.** long ago")
    small.change_params(copied, {"dsm": {"train": {"learning_rate": 1e30}}})
    small.run(copied, "git", "commit", "--quiet", "--all", "--message=diverges")
    output = small.run(copied, "python", "-m", "stages.tools.reproduce", status=1)
    assert output.startswith("error: not reproduced: the run failed: error: dsm: the loss is not finite")
    assert not (copied / "reports/reproduction.md").exists()
    assert "Running stage" in (copied / "reports/reproduction.log").read_text()
