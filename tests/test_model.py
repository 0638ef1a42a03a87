"""The cost model of docs/scaling.md."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import networkx as nx
import pytest

from benchmarks import model
from benchmarks.model import Costs, Sharing, changed, cores_table, experiments_table, gpu_table, makespan, read_costs
from stages.core.errors import UserError
from stages.core.paths import cost_file
from stages.pipeline import files

GRAPH = nx.DiGraph([("b", "a"), ("c", "a"), ("d", "a"), ("end", "b"), ("end", "c"), ("end", "d")])
SECONDS = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 5.0, "end": 1.0}


@pytest.mark.parametrize("cores, span", [(1, 12), (2, 7), (3, 7), (100, 7)])
def test_makespan_decreases_to_the_critical_path(cores: int, span: float) -> None:
    assert makespan(GRAPH, SECONDS, cores) == span


def test_stage_with_the_longest_remaining_path_runs_first() -> None:
    graph = nx.DiGraph([("long2", "long1")])
    graph.add_nodes_from(["short1", "short2"])
    assert makespan(graph, {"long1": 2, "long2": 2, "short1": 1, "short2": 1}, 2) == 4


def test_methods_run_in_parallel_and_proceed_stage_by_stage() -> None:
    graph = nx.DiGraph(
        [("train@a", "data"), ("train@b", "data"), ("look@a", "train@a"), ("table", "look@a"), ("table", "train@b")]
    )
    seconds = {"data": 1.0, "train@a": 2.0, "look@a": 3.0, "train@b": 4.0, "table": 1.0}
    assert [makespan(graph, seconds, cores) for cores in (1, 2, 9)] == [11, 7, 7]


def test_multi_threaded_stages_have_exclusive_cores() -> None:
    graph = nx.DiGraph()
    graph.add_nodes_from("abc")
    seconds = {"a": 4.0, "b": 3.0, "c": 1.0}
    threads = {"a": 2, "b": 2, "c": 1}
    assert [makespan(graph, seconds, cores) for cores in (2, 3, 4, 5)] == [4, 4, 4, 4]
    # On two cores, a and b run one after the other, and c, in the background, gets no core until both have ended.
    assert [makespan(graph, seconds, cores, threads) for cores in (1, 2, 3, 4, 5)] == [8, 8, 7, 4, 4]


def test_background_stages_share_the_cores_that_others_leave() -> None:
    graph = nx.DiGraph([("b", "a")])
    graph.add_nodes_from(["c", "d"])
    seconds = {"a": 1.0, "b": 9.0, "c": 5.0, "d": 5.0}
    threads = {"a": 1, "b": 2, "c": 1, "d": 1}
    # On three cores, c and d run from the start; when b takes two cores, they share the third one.
    assert makespan(graph, seconds, 3, threads) == 10
    assert makespan(graph, {**seconds, "b": 2.0}, 3, threads) == pytest.approx(6)


def test_costs_of_a_run_are_read_from_cost_files_and_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    threads = {"a": 1, "train@b": 4, "c": 2}
    outs = [{"path": "x", "size": 7}, {"path": "y", "size": 3}]
    locked: dict[str, Any] = {
        "a": {"outs": outs},
        "train@b": {"outs": outs[:1], "params": {"params.yaml": {"threads": 2, "processes": 2, "seed": 0}}},
        "c": {"params": {"params.yaml": {"threads": 2}}},
    }
    monkeypatch.setattr(model, "stage_graph", lambda: nx.DiGraph([("train@b", "a"), ("c", "train@b")]))
    monkeypatch.setattr(model, "entries", lambda: locked)
    with pytest.raises(UserError, match="is missing: `dvc repro --force`"):
        read_costs(20)
    for seconds, name in enumerate(threads, 1):
        files.write_json(cost_file(name), {"seconds": float(seconds)})
    graph, costs = read_costs(9)
    assert set(graph) == set(costs) == set(threads)
    assert {name: cost.threads for name, cost in costs.items()} == threads
    assert costs["a"] == Costs(work=1.0, start=1.0, size=10) and costs["c"].size == 0
    assert costs["train@b"].seconds == 3
    del locked["c"]
    with pytest.raises(UserError, match=r"the entry of c in dvc\.lock is incomplete"):
        read_costs(9)


def test_sixteen_machines_run_whole_experiments() -> None:
    costs = {name: Costs(work=value, start=0.0, size=0) for name, value in SECONDS.items()}
    rows = experiments_table(GRAPH, costs, "d", (10, 100)).splitlines()[-2:]
    hours = [float(row.split("|")[4].split()[0]) * 3600 for row in rows]
    assert hours == [pytest.approx(6, rel=0.01), pytest.approx(7 * 6, rel=0.01)]


def test_overhead_of_a_node_counts_only_on_sixteen_machines() -> None:
    costs = {name: Costs(work=value, start=0.0, size=0) for name, value in SECONDS.items()}
    row = experiments_table(GRAPH, costs, "d", (16,), Sharing(clone=1, pull=2, push=3)).splitlines()[-1]
    one_machine, sixteen = (float(row.split("|")[column].split()[0]) * 3600 for column in (3, 4))
    assert (one_machine, sixteen) == (pytest.approx(16 * 6, rel=0.01), pytest.approx(6 + 6, rel=0.01))


def test_gpu_speeds_up_only_the_compute_time_of_image_stages() -> None:
    graph = nx.DiGraph([("mnist_train@a", "mog_train@a"), ("mnist_evaluate@a", "mnist_train@a")])
    costs = {name: Costs(work=10.0, start=1.0, size=0) for name in graph}
    rows = gpu_table(graph, costs, (1, 10, math.inf)).splitlines()[-3:]
    assert [row.split("|")[2].strip() for row in rows] == ["33 s", "15 s", "13 s"]


def test_change_reruns_the_stage_and_all_that_depend_on_it() -> None:
    assert set(changed(GRAPH, "b")) == {"b", "end"} and set(changed(GRAPH, "a")) == set(GRAPH)


def test_tables_count_compute_time_overhead_and_bytes() -> None:
    costs = {name: Costs(work=value - 0.5, start=0.5, size=10**9) for name, value in SECONDS.items()}
    rows = cores_table(GRAPH, costs, (1, 2)).splitlines()[-2:]
    assert rows == ["| 1 | 12 s | 1 |", "| 2 | 7 s | 1.71 |"]
    row = experiments_table(GRAPH, costs, "b", (1200,)).splitlines()[-1]
    assert row.startswith("| 1,200 |") and "| 1 h |" in row and "2400 GB" in row.replace(",", "")
