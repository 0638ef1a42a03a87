"""Reproduction of the committed results: comparison of outputs, reports, and runs of clones."""

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
    """A lock file with two stages, the second without outputs."""
    path = tmp_path / "dvc.lock"
    path.write_text(TEXT)
    return path


def test_outputs_reads_the_digests_of_a_lock_file(lock: Path) -> None:
    assert outputs(entries(lock)) == {"one": {"a.json": "aaaaaaaaaa", "b.json": "bbbbbbbbbb"}, "two": {}}


def test_a_truncated_lock_file_is_read_or_rejected_in_one_line(lock: Path) -> None:
    whole, found, messages = outputs(entries(lock)), [], []
    for end in range(len(TEXT)):
        lock.write_text(TEXT[:end])
        try:
            found.append(outputs(entries(lock)))
        except UserError as error:
            messages.append(str(error))
    assert messages and all(line.startswith(f"{lock}: ") and "\n" not in line for line in messages)
    assert {} in found and {"one": {"a.json": ""}} in found and {"one": whole["one"]} in found
    for path, digest in ((path, digest) for digests in found for path, digest in digests.get("one", {}).items()):
        assert whole["one"].get(path, digest).startswith(digest)
    lock.unlink()
    assert entries(lock) == {}


def test_differing_outputs_are_listed_with_both_digests(lock: Path) -> None:
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


def test_the_other_order_is_a_different_topological_order() -> None:
    graph = nx.DiGraph(
        [("train@a", "data"), ("train@b", "data"), ("table", "train@a"), ("table", "train@b"), ("page", "table")]
    )
    assert other_order(graph) == ["data", "train@b", "train@a", "table", "page"]


def test_a_report_has_the_verdict_and_lists_forbidden_differences_first() -> None:
    assert "**Reproduced.** Two clones" in Report("Two clones", 3, []).markdown()
    allowed = Report("Two clones", 3, [("one: a", "x -> y", True)]).markdown()
    assert "**Reproduced.**" in allowed and "| ok | one: a | x -> y |" in allowed
    many = Report("Two clones", 3, [*(("one: a", "x -> y", True) for _ in range(50)), ("metric", "1 -> 2", False)])
    assert many.markdown().count("\n| ok |") == 50 and "more in" not in many.markdown()
    assert many.markdown(40).count("\n| ok |") == 39 and "| **no** | metric |" in many.markdown(40)
    assert "… and 11 more in reports/reproduction.md." in many.markdown(40)
    failed = Report("Two clones", 3, [("one: a", "x -> y", True), ("one: b", "x -> y", False)], ["took 3 s"]).markdown()
    assert "**Not reproduced.**" in failed and "- took 3 s\n" in failed and "2 differences, 1 of them not allowed" in failed
    assert failed.index("**no** | one: b") < failed.index("ok | one: a")
    assert "**Not reproduced.**" in Report("Nothing", 0, []).markdown()


def test_differing_machine_facts_are_listed() -> None:
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
    """Commit changed metrics of dsm as if the pipeline had computed them on a machine with these facts.

    Args:
        folder: the clone.
        metrics: the new content of the metrics file of dsm.
        message: of the commit.
        facts: facts that replace those of this machine.
    """
    path, lock, recorded = (folder / name for name in ("reports/metrics/mog/dsm.json", "dvc.lock", machine.FILE))
    before = file_md5(path)
    path.write_text(json.dumps(metrics))
    lock.write_text(lock.read_text().replace(before, file_md5(path)))
    with contextlib.chdir(folder):
        record = machine.record(locked_stages(), json.loads(recorded.read_text())["facts"] | facts)
    recorded.write_text(json.dumps(record))
    small.run(folder, "git", "commit", "--quiet", "--all", f"--message={message}")


@pytest.mark.integration
def test_two_clones_of_the_small_pipeline_give_identical_outputs(copied: Path) -> None:
    output = small.run(copied, "python", "-m", "stages.tools.reproduce", "--quick")
    assert "**Reproduced.** The small pipeline" in output and "0 differences" in output
    assert (copied / "reports/reproduction.md").read_text() in output


@pytest.mark.integration
def test_an_output_that_depends_on_the_hash_seed_is_reported(copied: Path) -> None:
    path, before = copied / "stages/results/tables.py", '"| " + " | ".join(header)'
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, f'f"{{hash(header[0])}}" + {before}'))
    small.run(copied, "git", "commit", "--quiet", "--all", "--message=differs", PYTHONHASHSEED="0")
    output = small.run(copied, "python", "-m", "stages.tools.reproduce", "--quick", status=1, PYTHONHASHSEED="0")
    assert "**Not reproduced.**" in output and "| **no** | compare: reports/table.md |" in output
    assert output.splitlines()[-1] == "error: not reproduced: reports/reproduction.md lists the differences"


@pytest.mark.integration
def test_committed_results_are_reproduced_exactly_on_the_same_machine(copied: Path) -> None:
    output = small.run(copied, "python", "-m", "stages.tools.reproduce")
    assert "**Reproduced.** The whole pipeline" in output and "all outputs must be identical" in output
    metrics = json.loads((copied / "reports/metrics/mog/dsm.json").read_text())
    metrics["score"]["relative_fisher_error"]["mean"] *= 1.1
    forge(copied, metrics, "edited")
    output = small.run(copied, "python", "-m", "stages.tools.reproduce", status=1)
    assert "| **no** | mog_evaluate@dsm: reports/metrics/mog/dsm.json |" in output
    assert "| **no** | reports/metrics/mog/dsm.json | differs from the committed file |" in output


@pytest.mark.integration
def test_on_another_machine_metrics_may_differ_within_tolerance(copied: Path) -> None:
    elsewhere = {"torch instructions": "AVX9"}
    metrics = json.loads((copied / "reports/metrics/mog/dsm.json").read_text())
    error = metrics["score"]["relative_fisher_error"]
    error["mean"] += error["std"]
    forge(copied, metrics, "elsewhere", **elsewhere)
    output = small.run(copied, "python", "-m", "stages.tools.reproduce")
    assert "torch instructions: AVX9 there" in output
    assert "| ok | dsm:score.relative_fisher_error |" in output
    error["mean"] *= 100
    forge(copied, metrics, "wrong", **elsewhere)
    output = small.run(copied, "python", "-m", "stages.tools.reproduce", status=1)
    assert "| **no** | dsm:score.relative_fisher_error |" in output


def test_unusable_folders_records_and_locks_are_reported_in_one_line(copied: Path) -> None:
    (copied / "somewhere").write_text("")
    output = small.run(copied, "python", "-m", "stages.tools.reproduce", "--keep", "somewhere", status=1)
    assert output == "error: somewhere exists and is not an empty folder\n"
    machine_file = copied / "reports/machine.json"
    recorded = json.loads(machine_file.read_text())
    machine_file.write_text(json.dumps({**recorded, "outputs": "another digest"}))
    small.run(copied, "git", "commit", "--quiet", "--all", "--message=other record")
    output = small.run(copied, "python", "-m", "stages.tools.reproduce", status=1)
    assert output.startswith("error: reports/machine.json does not belong to the results in dvc.lock")
    small.run(copied, "git", "rm", "--quiet", "dvc.lock")
    small.run(copied, "git", "commit", "--quiet", "--all", "--message=no results")
    output = small.run(copied, "python", "-m", "stages.tools.reproduce", status=1)
    assert output == "error: nothing to compare with: there is no dvc.lock in HEAD\n"


@pytest.mark.integration
def test_a_failed_run_leaves_its_log_and_removes_the_old_report(copied: Path) -> None:
    (copied / "reports/reproduction.md").write_text("**Reproduced.** long ago")
    small.change_params(copied, {"dsm": {"train": {"learning_rate": 1e30}}})
    small.run(copied, "git", "commit", "--quiet", "--all", "--message=diverges")
    output = small.run(copied, "python", "-m", "stages.tools.reproduce", status=1)
    assert output.startswith("error: not reproduced: the run failed: error: dsm: the loss is not finite")
    assert not (copied / "reports/reproduction.md").exists()
    assert "Running stage" in (copied / "reports/reproduction.log").read_text()
