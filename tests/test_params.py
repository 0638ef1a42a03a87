"""Validation of params.yaml, mixtures.yaml and claims.yaml: every mistake gives one line, and every key is used."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import itertools
import json
import linecache
import math
import re
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.hydra import apply_overrides

import stages.methods
from stages.config import claims, method_blocks, mixture, params, yaml_file
from stages.config.base import MNIST_PREFIX
from stages.core.errors import InvalidParams, UserError
from stages.mnist.encoder.domain import Images
from stages.nn.build import block_model, build, configured, method_class
from stages.nn.training import fit
from stages.pipeline.lookup import look_up
from stages.tools.check import check
from tests.plane import domain

ROOT = Path(__file__).parent.parent
PARAMS = params.load(ROOT / "params.yaml")
RAW = params.read(ROOT / "params.yaml")
TEXT = yaml.safe_dump(RAW)
MISSING = object()
FIRST_COVARIANCE = "reference.covariances.0"
# Without the shared parts of the YAML aliases.
MIXTURES, CLAIMS = (json.loads(json.dumps(yaml_file.read(ROOT / name))) for name in ("mixtures.yaml", "claims.yaml"))
Load = Callable[[Path], Any]
"""A function that reads and validates a file."""
KeyPath = tuple[str | int, ...]
"""The keys, and the indices in lists, that lead to a value."""


def changed(key: str | KeyPath, value: Any, committed: dict[str, Any] = RAW) -> dict[str, Any]:
    """The content of params.yaml, or of another committed file, with one key set to a value or, if `MISSING`, removed."""
    raw = copy.deepcopy(committed)
    parts = key.split(".") if isinstance(key, str) else key
    *blocks, last = (int(part) if isinstance(part, str) and part.isdigit() else part for part in parts)
    block: Any = raw
    for part in blocks:
        block = block[part]
    if value is MISSING:
        del block[last]
    else:
        block[last] = value
    return raw


def text_with_sigma(value: str) -> str:
    """The text of params.yaml with `value`, in YAML, as `dsm.sigma`."""
    return yaml.safe_dump(changed("dsm.sigma", "HERE")).replace("HERE", value)


def error_message(tmp_path: Path, text: str, load: Load = check) -> str:
    """The error that a file with this text raises, without the file's name."""
    file = tmp_path / "a.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidParams) as error:
        load(file)
    message = str(error.value)
    assert message.startswith(f"{file}: ") and "\n" not in message
    return message.removeprefix(f"{file}: ")


def keys(block: Any, prefix: str = "") -> Iterator[str]:
    """All dotted keys of a nested block; a list counts as one value."""
    for key, value in block.items():
        yield prefix + key
        if isinstance(value, dict):
            yield from keys(value, f"{prefix}{key}.")


def key_paths(block: Any, prefix: KeyPath = ()) -> Iterator[KeyPath]:
    """The paths of all values in a nested block, including the elements of lists."""
    for key, value in block.items() if isinstance(block, dict) else enumerate(block):
        yield (*prefix, key)
        if isinstance(value, (dict, list)):
            yield from key_paths(value, (*prefix, key))


def constructor(name: str) -> ast.FunctionDef:
    """The syntax tree of `__init__` of a method's class, its own or that of a base."""
    (init,) = ast.parse(textwrap.dedent(inspect.getsource(method_class(name).__init__))).body
    assert isinstance(init, ast.FunctionDef)
    return init


ALL_METHODS = sorted(file.stem for file in (ROOT / "stages/methods").glob("[!_]*.py"))


def test_loading_the_committed_files_preserves_every_value() -> None:
    blocks = {name: configured(PARAMS, name) for name in PARAMS.blocks}
    loaded = PARAMS.model_dump(exclude={"blocks", "path"}, exclude_unset=True) | {
        name: {**settings, "train": train.model_dump()} for name, (settings, train) in blocks.items()
    }
    assert loaded == RAW
    assert {
        name: one.model_dump(exclude_defaults=True) for name, one in mixture.load(ROOT / "mixtures.yaml").items()
    } == MIXTURES
    assert claims.load(ROOT / "claims.yaml").model_dump(exclude_unset=True) == CLAIMS


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("seed", -1, "seed: -1 is not accepted: expected greater than or equal to 0"),
        ("seeds", 0, "seeds: 0 is not accepted: expected greater than or equal to 1"),
        ("seeds", True, "seeds: True is not accepted: expected a valid integer"),
        ("seeds", 2.0, "seeds: 2.0 is not accepted: expected a valid integer"),
        ("seeds", "8", "seeds: '8' is not accepted: expected a valid integer"),
        ("device", "gpu", "device: 'gpu' is not accepted: expected 'auto', 'cuda', 'mps' or 'cpu'"),
        ("dsm.sigma", "0.5", "dsm.sigma: '0.5' is not accepted: expected a valid number"),
        ("dsm.sigma", True, "dsm.sigma: True is not accepted: expected a valid number"),
        ("dsm.sigma", None, "dsm.sigma: None is not accepted: expected a valid number"),
        ("dsm.sigma", 0, "dsm.sigma: 0 is not accepted: expected greater than 0"),
        ("dsm.sigma", math.nan, "dsm.sigma: nan is not accepted: expected a finite number"),
        ("dsm.sigma", math.inf, "dsm.sigma: inf is not accepted: expected a finite number"),
        ("dsm.sigma", [0.5], "dsm.sigma: [0.5] is not accepted: expected a valid number"),
        ("dsm.train.batch_size", 1, "dsm.train.batch_size: 1 is not accepted: expected greater than or equal to 2"),
        ("dsm.train.schedule", "cos", "dsm.train.schedule: 'cos' is not accepted: expected 'constant' or 'cosine'"),
        ("jepa_ema.decay", 1.5, "jepa_ema.decay: 1.5 is not accepted: expected less than or equal to 1"),
        ("jepa_ema.predictor", "no", "jepa_ema.predictor: 'no' is not accepted: expected a valid boolean"),
        ("jepa_ema.predictor", 1, "jepa_ema.predictor: 1 is not accepted: expected a valid boolean"),
        (
            "mnist.evaluation.strengths.0",
            2.0,
            "mnist.evaluation.strengths.0: 2.0 is not accepted: expected less than or equal to 1",
        ),
        (
            "mnist.dataset",
            "x",
            "mnist.dataset: 'x' is not accepted: expected one of " + ", ".join(sorted(PARAMS.mnist.datasets)),
        ),
    ],
)
def test_the_error_for_an_invalid_value_names_key_value_and_range(tmp_path: Path, key: str, value: Any, message: str) -> None:
    assert error_message(tmp_path, yaml.safe_dump(changed(key, value))) == message


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("mog.evaluation.reference", [0, 0, 0], "at most 2 items"),
        ("mnist_reconstruct.channels", 3, "a multiple of 2"),
        ("mnist_jepa_ema.train.batch_size", 55_001, "at most 55000, the training images that are not held out"),
        ("mnist_reconstruct.train.batch_size", 55_001, "at most 55000, the training images that are not held out"),
        ("mnist.evaluation.strengths", [0.5, 1.0, 0.5], "strictly increasing values"),
        ("mnist.evaluation.strengths", [1.0, 0.5], "strictly increasing values"),
        ("mnist.evaluation.labels", [10, 100, 10], "strictly increasing values"),
        ("mnist.evaluation.labels.0", 0, "greater than or equal to 1"),
        ("mnist.train_images", 10_000_001, "less than or equal to 10000000"),
        ("mnist.datasets.mnist.side", 7, "greater than or equal to 8"),
        ("mnist.datasets.mnist.side", 65, "less than or equal to 64"),
        ("mnist.datasets.mnist.channels", 2, "1 or 3"),
        ("mnist.datasets.mnist.sources.0.kind", "ftp", "'torchvision', 'folder', 'images', 'npz', 'wheel' or 'sklearn'"),
        *(
            ("mnist.datasets.mnist.classes", names, "at least two different names of up to 60 characters, without < > | ` $")
            for names in (
                ["one"],
                ["a", "a"],
                ["a", ""],
                ["a", " "],
                ["a", "<b>"],
                ["a", "b|c"],
                ["a", "b\nc"],
                ["a", "b" * 61],
            )
        ),
        (
            "mnist_reconstruct.methods",
            ["jepa_ema", "jepa_basic"],
            f"any of mnist.methods: {', '.join(PARAMS.mnist.methods)}",
        ),
        ("mog.evaluation.structure_points", 2001, "at most 2000, given the number of points"),
        ("mog.evaluation.neighbours", 500, "at most 499, given the number of points"),
        ("mog.evaluation.readout_neighbours", 5001, "at most 5000, given the number of points"),
        ("mog.evaluation.grid", 9, "greater than or equal to 10"),
    ],
)
def test_inconsistent_or_out_of_range_params_are_rejected(tmp_path: Path, key: str, value: Any, expected: str) -> None:
    message = error_message(tmp_path, yaml.safe_dump(changed(key, value)))
    assert message.startswith(f"{key}: ") and " is not accepted: " in message and expected in message


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (FIRST_COVARIANCE, [[1, 2], [2, 1]], "a symmetric, positive definite matrix"),
        (FIRST_COVARIANCE, [[1, 0.8], [0.7, 1]], "a symmetric, positive definite matrix"),
        (FIRST_COVARIANCE, [[-1, 0], [0, -1]], "a symmetric, positive definite matrix"),
        (FIRST_COVARIANCE, [[1, 1], [1, 1]], "a symmetric, positive definite matrix"),
        (
            FIRST_COVARIANCE,
            [[1e-30, 0], [0, 1]],
            "a standard deviation of at least 1.8e-06 in every direction, since box.y extends to 15",
        ),
        (FIRST_COVARIANCE, [[1, 0.8]], "at least 2 items"),
        (f"{FIRST_COVARIANCE}.0", [1, 0.8, 0], "at most 2 items"),
        ("reference.covariances", [], "one entry for each of the 3 means"),
        ("reference.weights", [0.4, 0.35, 0.2], "numbers with sum 1, not 0.95"),
        ("reference.weights", [0.4, 0.6], "one entry for each of the 3 means"),
        ("reference.weights.1", -0.35, "greater than 0"),
        ("reference.means", [], "at least 1 item"),
        ("reference.means.0", [1], "at least 2 items"),
        ("reference.means.0.1", math.nan, "a finite number"),
        ("reference.box.x", [3, 3], "the lower end before the upper end"),
        ("reference.box.y", [3], "at least 2 items"),
        ("ring", None, "a valid dictionary"),
    ],
)
def test_an_invalid_mixture_is_rejected(tmp_path: Path, key: str, value: Any, expected: str) -> None:
    message = error_message(tmp_path, yaml.safe_dump(changed(key, value, MIXTURES)), mixture.load)
    assert message.startswith(f"{key}: ") and " is not accepted: " in message and expected in message


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("criteria.wells.decided_by.0.below", 0.5, "either below or above"),
        ("criteria.wells.decided_by.0.study", "batch", "both study and cell, or neither"),
        ("criteria.wells.decided_by.0.against_cell", {"dsm.sigma": 1}, "a study"),
        ("criteria.learns_score.decided_by.0.relative", True, "against or against_cell"),
        ("criteria.wells.decided_by", [], "at least 1 item"),
        ("expected.dsm.is_best", True, "any of criteria: batch_matters, bimodal_dependencies"),
        ("expected_label.dsm.is_best", "best", "any of expected.dsm: "),
    ],
)
def test_inconsistent_claims_are_rejected(tmp_path: Path, key: str, value: Any, expected: str) -> None:
    message = error_message(tmp_path, yaml.safe_dump(changed(key, value, CLAIMS)), claims.load)
    assert message.startswith(f"{key}: ") and " is not accepted: " in message and expected in message


def test_a_criterion_with_both_against_and_against_cell_is_rejected(tmp_path: Path) -> None:
    criterion = "criteria.ema_keeps_rank.decided_by.0"
    raw = changed(f"{criterion}.against", "heldout_loss", CLAIMS)
    message = error_message(tmp_path, yaml.safe_dump(raw), claims.load)
    assert message.startswith(f"{criterion}.against_cell: ")
    assert message.endswith(" is not accepted: expected either against or against_cell")


def test_the_preset_selects_a_mixture_and_an_unknown_preset_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert mixture.chosen(PARAMS.mog) == mixture.load()[PARAMS.mog.preset]
    with pytest.raises(InvalidParams) as error:
        mixture.chosen(PARAMS.mog.model_copy(update={"preset": "other"}))
    expected = f"expected one of {', '.join(MIXTURES)}, as in mixtures.yaml"
    assert str(error.value) == f"params.yaml: mog.preset: 'other' is not accepted: {expected}"


@pytest.mark.parametrize(
    ("key", "suggestion"),
    [
        ("sead", "seed"),
        ("dsm.sgima", "sigma"),
        ("dsm.train.step", "steps"),
        ("jepa_ema.encoder.widht", "width"),
        ("collapse.variance_ration", "variance_ratio"),
        ("mnist.datasets.mnist.sources.0.location_", "location"),
        ("mnist_perturbations.affine.probabilty", "probability"),
        ("mnist_jepa_ema.temperature", None),
        ("epochs", None),
        ("blocks", None),
    ],
)
def test_an_unknown_key_is_rejected_with_a_suggestion(tmp_path: Path, key: str, suggestion: str | None) -> None:
    assert_unknown_key(error_message(tmp_path, yaml.safe_dump(changed(key, 1))), key, suggestion)


@pytest.mark.parametrize(
    ("committed", "load", "key", "suggestion"),
    [
        (MIXTURES, mixture.load, "reference.mean", "means"),
        (MIXTURES, mixture.load, "reference.box.z", None),
        (CLAIMS, claims.load, "criterion", "criteria"),
        (CLAIMS, claims.load, "criteria.wells.decide_by", "decided_by"),
        (CLAIMS, claims.load, "criteria.wells.decided_by.0.bellow", "below"),
    ],
)
def test_an_unknown_key_of_mixtures_or_claims_is_rejected_with_a_suggestion(
    tmp_path: Path, committed: dict[str, Any], load: Load, key: str, suggestion: str | None
) -> None:
    assert_unknown_key(error_message(tmp_path, yaml.safe_dump(changed(key, 1, committed)), load), key, suggestion)


def assert_unknown_key(message: str, key: str, suggestion: str | None) -> None:
    """Check that a message calls the key unknown and suggests a known one or, if None, lists the known ones."""
    assert message.startswith(f"{key}: 1 is not accepted: there is no such key; ")
    assert message.endswith(f"did you mean {suggestion}?") if suggestion else "; expected " in message


def test_a_misspelt_key_is_reported_as_unknown_rather_than_missing(tmp_path: Path) -> None:
    raw = changed("dsm.sigma", MISSING)
    raw["dsm"]["sgima"] = 0.5
    assert error_message(tmp_path, yaml.safe_dump(raw)).startswith("dsm.sgima: 0.5 is not accepted: there is no such key")


@pytest.mark.parametrize(
    "key", ["seed", "mog.evaluation.grid", "dsm", "dsm.sigma", "dsm.train.warmup", "mnist_jepa_ema", "langevin"]
)
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    lists = {"dsm": ", but methods lists dsm", "mnist_jepa_ema": ", but mnist.methods lists jepa_ema"}
    assert error_message(tmp_path, yaml.safe_dump(changed(key, MISSING))) == f"{key}: this key is missing{lists.get(key, '')}"


@pytest.mark.parametrize(
    ("committed", "load", "key"),
    [
        (MIXTURES, mixture.load, "ring.box"),
        (MIXTURES, mixture.load, "unequal.box.y"),
        (CLAIMS, claims.load, "expected_label"),
        (CLAIMS, claims.load, "criteria.wells.statement"),
        (CLAIMS, claims.load, "criteria.wells.decided_by.1.reason"),
    ],
)
def test_a_missing_key_of_mixtures_or_claims_is_named(tmp_path: Path, committed: dict[str, Any], load: Load, key: str) -> None:
    assert error_message(tmp_path, yaml.safe_dump(changed(key, MISSING, committed)), load) == f"{key}: this key is missing"


@pytest.mark.parametrize("key", ["methods", "mnist", "mnist.methods", "mog", "mnist_perturbations.affine"])
def test_a_missing_block_or_list_of_methods_is_named(tmp_path: Path, key: str) -> None:
    assert error_message(tmp_path, yaml.safe_dump(changed(key, MISSING))).startswith(key)


@pytest.mark.parametrize("key", ["methods", "mnist.methods"])
@pytest.mark.parametrize(
    ("names", "shown", "expected"),
    [
        (["dsn"], "'dsn'", "any of "),
        ([3], "3", "any of "),
        (["__init__"], "'__init__'", "any of "),
        (["jepa_ema", "jepa_ema"], "['jepa_ema', 'jepa_ema']", "each method once"),
        ([], "[]", "a list of methods"),
        ("dsm", "'dsm'", "a list of methods"),
    ],
)
def test_a_list_of_methods_must_name_known_methods_once(
    tmp_path: Path, key: str, names: Any, shown: str, expected: str
) -> None:
    message = error_message(tmp_path, yaml.safe_dump(changed(key, names)))
    if expected == "any of ":
        prefix = "" if key == "methods" else MNIST_PREFIX
        expected += ", ".join(name for name in ALL_METHODS if prefix + name in RAW)
    assert message == f"{key}: {shown} is not accepted: expected {expected}"


def test_the_error_for_two_mistakes_shows_one_and_counts_the_other(tmp_path: Path) -> None:
    raw = changed("mog.train_points", 0) | {"seed": -1}
    assert error_message(tmp_path, yaml.safe_dump(raw)).endswith("(and 1 more)")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("seed: 1\n" + TEXT, "duplicate key seed"),
        (text_with_sigma("0.5\n  sigma: 0.3"), "duplicate key sigma"),
        ("a: [", "not readable as YAML"),
        ("a: b: c", "not readable as YAML"),
        ("\ta: 1", "not readable as YAML"),
        ("? [a]\n: 1", "not readable as YAML"),
        ("a: !!python/object/apply:os.getcwd []", "not readable as YAML"),
        ("\x00", "not readable as YAML"),
        ("", "expected named keys with values, found None"),
        ("[1]", "expected named keys with values, found [1]"),
        ("1: 2", "expected named keys with values, found {1: 2}"),
    ],
)
def test_a_file_without_a_valid_yaml_mapping_is_rejected_in_one_line(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in error_message(tmp_path, text)


def test_the_error_for_a_duplicate_key_names_its_line(tmp_path: Path) -> None:
    assert error_message(tmp_path, TEXT + "seed: 1\n").endswith(f"duplicate key seed in line {len(TEXT.splitlines()) + 1}")


@pytest.mark.parametrize("number", ["1e-05", "1E-05", "+1e-5", "1.e-5", ".00001", "10e-6"])
def test_exponent_notation_is_read_as_a_number(tmp_path: Path, number: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(text_with_sigma(number), encoding="utf-8")
    assert configured(params.load(file), "dsm")[0]["sigma"] == pytest.approx(1e-5)


def test_the_error_for_an_unreadable_file_names_it_and_the_cause(tmp_path: Path) -> None:
    with pytest.raises(InvalidParams, match=r"nowhere\.yaml: No such file or directory$"):
        params.load(tmp_path / "nowhere.yaml")
    with pytest.raises(InvalidParams, match=r"Is a directory$"):
        params.load(tmp_path)
    (tmp_path / "latin").write_bytes(b"a: \xff")
    with pytest.raises(InvalidParams, match="not readable as YAML: 'utf-8' codec"):
        params.load(tmp_path / "latin")


def test_nonsense_at_any_key_is_rejected_in_one_line_naming_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    nonsense = itertools.cycle([None, math.nan, {"nonsense": 1}, [[[]]]])
    for key, value in zip(keys(RAW), nonsense, strict=False):
        raw = changed(key, value)
        monkeypatch.setattr(params, "read", lambda _, raw=raw: raw)
        with pytest.raises(InvalidParams) as error:
            check(ROOT / "params.yaml")
        assert f": {key}" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("committed", "load"), [(MIXTURES, mixture.load), (CLAIMS, claims.load)], ids=["mixtures", "claims"])
def test_nonsense_in_mixtures_or_claims_is_rejected_in_one_line_naming_the_key(
    committed: dict[str, Any], load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    nonsense = itertools.cycle([math.nan, {"nonsense": {}}, [[[]]], math.inf])
    # The cell of a study may contain any param with any value.
    validated = (path for path in key_paths(committed) if not {"cell", "against_cell"} & set(path[:-1]))
    for path, value in zip(validated, nonsense, strict=False):
        if path[-1] in ("cell", "against_cell"):
            value = [value]
        raw = changed(path, value, committed)
        monkeypatch.setattr(yaml_file, "read", lambda _, raw=raw: raw)
        with pytest.raises(InvalidParams) as error:
            load(Path("a.yaml"))
        # If a whole block is nonsense, the first mistake may be in a block that refers to it; its message names both.
        message = str(error.value)
        assert message.startswith("a.yaml: ") and ".".join(map(str, path)) in message and "\n" not in message


@pytest.mark.parametrize("name", ALL_METHODS)
def test_every_constructor_argument_of_a_method_is_used(name: str) -> None:
    init = constructor(name)
    used = {node.id for statement in init.body for node in ast.walk(statement) if isinstance(node, ast.Name)}
    assert {argument.arg for argument in init.args.kwonlyargs} <= used


@pytest.mark.parametrize("name", ALL_METHODS)
def test_a_method_takes_a_domain_and_keyword_arguments_without_defaults(name: str) -> None:
    arguments = constructor(name).args
    assert [argument.arg for argument in arguments.args] == ["self", "domain"]
    assert not arguments.defaults and not any(arguments.kw_defaults) and not arguments.kwarg and not arguments.vararg


@pytest.mark.parametrize("block", [*PARAMS.methods, *(MNIST_PREFIX + name for name in PARAMS.mnist.methods)])
def test_every_key_of_a_methods_block_reaches_its_constructor_or_the_training(block: str) -> None:
    settings, train = configured(PARAMS, block)
    name = block.removeprefix(MNIST_PREFIX)
    assert settings.keys() == {argument.arg for argument in constructor(name).args.kwonlyargs}
    assert train.model_dump().keys() - {"batch_size"} <= inspect.signature(fit).parameters.keys()
    perturbations = PARAMS.mnist_perturbations.model_dump()
    build(
        name,
        domain(1) if block == name else Images(side=28, colours=1, perturbations=perturbations, mixed_precision=False),
        settings,
    )


def test_all_methods_see_the_same_number_of_images() -> None:
    trainings = [configured(PARAMS, MNIST_PREFIX + name)[1] for name in PARAMS.mnist.methods]
    assert {train.steps * train.batch_size for train in trainings} == {320_000}


def test_the_error_for_an_unknown_method_block_lists_the_known_ones() -> None:
    with pytest.raises(UserError, match=r"'nothing' is no method of params\.yaml: expected one of "):
        configured(PARAMS, "nothing")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_check_reports_an_invalid_file_in_one_line_with_status_1(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump(changed("dsm.sigma", -1)), encoding="utf-8")
    done = run("-m", "stages.tools.check", str(file))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {file}: dsm.sigma: -1 is not accepted: expected greater than 0\n"


def test_check_accepts_valid_files_and_prints_only_outdated_studies() -> None:
    done = run("-m", "stages.tools.check")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(re.match(r"study \w+: outdated: ", line) for line in done.stdout.splitlines())


def test_loading_the_params_does_not_import_torch() -> None:
    done = run("-c", "import sys; from stages.config import params; params.load(); assert 'torch' not in sys.modules")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize(
    ("name", "key", "value", "message"),
    [
        ("params.yaml", "dsm.sigma", -1, "params.yaml: dsm.sigma: -1 is not accepted: expected greater than 0"),
        ("params.yaml", "mog.preset", "other", "params.yaml: mog.preset: 'other' is not accepted: expected one of "),
        ("mixtures.yaml", "ring.weights.0", -1, "mixtures.yaml: ring.weights.0: -1 is not accepted: expected greater than 0"),
        (
            "claims.yaml",
            "expected.dsm.wells",
            "yes",
            "claims.yaml: expected.dsm.wells: 'yes' is not accepted: expected a valid ",
        ),
        (
            "claims.yaml",
            "criteria.wells.turns_in",
            ["nosuch"],
            "claims.yaml: criteria.wells.turns_in: 'nosuch' is none of sigma, ",
        ),
    ],
)
def test_check_validates_params_mixtures_and_claims(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, key: str, value: Any, message: str
) -> None:
    for file in ("params.yaml", "mixtures.yaml", "claims.yaml", "studies.yaml"):
        shutil.copyfile(ROOT / file, tmp_path / file)
    (tmp_path / name).write_text(yaml.safe_dump(changed(key, value, yaml_file.read(ROOT / name))), encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    done = subprocess.run([sys.executable, "-m", "stages.tools.check"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {message}") and done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("params.yaml", "dsm.sigma"),
        ("params.yaml", "seeds"),
        ("params.yaml", "mnist_jepa_ema.train.learning_rate"),
        ("params.yaml", "mog.evaluation.reference"),
    ],
)
def test_an_experiment_changes_only_the_line_of_its_modified_value(name: str, key: str, tmp_path: Path) -> None:
    """`dvc exp run -S` rewrites the whole file, so the committed files have the format that DVC writes."""
    before = (ROOT / name).read_text(encoding="utf-8")
    path = tmp_path / name
    path.write_text(before, encoding="utf-8")
    value = look_up(yaml_file.read(path), key)
    apply_overrides(str(path), [f"{key}={[7] * len(value) if isinstance(value, list) else 7}"])
    after = path.read_text(encoding="utf-8").splitlines()
    moved = [(a, b) for a, b in zip(before.splitlines(), after, strict=True) if a != b]
    # DVC breaks a block that is too long for one line; a changed value can move the line break.
    elements = len(value) if isinstance(value, list) else 1
    assert len(moved) in (1, elements) or (len(moved) == 2 and moved[0][0].rstrip().endswith((",", ":")))
    assert [old.partition("#")[2] for old, _ in moved] == [new.partition("#")[2] for _, new in moved]


FUTURE = "from __future__ import annotations\n"
METHOD = '''"""A method."""
from __future__ import annotations
from stages.config.field_types import Encoder, Positive, View
from stages.nn.method import Method

class Own(Method):
    def __init__(self, domain, *, view: View, encoder: Encoder, scale: Positive):
        super().__init__()
'''
SECOND = "\n\nclass Second(Method):\n    def __init__(self, domain, *, scale: Positive): ...\n"
NO_METHOD = "own.py:1: expected a subclass of stages.nn.method.Method"
MISTAKES = {
    "unclosed parenthesis": (METHOD + "    def loss(", "own.py:9: '(' was never closed"),
    "missing indentation": (METHOD.replace("        super", "super"), "own.py:8: expected an indented block"),
    "null byte": (METHOD + "\0", "own.py:1: source code"),
    "invalid UTF-8": (METHOD.encode().replace(b"A method", b"A \xff"), "own.py:1: "),
    "missing package": (
        METHOD.replace(FUTURE, "import nosuch\n"),
        "own.py:2: ModuleNotFoundError: No module named 'nosuch'",
    ),
    "import of an undefined name": (
        METHOD.replace("Positive, ", "Positiv, "),
        "own.py:3: ImportError: cannot import name 'Positiv'",
    ),
    "misspelt type": (
        METHOD.replace("scale: Positive", "scale: Positiv"),
        "own.py:7: Positiv is not a type: name 'Positiv' is not defined",
    ),
    "value instead of a type": (METHOD.replace("scale: Positive", "scale: 0.5"), "own.py:7: scale: not a valid type: "),
    "call instead of a type": (METHOD.replace("scale: Positive", "scale: Positive(2)"), "own.py:7: scale: not a valid type: "),
    "type that pydantic cannot validate": (
        METHOD.replace("scale: Positive", "scale: Method"),
        "own.py:7: scale: not a valid type: ",
    ),
    "missing annotation": (METHOD.replace("scale: Positive", "scale"), "own.py:7: scale has no annotation"),
    "reserved name": (METHOD.replace("scale:", "train:"), "own.py:7: train is reserved: give the argument another name"),
    "two methods": (METHOD + SECOND, "own.py:11: expected one method per file, but Own is already one"),
    "subclass of a method": (
        METHOD + SECOND.replace("Method", "Own"),
        "own.py:11: expected one method per file, but Own is already one",
    ),
    "no class": ("x = 1\n", NO_METHOD),
    "empty file": ("", NO_METHOD),
    "other base class": (
        METHOD.replace("(Method)", "(object)"),
        NO_METHOD,
    ),
    "no constructor": ("from stages.nn.method import Method\nclass Own(Method):\n    pass\n", "own.py:2: Own has no __init__"),
    "positional argument": (METHOD.replace("*, ", ""), "own.py:7: view must follow `*`"),
    "variable keyword arguments": (METHOD.replace("scale: Positive", "**more"), "own.py:7: more must follow `*`"),
}


@pytest.fixture
def method_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The path of the file of a new method `own`, in a folder with copies of the project's methods."""
    folder = tmp_path / "stages/methods"
    folder.mkdir(parents=True)
    for file in method_blocks.METHODS.glob("*.py"):
        shutil.copyfile(file, folder / file.name)
    monkeypatch.setattr(method_blocks, "METHODS", folder)
    monkeypatch.setattr(stages.methods, "__path__", [*stages.methods.__path__, str(folder)])
    yield folder / "own.py"
    clear_caches()


def clear_caches() -> None:
    """Make the next access read the file of the method `own` again."""
    sys.modules.pop("stages.methods.own", None)
    stages.methods.__dict__.pop("own", None)
    importlib.invalidate_caches()
    linecache.clearcache()
    block_model.cache_clear()


def params_with_own_method(tmp_path: Path) -> Path:
    """Write a params.yaml that lists the method `own` and has a block for it."""
    block = {**RAW["contrastive"], "scale": 2.0}
    del block["temperature"]
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({**RAW, "methods": [*RAW["methods"], "own"], "own": block}))
    return path


@pytest.mark.parametrize("kind", ["Positive", "float", "Literal[2.0, 3.0]", "float | None"])
def test_a_method_accepts_any_type_that_pydantic_can_validate(kind: str, method_file: Path, tmp_path: Path) -> None:
    method_file.write_text(
        "from typing import Literal\n" + METHOD.replace("scale: Positive", f"scale: {kind}").replace(FUTURE, "")
    )
    assert configured(params.load(params_with_own_method(tmp_path)), "own")[0]["scale"] == 2


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_a_methods_file_is_reported_with_file_and_line(mistake: str, method_file: Path, tmp_path: Path) -> None:
    source, message = MISTAKES[mistake]
    method_file.write_text(METHOD)
    assert configured(params.load(params_with_own_method(tmp_path)), "own")[0]["scale"] == 2
    clear_caches()
    method_file.write_bytes(source if isinstance(source, bytes) else source.encode())
    with pytest.raises(InvalidParams, match=f"^stages/methods/{re.escape(message)}") as error:
        configured(params.load(params_with_own_method(tmp_path)), "own")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_an_invalid_method_file_is_ignored_unless_a_list_names_it(mistake: str, method_file: Path) -> None:
    source = MISTAKES[mistake][0]
    method_file.write_bytes(source if isinstance(source, bytes) else source.encode())
    check(ROOT / "params.yaml")
    raw = {**RAW, "methods": ["nosuch"]}
    with pytest.raises(InvalidParams, match=r"methods: 'nosuch' is not accepted: expected any of barlow_twins, ") as error:
        method_blocks.method_blocks(Path("params.yaml"), raw)
    assert "own" not in str(error.value)


def test_a_method_without_an_encoder_is_rejected_on_images(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump({**changed("mnist.methods", [*RAW["mnist"]["methods"], "dsm"]), "mnist_dsm": RAW["dsm"]}))
    with pytest.raises(
        InvalidParams, match=r"mnist\.methods: 'dsm' is not accepted: expected any of barlow_twins, contrastive, "
    ):
        check(file)
