"""Page data as classic scripts, the only data that a page opened from the file system may load.

A script calls `pageData.add(name, content)`. An array in the content is encoded as
`{"type": "uint16", "shape": [...], "low": a, "step": b, "data": base64}`: its values are a + b · q, where q are the row-major,
little-endian integers in `data`. Images are PNGs, `{"png": base64, ...}`, if grey, and JPEGs, with the key `jpeg`, in colour.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stages.core.errors import UserError
from stages.pipeline import files

COLUMNS = 50
"""Images per row of a contact sheet."""
QUALITY = 90
"""Quality of the JPEG of colour images; a lossless PNG of ten thousand photographs would take some 30 MB."""


def evenly_spaced(total: int, count: int) -> NDArray[np.int64]:
    """Indices of `count` evenly spaced items out of `total`, first and last included; all items if there are no more."""
    return np.linspace(0, total - 1, min(count, total)).round().astype(np.int64)


def quantised(values: NDArray[Any], kind: Literal["uint8", "uint16"]) -> dict[str, Any]:
    """Encode numbers by uniform quantisation between their minimum and maximum; the error is at most half a step.

    Raises:
        UserError: a number is not finite.
    """
    x = np.asarray(values, dtype=np.float64)
    if not np.isfinite(x).all():
        raise UserError("a value on the page is not finite, so these params give no result")
    low, high = (float(x.min()), float(x.max())) if x.size else (0.0, 0.0)
    step = (high - low) / np.iinfo(kind).max
    steps = np.rint((x - low) / step) if step else np.zeros_like(x)
    return {**_encoded(steps.astype(kind)), "low": low, "step": step}


def integers(values: NDArray[Any]) -> dict[str, Any]:
    """Encode integers from 0 to 65,535 exactly.

    Raises:
        ValueError: a value is out of this range.
    """
    x = np.asarray(values)
    if x.size and not 0 <= x.min() <= x.max() <= np.iinfo("uint16").max:
        raise ValueError("expected integers from 0 to 65,535")
    return {**_encoded(x.astype("uint8" if not x.size or x.max() < 256 else "uint16")), "low": 0, "step": 1}


def _encoded(array: NDArray[Any]) -> dict[str, Any]:
    """The encoding of an integer array, without `low` and `step`."""
    content = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return {"type": array.dtype.name, "shape": list(array.shape), "data": base64.b64encode(content).decode()}


def sheet(images: NDArray[np.uint8]) -> dict[str, Any]:
    """Encode images as one contact sheet, `COLUMNS` images per row.

    Args:
        images: grey images (N, H, W), which are encoded without loss, or colour images (N, H, W, 3).
    """
    count, height, width, *channels = images.shape
    columns = max(min(count, COLUMNS), 1)
    rows = -(-count // columns)
    filled = np.zeros((rows * columns, height, width, *channels), np.uint8)
    filled[:count] = images
    tiles = filled.reshape(rows, columns, height, width, *channels).swapaxes(1, 2)
    picture = Image.fromarray(tiles.reshape(rows * height, columns * width, *channels))
    buffer = io.BytesIO()
    if channels:
        # Without subsampling of the chroma, which would mix neighbouring images.
        picture.save(buffer, format="jpeg", quality=QUALITY, subsampling=0)
    else:
        picture.save(buffer, format="png", optimize=True)
    content = base64.b64encode(buffer.getvalue()).decode()
    return {"jpeg" if channels else "png": content, "count": count, "columns": columns, "width": width, "height": height}


def write(path: Path, name: str, content: Mapping[str, Any]) -> None:
    """Write the script that adds the content to the page under a name."""
    files.write_text(path, f"pageData.add({escaped(name)}, {escaped(content)});\n")


def escaped(content: Any) -> str:
    """Content as JSON that is safe in a script, also inside HTML: ASCII, with `<`, `>` and `&` escaped."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
