"""`make repro`: reproduce the pipeline with stages in parallel, on all cores by default.

`dvc repro` runs one stage after another. This runs the same stages by the same rules: DVC decides what is up to date, restores
outputs from its run cache, and stores outputs and dvc.lock. Only the commands run in parallel, in the order that
`stages.dag.schedule` determines. New entries of dvc.lock are placed where a serial run puts them; entries of stages that no
longer exist, which a serial run keeps, are dropped.

DVC can only write dvc.lock as a whole, which takes longer than some stages. Entries are therefore written several at a time. If
the run is killed, DVC's run cache restores the stages whose entries were not written. A stage that fails stops the others; the
results of finished stages are kept.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from itertools import groupby
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

import networkx as nx

from stages.core import repository
from stages.core.command import ENDINGS, end
from stages.core.errors import UserError
from stages.core.paths import FRESH
from stages.dag import leftovers
from stages.dag.dvc_repo import open_repo
from stages.dag.lock import LOCK
from stages.dag.schedule import Schedule
from stages.pipeline.concurrent import CORES, cores
from stages.tools import warm
from stages.tools.check import check
from stages.tools.lock_order import put_in_order
from stages.tools.tasks import tasks

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

WRITE_SHARE = 0.03
"""Share of the elapsed time beyond which dvc.lock is not written while stages run."""
YIELDING = hasattr(os, "SCHED_IDLE")
"""Whether this system has a scheduling priority below all others."""
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
"""Signals to stop a stage, in order of escalation."""
PATIENCE = 30.0
"""Seconds between one signal and the next."""


class Reproduction:
    """One run of the pipeline.

    Args:
        repo: DVC's repository.
        jobs: number of cores to use.
        force: run stages that are up to date, too.
        run_cache: restore outputs from DVC's run cache.
    """

    def __init__(self, repo: Repo, jobs: int, *, force: bool = False, run_cache: bool = True) -> None:
        from dvc.repo.reproduce import get_active_graph

        self.repo, self.force, self.run_cache = repo, force, run_cache
        graph = get_active_graph(repo.index.graph)
        self.order = [stage.addressing for stage in nx.dfs_postorder_nodes(graph)]
        self.stages = {stage.addressing: stage for stage in graph}
        self.schedule = Schedule(tasks(graph), jobs, YIELDING)
        self.commands: dict[str, warm.Running] = {}
        self.file_locks: dict[str, ExitStack] = {}
        self.background: set[str] = set()
        self.events: SimpleQueue[tuple[str, int] | None] = SimpleQueue()
        self.unwritten: list[Stage] = []
        self.changed = False
        self.write_seconds = 0.0
        self.started = time.monotonic()

    def run(self) -> None:
        """Reproduce the pipeline.

        Raises:
            UserError: a stage failed; the message names it.
            KeyboardInterrupt: a signal stopped the run.
        """
        before = LOCK.read_text(encoding="utf-8") if LOCK.exists() else ""
        leftovers.remove(reproducing=True)
        try:
            with self._signals(), self.repo.scm_context(quiet=True):
                try:
                    self._loop()
                except BaseException:
                    self._stop()
                    raise
                finally:
                    self._write()
        finally:
            for locks in self.file_locks.values():
                locks.close()
            put_in_order(before, self.order)
        if not self.changed:
            print("Data and pipelines are up to date.")

    def _loop(self) -> None:
        while not self.schedule.idle():
            while (name := self.schedule.next()) is not None:
                with self._named(name):
                    self._begin(name)
            self._prioritise()
            if not self.commands:
                continue
            event = self.events.get()
            if event is None:
                raise KeyboardInterrupt
            self._end(*event)
            if self.events.empty() and self.write_seconds < WRITE_SHARE * (time.monotonic() - self.started):
                self._write()

    def _begin(self, name: str) -> None:
        """Start the command of a stage, unless the stage is up to date, has none, or is in the run cache."""
        stage = self.stages[name]
        with self.repo.lock:
            if stage.frozen or not stage.cmd:
                if stage.reproduce(force=self.force):
                    self.unwritten.append(stage)
                self.schedule.finish(name)
                return
            if not self.force and not stage.changed():
                print(f"Stage '{name}' didn't change, skipping", flush=True)
                self.schedule.finish(name)
                return
            self.changed = True
            self.file_locks[name] = self._lock_files(stage)
            stage.remove_outs(ignore_remove=False, force=False)
            if self._restored(stage):
                print(f"Stage '{name}' is cached - skipping run, checking out outputs", flush=True)
                self._keep(stage)
                self.schedule.finish(name)
                return
        self._start(stage)

    def _lock_files(self, stage: Stage) -> ExitStack:
        """Lock what a stage reads and writes against other DVC processes, as DVC does, until the result is closed."""
        from dvc.rwlock import rwlock

        locks = ExitStack()
        reads, writes = ([item.fs_path for item in items] for items in (stage.deps, stage.outs))
        hardlink = self.repo.config["core"].get("hardlink_lock", False)
        locks.enter_context(rwlock(self.repo.tmp_dir, self.repo.fs, " ".join(sys.argv), reads, writes, hardlink))
        return locks

    def _restored(self, stage: Stage) -> bool:
        """Restore the outputs of a stage from DVC's run cache; returns whether it had them for these dependencies."""
        from dvc.stage.cache import RunCacheNotFoundError

        if self.force:
            return False
        try:
            self.repo.stage_cache.restore(stage, run_cache=self.run_cache)
        except RunCacheNotFoundError:
            stage.save_deps()
            return False
        return True

    def _start(self, stage: Stage) -> None:
        """Run the command in a process group of its own, so that its children can be stopped with it."""
        from dvc.stage.run import get_executable, prepare_kwargs

        name = stage.addressing
        command = stage.cmd if isinstance(stage.cmd, str) else " && ".join(stage.cmd)
        share = self.schedule.cores if self.schedule.alone() else 1
        if self.schedule.last():
            # The last stage may read the complete dvc.lock, as `track` does.
            self._write()
        print(f"Running stage '{name}':\n> {command}", flush=True)
        variables = {CORES: str(share)} | ({FRESH: "1"} if self.force else {})
        environment = prepare_kwargs(stage, variables)["env"]
        self.commands[name] = warm.start(command, get_executable(), environment)
        threading.Thread(target=self._follow, args=(name, self.commands[name]), daemon=True).start()

    def _follow(self, name: str, command: warm.Running) -> None:
        for line in command.lines():
            if line.strip():
                # Printing fails if nobody reads stdout; the stage must be followed to its end nevertheless.
                with suppress(OSError):
                    print(f"[{name}] {line.rstrip()}", flush=True)
        self.events.put((name, command.wait()))

    def _end(self, name: str, status: int) -> None:
        """Store the outputs of a command that has ended.

        Raises:
            UserError: the command failed.
        """
        del self.commands[name]
        if status:
            self.file_locks.pop(name).close()
            raise UserError(f"{name} failed; finished stages are kept, and `make repro` continues from there")
        with self._named(name), self.repo.lock:
            self._keep(self.stages[name])
        self.schedule.finish(name)

    def _keep(self, stage: Stage) -> None:
        uncached = any(not out.use_cache and not out.is_metric and not out.is_plot for out in stage.outs)
        try:
            stage.save(run_cache=not uncached)
            stage.commit()
        finally:
            self.file_locks.pop(stage.addressing).close()
        self.unwritten.append(stage)

    def _write(self) -> None:
        """Write the entries of finished stages to dvc.lock."""
        began = time.monotonic()
        stages, self.unwritten = sorted(self.unwritten, key=lambda stage: str(stage.path)), []
        if stages:
            with self.repo.lock:
                for _, together in groupby(stages, key=lambda stage: stage.path):
                    listed = list(together)
                    listed[0].dvcfile.dump_stages(listed, update_pipeline=False)
        self.write_seconds += time.monotonic() - began

    def _prioritise(self) -> None:
        """Give stages that must yield the lowest priority; restore the normal one afterwards, where the system permits it."""
        wanted = self.schedule.background()
        for name in (wanted ^ self.background) & self.commands.keys():
            policy = os.SCHED_IDLE if name in wanted else os.SCHED_OTHER
            warm.set_policy(self.commands[name].pid, policy)
        self.background = wanted

    def _stop(self) -> None:
        """Stop the running stages as Ctrl-C does, then with stronger signals; store those that succeed nevertheless."""
        if not self.commands:
            return
        print("stopping the running stages", file=sys.stderr, flush=True)
        signals = iter(STOP_SIGNALS)
        self._send(next(signals))
        while self.commands:
            try:
                event = self.events.get(timeout=PATIENCE)
            except Empty:
                event = None
            if event is None:
                # Ctrl-C was pressed again, or a stage ignores the signal.
                self._send(next(signals, signal.SIGKILL))
                continue
            with suppress(UserError):
                self._end(*event)

    def _send(self, number: signal.Signals) -> None:
        for command in self.commands.values():
            warm.send(command, number)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Handle signals only between two steps, so that none interrupts DVC while it writes."""
        before = {ending: signal.signal(ending, lambda *_: self.events.put(None)) for ending in ENDINGS}
        try:
            yield
        finally:
            for ending, handler in before.items():
                signal.signal(ending, handler)

    @contextmanager
    def _named(self, name: str) -> Iterator[None]:
        """Report an error of DVC with the name of the stage."""
        from dvc.exceptions import DvcException

        try:
            yield
        except (DvcException, OSError) as error:
            raise UserError(f"{name} failed: {' '.join(str(error).split())}") from error


def main(arguments: Sequence[str]) -> None:
    """Reproduce the whole pipeline."""
    parser = argparse.ArgumentParser(prog="make repro", description="Reproduce the pipeline with stages in parallel.")
    parser.add_argument("jobs", nargs="?", default=str(cores()), help="number of cores to use (default: all)")
    parser.add_argument("--force", action="store_true", help="run stages that are up to date, too")
    parser.add_argument("--no-run-cache", action="store_true", help="restore no outputs from DVC's run cache")
    options = parser.parse_args(arguments)
    if not options.jobs.isdecimal() or int(options.jobs) < 1:
        raise UserError(f"JOBS: {options.jobs!r} is not accepted: expected a whole number above 0")
    repository.check()
    # Before DVC reads the names of methods, which are part of commands and paths, and before a stage runs.
    check()
    with open_repo(_wait_for_lock=True) as repo:
        Reproduction(repo, int(options.jobs), force=options.force, run_cache=not options.no_run_cache).run()


if __name__ == "__main__":
    end(main)
