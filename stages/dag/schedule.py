"""Schedule stages on a number of cores: which may run in parallel, and in which order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import networkx as nx


@dataclass(frozen=True)
class Task:
    """A stage to run.

    Attributes:
        name: its address in dvc.yaml.
        needs: the names of the stages whose outputs it reads.
        threads: the number of threads it computes with.
        seconds: its expected run time.
    """

    name: str
    needs: frozenset[str]
    threads: int = 1
    seconds: float = 1.0


@dataclass
class Schedule:
    """Critical-path list scheduling: of the stages that may start, the one with the longest remaining path starts first.

    The threads of a multi-threaded stage busy-wait for each other, so the stage slows down many times if another process takes
    one of its cores. Multi-threaded stages therefore get exclusive cores. Single-threaded stages may run beside them at the
    lowest priority, on the time that they leave idle.

    Attributes:
        tasks: all stages.
        cores: the number of cores.
        yielding: whether the operating system has such a lowest priority.
        waiting: the stages that have not started, by name.
        running: the stages that are running, by name.
        done: the names of the finished stages.
        order: all names by decreasing length of the path from the stage to the end.
    """

    tasks: Iterable[Task]
    cores: int
    yielding: bool = True
    waiting: dict[str, Task] = field(init=False)
    running: dict[str, Task] = field(init=False, default_factory=dict)
    done: set[str] = field(init=False, default_factory=set)
    order: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.waiting = {task.name: task for task in self.tasks}
        graph = nx.DiGraph((need, task.name) for task in self.waiting.values() for need in task.needs)
        graph.add_nodes_from(self.waiting)
        remaining: dict[str, float] = {}
        for name in reversed(list(nx.lexicographical_topological_sort(graph))):
            remaining[name] = self.waiting[name].seconds + max(
                (remaining[later] for later in graph.successors(name)), default=0.0
            )
        self.order = sorted(remaining, key=lambda name: (-remaining[name], name))

    def next(self) -> str | None:
        """Choose the stage to start now and mark it as running; None if another stage must finish first."""
        for name in self.order:
            task = self.waiting.get(name)
            if task and task.needs <= self.done and self._fits(task):
                self.running[name] = self.waiting.pop(name)
                return name
        return None

    def finish(self, name: str) -> None:
        """Mark a running stage as done."""
        del self.running[name]
        self.done.add(name)

    def idle(self) -> bool:
        """Whether no stage is running and none can start any more."""
        return not self.running and not any(task.needs <= self.done for task in self.waiting.values())

    def background(self) -> set[str]:
        """The running single-threaded stages that must have the lowest priority."""
        if sum(map(self._share, self.running.values())) <= self.cores or not self._threaded():
            return set()
        return {name for name, task in self.running.items() if self._share(task) == 1}

    def alone(self) -> bool:
        """Whether exactly one stage is running and no other is ready."""
        return len(self.running) == 1 and not any(task.needs <= self.done for task in self.waiting.values())

    def last(self) -> bool:
        """Whether the running stage is the last one."""
        return len(self.running) == 1 and not self.waiting

    def _share(self, task: Task) -> int:
        """The number of cores a stage takes."""
        return min(task.threads, self.cores)

    def _threaded(self) -> int:
        """The number of cores taken by running multi-threaded stages."""
        return sum(share for share in map(self._share, self.running.values()) if share > 1)

    def _fits(self, task: Task) -> bool:
        """Whether a stage can start beside the running ones."""
        share, threaded = self._share(task), self._threaded()
        single = sum(self._share(other) == 1 for other in self.running.values())
        if share > 1:
            return threaded + share + (0 if self.yielding else single) <= self.cores
        return single < max(self.cores - threaded, 1 if self.yielding and self.cores > 1 else 0)
