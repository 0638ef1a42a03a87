"""Downloads with limits on time and size."""

from __future__ import annotations

import time
import urllib.parse
from typing import IO

CONNECT_SECONDS = 10
"""Timeout of a connection to a server."""
SILENCE_SECONDS = 60
"""Timeout of a read from a server or by pip."""
TOTAL_SECONDS = 900
"""Maximum duration of one download."""
LIMIT = 700_000_000
"""Maximum size in bytes of a download; the largest one, the archive of EMNIST, has 562 MB."""


def download(url: str, target: IO[bytes]) -> None:
    """Write the content at an address to `target`.

    Raises:
        ValueError: the server does not answer or fails, or the download exceeds a limit.
    """
    import requests
    import urllib3

    started, size = time.monotonic(), 0
    try:
        with requests.get(url, timeout=(CONNECT_SECONDS, SILENCE_SECONDS), stream=True) as answer:
            answer.raise_for_status()
            # `read1` returns the bytes received so far; waiting for a full block, a slow server would evade the time limit.
            while block := answer.raw.read1(1 << 20, decode_content=True):
                target.write(block)
                size += len(block)
                if size > LIMIT or time.monotonic() - started > TOTAL_SECONDS:
                    name = urllib.parse.urlsplit(url).path.rpartition("/")[2]
                    raise ValueError(f"{name} takes more than {LIMIT} bytes or {TOTAL_SECONDS} seconds")
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise ValueError(f"{urllib.parse.urlsplit(url).hostname}: {type(error).__name__}") from None
