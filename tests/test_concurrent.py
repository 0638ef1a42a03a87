"""Parallel parts of a stage: on any number of cores they give the same results and exceptions as one after another."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial

import pytest
import torch

from stages.core.errors import UserError
from stages.pipeline.concurrent import CORES, concurrently

FORKS = hasattr(os, "fork") and sys.platform != "darwin"


def number_and_process(number: int) -> tuple[int, int]:
    """The number of a part, and the ID of the process that computes it."""
    return number, os.getpid()


@pytest.mark.parametrize("cores", [1, 2, 3, 8])
def test_results_have_the_order_of_the_parts_for_any_number_of_cores(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CORES, str(cores))
    numbers, processes = zip(*concurrently(*(partial(number_and_process, number) for number in range(20))), strict=True)
    assert numbers == tuple(range(20)) and len(set(processes)) <= cores


def test_a_process_with_cuda_initialised_is_not_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork could not use CUDA, nor exit cleanly."""
    monkeypatch.setenv(CORES, "8")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert {process for _, process in concurrently(*(partial(number_and_process, number) for number in range(5)))} == {
        os.getpid()
    }


@pytest.mark.skipif(not FORKS, reason="without forks the parts run one after another")
def test_a_waiting_part_does_not_block_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first part waits for the last one: if parts were assigned to processes in advance, this could deadlock."""
    monkeypatch.setenv(CORES, "2")
    reading, writing = os.pipe()
    try:
        concurrently(lambda: os.read(reading, 1), *[lambda: None] * 5, lambda: os.write(writing, b"."))
    finally:
        os.close(reading)
        os.close(writing)


def fail(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("cores", ["1", "2"])
@pytest.mark.parametrize("place", [0, 1, 4])
def test_the_exception_of_a_part_is_raised(cores: str, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CORES, cores)
    parts: list[Callable[[], object]] = [partial(number_and_process, number) for number in range(5)]
    parts[place] = partial(fail, UserError("no reason"))
    with pytest.raises(UserError, match=r"^no reason$"):
        concurrently(*parts)


@pytest.mark.skipif(not FORKS, reason="without forks the parts run one after another")
def test_the_death_of_a_fork_is_reported_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CORES, "2")
    parent = os.getpid()

    def part() -> None:
        if os.getpid() != parent:
            os._exit(7)
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)

    with pytest.raises(UserError, match=r"^a process of this stage exited with status 7"):
        concurrently(part, part)
