"""`make repro JOBS=N`: reproduce the pipeline with the stages of different methods side by side.

DVC reproduces one stage after another. What belongs to one method depends on nothing of another method, so each method's
stages are a chain that one `dvc repro` of its own can take: first comes what the chains share, then the chains, N at a time
and the longest of the last run first, then whatever joins them. DVC's lock lets one process at a time read and write its files
and is free while a stage runs. The dvc.lock comes out as that of a serial run: where it is new, its entries are put into the
order in which a serial run writes them.

A chain that fails stops the others; what they finished stays. Every process still uses as many threads as params.yaml says, so
this gains where there are more cores than that.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait

import networkx as nx

from stages import files
from stages.command import ENDINGS, end
from stages.errors import UserError
from stages.graph import stage_graph
from stages.lock import LOCK
from stages.runtime import cost_file

PATIENCE = 10
"""How often DVC's lock is tried."""
NAMED = re.compile(r"(?:^Running stage|failed to reproduce) '([^']+)'")
"""DVC's lines that say which stage is meant."""
ENTRY = re.compile(r"(?m)^  (?=\S)")
"""Where a stage begins in dvc.lock."""


def chains(graph: nx.DiGraph) -> tuple[list[str], list[list[str]], list[str]]:
    """What is reproduced before, side by side, and in all, each in the order of a serial run.

    Args:
        graph: names of stages, with an edge from each to what it depends on, as DVC has it.

    Returns:
        The stages without a method that some method's stage depends on; the stages of each method that hang together, in lists;
        and all stages.
    """
    order = list(nx.dfs_postorder_nodes(graph))
    of_methods = graph.subgraph(name for name in graph if "@" in name)
    shared = set[str]().union(*(nx.descendants(graph, name) for name in of_methods)) - set(of_methods)
    parts = [sorted(part, key=order.index) for part in nx.weakly_connected_components(of_methods)]
    for part in parts:
        late = shared & set[str]().union(*(nx.ancestors(graph, name) for name in part))
        if late:
            raise UserError(f"{min(late)} joins methods and comes before others: this pipeline has no chains")
    return [name for name in order if name in shared], parts, order


def longest_first(parts: Iterable[list[str]]) -> list[list[str]]:
    """The chains by the seconds that their stages last took, so that no long one is left for the end."""

    def seconds(part: Sequence[str]) -> float:
        costs = map(cost_file, part)
        return sum(files.read_json(path)["seconds"] for path in costs if path.exists())

    return sorted(parts, key=seconds, reverse=True)


def in_order(lock: str, before: str, order: Sequence[str]) -> str:
    """The text of dvc.lock with the entries that `before` does not have in the order of a serial run, behind the others."""
    head, entries = _entries(lock)
    old = [name for name in _entries(before)[1] if name in entries]
    new = sorted(entries.keys() - set(old), key=order.index)
    return head + "".join(entries[name] for name in (*old, *new))


def _entries(lock: str) -> tuple[str, dict[str, str]]:
    head, *entries = ENTRY.split(lock)
    return head, {entry.split(":\n", 1)[0]: f"  {entry}" for entry in entries}


class Chains:
    """Runs `dvc repro` for chains of stages side by side, each in a process group of its own.

    Args:
        jobs: how many at a time.
        options: for each `dvc repro`.
    """

    def __init__(self, jobs: int, options: Sequence[str]) -> None:
        self.jobs = jobs
        self.options = options
        self.running: set[subprocess.Popen[str]] = set()
        self.guard = threading.Lock()
        self.stopped = False

    def run(self, parts: Iterable[list[str]]) -> None:
        """Reproduce every chain; a part without a method has no label before its lines.

        Raises:
            UserError: one failed; the message names the stage.
        """
        with ThreadPoolExecutor(self.jobs) as pool:
            try:
                waiting = {pool.submit(self._reproduce, part) for part in parts}
                while waiting:
                    done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                    for one in done:
                        one.result()
            except BaseException:
                self._stop()
                pool.shutdown(cancel_futures=True)
                raise

    def _reproduce(self, part: list[str]) -> None:
        command = ["dvc", "--wait-for-lock", "repro", *self.options, "--single-item", *part]
        with self.guard:
            if self.stopped:
                return
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
            )
            self.running.add(process)
        world, method = part[0].split("_", 1)[0], part[0].partition("@")[2]
        current, label = part[0], f"[{world}@{method}] " if method else ""
        for line in process.stdout or ():
            # A stage that lacks what it needs never runs: there DVC's own words name it.
            named = NAMED.search(line)
            current = named[1] if named else current
            if line.strip():
                print(f"{label}{line.rstrip()}", flush=True)
        status = process.wait()
        with self.guard:
            self.running.discard(process)
        if status and not self.stopped:
            raise UserError(f"{current} failed; what was finished is kept, and `make repro` goes on from there")

    def _stop(self) -> None:
        """End what runs as Ctrl-C ends it: the stages, and DVC behind them; a second Ctrl-C does not come in between."""
        self.stopped = True
        print("stopping what runs", file=sys.stderr, flush=True)
        before = {ending: signal.signal(ending, signal.SIG_IGN) for ending in ENDINGS}
        try:
            with self.guard, contextlib.ExitStack() as held:
                with contextlib.suppress(Exception):  # a project that DVC can no longer open is no reason to let them run
                    held.enter_context(_nobody_writing())
                for process in self.running:
                    with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
                        os.killpg(process.pid, signal.SIGINT)
        finally:
            for ending, handler in before.items():
                signal.signal(ending, handler)


@contextlib.contextmanager
def _nobody_writing() -> Iterator[None]:
    """Hold DVC's own lock, so that nobody is stopped while writing dvc.lock; go on without if that takes too long."""
    from dvc.lock import LockError
    from dvc.repo import Repo

    with Repo() as repo, contextlib.ExitStack() as held:
        for _ in range(PATIENCE):  # each try takes a few seconds
            try:
                held.enter_context(repo.lock)
                break
            except LockError:
                continue
        yield


def main(arguments: Sequence[str]) -> None:
    """Reproduce the whole pipeline; the arguments are the number of jobs and options for `dvc repro`."""
    if not arguments or not arguments[0].isdecimal() or int(arguments[0]) < 1:
        raise UserError(f"JOBS: {arguments[0] if arguments else 'nothing'!r} is not accepted: expected a whole number above 0")
    shared, parts, order = chains(stage_graph())
    joining = [name for name in order if "@" not in name and name not in shared]
    before = LOCK.read_text(encoding="utf-8") if LOCK.exists() else ""
    options = arguments[1:]
    try:
        # What joins comes alone. Nothing of the chains is done again: --force would.
        for together in ([shared], longest_first(parts), [joining]):
            Chains(int(arguments[0]), options).run(filter(None, together))
    finally:
        _put_in_order(before, order)


def _put_in_order(before: str, order: Sequence[str]) -> None:
    """Write dvc.lock as a serial run would have, as a whole or not at all; one that was cut off stays as it is."""
    now = LOCK.read_text(encoding="utf-8") if LOCK.exists() else ""
    wanted = in_order(now, before, order) if now.endswith("\n") else now
    if wanted != now:
        files.write_text(LOCK, wanted)


if __name__ == "__main__":
    end(main)
