"""Checkpoints: an interrupted training on images resumes and ends in the same bytes as an uninterrupted one.

DVC deletes a stage's outputs before it runs, so checkpoints are kept in .checkpoints beside dvc.yaml, which neither DVC nor git
tracks. The file name contains a digest of all that determines the training: code, params, data, versions, device, number of
processes. The training restarts from step 0 if any of these has changed, if the file is damaged or if the environment variable
ENERGY_WELLS_FRESH is set. Processes that share a training resume from the checkpoint of rank 0; if one of them cannot read it,
all restart. A completed training removes its checkpoint.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import time
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from stages.core.errors import UserError
from stages.core.paths import FRESH, ROOT, root
from stages.mnist.training.launch import Worker
from stages.nn.batches import EpochBatches
from stages.nn.method import Method
from stages.pipeline import digests, files
from stages.pipeline.code_deps import dependencies

EVERY = 500
"""Steps between two checkpoints; it affects no result."""
ABANDONED = 7 * 24 * 3600
"""Age in seconds beyond which the checkpoint of an abandoned training is removed."""


def key(stage: Path, name: str, values: Mapping[str, Any], data: Sequence[Path], worker: Worker) -> str:
    """The digest of all that determines a training.

    Args:
        stage: file of the stage, whose code enters the digest.
        name: of the method, whose code enters the digest.
        values: the params that the training reads.
        data: the files that it reads.
        worker: its number of processes and its device.
    """
    code = sorted(dependencies(stage) | dependencies(ROOT / f"stages/methods/{name}.py"))
    files = [*code, *data]
    machine = [platform.machine(), torch.__version__, torch.backends.cpu.get_cpu_capability(), worker.device.type, worker.count]
    content = [[digests.of_file(file) for file in files], dict(values), machine]
    return digests.of_content(content)


class FileCheckpoints:
    """The checkpoint of one training, in a file.

    Args:
        name: STAGE.METHOD.
        digest: of all that determines the training, see `key`.
        worker: this process; rank 0 writes the file, all read it.
        generators: random generators of this process; their states are saved.
        batches: the batches; their position in the epoch is saved.
        snapshots: the embeddings (M, D) recorded so far; `restore` fills the list.
    """

    every = EVERY

    def __init__(
        self,
        name: str,
        digest: str,
        worker: Worker,
        *,
        generators: Sequence[torch.Generator],
        batches: EpochBatches,
        snapshots: list[Tensor],
    ) -> None:
        self.folder, self.name = root() / ".checkpoints", name
        self.worker, self.generators, self.batches, self.snapshots = worker, generators, batches, snapshots
        # Machines of different kinds have different digests: all processes use that of rank 0.
        first = self._gather(torch.tensor(list(bytes.fromhex(digest[:32]))))[0]
        self.path = self.folder / f"{name}.{bytes(first.tolist()).hex()}.safetensors"
        self.fresh = bool(os.environ.get(FRESH))

    def save(self, step: int, rows: list[dict[str, float]], method: Method, optimizer: torch.optim.Optimizer) -> None:
        """Save everything that determines the rest of the training; the write is atomic."""
        tensors = {f"method.{k}": v for k, v in method.state_dict().items()}
        tensors |= {f"optimizer.{i}.{k}": v for i, p in enumerate(_trained(optimizer)) for k, v in optimizer.state[p].items()}
        tensors |= {f"batches.{k}": v for k, v in self.batches.state().items()}
        tensors |= {f"snapshot.{i}": v for i, v in enumerate(self.snapshots)}
        tensors |= {f"generator.{i}": v for i, v in enumerate(self._states())}
        if self.worker.writes:
            whole = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()}
            metadata = {"step": str(step), "rows": json.dumps(rows)}
            try:
                files.write_bytes(self.path, save(whole, {**metadata, "checksum": _checksum(whole, metadata)}))
            except UserError as error:
                # On a full disk, for example, the training may still finish.
                print(f"{self.name}: no checkpoint at step {step}: {error}", flush=True)

    def restore(self, method: Method, optimizer: torch.optim.Optimizer) -> tuple[int, list[dict[str, float]]]:
        """Restore the training from its checkpoint.

        Returns:
            The next step and the rows of the curves; 0 and no rows if this training has no valid checkpoint.
        """
        tensors, metadata, problem = self._read()
        steps = self._gather(torch.tensor([int(metadata.get("step", 0)), int(metadata.get("checksum", 0))])).tolist()
        if steps.count(steps[0]) < len(steps):
            problem = problem or "not all processes can read the checkpoint, restarting from step 0"
        if problem and self.worker.writes:
            print(f"{self.name}: {problem}", flush=True)
        if problem or not tensors:
            return 0, []
        groups: dict[str, dict[str, Tensor]] = {}
        for name, value in tensors.items():
            group, rest = name.split(".", 1)
            groups.setdefault(group, {})[rest] = value
        method.load_state_dict(groups["method"])
        for i, parameter in enumerate(_trained(optimizer)):
            own = {k.split(".", 1)[1]: v for k, v in groups["optimizer"].items() if k.split(".", 1)[0] == str(i)}
            optimizer.state[parameter] = {k: _like(parameter, v) for k, v in own.items()}
        self.batches.restore(groups["batches"])
        self.snapshots[:] = [groups["snapshot"][str(i)] for i in range(len(groups.get("snapshot", {})))]
        each = len(self.generators)
        for i, generator in enumerate(self.generators):
            generator.set_state(groups["generator"][str(self.worker.rank * each + i)])
        step = int(metadata["step"])
        if self.worker.writes:
            print(f"{self.name}: resuming from step {step}", flush=True)
        return step, json.loads(metadata["rows"])

    def _read(self) -> tuple[dict[str, Tensor], dict[str, str], str]:
        """Tensors and metadata of the checkpoint, or the problem with it; all empty if there is no checkpoint."""
        if self.fresh or not self.path.exists():
            return {}, {}, ""
        try:
            with safe_open(self.path, "pt") as file:
                metadata = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            covered = {name: value for name, value in metadata.items() if name != "checksum"}
            if metadata.get("checksum") == _checksum(tensors, covered):
                return tensors, metadata, ""
        except (SafetensorError, OSError):
            pass
        return {}, {}, f"{self.path} is damaged, restarting from step 0"

    def remove(self) -> None:
        """Remove the checkpoint of this completed training, and those of abandoned trainings of the same stage and method."""
        self.path.unlink(missing_ok=True)
        for path in self.folder.glob(f"{self.name}.*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > ABANDONED:
                    path.unlink()

    def _states(self) -> list[Tensor]:
        """The states of the generators of all processes."""
        return list(self._gather(torch.stack([generator.get_state() for generator in self.generators])).flatten(0, 1))

    def _gather(self, own: Tensor) -> Tensor:
        """The tensors of all N processes, stacked: (N, ...)."""
        own = own.to(self.worker.device)
        every = [own]
        if self.worker.shared:
            every = [torch.empty_like(own) for _ in range(self.worker.count)]
            torch.distributed.all_gather(every, own)
        return torch.stack(every).cpu()


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    """CRC-32 of tensors and metadata, so that corruption on the disk cannot affect a result."""
    checksum = zlib.crc32(json.dumps(metadata, sort_keys=True).encode())
    for name in sorted(tensors):
        checksum = zlib.crc32(name.encode(), checksum)
        checksum = zlib.crc32(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().data, checksum)
    return str(checksum)


def _trained(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """An entry of the optimizer's state on the parameter's device and, if the shapes are equal, in its memory format."""
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    return torch.empty_like(parameter).copy_(value)
