"""Params, metrics, tags and artifacts of one pipeline state, for the parent run and for each method's run."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from stages.config.base import MNIST_PREFIX
from stages.config.params import Params
from stages.core.paths import CLAIMS, COSTS, MIXTURES, PARAMS
from stages.dag.lock import LOCK, inputs
from stages.pipeline import artifacts, digests, files

MACHINE = "machine."
"""Prefix of the tags with environment facts."""


@dataclass(frozen=True)
class Run:
    """The content of one MLflow run; paths are relative to the project's folder.

    Attributes:
        name: its display name.
        tags: searchable tags.
        params: params by dotted key.
        metrics: metrics by dotted key.
        curves: CSV files of metrics over training, with a column `step`.
        artifacts: files to upload.
    """

    name: str
    tags: dict[str, str]
    params: dict[str, Any]
    metrics: dict[str, float]
    curves: list[str]
    artifacts: list[str]

    def paths(self) -> set[str]:
        """The files that logging it reads."""
        return {*self.curves, *self.artifacts}


@dataclass(frozen=True)
class State:
    """One state of dvc.lock: a run `whole` for the pipeline and runs `parts` for each method of each domain."""

    whole: Run
    parts: list[Run]

    def paths(self) -> set[str]:
        """The files that logging it reads."""
        return set[str]().union(*(run.paths() for run in (self.whole, *self.parts)))

    def to_json(self) -> dict[str, Any]:
        """Convert to JSON-serialisable content."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> State:
        """Inverse of `to_json`."""
        return cls(Run(**content["whole"]), [Run(**part) for part in content["parts"]])


def collect(params: Params, stages: Mapping[str, Any], facts: Mapping[str, str]) -> State:
    """Collect the state of the working directory.

    Args:
        params: the content of params.yaml.
        stages: the entries of dvc.lock.
        facts: environment facts of the machine that made the results.
    """
    commit, experiment, lock = _git("rev-parse", "HEAD"), os.environ.get("DVC_EXP_NAME", ""), digests.of_content(stages)
    summary = flatten(files.read_json(artifacts.SUMMARY))
    tables = [artifacts.TABLES, artifacts.CLAIMS_TABLE, artifacts.MNIST_TABLES, artifacts.MNIST_TESTS]
    pictures = [artifacts.FIGURES / "gallery.png", *sorted(artifacts.figures("mnist").glob("*.png"))]
    whole = Run(
        name=experiment or f"{commit[:7] or 'no-git'}-{lock[:7]}",
        tags={
            "part": "pipeline",
            "lock_digest": lock,
            "inputs_digest": digests.of_content(inputs(stages)),
            "git_commit": commit,
            "dvc_experiment": experiment,
            # The HEAD of an applied experiment is its baseline.
            "dvc_baseline": os.environ.get("DVC_EXP_BASELINE_REV") or (commit if experiment else ""),
            **{f"{MACHINE}{name}": value for name, value in facts.items()},
        },
        params=flatten(params.model_dump(exclude={"blocks", "path"}), numbers=False),
        metrics={**_costs(), **summary},
        curves=[],
        artifacts=_existing([PARAMS, CLAIMS, MIXTURES, LOCK, *tables, *pictures]),
    )
    return State(whole, list(parts(params, stages)))


def parts(params: Params, stages: Mapping[str, Any]) -> Iterator[Run]:
    """The runs of all methods; the tag `results_digest` is the SHA-256 of a run's results."""
    claims = files.read_json(artifacts.CLAIMS)
    settings = {
        "mog": {name: params.blocks[name] for name in params.methods},
        "mnist": {name: params.blocks[MNIST_PREFIX + name] for name in params.mnist.methods},
        "pixels": {name: params.pixels.settings[name] for name in params.pixels.methods},
    }
    for domain, methods in settings.items():
        dataset = {} if domain == "mog" else {"images": params.mnist.title}
        for method, block in methods.items():
            own = {k: v for k, v in stages.items() if k.startswith(f"{domain}_") and k.endswith(f"@{method}")}
            verdicts = _verdicts(claims.get(method, {}) if domain == "mog" else {})
            metrics = artifacts.metrics(domain, method)
            curves = _existing(sorted(artifacts.curves(domain, method).parent.glob(f"{method}.*csv")))
            folders = (artifacts.animations(domain, method), artifacts.figures(domain, method))
            drawings = [path for folder in folders for path in sorted(folder.rglob("*"))]
            uploads = _existing([metrics, *drawings])
            contents = {path: digests.of_file(Path(path)) for path in (*curves, *uploads)}
            digest = digests.of_content([own, contents, verdicts])
            yield Run(
                name=f"{domain}.{method}",
                tags={"part": f"{domain}.{method}", "results_digest": digest, **dataset, **verdicts},
                params=flatten(block, numbers=False),
                metrics=flatten(files.read_json(metrics)),
                curves=curves,
                artifacts=uploads,
            )


def flatten(values: Mapping[str, Any], prefix: str = "", numbers: bool = True) -> dict[str, Any]:
    """Flatten nested values to dotted keys.

    With `numbers`, only numbers are kept; a metric over seeds becomes its mean and, for more than one seed, its std.
    """
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}".replace("@", ".").replace("#", ".")
        if numbers and isinstance(value, Mapping) and "mean" in value:
            flat[name] = value["mean"]
            if len(value["values"]) > 1:
                flat[f"{name}.std"] = value["std"]
        elif isinstance(value, Mapping):
            flat |= flatten(value, f"{name}.", numbers)
        elif not numbers or isinstance(value, (int, float)):
            flat[name] = value
    return flat


def _existing(paths: Iterable[Path]) -> list[str]:
    """Those paths that are files."""
    return [str(path) for path in paths if path.is_file()]


def _verdicts(claims: Mapping[str, Any]) -> dict[str, str]:
    """The verdicts on the claims about a method, as searchable tags."""
    return {f"claim.{name}": f"{claim['claimed']}: {claim['verdict']}" for name, claim in claims.items()}


def _costs() -> dict[str, float]:
    """Time and memory of each stage; MLflow lists metrics with the prefix `system/` separately."""
    costs = {path.stem: files.read_json(path) for path in sorted(COSTS.glob("*.json"))}
    return {f"system/{stage}.{key}": value for stage, cost in costs.items() for key, value in cost.items()}


def _git(*arguments: str) -> str:
    """The output of a git command, empty if it fails."""
    done = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip()
