"""dvc.yaml declares exactly what each stage imports and reads, packages import in one direction, and results are up to date."""

from __future__ import annotations

import json
import os
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.config import mixture
from stages.config import params as parameters
from stages.core.paths import ROOT
from stages.dag import machine
from stages.dag.lock import locked_stages
from stages.pipeline.code_deps import closure, dependencies, third_party
from stages.pipeline.concurrent import CORES
from tests.small import change_params, run, stages_run

DAG: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
METHODS_BY_DOMAIN = {"mog": PARAMS["methods"], "mnist": PARAMS["mnist"]["methods"], "pixels": PARAMS["pixels"]["methods"]}
METHODS = ROOT / "stages/methods"
READ_AS_TEXT = {"report": {METHODS, ROOT / "stages/page"}, "compare": {METHODS}, "mnist_figures": {METHODS}}
"""Code that a stage reads without importing it: the names of methods in their files, and the page's sources."""


def entry(name: str) -> dict[str, Any]:
    """The definition of a stage in dvc.yaml, that of one item under `foreach`."""
    found: dict[str, Any] = DAG[name].get("do", DAG[name])
    return found


def module(name: str) -> Path:
    """The source file of a stage."""
    return ROOT / Path(*entry(name)["cmd"].split()[2].split(".")).with_suffix(".py")


def declared(name: str) -> set[Path]:
    """The code dependencies of a stage, except the file of its method."""
    return {ROOT / dep for dep in entry(name)["deps"] if dep.startswith("stages/") and "${" not in dep}


def builds_methods(name: str) -> bool:
    """Whether a stage imports the function that constructs methods by name."""
    return ROOT / "stages/nn/build.py" in closure(module(name))


def needed(name: str, method: str) -> set[Path]:
    """The files that a stage imports and that affect its results, for one method; without empty `__init__.py`."""
    files = dependencies(module(name))
    if builds_methods(name):
        files |= dependencies(ROOT / f"stages/methods/{method}.py") - {ROOT / f"stages/methods/{method}.py"}
    return {file for file in files if file.name != "__init__.py" or "import" in file.read_text()}


def imported(name: str) -> set[Path]:
    """The same for all methods of the stage's domain."""
    methods = METHODS_BY_DOMAIN[name.split("_")[0]] if "foreach" in DAG[name] else [""]
    return set[Path]().union(*(needed(name, method) for method in methods))


@pytest.mark.parametrize("name", DAG)
def test_dependencies_cover_everything_that_a_stage_imports(name: str) -> None:
    assert {file for file in imported(name) if not declared(name) & {file, *file.parents}} == set()
    # The figures have the method's name, which is in its file.
    assert (builds_methods(name) or name in ("mog_figures", "pixels_figures")) == (
        "stages/methods/${item}.py" in entry(name)["deps"]
    )


@pytest.mark.parametrize("name", DAG)
def test_stage_imports_from_each_of_its_code_dependencies(name: str) -> None:
    used = {folder for file in imported(name) for folder in (file, *file.parents)}
    assert declared(name) - used == READ_AS_TEXT.get(name, set())
    # A dependency inside another one would be redundant.
    assert not {dep for dep in declared(name) if declared(name) & {*dep.parents}}


def test_validation_code_is_no_dependency_and_imports_none() -> None:
    validation = {ROOT / "stages/core", ROOT / "stages/config"}
    assert not {dep for name in DAG for dep in declared(name) if validation & {dep, *dep.parents}}
    for file in (path for folder in validation for path in folder.rglob("*.py")):
        assert not dependencies(file), file


def test_no_param_key_is_ignored_by_the_run_cache_of_dvc() -> None:
    """DVC removes all fields `size` and `nfiles`, at any depth, from the lock entry before it computes the cache key."""

    def keys(value: Any) -> set[str]:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return set(value if isinstance(value, dict) else ()) | set().union(*map(keys, inner))

    assert not keys(PARAMS) & {"size", "nfiles"}


@pytest.mark.parametrize("name", DAG)
def test_every_stage_has_a_description(name: str) -> None:
    assert len(entry(name)["desc"]) > 15


def test_stages_import_torch_matplotlib_and_mlflow_only_where_needed() -> None:
    for name in DAG:
        assert ("mlflow" in third_party(module(name))) == (name == "track"), name
        packages = third_party(module(name), at_start=True)
        if name.endswith(("figures", "claims", "compare", "data", "track")):
            assert "torch" not in packages, name
        if name.endswith(("train", "reconstruct", "evaluate")):
            assert not packages & {"matplotlib", "imageio"}, name
    importing = {p for p in (ROOT / "stages").rglob("*.py") if "mlflow" in third_party(p)}
    # Stage track imports mlflow through stages.tracking.log.
    assert importing == {
        ROOT / f"stages/{name}.py" for name in ("track", "tracking/log", "tools/registry", "tools/serving", "tools/ui")
    }


BELOW: dict[str, set[str]] = {
    "core": set(),
    "config": {"core"},
    "pipeline": {"core", "config"},
    "dag": {"core", "config", "pipeline"},
    "tracking": {"core", "config", "pipeline", "dag"},
    "nn": {"core", "config"},
    "metrics": set(),
    "methods": {"core", "config", "nn"},
    "plots": {"core", "pipeline"},
    "results": {"core", "config", "pipeline", "metrics", "plots"},
    "mog/problem": {"core", "config", "pipeline"},
    "mog/evaluation": {"core", "config", "pipeline", "nn", "metrics", "mog/problem"},
    "mnist/datasets": {"core", "config", "pipeline"},
    "mnist/images": {"core", "config", "pipeline", "nn"},
    "mnist/encoder": {"core", "config", "pipeline", "nn", "metrics", "mnist/images"},
    "mnist/decoder": {"core", "config", "pipeline", "nn", "metrics", "mnist/images", "mnist/encoder"},
    "mnist/training": {"core", "config", "pipeline", "nn", "mnist/images"},
    "pixels/problem": {"core", "config", "pipeline", "mog/problem"},
    "pixels/networks": {"core", "config", "pipeline", "nn", "mog/problem", "pixels/problem"},
    "pixels/evaluation": {"core", "config", "pipeline", "nn", "metrics", "mog/problem", "mog/evaluation", "pixels/problem"},
}
"""The packages that each package may import, directly or indirectly. Studies and tools may import all of them."""
PIPELINE_IN_PLOTS = {"files.py"}
"""The modules of stages/pipeline that stages/plots may import: none that uses params, stages or random streams."""


def package(file: Path) -> str:
    """The package of a file below stages/: with its subpackage in mog, mnist and pixels, empty for stages/ itself."""
    parts = file.relative_to(ROOT / "stages").parts[:-1]
    return "/".join(parts[:2] if parts[:1] in (("mog",), ("mnist",), ("pixels",)) else parts[:1])


def test_packages_import_in_one_direction() -> None:
    stages = {module(name) for name in DAG}
    found = {package(file) for file in (ROOT / "stages").rglob("*.py")} - {"", "mog", "mnist", "pixels"}
    assert found == {*BELOW, "studies", "tools"}
    order = list(BELOW)
    assert all(order.index(lower) < order.index(name) for name, lowers in BELOW.items() for lower in lowers)
    for file in (ROOT / "stages").rglob("*.py"):
        used = closure(file) - {file}
        assert not used & stages, f"{file} imports a stage"
        if package(file) in BELOW:
            names = {package(p) for p in used if p.name != "__init__.py"}
            forbidden = names - BELOW[package(file)] - {package(file)}
            assert not forbidden, f"{file} imports {forbidden}"
        if package(file) == "plots":
            assert {p.name for p in used if package(p) == "pipeline" and p.name != "__init__.py"} <= PIPELINE_IN_PLOTS, file
    for method in (ROOT / "stages/methods").glob("[!_]*.py"):
        assert not {p for p in closure(method) - {method} if p.parent.name == "methods" and p.name != "__init__.py"}


class Recorder:
    """Wraps params and records the keys that are read; the validation of a method's block is not recorded."""

    def __init__(self, value: Any, keys: set[str], prefix: str = "") -> None:
        self._value, self._keys, self._prefix = value, keys, prefix

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._value, name)
        if name == "block":

            def block(key: str) -> Any:
                self._keys.add(key)
                return value(key)

            return block
        if name in ("path", "accepted_batch"):
            return value
        if name == "chosen":
            return Recorder(value, self._keys, f"{self._prefix}datasets.{self._value.dataset}.")
        if name in ("title", "digits") and self._prefix == "mnist.":
            return getattr(self.chosen, name)
        if name == "augmentations":
            self._keys |= {"mnist_perturbations", f"mnist.datasets.{self._value.mnist.dataset}.perturbations"}
            return value
        if name == "model_dump":
            self._keys.add(self._prefix.rstrip("."))
            return value
        if name == "settings":
            return Entries(value, self._keys, f"{self._prefix}settings.")
        if name in ("mog", "mnist", "mnist_reconstruct", "pixels"):
            return Recorder(value, self._keys, f"{name}.")
        self._keys.add(f"{self._prefix}{name}")
        return value


class Entries(dict[str, Any]):
    """Named entries, such as the mixtures of mixtures.yaml; records which ones are read, with a prefix."""

    def __init__(self, values: dict[str, Any], keys: set[str], prefix: str) -> None:
        super().__init__(values)
        self._keys = keys
        self._prefix = prefix

    def __getitem__(self, name: str) -> Any:
        self._keys.add(f"{self._prefix}{name}")
        return super().__getitem__(name)


def read_by(name: str, item: str, params: Any) -> set[str]:
    """The keys that a run of a stage reads; keys of other files than params.yaml have the prefix `FILE:`."""
    keys: set[str] = set()
    stage = import_module(".".join(module(name).relative_to(ROOT).with_suffix("").parts))
    with pytest.MonkeyPatch.context() as patch:
        known = mixture.load()
        patch.setattr(mixture, "load", lambda path: Entries(known, keys, "mixtures.yaml:"))
        stage.main(Recorder(params, keys), *filter(None, [item]))
    return keys


def declared_keys(name: str) -> set[str]:
    """The keys that a stage declares, in the same notation."""
    keys: set[str] = set()
    for one in entry(name).get("params", []):
        keys |= {f"{file}:{key}" for file, own in one.items() for key in own} if isinstance(one, dict) else {one}
    return keys


def test_stages_declare_exactly_the_params_that_they_read(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"train": {"steps": 5, "warmup": 0}}
    one_of_each_kind = {"methods": ["contrastive", "dsm", "jepa_masked", "ncsn"], "jepa_masked": few, "ncsn": few}
    change_params(copied, {**one_of_each_kind, "annealed": {"particles": 20, "steps": 2}})
    monkeypatch.chdir(copied)
    # What a forked process reads is not recorded here.
    monkeypatch.setenv(CORES, "1")
    params = parameters.load()
    variables = {
        "${mog.preset}": params.mog.preset,
        "${mnist.dataset}": params.mnist.dataset,
        "${mnist.methods[0]}": params.mnist.methods[0],
    }
    listed = {"mog": params.methods, "mnist": params.mnist.methods, "pixels": params.pixels.methods}
    for name in DAG:
        if name == "track":
            continue
        domain = name.split("_")[0]
        items = listed[domain] if "foreach" in DAG[name] else [""]
        keys = declared_keys(name)
        for variable, value in variables.items():
            keys = {key.replace(variable, value) for key in keys}
        unread = set(keys)
        for item in items:
            own = {key: key.replace("${item}", item) for key in keys}
            for key in read_by(name, item, params):
                matching = {k for k, resolved in own.items() if key == resolved or key.startswith(f"{resolved}.")}
                file = key.split(":")[0] if ":" in key else "params.yaml"
                assert matching or file in entry(name)["deps"], f"{name}@{item} reads {key} and does not declare it"
                unread -= matching
        assert not unread, f"{name} declares {unread} and does not read it"


def stale(folder: Path) -> set[str]:
    """The stages whose results in dvc.lock do not belong to the code and params of a working tree."""
    return set(stages_run(run(folder, "dvc", "repro", "--dry", "--allow-missing")))


def test_committed_results_belong_to_the_committed_code() -> None:
    assert stale(ROOT) == set()


def test_committed_results_have_a_record_of_their_machine() -> None:
    stages = locked_stages()
    recorded = json.loads((ROOT / machine.FILE).read_text())
    assert recorded == machine.record(stages, recorded["facts"]) and recorded["facts"]["torch"]


def test_no_stage_is_stale_in_a_fresh_clone(reproduced: Path, tmp_path: Path) -> None:
    run(tmp_path, "git", "clone", "--quiet", str(reproduced), "clone")
    assert stale(tmp_path / "clone") == set()


def test_changed_param_makes_the_stage_that_reads_it_stale(copied: Path) -> None:
    change_params(copied, {"dsm": {"sigma": 0.4}})
    assert "mog_train@dsm" in stale(copied)


def test_files_in_git_are_small() -> None:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    sizes = {name: os.path.getsize(ROOT / name) for name in names.split("\0") if name and (ROOT / name).exists()}
    assert {name for name, size in sizes.items() if size > 1_000_000} == set()
    assert sum(sizes.values()) < 20_000_000
