"""dvc.yaml tells the truth: deps are imports, params are what is read, a stage imports what it needs and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages import machine
from stages import params as parameters
from stages.imports import ROOT, closure, deciding, third_party
from stages.lock import locked_stages
from tests.small import change_params, run, stages_run

DAG: dict[str, Any] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
PARAMS: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
WORLD_METHODS = {"mog": PARAMS["methods"], "mnist": PARAMS["mnist"]["methods"]}


def entry(name: str) -> dict[str, Any]:
    found: dict[str, Any] = DAG[name].get("do", DAG[name])
    return found


def module(name: str) -> Path:
    return ROOT / Path(*entry(name)["cmd"].split()[2].split(".")).with_suffix(".py")


def declared(name: str) -> set[Path]:
    return {ROOT / dep for dep in entry(name)["deps"] if dep.endswith(".py") and "${item}" not in dep}


def test_a_folder_of_code_is_a_dep_of_what_reads_it_whole() -> None:
    folders = {
        name: {dep for dep in entry(name)["deps"] if (ROOT / dep).is_dir() and dep.startswith("stages/")} for name in DAG
    }
    assert {name: found for name, found in folders.items() if found} == {"report": {"stages/methods", "stages/page"}}


def builds_methods(name: str) -> bool:
    return ROOT / "stages/methods/__init__.py" in closure(module(name))


def needed(name: str, method: str) -> set[Path]:
    """Every file with code that the stage imports and that decides its result, for one method of its group."""
    files = deciding(module(name)) | {module(name).parent / "__init__.py", ROOT / "stages/__init__.py"}
    if builds_methods(name):
        files |= deciding(ROOT / f"stages/methods/{method}.py") - {ROOT / f"stages/methods/{method}.py"}
    return {file for file in files if file.name != "__init__.py" or "import" in file.read_text()}


@pytest.mark.parametrize("name", DAG)
def test_deps_are_the_imports(name: str) -> None:
    world = name.split("_")[0]
    methods = WORLD_METHODS[world] if "foreach" in DAG[name] else [""]
    union: set[Path] = set().union(*(needed(name, method) for method in methods))
    exempt = {ROOT / "stages/plots/__init__.py"}
    assert union - exempt == declared(name) - exempt
    if builds_methods(name):
        assert "stages/methods/${item}.py" in entry(name)["deps"]


def test_no_param_has_a_name_that_dvcs_run_cache_overlooks() -> None:
    """DVC keys its run-cache by the lock entry without its fields `size` and `nfiles`, wherever they stand in it."""

    def keys(value: Any) -> set[str]:
        inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        return set(value if isinstance(value, dict) else ()) | set().union(*map(keys, inner))

    assert not keys(PARAMS) & {"size", "nfiles"}


@pytest.mark.parametrize("name", DAG)
def test_every_stage_says_what_it_does(name: str) -> None:
    assert len(entry(name)["desc"]) > 15


def test_figures_import_no_torch_training_no_matplotlib_and_only_track_mlflow() -> None:
    for name in DAG:
        assert ("mlflow" in third_party(module(name))) == (name == "track"), name
        packages = third_party(module(name), at_start=True)
        if name.endswith(("figures", "lessons", "claims", "contact", "compare", "data", "track")):
            assert "torch" not in packages, name
        if name.endswith(("train", "reconstruct", "evaluate")):
            assert not packages & {"matplotlib", "imageio"}, name
    outside = {p for p in (ROOT / "stages").rglob("*.py") if "mlflow" in third_party(p)}
    assert outside == {ROOT / f"stages/{name}.py" for name in ("track", "registry", "serving")}


def test_imports_run_one_way() -> None:
    stages = {module(name) for name in DAG}
    for file in (ROOT / "stages").rglob("*.py"):
        used = closure(file) - {file}
        assert not used & stages, f"{file} imports a stage"
        layer = file.relative_to(ROOT / "stages").parts[0]
        if layer in ("methods", "nn", "metrics", "plots"):
            names = {p.relative_to(ROOT / "stages").parts[0] for p in used}
            allowed = {
                "methods": {"methods", "nn", "vocabulary.py", "errors.py", "__init__.py"},
                "nn": {"nn", "errors.py", "__init__.py"},
                "metrics": {"metrics", "__init__.py"},
                "plots": {"plots", "files.py", "errors.py", "__init__.py"},
            }[layer]
            assert names <= allowed, f"{file} reaches up to {names - allowed}"
    for method in (ROOT / "stages/methods").glob("[!_]*.py"):
        assert not {p for p in closure(method) - {method} if p.parent.name == "methods" and p.name != "__init__.py"}


class Recorder:
    """Stands for the params and notes which keys are read."""

    def __init__(self, value: Any, keys: set[str], prefix: str = "") -> None:
        self._value, self._keys, self._prefix = value, keys, prefix

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._value, name)
        if name == "method":

            def method(block: str) -> Any:
                self._keys.add(block)
                return value(block)

            return method
        if name == "mixture":
            self._keys |= {f"{self._prefix}preset", f"{self._prefix}presets.{self._value.preset}"}
            return value
        if name == "chosen":
            self._keys |= {f"{self._prefix}dataset", f"{self._prefix}datasets.{self._value.dataset}"}
            return value
        if name == "model_dump":
            self._keys.add(self._prefix.rstrip("."))
            return value
        if name in ("mog", "mnist", "langevin", "mnist_reconstruct", "atlas"):
            return Recorder(value, self._keys, f"{name}.")
        self._keys.add(f"{self._prefix}{name}")
        return value


def read_by(name: str, item: str, params: Any) -> set[str]:
    """The keys that a stage reads when it runs."""
    keys: set[str] = set()
    stage = import_module(".".join(module(name).relative_to(ROOT).with_suffix("").parts))
    stage.main(Recorder(params, keys), *filter(None, [item]))
    return keys


def test_declared_params_are_the_ones_that_are_read(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = {"train": {"steps": 5, "warmup": 0}}
    every_kind = {"methods": ["contrastive", "dsm", "jepa_masked", "ncsn"], "jepa_masked": few, "ncsn": few}
    change_params(copied, {**every_kind, "annealed": {"particles": 20, "steps": 2}})
    monkeypatch.chdir(copied)
    params = parameters.load()
    variables = {"${mog.preset}": params.mog.preset, "${mnist.dataset}": params.mnist.dataset}
    for name in DAG:
        if name == "track":
            continue
        world = name.split("_")[0]
        items = {"mog": params.methods, "mnist": params.mnist.methods}[world] if "foreach" in DAG[name] else [""]
        declared_keys = set(entry(name)["params"])
        for variable, value in variables.items():
            declared_keys = {key.replace(variable, value) for key in declared_keys}
        idle = set(declared_keys)
        for item in items:
            own = {key: key.replace("${item}", item) for key in declared_keys}
            for key in read_by(name, item, params):
                fits = {k for k, resolved in own.items() if key == resolved or key.startswith(f"{resolved}.")}
                assert fits, f"{name}@{item} reads {key} and does not declare it"
                idle -= fits
        assert not idle, f"{name} declares {idle} and does not read it"


def stale(folder: Path) -> set[str]:
    """The stages whose committed results are not those of the code and params beside them."""
    return set(stages_run(run(folder, "dvc", "repro", "--dry", "--allow-missing")))


def test_the_committed_results_are_those_of_the_committed_code() -> None:
    assert stale(ROOT) == set()


def test_the_machine_of_the_committed_results_is_recorded() -> None:
    stages = locked_stages(yaml.safe_load((ROOT / "params.yaml").read_text()))
    recorded = json.loads((ROOT / machine.FILE).read_text())
    assert recorded == machine.record(stages, recorded["facts"]) and recorded["facts"]["torch"]


def test_nothing_is_stale_in_a_fresh_clone(reproduced: Path, tmp_path: Path) -> None:
    run(tmp_path, "git", "clone", "--quiet", str(reproduced), "clone")
    assert stale(tmp_path / "clone") == set()


def test_changed_params_make_the_stages_that_read_them_stale(copied: Path) -> None:
    change_params(copied, {"dsm": {"sigma": 0.4}})
    assert "mog_train@dsm" in stale(copied)


def test_no_tracked_file_is_large() -> None:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    sizes = {name: os.path.getsize(ROOT / name) for name in names.split("\0") if name and (ROOT / name).exists()}
    assert {name for name, size in sizes.items() if size > 1_000_000} == set()
    assert sum(sizes.values()) < 10_000_000
