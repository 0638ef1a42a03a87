"""Read and write the files of the pipeline. Writes are atomic; non-finite values are rejected; pickles are never used.

A failed write leaves the old file unchanged. Files of arrays and tensors carry the version `FORMAT`; reading rejects another
version, a damaged file, and tensors that do not match the network.
"""

from __future__ import annotations

import io
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from stages.core.errors import UserError
from stages.core.paths import STUDIES

if TYPE_CHECKING:
    from torch import Tensor, nn

FORMAT = 2
"""Version of the array and tensor files; increased whenever the meaning of their content changes."""
VERSION = "format_version"
"""Name of the entry that holds the version."""
REMEDY = "`dvc repro` regenerates it"
"""The advice in messages about files that cannot be used."""


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file atomically, and create its folder.

    Raises:
        UserError: the system refuses, for example because the disk is full or the folder is read-only.
    """
    # With the process ID, since another process may be writing the same file.
    unfinished = path.with_name(f".unfinished.{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.write(content)
            # Otherwise a power failure could leave an empty file under the new name.
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """Write a text file in UTF-8."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file; equal content gives equal bytes.

    Raises:
        UserError: a number is not finite.
    """
    for name, value in _numbers(content):
        _check_finite(path, name, math.isfinite(value))
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def write_json_rows(path: Path, content: Mapping[str, Any], rows: str) -> None:
    """Write a JSON file in which each element of the list `content[rows]` takes one line, not one for each of its numbers.

    Raises:
        UserError: a number is not finite.
    """
    for name, value in _numbers(content):
        _check_finite(path, name, math.isfinite(value))
    text = json.dumps({**content, rows: []}, indent=1, ensure_ascii=False)
    lines = ",\n".join(json.dumps(one, ensure_ascii=False) for one in content[rows])
    write_text(path, text.replace(f'"{rows}": []', f'"{rows}": [\n{lines}\n ]') + "\n")


def _numbers(content: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """Floating-point numbers in nested content, each with its dotted key."""
    if isinstance(content, float):
        yield place, content
    elif isinstance(content, Mapping | list | tuple):
        for key, value in content.items() if isinstance(content, Mapping) else enumerate(content):
            yield from _numbers(value, f"{place}.{key}" if place else str(key))


def _check_finite(path: Path, name: str, finite: bool) -> None:
    if not finite:
        raise UserError(f"{path} is not written: {name} is not finite, so these params give no result")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file that holds an object.

    Raises:
        UserError: the file is missing or damaged.
    """
    remedy = f"`python -m stages.studies.run {path.stem}` regenerates it" if STUDIES in path.parents else REMEDY
    if not path.exists():
        raise UserError(f"{path} is missing: {remedy.replace('regenerates', 'generates')}")
    try:
        content = json.loads(path.read_bytes(), parse_constant=_reject_constant)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: {remedy}")
    return content


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not valid JSON")


def write_curves(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write learning curves as CSV, one row per logged step and six significant digits.

    Raises:
        UserError: a number is not finite.
    """
    for row in rows:
        for name, value in row.items():
            _check_finite(path, f"{name} at step {row['step']}", math.isfinite(value))
    lines = [",".join(rows[0])]
    lines += [",".join(str(value) if isinstance(value, int) else f"{value:.6g}" for value in row.values()) for row in rows]
    write_text(path, "\n".join(lines) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an uncompressed .npz file without pickles.

    Raises:
        UserError: a number is not finite.
    """
    for name, array in arrays.items():
        _check_finite(path, name, array.dtype.kind not in "fc" or bool(np.isfinite(array).all()))
    content = io.BytesIO()
    # The version entry also lists all names: a damaged zip directory may lose an array unnoticed.
    np.savez(content, allow_pickle=False, **{VERSION: np.array([str(FORMAT), *arrays])}, **dict(arrays))
    write_bytes(path, content.getvalue())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read an .npz file without pickles.

    Raises:
        FileNotFoundError: the file is missing.
        UserError: the file is damaged or of another format.
    """
    content = io.BytesIO(path.read_bytes())
    try:
        with np.load(content, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
            version, *names = arrays.pop(VERSION, np.array(["0", *arrays])).tolist()
            if names != list(arrays):
                raise ValueError("an array is missing")
    except Exception:  # damaged bytes raise many types of error in zipfile and numpy
        raise UserError(f"{path} is damaged: {REMEDY}") from None
    _check_format(path, version)
    return arrays


def _check_format(path: Path, version: str) -> None:
    if version != str(FORMAT):
        raise UserError(f"{path} is of format {version}, and this code reads format {FORMAT}: {REMEDY}")


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a .safetensors file.

    Raises:
        UserError: a number is not finite.
    """
    from safetensors.torch import save

    for name, tensor in tensors.items():
        _check_finite(path, name, bool(tensor.isfinite().all()))
    # safetensors does not fix the order of metadata entries, so more than one would change the bytes.
    write_bytes(path, save({k: v.cpu().contiguous() for k, v in tensors.items()}, {VERSION: str(FORMAT)}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a .safetensors file.

    Raises:
        FileNotFoundError: the file is missing.
        UserError: the file is damaged or of another format.
    """
    from safetensors import SafetensorError, safe_open

    path.open("rb").close()
    try:
        with safe_open(path, "pt") as file:
            _check_format(path, (file.metadata() or {}).get(VERSION, "0"))
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError:
        raise UserError(f"{path} is damaged: {REMEDY}") from None


def fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Load tensors that were read from `path` into a network.

    Raises:
        UserError: a tensor is missing, unexpected, or of another shape or dtype than the network's.
    """
    expected = network.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        here, there = _dtype_and_shape(expected.get(name)), _dtype_and_shape(tensors.get(name))
        if here != there:
            raise UserError(f"{path}: {name} is {there} and should be {here}, as params.yaml describes the model: {REMEDY}")
    network.load_state_dict(tensors)


def _dtype_and_shape(tensor: Tensor | None) -> str:
    return "absent" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {[*tensor.shape]}"


def load(network: nn.Module, path: Path) -> None:
    """Load a .safetensors file into a network.

    Raises:
        FileNotFoundError, UserError: as `read_tensors` and `fill`.
    """
    fill(network, read_tensors(path), path)
