"""Distributed training: two processes over gloo, compared with one process that has the whole batch."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn
from torch.testing import assert_close

from stages.config import params
from stages.config.base import MNIST_PREFIX
from stages.core.paths import ROOT
from stages.mnist.decoder.model import Reconstruction
from stages.mnist.encoder.domain import Images
from stages.mnist.training.fit import gather_across_processes
from stages.nn.build import build, configured
from stages.nn.conv import Decoder
from stages.nn.distributed import gather, shared_loss, synchronise
from stages.nn.method import Method
from stages.nn.noise import NoiseSource, TrainingNoise
from tests import small

PARAMS = params.load(ROOT / "params.yaml")
BATCH = 24
MODES = ("frozen", "finetuned", "scratch")


class Mirrored(Images):
    """Images with a deterministic augmentation, so that the views of a part of a batch are the same as in the whole batch."""

    def augmentation(self, **_: Any) -> Callable[[Tensor, NoiseSource], Tensor]:
        return lambda x, source: 0.7 * x + 0.3 * x.flip(-1)


def make(name: str) -> Method:
    """A small method in double precision by its name in `STEPS`, or a decoder on its encoder."""
    mode, _, encoder = name.rpartition(" decoder of ")
    settings = copy.deepcopy(configured(PARAMS, MNIST_PREFIX + encoder)[0])
    settings["encoder"] = {"channels": [4, 6, 8], "dim": 12}
    torch.manual_seed(3)
    domain = Mirrored(side=28, colours=1, perturbations={}, mixed_precision=False)
    method = build(encoder, domain, settings).double()
    if mode:
        decoder = Decoder(dim=12, channels=4, side=28, colours=1).double()
        return Reconstruction(method, decoder, domain.augmentation(), encoder_mode=mode, encoder_scale=1)
    return method


def images() -> Tensor:
    return torch.rand(BATCH, 1, 28, 28, generator=torch.Generator().manual_seed(1)).double()


def state(method: Method, parts: dict[str, Tensor]) -> dict[str, Tensor]:
    """The terms of the loss, all gradients and all buffers after one backward pass."""
    parts["loss"].backward()
    gradients = {f"gradient of {k}": p.grad for k, p in method.named_parameters() if p.grad is not None}
    return {**{k: v.detach() for k, v in parts.items()}, **gradients, **dict(method.named_buffers())}


def source() -> TrainingNoise:
    return TrainingNoise(torch.Generator().manual_seed(2))


def shared_step(name: str) -> dict[str, Tensor]:
    """The `state` after the step of this process, on its part of the batch."""
    method = make(name).train()
    if " decoder of " in name:
        synchronise(method)
    else:
        gather_across_processes(method)
    part = images().chunk(dist.get_world_size())[dist.get_rank()]
    loss = shared_loss(method, some_unused=" decoder of " in name)
    return state(method, loss(part, source()))


def gathered() -> dict[str, Tensor]:
    """The gathered parts of all processes, and the gradient of this process's part."""
    part = torch.arange(4.0).view(2, 2).add(10 * dist.get_rank()).requires_grad_()
    whole = gather(part)
    (whole * torch.arange(8.0).view(4, 2)).sum().backward()
    assert part.grad is not None
    return {"whole": whole.detach(), "gradient": part.grad}


STEPS = [*PARAMS.mnist.methods, *(f"{mode} decoder of jepa_ema" for mode in MODES)]
"""Names of the methods and decoders whose step is tested."""
Result = dict[str, Tensor]


def _process(rank: int, port: int, folder: str) -> None:
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2, timeout=timedelta(minutes=2))
    torch.save(gathered(), f"{folder}/gathered.{rank}.pt")
    for number, name in enumerate(STEPS):
        dist.barrier()
        torch.save(shared_step(name), f"{folder}/{number}.{rank}.pt")
    dist.barrier()
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], list[Result]]:
    """The results of both processes, by the name of the step or `gathered`; one pair computes all, since its start is slow."""
    folder = tmp_path_factory.mktemp("shared")
    mp.spawn(_process, (small.free_port(), str(folder)), nprocs=2)

    def results(name: str) -> list[Result]:
        stem = "gathered" if name == "gathered" else STEPS.index(name)
        return [torch.load(folder / f"{stem}.{rank}.pt", weights_only=True) for rank in range(2)]

    return results


@pytest.mark.parametrize("name", STEPS)
def test_step_of_two_processes_equals_the_step_of_one(name: str, shared: Callable[[str], list[Result]]) -> None:
    method = make(name).train()
    alone = state(method, method.loss(images(), source()))
    assert any(key.startswith("gradient") for key in alone) and any("running_var" in key for key in alone)
    for result in shared(name):
        assert result.keys() == alone.keys()
        for key, value in alone.items():
            assert_close(result[key], value, rtol=1e-5, atol=1e-7, msg=lambda text, key=key: f"{key}: {text}")


def test_gather_concatenates_all_parts_and_sums_their_gradients(shared: Callable[[str], list[Result]]) -> None:
    first, second = shared("gathered")
    whole = torch.tensor([[0.0, 1], [2, 3], [10, 11], [12, 13]])
    assert_close(first["whole"], whole)
    assert_close(second["whole"], whole)
    assert_close(first["gradient"], 2 * torch.tensor([[0.0, 1], [2, 3]]))
    assert_close(second["gradient"], 2 * torch.tensor([[4.0, 5], [6, 7]]))


def test_synchronise_keeps_names_values_and_frozen_parameters() -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Sequential(nn.BatchNorm1d(3))).requires_grad_(False)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    synchronise(network)
    assert before.keys() == network.state_dict().keys()
    assert all((before[k] == v).all() for k, v in network.state_dict().items())
    assert not any(p.requires_grad for p in network.parameters())
    x = torch.randn(4, 2, 3, 3)
    plain = nn.BatchNorm2d(2).eval()
    assert_close(network[1].eval()(x), plain(x))


def accuracy(folder: Path) -> float:
    """The k-NN accuracy of jepa_ema on the images in a reproduced clone."""
    found: float = json.loads((folder / "reports/measured/mnist/jepa_ema.json").read_text())["knn"]["accuracy"]["mean"]
    return found


@pytest.mark.integration
def test_stage_with_two_processes_reaches_the_accuracy_of_one(copied: Path) -> None:
    alone = accuracy(copied)
    small.change_params(copied, {"processes": 2})
    small.run(copied, "dvc", "repro", "mnist_evaluate@jepa_ema", "mnist_reconstruct@jepa_ema")
    shared = accuracy(copied)
    assert shared != alone and shared > 0.7
    assert abs(shared - alone) < 4 * (2 * alone * (1 - alone) / 300) ** 0.5
    lines = (copied / "reports/curves/mnist/jepa_ema.csv").read_text().splitlines()
    assert len(lines) == 31


@pytest.mark.integration
def test_machines_with_different_cpu_capabilities_resume_from_one_checkpoint(copied: Path) -> None:
    small.change_params(copied, {"processes": 2, "mnist_jepa_ema": {"train": {"steps": 1200}}})
    model = copied / "models/mnist/jepa_ema.safetensors"
    model.unlink()

    def nodes() -> list[subprocess.Popen[str]]:
        # With fixed ranks, the same machine writes the checkpoint and determines its digest in both runs.
        rendezvous = ["--master-addr", "127.0.0.1", "--master-port", str(small.free_port())]
        command = ["torchrun", "--nnodes", "2", "--nproc-per-node", "1", *rendezvous]
        capabilities: list[dict[str, str]] = [{}, {"ATEN_CPU_CAPABILITY": "default"}]
        return [
            subprocess.Popen(
                [*command, "--node-rank", str(rank), "-m", "stages.mnist.train", "jepa_ema"],
                cwd=copied,
                env=small.environment(**capability),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for rank, capability in enumerate(capabilities)
        ]

    first = nodes()
    deadline = time.monotonic() + 240
    while not list(copied.glob(".checkpoints/*.safetensors")):
        assert time.monotonic() < deadline and all(node.poll() is None for node in first)
        time.sleep(0.05)
    for process in small.running(copied):
        process.kill()
    for node in first:
        node.communicate()
    second = nodes()
    output = "".join(node.communicate(timeout=300)[0] for node in second)
    assert [node.returncode for node in second] == [0, 0], output
    assert "resuming from step" in output, output
    assert model.exists() and not list(copied.glob(".checkpoints/*.safetensors"))


@pytest.mark.integration
def test_two_machines_end_in_the_bytes_of_two_processes_on_one_machine(copied: Path) -> None:
    small.change_params(copied, {"processes": 2})
    model = copied / "models/mnist/jepa_ema.safetensors"
    small.run(copied, "dvc", "repro", "mnist_train@jepa_ema")
    on_one_machine = model.read_bytes()
    model.unlink()
    rendezvous = ["--rdzv-backend", "c10d", "--rdzv-endpoint", f"127.0.0.1:{small.free_port()}"]
    command = ["torchrun", "--nnodes", "2", "--nproc-per-node", "1", *rendezvous, "-m", "stages.mnist.train", "jepa_ema"]
    nodes = [subprocess.Popen(command, cwd=copied, env=small.environment(), stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [node.wait(timeout=300) for node in nodes] == [0, 0]
    assert model.read_bytes() == on_one_machine


def test_failed_process_ends_the_stage_with_one_line(copied: Path) -> None:
    small.change_params(copied, {"processes": 2, "mnist_jepa_ema": {"train": {"learning_rate": 1e30}}})
    output = small.run(copied, "python", "-m", "stages.mnist.train", "jepa_ema", status=1)
    assert "error: jepa_ema: the loss is not finite at step" in output
    assert output.strip().splitlines()[-1].startswith("error: jepa_ema: one of the 2 processes failed")


def test_number_of_processes_other_than_that_of_the_params_is_rejected(copied: Path) -> None:
    output = small.run(copied, "python", "-m", "stages.mnist.train", "jepa_ema", status=1, WORLD_SIZE="3")
    assert output == "error: params.yaml: processes: 1 is not accepted: torchrun started 3\n"


def test_batch_not_divisible_by_the_number_of_processes_is_rejected(copied: Path) -> None:
    small.change_params(copied, {"processes": 3})
    output = small.run(copied, "python", "-m", "stages.tools.check", status=1)
    assert output.startswith("error: params.yaml: mnist_") and "expected a multiple of processes: 3" in output
