"""How the pipeline's files are written and read: whole or not at all, finite numbers alone, and never by way of a pickle.

A file appears under its name when it is complete; one whose writing failed leaves the old one as it was. Arrays and tensors
carry the number of their `FORMAT`, and are refused where they are of another one, damaged, or not what the reader expects.
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
"""Of arrays and tensors: one more whenever their content changes its meaning, so that no older file is taken for one of now."""
VERSION = "format_version"
"""The name under which a file has it."""
AGAIN = "`dvc repro` makes it anew"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, which stands under its name when it is complete.

    Raises:
        UserError: the disk is full, the folder is not to be written to, or anything else that the system refuses.
    """
    # Of this process alone: another one may be writing the same file.
    unfinished = path.with_name(f".unfinished.{os.getpid()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with unfinished.open("wb") as file:
            file.write(content)
            # Or a computer that loses its power may find the new name on a file without content.
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        raise UserError(f"{path} can't be written: {error.strerror}") from None
    finally:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)


def write_text(path: Path, content: str) -> None:
    """Write a text file."""
    write_bytes(path, content.encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file, the same bytes for the same content.

    Raises:
        UserError: a number is not finite.
    """
    for name, value in _numbers(content):
        _finite(path, name, math.isfinite(value))
    write_text(path, json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def _numbers(content: Any, place: str = "") -> Iterator[tuple[str, float]]:
    """All floating-point numbers in nested content, with their places in it."""
    if isinstance(content, float):
        yield place, content
    elif isinstance(content, Mapping | list | tuple):
        for key, value in content.items() if isinstance(content, Mapping) else enumerate(content):
            yield from _numbers(value, f"{place}.{key}" if place else str(key))


def _finite(path: Path, name: str, is_so: bool) -> None:
    if not is_so:
        raise UserError(f"{path} is not written: {name} is not finite, so these params give no result")


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file with named values.

    Raises:
        UserError: there is none, or it is damaged.
    """
    again = f"`python -m stages.studies.run {path.stem}` makes it anew" if STUDIES in path.parents else AGAIN
    if not path.exists():
        raise UserError(f"{path} is missing: {again.removesuffix(' anew')}")
    try:
        content = json.loads(path.read_bytes(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict):
        raise UserError(f"{path} is damaged: {again}")
    return content


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")


def write_curves(path: Path, rows: Sequence[Mapping[str, float]]) -> None:
    """Write learning curves as CSV with one row per logged step.

    Raises:
        UserError: a number is not finite.
    """
    for row in rows:
        for name, value in row.items():
            _finite(path, f"{name} at step {row['step']}", math.isfinite(value))
    lines = [",".join(rows[0])]
    lines += [",".join(str(value) if isinstance(value, int) else f"{value:.6g}" for value in row.values()) for row in rows]
    write_text(path, "\n".join(lines) + "\n")


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write an .npz file without pickles and without compression.

    Raises:
        UserError: a number is not finite.
    """
    for name, array in arrays.items():
        _finite(path, name, array.dtype.kind not in "fc" or bool(np.isfinite(array).all()))
    content = io.BytesIO()
    # With the names of all: in a damaged table of contents one may be gone without a trace.
    np.savez(content, allow_pickle=False, **{VERSION: np.array([str(FORMAT), *arrays])}, **dict(arrays))
    write_bytes(path, content.getvalue())


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Read an .npz file without pickles.

    Raises:
        FileNotFoundError: there is none.
        UserError: it is damaged, or of another format.
    """
    content = io.BytesIO(path.read_bytes())
    try:
        with np.load(content, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
            version, *names = arrays.pop(VERSION, np.array(["0", *arrays])).tolist()
            if names != list(arrays):
                raise ValueError("an array is gone")
    except Exception:  # whatever else the bytes of a damaged file make of zipfile and numpy
        raise UserError(f"{path} is damaged: {AGAIN}") from None
    _known(path, version)
    return arrays


def _known(path: Path, version: str) -> None:
    if version != str(FORMAT):
        raise UserError(f"{path} is of format {version}, and this code reads format {FORMAT}: {AGAIN}")


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a .safetensors file.

    Raises:
        UserError: a number is not finite.
    """
    from safetensors.torch import save

    for name, tensor in tensors.items():
        _finite(path, name, bool(tensor.isfinite().all()))
    # More than one entry of metadata would come in another order each time.
    write_bytes(path, save({k: v.cpu().contiguous() for k, v in tensors.items()}, {VERSION: str(FORMAT)}))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a .safetensors file.

    Raises:
        FileNotFoundError: there is none.
        UserError: it is damaged, or of another format.
    """
    from safetensors import SafetensorError, safe_open

    path.open("rb").close()
    try:
        with safe_open(path, "pt") as file:
            _known(path, (file.metadata() or {}).get(VERSION, "0"))
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError:
        raise UserError(f"{path} is damaged: {AGAIN}") from None


def fill(network: nn.Module, tensors: Mapping[str, Tensor], path: Path) -> None:
    """Give a network its state, which was read from `path`.

    Raises:
        UserError: a tensor is missing, too much, or of another shape or type than the network's.
    """
    wanted = network.state_dict()
    for name in sorted(wanted.keys() | tensors.keys()):
        here, there = _kind(wanted.get(name)), _kind(tensors.get(name))
        if here != there:
            raise UserError(f"{path}: {name} is {there} and should be {here}, as params.yaml describes the model: {AGAIN}")
    network.load_state_dict(tensors)


def _kind(tensor: Tensor | None) -> str:
    return "nothing" if tensor is None else f"{str(tensor.dtype).removeprefix('torch.')} {[*tensor.shape]}"


def load(network: nn.Module, path: Path) -> None:
    """Give a network the state that is in a .safetensors file, with the errors of `read_tensors` and `fill`."""
    fill(network, read_tensors(path), path)
