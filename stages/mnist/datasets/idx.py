"""The idx format: a header with the type and the shape of an array, then its values in C order, big-endian."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

CODES = {8: ">u1", 12: ">i4"}
"""The supported types by their code in the header: unsigned bytes, and 32-bit integers for labels above 255."""


def read_idx(content: bytes) -> NDArray[Any]:
    """The array, uint8 or int32, in an uncompressed idx file.

    Raises:
        ValueError: the header is not that of such a file, or declares another size than the file has.
    """
    if len(content) < 4 or content[:2] != b"\x00\x00" or content[2] not in CODES:
        raise ValueError("not an idx file of unsigned bytes or 32-bit integers")
    dtype, rank = np.dtype(CODES[content[2]]), content[3]
    shape = [int(n) for n in np.frombuffer(content[4 : 4 + 4 * rank], dtype=">u4")]
    size = int(np.prod(shape, dtype=object))
    if len(shape) != rank or len(content) != 4 + 4 * rank + size * dtype.itemsize:
        raise ValueError(f"the header of an idx file declares {size} values, but the file has {len(content)} bytes")
    return np.frombuffer(content, dtype=dtype, offset=4 + 4 * rank).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def write_idx(array: NDArray[Any]) -> bytes:
    """The uncompressed idx file of an array of type uint8 or int32."""
    return _header(array) + _values(array).tobytes()


def idx_digest(array: NDArray[Any]) -> str:
    """The SHA-256 of the uncompressed idx file of an array, which is not copied if it is of bytes."""
    found = hashlib.sha256(_header(array))
    found.update(_values(array).data)
    return found.hexdigest()


def _header(array: NDArray[Any]) -> bytes:
    code = next(code for code, dtype in CODES.items() if np.dtype(dtype) == array.dtype.newbyteorder(">"))
    return bytes((0, 0, code, array.ndim)) + np.array(array.shape, dtype=">u4").tobytes()


def _values(array: NDArray[Any]) -> NDArray[Any]:
    # One dimension, since the buffer of an array of shape (0, …) has no contiguous view.
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder(">")).reshape(-1)
