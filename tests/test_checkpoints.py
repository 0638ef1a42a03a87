"""A training on images that was killed goes on from its last checkpoint to the bytes of an undisturbed one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from torch import Tensor

from stages.config import params
from stages.config.base import MNIST_PREFIX
from stages.core.paths import FRESH, ROOT
from stages.mnist.encoder.domain import Images
from stages.mnist.training.checkpoints import FileCheckpoints, key
from stages.mnist.training.launch import Worker
from stages.nn.batches import EpochBatches
from stages.nn.build import build, configured
from stages.nn.method import Method
from stages.nn.noise import TrainingNoise
from stages.nn.training import fit
from tests import small

PARAMS = params.load(ROOT / "params.yaml")
HERE = Worker(0, 1, torch.device("cpu"))
STEPS = 11


class Killed(Exception):
    """Stands for the end of the process."""


def make(name: str) -> Method:
    torch.manual_seed(0)
    settings = {**configured(PARAMS, MNIST_PREFIX + name)[0], "encoder": {"channels": [2, 3, 4], "dim": 6}}
    perturbations = PARAMS.mnist_perturbations.model_dump()
    return build(name, Images(perturbations=perturbations, mixed_precision=False), settings)


def checkpoints(name: str, digest: str) -> FileCheckpoints:
    """Those of a training that has not begun."""
    images = torch.rand(40, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    shuffle, perturb = torch.Generator().manual_seed(2), torch.Generator().manual_seed(3)
    batches = EpochBatches(images, batch_size=16, generator=shuffle)
    made = FileCheckpoints(name, digest, HERE, generators=[shuffle, perturb], batches=batches, snapshots=[])
    made.every = 4
    return made


def run(name: str, *, killed_after: int | None = None, digest: str = "d" * 64) -> tuple[Method, Any, list[Tensor]]:
    """Train in the current folder; `killed_after` so many steps."""
    method, kept = make(name), checkpoints(name, digest)
    _, perturb = kept.generators
    batches, snapshots = kept.batches, kept.snapshots

    def until_killed() -> Iterator[Tensor]:
        for number, batch in enumerate(batches):
            if number == killed_after:
                raise Killed
            yield batch

    rows = fit(
        method,
        until_killed(),
        name=name,
        source=TrainingNoise(perturb),
        steps=STEPS,
        learning_rate=0.01,
        weight_decay=0.1,
        schedule="cosine",
        warmup=2,
        log_every=1,
        snapshots=[0, 2, 5, 8, STEPS],
        on_snapshot=lambda step: snapshots.append(method.embed(batches.x[:5]).detach()),
        checkpoints=kept,
    )
    return method, rows, snapshots


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", PARAMS.mnist.methods)
@pytest.mark.parametrize("killed_after", [9, 6])
def test_an_interrupted_training_ends_in_the_same_bytes(name: str, killed_after: int, capsys: Any) -> None:
    undisturbed = run(name, digest="e" * 64)
    capsys.readouterr()
    with pytest.raises(Killed):
        run(name, killed_after=killed_after)
    resumed = run(name)
    assert f"resuming from step {killed_after // 4 * 4}" in capsys.readouterr().out
    for value, other in zip(undisturbed[0].state_dict().values(), resumed[0].state_dict().values(), strict=True):
        assert (value == other).all() and value.stride() == other.stride()
    assert undisturbed[1] == resumed[1]
    assert len(resumed[2]) == 5 and all((a == b).all() for a, b in zip(undisturbed[2], resumed[2], strict=True))


def test_what_is_kept_of_another_training_is_left_alone(capsys: Any) -> None:
    with pytest.raises(Killed):
        run("contrastive", killed_after=9)
    (kept,) = Path(".checkpoints").iterdir()
    with pytest.raises(Killed):
        run("contrastive", killed_after=9, digest="e" * 64)
    assert "resuming" not in capsys.readouterr().out
    checkpoints("contrastive", "e" * 64).remove()
    assert list(Path(".checkpoints").iterdir()) == [kept]


def test_what_was_given_up_long_ago_is_removed() -> None:
    with pytest.raises(Killed):
        run("contrastive", killed_after=9)
    (kept,) = Path(".checkpoints").iterdir()
    other = kept.with_name("vicreg.0.safetensors")
    other.write_bytes(b"")
    for path in (kept, other):
        os.utime(path, (0, 0))
    checkpoints("contrastive", "e" * 64).remove()
    assert list(Path(".checkpoints").iterdir()) == [other]


@pytest.mark.parametrize("damage", ["truncated", "empty", "flipped", "in the header"])
def test_a_damaged_checkpoint_is_not_gone_on_from(damage: str, capsys: Any) -> None:
    undisturbed = run("contrastive", digest="e" * 64)
    with pytest.raises(Killed):
        run("contrastive", killed_after=9)
    kept = checkpoints("contrastive", "d" * 64).path
    content = bytearray(kept.read_bytes())
    content[len(content) * 2 // 3] ^= 1 if damage == "flipped" else 0
    content[5] ^= 1 if damage == "in the header" else 0
    kept.write_bytes(content[: {"truncated": len(content) // 2, "empty": 0}.get(damage, len(content))])
    anew = run("contrastive")
    output = capsys.readouterr().out
    assert "is damaged, restarting from step 0" in output and "resuming" not in output
    assert undisturbed[1] == anew[1]


def test_a_checkpoint_is_written_as_a_whole_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Killed):
        run("contrastive", killed_after=6)
    (file,) = Path(".checkpoints").iterdir()
    before = file.read_bytes()

    def broken(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(Killed):
        run("contrastive")
    assert file.read_bytes() == before


def test_the_key_is_of_all_that_decides_a_training(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"one")
    stage = ROOT / "stages/mnist/train.py"
    keys = [
        key(stage, "jepa_ema", {"seed": 0}, [data], HERE),
        key(stage, "vicreg", {"seed": 0}, [data], HERE),
        key(stage, "jepa_ema", {"seed": 1}, [data], HERE),
        key(stage, "jepa_ema", {"seed": 0}, [data], Worker(0, 2, torch.device("cpu"))),
        key(ROOT / "stages/mnist/reconstruct.py", "jepa_ema", {"seed": 0}, [data], HERE),
    ]
    data.write_bytes(b"two")
    keys.append(key(stage, "jepa_ema", {"seed": 0}, [data], HERE))
    assert len(set(keys)) == len(keys)
    data.write_bytes(b"one")
    assert keys[0] == key(stage, "jepa_ema", {"seed": 0}, [data], HERE)


def kill_training(folder: Path) -> None:
    """Start the training of phase 1 by DVC and kill all of it as soon as something is kept."""
    process = subprocess.Popen(
        ["dvc", "repro", "--no-run-cache", "mnist_train@jepa_ema"],
        cwd=folder,
        env=small.environment(),
        start_new_session=True,
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list(folder.glob(".checkpoints/*.safetensors")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    # Those that share a training have sessions of their own: all that works in the folder is killed.
    for one in small.running(folder):
        one.kill()
    process.wait()


LONG = {"mnist_jepa_ema": {"train": {"steps": 1400}}}


@pytest.mark.integration
@pytest.mark.parametrize("processes", [1, 2])
def test_a_killed_stage_resumes_and_starts_anew_on_request(copied: Path, processes: int) -> None:
    small.change_params(copied, {**LONG, "processes": processes})
    kill_training(copied)
    output = small.run(copied, "dvc", "repro", "--no-run-cache", "mnist_train@jepa_ema")
    assert "resuming from step 500" in output or "resuming from step 1000" in output
    resumed = (copied / "models/mnist/jepa_ema.safetensors").read_bytes()
    curves = (copied / "reports/curves/mnist/jepa_ema.csv").read_bytes()
    assert not list((copied / ".checkpoints").iterdir())
    kept = copied / ".checkpoints/mnist_train.jepa_ema.0.safetensors"
    kept.write_bytes(b"of another time")
    os.utime(kept, (0, 0))
    command = ("dvc", "repro", "--no-run-cache", "--force", "--single-item", "mnist_train@jepa_ema")
    output = small.run(copied, *command, **{FRESH: "1"})
    assert "resuming" not in output and not kept.exists()
    assert (copied / "models/mnist/jepa_ema.safetensors").read_bytes() == resumed
    assert (copied / "reports/curves/mnist/jepa_ema.csv").read_bytes() == curves


@pytest.mark.integration
def test_a_forced_run_of_the_pipeline_ignores_checkpoints(copied: Path) -> None:
    small.change_params(copied, LONG)
    kill_training(copied)
    output = small.reproduce(copied, "2", "--force", "--no-run-cache")
    assert "resuming" not in output


@pytest.mark.integration
def test_processes_that_share_a_training_end_with_the_stage_that_started_them(copied: Path) -> None:
    small.change_params(copied, {"mnist_jepa_ema": {"train": {"steps": 100000}}, "processes": 2})
    stage = subprocess.Popen(
        [sys.executable, "-m", "stages.mnist.train", "jepa_ema"],
        cwd=copied,
        env=small.environment(),
        stdout=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while not list(copied.glob(".checkpoints/*.safetensors")):
        assert stage.poll() is None and time.monotonic() < deadline
        time.sleep(0.1)
    others = psutil.Process(stage.pid).children(recursive=True)
    assert len(others) >= 3
    stage.kill()
    stage.wait()
    _, alive = psutil.wait_procs(others, timeout=60)
    assert not alive
