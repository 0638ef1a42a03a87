"""Read dvc.lock and compare it with the working directory."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import pathspec

from stages.config.params import read
from stages.core.errors import UserError
from stages.core.paths import PARAMS
from stages.dag.dvc_repo import open_repo
from stages.pipeline.lookup import look_up

LOCK = Path("dvc.lock")
"""DVC's record of the last run of each stage."""
DVC_YAML = Path("dvc.yaml")


def entries(lock: Path = LOCK) -> dict[str, Any]:
    """The entries of a dvc.lock by stage, in file order; empty if the file is missing.

    Raises:
        UserError: DVC itself would reject the file.
    """
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA
    from voluptuous import Invalid

    if not lock.exists():
        return {}
    found = read(lock)
    try:
        COMPILED_LOCKFILE_SCHEMA(found)
    except Invalid as error:
        raise UserError(f"{lock}: {error}: DVC was probably killed while writing it: `make verify` moves it aside") from None
    stages: dict[str, Any] = found.get("stages", {})
    return stages


def outputs(stages: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """MD5 digests of the outputs by stage and path.

    If DVC is killed, the last entry of dvc.lock may be truncated yet readable. A missing digest is then an empty string.
    """
    return {name: {out["path"]: str(out.get("md5") or "") for out in entry.get("outs", [])} for name, entry in stages.items()}


def pipeline(*, with_track: bool = False) -> dict[str, Any]:
    """The stage definitions of dvc.yaml by name, as DVC expands them with params.yaml; `track` only on request.

    Raises:
        UserError: DVC does not accept dvc.yaml.
    """
    texts = tuple(path.read_bytes() for path in (DVC_YAML, PARAMS))
    return {name: entry for name, entry in _expanded(Path.cwd(), *texts).items() if with_track or name != "track"}


@lru_cache(maxsize=4)
def _expanded(folder: Path, *_: bytes) -> dict[str, Any]:
    """All stage definitions of a project's folder, cached by the content of dvc.yaml and params.yaml."""
    from dvc.dvcfile import load_file

    with open_repo(folder) as repo:
        stages: dict[str, Any] = load_file(repo, str(DVC_YAML)).resolver.resolve()["stages"]
    return stages


def locked_stages() -> dict[str, Any]:
    """The entries of dvc.lock for all stages that dvc.yaml defines with params.yaml, except `track`."""
    names = pipeline()
    return {name: entry for name, entry in entries().items() if name in names}


def differences(stages: Mapping[str, Any], values: Mapping[str, Any]) -> list[str]:
    """Differences between the working directory and dvc.lock, one line each.

    Reports missing or truncated entries, changed params, and changed metrics and JSON files.

    Args:
        stages: entries of dvc.lock.
        values: the content of params.yaml.
    """
    incomplete = [name for name, entry in pipeline().items() if not _complete(stages.get(name, {}), entry)]
    found = [f"the entry of {name} in {LOCK} is incomplete" for name in incomplete]
    params = {key: value for entry in stages.values() for key, value in entry.get("params", {}).get(str(PARAMS), {}).items()}
    found += [f"{PARAMS}: {key} differs from {LOCK}" for key, value in params.items() if look_up(values, key) != value]
    for digests in outputs(stages).values():
        for path, digest in ((Path(name), digest) for name, digest in digests.items()):
            if path.exists() and (path.suffix == ".json" or path.is_relative_to("reports/metrics")):
                found += [f"{path} differs from {LOCK}"] if file_md5(path) != digest else []
    return found


def _complete(entry: Mapping[str, Any], definition: Mapping[str, Any]) -> bool:
    """Whether an entry lists every output of its stage with digest and size, which DVC writes last."""
    outs = sum(len(definition.get(kind, [])) for kind in ("outs", "metrics", "plots"))
    return len([out for out in entry.get("outs", []) if {"md5", "size"} <= out.keys()]) == outs


def file_md5(path: Path) -> str:
    """DVC's MD5 of a file or a folder; that of a folder digests the list of its files, without those in .dvcignore."""
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
    """The external inputs of the stages by stage: command, params, and dependencies that no stage writes."""
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
