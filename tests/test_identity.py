"""The identity of a run: what has to change it, and what must not."""

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
from stages.studies.grid import Run
from stages.studies.identity import (
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
    return run_digests(run, raw, mixtures).identity


HANDED_ON = "from stages import {0}\ndef main(x):\n    return x({0})"
PAIR = "SCALE, OTHER = 3.0, 2.0\ndef main():\n    return {}"
DOMAINS = [("mog", "dsm"), ("mog", "jepa_masked_density"), ("mnist", "jepa_ema"), ("mnist_reconstruct", "vicreg")]
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
    """The digest of `main` in module a of a project with these modules, and with those of `BEFORE` that are not given."""
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
    ids=["docstring", "module", "annotations", "return", "message", "print", "format", "alias", "unused", "attribute",
         "moved and renamed", "through its module", "imported otherwise", "in the same module"],
)  # fmt: skip
def test_what_decides_no_number_changes_no_digest(digest: Digest, sources: dict[str, str]) -> None:
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
    ids=["operator", "default", "library", "branch", "error", "constant", "called", "decorator", "effect", "assigned twice",
         "called to be printed", "a condition on its name"],
)  # fmt: skip
def test_what_decides_a_number_changes_the_digest(digest: Digest, sources: dict[str, str]) -> None:
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
    ids=["place in a tuple", "which of a tuple", "a module as an object"],
)
def test_what_only_its_place_tells_apart_has_digests_of_its_own(
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


def test_functions_that_call_each_other_share_what_changes_them(digest: Digest) -> None:
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


def test_functions_that_call_each_other_are_told_apart(digest: Digest) -> None:
    swapped = TWO_WAYS.replace("first(n) - second(n)", "second(n) - first(n)")
    assert digest({"a": TWO_WAYS}) != digest({"a": swapped})


# One edit of each kind of code that decides numbers and is reached by no name, or stands beside what decides none.
EDITS = {
    "threads of a stage": ("mog/evaluate.py", "runner.run(main, threads=1)", "runner.run(main, threads=8)"),
    "threads that are asked for": ("pipeline/runner.py", "threadpool_limits(threads)", "threadpool_limits(8)"),
    "params of a method": ("nn/build.py", "return settings, checked", "return {**settings, 'sigma': 1}, checked"),
    "the mixture": ("config/mixture.py", "return mixtures[mog.preset]", "return next(iter(mixtures.values()))"),
    "the images": ("mnist/data.py", "images[:count]", "images[-count:]"),
    "the data set": ("config/images.py", "return self.datasets[self.dataset]", "return next(iter(self.datasets.values()))"),
}
NO_EDITS = {
    "a message of the runner": ("pipeline/runner.py", "not enough memory for", "too little memory for"),
    "a downloader": ("mnist/datasets/sources.py", "1 << 20", "1 << 21"),
    "a message of the params": ("config/params.py", "expected at most", "expected no more than"),
    "what a stage says": ("nn/training.py", '"{name}: step', '"{name}, step'),
}


def code_identities() -> list[str]:
    return [code_identity("mog", "dsm"), code_identity("mnist", "jepa_ema")]


@pytest.fixture(scope="module")
def unchanged() -> list[str]:
    return code_identities()


@pytest.mark.parametrize("edit", [*EDITS, *NO_EDITS])
def test_an_edit_counts_where_it_decides_a_number(
    edit: str, unchanged: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, old, new = {**EDITS, **NO_EDITS}[edit]
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
    assert (unchanged != after) == (edit in EDITS)


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


def test_a_class_rests_on_its_bases_and_fields(digest: Digest) -> None:
    assert digest({"a": BASE.replace("size: int", "size: float")}) == digest({"a": BASE})
    assert digest({"a": BASE.replace("= 3", "= 4")}) != digest({"a": BASE})
    assert digest({"a": BASE.replace("return self.size", "return 2 * self.size")}) != digest({"a": BASE})


def test_a_definition_that_there_is_not_is_no_digest(digest: Digest) -> None:
    with pytest.raises(LookupError, match=r"stages\.b defines no nothing"):
        digest({"a": "from stages.b import nothing\n\ndef main():\n    return nothing"})


@pytest.mark.parametrize(("domain", "method"), DOMAINS)
def test_a_run_rests_on_what_it_calls_and_on_nothing_that_only_fetches_says_or_shows(domain: Any, method: str) -> None:
    reached = set().union(*(code.reached(root, IRRELEVANT_CODE) for root in roots(domain, method)))
    assert {name for name in reached if name.startswith(("stages.plots", "stages.tracking", *IRRELEVANT_CODE))} == set(
        RELEVANT_EXCEPTIONS
    )
    assert any(name.startswith(f"stages.methods.{method}.") for name in reached)
    assert {"stages.nn.training.fit", "stages.metrics.summary.figure"} <= reached
    assert f"python -m stages.{'mog' if domain == 'mog' else 'mnist'}.train {method}" in commands(domain, method)


def test_each_method_and_world_has_a_code_of_its_own() -> None:
    found = {code_identity(domain, method) for domain, method in DOMAINS}  # type: ignore[arg-type]
    assert len(found) == len(DOMAINS)


def test_all_that_counts_for_nothing_is_there() -> None:
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
        ({"mnist": {"datasets": {"mnist": {"digests": {"test_images": "0" * 64}}}}}, {"mnist"}),
        ({"mnist": {"dataset": "mnist", "train_images": 5000}}, {"mnist"}),
        ({"mnist_reconstruct": {"channels": 8}}, set()),
        ({"page": {"points": 7}}, set()),
        ({"methods": ["dsm"]}, set()),
    ],
)
def test_the_identity_follows_the_params_that_are_read(change: dict[str, Any], domains: set[str]) -> None:
    runs = {"mog": Run("mog", "dsm", {}), "mnist": Run("mnist", "jepa_ema", {})}
    after = merged(RAW, change)
    assert {domain for domain, run in runs.items() if identity(run, RAW, MIXTURES) != identity(run, after, MIXTURES)} == domains


def test_the_identity_follows_the_mixture() -> None:
    run, other = Run("mog", "dsm", {}), Run("mog", "dsm", {"mog.preset": "ring"})
    moved = merged(MIXTURES, {"ring": {"weights": MIXTURES["ring"]["weights"][::-1], "box": {"x": [-9, 9]}}})
    assert identity(run, RAW, MIXTURES) == identity(run, RAW, moved)
    assert identity(other, RAW, MIXTURES) != identity(other, RAW, moved)


def test_a_setting_and_a_param_of_that_value_are_the_same_run() -> None:
    set_here, set_there = Run("mog", "dsm", {"dsm.sigma": 0.4}), Run("mog", "dsm", {})
    assert identity(set_here, RAW, MIXTURES) == identity(set_there, merged(RAW, {"dsm": {"sigma": 0.4}}), MIXTURES)
    with pytest.raises(UserError, match=r"there is no param dsm\.sgima"):
        identity(Run("mog", "dsm", {"dsm.sgima": 1}), RAW, MIXTURES)


def test_params_are_those_that_dvc_yaml_declares() -> None:
    found = params("mnist", "jepa_ema", RAW, MIXTURES)
    assert (
        found["mnist_jepa_ema"] == RAW["mnist_jepa_ema"]
        and found["mnist.datasets.mnist.digests"] == RAW["mnist"]["datasets"]["mnist"]["digests"]
    )
    assert "dsm" not in found and "mnist.methods" not in found


def test_what_counts_for_nothing_decides_no_metric(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    monkeypatch.setattr(evaluate, "page_data", lambda *_: {})
    assert found == metrics(tiny)
