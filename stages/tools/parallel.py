"""`make repro`: reproduce the pipeline with as many stages side by side as the machine has cores for.

`dvc repro` runs one stage after another. This runs the same stages by the same rules: what DVC says is up to date is skipped,
what its run-cache has is taken from there, and outputs and dvc.lock are stored by DVC. Only the commands run side by side, in
the order that `stages.dag.schedule` finds. New entries of dvc.lock stand where a serial run puts them; entries of stages that
no longer exist, which a serial run keeps, are dropped.

DVC writes dvc.lock as a whole, which takes longer than some stages do. So several entries are written at a time; of a run that
is killed, DVC's run-cache restores those that were not. A stage that fails stops the others; what they finished stays.
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

from stages.config import params as parameters
from stages.core import repository
from stages.core.command import ENDINGS, end
from stages.core.errors import UserError
from stages.core.paths import FRESH
from stages.dag import leftovers
from stages.dag.lock import LOCK
from stages.dag.schedule import Schedule
from stages.pipeline.concurrent import CORES, cores
from stages.tools import warm
from stages.tools.lock_order import put_in_order
from stages.tools.tasks import tasks

if TYPE_CHECKING:
    from dvc.repo import Repo
    from dvc.stage import Stage

WRITING = 0.03
"""The share of the time that is spent on writing dvc.lock while stages run."""
YIELDING = hasattr(os, "SCHED_IDLE")
HARDER = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
"""Signals to stop a stage, in order of escalation."""
PATIENCE = 30.0
"""Seconds between one signal and the next."""


class Reproduction:
    """One run of the pipeline.

    Args:
        repo: DVC's project.
        jobs: how many cores to use.
        force: run what is up to date, too.
        run_cache: take from DVC's run-cache what it has.
    """

    def __init__(self, repo: Repo, jobs: int, *, force: bool = False, run_cache: bool = True) -> None:
        from dvc.repo.reproduce import get_active_graph

        self.repo, self.force, self.run_cache = repo, force, run_cache
        graph = get_active_graph(repo.index.graph)
        self.order = [stage.addressing for stage in nx.dfs_postorder_nodes(graph)]
        self.stages = {stage.addressing: stage for stage in graph}
        self.schedule = Schedule(tasks(graph), jobs, YIELDING)
        self.commands: dict[str, warm.Running] = {}
        self.held: dict[str, ExitStack] = {}
        self.background: set[str] = set()
        self.events: SimpleQueue[tuple[str, int] | None] = SimpleQueue()
        self.unwritten: list[Stage] = []
        self.changed = False
        self.writing = 0.0
        self.started = time.monotonic()

    def run(self) -> None:
        """Reproduce everything.

        Raises:
            UserError: a stage failed; the message names it.
            KeyboardInterrupt: a signal asked for the end.
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
            for held in self.held.values():
                held.close()
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
            if self.events.empty() and self.writing < WRITING * (time.monotonic() - self.started):
                self._write()

    def _begin(self, name: str) -> None:
        """Start the command of a stage, unless DVC says that there is nothing to be done, or can do it itself."""
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
            self.held[name] = self._busy(stage)
            stage.remove_outs(ignore_remove=False, force=False)
            if self._restored(stage):
                print(f"Stage '{name}' is cached - skipping run, checking out outputs", flush=True)
                self._keep(stage)
                self.schedule.finish(name)
                return
        self._start(stage)

    def _busy(self, stage: Stage) -> ExitStack:
        """Note for other DVC processes what this stage reads and writes until it has ended, as DVC does."""
        from dvc.rwlock import rwlock

        held = ExitStack()
        reads, writes = ([item.fs_path for item in items] for items in (stage.deps, stage.outs))
        hardlink = self.repo.config["core"].get("hardlink_lock", False)
        held.enter_context(rwlock(self.repo.tmp_dir, self.repo.fs, " ".join(sys.argv), reads, writes, hardlink))
        return held

    def _restored(self, stage: Stage) -> bool:
        """Whether DVC's run-cache had the outputs of this stage for what it depends on."""
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
        """Run the command in a process group of its own, so that all that it starts can be stopped."""
        from dvc.stage.run import get_executable, prepare_kwargs

        name = stage.addressing
        command = stage.cmd if isinstance(stage.cmd, str) else " && ".join(stage.cmd)
        share = self.schedule.cores if self.schedule.alone() else 1
        if self.schedule.last():
            # What is last may look at dvc.lock as a whole, as `track` does.
            self._write()
        print(f"Running stage '{name}':\n> {command}", flush=True)
        variables = {CORES: str(share)} | ({FRESH: "1"} if self.force else {})
        environment = prepare_kwargs(stage, variables)["env"]
        self.commands[name] = warm.start(command, get_executable(), environment)
        threading.Thread(target=self._follow, args=(name, self.commands[name]), daemon=True).start()

    def _follow(self, name: str, command: warm.Running) -> None:
        for line in command.lines():
            if line.strip():
                # Where nobody reads it any more, the stage has to be followed to its end all the same.
                with suppress(OSError):
                    print(f"[{name}] {line.rstrip()}", flush=True)
        self.events.put((name, command.wait()))

    def _end(self, name: str, status: int) -> None:
        """Store what a command has made.

        Raises:
            UserError: it failed.
        """
        del self.commands[name]
        if status:
            self.held.pop(name).close()
            raise UserError(f"{name} failed; what was finished is kept, and `make repro` goes on from there")
        with self._named(name), self.repo.lock:
            self._keep(self.stages[name])
        self.schedule.finish(name)

    def _keep(self, stage: Stage) -> None:
        uncached = any(not out.use_cache and not out.is_metric and not out.is_plot for out in stage.outs)
        try:
            stage.save(run_cache=not uncached)
            stage.commit()
        finally:
            self.held.pop(stage.addressing).close()
        self.unwritten.append(stage)

    def _write(self) -> None:
        """Write the entries of finished stages into dvc.lock."""
        began = time.monotonic()
        stages, self.unwritten = sorted(self.unwritten, key=lambda stage: str(stage.path)), []
        if stages:
            with self.repo.lock:
                for _, together in groupby(stages, key=lambda stage: stage.path):
                    listed = list(together)
                    listed[0].dvcfile.dump_stages(listed, update_pipeline=False)
        self.writing += time.monotonic() - began

    def _prioritise(self) -> None:
        """Give a stage that has to yield the priority below all others, and take it back where that is allowed."""
        wanted = self.schedule.background()
        for name in (wanted ^ self.background) & self.commands.keys():
            policy = os.SCHED_IDLE if name in wanted else os.SCHED_OTHER
            warm.set_policy(self.commands[name].pid, policy)
        self.background = wanted

    def _stop(self) -> None:
        """End what runs as Ctrl-C ends it, and keep what ends well all the same."""
        if not self.commands:
            return
        print("stopping what runs", file=sys.stderr, flush=True)
        harder = iter(HARDER)
        self._send(next(harder))
        while self.commands:
            try:
                event = self.events.get(timeout=PATIENCE)
            except Empty:
                event = None
            if event is None:
                # Somebody presses Ctrl-C again, or a stage did not hear of it.
                self._send(next(harder, signal.SIGKILL))
                continue
            with suppress(UserError):
                self._end(*event)

    def _send(self, number: signal.Signals) -> None:
        for command in self.commands.values():
            warm.send(command, number)

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Take signals between two steps alone, so that none cuts off what DVC is writing."""
        before = {ending: signal.signal(ending, lambda *_: self.events.put(None)) for ending in ENDINGS}
        try:
            yield
        finally:
            for ending, handler in before.items():
                signal.signal(ending, handler)

    @contextmanager
    def _named(self, name: str) -> Iterator[None]:
        """Say which stage it was that DVC could not do something for."""
        from dvc.exceptions import DvcException

        try:
            yield
        except (DvcException, OSError) as error:
            raise UserError(f"{name} failed: {' '.join(str(error).split())}") from error


def main(arguments: Sequence[str]) -> None:
    """Reproduce the whole pipeline."""
    parser = argparse.ArgumentParser(prog="make repro", description="Reproduce the pipeline, several stages at a time.")
    parser.add_argument("jobs", nargs="?", default=str(cores()), help="how many cores to use: all")
    parser.add_argument("--force", action="store_true", help="run what is up to date, too")
    parser.add_argument("--no-run-cache", action="store_true", help="take nothing from DVC's run-cache")
    given = parser.parse_args(arguments)
    if not given.jobs.isdecimal() or int(given.jobs) < 1:
        raise UserError(f"JOBS: {given.jobs!r} is not accepted: expected a whole number above 0")
    repository.check()
    # Names of methods go into commands and paths: they are checked before DVC reads them.
    parameters.load()
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    try:
        with Repo(_wait_for_lock=True) as repo:
            Reproduction(repo, int(given.jobs), force=given.force, run_cache=not given.no_run_cache).run()
    except DvcException as error:
        raise UserError(" ".join(str(error).split())) from None


if __name__ == "__main__":
    end(main)
