"""What params.yaml may hold, for readers and for editors: `python -m stages.params_reference`.

Writes docs/params.md, every key with what it accepts and what it means, and params.schema.json, by which an editor underlines
a misspelt key while it is typed (the first line of params.yaml names it). What is accepted comes from `schema.py` and the
signatures of the methods, what it means from the comments of params.yaml: each is said in one place.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from stages import files
from stages import params as parameters
from stages.command import end
from stages.schema import MNIST_PREFIX
from stages.tables import table

REFERENCE = Path("docs/params.md")
SCHEMA = Path("params.schema.json")
ANY = "NAME"
"""Stands for a key that the writer of the file chooses."""
Schema = Mapping[str, Any]
LINE = re.compile(r"^(?P<indent> *)(?P<key>[\w-]+):(?P<value>[^#]*?)(?:#(?P<comment>.*))?$")


def meanings(text: str) -> dict[str, str]:
    """The comments of a params file: dotted key to what stands behind it in its line."""
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
            yield from walk(f"{prefix}.{ANY}", {"description": node.get("description", ""), **inner})
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


def reference(schema: Schema, text: str) -> str:
    """The reference as Markdown: a table for each group of keys of the file."""
    said = meanings(text)
    groups: dict[str, list[tuple[str, str, str]]] = {}
    order = {key: place for place, key in enumerate(parameters.read())}
    for key, node in sorted(keys(schema), key=lambda found: order.get(found[0].split(".")[0], len(order))):
        top, _, rest = key.partition(".")
        groups.setdefault(top if rest else "", []).append((key, accepts(node, schema), meaning(key, node, said)))
    parts = [
        "# Params",
        "Every key of [params.yaml](../params.yaml): what it accepts, and what it means. `python -m stages.params_reference`\n"
        "writes this page from the schema ([stages/schema.py](../stages/schema.py), and the signatures of the methods) and\n"
        f"from the comments of the file; a test keeps it current. {ANY} stands for a name of your own.",
    ]
    for top, rows in groups.items():
        parts += [f"## {f'`{top}`' if top else 'The whole'}", *([f"{_sentence(said[top])}"] if top in said else [])]
        cells = [[f"`{key}`", what, meaning] for key, what, meaning in rows]
        parts.append(table(["key", "accepts", "meaning"], ([c.replace("|", "\\|") for c in row] for row in cells)).rstrip("\n"))
    return "\n\n".join(parts) + "\n"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def described(schema: Schema, text: str) -> dict[str, Any]:
    """The schema with the comments as descriptions of the keys, so that an editor shows them.

    A block that several keys share is written out under each of them, since each says something else of its keys.
    """
    said = meanings(text)

    def walk(prefix: str, node: Schema) -> dict[str, Any]:
        node = {key: value for key, value in resolved(node, schema).items() if key not in ("title", "$defs", "$ref")}
        if prefix:
            node["description"] = meaning(prefix, node, said)
        if "properties" in node:
            node["properties"] = {k: walk(f"{prefix}.{k}" if prefix else k, v) for k, v in node["properties"].items()}
        for key in ("additionalProperties", "items"):
            if isinstance(node.get(key), Mapping):
                node[key] = walk(f"{prefix}.{ANY}", node[key])
        if "anyOf" in node:
            node["anyOf"] = [walk(prefix, one) for one in node["anyOf"]]
        return node

    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "params.yaml", **walk("", schema)}


def written() -> dict[Path, str]:
    """Both files as they have to be with this schema and this params.yaml."""
    schema, text = parameters.schema(), parameters.FILE.read_text(encoding="utf-8")
    return {
        REFERENCE: reference(schema, text),
        SCHEMA: json.dumps(described(schema, text), indent=1, ensure_ascii=False) + "\n",
    }


def write() -> None:
    """Write both files."""
    for path, content in written().items():
        files.write_text(path, content)


if __name__ == "__main__":
    end(lambda _: write())
