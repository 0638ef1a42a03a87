"""Which stages may run side by side on so many cores, and which of them come first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import networkx as nx


@dataclass(frozen=True)
class Task:
    """A stage to be run.

    Attributes:
        name: its address in dvc.yaml.
        needs: the names of the stages whose outputs it reads.
        threads: how many threads it computes with.
        seconds: how long it is expected to take.
    """

    name: str
    needs: frozenset[str]
    threads: int = 1
    seconds: float = 1.0


@dataclass
class Schedule:
    """List scheduling by the critical path: of the stages that may start, the one with the longest way to the end comes first.

    The threads of a stage that has several of them wait for each other spinning, so it becomes many times slower when another
    process takes one of its cores. Such stages therefore get their cores for themselves. Beside them a stage of one thread may
    use what they leave idle, at a priority that takes nothing from them.

    Attributes:
        tasks: all stages.
        cores: how many there are.
        yielding: whether this system has a priority below all others.
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
        way: dict[str, float] = {}
        for name in reversed(list(nx.lexicographical_topological_sort(graph))):
            way[name] = self.waiting[name].seconds + max((way[later] for later in graph.successors(name)), default=0.0)
        self.order = sorted(way, key=lambda name: (-way[name], name))

    def next(self) -> str | None:
        """The stage to start now, which counts as running from here on; None where one has to end first."""
        for name in self.order:
            task = self.waiting.get(name)
            if task and task.needs <= self.done and self._fits(task):
                self.running[name] = self.waiting.pop(name)
                return name
        return None

    def finish(self, name: str) -> None:
        """Say that a stage has ended well."""
        del self.running[name]
        self.done.add(name)

    def idle(self) -> bool:
        """Whether nothing runs and nothing can be started any more."""
        return not self.running and not any(task.needs <= self.done for task in self.waiting.values())

    def background(self) -> set[str]:
        """The running stages that have to yield their cores to others."""
        if sum(map(self._share, self.running.values())) <= self.cores or not self._threaded():
            return set()
        return {name for name, task in self.running.items() if self._share(task) == 1}

    def alone(self) -> bool:
        """Whether no other stage runs, or could, beside the one that runs."""
        return len(self.running) == 1 and not any(task.needs <= self.done for task in self.waiting.values())

    def last(self) -> bool:
        """Whether the one that runs is the last of all."""
        return len(self.running) == 1 and not self.waiting

    def _share(self, task: Task) -> int:
        return min(task.threads, self.cores)

    def _threaded(self) -> int:
        """The cores of the running stages that have several threads."""
        return sum(share for share in map(self._share, self.running.values()) if share > 1)

    def _fits(self, task: Task) -> bool:
        share, threaded = self._share(task), self._threaded()
        single = sum(self._share(other) == 1 for other in self.running.values())
        if share > 1:
            return threaded + share + (0 if self.yielding else single) <= self.cores
        return single < max(self.cores - threaded, 1 if self.yielding and self.cores > 1 else 0)
