"""`make reproduce`: prove that the committed results come out of the committed code, or say where they do not.

    python -m stages.tools.reproduce [--quick] [--keep FOLDER]

A fresh clone of HEAD is run cold, `dvc repro --force --no-run-cache`. On a machine like the one that made the committed run
(reports/machine.json) every output has to have the digest that dvc.lock has of it. On another machine a figure may move by what
chance explains (tolerance.py). `--quick` runs the small pipeline (small.py) in two clones side by side. The second one is in
another folder, time zone and language, and has another seed of Python's hashes and another order of the stages; all of its
outputs have to be the same bytes.

Prints a report, also written to reports/reproduction.md; status 1 where something is not as it has to be.
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
from stages.config.params import Params, read
from stages.core.command import end, environment, output
from stages.core.errors import UserError
from stages.core.paths import ROOT
from stages.dag import machine
from stages.dag.graph import stage_graph
from stages.dag.lock import LOCK, entries, locked_stages, outputs
from stages.pipeline import files
from stages.results import tolerance
from stages.results.tables import table
from stages.tools import small
from stages.tracking.store import LATER, WHEN

REPORT = Path("reports/reproduction.md")
LOG = Path("reports/reproduction.log")
COLD = ("repro", "--force", "--no-run-cache")
QUICK = {"mnist": {"methods": ["jepa_ema"]}}
"""What is left out of the small pipeline: one method on images suffices."""
ELSEWHERE = {"TZ": "Asia/Kathmandu", "LANG": "C", "LC_ALL": "C", "PYTHONHASHSEED": "7"}
"""The environment of the second quick run; none of it may decide a byte."""
SHOWN = 40
"""Rows that are printed; the file has all."""
Outputs = Mapping[str, Mapping[str, str]]
"""Digests by stage and path."""


@dataclass
class Proof:
    """What a reproduction found.

    Args:
        headline: what was run against what.
        same: outputs with the bytes that they have to have.
        rows: what is not the same: its name, how it differs, and whether that is within what is allowed.
        facts: further lines for the report.
    """

    headline: str
    same: int
    rows: list[tuple[str, str, bool]]
    facts: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """How many rows are out of what is allowed."""
        return sum(not fine for _, _, fine in self.rows)

    def markdown(self, most: int | None = None) -> str:
        """The report, with so many differences at most: first what is not allowed, figures before digests."""
        verdict = "**Reproduced.**" if not self.failed and self.same else "**Not reproduced.**"
        text = [f"# Reproduction\n\n{verdict} {self.headline}\n", *(f"- {fact}" for fact in self.facts)]
        text.append(f"- {self.same} outputs have the same bytes")
        text.append(f"- {len(self.rows)} differences, {self.failed} of them not allowed\n")
        rows = sorted(self.rows, key=lambda row: row[2])
        shown = (["ok" if fine else "**no**", name, how] for name, how, fine in rows[:most])
        text.append(table(["allowed", "what", "how it differs"], shown) if rows else "")
        if most is not None and len(rows) > most:
            text.append(f"… and {len(rows) - most} more in {REPORT}.\n")
        return "\n".join(text)


def differing(there: Outputs, here: Outputs) -> tuple[int, list[tuple[str, str, bool]]]:
    """How many outputs are the same in two locks, and which are not: `stage: path`, how, and whether both have one."""
    same, rows = 0, []
    for stage in [*there, *(name for name in here if name not in there)]:
        old, new = there.get(stage, {}), here.get(stage, {})
        if stage not in there or stage not in here:
            rows.append((stage, "the stage is in one of them alone", False))
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
    """The stages in an order that is legal and not DVC's: of those that could be next, the last in the alphabet."""
    names = sorted(graph, reverse=True)
    return list(nx.lexicographical_topological_sort(graph.reverse(), key=names.index))


def clone(folder: Path) -> Path:
    """A clone of HEAD."""
    output("git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder))
    return folder


def cold(*runs: tuple[Path, Sequence[str], Mapping[str, str]]) -> float:
    """Run the pipelines of clones cold, side by side; their lines go to NAME.log beside each clone.

    Args:
        runs: the clone, options for DVC and environment variables of each run.

    Returns:
        The seconds until all had ended.

    Raises:
        UserError: one failed.
    """
    started, processes = time.monotonic(), []
    with contextlib.ExitStack() as logs:
        try:
            for folder, options, variables in runs:
                log = logs.enter_context(folder.with_name(f"{folder.name}.log").open("w", encoding="utf-8"))
                # Nothing is tracked, neither here nor on a server.
                where = environment(**{WHEN: LATER, **variables})
                command = ["dvc", *COLD, *options]
                processes.append(
                    subprocess.Popen(command, cwd=folder, env=where, stdout=log, stderr=log, start_new_session=True)
                )
            statuses = [process.wait() for process in processes]
        finally:
            # Where this is stopped: the stages too, which DVC would leave behind.
            for process in processes:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
    for status, (folder, _, _) in zip(statuses, runs, strict=True):
        if status:
            said = folder.with_name(f"{folder.name}.log").read_text(encoding="utf-8")
            files.write_text(LOG, said)
            line = next((line for line in said.splitlines() if line.startswith(("error: ", "ERROR: "))), "it gave no reason")
            raise UserError(f"not reproduced: the run failed: {line}; {LOG} has all that it said")
    return time.monotonic() - started


def quick(folder: Path) -> Proof:
    """The small pipeline twice, under circumstances that must not matter."""
    first, second = clone(folder / "clone"), clone(folder / "another folder" / "clone ä")
    for one in (first, second):
        small.shrink(one, QUICK)
        (one / LOCK).unlink(missing_ok=True)
    with contextlib.chdir(second):
        order = other_order(stage_graph())
    seconds = cold((first, [], {}), (second, ["--single-item", *order], ELSEWHERE))
    same, rows = differing(*(outputs(entries(one / LOCK)) for one in (first, second)))
    return Proof(
        f"The small pipeline, cold, in two clones of {_head()}.",
        same,
        [(name, how, False) for name, how, _ in rows],
        [
            f"{len(order)} stages took {seconds:.0f} s, both clones side by side",
            f"the second clone: `{second.relative_to(folder)}`, {' '.join(f'{k}={v}' for k, v in ELSEWHERE.items())}, "
            f"stages in another order ({', '.join(order[:3])}, …)",
        ],
    )


def full(folder: Path) -> Proof:
    """The whole pipeline against the committed results."""
    fresh = clone(folder / "clone")
    lock = fresh / LOCK
    if not lock.exists():
        raise UserError(f"nothing to compare with: there is no {LOCK} in HEAD")
    committed, metrics = outputs(entries(lock)), tolerance.metrics_of(fresh)
    wanted = params.load(fresh / "params.yaml")
    there, here = _recorded(fresh), machine.facts(wanted)
    moved = machine.moved(there, here)
    _bring_images(wanted, fresh)
    # An entry of a stage that is no more would be compared with itself.
    lock.unlink()
    seconds = cold((fresh, [], {}))
    same, different = differing(committed, outputs(entries(lock)))
    changed = set(map(Path, output("git", "-C", str(fresh), "diff", "--name-only").splitlines()))
    changed -= {Path(lock.name), machine.FILE}
    different += [(path.as_posix(), "is committed otherwise", True) for path in sorted(changed)]
    rows = []
    if different:
        other = there.get("device") != here.get("device")
        rows = tolerance.compare(metrics, tolerance.metrics_of(fresh), wanted.mnist, other_device=other)
    rows += [(name, how, both and bool(moved)) for name, how, both in different]
    return Proof(
        f"The whole pipeline, cold, in a clone of {_head()}, against the results committed there.",
        same,
        rows,
        [
            f"{len(committed)} stages took {seconds:.0f} s",
            "the machine is like that of the committed run: every byte has to be the same"
            if not moved
            else f"the machine is not like that of the committed run, other bytes are allowed ({'; '.join(moved)})",
        ],
    )


def _recorded(fresh: Path) -> dict[str, str]:
    """The facts of the machine that made the committed results."""
    with contextlib.chdir(fresh):
        record, stages = files.read_json(machine.FILE), locked_stages(read())
    if record["outputs"] != machine.record(stages, {})["outputs"]:
        raise UserError(f"{machine.FILE} is not of the results in {LOCK}: `dvc repro` notes the machine; commit both")
    facts: dict[str, str] = record["facts"]
    return facts


def _bring_images(wanted: Params, fresh: Path) -> None:
    """Copy the local folders that the images may come from: git does not have them."""
    for source in wanted.mnist.datasets[wanted.mnist.dataset].sources:
        there = ROOT / source.location
        if source.kind == "folder" and there.is_dir() and not (fresh / source.location).exists():
            shutil.copytree(there, fresh / source.location)


def _head() -> str:
    return output("git", "-C", str(ROOT), "rev-parse", "--short", "HEAD").strip()


@contextlib.contextmanager
def _kept(folder: str | None) -> Iterator[Path]:
    """A folder to work in: a given new one that stays, or a temporary one."""
    if folder is None:
        with tempfile.TemporaryDirectory(prefix="reproduce-") as made:
            yield Path(made)
        return
    path = Path(folder).resolve()
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise UserError(f"{folder} is no new or empty folder")
    path.mkdir(parents=True, exist_ok=True)
    yield path


def main(arguments: Sequence[str]) -> None:
    """Run it, print and write the report; status 1 where something is not as it has to be."""
    parser = argparse.ArgumentParser(
        prog="python -m stages.tools.reproduce", description="Run HEAD cold and compare every byte."
    )
    parser.add_argument("--quick", action="store_true", help="the small pipeline, in two clones")
    parser.add_argument("--keep", metavar="FOLDER", help="work in this new folder and leave the clones there")
    options = parser.parse_args(arguments)
    if output("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no").strip():
        print("reproduce: what is not committed is left out: a clone of HEAD is run", flush=True)
    for old in (REPORT, LOG):
        old.unlink(missing_ok=True)
    with _kept(options.keep) as folder:
        proof = quick(folder) if options.quick else full(folder)
    files.write_text(REPORT, proof.markdown())
    print(proof.markdown(SHOWN))
    if proof.failed or not proof.same:
        raise UserError(f"not reproduced: {REPORT} has the differences")


if __name__ == "__main__":
    end(main)
