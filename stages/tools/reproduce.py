"""`make reproduce`: check that the committed code reproduces the committed results, and report all differences.

    python -m stages.tools.reproduce [--quick] [--keep FOLDER]

Runs `dvc repro --force --no-run-cache` in a fresh clone of HEAD. On a machine with the same facts as that of the committed run
(reports/machine.json), every output must have its digest in dvc.lock. On another machine, metrics may differ within their
tolerances (tolerance.py). `--quick` runs the small pipeline (small.py) in two clones in parallel. The second clone has another
folder, time zone, locale, Python hash seed and order of stages; all outputs must be identical.

Prints a report and writes it to reports/reproduction.md. The exit status is 1 if a difference is not allowed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import networkx as nx

from stages.config import params
from stages.config.images import LOCAL_KINDS
from stages.config.params import Params
from stages.core.command import end, environment, output
from stages.core.errors import UserError
from stages.core.paths import ROOT
from stages.dag import machine
from stages.dag.graph import stage_graph
from stages.dag.lock import LOCK, entries, locked_stages, outputs
from stages.pipeline import artifacts, files
from stages.results import tolerance
from stages.results.tables import table
from stages.tools import small
from stages.tracking.store import LATER, WHEN

REPORT = Path("reports/reproduction.md")
LOG = Path("reports/reproduction.log")
"""The output of a run that failed."""
COLD = ("repro", "--force", "--no-run-cache")
"""Arguments of `dvc` that run every stage."""
QUICK = {"mnist": {"methods": ["jepa_ema"]}}
"""Params that shrink the small pipeline further: one image method suffices."""
ELSEWHERE = {"TZ": "Asia/Kathmandu", "LANG": "C", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
"""Environment variables of the second quick run, which must not affect its outputs."""
PRINTED_ROWS = 40
"""Rows that are printed; the file has all of them."""
Outputs = Mapping[str, Mapping[str, str]]
"""Digests by stage and path."""


@dataclass
class Report:
    """The outcome of a reproduction.

    Attributes:
        headline: what was run and with what it was compared.
        same: number of identical outputs.
        rows: the differences: name of the output or metric, description, and whether the difference is allowed.
        facts: further lines of the report.
    """

    headline: str
    same: int
    rows: list[tuple[str, str, bool]]
    facts: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """The number of differences that are not allowed."""
        return sum(not allowed for _, _, allowed in self.rows)

    def markdown(self, max_rows: int | None = None) -> str:
        """The report, with at most `max_rows` differences; those that are not allowed come first."""
        verdict = "**Reproduced.**" if not self.failed and self.same else "**Not reproduced.**"
        text = [f"# Reproduction\n\n{verdict} {self.headline}\n", *(f"- {fact}" for fact in self.facts)]
        text.append(f"- {self.same} outputs are identical")
        text.append(f"- {len(self.rows)} differences, {self.failed} of them not allowed\n")
        rows = sorted(self.rows, key=lambda row: row[2])
        shown = (["ok" if allowed else "**no**", name, difference] for name, difference, allowed in rows[:max_rows])
        text.append(table(["allowed", "output or metric", "difference"], shown) if rows else "")
        if max_rows is not None and len(rows) > max_rows:
            text.append(f"… and {len(rows) - max_rows} more in {REPORT}.\n")
        return "\n".join(text)


def differing(there: Outputs, here: Outputs) -> tuple[int, list[tuple[str, str, bool]]]:
    """Compare the outputs of two locks.

    Returns:
        The number of identical outputs, and a row for each other one: `stage: path`, its digests, whether both locks have it.
    """
    same, rows = 0, []
    for stage in [*there, *(name for name in here if name not in there)]:
        old, new = there.get(stage, {}), here.get(stage, {})
        if stage not in there or stage not in here:
            rows.append((stage, "only one of them has the stage", False))
        for path in [*old, *(name for name in new if name not in old)]:
            before, after = old.get(path, ""), new.get(path, "")
            if before and before == after:
                same += 1
            else:
                rows.append((f"{stage}: {path}", f"{_short(before)} -> {_short(after)}", bool(before and after)))
    return same, rows


def _short(digest: str) -> str:
    return digest[:8] or "none"


def other_order(graph: nx.DiGraph) -> list[str]:
    """A topological order that differs from DVC's: of the stages that may run next, the alphabetically last one."""
    names = sorted(graph, reverse=True)
    return list(nx.lexicographical_topological_sort(graph.reverse(), key=names.index))


def clone(folder: Path) -> Path:
    """Clone HEAD into a folder."""
    output("git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder))
    return folder


def run_cold(*runs: tuple[Path, Sequence[str], Mapping[str, str]]) -> float:
    """Run every stage in each of several clones, in parallel; the output goes to CLONE.log beside the clone.

    Args:
        runs: the clone, options for DVC and environment variables of each run.

    Returns:
        The seconds until all runs have ended.

    Raises:
        UserError: a run failed.
    """
    started, processes = time.monotonic(), []
    with contextlib.ExitStack() as logs:
        try:
            for folder, options, variables in runs:
                log = logs.enter_context(folder.with_name(f"{folder.name}.log").open("w", encoding="utf-8"))
                # The runs are not logged to MLflow.
                where = environment(**{WHEN: LATER, **variables})
                command = ["dvc", *COLD, *options]
                processes.append(
                    subprocess.Popen(command, cwd=folder, env=where, stdout=log, stderr=log, start_new_session=True)
                )
            statuses = [process.wait() for process in processes]
        finally:
            # On an interrupt, stop the stages as well, which DVC would leave running.
            for process in processes:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
    for status, (folder, _, _) in zip(statuses, runs, strict=True):
        if status:
            log_text = folder.with_name(f"{folder.name}.log").read_text(encoding="utf-8")
            files.write_text(LOG, log_text)
            reason = next(
                (line for line in log_text.splitlines() if line.startswith(("error: ", "ERROR: "))), "no reason given"
            )
            raise UserError(f"not reproduced: the run failed: {reason}; {LOG} has its output")
    return time.monotonic() - started


def quick(folder: Path) -> Report:
    """Run the small pipeline twice, under conditions that must not affect the results, and compare all outputs."""
    first, second = clone(folder / "clone"), clone(folder / "another folder" / "clone ä")
    for one in (first, second):
        small.shrink(one, QUICK)
        (one / LOCK).unlink(missing_ok=True)
    with contextlib.chdir(second):
        order = other_order(stage_graph())
    seconds = run_cold((first, [], {}), (second, ["--single-item", *order], ELSEWHERE))
    same, rows = differing(*(outputs(entries(one / LOCK)) for one in (first, second)))
    return Report(
        f"The small pipeline, run without caches in two clones of {_head()}.",
        same,
        [(name, difference, False) for name, difference, _ in rows],
        [
            f"{len(order)} stages took {seconds:.0f} s, both clones in parallel",
            f"the second clone: `{second.relative_to(folder)}`, {' '.join(f'{k}={v}' for k, v in ELSEWHERE.items())}, "
            f"stages in another order ({', '.join(order[:3])}, …)",
        ],
    )


def full(folder: Path) -> Report:
    """Run the whole pipeline and compare it with the committed results.

    Raises:
        UserError: HEAD has no results, or the run failed.
    """
    fresh = clone(folder / "clone")
    lock = fresh / LOCK
    if not lock.exists():
        raise UserError(f"nothing to compare with: there is no {LOCK} in HEAD")
    committed, metrics = outputs(entries(lock)), tolerance.metrics_of(fresh)
    loaded = params.load(fresh / "params.yaml")
    there, here = _recorded_facts(fresh), machine.facts(loaded)
    machine_differences = machine.differences(there, here)
    _copy_images(loaded, fresh)
    # Entries of removed stages would otherwise be compared with themselves.
    lock.unlink()
    seconds = run_cold((fresh, [], {}))
    same, different = differing(committed, outputs(entries(lock)))
    changed = set(map(Path, output("git", "-C", str(fresh), "diff", "--name-only").splitlines()))
    changed -= {Path(lock.name), machine.FILE}
    different += [(path.as_posix(), "differs from the committed file", True) for path in sorted(changed)]
    rows = []
    if different:
        other = there.get("device") != here.get("device")
        rows = tolerance.compare(metrics, tolerance.metrics_of(fresh), loaded.mnist, loaded.pixels.samples, other_device=other)
    rows += [(name, difference, both and bool(machine_differences)) for name, difference, both in different]
    return Report(
        f"The whole pipeline, run without caches in a clone of {_head()} and compared with the results committed there.",
        same,
        rows,
        [
            f"{len(committed)} stages took {seconds:.0f} s",
            "the machine has the same facts as that of the committed run: all outputs must be identical"
            if not machine_differences
            else f"the machine differs from that of the committed run ({'; '.join(machine_differences)}): outputs may differ",
        ],
    )


def _recorded_facts(fresh: Path) -> dict[str, str]:
    """The facts of the machine that made the committed results.

    Raises:
        UserError: the record belongs to other results.
    """
    with contextlib.chdir(fresh):
        record, stages = files.read_json(machine.FILE), locked_stages()
    if record["outputs"] != machine.record(stages, {})["outputs"]:
        raise UserError(
            f"{machine.FILE} does not belong to the results in {LOCK}: `dvc repro` records the machine; commit both"
        )
    facts: dict[str, str] = record["facts"]
    return facts


def _copy_images(loaded: Params, fresh: Path) -> None:
    """Copy the local files and folders of images and their digests into the clone, since git does not have them."""
    local = [Path(source.location) for source in loaded.mnist.chosen.sources if source.kind in LOCAL_KINDS]
    for location in (*local, artifacts.digests(loaded.mnist.dataset)):
        there, copied = ROOT / location, fresh / location
        if there.is_dir() and not copied.exists():
            shutil.copytree(there, copied, symlinks=True)
        elif there.is_file() and not copied.exists():
            copied.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(there, copied)


def _head() -> str:
    return output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD").strip()


@contextlib.contextmanager
def _working_folder(folder: str | None) -> Iterator[Path]:
    """A folder for the clones: a given one, which is kept, or a temporary one.

    Raises:
        UserError: the given one exists and is not an empty folder.
    """
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="reproduce-") as temporary:
            yield Path(temporary)
        return
    path = Path(folder).resolve()
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{folder} exists and is not an empty folder")
    path.mkdir(parents=True, exist_ok=True)
    yield path


def main(arguments: Sequence[str]) -> None:
    """Run a reproduction, then print and write its report.

    Raises:
        UserError: a difference is not allowed, or nothing was compared.
    """
    parser = argparse.ArgumentParser(
        prog="python -m stages.tools.reproduce", description="Run HEAD without caches and compare its outputs."
    )
    parser.add_argument("--quick", action="store_true", help="run the small pipeline in two clones")
    parser.add_argument("--keep", metavar="FOLDER", help="create the clones in this new folder and keep them")
    options = parser.parse_args(arguments)
    if output("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no").strip():
        print("reproduce: uncommitted changes are ignored, since a clone of HEAD is run", flush=True)
    for old in (REPORT, LOG):
        old.unlink(missing_ok=True)
    with _working_folder(options.keep) as folder:
        report = quick(folder) if options.quick else full(folder)
    files.write_text(REPORT, report.markdown())
    print(report.markdown(PRINTED_ROWS))
    if report.failed or not report.same:
        raise UserError(f"not reproduced: {REPORT} lists the differences")


if __name__ == "__main__":
    end(main)
