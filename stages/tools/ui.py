"""`make ui`: serve the MLflow UI of the store that the stage `track` writes to, on this machine only.

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
    """Replace this process by the server, so that an interrupt stops the server.

    Raises:
        UserError: the port is invalid or in use, or MLflow cannot read the store.
    """
    port = arguments[0] if arguments else "5000"
    if not (port.isdecimal() and 0 < int(port) < 2**16):
        raise UserError(f"PORT: {port!r} is not accepted: expected a whole number from 1 to 65535")
    if is_server():
        print(f"the runs are on the tracking server {tracking_uri()}")
        return
    with socket.socket() as tried:
        # As the server does, allow a port that another server has just released.
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((HOST, int(port)))
        except OSError as error:
            raise UserError(f"port {port}: {error.strerror}: `make ui PORT={int(port) % 65535 + 1}` uses another one") from None
    check_readable()
    print(f"MLflow UI on http://{HOST}:{port}, press Ctrl-C to stop", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", tracking_uri(), "--host", HOST, "--port", port]
    os.execv(sys.executable, command)


def check_readable() -> None:
    """Check that MLflow can read the store.

    Raises:
        UserError: it cannot; the message is MLflow's.
    """
    try:
        with Store() as client:
            client.search_experiments(max_results=1)
    except UserError:
        raise
    except Exception as error:  # MLflow passes on errors of many libraries
        raise UserError(f"MLflow cannot read {tracking_uri()}: {' '.join(str(error).split())[:300]}") from None


if __name__ == "__main__":
    end(main)
