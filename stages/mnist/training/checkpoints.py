"""Checkpoints: a killed training on the images resumes and ends with the bytes of an undisturbed one.

DVC deletes a stage's outputs before it runs, so checkpoints are kept in .checkpoints beside dvc.yaml, which neither DVC nor git
tracks. The file's name is a digest of all that determines the training: code, params, data, versions, device, number of
processes. After a change of any of these the training starts anew, and so it does if the file is damaged or the environment
variable ENERGY_WELLS_FRESH is set. Processes that share a training resume from the first one's checkpoint, or all start anew if
one of them does not find it. A completed training removes its checkpoint.
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
from stages.mnist.training.launch import Place
from stages.nn.batches import EpochBatches
from stages.nn.method import Method
from stages.pipeline import digests, files
from stages.pipeline.code_deps import deciding

EVERY = 500
"""Steps between two checkpoints; it changes no result."""
ABANDONED = 7 * 24 * 3600
"""Seconds after which a checkpoint that nobody has gone on from is removed."""


def key(stage: Path, name: str, values: Mapping[str, Any], data: Sequence[Path], place: Place) -> str:
    """The digest of what decides a training: code of the stage and the method, the params it reads, its data, the machine."""
    code = sorted(deciding(stage) | deciding(ROOT / f"stages/methods/{name}.py"))
    files = [*code, *data]
    machine = [platform.machine(), torch.__version__, torch.backends.cpu.get_cpu_capability(), place.device.type, place.count]
    content = [[digests.of_file(file) for file in files], dict(values), machine]
    return digests.of_content(content)


class FileCheckpoints:
    """Keeps one training in a file.

    Args:
        name: of the stage and the method.
        digest: of what decides the training.
        place: of this process; the first one writes, all read the same file.
        generators: whose states are kept, this process's own.
        batches: the batches, which go on inside their epoch.
        snapshots: what was recorded so far, (M, D) each; filled again from the file.
    """

    every = EVERY

    def __init__(
        self,
        name: str,
        digest: str,
        place: Place,
        *,
        generators: Sequence[torch.Generator],
        batches: EpochBatches,
        snapshots: list[Tensor],
    ) -> None:
        self.folder, self.name = root() / ".checkpoints", name
        self.place, self.generators, self.batches, self.snapshots = place, generators, batches, snapshots
        # Machines of different kinds have different digests: that of the one which writes counts.
        first = self._all(torch.tensor(list(bytes.fromhex(digest[:32]))))[0]
        self.path = self.folder / f"{name}.{bytes(first.tolist()).hex()}.safetensors"
        self.fresh = FRESH in os.environ

    def save(self, step: int, rows: list[dict[str, float]], method: Method, optimizer: torch.optim.Optimizer) -> None:
        """Keep everything that decides the rest; a file that is there is always whole."""
        tensors = {f"method.{k}": v for k, v in method.state_dict().items()}
        tensors |= {f"optimizer.{i}.{k}": v for i, p in enumerate(_trained(optimizer)) for k, v in optimizer.state[p].items()}
        tensors |= {f"batches.{k}": v for k, v in self.batches.state().items()}
        tensors |= {f"snapshot.{i}": v for i, v in enumerate(self.snapshots)}
        tensors |= {f"generator.{i}": v for i, v in enumerate(self._states())}
        if self.place.writes:
            whole = {k: v.detach().to("cpu", copy=True).contiguous() for k, v in tensors.items()}
            about = {"step": str(step), "rows": json.dumps(rows)}
            try:
                files.write_bytes(self.path, save(whole, {**about, "checksum": _checksum(whole, about)}))
            except UserError as error:
                # A full disk, say: the training itself may still come to its end.
                print(f"{self.name}: not kept at step {step}: {error}", flush=True)

    def restore(self, method: Method, optimizer: torch.optim.Optimizer) -> tuple[int, list[dict[str, float]]]:
        """Put everything back; 0 and no rows where nothing is kept, or nothing whole, of this very training."""
        tensors, about, why = self._found()
        steps = self._all(torch.tensor([int(about.get("step", 0)), int(about.get("checksum", 0))])).tolist()
        if steps.count(steps[0]) < len(steps):
            why = why or "not all processes find what was kept, starting anew"
        if why and self.place.writes:
            print(f"{self.name}: {why}", flush=True)
        if why or not tensors:
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
            generator.set_state(groups["generator"][str(self.place.rank * each + i)])
        step = int(about["step"])
        if self.place.writes:
            print(f"{self.name}: going on from step {step}, where it was interrupted", flush=True)
        return step, json.loads(about["rows"])

    def _found(self) -> tuple[dict[str, Tensor], dict[str, str], str]:
        """What was kept, what is said of it, and why it is not to be used; nothing at all where nothing was kept."""
        if self.fresh or not self.path.exists():
            return {}, {}, ""
        try:
            with safe_open(self.path, "pt") as file:
                about = file.metadata()
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            said = {name: value for name, value in about.items() if name != "checksum"}
            if about.get("checksum") == _checksum(tensors, said):
                return tensors, about, ""
        except (SafetensorError, OSError):
            pass
        return {}, {}, f"{self.path} is damaged, starting anew"

    def remove(self) -> None:
        """Forget what was kept of this training, whose model is written, and of others of its method that were given up."""
        self.path.unlink(missing_ok=True)
        for path in self.folder.glob(f"{self.name}.*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > ABANDONED:
                    path.unlink()

    def _states(self) -> list[Tensor]:
        """The states of the generators of all processes."""
        return list(self._all(torch.stack([generator.get_state() for generator in self.generators])).flatten(0, 1))

    def _all(self, own: Tensor) -> Tensor:
        """A tensor of each process, stacked: (N, ...)."""
        own = own.to(self.place.device)
        every = [own]
        if self.place.shared:
            every = [torch.empty_like(own) for _ in range(self.place.count)]
            torch.distributed.all_gather(every, own)
        return torch.stack(every).cpu()


def _checksum(tensors: Mapping[str, Tensor], about: Mapping[str, str]) -> str:
    """Of everything that is kept: a disk that lost a bit must not decide a result."""
    checksum = zlib.crc32(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        checksum = zlib.crc32(name.encode(), checksum)
        checksum = zlib.crc32(tensors[name].contiguous().view(-1).view(torch.uint8).numpy().data, checksum)
    return str(checksum)


def _trained(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _like(parameter: Tensor, value: Tensor) -> Tensor:
    """A part of the optimizer's state where the parameter is and laid out in memory as it is."""
    if value.shape != parameter.shape:
        return value.to(parameter.device)
    return torch.empty_like(parameter).copy_(value)
