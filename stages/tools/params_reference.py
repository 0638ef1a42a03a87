"""Write the reference of params.yaml, mixtures.yaml and claims.yaml: `python -m stages.tools.params_reference`.

Writes docs/params.md, which lists every key with its accepted values and its meaning, and a JSON schema for each file, with
which an editor marks misspelt keys (the first line of the file names its schema). Accepted values come from `stages/config` and
the signatures of the methods, meanings from there and from the comments of the files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, create_model

from stages.config import params as parameters
from stages.config.base import MNIST_PREFIX
from stages.config.claims import Claims
from stages.config.mixture import MixtureParams
from stages.config.schema import Settings
from stages.core import paths
from stages.core.command import end
from stages.nn.build import block_model
from stages.pipeline import files
from stages.results.tables import table

REFERENCE = Path("docs/params.md")
ANY = "NAME"
"""Placeholder for a key that the user names."""
Schema = Mapping[str, Any]
"""A JSON schema."""
LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w-]+):(?P<value>[^#]*?)(?:#(?P<comment>.*))?$")
"""A line of YAML with a key."""


@dataclass(frozen=True)
class DocumentedFile:
    """A YAML file with its JSON schema and the comments of its keys, by dotted key."""

    path: Path
    schema: Schema
    comments: Mapping[str, str]

    @property
    def schema_file(self) -> Path:
        """The path of the schema for editors."""
        return self.path.with_suffix(".schema.json")


def documented_files() -> list[DocumentedFile]:
    """The files whose keys are documented."""
    schemas = {
        paths.PARAMS: params_schema(),
        paths.MIXTURES: TypeAdapter(dict[str, MixtureParams]).json_schema(),
        paths.CLAIMS: Claims.model_json_schema(),
    }
    return [DocumentedFile(path, schema, key_comments(path.read_text(encoding="utf-8"))) for path, schema in schemas.items()]


def params_schema() -> Schema:
    """The JSON schema of params.yaml with the blocks of all its methods."""
    blocks: dict[str, Any] = {
        name: (block_model(name.removeprefix(MNIST_PREFIX), images=name.startswith(MNIST_PREFIX)), ...)
        for name in parameters.load().blocks
    }
    return create_model("Params", __base__=Settings, **blocks).model_json_schema()


def key_comments(text: str) -> dict[str, str]:
    """The comments that follow a key in its line of a YAML file, by dotted key."""
    found: dict[str, str] = {}
    path: list[tuple[int, str]] = []
    for line in text.splitlines():
        match = LINE.match(line)
        if not match:
            continue
        indent = len(match["indent"])
        path = [*((depth, key) for depth, key in path if depth < indent), (indent, match["key"])]
        if match["comment"]:
            found[".".join(key for _, key in path)] = match["comment"].strip()
    return found


def meaning(key: str, node: Schema, comments: Mapping[str, str]) -> str:
    """The meaning of a key: its comment, else its description in the schema, else the comment in the method's mixture block."""
    declared = node.get("description", "").rstrip(".")
    return comments.get(key) or declared[:1].lower() + declared[1:] or comments.get(key.removeprefix(MNIST_PREFIX), "")


def keys(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Every dotted key that holds a value, with the schema of the value."""

    def walk(prefix: str, node: Schema) -> Iterator[tuple[str, Schema]]:
        node = resolved(node, schema)
        if "properties" in node:
            for key, value in node["properties"].items():
                yield from walk(f"{prefix}.{key}" if prefix else key, value)
        elif isinstance(node.get("additionalProperties"), Mapping):
            inner = resolved(node["additionalProperties"], schema)
            yield from walk(f"{prefix}.{ANY}" if prefix else ANY, {"description": node.get("description", ""), **inner})
        else:
            yield prefix, node

    yield from walk("", schema)


def resolved(node: Schema, schema: Schema) -> Schema:
    """The node with its reference resolved; keywords beside the reference take precedence."""
    return {**schema["$defs"][node["$ref"].split("/")[-1]], **node} if "$ref" in node else node


def accepts(node: Schema, schema: Schema) -> str:
    """The accepted values of a key as text."""
    node = resolved(node, schema)
    if "enum" in node:
        return " or ".join(f"`{json.dumps(value) if isinstance(value, bool) else value}`" for value in node["enum"])
    if "anyOf" in node:
        return " or ".join(accepts(one, schema) for one in node["anyOf"])
    kind = node.get("type")
    if kind == "array":
        low, high = node.get("minItems"), node.get("maxItems")
        count = f"{low} × " if low and low == high else f"at least {low} × " if low and low > 1 else ""
        return f"list of {count}{accepts(node['items'], schema)}"
    if kind in ("integer", "number"):
        return {"integer": "whole number", "number": "number"}[kind] + "".join(_bounds(node))
    if kind == "object":
        return "keys with their values"
    return {"boolean": "`true` or `false`", "string": "text", "null": "nothing"}.get(str(kind), "anything") + (
        f" of the form `{node['pattern']}`" if "pattern" in node else ""
    )


def _bounds(node: Schema) -> Iterator[str]:
    signs = {"exclusiveMinimum": ">", "minimum": "≥", "exclusiveMaximum": "<", "maximum": "≤", "multipleOf": "in steps of"}
    shown = [f"{sign} {node[key]:,}" for key, sign in signs.items() if key in node]
    if shown:
        yield f" {', '.join(shown)}"


def reference(params: DocumentedFile, *others: DocumentedFile) -> str:
    """The reference as Markdown: a table for each block of params.yaml and for each of the other files."""
    groups: dict[str, list[tuple[str, Schema]]] = {}
    order = {key: place for place, key in enumerate(parameters.read())}
    for key, node in sorted(keys(params.schema), key=lambda found: order.get(found[0].split(".")[0], len(order))):
        top, _, rest = key.partition(".")
        groups.setdefault(top if rest else "", []).append((key, node))
    names = [f"[{one.path}](../{one.path})" for one in (params, *others)]
    parts = [
        "# Params",
        f"The keys of {', '.join(names[:-1])} and {names[-1]}, with their accepted values and meanings.\n"
        "`python -m stages.tools.params_reference` writes this page from the schema ([stages/config](../stages/config) and\n"
        "the signatures of the methods) and from the comments of the files; a test checks that it is current.\n"
        f"{ANY} is a placeholder for a name that you choose.",
    ]
    for top, found in groups.items():
        parts.append(f"## {f'`{top}`' if top else 'Top level'}")
        parts += [_sentence(params.comments[top])] if top in params.comments else []
        parts.append(_rows(params, found))
    for other in others:
        whole = resolved(other.schema.get("additionalProperties") or other.schema, other.schema)
        parts += [f"## {other.path}", whole["description"].partition("\n")[0], _rows(other, list(keys(other.schema)))]
    return "\n\n".join(parts) + "\n"


def _rows(file: DocumentedFile, found: list[tuple[str, Schema]]) -> str:
    """A table of keys."""
    rows = ([f"`{key}`", accepts(node, file.schema), meaning(key, node, file.comments)] for key, node in found)
    return table(["key", "accepts", "meaning"], ([cell.replace("|", "\\|") for cell in row] for row in rows)).rstrip("\n")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def schema_with_comments(file: DocumentedFile) -> dict[str, Any]:
    """The schema with the comments as descriptions of the keys, which editors show.

    A block that several keys share is written out under each of them, since the descriptions of its keys differ.
    """

    def walk(prefix: str, node: Schema) -> dict[str, Any]:
        node = {key: value for key, value in resolved(node, file.schema).items() if key not in ("title", "$defs", "$ref")}
        if prefix:
            node["description"] = meaning(prefix, node, file.comments)
        if "properties" in node:
            node["properties"] = {k: walk(f"{prefix}.{k}" if prefix else k, v) for k, v in node["properties"].items()}
        for key in ("additionalProperties", "items"):
            if isinstance(node.get(key), Mapping):
                node[key] = walk(f"{prefix}.{ANY}" if prefix else ANY, node[key])
        if "anyOf" in node:
            node["anyOf"] = [walk(prefix, one) for one in node["anyOf"]]
        return node

    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, "title": str(file.path), **walk("", file.schema)}


def generated() -> dict[Path, str]:
    """The current content of each generated file."""
    params, *others = documented_files()
    schemas = {
        one.schema_file: json.dumps(schema_with_comments(one), indent=1, ensure_ascii=False) + "\n" for one in (params, *others)
    }
    return {REFERENCE: reference(params, *others), **schemas}


def write() -> None:
    """Write the reference and the schemas."""
    for path, content in generated().items():
        files.write_text(path, content)


if __name__ == "__main__":
    end(lambda _: write())
