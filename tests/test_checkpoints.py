"""Checkpoints: a killed training on images resumes and ends in the bytes of an uninterrupted one."""

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
from stages.mnist.images.lookahead import Lookahead
from stages.mnist.training.checkpoints import FileCheckpoints, key
from stages.mnist.training.launch import Worker
from stages.nn.batches import EpochBatches
from stages.nn.build import build, configured
from stages.nn.conv import as_images
from stages.nn.method import Method
from stages.nn.training import fit
from tests import small

PARAMS = params.load(ROOT / "params.yaml")
WORKER = Worker(0, 1, torch.device("cpu"))
STEPS = 11


class Killed(Exception):
    """Simulates the end of the process."""


def make(name: str) -> Method:
    """A method on images with a small encoder."""
    torch.manual_seed(0)
    changes = {"encoder": {"channels": [2, 3, 4], "dim": 6}, "view": {"schedule": [0.1, 1.0]}}
    settings = {**configured(PARAMS, MNIST_PREFIX + name)[0], **changes}
    perturbations = PARAMS.mnist_perturbations.model_dump()
    return build(name, Images(side=28, colours=1, perturbations=perturbations, mixed_precision=False), settings)


def checkpoints(name: str, digest: str, every: int = 4) -> FileCheckpoints:
    """The checkpoints of a training before its first step, one every few steps; an epoch has seven steps."""
    images = torch.randint(256, (56, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    shuffle, augment = torch.Generator().manual_seed(2), torch.Generator().manual_seed(3)
    batches = EpochBatches(images, batch_size=8, generator=shuffle)
    found = FileCheckpoints(name, digest, WORKER, generators=[shuffle, augment], batches=batches, snapshots=[])
    found.every = every
    return found


def run(
    name: str, *, killed_after: int | None = None, digest: str = "d" * 64, every: int = 4, together: int = 24
) -> tuple[Method, Any, list[Tensor]]:
    """Train in the current folder.

    Args:
        name: of the method.
        killed_after: number of batches after which `Killed` is raised; None to train to the end.
        digest: of all that determines the training.
        every: steps between two checkpoints.
        together: number of images that are augmented together.

    Returns:
        The method, the rows of its curves and its snapshots.
    """
    method, saved = make(name), checkpoints(name, digest, every)
    _, augment = saved.generators
    batches, snapshots = saved.batches, saved.snapshots
    noise = Lookahead(augment, batches, together=together * 28**2)

    def until_killed() -> Iterator[Tensor]:
        for number, batch in enumerate(noise.images()):
            if number == killed_after:
                raise Killed
            yield batch

    rows = fit(
        method,
        until_killed(),
        name=name,
        source=noise,
        steps=STEPS,
        learning_rate=0.01,
        weight_decay=0.1,
        schedule="cosine",
        warmup=2,
        log_every=1,
        snapshots=[0, 2, 5, 8, STEPS],
        on_snapshot=lambda step: snapshots.append(method.embed(as_images(batches.x[:5])).detach()),
        checkpoints=saved,
    )
    return method, rows, snapshots


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", PARAMS.mnist.methods)
@pytest.mark.parametrize("killed_after", [9, 6])
def test_interrupted_training_ends_in_the_bytes_of_an_uninterrupted_one(name: str, killed_after: int, capsys: Any) -> None:
    uninterrupted = run(name, digest="e" * 64)
    capsys.readouterr()
    with pytest.raises(Killed):
        run(name, killed_after=killed_after)
    resumed = run(name)
    assert f"resuming from step {killed_after // 4 * 4}" in capsys.readouterr().out
    for value, other in zip(uninterrupted[0].state_dict().values(), resumed[0].state_dict().values(), strict=True):
        assert (value == other).all() and value.stride() == other.stride()
    assert uninterrupted[1] == resumed[1]
    assert len(resumed[2]) == 5 and all((a == b).all() for a, b in zip(uninterrupted[2], resumed[2], strict=True))


@pytest.mark.parametrize("name", PARAMS.mnist.methods)
@pytest.mark.parametrize("step", range(1, STEPS))
def test_training_may_resume_among_steps_whose_views_are_computed_together(name: str, step: int, capsys: Any) -> None:
    step_by_step = run(name, digest="e" * 64, together=0)
    with pytest.raises(Killed):
        run(name, killed_after=step, every=step, together=32)
    resumed = run(name, every=step, together=32)
    assert f"resuming from step {step}" in capsys.readouterr().out
    assert step_by_step[1] == resumed[1]
    for value, other in zip(step_by_step[0].state_dict().values(), resumed[0].state_dict().values(), strict=True):
        assert torch.equal(value, other)


def test_checkpoint_of_another_training_is_neither_used_nor_removed(capsys: Any) -> None:
    with pytest.raises(Killed):
        run("contrastive", killed_after=9)
    (first,) = Path(".checkpoints").iterdir()
    with pytest.raises(Killed):
        run("contrastive", killed_after=9, digest="e" * 64)
    assert "resuming" not in capsys.readouterr().out
    checkpoints("contrastive", "e" * 64).remove()
    assert list(Path(".checkpoints").iterdir()) == [first]


def test_old_checkpoints_of_abandoned_trainings_are_removed() -> None:
    with pytest.raises(Killed):
        run("contrastive", killed_after=9)
    (abandoned,) = Path(".checkpoints").iterdir()
    of_another_method = abandoned.with_name("vicreg.0.safetensors")
    of_another_method.write_bytes(b"")
    for path in (abandoned, of_another_method):
        os.utime(path, (0, 0))
    checkpoints("contrastive", "e" * 64).remove()
    assert list(Path(".checkpoints").iterdir()) == [of_another_method]


@pytest.mark.parametrize("damage", ["truncated", "empty", "bit flipped", "bit flipped in the header"])
def test_training_restarts_if_its_checkpoint_is_damaged(damage: str, capsys: Any) -> None:
    uninterrupted = run("contrastive", digest="e" * 64)
    with pytest.raises(Killed):
        run("contrastive", killed_after=9)
    checkpoint = checkpoints("contrastive", "d" * 64).path
    content = bytearray(checkpoint.read_bytes())
    content[len(content) * 2 // 3] ^= 1 if damage == "bit flipped" else 0
    content[5] ^= 1 if damage == "bit flipped in the header" else 0
    checkpoint.write_bytes(content[: {"truncated": len(content) // 2, "empty": 0}.get(damage, len(content))])
    restarted = run("contrastive")
    output = capsys.readouterr().out
    assert "is damaged, restarting from step 0" in output and "resuming" not in output
    assert uninterrupted[1] == restarted[1]


def test_checkpoint_is_written_atomically(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Killed):
        run("contrastive", killed_after=6)
    (file,) = Path(".checkpoints").iterdir()
    before = file.read_bytes()

    def killed(*_: Any) -> None:
        raise Killed

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(Killed):
        run("contrastive")
    assert file.read_bytes() == before


def test_key_depends_on_all_that_determines_a_training(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"one")
    stage = ROOT / "stages/mnist/train.py"
    keys = [
        key(stage, "jepa_ema", {"seed": 0}, [data], WORKER),
        key(stage, "vicreg", {"seed": 0}, [data], WORKER),
        key(stage, "jepa_ema", {"seed": 1}, [data], WORKER),
        key(stage, "jepa_ema", {"seed": 0}, [data], Worker(0, 2, torch.device("cpu"))),
        key(ROOT / "stages/mnist/reconstruct.py", "jepa_ema", {"seed": 0}, [data], WORKER),
    ]
    data.write_bytes(b"two")
    keys.append(key(stage, "jepa_ema", {"seed": 0}, [data], WORKER))
    assert len(set(keys)) == len(keys)
    data.write_bytes(b"one")
    assert keys[0] == key(stage, "jepa_ema", {"seed": 0}, [data], WORKER)


def kill_training(folder: Path) -> None:
    """Start the training of phase 1 by DVC and kill all its processes as soon as there is a checkpoint."""
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
    # Processes that share a training have their own sessions, so every process that works in the folder is killed.
    for worker in small.running(folder):
        worker.kill()
    process.wait()


LONG = {"mnist_jepa_ema": {"train": {"steps": 1400}}}
"""Params of a training that writes two checkpoints."""


@pytest.mark.integration
@pytest.mark.parametrize("processes", [1, 2])
def test_killed_stage_resumes_and_restarts_on_request(copied: Path, processes: int) -> None:
    small.change_params(copied, {**LONG, "processes": processes})
    kill_training(copied)
    output = small.run(copied, "dvc", "repro", "--no-run-cache", "mnist_train@jepa_ema")
    assert "resuming from step 500" in output or "resuming from step 1000" in output
    resumed = (copied / "models/mnist/jepa_ema.safetensors").read_bytes()
    curves = (copied / "reports/curves/mnist/jepa_ema.csv").read_bytes()
    assert not list((copied / ".checkpoints").iterdir())
    abandoned = copied / ".checkpoints/mnist_train.jepa_ema.0.safetensors"
    abandoned.write_bytes(b"of an abandoned training")
    os.utime(abandoned, (0, 0))
    command = ("dvc", "repro", "--no-run-cache", "--force", "--single-item", "mnist_train@jepa_ema")
    output = small.run(copied, *command, **{FRESH: "1"})
    assert "resuming" not in output and not abandoned.exists()
    assert (copied / "models/mnist/jepa_ema.safetensors").read_bytes() == resumed
    assert (copied / "reports/curves/mnist/jepa_ema.csv").read_bytes() == curves


@pytest.mark.integration
def test_forced_run_of_the_pipeline_ignores_checkpoints(copied: Path) -> None:
    small.change_params(copied, LONG)
    kill_training(copied)
    output = small.reproduce(copied, "2", "--force", "--no-run-cache")
    assert "resuming" not in output


@pytest.mark.integration
def test_processes_that_share_a_training_end_when_their_stage_is_killed(copied: Path) -> None:
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
    children = psutil.Process(stage.pid).children(recursive=True)
    assert len(children) >= 3
    stage.kill()
    stage.wait()
    _, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
