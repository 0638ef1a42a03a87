"""What dvc.lock says of the working directory: which stages it is of, and whether their results are there as it says."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pathspec

from stages.config.params import read
from stages.core.errors import UserError
from stages.core.paths import PARAMS
from stages.pipeline.lookup import look_up

LOCK = Path("dvc.lock")


def entries(lock: Path = LOCK) -> dict[str, Any]:
    """What a dvc.lock has of each stage, in its order; nothing where it is missing.

    Raises:
        UserError: DVC itself would not read it.
    """
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    if not lock.exists():
        return {}
    found = read(lock)
    try:
        COMPILED_LOCKFILE_SCHEMA(found)
    except Invalid as error:
        raise UserError(f"{lock}: {error}, as a DVC that was killed leaves it: `make verify` puts it aside") from None
    stages: dict[str, Any] = found.get("stages", {})
    return stages


def outputs(stages: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """The digests of the outputs of stages, by stage and path.

    A DVC that is killed leaves the last entry cut off anywhere, and mostly reads it all the same: a digest that was not written
    any more is empty here.
    """
    return {name: {out["path"]: str(out.get("md5") or "") for out in entry.get("outs", [])} for name, entry in stages.items()}


def pipeline(values: Mapping[str, Any], *, last: bool = False) -> dict[str, Any]:
    """The stages that dvc.yaml has with these params, as they are written there; without `track`, unless that is asked for."""
    found: dict[str, Any] = {}
    for name, entry in read(Path("dvc.yaml"))["stages"].items():
        items = look_up(values, entry["foreach"].strip("${}")) if "foreach" in entry else None
        found |= {name: entry} if items is None else {f"{name}@{item}": entry["do"] for item in items}
    return {name: entry for name, entry in found.items() if last or name != "track"}


def locked_stages(values: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of dvc.lock of all stages that dvc.yaml has with these params, but for `track` itself."""
    names = pipeline(values)
    return {name: entry for name, entry in entries().items() if name in names}


def differences(stages: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """How the working directory is not as in dvc.lock, a line each.

    Entries that are missing or were cut off, params, and metrics.
    """
    lacking = [name for name, entry in pipeline(values).items() if not _whole(stages.get(name, {}), entry)]
    moved = [f"the entry of {name} is not whole in {LOCK}" for name in lacking]
    params = {key: value for entry in stages.values() for key, value in entry.get("params", {}).get(str(PARAMS), {}).items()}
    moved += [f"{PARAMS}: {key} is not as in {LOCK}" for key, value in params.items() if look_up(values, key) != value]
    for digests in outputs(stages).values():
        for path, digest in ((Path(name), digest) for name, digest in digests.items()):
            if path.exists() and (path.suffix == ".json" or path.is_relative_to("reports/metrics")):
                moved += [f"{path} is not as in {LOCK}"] if file_md5(path) != digest else []
    return moved


def _whole(entry: Mapping[str, Any], written: Mapping[str, Any]) -> bool:
    """Whether an entry has all that DVC writes at the end of one: every output of the stage with digest and size."""
    outs = sum(len(written.get(kind, [])) for kind in ("outs", "metrics", "plots"))
    return len([out for out in entry.get("outs", []) if {"md5", "size"} <= out.keys()]) == outs


def file_md5(path: Path) -> str:
    """DVC's digest of a file or a folder: a folder's is that of the list of its files, without those that DVC ignores."""
    if not path.is_dir():
        return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
    ignored = _ignored()
    files = sorted(file for file in path.rglob("*") if file.is_file() and not ignored.match_file(file.relative_to(path)))
    listed = [{"md5": file_md5(file), "relpath": file.relative_to(path).as_posix()} for file in files]
    return hashlib.md5(json.dumps(listed, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


def _ignored() -> pathspec.GitIgnoreSpec:
    """The patterns of .dvcignore."""
    path = Path(".dvcignore")
    return _patterns(path.read_text(encoding="utf-8") if path.exists() else "")


@cache
def _patterns(text: str) -> pathspec.GitIgnoreSpec:
    return pathspec.GitIgnoreSpec.from_lines(text.splitlines())


def inputs(stages: Mapping[str, Any]) -> dict[str, Any]:
    """What the stages were made from, without what they made: params, commands, and files that no stage writes."""
    written = {path for digests in outputs(stages).values() for path in digests}
    folders = {str(parent) for path in written for parent in Path(path).parents} - {"."}
    return {
        name: {
            "cmd": entry.get("cmd"),
            "params": entry.get("params"),
            "deps": [dep for dep in entry.get("deps", []) if dep["path"] not in written | folders],
        }
        for name, entry in stages.items()
    }
