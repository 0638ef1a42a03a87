"""docs/params.md and the JSON schemas of params.yaml, mixtures.yaml and claims.yaml: up to date, complete and correct."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from stages.core.paths import ROOT
from stages.tools import params_reference

FILES = ("params", "mixtures", "claims")
RAW: dict[str, dict[str, Any]] = {name: yaml.safe_load((ROOT / f"{name}.yaml").read_text()) for name in FILES}
SCHEMAS = {name: json.loads((ROOT / f"{name}.schema.json").read_text()) for name in FILES}
PARAMS_SCHEMA = SCHEMAS["params"]


def test_the_committed_reference_and_schemas_are_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    generated = params_reference.generated()
    assert generated.keys() == {Path("docs/params.md"), *(Path(f"{name}.schema.json") for name in FILES)}
    for path, content in generated.items():
        assert path.read_text(encoding="utf-8") == content, "stale: python -m stages.tools.params_reference"


def test_every_key_has_a_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    files = params_reference.documented_files()
    assert [file.path for file in files] == [Path(f"{name}.yaml") for name in FILES]
    meanings = [
        {key: params_reference.meaning(key, node, file.comments) for key, node in params_reference.keys(file.schema)}
        for file in files
    ]
    for found, key in zip(meanings, ("mnist_sigreg.train.batch_size", "NAME.box.x", "criteria.NAME.decided_by"), strict=True):
        assert key in found
        assert [key for key, text in found.items() if not text] == []


def test_the_reference_lists_every_key_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    page = (ROOT / "docs/params.md").read_text(encoding="utf-8")
    for file in params_reference.documented_files():
        assert f"[{file.path}](../{file.path})" in page
        for key, _ in params_reference.keys(file.schema):
            assert page.count(f"| `{key}` | ") == 1


def test_a_comment_explains_the_key_of_its_line() -> None:
    text = "a: 1  # one\nb:   # two\n  c: {d: 1}  # three\n  # loose\n  e: 2\nf: 3  # four\n"
    assert params_reference.key_comments(text) == {"a": "one", "b": "two", "b.c": "three", "f": "four"}


@pytest.mark.parametrize(
    "node, text",
    [
        ({"type": "integer", "minimum": 1}, "whole number ≥ 1"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "number > 0, ≤ 1"),
        ({"type": "boolean"}, "`true` or `false`"),
        ({"enum": ["a", "b"]}, "`a` or `b`"),
        ({"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}, "list of 2 × number"),
        ({"type": "array", "items": {"$ref": "#/$defs/X"}, "minItems": 1}, "list of text of the form `^a$`"),
        ({"anyOf": [{"type": "number"}, {"type": "null"}]}, "number or nothing"),
    ],
)
def test_accepted_values_are_described_in_words(node: dict[str, Any], text: str) -> None:
    assert params_reference.accepts(node, {"$defs": {"X": {"type": "string", "pattern": "^a$"}}}) == text


@pytest.mark.parametrize("name", FILES)
def test_the_schema_for_editors_accepts_the_committed_file(name: str) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMAS[name])
    jsonschema.validate(RAW[name], SCHEMAS[name])
    assert (ROOT / f"{name}.yaml").read_text().startswith(f"# yaml-language-server: $schema={name}.schema.json\n")


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("params", "dsm.sgima", 0.3),
        ("params", "dsm.sigma", -1),
        ("params", "dsm.sigma", "0.3"),
        ("params", "seedz", 1),
        ("params", "device", "tpu"),
        ("params", "mog.evaluation.grid", 9),
        ("mixtures", "ring.mean", [[0, 0]]),
        ("mixtures", "ring.box.x", [0]),
        ("mixtures", "ring", None),
        ("claims", "criterion", {}),
        ("claims", "criteria.wells.decided_by", []),
        ("claims", "expected.dsm.wells", "yes"),
    ],
)
def test_the_schema_for_editors_rejects_what_the_pipeline_rejects(name: str, key: str, value: Any) -> None:
    raw = json.loads(json.dumps(RAW[name]))
    *groups, last = key.split(".")
    block = raw
    for group in groups:
        block = block[group]
    block[last] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(raw, SCHEMAS[name])


def test_the_schema_for_editors_describes_the_keys() -> None:
    sigma = PARAMS_SCHEMA["properties"]["dsm"]["properties"]["sigma"]
    assert sigma["description"] == "noise level σ, in units of x" and sigma["exclusiveMinimum"] == 0
    assert PARAMS_SCHEMA["properties"]["dsm"]["properties"]["train"]["properties"]["steps"]["description"] == "optimizer steps"
    assert SCHEMAS["mixtures"]["additionalProperties"]["properties"]["weights"]["description"] == "mode weights, with sum 1"
    assert SCHEMAS["claims"]["properties"]["expected"]["description"].startswith("true: the literature claims it of the method")
