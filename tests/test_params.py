"""params.yaml, mixtures.yaml, claims.yaml: every mistake is one line that says what is wrong, and every key is used."""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import itertools
import linecache
import math
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import modify_yaml

import stages.methods
from stages.config import claims, method_blocks, mixture, params, yaml_file
from stages.config.base import MNIST_PREFIX
from stages.core.errors import InvalidParams, UserError
from stages.mnist.encoder.domain import Images
from stages.nn.build import block_model, build, configured
from stages.nn.training import fit
from stages.tools.check import check
from tests.plane import domain

ROOT = Path(__file__).parent.parent
PARAMS = params.load(ROOT / "params.yaml")
RAW = params.read(ROOT / "params.yaml")
TEXT = yaml.safe_dump(RAW)
MISSING = object()
FIRST = "reference.covariances.0"
MIXTURES, CLAIMS = (yaml_file.read(ROOT / name) for name in ("mixtures.yaml", "claims.yaml"))
Load = Callable[[Path], Any]
Place = tuple[str | int, ...]


def changed(key: str | Place, value: Any, committed: dict[str, Any] = RAW) -> dict[str, Any]:
    """The committed params, or another committed file, with one key set to another value, or left out."""
    raw = copy.deepcopy(committed)
    parts = key.split(".") if isinstance(key, str) else key
    *place, last = (int(part) if isinstance(part, str) and part.isdigit() else part for part in parts)
    block: Any = raw
    for part in place:
        block = block[part]
    if value is MISSING:
        del block[last]
    else:
        block[last] = value
    return raw


def written(value: str) -> str:
    """The committed params with that text for `dsm.sigma`."""
    return yaml.safe_dump(changed("dsm.sigma", "HERE")).replace("HERE", value)


def complaint(tmp_path: Path, text: str, load: Load = check) -> str:
    """What is said of a file with that text, without the file's name."""
    file = tmp_path / "a.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidParams) as error:
        load(file)
    message = str(error.value)
    assert message.startswith(f"{file}: ") and "\n" not in message
    return message.removeprefix(f"{file}: ")


def keys(block: Any, place: str = "") -> Iterator[str]:
    """All keys of a nested block, lists being values."""
    for key, value in block.items():
        yield place + key
        if isinstance(value, dict):
            yield from keys(value, f"{place}{key}.")


def places(block: Any, place: Place = ()) -> Iterator[Place]:
    """All keys of a nested block, and the numbers of what lists hold."""
    for key, value in block.items() if isinstance(block, dict) else enumerate(block):
        yield (*place, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*place, key))


def signature(name: str) -> ast.FunctionDef:
    """The __init__ of a method's class."""
    tree = ast.parse((ROOT / f"stages/methods/{name}.py").read_text(encoding="utf-8"))
    (init,) = (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "__init__")
    return init


ON_IMAGES_TOO = {"contrastive", "jepa_basic", "jepa_ema", "jepa_pairwise", "sigreg", "vicreg"}
ALL_METHODS = sorted(file.stem for file in (ROOT / "stages/methods").glob("[!_]*.py"))


def test_the_committed_files_are_accepted_and_every_value_arrives() -> None:
    blocks = {name: configured(PARAMS, name) for name in PARAMS.blocks}
    loaded = PARAMS.model_dump(exclude={"blocks", "path"}, exclude_unset=True) | {
        name: {**settings, "train": train.model_dump()} for name, (settings, train) in blocks.items()
    }
    assert loaded == RAW
    assert {name: one.model_dump() for name, one in mixture.load(ROOT / "mixtures.yaml").items()} == MIXTURES
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
        ("mnist.dataset", "x", "mnist.dataset: 'x' is not accepted: expected one of " + ", ".join(PARAMS.mnist.datasets)),
    ],
)
def test_a_value_that_is_refused_names_key_value_and_range(tmp_path: Path, key: str, value: Any, message: str) -> None:
    assert complaint(tmp_path, yaml.safe_dump(changed(key, value))) == message


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("mog.evaluation.reference", [0, 0, 0], "at most 2 items"),
        ("mnist.validation_images", 40_000, f"at most {PARAMS.mnist.train_images // 2}, given the number of images"),
        ("mnist_reconstruct.channels", 3, "a multiple of 2"),
        ("mnist_jepa_ema.train.batch_size", 55_001, "at most 55000, the training images that are not held out"),
        ("mnist_reconstruct.train.batch_size", 55_001, "at most 55000, the training images that are not held out"),
        ("mnist.evaluation.strengths", [0.5, 1.0, 0.5], "strictly increasing values"),
        ("mnist.evaluation.strengths", [1.0, 0.5], "strictly increasing values"),
        ("mnist.evaluation.labels", [10, 100, 10], "strictly increasing values"),
        ("mnist.evaluation.labels", [10, 60_010], "at most 60000, the training images"),
        ("mnist.evaluation.retrieval_queries", 10_001, "at most 10000, given the number of images"),
        (
            "mnist_reconstruct.methods",
            ["jepa_ema", "jepa_basic"],
            "any of mnist.methods: jepa_ema, contrastive, vicreg, sigreg",
        ),
        ("mnist.evaluation.neighbours", 55_001, "at most 55000, given the number of images"),
        ("mog.evaluation.structure_points", 2001, "at most 2000, given the number of points"),
        ("mog.evaluation.neighbours", 500, "at most 499, given the number of points"),
        ("mog.evaluation.readout_neighbours", 5001, "at most 5000, given the number of points"),
        ("mog.evaluation.grid", 9, "greater than or equal to 10"),
    ],
)
def test_a_world_that_does_not_fit_together_is_refused(tmp_path: Path, key: str, value: Any, expected: str) -> None:
    message = complaint(tmp_path, yaml.safe_dump(changed(key, value)))
    assert message.startswith(f"{key}: ") and " is not accepted: " in message and expected in message


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        (FIRST, [[1, 2], [2, 1]], "a symmetric, positive definite matrix"),
        (FIRST, [[1, 0.8], [0.7, 1]], "a symmetric, positive definite matrix"),
        (FIRST, [[-1, 0], [0, -1]], "a symmetric, positive definite matrix"),
        (FIRST, [[1, 1], [1, 1]], "a symmetric, positive definite matrix"),
        (FIRST, [[1e-30, 0], [0, 1]], "a standard deviation of at least 1.8e-06 in every direction, since box.y extends to 15"),
        (FIRST, [[1, 0.8]], "at least 2 items"),
        (f"{FIRST}.0", [1, 0.8, 0], "at most 2 items"),
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
def test_a_mixture_that_does_not_fit_together_is_refused(tmp_path: Path, key: str, value: Any, expected: str) -> None:
    message = complaint(tmp_path, yaml.safe_dump(changed(key, value, MIXTURES)), mixture.load)
    assert message.startswith(f"{key}: ") and " is not accepted: " in message and expected in message


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("criteria.wells.decided_by.0.below", 0.5, "either below or above"),
        ("criteria.wells.decided_by.0.study", "batch", "both study and cell, or neither"),
        ("criteria.wells.decided_by.0.against_cell", {"dsm.sigma": 1}, "a study"),
        ("criteria.ema_keeps_rank.decided_by.0.against", "heldout_loss", "either against or against_cell"),
        ("criteria.learns_score.decided_by.0.relative", True, "against or against_cell"),
        ("criteria.wells.decided_by", [], "at least 1 item"),
        ("expected.dsm.is_best", True, "any of criteria: batch_matters, bimodal_dependencies"),
        ("expected_label.dsm.is_best", "best", "any of expected.dsm: "),
    ],
)
def test_claims_that_do_not_fit_together_are_refused(tmp_path: Path, key: str, value: Any, expected: str) -> None:
    message = complaint(tmp_path, yaml.safe_dump(changed(key, value, CLAIMS)), claims.load)
    assert message.startswith(f"{key}: ") and " is not accepted: " in message and expected in message


def test_the_chosen_mixture_is_one_that_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert mixture.chosen(PARAMS.mog) == mixture.load()[PARAMS.mog.preset]
    with pytest.raises(InvalidParams) as error:
        mixture.chosen(PARAMS.mog.model_copy(update={"preset": "other"}))
    expected = f"expected one of {', '.join(MIXTURES)}, as in mixtures.yaml"
    assert str(error.value) == f"params.yaml: mog.preset: 'other' is not accepted: {expected}"


@pytest.mark.parametrize(
    ("key", "meant"),
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
def test_an_unknown_key_is_refused_with_the_one_that_was_meant(tmp_path: Path, key: str, meant: str | None) -> None:
    assert_unknown(complaint(tmp_path, yaml.safe_dump(changed(key, 1))), key, meant)


@pytest.mark.parametrize(
    ("committed", "load", "key", "meant"),
    [
        (MIXTURES, mixture.load, "reference.mean", "means"),
        (MIXTURES, mixture.load, "reference.box.z", None),
        (CLAIMS, claims.load, "criterion", "criteria"),
        (CLAIMS, claims.load, "criteria.wells.decide_by", "decided_by"),
        (CLAIMS, claims.load, "criteria.wells.decided_by.0.bellow", "below"),
    ],
)
def test_an_unknown_key_of_mixtures_or_claims_is_refused_with_the_one_that_was_meant(
    tmp_path: Path, committed: dict[str, Any], load: Load, key: str, meant: str | None
) -> None:
    assert_unknown(complaint(tmp_path, yaml.safe_dump(changed(key, 1, committed)), load), key, meant)


def assert_unknown(message: str, key: str, meant: str | None) -> None:
    """A message says that there is no such key, and which one was meant."""
    assert message.startswith(f"{key}: 1 is not accepted: there is no such key; ")
    assert message.endswith(f"did you mean {meant}?") if meant else "; expected " in message


def test_a_misspelt_key_is_called_misspelt_and_not_missing(tmp_path: Path) -> None:
    raw = changed("dsm.sigma", MISSING)
    raw["dsm"]["sgima"] = 0.5
    assert complaint(tmp_path, yaml.safe_dump(raw)).startswith("dsm.sgima: 0.5 is not accepted: there is no such key")


@pytest.mark.parametrize(
    "key", ["seed", "mog.evaluation.grid", "dsm", "dsm.sigma", "dsm.train.warmup", "mnist_jepa_ema", "langevin"]
)
def test_a_missing_key_is_named(tmp_path: Path, key: str) -> None:
    assert complaint(tmp_path, yaml.safe_dump(changed(key, MISSING))) == f"{key}: this key is missing"


@pytest.mark.parametrize(
    ("committed", "load", "key"),
    [
        (MIXTURES, mixture.load, "ring.box"),
        (MIXTURES, mixture.load, "unequal.box.y"),
        (CLAIMS, claims.load, "words"),
        (CLAIMS, claims.load, "criteria.wells.statement"),
        (CLAIMS, claims.load, "criteria.wells.decided_by.1.reason"),
    ],
)
def test_a_missing_key_of_mixtures_or_claims_is_named(tmp_path: Path, committed: dict[str, Any], load: Load, key: str) -> None:
    assert complaint(tmp_path, yaml.safe_dump(changed(key, MISSING, committed)), load) == f"{key}: this key is missing"


@pytest.mark.parametrize("key", ["methods", "mnist", "mnist.methods", "mog", "mnist_perturbations.affine"])
def test_a_missing_block_or_list_of_methods_is_named(tmp_path: Path, key: str) -> None:
    assert complaint(tmp_path, yaml.safe_dump(changed(key, MISSING))).startswith(key)


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
def test_a_list_of_methods_holds_known_names_once(tmp_path: Path, key: str, names: Any, shown: str, expected: str) -> None:
    message = complaint(tmp_path, yaml.safe_dump(changed(key, names)))
    if expected == "any of ":
        prefix = "" if key == "methods" else MNIST_PREFIX
        expected += ", ".join(name for name in ALL_METHODS if prefix + name in RAW)
    assert message == f"{key}: {shown} is not accepted: expected {expected}"


def test_of_two_mistakes_one_is_shown_and_the_other_counted(tmp_path: Path) -> None:
    raw = changed("mog.train_points", 0) | {"seed": -1}
    assert complaint(tmp_path, yaml.safe_dump(raw)).endswith("(and 1 more)")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\n" + TEXT, "duplicate key seed"),
        (written("0.5\n  sigma: 0.3"), "duplicate key sigma"),
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
def test_a_file_that_is_no_yaml_mapping_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in complaint(tmp_path, text)


def test_a_key_that_stands_twice_is_found_by_its_line(tmp_path: Path) -> None:
    assert complaint(tmp_path, TEXT + "seed: 1\n").endswith(f"duplicate key seed in line {len(TEXT.splitlines()) + 1}")


@pytest.mark.parametrize("number", ["1e-05", "1E-05", "+1e-5", "1.e-5", ".00001", "10e-6"])
def test_a_number_may_be_written_with_an_exponent_as_dvc_writes_it(tmp_path: Path, number: str) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(written(number), encoding="utf-8")
    assert configured(params.load(file), "dsm")[0]["sigma"] == pytest.approx(1e-5)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidParams, match=r"nowhere\.yaml: No such file or directory$"):
        params.load(tmp_path / "nowhere.yaml")
    with pytest.raises(InvalidParams, match=r"Is a directory$"):
        params.load(tmp_path)
    (tmp_path / "latin").write_bytes(b"a: \xff")
    with pytest.raises(InvalidParams, match="not readable as YAML: 'utf-8' codec"):
        params.load(tmp_path / "latin")


def test_a_nonsensical_value_under_any_key_is_refused_in_one_line_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    nonsense = itertools.cycle([None, math.nan, {"nonsense": 1}, [[[]]]])
    for key, value in zip(keys(RAW), nonsense, strict=False):
        raw = changed(key, value)
        monkeypatch.setattr(params, "read", lambda _, raw=raw: raw)
        with pytest.raises(InvalidParams) as error:
            check(ROOT / "params.yaml")
        assert f": {key}" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize(("committed", "load"), [(MIXTURES, mixture.load), (CLAIMS, claims.load)], ids=["mixtures", "claims"])
def test_nonsense_in_any_place_of_mixtures_and_claims_is_refused_in_one_line_that_names_it(
    committed: dict[str, Any], load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    nonsense = itertools.cycle([math.nan, {"nonsense": {}}, [[[]]], math.inf])
    # In the cells of a study stands what is a param there.
    given = (place for place in places(committed) if not {"cell", "against_cell"} & set(place[:-1]))
    for place, value in zip(given, nonsense, strict=False):
        if place[-1] in ("cell", "against_cell"):
            value = [value]
        raw = changed(place, value, committed)
        monkeypatch.setattr(yaml_file, "read", lambda _, raw=raw: raw)
        with pytest.raises(InvalidParams) as error:
            load(Path("a.yaml"))
        # Where a whole block is nonsense, the first mistake may be in one that refers to it, which names both.
        said = str(error.value)
        assert said.startswith("a.yaml: ") and ".".join(map(str, place)) in said and "\n" not in said


@pytest.mark.parametrize("name", ALL_METHODS)
def test_every_key_of_a_method_is_used(name: str) -> None:
    init = signature(name)
    used = {node.id for statement in init.body for node in ast.walk(statement) if isinstance(node, ast.Name)}
    assert {argument.arg for argument in init.args.kwonlyargs} <= used


@pytest.mark.parametrize("name", ALL_METHODS)
def test_a_method_takes_a_world_and_keywords_without_defaults(name: str) -> None:
    arguments = signature(name).args
    assert [argument.arg for argument in arguments.args] == ["self", "domain"]
    assert not arguments.defaults and not any(arguments.kw_defaults) and not arguments.kwarg and not arguments.vararg


@pytest.mark.parametrize("block", [*PARAMS.methods, *(MNIST_PREFIX + name for name in PARAMS.mnist.methods)])
def test_every_key_of_a_methods_block_goes_into_the_method_or_the_training(block: str) -> None:
    settings, train = configured(PARAMS, block)
    name = block.removeprefix(MNIST_PREFIX)
    assert settings.keys() == {argument.arg for argument in signature(name).args.kwonlyargs}
    assert train.model_dump().keys() - {"batch_size"} <= inspect.signature(fit).parameters.keys()
    perturbations = PARAMS.mnist_perturbations.model_dump()
    build(name, domain(1) if block == name else Images(perturbations=perturbations, mixed_precision=False), settings)


def test_a_block_that_is_not_there_is_asked_for_in_vain() -> None:
    with pytest.raises(UserError, match=r"'nothing' is no method of params\.yaml: expected one of "):
        configured(PARAMS, "nothing")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def test_on_the_command_line_a_mistake_is_one_line_and_status_one(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(yaml.safe_dump(changed("dsm.sigma", -1)), encoding="utf-8")
    done = run("-m", "stages.tools.check", str(file))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: {file}: dsm.sigma: -1 is not accepted: expected greater than 0\n"


def test_on_the_command_line_good_files_pass_in_silence() -> None:
    done = run("-m", "stages.tools.check")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_builds_no_method_reads_the_params_without_torch() -> None:
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
    ],
)
def test_on_the_command_line_all_three_files_are_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, key: str, value: Any, message: str
) -> None:
    for file in ("params.yaml", "mixtures.yaml", "claims.yaml"):
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
        ("mixtures.yaml", "ring.box.x"),
    ],
)
def test_an_experiment_with_another_number_changes_that_line_of_the_file(name: str, key: str, tmp_path: Path) -> None:
    """DVC writes the whole file anew, so it lies in the repository in the form in which DVC writes it."""
    before = (ROOT / name).read_text(encoding="utf-8")
    path = tmp_path / name
    path.write_text(before, encoding="utf-8")
    *groups, last = key.split(".")
    with modify_yaml(str(path)) as content:
        block = content
        for group in groups:
            block = block[group]
        block[last] = [-9, 9] if isinstance(block[last], list) else 7
    after = path.read_text(encoding="utf-8").splitlines()
    moved = [(a, b) for a, b in zip(before.splitlines(), after, strict=True) if a != b]
    # A block on one line that is too long for DVC has a second one, to which its end may move.
    assert len(moved) == 1 or (len(moved) == 2 and moved[0][0].rstrip().endswith((",", ":")))
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
OTHER = "\n\nclass Second(Method):\n    def __init__(self, domain, *, scale: Positive): ...\n"
NO_METHOD = "own.py:1: expected a subclass of stages.nn.method.Method"
MISTAKES = {
    "unfinished": (METHOD + "    def loss(", "own.py:9: '(' was never closed"),
    "not indented": (METHOD.replace("        super", "super"), "own.py:8: expected an indented block"),
    "a null byte": (METHOD + "\0", "own.py:1: source code"),
    "no UTF-8": (METHOD.encode().replace(b"A method", b"A \xff"), "own.py:1: "),
    "a package that there is not": (
        METHOD.replace(FUTURE, "import nosuch\n"),
        "own.py:2: ModuleNotFoundError: No module named 'nosuch'",
    ),
    "an import of nothing": (METHOD.replace("Positive, ", "Positiv, "), "own.py:3: ImportError: cannot import name 'Positiv'"),
    "misspelt": (
        METHOD.replace("scale: Positive", "scale: Positiv"),
        "own.py:7: Positiv is not a type: name 'Positiv' is not defined",
    ),
    "a value": (METHOD.replace("scale: Positive", "scale: 0.5"), "own.py:7: scale: not a valid type: "),
    "what is called": (METHOD.replace("scale: Positive", "scale: Positive(2)"), "own.py:7: scale: not a valid type: "),
    "a class of its own": (METHOD.replace("scale: Positive", "scale: Method"), "own.py:7: scale: not a valid type: "),
    "no annotation": (METHOD.replace("scale: Positive", "scale"), "own.py:7: scale has no annotation"),
    "train": (METHOD.replace("scale:", "train:"), "own.py:7: train is reserved: give the argument another name"),
    "two classes": (METHOD + OTHER, "own.py:11: expected one method per file, but Own is already one"),
    "derived": (METHOD + OTHER.replace("Method", "Own"), "own.py:11: expected one method per file, but Own is already one"),
    "none": ("x = 1\n", NO_METHOD),
    "empty": ("", NO_METHOD),
    "another base": (
        METHOD.replace("(Method)", "(object)"),
        NO_METHOD,
    ),
    "no __init__": ("from stages.nn.method import Method\nclass Own(Method):\n    pass\n", "own.py:2: Own has no __init__"),
    "no star": (METHOD.replace("*, ", ""), "own.py:7: view must follow `*`"),
    "any arguments": (METHOD.replace("scale: Positive", "**more"), "own.py:7: more must follow `*`"),
}


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file of a method of one's own, beside those that there are."""
    folder = tmp_path / "stages/methods"
    folder.mkdir(parents=True)
    for file in method_blocks.METHODS.glob("*.py"):
        shutil.copyfile(file, folder / file.name)
    monkeypatch.setattr(method_blocks, "METHODS", folder)
    monkeypatch.setattr(stages.methods, "__path__", [*stages.methods.__path__, str(folder)])
    yield folder / "own.py"
    forget()


def forget() -> None:
    """Have the method of one's own read anew."""
    sys.modules.pop("stages.methods.own", None)
    stages.methods.__dict__.pop("own", None)
    importlib.invalidate_caches()
    linecache.clearcache()
    block_model.cache_clear()


def with_own(tmp_path: Path) -> Path:
    block = {**RAW["contrastive"], "scale": 2.0}
    del block["temperature"]
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({**RAW, "methods": [*RAW["methods"], "own"], "own": block}))
    return path


@pytest.mark.parametrize("kind", ["Positive", "float", "Literal[2.0, 3.0]", "float | None"])
def test_a_method_takes_any_type_that_pydantic_can_check(kind: str, own: Path, tmp_path: Path) -> None:
    own.write_text("from typing import Literal\n" + METHOD.replace("scale: Positive", f"scale: {kind}").replace(FUTURE, ""))
    assert configured(params.load(with_own(tmp_path)), "own")[0]["scale"] == 2


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_of_a_methods_author_is_one_line_with_file_and_line(mistake: str, own: Path, tmp_path: Path) -> None:
    source, said = MISTAKES[mistake]
    own.write_text(METHOD)
    assert configured(params.load(with_own(tmp_path)), "own")[0]["scale"] == 2
    forget()
    own.write_bytes(source if isinstance(source, bytes) else source.encode())
    with pytest.raises(InvalidParams, match=f"^stages/methods/{re.escape(said)}") as error:
        configured(params.load(with_own(tmp_path)), "own")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_file_that_no_list_names_stops_nothing(mistake: str, own: Path) -> None:
    source = MISTAKES[mistake][0]
    own.write_bytes(source if isinstance(source, bytes) else source.encode())
    check(ROOT / "params.yaml")
    raw = {**RAW, "methods": ["nosuch"]}
    with pytest.raises(InvalidParams, match=r"methods: 'nosuch' is not accepted: expected any of contrastive, ") as error:
        method_blocks.method_blocks(Path("params.yaml"), raw)
    assert "own" not in str(error.value)


def test_a_method_without_an_encoder_is_refused_on_the_images(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text(yaml.safe_dump({**changed("mnist.methods", [*RAW["mnist"]["methods"], "dsm"]), "mnist_dsm": RAW["dsm"]}))
    with pytest.raises(InvalidParams, match=r"mnist\.methods: 'dsm' is not accepted: expected any of contrastive, jepa_basic"):
        check(file)
