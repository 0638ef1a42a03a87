"""Look up a method by name: its class, its validated params, and an instance.

The schema of a params block is the signature of the method's constructor, `(self, domain, *, KEY: TYPE, ...)`, plus `train`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, create_model

from stages.config.base import MNIST_PREFIX, Block, Train
from stages.config.field_types import OfDomain
from stages.config.messages import check
from stages.config.params import Params, check_integers
from stages.config.schema import IMAGES, POINTS
from stages.core.errors import InvalidParams
from stages.core.paths import PARAMS
from stages.nn.method import Domain, Method

METHODS = "stages.methods"
"""The package of the methods, one module per method."""


def build(name: str, domain: Domain, settings: dict[str, Any]) -> Method:
    """Construct the method called `name` in a domain; `settings` is its params block without `train`.

    The initial weights come from torch's global generator, which the caller seeds.

    Raises:
        InvalidParams: the method's file is invalid.
    """
    return method_class(name)(domain, **settings)


def configured(params: Params, block: str) -> tuple[dict[str, Any], Train]:
    """The constructor arguments of a method and its training settings, validated.

    Args:
        params: params.yaml.
        block: key of the method's block, METHOD on the mixture and mnist_METHOD on images.

    Raises:
        UserError: there is no such block.
        InvalidParams: the block or the method's file is invalid.
    """
    raw = params.block(block)
    images = block.startswith(MNIST_PREFIX)
    model = block_model(block.removeprefix(MNIST_PREFIX), images=images, path=params.path)
    checked = check(params.path, model, raw, place=block)
    check_integers(params.path, checked.model_dump(), block)
    if images and (expected := params.accepted_batch(size := checked.train.batch_size)):
        raise InvalidParams(f"{params.path}: {block}.train.batch_size: {size} is not accepted: expected {expected}")
    settings = checked.model_dump()
    settings.pop("train")
    return settings, checked.train


@cache
def block_model(name: str, *, images: bool, path: Path = PARAMS) -> Any:
    """The pydantic model of a method's params block in one of the two domains.

    Args:
        name: of the method.
        images: whether the domain is that of the images.
        path: the params file, for messages.

    Raises:
        InvalidParams: the constructor's signature is not that of a method, or the domain cannot train the method.
    """
    domain: Mapping[str, type[Block]] = IMAGES if images else POINTS
    kind = method_class(name)
    if kind.__init__ is Method.__init__:
        raise _mistake(name, kind, f"{kind.__name__} has no __init__: expected the method's params as keyword arguments")
    fields: dict[str, Any] = {"train": (Train, ...)}
    hints = _annotations(name, kind)
    for argument in list(inspect.signature(kind.__init__).parameters.values())[2:]:
        key = argument.name
        if argument.kind is not argument.KEYWORD_ONLY:
            raise _mistake(name, kind, f"{key} must follow `*`: the keyword arguments are the params", key)
        if key not in hints:
            raise _mistake(name, kind, f"{key} has no annotation: expected the type of its value in params.yaml", key)
        if key == "train" or key.startswith(("_", "model_")) or hasattr(Block, key):
            raise _mistake(name, kind, f"{key} is reserved: give the argument another name", key)
        fields[key] = (_field_type(name, kind, key, hints[key], domain, path), ...)
    return create_model(name, __base__=Block, **fields)


def _annotations(name: str, kind: type[Method]) -> dict[str, Any]:
    try:
        return get_type_hints(kind.__init__, include_extras=True)
    except NameError as error:
        raise _mistake(name, kind, f"{error.name} is not a type: {error}", str(error.name)) from None
    except Exception as error:  # evaluating an annotation may raise anything
        quoted = re.search(r"[Gg]ot (\S+?)\.?$", str(error))
        raise _mistake(name, kind, f"not a valid type: {_line(error)}", quoted[1] if quoted else "") from None


def _field_type(name: str, kind: type[Method], key: str, annotation: Any, domain: Mapping[str, type[Block]], path: Path) -> Any:
    """The type that validates a key: its annotation or, if that names a block of the domain, the domain's model."""
    marks = [mark for mark in get_args(annotation) if isinstance(mark, OfDomain)] if get_origin(annotation) is Annotated else []
    for mark in marks:
        if mark.block not in domain:
            where = "mnist.methods" if domain is IMAGES else "methods"
            raise InvalidParams(f"{path}: {where}: {name!r} is not accepted: expected any of {', '.join(_trainable(domain))}")
        return domain[mark.block]
    try:
        TypeAdapter(annotation)
    except Exception as error:  # pydantic raises errors of several types
        raise _mistake(name, kind, f"{key}: not a valid type: {_line(error)}", key) from None
    return annotation


def _trainable(domain: Mapping[str, type[Block]]) -> list[str]:
    """The names of the methods that a domain can train; invalid files are skipped."""
    found = []
    for file in sorted(Path(str(import_module(METHODS).__file__)).parent.glob("[!_]*.py")):
        try:
            hints = get_type_hints(method_class(file.stem).__init__, include_extras=True)
        except Exception:  # noqa: S112  # an invalid file is not suggested
            continue
        blocks = {mark.block for hint in hints.values() for mark in get_args(hint) if isinstance(mark, OfDomain)}
        if blocks <= domain.keys():
            found.append(file.stem)
    return found


def method_class(name: str) -> type[Method]:
    """The class of a method: the only subclass of `Method` that its file defines.

    Raises:
        InvalidParams: the file cannot be imported or does not define exactly one method; the message has file and line.
    """
    file = f"stages/methods/{name}.py"
    try:
        module = import_module(f"{METHODS}.{name}")
    except SyntaxError as error:
        # It may be in a module that the file imports.
        raise InvalidParams(f"{_relative(error.filename or file)}:{error.lineno or 1}: {error.msg}") from None
    except (MemoryError, OSError):
        raise
    except Exception as error:  # an unfinished file may raise anything
        raise InvalidParams(f"{file}:{_line_in(error, file)}: {type(error).__name__}: {_line(error)}") from None
    kinds = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Method) and value.__module__ == module.__name__
    ]
    if not kinds:
        raise InvalidParams(f"{file}:1: expected a subclass of stages.nn.method.Method")
    if len(kinds) > 1:
        raise _mistake(name, kinds[1], f"expected one method per file, but {kinds[0].__name__} is already one")
    return kinds[0]


def _mistake(name: str, kind: type[Method], what: str, word: str = "") -> InvalidParams:
    """An error at the line of the class or, with a `word`, at the first line of its constructor that contains it."""
    where = kind.__init__ if word else kind
    lines, first = inspect.getsourcelines(where)
    found = next((i for i, line in enumerate(lines) if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", line)), 0) if word else 0
    file = _relative(inspect.getsourcefile(where) or f"stages/methods/{name}.py")
    return InvalidParams(f"{file}:{first + found}: {what}")


def _relative(file: str) -> str:
    """The path of a file of the package `stages`, relative to the project's folder; others as they are."""
    _, inside, rest = file.rpartition("/stages/")
    return f"stages/{rest}" if inside else file


def _line_in(error: BaseException, file: str) -> int:
    """The innermost line of a file in an exception's traceback, 1 if there is none."""
    line, frame = 1, error.__traceback__
    while frame:
        line = frame.tb_lineno if frame.tb_frame.f_code.co_filename.endswith(file) else line
        frame = frame.tb_next
    return line


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
