"""Bounded decompression."""

from __future__ import annotations

import gzip
from typing import IO

LIMIT = 2_000_000_000
"""Maximum size in bytes of an unpacked file."""


def unpack(stream: IO[bytes]) -> bytes:
    """The content of a gzip file.

    Raises:
        ValueError: it has more than `LIMIT` bytes.
    """
    content = gzip.GzipFile(fileobj=stream).read(LIMIT + 1)
    if len(content) > LIMIT:
        raise ValueError(f"a file unpacks to more than {LIMIT} bytes")
    return content
