"""What is said of params.yaml to readers and to editors: it is current and complete, and refuses what the pipeline refuses."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
import yaml

from stages import params, params_reference
from stages.imports import ROOT

RAW: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
EDITOR = json.loads((ROOT / "params.schema.json").read_text())


def test_both_files_are_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for path, content in params_reference.written().items():
        assert path.read_text(encoding="utf-8") == content, "stale: python -m stages.params_reference"


def test_every_key_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    schema, said = params.schema(), params_reference.meanings((ROOT / "params.yaml").read_text())
    names = {key: params_reference.meaning(key, node, said) for key, node in params_reference.keys(schema)}
    assert "mnist_sigreg.train.batch_size" in names and "mog.presets.NAME.box.x" in names
    assert [key for key, text in names.items() if not text] == []


def test_comments_belong_to_the_key_of_their_line() -> None:
    text = "a: 1  # one\nb:   # two\n  c: {d: 1}  # three\n  # loose\n  e: 2\nf: 3  # four\n"
    assert params_reference.meanings(text) == {"a": "one", "b": "two", "b.c": "three", "f": "four"}


@pytest.mark.parametrize(
    "node, words",
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
def test_what_is_accepted_is_said_in_words(node: dict[str, Any], words: str) -> None:
    assert params_reference.accepts(node, {"$defs": {"X": {"type": "string", "pattern": "^a$"}}}) == words


def test_the_editors_schema_accepts_the_committed_params() -> None:
    jsonschema.Draft202012Validator.check_schema(EDITOR)
    jsonschema.validate(RAW, EDITOR)
    assert (ROOT / "params.yaml").read_text().startswith(f"# yaml-language-server: $schema={params_reference.SCHEMA}\n")


@pytest.mark.parametrize(
    "change", [{"dsm.sgima": 0.3}, {"dsm.sigma": -1}, {"dsm.sigma": "0.3"}, {"seedz": 1}, {"device": "tpu"}, {"mog.grid": 9}]
)
def test_the_editors_schema_refuses_what_the_pipeline_refuses(change: dict[str, Any]) -> None:
    raw = json.loads(json.dumps(RAW))
    for key, value in change.items():
        *groups, last = key.split(".")
        block = raw
        for group in groups:
            block = block[group]
        block[last] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(raw, EDITOR)


def test_keys_in_the_editor_say_what_they_mean() -> None:
    sigma = EDITOR["properties"]["dsm"]["properties"]["sigma"]
    assert sigma["description"] == "noise level σ, in units of x" and sigma["exclusiveMinimum"] == 0
    assert EDITOR["properties"]["dsm"]["properties"]["train"]["properties"]["steps"]["description"] == "optimizer steps"
