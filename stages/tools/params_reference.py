"""What params.yaml, mixtures.yaml and claims.yaml may hold, for readers and editors: `python -m stages.tools.params_reference`.

Writes docs/params.md, every key with what it accepts and what it means, and for each of the files a schema by which an editor
underlines a misspelt key while it is typed (the first line of the file names it). What is accepted comes from `stages/config`
and the signatures of the methods, what it means from there and from the comments of the files: each is said in one place.
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
"""Stands for a key that the writer of the file chooses."""
Schema = Mapping[str, Any]
LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w-]+):(?P<value>[^#]*?)(?:#(?P<comment>.*))?$")


@dataclass(frozen=True)
class Explained:
    """A YAML file: what it may hold, as JSON Schema, and what its comments say of which key."""

    path: Path
    schema: Schema
    said: Mapping[str, str]

    @property
    def schema_file(self) -> Path:
        """Where an editor finds the schema."""
        return self.path.with_suffix(".schema.json")


def explained() -> list[Explained]:
    """All files of which every key is explained."""
    schemas = {
        paths.PARAMS: params_schema(),
        paths.MIXTURES: TypeAdapter(dict[str, MixtureParams]).json_schema(),
        paths.CLAIMS: Claims.model_json_schema(),
    }
    return [Explained(path, schema, meanings(path.read_text(encoding="utf-8"))) for path, schema in schemas.items()]


def params_schema() -> Schema:
    """The JSON schema of params.yaml, with the blocks of all methods that it has."""
    blocks: dict[str, Any] = {
        name: (block_model(name.removeprefix(MNIST_PREFIX), images=name.startswith(MNIST_PREFIX)), ...)
        for name in parameters.load().blocks
    }
    return create_model("Params", __base__=Settings, **blocks).model_json_schema()


def meanings(text: str) -> dict[str, str]:
    """The comments of a YAML file: dotted key to what stands behind it in its line."""
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


def meaning(key: str, node: Schema, said: Mapping[str, str]) -> str:
    """What is said of a key: in the file, or by the schema, or in the file of the same method on the mixture."""
    declared = node.get("description", "").rstrip(".")
    return said.get(key) or declared[:1].lower() + declared[1:] or said.get(key.removeprefix(MNIST_PREFIX), "")


def keys(schema: Schema) -> Iterator[tuple[str, Schema]]:
    """Every key that holds a value, dotted, with the schema of what it accepts."""

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
    """The node itself, or what it refers to; what is said at the reference counts."""
    return {**schema["$defs"][node["$ref"].split("/")[-1]], **node} if "$ref" in node else node


def accepts(node: Schema, schema: Schema) -> str:
    """What a key accepts, in words."""
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


def reference(params: Explained, *others: Explained) -> str:
    """The reference as Markdown: a table for each group of keys of params.yaml, and one for each of the other files."""
    groups: dict[str, list[tuple[str, Schema]]] = {}
    order = {key: place for place, key in enumerate(parameters.read())}
    for key, node in sorted(keys(params.schema), key=lambda found: order.get(found[0].split(".")[0], len(order))):
        top, _, rest = key.partition(".")
        groups.setdefault(top if rest else "", []).append((key, node))
    names = [f"[{one.path}](../{one.path})" for one in (params, *others)]
    parts = [
        "# Params",
        f"Every key of {', '.join(names[:-1])} and {names[-1]}: what it accepts, and what it means.\n"
        "`python -m stages.tools.params_reference` writes this page from the schema ([stages/config](../stages/config), and\n"
        "the signatures of the methods) and from the comments of the files; a test keeps it current.\n"
        f"{ANY} stands for a name of your own.",
    ]
    for top, found in groups.items():
        parts += [f"## {f'`{top}`' if top else 'The whole'}", *([_sentence(params.said[top])] if top in params.said else [])]
        parts.append(_rows(params, found))
    for other in others:
        whole = resolved(other.schema.get("additionalProperties") or other.schema, other.schema)
        parts += [f"## {other.path}", whole["description"].partition("\n")[0], _rows(other, list(keys(other.schema)))]
    return "\n\n".join(parts) + "\n"


def _rows(file: Explained, found: list[tuple[str, Schema]]) -> str:
    """A table of keys."""
    rows = ([f"`{key}`", accepts(node, file.schema), meaning(key, node, file.said)] for key, node in found)
    return table(["key", "accepts", "meaning"], ([cell.replace("|", "\\|") for cell in row] for row in rows)).rstrip("\n")


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def described(file: Explained) -> dict[str, Any]:
    """The schema with the comments as descriptions of the keys, so that an editor shows them.

    A block that several keys share is written out under each of them, since each says something else of its keys.
    """

    def walk(prefix: str, node: Schema) -> dict[str, Any]:
        node = {key: value for key, value in resolved(node, file.schema).items() if key not in ("title", "$defs", "$ref")}
        if prefix:
            node["description"] = meaning(prefix, node, file.said)
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


def written() -> dict[Path, str]:
    """All that is made, as it has to be with these schemas and these YAML files."""
    params, *others = explained()
    schemas = {one.schema_file: json.dumps(described(one), indent=1, ensure_ascii=False) + "\n" for one in (params, *others)}
    return {REFERENCE: reference(params, *others), **schemas}


def write() -> None:
    """Write the reference and the schemas."""
    for path, content in written().items():
        files.write_text(path, content)


if __name__ == "__main__":
    end(lambda _: write())
