"""Downloads of the data sets of torchvision: broken, stalled and slow servers are rejected with a reason."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import pickle
import tarfile
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from stages.core.errors import DataUnavailable
from stages.mnist.datasets import download, torchvision_sets
from stages.mnist.datasets.idx import write_idx
from stages.mnist.datasets.idx_folder import FILES
from stages.mnist.datasets.parts import Parts
from stages.mnist.datasets.sources import fetch
from tests.data_sets import ARRAYS, CONTENT, RNG, contents, dataset, known

pytestmark = pytest.mark.hostile


def test_a_torchvision_data_set_of_another_layout_is_reported() -> None:
    pytest.importorskip("torchvision.datasets")
    with pytest.raises(DataUnavailable, match="torchvision QMNIST: "):
        fetch("mine", known(("torchvision", "QMNIST")))


SERVED = {f"/{FILES[name]}.gz": gzip.compress(content, mtime=0) for name, content in CONTENT.items()}
"""The gzipped idx files by their URL path."""
FIRST = f"/{FILES['train_images']}.gz"
"""The first file that torchvision downloads."""
HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"
Serve = Callable[..., str]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts servers on loopback: `serve(...)` returns the address of one.

    Args of the returned function:
        files: contents that replace those of `SERVED`.
        missing: the path that answers 404.
        stall: where each response stalls: "response" before it, "body" after half the body; "trickle" sends the rest slowly.
    """
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    closing, servers = threading.Event(), []

    def start(files: dict[str, bytes] | None = None, *, missing: str = "", stall: str = "") -> str:
        if stall:
            monkeypatch.setattr(download, "CONNECT_SECONDS", 0.4)
            monkeypatch.setattr(download, "SILENCE_SECONDS", 0.4)
            monkeypatch.setattr(download, "TOTAL_SECONDS", 2)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if stall == "response":
                    closing.wait(10)
                    return
                content = {**SERVED, **(files or {})}[self.path]
                half = len(content) // 2
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self.send_response(404 if self.path == missing else 200)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content[:half])
                    if stall == "body":
                        closing.wait(10)
                        return
                    for byte in content[half:] if stall == "trickle" else b"":
                        self.wfile.write(bytes([byte]))
                        self.wfile.flush()
                        if closing.wait(0.1):
                            return
                    self.wfile.write(content[half:])

            def log_message(self, format: str, *args: Any) -> None:
                """Log nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=partial(server.serve_forever, poll_interval=0.01), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    closing.set()
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def mirrors(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Sets the addresses of torchvision's mirrors of MNIST."""
    datasets = pytest.importorskip("torchvision.datasets")
    return lambda *addresses: monkeypatch.setattr(datasets.MNIST, "mirrors", list(addresses))


def mnist() -> Parts:
    """The images of the first mirror that succeeds; if none does, the last exception is raised."""
    last_error: Exception = ValueError("no mirror")
    for attempt in torchvision_sets.attempts("MNIST"):
        try:
            return attempt()
        except Exception as error:
            last_error = error
    raise last_error


def test_a_mirror_provides_the_four_files(serve: Serve, mirrors: Callable[..., None]) -> None:
    mirrors(serve())
    assert contents(mnist()) == CONTENT


@pytest.mark.parametrize(
    "fault, reason",
    [
        ({"files": {FIRST: HTML}}, "Not a gzipped file"),
        ({"files": {FIRST: SERVED[FIRST][:-30]}}, "Compressed file ended before the end-of-stream marker"),
        ({"files": {FIRST: b""}}, "train_images: not an idx file"),
        ({"missing": FIRST}, "127.0.0.1: HTTPError"),
        ({"stall": "response"}, "127.0.0.1: ReadTimeout"),
        ({"stall": "body"}, "127.0.0.1: ReadTimeoutError"),
        ({"stall": "trickle"}, f"{FIRST[1:]} takes more than .* 2 seconds"),
    ],
    ids=["html", "truncated", "empty", "404", "no response", "half a response", "trickling response"],
)
def test_a_failing_mirror_is_reported(fault: dict[str, Any], reason: str, serve: Serve, mirrors: Callable[..., None]) -> None:
    mirrors(serve(**fault))
    with pytest.raises(DataUnavailable, match=f"torchvision MNIST: {reason}"):
        fetch("mine", known(("torchvision", "MNIST")))


@pytest.mark.parametrize("fault", [{"missing": FIRST}, {"stall": "response"}, {"stall": "body"}], ids=str)
def test_after_an_unreachable_mirror_the_next_one_is_tried(
    fault: dict[str, Any], serve: Serve, mirrors: Callable[..., None]
) -> None:
    mirrors("http://127.0.0.1:1/", serve(**fault), serve())
    assert contents(mnist()) == CONTENT


def test_after_a_mirror_with_broken_files_the_next_one_is_tried(serve: Serve, mirrors: Callable[..., None]) -> None:
    mirrors(serve({FIRST: HTML}), serve())
    assert contents(mnist()) == CONTENT


def test_a_download_stops_at_the_size_limit(
    serve: Serve, mirrors: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrors(serve())
    monkeypatch.setattr(download, "LIMIT", 1000)
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        mnist()


# ---------------------------------------------------------------- archives, on loopback


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def saved(write: Callable[[Any], Any]) -> bytes:
    """What a function writes to a binary stream."""
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def letters() -> bytes:
    """The archive of EMNIST with the letters A to F, transposed and numbered from 1, and with another split."""

    def write(stream: Any) -> None:
        with zipfile.ZipFile(stream, "w") as archive:
            for name, stem in FILES.items():
                array = ARRAYS[name].swapaxes(1, 2) if name.endswith("images") else ARRAYS[name] + np.uint8(1)
                part = "train" if name.startswith("train") else "test"
                for split, content in (("letters", write_idx(array)), ("digits", b"another split")):
                    file = f"gzip/emnist-{split}-{part}-{stem.split('-', 1)[1]}.gz"
                    archive.writestr(file, gzip.compress(content))

    return saved(write)


COLOUR = RNG.integers(256, size=(12, 32, 32, 3), dtype=np.uint8)


def cifar10() -> tuple[bytes, dict[str, str]]:
    """The archive of CIFAR-10 with two images in each of six batches, and the digests of its files."""
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    pickles = {
        name: pickle.dumps(
            {"data": COLOUR[2 * k : 2 * k + 2].transpose(0, 3, 1, 2).reshape(2, -1), "labels": [2 * k % 10, 2 * k % 10 + 1]}
        )
        for k, name in enumerate(names)
    }
    pickles["batches.meta"] = pickle.dumps({"label_names": [f"class {number}" for number in range(10)]})

    def write(stream: Any) -> None:
        with tarfile.open(fileobj=stream, mode="w:gz") as archive:
            for name, content in pickles.items():
                info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))

    return saved(write), {name: md5(content) for name, content in pickles.items()}


def svhn(images: np.ndarray, labels: np.ndarray) -> bytes:
    """A file of SVHN, in which the label of the digit 0 is 10."""
    return saved(lambda stream: scipy.io.savemat(stream, {"X": images.transpose(1, 2, 3, 0), "y": labels[:, None]}))


@pytest.fixture
def archives(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Serves small archives of EMNIST, CIFAR-10 and SVHN; the returned function sets what is damaged."""
    datasets = pytest.importorskip("torchvision.datasets")
    cifar, parts = cifar10()
    content = {
        "/gzip.zip": letters(),
        "/cifar.tar.gz": cifar,
        "/train.mat": svhn(COLOUR[:10], np.array([10, 1, 2, 3, 4, 5, 6, 7, 8, 9], np.uint8)),
        "/test.mat": svhn(COLOUR[10:], np.array([3, 10], np.uint8)),
    }

    def start(damaged: str = "") -> None:
        address = serve({path: b"<html>" if path == damaged else one for path, one in content.items()}).rstrip("/")
        monkeypatch.setattr(datasets.EMNIST, "url", f"{address}/gzip.zip")
        monkeypatch.setattr(datasets.EMNIST, "md5", md5(content["/gzip.zip"]))
        monkeypatch.setattr(datasets.CIFAR10, "url", f"{address}/cifar.tar.gz")
        monkeypatch.setattr(datasets.CIFAR10, "tgz_md5", md5(cifar))
        monkeypatch.setattr(datasets.CIFAR10, "train_list", [[name, parts[name]] for name in parts if name.startswith("data")])
        monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", parts["test_batch"]]])
        monkeypatch.setattr(datasets.CIFAR10, "meta", {**datasets.CIFAR10.meta, "md5": parts["batches.meta"]})
        files = {part: [f"{address}/{part}.mat", f"{part}.mat", md5(content[f"/{part}.mat"])] for part in ("train", "test")}
        monkeypatch.setattr(datasets.SVHN, "split_list", files)

    return start


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary working directory, where digests are recorded."""
    monkeypatch.chdir(tmp_path)


def test_letters_are_upright_and_numbered_from_0(archives: Callable[..., None]) -> None:
    archives()
    found = next(torchvision_sets.attempts("EMNIST letters"))()
    assert contents(found) == CONTENT and found.classes == tuple("abcdefghijklmnopqrstuvwxyz")


@pytest.mark.usefixtures("workplace")
def test_colour_images_of_cifar10_and_svhn_are_read(archives: Callable[..., None]) -> None:
    archives()
    found = fetch("cifar10", dataset(("torchvision", "CIFAR10"), side=32, channels=3))
    assert np.array_equal(found.train_images, COLOUR[:10]) and np.array_equal(found.test_images, COLOUR[10:])
    assert found.train_labels.tolist() == list(range(10)) and found.test_labels.tolist() == [0, 1]
    assert found.classes == tuple(f"class {number}" for number in range(10))
    found = fetch("svhn", dataset(("torchvision", "SVHN"), side=32, channels=3))
    assert np.array_equal(found.train_images, COLOUR[:10]) and np.array_equal(found.test_images, COLOUR[10:])
    assert found.train_labels.tolist() == list(range(10)) and found.test_labels.tolist() == [3, 0]
    assert found.classes == tuple("0123456789")


@pytest.mark.parametrize(
    ("location", "damaged"),
    [("EMNIST letters", "/gzip.zip"), ("CIFAR10", "/cifar.tar.gz"), ("SVHN", "/train.mat"), ("SVHN", "/test.mat")],
)
def test_a_damaged_archive_is_reported_and_not_unpacked(
    location: str, damaged: str, archives: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    archives(damaged)
    with pytest.raises(DataUnavailable, match=f"torchvision {location}: .* does not have the MD5 digest"):
        fetch("mine", known(("torchvision", location)))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("location", "kind"), [("EMNIST letters", "EMNIST"), ("CIFAR10", "CIFAR10")])
def test_an_unreachable_server_is_reported(location: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("torchvision.datasets")
    monkeypatch.setattr(getattr(datasets, kind), "url", "http://127.0.0.1:1/archive")
    with pytest.raises(DataUnavailable, match=f"torchvision {location}: 127.0.0.1: ConnectionError"):
        fetch("mine", known(("torchvision", location)))
