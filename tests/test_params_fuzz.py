"""params.yaml files with something wrong in them: never a traceback, always one line that names what is wrong."""

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
from stages.tools.check import check as check_all

pytestmark = pytest.mark.hostile

TEXT = (ROOT / "params.yaml").read_text(encoding="utf-8")
RAW: dict[str, Any] = yaml.safe_load(TEXT)
QUICK, FULL = 100, 600
ODD: tuple[Any, ...] = (
    None, True, "", "0.5", "ünï·cødé ∇", "\u202e", "a" * 10_000, "<img src=x>", "; true /", "${seed}", [], {}, [[]], {"a": {}},
    -1, 0, -0.5, 0.5, 1e308, -1e308, float("inf"), float("-inf"), float("nan"), 10**30, -(10**30), 2**31, 2**63, 1.5,
)  # fmt: skip
"""Values that no key here accepts, or only some do."""


def places(block: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything in a params file, blocks and what they hold."""
    found = [path] if path else []
    items = block.items() if isinstance(block, dict) else enumerate(block) if isinstance(block, list) else ()
    for key, value in items:
        found += places(value, (*path, key))
    return found


PLACES = places(RAW)


def holder(raw: Any, path: tuple[Any, ...]) -> Any:
    for key in path[:-1]:
        raw = raw[key]
    return raw


def other_value(raw: Any, path: tuple[Any, ...], rng: random.Random) -> str:
    holder(raw, path)[path[-1]] = rng.choice(ODD)
    return str(path[-1])


def missing(raw: Any, path: tuple[Any, ...], rng: random.Random) -> str:
    del holder(raw, path)[path[-1]]
    return str(path[-1])


def misspelt(raw: Any, path: tuple[Any, ...], rng: random.Random) -> str:
    block = holder(raw, path)
    if not isinstance(block, dict):
        return other_value(raw, path, rng)
    key = str(path[-1])
    wrong = rng.choice((key[:-1], key.upper(), key + "s", key[::-1], f" {key}", key.replace("_", "-") + "-", "ζ" + key))
    block[wrong] = block.pop(path[-1])
    return wrong


def extra(raw: Any, path: tuple[Any, ...], rng: random.Random) -> str:
    block = holder(raw, path)
    name = rng.choice(("size", "nfiles", "extra", "__class__", "train", "αβγ", "0"))
    if not isinstance(block, dict) or name in block:
        return other_value(raw, path, rng)
    block[name] = rng.choice(ODD)
    return name


def negated(raw: Any, path: tuple[Any, ...], rng: random.Random) -> str:
    block = holder(raw, path)
    value = block[path[-1]]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return other_value(raw, path, rng)
    block[path[-1]] = rng.choice((-value - 1, value * 1e12, str(value), [value]))
    return str(path[-1])


MUTATIONS: tuple[Callable[[Any, tuple[Any, ...], random.Random], str], ...] = (other_value, missing, misspelt, extra, negated)


def check(path: Path) -> str:
    """What is said of a file: nothing where it is accepted, else one line."""
    try:
        check_all(path)
    except InvalidParams as error:
        said = str(error)
        assert "\n" not in said and said.startswith(f"{path}: ") and len(said) < 1000, said
        return said.removeprefix(f"{path}: ")
    return ""


def mutate(seed: int, folder: Path) -> tuple[str, str, str]:
    """A mutated file: what was done, what is said of it, the key that has to be named."""
    rng = random.Random(seed)
    raw = yaml.safe_load(TEXT)
    path = rng.choice(PLACES)
    mutation = rng.choice(MUTATIONS)
    key = mutation(raw, path, rng)
    file = folder / "params.yaml"
    file.write_text(yaml.safe_dump(raw, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return f"{mutation.__name__} at {'.'.join(map(str, path))} (seed {seed})", check(file), key


def hold(seeds: range, folder: Path) -> None:
    """Every mutated file is accepted, or refused by a line that names the key, or the block that it is missing from."""
    refused = 0
    for seed in seeds:
        what, said, key = mutate(seed, folder)
        if said:
            refused += 1
            # An element of a list, or of what is refused as a whole, stands for the key that has it.
            path = [part for part in what.split(" at ")[1].split(" (")[0].split(".") if not part.isdecimal()]
            named = {key, *path[-2:]} if not key.isdecimal() else set(path[-2:])
            assert any(re.search(rf"(^|[ .]){re.escape(name)}(?=[:. ;?,]|$)", said) for name in named), f"{what}: {said}"
    assert refused > len(seeds) // 2


def test_mutated_files_are_refused_by_one_line_that_names_the_key(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    record_property("tries", QUICK)
    hold(range(QUICK), tmp_path)


@pytest.mark.nightly
def test_many_more_mutated_files(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    record_property("tries", FULL)
    hold(range(QUICK, QUICK + FULL), tmp_path)


ODDITIES = {
    "nothing": "",
    "a list": "- 1\n",
    "a number": "5\n",
    "two documents": f"{TEXT}\n---\n{TEXT}",
    "a tab": TEXT.replace("  batch_size", "\tbatch_size", 1),
    "an open bracket": TEXT + "\nx: [1, 2",
    "an unknown tag": TEXT.replace("seed: 0", "seed: !!python/object/apply:os.system ['true']", 1),
    "an unknown alias": TEXT.replace("seed: 0", "seed: *nowhere", 1),
    "a key twice": TEXT + "\nseed: 1\n",
    "a number as key": TEXT + "\n5: 1\n",
    "a list as key": TEXT + "\n? [a]\n: 1\n",
    "deep nesting": TEXT + "\nx: " + "[" * 5000 + "]" * 5000,
    "laughs": TEXT
    + "\na: &a [x, x]\n"
    + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [*{chr(97 + i)}, *{chr(97 + i)}]\n" for i in range(20)),
    "itself": TEXT + "\nx: &x [*x]\n",
    "a date": TEXT.replace("seed: 0", "seed: 2020-01-01", 1),
    "octal": TEXT.replace("seeds: 8 ", "seeds: 0o10 ", 1),
    "octal of old": TEXT.replace("seeds: 8 ", "seeds: 010 ", 1),
    "hexadecimal": TEXT.replace("seeds: 8 ", "seeds: 0x8 ", 1),
    "minutes": TEXT.replace("seeds: 8 ", "seeds: 1:30 ", 1),
    "thousands": TEXT.replace("seeds: 8 ", "seeds: 1_000 ", 1),
    "very many digits": TEXT.replace("seeds: 8 ", f"seeds: {'9' * 5000} ", 1),
    "more than any memory": TEXT.replace("seeds: 8 ", "seeds: 1000000000000 ", 1),
    "no whole number at all": TEXT.replace("seed: 0", 'seed: !!int ""', 1),
    "no number at all": TEXT.replace("seed: 0", 'seed: !!float ""', 1),
    "neither true nor false": TEXT.replace("seed: 0", "seed: !!bool foo", 1),
    "no date at all": TEXT.replace("seed: 0", "seed: !!timestamp foo", 1),
    "a set": TEXT.replace("seed: 0", "seed: !!set {a}", 1),
    "very deep nesting": "- " * 200_000,
    "very many laughs": "".join(f"b{i}: &b{i} [*b{i - 1}, *b{i - 1}]\n" if i else "b0: &b0 [x]\n" for i in range(60)) + TEXT,
    "no in the words of old": TEXT.replace("mixed_precision: false", "mixed_precision: no", 1),
    "a NUL": TEXT + "\n\0\n",
    "yes": TEXT.replace("mixed_precision: false", "mixed_precision: 'yes'", 1),
}


@pytest.mark.parametrize("name", ODDITIES)
def test_oddities_of_yaml_are_refused(name: str, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(ODDITIES[name], encoding="utf-8")
    assert check(file), f"{name} was accepted"


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"seed: \xc3\x28\n"])
def test_bytes_that_are_no_text_are_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_bytes(content)
    assert check(file)


def test_anchors_and_merges_are_as_good_as_what_they_stand_for(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    block = "train: {steps: 1500, batch_size: 256, learning_rate: 0.001, weight_decay: 0.0, schedule: constant, warmup: 0}"
    # DVC breaks long lines.
    whole = re.sub(r",\s*\n +", ", ", TEXT)
    assert whole.count(block) > 1
    first, *others = whole.split(block)
    text = f"{first}{block.replace('train: ', 'train: &t ')}{others[0]}train: {{<<: *t, steps: 7}}{block.join(others[1:])}"
    file.write_text(text, encoding="utf-8")
    assert check(file) == ""
    loaded = params.load(file)
    assert 7 in [configured(loaded, block)[1].steps for block in loaded.blocks]
