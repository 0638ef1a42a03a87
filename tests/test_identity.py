"""The identity of a run follows the code and params that determine its metrics, and nothing else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from stages.config import params as parameters
from stages.core.errors import UserError
from stages.core.paths import ROOT
from stages.mog import data, evaluate, train
from stages.studies import code
from stages.studies.grid import Run, with_settings
from stages.studies.identity import (
    AUGMENTATIONS,
    IRRELEVANT_CODE,
    IRRELEVANT_PARAMS,
    RELEVANT_EXCEPTIONS,
    STAGES,
    code_identity,
    commands,
    params,
    roots,
    run_digests,
)
from stages.tools.small import merged
from tests.test_study import MIXTURES, RAW, TINY


def identity(run: Run, raw: Mapping[str, Any], mixtures: Mapping[str, Any]) -> str:
    """The identity of a run with these contents of params.yaml and mixtures.yaml."""
    return run_digests(run, raw, mixtures).identity


PAIR = "SCALE, OTHER = 3.0, 2.0\ndef main():\n    return {}"
DOMAINS = [
    ("mog", "dsm"),
    ("mog", "jepa_masked_density"),
    ("mnist", "jepa_ema"),
    ("mnist_reconstruct", "vicreg"),
    ("pixels", "flow_matching"),
]
Digest = Callable[[Mapping[str, str]], str]
BEFORE = {
    "a": '''
"""A module."""
from __future__ import annotations
from stages.b import SCALE, halve
import numpy as np

Points = np.ndarray

def main(x: Points, *, times: int = 2) -> float:
    """Scale and halve."""
    if times < 0:
        raise ValueError(f"{times} is negative")
    print("working")
    return halve(SCALE * np.sum(x)) * times
''',
    "b": '''
SCALE = 3.0
"""A factor."""

def halve(value):
    return value / 2

def unused(value):
    return value
''',
}


@pytest.fixture
def digest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Digest]:
    """Computes the digest of `main` in module a of a project with the modules of `BEFORE`, updated by the given sources."""
    monkeypatch.setattr(code, "ROOT", tmp_path)

    def of(sources: Mapping[str, str]) -> str:
        code.clear_caches()
        shutil.rmtree(tmp_path / "stages", ignore_errors=True)
        (tmp_path / "stages").mkdir()
        for name, source in {**BEFORE, **sources}.items():
            (tmp_path / f"stages/{name}.py").write_text(source)
        return code.digest("stages.a.main")

    yield of
    code.clear_caches()


def changed(module: str, old: str, new: str) -> dict[str, str]:
    """The source of a module of `BEFORE` after a replacement."""
    assert old in BEFORE[module]
    return {module: BEFORE[module].replace(old, new)}


@pytest.mark.parametrize(
    "sources",
    [
        changed("a", "Scale and halve.", "Another text."),
        changed("a", '"""A module."""', "# nothing"),
        changed("a", "x: Points, *, times: int = 2", "x, *, times=2"),
        changed("a", "-> float", "-> object"),
        changed("a", "is negative", "must not be negative"),
        changed("a", '    print("working")\n', ""),
        changed("a", "halve(SCALE * np.sum(x)) * times", "(\n        halve(SCALE*np.sum(x))  # why\n        * times\n    )"),
        changed("a", "Points = np.ndarray", "Points = list"),
        changed("b", "return value\n", "return -value\n"),
        changed("b", "A factor.", "Another factor."),
        {
            "a": BEFORE["a"].replace("stages.b import SCALE, halve", "stages.c import FACTOR as SCALE, by_two as halve"),
            "c": BEFORE["b"].replace("SCALE", "FACTOR").replace("halve", "by_two"),
        },
        {
            "a": BEFORE["a"].replace("from stages.b import SCALE, halve", "from stages import b")
            .replace("halve(SCALE", "b.halve(b.SCALE"),
        },
        {"a": BEFORE["a"].replace("import numpy as np", "import numpy").replace("np.", "numpy.")},
        {"a": BEFORE["a"].replace("from stages.b import SCALE, halve\n", BEFORE["b"])},
    ],
    ids=["docstring", "module docstring", "annotations", "return annotation", "error message", "print", "formatting",
         "type alias", "unused function", "attribute docstring", "moved and renamed", "accessed through the module",
         "import without alias", "defined in the same module"],
)  # fmt: skip
def test_the_digest_ignores_code_changes_that_cannot_affect_a_value(digest: Digest, sources: dict[str, str]) -> None:
    assert digest(sources) == digest({})


@pytest.mark.parametrize(
    "sources",
    [
        changed("a", "* times", "+ times"),
        changed("a", "times: int = 2", "times: int = 3"),
        changed("a", "np.sum", "np.mean"),
        changed("a", "times < 0", "times < 1"),
        changed("a", "ValueError", "KeyError"),
        changed("b", "SCALE = 3.0", "SCALE = 3.5"),
        changed("b", "value / 2", "value / 3"),
        changed("b", "def halve", "@staticmethod\ndef halve"),
        changed("b", "def unused", "halve.cache = {}\n\ndef unused"),
        changed("b", "def unused", "SCALE += 1\n\ndef unused"),
        changed("a", 'print("working")', "print(next(x))"),
        changed("b", "def unused", "if len(__name__) > 3:\n    halve.cache = {}\n\ndef unused"),
    ],
    ids=["operator", "default", "library function", "condition", "exception type", "constant", "called function", "decorator",
         "effect on import", "second assignment", "call inside print", "conditional effect on import"],
)  # fmt: skip
def test_the_digest_follows_code_changes_that_can_affect_a_value(digest: Digest, sources: dict[str, str]) -> None:
    assert digest(sources) != digest({})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"b": "SCALE, OTHER = 3.0, 2.0\nhalve = abs"}, {"b": "OTHER, SCALE = 3.0, 2.0\nhalve = abs"}),
        ({"a": PAIR.format("SCALE - OTHER")}, {"a": PAIR.format("OTHER - SCALE")}),
        (
            {"a": "from stages import b\ndef main(x):\n    return x(b)"},
            {"a": "from stages import c\ndef main(x):\n    return x(c)"},
        ),
    ],
    ids=["position in an assigned tuple", "member of a tuple", "module as an object"],
)
def test_the_digest_depends_on_positions_in_tuples_and_on_module_objects(
    digest: Digest, one: dict[str, str], other: dict[str, str]
) -> None:
    assert digest({**one, "c": BEFORE["b"]}) != digest({**other, "c": BEFORE["b"]})


CYCLE = """
def main(n):
    return 0 if n == 0 else other(n - 1)

def other(n):
    return 1 if n == 0 else main(n - 1) + SHIFT

SHIFT = 1
"""


def test_the_digest_of_mutually_recursive_functions_follows_every_one_of_them(digest: Digest) -> None:
    found = [
        digest({"a": CYCLE.replace(*change)})
        for change in (("", ""), ("other", "another"), ("SHIFT = 1", "SHIFT = 2"), ("else main", "else -main"))
    ]
    assert found[0] == found[1] and len(set(found)) == 3


TWO_WAYS = """
def main(n):
    return first(n) - second(n)

def first(n):
    return n and main(n - 1)

def second(n):
    return n and 2 * main(n - 1)
"""


def test_the_digest_distinguishes_mutually_recursive_functions(digest: Digest) -> None:
    swapped = TWO_WAYS.replace("first(n) - second(n)", "second(n) - first(n)")
    assert digest({"a": TWO_WAYS}) != digest({"a": swapped})


# Edits of code that affects metrics, most of it in modules that are otherwise irrelevant, and edits of irrelevant code.
RELEVANT_EDITS = {
    "threads of a stage": ("mog/evaluate.py", "runner.run(main, threads=1)", "runner.run(main, threads=8)"),
    "limit of threads": ("pipeline/runner.py", "threadpool_limits(threads)", "threadpool_limits(8)"),
    "params of a method": ("nn/build.py", "return settings, checked", "return {**settings, 'sigma': 1}, checked"),
    "choice of the mixture": ("config/mixture.py", "return mixtures[mog.preset]", "return next(iter(mixtures.values()))"),
    "choice of the images": ("mnist/data.py", "images[:count]", "images[-count:]"),
    "choice of the data set": (
        "config/images.py",
        "return self.datasets[self.dataset]",
        "return next(iter(self.datasets.values()))",
    ),
}
IRRELEVANT_EDITS = {
    "message of the runner": ("pipeline/runner.py", "not enough memory for", "too little memory for"),
    "download": ("mnist/datasets/download.py", "1 << 20", "1 << 21"),
    "message about params": ("config/params.py", "expected at most", "expected no more than"),
    "progress of a training": ("nn/training.py", '"{name}: step', '"{name}, step'),
}


def code_identities() -> list[str]:
    """The code identities of a method on the mixture and of one on the images."""
    return [code_identity("mog", "dsm"), code_identity("mnist", "jepa_ema")]


@pytest.fixture(scope="module")
def unchanged() -> list[str]:
    """The code identities without an edit."""
    return code_identities()


@pytest.mark.parametrize("edit", [*RELEVANT_EDITS, *IRRELEVANT_EDITS])
def test_an_edit_changes_the_code_identity_only_if_it_can_affect_metrics(
    edit: str, unchanged: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, old, new = {**RELEVANT_EDITS, **IRRELEVANT_EDITS}[edit]
    shutil.copytree(ROOT / "stages", tmp_path / "stages", ignore=shutil.ignore_patterns("__pycache__"))
    text = (tmp_path / "stages" / path).read_text()
    assert old in text
    (tmp_path / "stages" / path).write_text(text.replace(old, new))
    monkeypatch.setattr(code, "ROOT", tmp_path)
    code.clear_caches()
    try:
        after = code_identities()
    finally:
        code.clear_caches()
    assert (unchanged != after) == (edit in RELEVANT_EDITS)


BASE = """
class Base:
    size: int = 3
    def value(self):
        return self.size

class Kind(Base):
    pass

def main():
    return Kind().value()
"""


def test_the_digest_of_a_class_follows_its_bases_and_fields(digest: Digest) -> None:
    assert digest({"a": BASE.replace("size: int", "size: float")}) == digest({"a": BASE})
    assert digest({"a": BASE.replace("= 3", "= 4")}) != digest({"a": BASE})
    assert digest({"a": BASE.replace("return self.size", "return 2 * self.size")}) != digest({"a": BASE})


def test_an_undefined_name_has_no_digest(digest: Digest) -> None:
    with pytest.raises(LookupError, match=r"stages\.b defines no nothing"):
        digest({"a": "from stages.b import nothing\n\ndef main():\n    return nothing"})


@pytest.mark.parametrize(("domain", "method"), DOMAINS)
def test_a_run_depends_on_training_and_metrics_but_not_plots_or_downloads(domain: Any, method: str) -> None:
    reached = set().union(*(code.reached(root, IRRELEVANT_CODE) for root in roots(domain, method)))
    assert {name for name in reached if name.startswith(("stages.plots", "stages.tracking", *IRRELEVANT_CODE))} == {
        *RELEVANT_EXCEPTIONS,
        *([] if domain == "mog" else [AUGMENTATIONS]),
    }
    assert any(name.startswith(f"stages.methods.{method}.") for name in reached)
    assert {"stages.nn.training.fit", "stages.metrics.summary.over_seeds"} <= reached
    part = "mnist" if domain == "mnist_reconstruct" else domain
    assert f"python -m stages.{part}.train {method}" in commands(domain, method, RAW)


def test_a_run_in_pixel_space_trains_the_encoder_that_compares_images_and_depends_on_it() -> None:
    run = Run("pixels", "diffusion", {})
    assert "python -m stages.mnist.train jepa_ema" in commands("pixels", "diffusion", RAW)
    changed = with_settings(RAW, {"mnist_jepa_ema.decay": 0.5})
    assert len({run_digests(run, raw, {}).identity for raw in (RAW, changed)}) == 2
    own = Run("pixels", "diffusion", {"mnist.methods": ["vicreg"]})
    assert run_digests(own, RAW, {}).identity == run_digests(run, with_settings(RAW, own.settings), {}).identity
    other = with_settings(RAW, {"mnist.methods": ["vicreg"]})
    assert "python -m stages.mnist.train vicreg" in commands("pixels", "diffusion", other)


def test_each_method_in_each_domain_has_its_own_code_identity() -> None:
    found = {code_identity(domain, method) for domain, method in DOMAINS}  # type: ignore[arg-type]
    assert len(found) == len(DOMAINS)


def test_irrelevant_code_and_params_and_declared_stages_exist() -> None:
    for name in IRRELEVANT_CODE:
        path = ROOT.joinpath(*name.split("."))
        module, _, member = name.rpartition(".")
        assert path.is_dir() or path.with_suffix(".py").is_file() or code.digest(f"{module}.{member}")
    assert set(IRRELEVANT_PARAMS) <= set(RAW)
    declared = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    assert {stage for stages in STAGES.values() for stage in stages} <= set(declared)


@pytest.mark.parametrize(
    ("change", "domains"),
    [
        ({"dsm": {"sigma": 0.4}}, {"mog"}),
        ({"vicreg": {"variance": 1.0}}, set()),
        ({"seed": 7}, {"mog", "mnist"}),
        ({"mog": {"train_points": 4999}}, {"mog"}),
        ({"langevin": {"steps": 7}}, {"mog"}),
        ({"mnist_severity": {"gaussian": {"std": 0.5}}}, {"mnist"}),
        ({"mnist": {"datasets": {"mnist": {"sources": [{"kind": "folder", "location": "elsewhere"}]}}}}, set()),
        ({"mnist": {"datasets": {"mnist": {"title": "Images"}}}}, set()),
        ({"mnist": {"datasets": {"mnist": {"digits": False}}}}, {"mnist"}),
        ({"mnist": {"datasets": {"mnist": {"side": 32}}}}, {"mnist"}),
        ({"mnist": {"datasets": {"mnist": {"channels": 3}}}}, {"mnist"}),
        ({"mnist": {"datasets": {"mnist": {"classes": list("abcdefghij")}}}}, set()),
        ({"mnist": {"datasets": {"another": RAW["mnist"]["datasets"]["mnist"]}}}, set()),
        ({"mnist": {"datasets": {"mnist": {"digests": {"test_images": "0" * 64}}}}}, {"mnist"}),
        ({"mnist": {"dataset": "mnist", "train_images": 5000}}, {"mnist"}),
        ({"mnist_reconstruct": {"channels": 8}}, set()),
        ({"page": {"points": 7}}, set()),
        ({"methods": ["dsm"]}, set()),
    ],
)
def test_the_identity_follows_only_the_params_that_a_run_reads(change: dict[str, Any], domains: set[str]) -> None:
    runs = {"mog": Run("mog", "dsm", {}), "mnist": Run("mnist", "jepa_ema", {})}
    after = merged(RAW, change)
    assert {domain for domain, run in runs.items() if identity(run, RAW, MIXTURES) != identity(run, after, MIXTURES)} == domains


def test_the_identity_follows_only_the_mixture_of_the_run() -> None:
    run, other = Run("mog", "dsm", {}), Run("mog", "dsm", {"mog.preset": "ring"})
    edited = merged(MIXTURES, {"ring": {"weights": MIXTURES["ring"]["weights"][::-1], "box": {"x": [-9, 9]}}})
    assert identity(run, RAW, MIXTURES) == identity(run, RAW, edited)
    assert identity(other, RAW, MIXTURES) != identity(other, RAW, edited)


def test_a_setting_and_a_param_of_equal_value_give_the_same_identity() -> None:
    with_setting, without = Run("mog", "dsm", {"dsm.sigma": 0.4}), Run("mog", "dsm", {})
    assert identity(with_setting, RAW, MIXTURES) == identity(without, merged(RAW, {"dsm": {"sigma": 0.4}}), MIXTURES)
    with pytest.raises(UserError, match=r"there is no param dsm\.sgima"):
        identity(Run("mog", "dsm", {"dsm.sgima": 1}), RAW, MIXTURES)


def test_a_run_depends_on_the_params_that_dvc_yaml_declares() -> None:
    found = params("mnist", "jepa_ema", RAW, MIXTURES)
    assert (
        found["mnist_jepa_ema"] == RAW["mnist_jepa_ema"]
        and found["mnist.datasets.mnist.digests"] == RAW["mnist"]["datasets"]["mnist"]["digests"]
    )
    assert "dsm" not in found and "mnist.methods" not in found


def test_sources_identify_images_without_digests() -> None:
    def of(change: dict[str, Any]) -> str:
        block = {"title": "Mine", "sources": [{"kind": "npz", "location": "a.npz"}], "side": 28, "channels": 1, "digits": False}
        block |= {"perturbations": {}}
        dataset = {"dataset": "mine", "datasets": {"mine": {**block, **change}}}
        return identity(Run("mnist", "jepa_ema", {}), merged(RAW, {"mnist": dataset}), MIXTURES)

    assert of({}) == of({"title": "Other", "digests": {}, "classes": ["a", "b"]})
    moved = {"sources": [{"kind": "npz", "location": "b.npz"}]}
    digests = {"digests": RAW["mnist"]["datasets"]["mnist"]["digests"]}
    assert len({of({}), of({"digits": True}), of(moved), of({"side": 32}), of(digests)}) == 5
    assert of(digests) == of({**digests, **moved})


def test_page_params_and_page_data_do_not_affect_metrics(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def metrics(change: dict[str, Any]) -> Any:
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        monkeypatch.chdir(folder)
        Path("params.yaml").write_text(yaml.safe_dump(merged(TINY, change)))
        shutil.copy(ROOT / "mixtures.yaml", "mixtures.yaml")
        checked = parameters.load()
        data.main(checked)
        train.main(checked, "jepa_ema")
        evaluate.main(checked, "jepa_ema")
        return json.loads(Path("reports/metrics/mog/jepa_ema.json").read_text())

    tiny = {"jepa_ema": {"train": {"steps": 5, "batch_size": 16, "warmup": 1}}}
    found = metrics(tiny)
    assert found == metrics(merged(tiny, {"page": {"coarse": 5, "snapshots": 2, "points": 20}}))
    for script in ("overview", "details"):
        monkeypatch.setattr(evaluate.page_data, script, lambda *_: {})
    assert found == metrics(tiny)
