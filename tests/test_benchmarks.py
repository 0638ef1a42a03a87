"""The benchmarks run, and both sides of a ratio do the same work. No time is asserted."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from pytest import approx
from torch import Tensor
from torch.testing import assert_close

from benchmarks import animation, gpu, lightly_step, loops, neighbours, page, pipeline, seeds, training, transforms, tutorial
from benchmarks.__main__ import BENCHMARKS, OUTPUT, QUICK, arguments, run_benchmarks
from benchmarks.images import PILDataset, training_images
from benchmarks.report import HEADER, Row, document, duration, machine, three_digits
from benchmarks.turns import Spread, speedup, take_turns
from stages.config import params as parameters
from stages.core.errors import UserError
from stages.core.paths import COSTS, ROOT
from stages.mnist.images.transforms import dilation, erosion
from stages.nn.conv import as_images
from stages.pipeline import files
from stages.plots import animation as pipelines_animation
from stages.results.targets import KNN
from tests import small

PARAMS = parameters.load(ROOT / "params.yaml").model_copy(update={"seeds": 2})
BATCH = training.settings(PARAMS).batch_size


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    """Digits as they are taken where MNIST is missing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("empty"))
        found, source = training_images(PARAMS)
    assert found.shape == (PARAMS.mnist.train_images - PARAMS.mnist.validation_images, 28, 28)
    assert found.dtype == torch.uint8 and found.float().std() > 50
    assert "scikit-learn's digits" in source and "is missing" in source
    return found[: 4 * BATCH]


def some_row(**changes: object) -> Row:
    row = Row(measured="a", ours="1 s", compared="b", theirs="2 s", ratio=Spread(1.5, 2, 2.5), goal=2)
    return replace(row, **changes)  # type: ignore[arg-type]


# turns


def test_a_spread_is_minimum_median_and_maximum() -> None:
    assert Spread.of([3, 1, 2]) == Spread(1, 2, 3)
    assert Spread.of([4, 1, 2, 3]) == Spread(1, 2.5, 4)
    assert Spread.of([5]) == Spread(5, 5, 5)


def test_the_ratio_is_taken_within_each_turn() -> None:
    assert speedup([1, 2, 4], [2, 8, 4]) == Spread(1, 2, 4)
    with pytest.raises(ValueError):
        speedup([1], [1, 2])


def test_sides_take_turns_forth_and_back_after_one_turn_that_does_not_count() -> None:
    calls = []

    def side(name: str) -> Callable[[], float]:
        def measure() -> float:
            calls.append(name)
            return float(len(calls))

        return measure

    seconds = take_turns([side("a"), side("b"), side("c")], 3)
    assert "".join(calls) == "abc" + "abc" + "cba" + "abc"
    assert seconds == [[4, 9, 10], [5, 8, 11], [6, 7, 12]]


# report


def test_a_goal_is_reached_by_the_median() -> None:
    assert some_row().cells() == ["a", "1 s", "b", "2 s", "2", "1.5", "2.5", "≥ 2", "yes"]
    assert some_row(goal=2.1).cells()[-2:] == ["≥ 2.1", "**no**"]
    assert some_row(goal=None).cells()[-2:] == ["–", "–"]


def test_what_could_not_be_measured_has_no_ratio_and_reaches_nothing() -> None:
    assert some_row(ratio=None).cells()[4:] == ["–", "–", "–", "≥ 2", "–"]


def test_the_report_is_one_table_with_its_machine_command_and_notes() -> None:
    text = document([some_row(note="half.")], "python -m benchmarks", machine(threads=2))
    assert text.count("|---") == len(HEADER)
    assert "`python -m benchmarks`" in text and "threads per process: 2" in text and "torch " in text
    assert "- *a*: half." in text


@pytest.mark.parametrize("value, text", [(0.8456, "0.846"), (2.0, "2"), (21.26, "21.3"), (123.4, "123"), (1543.2, "1543")])
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert three_digits(value) == text


@pytest.mark.parametrize("seconds, text", [(0.0324, "32.4 ms"), (12.5, "12.5 s"), (599, "599 s"), (3600, "60 min")])
def test_durations_have_a_unit_that_suits(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# images


def test_the_pipelines_images_are_taken_without_the_held_out_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = PARAMS.mnist.validation_images + 3
    images = np.arange(count * 4, dtype=np.uint8).reshape(count, 2, 2)
    files.write_arrays(tmp_path / "data/mnist/train.npz", {"images": images})
    monkeypatch.chdir(tmp_path)
    found, source = training_images(PARAMS)
    assert found.flatten().tolist() == list(range(12)) and "data/mnist/train.npz" in source


def test_pil_images_hold_the_same_bytes(images: Tensor) -> None:
    image, _ = PILDataset(images)[5]
    assert (np.asarray(image) == images[5].numpy()).all()
    assert_close(transforms.to_tensor()(image), as_images(images[5:6])[0])


# both sides do the same work


def test_the_bare_step_is_the_methods_loss_with_its_networks_and_trains_them(images: Tensor) -> None:
    made = training.method(PARAMS).train()
    clean, perturbed = as_images(images[:BATCH]), torch.rand(BATCH, 1, 28, 28)
    optimizer = torch.optim.AdamW(made.parameter_groups(), lr=0.01)
    before = {key: value.clone() for key, value in made.state_dict().items()}
    loss = training.bare_step(made, optimizer, perturbed, clean)
    same = training.method(PARAMS).train()
    same.augment = lambda x, source: perturbed
    assert_close(loss, same.loss(clean, None)["loss"].detach())  # type: ignore[arg-type]
    parts = {key.split(".")[0] for key, value in made.state_dict().items() if (value != before[key]).any()}
    assert parts == {"encoder", "predictor", "target"}


def test_all_sides_have_networks_of_the_same_size() -> None:
    made = training.method(PARAMS)
    sizes = [sum(p.numel() for p in network.parameters()) for network in (made.encoder, made.target)]
    assert sizes[0] == sizes[1] > 0
    trained = [p for group in made.parameter_groups() for p in group["params"]]
    others = [*made.encoder.parameters(), *made.predictor.parameters()]  # what the tutorial's optimizer is given
    assert {id(p) for p in trained} == {id(p) for p in others}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_morphology_image_by_image_is_that_of_the_pipeline(images: Tensor, size: int) -> None:
    batch = as_images(images[:20])
    for theirs, ours in ((transforms.eroded, erosion), (transforms.dilated, dilation)):
        one_by_one = [np.asarray(theirs(Image.fromarray(image.numpy()), size)) for image in images[:20]]
        assert_close(as_images(torch.from_numpy(np.stack(one_by_one))), ours(batch, size))


def test_displacements_have_the_deviation_that_the_params_say() -> None:
    settings = transforms.of(PARAMS)
    settings["elastic"] |= {"probability": 1.0, "displacement": 1.5}
    bend = transforms.elastic(settings)
    torch.manual_seed(0)
    draws = torch.cat([bend.make_params([torch.zeros(1, 28, 28)])["displacement"] for _ in range(100)])
    # In the middle: near the border the smoothing reflects.
    assert (draws[:, 10:18, 10:18] * 28 / 2).std().item() == approx(1.5, rel=0.1)


@pytest.mark.parametrize("view", [lightly_step.view, tutorial.view])
def test_views_are_images_and_differ_from_the_clean_ones(view: Callable[..., Callable[..., Tensor]], images: Tensor) -> None:
    data = PILDataset(images, view(PARAMS))
    for i in range(20):
        x, _ = data[i]
        assert x.shape == (1, 28, 28) and x.dtype == torch.float32
        assert x.min() >= 0 and x.max() <= 1 and (x != as_images(images[i : i + 1])[0]).any()


def test_lightly_is_fed_with_the_clean_and_the_perturbed_view(images: Tensor) -> None:
    (clean, perturbed), _, names = next(iter(lightly_step.loader(PARAMS, images, workers=0)))
    rows = [int(name) for name in names]
    assert len(set(rows)) == BATCH and clean.shape == perturbed.shape
    assert_close(clean, as_images(images[rows]))


def test_both_sides_of_the_animation_draw_frames_of_the_same_size() -> None:
    grid, energies, steps, limits = animation.formation(PARAMS)
    few = pipelines_animation.training(grid, energies[:2], steps[:2], limits, "t", "u")
    assert few[0].shape == animation.redrawn(grid, energies[1], 1, limits).shape
    assert energies.shape == (PARAMS.mog.snapshots, PARAMS.mog.evaluation.grid, PARAMS.mog.evaluation.grid)


# the rows, at tiny sizes


def test_rows_of_the_training(images: Tensor) -> None:
    (row,) = training.rows(PARAMS, images, steps=2, turns=1)
    assert row.ratio and row.ratio.low > 0 and row.goal == training.GOAL


def test_rows_of_a_gpu_run_on_any_device(images: Tensor) -> None:
    sizes = gpu.Sizes(turns=1, steps=1, cpu_steps=1, seed_turns=1, seed_steps=1)
    many = images.repeat(4, 1, 1)
    rows = list(gpu.images_rows(PARAMS, many, sizes, torch.device("cpu")))
    assert len(many) >= gpu.LARGE * BATCH and all(row.ratio and row.ratio.low > 0 and row.goal is None for row in rows)
    assert [row.measured.split()[-1] for row in rows] == [str(BATCH)] * 4 + [str(gpu.LARGE * BATCH)] * 3


def test_the_layout_of_the_features_changes_nothing_else(images: Tensor) -> None:
    made, other = training.method(PARAMS).eval(), gpu.contiguous(training.method(PARAMS)).eval()
    x = as_images(images[:BATCH])
    assert_close(other.encoder(x), made.encoder(x))
    weight = other.encoder[3].weight
    assert weight.is_contiguous() and not made.encoder[3].weight.is_contiguous()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_its_benchmark_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main() == 1
    assert capsys.readouterr().err == "error: params.yaml: device: 'cuda' is not accepted: this machine has no cuda\n"


def test_rows_of_lightly_name_the_loader(images: Tensor) -> None:
    (row,) = lightly_step.rows(PARAMS, images, steps=1, batches=1, turns=1, workers=[0])
    assert row.ratio and row.ratio.low > 0 and "0 workers" in row.compared


def test_rows_of_the_tutorial_are_the_ratio_of_both_whole_trainings_or_refused(images: Tensor) -> None:
    row, straight = tutorial.rows(PARAMS, images, steps=1, batches=1, turns=1, reason="")
    assert row.ratio and row.ratio.low > 0 and row.goal == tutorial.GOAL
    assert straight.ratio and straight.goal is None and "without the elastic" in straight.compared
    row, _ = tutorial.rows(PARAMS, images, steps=1, batches=1, turns=1, reason="no accuracy")
    assert row.ratio is None and row.ours == "refused: no accuracy"


def test_rows_of_the_seeds_are_each_methods_and_one_for_all() -> None:
    rows = list(seeds.rows(PARAMS, ["dsm", "vicreg"], steps=1, turns=1))
    assert [row.measured.split(", ")[1] for row in rows] == ["dsm", "vicreg", "all methods"]
    assert [row.goal for row in rows] == [None, None, seeds.GOAL] and all(row.ratio for row in rows)


def test_rows_of_the_neighbours_agree_with_scikit_learn() -> None:
    (row,) = neighbours.rows(points=300, dim=16, queries=40, neighbours=5, turns=1)
    assert row.ratio and row.note == "100.00 % of the predictions agree."


def test_measuring_goes_through_the_wanted_subjects(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.__main__.training_images", lambda params: (images, "some"))
    rows, source = run_benchmarks(PARAMS, QUICK, ["neighbours", "animation"], cold=False)
    assert [row.measured.split()[0] for row in rows] == ["animation", "k-NN,"] and source == "some"


def test_without_a_page_the_row_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (row,) = page.rows(PARAMS, redraws=1, turns=1)
    assert row.ratio is None and row.ours.startswith("not measured: ")


# the accuracy that is reached


def committed(folder: Path, accuracy: float) -> tuple[Path, Path, Path]:
    metrics, lock, params = folder / "metrics.json", folder / "dvc.lock", folder / "params.yaml"
    metrics.write_text(json.dumps({"knn": {key: {"mean": accuracy} for key in tutorial.KNN_METRICS}}))
    values = {"seed": 0, "mnist_jepa_ema": {"train": {"steps": 6000}}, "mnist": {"snapshots": 30}}
    params.write_text(yaml.safe_dump(values))
    trained_with = {"seed": 0, "mnist_jepa_ema": {"train": {"steps": 6000}}, "mnist.snapshots": 30}
    entry = {"cmd": "python", "params": {"params.yaml": trained_with}, "outs": [{"path": "model", "md5": "abc", "size": 1}]}
    lock.write_text(yaml.safe_dump({"schema": "2.0", "stages": {"mnist_train@jepa_ema": entry}}, sort_keys=False))
    return metrics, lock, params


def test_a_run_that_reaches_the_accuracy_with_these_params_is_not_refused(tmp_path: Path) -> None:
    assert tutorial.refusal(*committed(tmp_path, KNN)) == ""


def test_a_run_below_the_accuracy_is_refused(tmp_path: Path) -> None:
    assert f"0.9, below {KNN}" in tutorial.refusal(*committed(tmp_path, 0.9))


def test_one_figure_below_it_suffices(tmp_path: Path) -> None:
    metrics, lock, params = committed(tmp_path, 0.999)
    values = {key: {"mean": 0.9 if key == "f1_macro" else 0.999} for key in tutorial.KNN_METRICS}
    metrics.write_text(json.dumps({"knn": values}))
    assert f"knn.f1_macro in {metrics} is 0.9, below {KNN}" in tutorial.refusal(metrics, lock, params)


def test_a_run_with_other_params_is_refused(tmp_path: Path) -> None:
    metrics, lock, params = committed(tmp_path, KNN)
    params.write_text(params.read_text().replace("6000", "3000"))
    assert "differ in mnist_jepa_ema: " in tutorial.refusal(metrics, lock, params)


def test_a_run_whose_params_were_cut_off_is_refused(tmp_path: Path) -> None:
    metrics, lock, params = committed(tmp_path, KNN)
    lock.write_text(lock.read_text().split("    outs:")[0])
    assert "differ in the training" in tutorial.refusal(metrics, lock, params)


def test_a_missing_run_is_refused(tmp_path: Path) -> None:
    metrics, lock, params = committed(tmp_path, KNN)
    metrics.unlink()
    assert "metrics.json is missing" in tutorial.refusal(metrics, lock, params)
    lock.unlink()
    assert "dvc.lock is missing" in tutorial.refusal(metrics, lock, params)


# the pipeline


def test_a_stale_pipeline_is_never_reproduced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "DVC", ("false",))
    monkeypatch.setattr(pipeline, "_command", lambda *words: pytest.fail("ran"))
    rows = pipeline.nothing_to_do(turns=1)
    assert [row.measured for row in rows] == ["dvc status, no-op", "dvc repro, no-op"]
    assert all(row.ratio is None and "not up to date" in row.ours for row in rows)


def test_commands_that_are_measured_have_to_succeed() -> None:
    assert pipeline._command("true")() > 0
    with pytest.raises(subprocess.CalledProcessError):
        pipeline._command("false")()


# the loops


@pytest.fixture
def side(tmp_path: Path) -> loops.Clone:
    """A folder that stands for a clone, with the claims as they are and as they were."""
    shutil.copy(ROOT / "claims.yaml", tmp_path / "claims.yaml")
    before = (
        "claims:\n  criteria:\n        - metric: score.relative_fisher_error\n          below: 0.1\n          figure: f.png\n"
    )
    (tmp_path / "params.yaml").write_text(before)
    return loops.Clone(tmp_path, (("true",),), "claims.yaml", rest=("rest",))


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The commands that clones are told to run, instead of running them."""
    ran: list[tuple[str, ...]] = []

    def run(_: loops.Clone, *words: str) -> float:
        ran.append(words)
        return 1.0

    monkeypatch.setattr(loops.Clone, "run", run)
    return ran


@pytest.mark.parametrize("file", ["claims.yaml", "params.yaml"])
def test_a_threshold_is_changed_and_nothing_else(side: loops.Clone, monkeypatch: pytest.MonkeyPatch, file: str) -> None:
    side.claims, ran = file, recorded(monkeypatch)
    before = (side.folder / file).read_text()
    change = side.threshold()
    for value in ("0.1001", "0.1002"):
        assert change() == 1.0
        assert (side.folder / file).read_text() == before.replace("below: 0.1\n", f"below: {value}\n", 1)
    assert ran == [("dvc", "repro"), ("rest",)] * 2
    (side.folder / file).write_text("nothing: here\n")
    with pytest.raises(UserError, match="has no threshold of score"):
        change()


def test_each_experiment_has_a_value_that_was_not_run_before(side: loops.Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    ran, experiment = recorded(monkeypatch), side.experiment()
    for _ in range(3):
        experiment()
    assert [words[-1] for words in ran[::2]] == ["dsm.sigma=0.401", "dsm.sigma=0.402", "dsm.sigma=0.403"]
    assert ran[1::2] == [("rest",)] * 3


def test_the_seconds_of_a_loop_are_those_of_a_command_that_succeeds(side: loops.Clone) -> None:
    assert side.run("sleep", "0.05") > 0.05
    with pytest.raises(UserError, match=r"sh -c .* ended with status 3: why"):
        side.run("sh", "-c", "echo why >&2; exit 3")


def test_the_work_of_a_cold_run_is_the_time_of_the_processor(tmp_path: Path) -> None:
    (tmp_path / COSTS).mkdir(parents=True)
    for name in "ab":
        (tmp_path / COSTS / f"{name}.json").write_text('{"seconds": 1, "cpu_seconds": 2.5}')
    assert loops.costs(tmp_path) == 5


def test_a_clone_is_of_its_commit_and_can_commit(tmp_path: Path) -> None:
    small.run(tmp_path, "git", "init", "--quiet", "origin")
    identity = ("-c", "user.name=a", "-c", "user.email=a@b")
    for text in ("old", "new"):
        (tmp_path / "origin/file").write_text(text)
        small.run(tmp_path / "origin", "git", "add", "--all")
        small.run(tmp_path / "origin", "git", *identity, "commit", "--quiet", f"--message={text}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loops, "ROOT", tmp_path / "origin")
        found = loops.clone("HEAD~1", tmp_path / "clone")
    assert (found / "file").read_text() == "old"
    (found / "file").write_text("changed")
    small.run(found, "git", "commit", "--quiet", "--all", "--message=changed")
    # What `make` looks for before it installs anything.
    assert (found / ".venv/.development").exists() and (found / ".venv/bin/python").exists()


# the command line


def test_subjects_and_options_are_checked(capsys: pytest.CaptureFixture[str]) -> None:
    options = arguments(["--quick", "seeds"])
    assert options.quick and options.benchmarks == ["seeds"] and options.output is None
    for argv, text in ((["speed"], ", ".join(BENCHMARKS)), (["--threads", "0"], "at least 1")):
        with pytest.raises(SystemExit):
            arguments(argv)
        assert text in capsys.readouterr().err
    assert Path("docs/benchmark.md") == OUTPUT
