"""`make ui`: the MLflow UI on the store that `track` writes to, on this machine only.

python -m stages.tools.ui [PORT]
"""

from __future__ import annotations

import os
import sys

from stages.tracking.store import is_server, tracking_uri


def main() -> None:
    """Replace this process by the server, so that an interrupt ends it."""
    port = sys.argv[1] if len(sys.argv) > 1 else "5000"
    uri = tracking_uri()
    if is_server():
        print(f"the runs are on the tracking server {uri}")
        return
    print(f"MLflow UI on http://127.0.0.1:{port}, interrupt to stop", flush=True)
    command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--host", "127.0.0.1", "--port", port]
    os.execv(sys.executable, command)


if __name__ == "__main__":
    main()
