"""`make ui`: the MLflow UI on the store that `track` writes to, on this machine only.

python -m stages.tools.ui [PORT]
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Sequence

from stages.core.command import end
from stages.core.errors import UserError
from stages.tracking.log import Store
from stages.tracking.store import is_server, tracking_uri

HOST = "127.0.0.1"


def main(arguments: Sequence[str]) -> None:
    """Replace this process by the server, so that an interrupt ends it.

    Raises:
        UserError: the port is taken or none, or MLflow cannot read the store.
    """
    port = arguments[0] if arguments else "5000"
    if not (port.isdecimal() and 0 < int(port) < 2**16):
        raise UserError(f"PORT: {port!r} is not accepted: expected a whole number from 1 to 65535")
    if is_server():
        print(f"the runs are on the tracking server {tracking_uri()}")
        return
    with socket.socket() as tried:
        # As the server does: one that has just ended leaves its port to the next.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, int(port)))
        except OSError as error:
            raise UserError(
                f"port {port}: {error.strerror}: `make ui PORT={int(port) % 65535 + 1}` takes another one"
            ) from None
    check_readable()
    print(f"MLflow UI on http://{HOST}:{port}, interrupt to stop", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", tracking_uri(), "--host", HOST, "--port", port]
    os.execv(sys.executable, command)


def check_readable() -> None:
    """Check that MLflow can read the store.

    Raises:
        UserError: it cannot, and says why.
    """
    try:
        with Store() as client:
            client.search_experiments(max_results=1)
    except UserError:
        raise
    except Exception as error:  # whatever MLflow makes of what it finds
        raise UserError(f"MLflow cannot read {tracking_uri()}: {' '.join(str(error).split())[:300]}") from None


if __name__ == "__main__":
    end(main)
