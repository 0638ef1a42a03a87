"""Parts of a stage side by side: what they return and raise is what they would alone, on any number of cores."""

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


def whose(number: int) -> tuple[int, int]:
    return number, os.getpid()


@pytest.mark.parametrize("cores", [1, 2, 3, 8])
def test_results_come_in_the_order_of_the_parts_whoever_made_them(cores: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CORES, str(cores))
    numbers, processes = zip(*concurrently(*(partial(whose, number) for number in range(20))), strict=True)
    assert numbers == tuple(range(20)) and len(set(processes)) <= cores


def test_after_cuda_was_used_nothing_is_forked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork of it could not use the device, nor end well."""
    monkeypatch.setenv(CORES, "8")
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert {process for _, process in concurrently(*(partial(whose, number) for number in range(5)))} == {os.getpid()}


@pytest.mark.skipif(not FORKS, reason="without forks the parts run one after another")
def test_a_part_that_waits_holds_up_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one ends only after all others have: with fixed shares it would wait for some of its own."""
    monkeypatch.setenv(CORES, "2")
    reading, writing = os.pipe()
    try:
        concurrently(lambda: os.read(reading, 1), *[lambda: None] * 5, lambda: os.write(writing, b"."))
    finally:
        os.close(reading)
        os.close(writing)


def failed(error: Exception) -> None:
    raise error


@pytest.mark.parametrize("cores", ["1", "2"])
@pytest.mark.parametrize("place", [0, 1, 4])
def test_what_a_part_raises_is_raised(cores: str, place: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CORES, cores)
    parts: list[Callable[[], object]] = [partial(whose, number) for number in range(5)]
    parts[place] = partial(failed, UserError("no reason"))
    with pytest.raises(UserError, match=r"^no reason$"):
        concurrently(*parts)


@pytest.mark.skipif(not FORKS, reason="without forks the parts run one after another")
def test_a_fork_that_dies_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CORES, "2")
    own = os.getpid()

    def part() -> None:
        if os.getpid() != own:
            os._exit(7)
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT)

    with pytest.raises(UserError, match=r"^a process of this stage exited with status 7"):
        concurrently(part, part)
