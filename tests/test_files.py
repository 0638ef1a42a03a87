"""Writes are atomic; non-finite numbers, damaged files and files of another format are rejected in one line."""

from __future__ import annotations

import json
import pickle
import resource
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from stages.core import paths
from stages.core.errors import UserError
from stages.pipeline import files

pytestmark = pytest.mark.hostile

NETWORK = {"weight": torch.ones(3, 2), "bias": torch.zeros(3)}
"""Parameters of `nn.Linear(2, 3)`."""
CURRENT = {files.VERSION: str(files.FORMAT)}
"""Metadata of a file in the current format."""


def refusal(call: Callable[..., Any], *arguments: Any) -> str:
    """The message with which a call rejects a file or a value; it must be a single line."""
    with pytest.raises(UserError) as error:
        call(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_arrays_and_tensors_survive_a_round_trip(tmp_path: Path) -> None:
    arrays = {"x": np.arange(6.0).reshape(2, 3), "labels": np.array([1, 2])}
    files.write_arrays(tmp_path / "a.npz", arrays)
    found = files.read_arrays(tmp_path / "a.npz")
    assert found.keys() == arrays.keys() and all((found[key] == arrays[key]).all() for key in arrays)
    files.write_tensors(tmp_path / "a.safetensors", NETWORK)
    network = nn.Linear(2, 3)
    files.load(network, tmp_path / "a.safetensors")
    assert all(torch.equal(network.state_dict()[name], value) for name, value in NETWORK.items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "a.safetensors"]


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_non_finite_number_is_never_written(tmp_path: Path, bad: float) -> None:
    path, end = tmp_path / "file", "is not finite, so these params give no result"
    nested = {"structure": {"values": [{"mean": 1.0}, {"mean": bad}]}}
    assert refusal(files.write_json, path, nested) == f"{path} is not written: structure.values.1.mean {end}"
    assert refusal(files.write_arrays, path, {"field": np.array([0.0, bad])}) == f"{path} is not written: field {end}"
    assert refusal(files.write_tensors, path, {"weight": torch.tensor([bad])}) == f"{path} is not written: weight {end}"
    assert refusal(files.write_json_rows, path, {"runs": [bad]}, "runs") == f"{path} is not written: runs.0 {end}"
    rows = [{"step": 0, "loss": 1.0}, {"step": 5, "loss": bad}]
    assert refusal(files.write_curves, path, rows) == f"{path} is not written: loss at step 5 {end}"
    assert not list(tmp_path.iterdir())


def wrong_shape(path: Path) -> None:
    files.write_tensors(path, {**NETWORK, "weight": torch.ones(2, 3)})


def wrong_dtype(path: Path) -> None:
    files.write_tensors(path, {**NETWORK, "weight": torch.ones(3, 2, dtype=torch.int64)})


def missing_tensor(path: Path) -> None:
    files.write_tensors(path, {"weight": NETWORK["weight"]})


def additional_tensor(path: Path) -> None:
    files.write_tensors(path, {**NETWORK, "additional": torch.ones(1)})


def truncated(path: Path) -> None:
    files.write_tensors(path, NETWORK)
    path.write_bytes(path.read_bytes()[:-5])


def truncated_header(path: Path) -> None:
    files.write_tensors(path, NETWORK)
    path.write_bytes(path.read_bytes()[:20])


def empty(path: Path) -> None:
    path.write_bytes(b"")


def huge_header(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 2**40) + b"{}")


def offsets_beyond_the_end(path: Path) -> None:
    header = {"weight": {"dtype": "F32", "shape": [2**20, 2**20], "data_offsets": [0, 2**42]}, "__metadata__": CURRENT}
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"\0" * 24)


def torch_pickle(path: Path) -> None:
    torch.save(NETWORK, path)


def without_version(path: Path) -> None:
    save_file(NETWORK, path)


def another_version(path: Path) -> None:
    save_file(NETWORK, path, {files.VERSION: "7"})


REMEDY = ": `dvc repro` regenerates it"
DAMAGED = f" is damaged{REMEDY}"
MISMATCH = f", as params.yaml describes the model{REMEDY}"


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (wrong_shape, ": weight is float32 [2, 3] and should be float32 [3, 2]" + MISMATCH),
        (wrong_dtype, ": weight is int64 [3, 2] and should be float32 [3, 2]" + MISMATCH),
        (missing_tensor, ": bias is absent and should be float32 [3]" + MISMATCH),
        (additional_tensor, ": additional is float32 [1] and should be absent" + MISMATCH),
        (truncated, DAMAGED),
        (truncated_header, DAMAGED),
        (empty, DAMAGED),
        (huge_header, DAMAGED),
        (offsets_beyond_the_end, DAMAGED),
        (torch_pickle, DAMAGED),
        (without_version, " is of format 0, and this code reads format 2" + REMEDY),
        (another_version, " is of format 7, and this code reads format 2" + REMEDY),
    ],
)
def test_tensors_that_do_not_match_the_network_are_rejected(
    tmp_path: Path, write: Callable[[Path], None], message: str
) -> None:
    path, network = tmp_path / "model.safetensors", nn.Linear(2, 3)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    write(path)
    assert refusal(files.load, network, path) == f"{path}{message}"
    assert all(torch.equal(network.state_dict()[name], value) for name, value in before.items())


class Hostile:
    """Runs code when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, ("raise SystemExit('a pickle was loaded')",)


def test_damaged_or_hostile_array_files_are_rejected(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    files.write_arrays(path, {"x": np.arange(1000)})
    content = path.read_bytes()
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    for damaged in (b"", content[:-40], content[: len(content) // 2], bytes(flipped), pickle.dumps(Hostile())):
        path.write_bytes(damaged)
        assert refusal(files.read_arrays, path) == f"{path}{DAMAGED}"
    path.write_bytes(content)
    files.read_arrays(path)
    np.savez(path, x=np.array([Hostile()], dtype=object))
    assert refusal(files.read_arrays, path) == f"{path}{DAMAGED}"
    np.savez(path, x=np.arange(3))
    assert refusal(files.read_arrays, path) == f"{path} is of format 0, and this code reads format 2{REMEDY}"


def test_arrays_with_any_flipped_bit_are_unchanged_or_rejected(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    path, arrays = tmp_path / "a.npz", {"x": np.arange(5), "y": np.ones(2)}
    files.write_arrays(path, arrays)
    content = path.read_bytes()
    record_property("tries", 8 * len(content))
    rejected = 0
    for bit in range(8 * len(content)):
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        found, message = {}, ""
        try:
            found = files.read_arrays(path)
        except UserError as error:
            message = str(error)
        rejected += bool(message)
        same = found.keys() == arrays.keys() and all((found[name] == arrays[name]).all() for name in arrays)
        assert same or message == f"{path}{DAMAGED}", (bit, message)
    assert rejected > 4 * len(content)


@pytest.mark.parametrize("content", [b"", b'{"a": 1', b'{"a": NaN}', b'{"a": "\xff"}', b"\0", b"null", b"[1]", b"[" * 10**5])
def test_json_that_is_damaged_or_no_object_is_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    assert refusal(files.read_json, path) == f"{path}{DAMAGED}"


def test_message_names_the_command_that_regenerates_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = paths.STUDIES / "sigma.json"
    assert refusal(files.read_json, path) == f"{path} is missing: `python -m stages.studies.run sigma` generates it"
    path.parent.mkdir(parents=True)
    path.write_text("<<<<<<< HEAD")
    assert refusal(files.read_json, path) == f"{path} is damaged: `python -m stages.studies.run sigma` regenerates it"


def test_readers_name_a_missing_file(tmp_path: Path) -> None:
    for read in (files.read_arrays, files.read_tensors):
        with pytest.raises(FileNotFoundError) as error:
            read(tmp_path / "none")
        assert error.value.filename in (tmp_path / "none", str(tmp_path / "none"))


WRITERS = """
import resource, sys
from pathlib import Path
import numpy, torch
from stages.core.errors import UserError
from stages.pipeline import files
from stages.plots.canvas import blank, write_gif, write_png
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
figure = blank(4, 4)
figure.add_subplot().plot([0, 1])
rng = numpy.random.default_rng(0)
for write, content in [
    (files.write_text, "x" * 5000),
    (files.write_json, {"x": "x" * 5000}),
    (files.write_arrays, {"x": numpy.zeros(5000)}),
    (files.write_tensors, {"x": torch.zeros(5000)}),
    (write_png, figure),
    (lambda path, images: write_gif(path, images, 1), rng.integers(0, 255, (3, 90, 90, 3), "uint8")),
]:
    try:
        write(Path(sys.argv[1]), content)
    except UserError as error:
        print(error)
"""
"""Tries each writer with a limit of 1000 bytes on the size of files, and prints the errors."""


@pytest.mark.parametrize("before", [None, b"old content"])
def test_full_disk_leaves_the_old_file_unchanged(tmp_path: Path, before: bytes | None) -> None:
    path = tmp_path / "file"
    if before:
        path.write_bytes(before)
    command = [sys.executable, "-c", WRITERS, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == 6 * [f"{path} can't be written: File too large"], done.stderr
    assert [one.read_bytes() for one in tmp_path.iterdir()] == ([before] if before else [])
    assert resource.getrlimit(resource.RLIMIT_FSIZE) != (1000, 1000)
