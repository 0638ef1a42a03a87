"""Digest of a definition's normalised syntax tree and of the trees of all project definitions that it refers to.

Normalisation drops everything that cannot change a result: docstrings, comments, formatting, annotations, printed text, error
messages, the name of a definition and its module. Moving, renaming or documenting a function, or splitting a module, therefore
invalidates no result. A syntax tree cannot show that rewritten code computes the same values; `make confirm` tests that by
running a sample (see confirm.py).
"""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import networkx as nx

from stages.core.paths import ROOT
from stages.pipeline import digests

PROJECT = "stages"
"""Top-level package of the project."""
MESSAGE_CALLS = {"print", "warnings.warn"}
"""Calls whose only effect is a message to the user."""
IGNORED_FIELDS = {"ctx", "type_comment", "kind", "type_params", "type_ignores", "annotation", "returns", "msg", "cause"}
"""Fields of syntax tree nodes that cannot change a value."""
MAIN_BLOCK = "__main__"
"""Definition name of the block `if __name__ == "__main__"` of a module."""
PURE_FUNCTIONS = {"abs", "float", "format", "int", "len", "max", "min", "repr", "round", "str", "sum", "type"}
"""Functions without side effects: calls of them inside a message are dropped with it."""
Tree = Any
"""Nested lists of strings and numbers, with a `Reference` for each other definition of the project."""


@dataclass(frozen=True)
class Reference:
    """A reference to a definition of the project by its full name."""

    name: str


@dataclass
class Module:
    """The top level of a file.

    Args:
        name: full name of the module.
        definitions: the statements that define each name; a method's name is Class.method.
        imported: the full name that each imported name refers to.
        effects: all other statements that run on import.
    """

    name: str
    definitions: dict[str, list[ast.AST]] = field(default_factory=dict)
    imported: dict[str, str] = field(default_factory=dict)
    effects: list[ast.AST] = field(default_factory=list)


def digest(name: str, without: Collection[str] = ()) -> str:
    """The digest of the definition with this full name, such as stages.mog.train.main.

    Args:
        name: a function, class or constant of the project.
        without: full names of modules and definitions whose content is ignored.

    Raises:
        LookupError: there is no such definition.
    """
    return _digests(name, frozenset(without))[name]


def reached(name: str, without: Collection[str] = ()) -> set[str]:
    """Full names of all definitions that the digest of this one depends on."""
    return set(_digests(name, frozenset(without)))


def classes(module: str) -> list[str]:
    """Names of the classes that a module of the project defines.

    Raises:
        LookupError: there is no such module.
    """
    found = _module(module)
    if found is None:
        raise LookupError(f"the project has no module {module}")
    return [name for name, nodes in found.definitions.items() if nodes and isinstance(nodes[0], ast.ClassDef)]


def clear_caches() -> None:
    """Clear the caches, so that files are read again."""
    _module.cache_clear()
    _digests.cache_clear()


@cache
def _digests(start: str, without: frozenset[str]) -> dict[str, str]:
    trees: dict[str, Tree] = {}
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in trees:
            trees[name] = _tree(name, without)
            waiting.extend(_references(trees[name]))
    found: dict[str, str] = {}
    graph = nx.DiGraph((name, other) for name, tree in trees.items() for other in _references(tree))
    graph.add_nodes_from(trees)
    cycles = nx.condensation(graph)
    for number in reversed(list(nx.topological_sort(cycles))):
        # Mutually recursive definitions: refine each digest by those of its references, once per member (colour refinement).
        group = cycles.nodes[number]["members"]
        inner = dict.fromkeys(group, "")
        for _ in group:
            inner = {name: digests.of_content(_resolved(trees[name], found, inner)) for name in group}
        together = digests.of_content(sorted(inner.values())) if len(group) > 1 else ""
        found |= {name: digests.of_content([one, together]) for name, one in inner.items()}
    return found


def _tree(name: str, without: frozenset[str]) -> Tree:
    module, definition = _located(name)
    nodes = module.definitions[definition]
    return [[_target(node, definition), _normalised(node, module, without)] for node in nodes] + [
        _normalised(node, module, without) for node in module.effects
    ]


def _target(node: ast.AST, name: str) -> list[int]:
    """Positions of a name among the targets of an assignment."""
    targets = node.targets if isinstance(node, ast.Assign) else []
    assigned = [one for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)]
    return [place for place, one in enumerate(assigned) if one.id == name]


def _located(name: str) -> tuple[Module, str]:
    """The module that defines a full name and the name there; re-exports are followed."""
    path, _, last = name.rpartition(".")
    module = _module(path) if path else None
    if module is None:
        outer, _, holder = path.rpartition(".")
        module, last = (_module(outer) if outer else None), f"{holder}.{last}"
    if module is None:
        raise LookupError(f"the project has no module {path}")
    if last in module.definitions:
        return module, last
    if last in module.imported and module.imported[last].startswith(PROJECT):
        return _located(module.imported[last])
    raise LookupError(f"{path} defines no {last}")


@cache
def _module(name: str) -> Module | None:
    base = ROOT.joinpath(*name.split("."))
    path = next((p for p in (base.with_suffix(".py"), base / "__init__.py") if p.is_file()), None)
    return parsed(name, path) if path else None


def parsed(name: str, path: Path) -> Module:
    """Parse the top level of a file."""
    module = Module(name)
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            module.imported |= _names(node)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            module.definitions.setdefault(node.name, []).append(node)
            for member in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(member, ast.FunctionDef):
                    module.definitions.setdefault(f"{node.name}.{member.name}", []).append(member)
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            assigned = [one.id for target in targets for one in ast.walk(target) if isinstance(one, ast.Name)]
            for one in assigned:
                module.definitions.setdefault(one, []).append(node)
            if not assigned or isinstance(targets[0], (ast.Subscript, ast.Attribute)):
                module.effects.append(node)
        elif isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'":
            module.definitions.setdefault(MAIN_BLOCK, []).extend(node.body)
        elif not _is_text(node) and not (isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")):
            module.effects.append(node)
    return module


def _names(node: ast.Import | ast.ImportFrom) -> dict[str, str]:
    """The full name that each name bound by an import refers to."""
    if isinstance(node, ast.Import):
        return {
            alias.asname or alias.name.split(".")[0]: alias.name if alias.asname else alias.name.split(".")[0]
            for alias in node.names
        }
    return {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _normalised(node: Any, module: Module, without: frozenset[str]) -> Tree:
    """A node as nested lists, without the parts that cannot change a value; other definitions become references."""
    local = {
        name: full
        for one in ast.walk(node)
        if isinstance(one, (ast.Import, ast.ImportFrom))
        for name, full in _names(one).items()
    }
    names = {**{name: f"{module.name}.{name}" for name in module.definitions}, **module.imported, **local}

    def full_name(one: ast.AST) -> str | None:
        """The full name of a name or attribute chain that starts at an import or a top-level definition, else None."""
        if isinstance(one, ast.Name):
            return names.get(one.id)
        if isinstance(one, ast.Attribute):
            start = full_name(one.value)
            return f"{start}.{one.attr}" if start and _is_module(start) else None
        return None

    def normalised(one: Any) -> Tree:
        if isinstance(one, list):
            kept = []
            for part in one:
                if not _is_irrelevant(part, full_name):
                    kept.append(normalised(part))
                elif isinstance(part, ast.Expr):
                    # The message changes no value, but a call in its arguments might.
                    calls = [call for call in ast.walk(part) if isinstance(call, ast.Call)][1:]
                    kept += [normalised(call) for call in calls if getattr(call.func, "id", "") not in PURE_FUNCTIONS]
            return kept
        if not isinstance(one, ast.AST):
            return one if isinstance(one, (str, int, float, bool, type(None))) else repr(one)
        full = full_name(one)
        if full is not None:
            return _resolved_name(full, without)
        if isinstance(one, ast.Raise):
            return ["Raise", normalised(one.exc.func if isinstance(one.exc, ast.Call) else one.exc)]
        if isinstance(one, ast.AnnAssign):
            return ["Assign", normalised(one.target), normalised(one.value)]
        if isinstance(one, ast.Assign):
            return ["Assign", *(normalised(target) for target in one.targets), normalised(one.value)]
        ignored = IGNORED_FIELDS | ({"name"} if one is node else set())
        return [type(one).__name__, *(normalised(value) for key, value in ast.iter_fields(one) if key not in ignored)]

    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        return ["Assign", *([] if isinstance(targets[0], ast.Name) else [normalised(targets)]), normalised(node.value)]
    return normalised(node)


def _is_irrelevant(node: Any, full_name: Any) -> bool:
    """Whether a statement is text, a message, `pass`, or an import, whose names are resolved elsewhere."""
    if isinstance(node, (ast.Import, ast.ImportFrom, ast.Pass)) or _is_text(node):
        return True
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        function = node.value.func
        return (full_name(function) or getattr(function, "id", "")) in MESSAGE_CALLS
    return False


def _is_module(name: str) -> bool:
    """Whether attributes of a full name can be resolved: it is a module of the project or outside the project."""
    return not name.startswith(f"{PROJECT}.") or _module(name) is not None


def _resolved_name(name: str, without: frozenset[str]) -> Tree:
    """The tree that represents a full name."""
    if not name.startswith(f"{PROJECT}."):
        return ["outside", name]
    if any(name == one or name.startswith(f"{one}.") for one in without):
        return ["without"]
    if _module(name) is not None:
        return ["module", name]
    module, definition = _located(name)
    whole = f"{module.name}.{definition}"
    return ["without"] if any(whole == one or whole.startswith(f"{one}.") for one in without) else Reference(whole)


def _references(tree: Tree) -> Iterator[str]:
    if isinstance(tree, Reference):
        yield tree.name
    elif isinstance(tree, list):
        for part in tree:
            yield from _references(part)


def _resolved(tree: Tree, found: dict[str, str], inner: dict[str, str]) -> Tree:
    if isinstance(tree, Reference):
        return ["definition", inner[tree.name] if tree.name in inner else found[tree.name]]
    return [_resolved(part, found, inner) for part in tree] if isinstance(tree, list) else tree
