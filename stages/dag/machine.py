"""Environment facts that affect bitwise reproducibility: instruction sets, libraries, versions.

A different processor or BLAS library changes the order of summation and thus the last digits, and training amplifies the
difference. With equal facts and equal params, which include the number of threads, two runs should give identical bytes. If
stages ran on different machines, the record describes the last one.
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
"""The facts of the machine that made the results. Tracked by git but not a stage output, since machines differ."""
CACHE = COSTS / "machine.facts"
"""The facts of this machine, cached between stages."""
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "matplotlib", "contourpy", "pillow", "imageio", "safetensors", "jinja2")
"""Packages whose version can change the bytes of an output."""
KERNEL_ENV = ("ATEN_", "DNNL_", "GLIBC_TUNABLES", "MKL_", "NPY_", "NVIDIA_TF32", "ONEDNN_", "OPENBLAS_", "TORCH_ALLOW_TF32")
"""Prefixes of the environment variables that select the kernels of libraries."""


def facts(params: Params) -> dict[str, str]:
    """The facts of this machine, by name.

    Collecting them loads the libraries, which takes seconds, so they are cached under a key that is cheap to compute.

    Raises:
        UserError: this machine does not have the requested device.
    """
    versions = {name: version(name) for name in PACKAGES}
    # Variables such as MKL_NUM_THREADS are excluded: the number of threads is a param.
    variables = {k: os.environ[k] for k in sorted(os.environ) if k.startswith(KERNEL_ENV) and not k.endswith("_THREADS")}
    graphics = [str(path) for path in sorted(Path("/dev").glob("nvidia*"))] + [os.environ.get("CUDA_VISIBLE_DEVICES", "")]
    key = digests.of_content([platform.platform(), platform.python_version(), _processor(), versions, variables, graphics])
    key = digests.of_content([key, params.device])
    cached: dict[str, Any] = {}
    with suppress(UserError):
        cached = files.read_json(CACHE)
    if cached.get("key") != key:
        cached = {"key": key, "facts": {**_collect(params), **versions, **variables}}
        files.write_json(CACHE, cached)
    found: dict[str, str] = cached["facts"]
    return found


def _collect(params: Params) -> dict[str, str]:
    """The facts that require the libraries to be loaded."""
    import numpy as np
    import scipy.linalg  # noqa: F401  # scipy loads its own BLAS
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
    """The processor's vendor and instruction sets, by which libraries choose their kernels."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    entries = (line.split(":", 1) for line in lines if line.startswith(("vendor_id", "CPU implementer", "flags", "Features")))
    return {name.strip(): value.strip() for name, value in entries}


def record(stages: Mapping[str, Any], found: Mapping[str, str]) -> dict[str, Any]:
    """The content of FILE: the facts, and the digest of the outputs in dvc.lock that they belong to."""
    return {
        "outputs": digests.of_content({name: entry.get("outs", []) for name, entry in stages.items()}),
        "facts": dict(found),
    }


def differences(recorded: Mapping[str, str], found: Mapping[str, str]) -> list[str]:
    """The facts in which a recorded machine differs from this one, one line each."""
    names = [*recorded, *(name for name in found if name not in recorded)]
    pairs = ((name, recorded.get(name, "not set"), found.get(name, "not set")) for name in names)
    return [f"{name}: {was} there, {now} here" for name, was, now in pairs if was != now]
