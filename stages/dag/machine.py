"""What decides the bytes of a result and is no param: the processor's instructions, the libraries, the versions.

Another processor or another library of linear algebra sums in another order and gives other last digits, which a training
amplifies. Where all of these facts, the params and so the number of threads are the same, a run is expected to end in the same
bytes. The record is of the machine that made the results last: where stages were run on different machines, of the last one.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stages.config.params import Params
from stages.core.errors import UserError
from stages.core.paths import COSTS
from stages.pipeline import artifacts, digests, files

FILE = artifacts.MACHINE
"""The facts of the run that made the results; in git, but no output of a stage, since it differs from machine to machine."""
KEPT = COSTS / "machine.facts"
"""The facts as they were last found, for the next stage to use."""
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "matplotlib", "contourpy", "pillow", "imageio", "safetensors", "jinja2")
"""Packages that compute, draw or write what is written."""
STEERING = ("ATEN_", "DNNL_", "GLIBC_TUNABLES", "MKL_", "NPY_", "NVIDIA_TF32", "ONEDNN_", "OPENBLAS_", "TORCH_ALLOW_TF32")
"""How environment variables begin by which libraries choose their instructions; the number of threads is a param."""


def facts(params: Params) -> dict[str, str]:
    """The facts of this machine, by name.

    To find them takes seconds, since the libraries have to be loaded, so they are kept; a key tells whether they still hold.

    Raises:
        UserError: this machine does not have the device that the params want.
    """
    versions = {name: version(name) for name in PACKAGES}
    steering = {k: os.environ[k] for k in sorted(os.environ) if k.startswith(STEERING) and not k.endswith("_THREADS")}
    graphics = [str(path) for path in sorted(Path("/dev").glob("nvidia*"))] + [os.environ.get("CUDA_VISIBLE_DEVICES", "")]
    key = digests.of_content([platform.platform(), platform.python_version(), _processor(), versions, steering, graphics])
    key = digests.of_content([key, params.device])
    kept: dict[str, Any] = {}
    with suppress(UserError):
        kept = files.read_json(KEPT)
    if kept.get("key") != key:
        kept = {"key": key, "facts": {**_found(params), **versions, **steering}}
        files.write_json(KEPT, kept)
    found: dict[str, str] = kept["facts"]
    return found


def _found(params: Params) -> dict[str, str]:
    """What only the loaded libraries know."""
    import numpy as np
    import scipy.linalg  # noqa: F401  # has a library of linear algebra of its own
    import threadpoolctl
    import torch

    from stages.pipeline import seeding

    device = seeding.device(params)
    blas = (one for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas")
    libraries = {f"{one['internal_api']} {one['version']} for {one.get('architecture', 'any processor')}" for one in blas}
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    vendor = _processor().get("vendor_id") or _processor().get("CPU implementer", "")
    system = [platform.system(), platform.mac_ver()[0], *platform.libc_ver(), platform.machine(), vendor]
    return {
        "system": " ".join(word for word in system if word),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        "torch instructions": torch.backends.cpu.get_cpu_capability(),
        "numpy instructions": " ".join(simd.get("found", [])) or "baseline",
        "linear algebra": ", ".join(sorted(libraries)) or "the system's",
        "python": platform.python_version(),
    }


def _processor() -> dict[str, str]:
    """Who made the processor and what it can do: libraries choose their instructions by that."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    entries = (line.split(":", 1) for line in lines if line.startswith(("vendor_id", "CPU implementer", "flags", "Features")))
    return {name.strip(): value.strip() for name, value in entries}


def record(stages: Mapping[str, Any], found: Mapping[str, str]) -> dict[str, Any]:
    """What FILE holds: the facts, and a digest of the outputs in dvc.lock that they are of."""
    return {
        "outputs": digests.of_content({name: entry.get("outs", []) for name, entry in stages.items()}),
        "facts": dict(found),
    }


def moved(recorded: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """The facts in which two machines differ, one line for each."""
    names = [*recorded, *(name for name in found if name not in recorded)]
    pairs = ((name, recorded.get(name, "not set"), found.get(name, "not set")) for name in names)
    return [f"{name}: {was} there, {now} here" for name, was, now in pairs if was != now]
