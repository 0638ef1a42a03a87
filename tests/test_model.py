"""The cost model behind docs/scaling.md."""

from __future__ import annotations

import math

import networkx as nx
import pytest

from benchmarks.model import Costs, Sharing, changed, experiments_table, gpu_table, in_chains, makespan, slots_table

GRAPH = nx.DiGraph([("b", "a"), ("c", "a"), ("d", "a"), ("end", "b"), ("end", "c"), ("end", "d")])
SECONDS = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 5.0, "end": 1.0}


@pytest.mark.parametrize("slots, span", [(1, 12), (2, 7), (3, 7), (100, 7)])
def test_the_time_falls_to_the_longest_way_and_no_further(slots: int, span: float) -> None:
    assert makespan(GRAPH, SECONDS, slots) == span


def test_what_most_work_waits_for_comes_first() -> None:
    graph = nx.DiGraph([("long2", "long1")])
    graph.add_nodes_from(["short1", "short2"])
    assert makespan(graph, {"long1": 2, "long2": 2, "short1": 1, "short2": 1}, 2) == 4


def test_methods_side_by_side_are_whole_chains() -> None:
    graph = nx.DiGraph(
        [("train@a", "data"), ("train@b", "data"), ("look@a", "train@a"), ("table", "look@a"), ("table", "train@b")]
    )
    seconds = {"data": 1.0, "train@a": 2.0, "look@a": 3.0, "train@b": 4.0, "table": 1.0}
    assert [in_chains(graph, seconds, jobs) for jobs in (1, 2, 9)] == [11, 7, 7]


def test_sixteen_machines_take_whole_experiments() -> None:
    costs = {name: Costs(work=value, start=0.0, size=0) for name, value in SECONDS.items()}
    rows = experiments_table(GRAPH, costs, "d", (10, 100)).splitlines()[-2:]
    hours = [float(row.split("|")[4].split()[0]) * 3600 for row in rows]
    assert hours == [pytest.approx(6, rel=0.01), pytest.approx(7 * 6, rel=0.01)]


def test_what_a_node_does_beside_its_stages_counts_where_there_are_many() -> None:
    costs = {name: Costs(work=value, start=0.0, size=0) for name, value in SECONDS.items()}
    row = experiments_table(GRAPH, costs, "d", (16,), Sharing(clone=1, pull=2, push=3)).splitlines()[-1]
    one, many = (float(row.split("|")[place].split()[0]) * 3600 for place in (3, 4))
    assert (one, many) == (pytest.approx(16 * 6, rel=0.01), pytest.approx(6 + 6, rel=0.01))


def test_a_gpu_speeds_up_the_images_alone_and_no_start() -> None:
    graph = nx.DiGraph([("mnist_train@a", "mog_train@a"), ("mnist_evaluate@a", "mnist_train@a")])
    costs = {name: Costs(work=10.0, start=1.0, size=0) for name in graph}
    rows = gpu_table(graph, costs, (1, 10, math.inf)).splitlines()[-3:]
    assert [row.split("|")[2].strip() for row in rows] == ["33 s", "15 s", "13 s"]


def test_a_change_reruns_what_depends_on_it() -> None:
    assert set(changed(GRAPH, "b")) == {"b", "end"} and set(changed(GRAPH, "a")) == set(GRAPH)


def test_the_tables_count_work_start_and_bytes() -> None:
    costs = {name: Costs(work=value - 0.5, start=0.5, size=10**9) for name, value in SECONDS.items()}
    assert "| 1 | 12 s | 1 | 12 s | 1 |" in slots_table(GRAPH, costs, (1, 2))
    row = experiments_table(GRAPH, costs, "b", (1200,)).splitlines()[-1]
    assert row.startswith("| 1,200 |") and "| 1 h |" in row and "2400 GB" in row.replace(",", "")
