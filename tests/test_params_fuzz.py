"""Mutated and malformed params.yaml files: an error is one line that names the mistake, never a traceback."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.config import params
from stages.core.errors import InvalidParams
from stages.core.paths import ROOT
from stages.nn.build import configured
from stages.tools.check import check

pytestmark = pytest.mark.hostile

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
RAW: dict[str, Any] = yaml.safe_load(TEXT)
QUICK, FULL = 100, 600
UNUSUAL_VALUES: tuple[Any, ...] = (
    None, True, "", "0.5", "ünï·cødé ∇", "\u202e", "a" * 10_000, "<img src=x>", "; true /", "${seed}", [], {}, [[]], {"a": {}},
    -1, 0, -0.5, 0.5, 1e308, -1e308, float("inf"), float("-inf"), float("nan"), 10**30, -(10**30), 2**31, 2**63, 1.5,
)  # fmt: skip
"""Values that no key or only a few keys accept."""


def key_paths(block: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The keys and list indices that lead to each value of a nested block, inner blocks included."""
    found = [path] if path else []
    items = block.items() if isinstance(block, dict) else enumerate(block) if isinstance(block, list) else ()
    for key, value in items:
        found += key_paths(value, (*path, key))
    return found


KEY_PATHS = key_paths(RAW)


def container(raw: Any, path: tuple[Any, ...]) -> Any:
    """The block or list that contains the value at a path."""
    for key in path[:-1]:
        raw = raw[key]
    return raw


def other_value(raw: Any, path: tuple[Any, ...], rng: random.Random) -> str:
    container(raw, path)[path[-1]] = rng.choice(UNUSUAL_VALUES)
    return str(path[-1])


def missing(raw: Any, path: tuple[Any, ...], rng: random.Random) -> str:
    del container(raw, path)[path[-1]]
    return str(path[-1])


def misspelt(raw: Any, path: tuple[Any, ...], rng: random.Random) -> str:
    block = container(raw, path)
    if not isinstance(block, dict):
        return other_value(raw, path, rng)
    key = str(path[-1])
    wrong = rng.choice((key[:-1], key.upper(), key + "s", key[::-1], f" {key}", key.replace("_", "-") + "-", "ζ" + key))
    block[wrong] = block.pop(path[-1])
    return wrong


def extra(raw: Any, path: tuple[Any, ...], rng: random.Random) -> str:
    block = container(raw, path)
    name = rng.choice(("size", "nfiles", "extra", "__class__", "train", "αβγ", "0"))
    if not isinstance(block, dict) or name in block:
        return other_value(raw, path, rng)
    block[name] = rng.choice(UNUSUAL_VALUES)
    return name


def negated(raw: Any, path: tuple[Any, ...], rng: random.Random) -> str:
    block = container(raw, path)
    value = block[path[-1]]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return other_value(raw, path, rng)
    block[path[-1]] = rng.choice((-value - 1, value * 1e12, str(value), [value]))
    return str(path[-1])


MUTATIONS: tuple[Callable[[Any, tuple[Any, ...], random.Random], str], ...] = (other_value, missing, misspelt, extra, negated)
"""Mutate the value at a path, or its key, and return the key that the error must name."""


def error_message(path: Path) -> str:
    """The error for a file, without the file's name; empty if the file is accepted."""
    try:
        check(path)
    except InvalidParams as error:
        message = str(error)
        assert "\n" not in message and message.startswith(f"{path}: ") and len(message) < 1000, message
        return message.removeprefix(f"{path}: ")
    return ""


def mutate(seed: int, folder: Path) -> tuple[str, str, str]:
    """Write a mutated file; returns a description of the mutation, the error, and the key that the error must name."""
    rng = random.Random(seed)
    raw = yaml.safe_load(TEXT)
    path = rng.choice(KEY_PATHS)
    mutation = rng.choice(MUTATIONS)
    key = mutation(raw, path, rng)
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(raw, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return f"{mutation.__name__} at {'.'.join(map(str, path))} (seed {seed})", error_message(file), key


def assert_errors_name_the_key(seeds: range, folder: Path) -> None:
    """Check that every mutated file is accepted, or rejected with an error that names the key or the block of the key."""
    rejected = 0
    for seed in seeds:
        mutation, message, key = mutate(seed, folder)
        if message:
            rejected += 1
            # For an element of a list, and for a value in a block that is rejected as a whole, the outer key is named.
            path = [part for part in mutation.split(" at ")[1].split(" (")[0].split(".") if not part.isdecimal()]
            names = {key, *path[-2:]} if not key.isdecimal() else set(path[-2:])
            named = any(re.search(rf"(^|[ .]){re.escape(name)}(?=[:. ;?,]|$)", message) for name in names)
            assert named, f"{mutation}: {message}"
    assert rejected > len(seeds) // 2


def test_the_error_for_a_mutated_file_names_the_key_in_one_line(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    record_property("tries", QUICK)
    assert_errors_name_the_key(range(QUICK), tmp_path)


@pytest.mark.nightly
def test_the_errors_for_many_mutated_files_name_the_key_in_one_line(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    record_property("tries", FULL)
    assert_errors_name_the_key(range(QUICK, QUICK + FULL), tmp_path)


MALFORMED = {
    "empty file": "",
    "list": "- 1\n",
    "number": "5\n",
    "two documents": f"{TEXT}\n---\n{TEXT}",
    "tab as indentation": TEXT.replace("  batch_size", "\tbatch_size", 1),
    "unclosed bracket": TEXT + "\nx: [1, 2",
    "tag of a Python object": TEXT.replace("seed: 0", "seed: !!python/object/apply:os.system ['true']", 1),
    "undefined alias": TEXT.replace("seed: 0", "seed: *nowhere", 1),
    "duplicate key": TEXT + "\nseed: 1\n",
    "number as a key": TEXT + "\n5: 1\n",
    "list as a key": TEXT + "\n? [a]\n: 1\n",
    "deep nesting": TEXT + "\nx: " + "[" * 5000 + "]" * 5000,
    "billion laughs": TEXT
    + "\na: &a [x, x]\n"
    + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)),
    "self-referencing alias": TEXT + "\nx: &x [*x]\n",
    "date": TEXT.replace("seed: 0", "seed: 2020-01-01", 1),
    "octal of YAML 1.2": TEXT.replace("seeds: 8 ", "seeds: 0o10 ", 1),
    "octal of YAML 1.1": TEXT.replace("seeds: 8 ", "seeds: 010 ", 1),
    "hexadecimal": TEXT.replace("seeds: 8 ", "seeds: 0x8 ", 1),
    "sexagesimal number": TEXT.replace("seeds: 8 ", "seeds: 1:30 ", 1),
    "digit separator": TEXT.replace("seeds: 8 ", "seeds: 1_000 ", 1),
    "integer of 5000 digits": TEXT.replace("seeds: 8 ", f"seeds: {'9' * 5000} ", 1),
    "more seeds than fit in memory": TEXT.replace("seeds: 8 ", "seeds: 1000000000000 ", 1),
    "empty integer": TEXT.replace("seed: 0", 'seed: !!int ""', 1),
    "empty float": TEXT.replace("seed: 0", 'seed: !!float ""', 1),
    "invalid boolean": TEXT.replace("seed: 0", "seed: !!bool foo", 1),
    "invalid timestamp": TEXT.replace("seed: 0", "seed: !!timestamp foo", 1),
    "set": TEXT.replace("seed: 0", "seed: !!set {a}", 1),
    "very deep nesting": "- " * 200_000,
    "deeper billion laughs": "".join(f"b{i}: &b{i} [*b{i - 1}, *b{i - 1}]\n" if i else "b0: &b0 [x]\n" for i in range(60))
    + TEXT,
    "no as a boolean of YAML 1.1": TEXT.replace("mixed_precision: false", "mixed_precision: no", 1),
    "null character": TEXT + "\n\0\n",
    "yes in quotes": TEXT.replace("mixed_precision: false", "mixed_precision: 'yes'", 1),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_yaml_and_values_of_other_types_are_rejected(name: str, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(MALFORMED[name], encoding="utf-8")
    assert error_message(file), f"{name} was accepted"


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"seed: \xc3\x28\n"])
def test_a_file_that_is_not_utf_8_is_rejected(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_bytes(content)
    assert error_message(file)


def test_yaml_anchors_and_merge_keys_are_resolved(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    block = "train: {steps: 1500, batch_size: 256, learning_rate: 0.001, weight_decay: 0.0, schedule: constant, warmup: 0}"
    # Join the lines that DVC has broken.
    whole = re.sub(r",\s*\n +", ", ", TEXT)
    assert whole.count(block) > 1
    first, *others = whole.split(block)
    text = f"{first}{block.replace('train: ', 'train: &t ')}{others[0]}train: {{<<: *t, steps: 7}}{block.join(others[1:])}"
    file.write_text(text, encoding="utf-8")
    assert error_message(file) == ""
    loaded = params.load(file)
    assert 7 in [configured(loaded, block)[1].steps for block in loaded.blocks]
