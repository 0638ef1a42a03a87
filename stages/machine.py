"""What decides the bytes of a result and is no param: the processor's instructions, the libraries, the versions.

Another processor or another library of linear algebra sums in another order and gives other last digits, which a training
amplifies. Where all of these facts, the params and so the number of threads are the same, a run is expected to end in the same
bytes. The record is of the machine that made the results last: where stages were run on different machines, of the last one.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from stages import digests
from stages.params import Params

FILE = Path("reports/machine.json")
"""The facts of the run that made the results; in git, but no output of a stage, since it differs from machine to machine."""
PACKAGES = ("torch", "numpy", "scipy", "scikit-learn", "matplotlib", "contourpy", "pillow", "imageio", "safetensors", "jinja2")
"""Packages that compute, draw or write what is written."""
STEERING = ("ATEN_", "DNNL_", "MKL_", "NPY_", "ONEDNN_", "OPENBLAS_")
"""How environment variables begin by which libraries choose their instructions; the number of threads is a param."""


def facts(params: Params) -> dict[str, str]:
    """The facts of this machine, by name.

    Raises:
        UserError: this machine does not have the device that the params want.
    """
    import numpy as np
    import scipy.linalg  # noqa: F401  # has a library of linear algebra of its own
    import threadpoolctl
    import torch

    from stages import runtime

    device = runtime.device(params)
    blas = (one for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas")
    libraries = {f"{one['internal_api']} {one['version']} for {one.get('architecture', 'any processor')}" for one in blas}
    simd = np.show_config(mode="dicts")["SIMD Extensions"]
    system = [platform.system(), platform.mac_ver()[0], *platform.libc_ver(), platform.machine(), _vendor()]
    return {
        "system": " ".join(word for word in system if word),
        "device": torch.cuda.get_device_name() if device.type == "cuda" else device.type,
        "torch instructions": torch.backends.cpu.get_cpu_capability(),
        "numpy instructions": " ".join(simd.get("found", [])) or "baseline",
        "linear algebra": ", ".join(sorted(libraries)) or "the system's",
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
        **{k: os.environ[k] for k in sorted(os.environ) if k.startswith(STEERING) and not k.endswith("_THREADS")},
    }


def _vendor() -> str:
    """Who made the processor: libraries choose by that too."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return next((line.split(":")[1].strip() for line in lines if line.startswith(("vendor_id", "CPU implementer"))), "")


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
