"""Benchmarks: they run, and both sides of a ratio do the same work. No test asserts a time."""

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
from stages.nn.noise import TrainingNoise
from stages.pipeline import files
from stages.plots import animation as pipelines_animation
from stages.plots.landscape import NATS
from stages.results.targets import KNN
from tests import small

PARAMS = parameters.load(ROOT / "params.yaml").model_copy(update={"seeds": 2})
BATCH = training.settings(PARAMS).batch_size


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    """The digits that replace MNIST if its file is missing."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("empty"))
        found, source = training_images(PARAMS)
    assert found.shape == (PARAMS.mnist.train_images - PARAMS.mnist.validation_images, 28, 28)
    assert found.dtype == torch.uint8 and found.float().std() > 50
    assert "scikit-learn's digits" in source and "is missing" in source
    return found[: 4 * BATCH]


def some_row(**changes: object) -> Row:
    """A row with a measured ratio and a goal, with some fields changed."""
    row = Row(measured="a", ours="1 s", compared="b", theirs="2 s", ratio=Spread(1.5, 2, 2.5), goal=2)
    return replace(row, **changes)  # type: ignore[arg-type]


# turns


def test_spread_is_minimum_median_and_maximum() -> None:
    assert Spread.of([3, 1, 2]) == Spread(1, 2, 3)
    assert Spread.of([4, 1, 2, 3]) == Spread(1, 2.5, 4)
    assert Spread.of([5]) == Spread(5, 5, 5)


def test_speedup_is_computed_within_each_turn() -> None:
    assert speedup([1, 2, 4], [2, 8, 4]) == Spread(1, 2, 4)
    with pytest.raises(ValueError):
        speedup([1], [1, 2])


def test_sides_take_turns_in_alternating_order_after_an_untimed_turn() -> None:
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


def test_goal_is_compared_with_the_median() -> None:
    assert some_row().cells() == ["a", "1 s", "b", "2 s", "2", "1.5", "2.5", "≥ 2", "yes"]
    assert some_row(goal=2.1).cells()[-2:] == ["≥ 2.1", "**no**"]
    assert some_row(goal=None).cells()[-2:] == ["–", "–"]


def test_unmeasured_row_has_no_ratio_and_no_verdict() -> None:
    assert some_row(ratio=None).cells()[4:] == ["–", "–", "–", "≥ 2", "–"]


def test_report_has_one_table_with_command_machine_and_notes() -> None:
    text = document([some_row(note="half.")], "python -m benchmarks", machine(threads=2))
    assert text.count("|---") == len(HEADER)
    assert "`python -m benchmarks`" in text and "threads per process: 2" in text and "torch " in text
    assert "- *a*: half." in text


@pytest.mark.parametrize("value, text", [(0.8456, "0.846"), (2.0, "2"), (21.26, "21.3"), (123.4, "123"), (1543.2, "1543")])
def test_values_have_three_significant_digits(value: float, text: str) -> None:
    assert three_digits(value) == text


@pytest.mark.parametrize("seconds, text", [(0.0324, "32.4 ms"), (12.5, "12.5 s"), (599, "599 s"), (3600, "60 min")])
def test_durations_are_printed_in_ms_s_or_min(seconds: float, text: str) -> None:
    assert duration(seconds) == text


# images


def test_training_images_exclude_the_held_out_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    count = PARAMS.mnist.validation_images + 3
    images = np.arange(count * 4, dtype=np.uint8).reshape(count, 2, 2)
    files.write_arrays(tmp_path / "data/mnist/train.npz", {"images": images})
    monkeypatch.chdir(tmp_path)
    found, source = training_images(PARAMS)
    assert found.flatten().tolist() == list(range(12)) and "data/mnist/train.npz" in source


def test_pil_images_hold_the_bytes_of_the_images(images: Tensor) -> None:
    image, _ = PILDataset(images)[5]
    assert (np.asarray(image) == images[5].numpy()).all()
    assert_close(transforms.to_tensor()(image), as_images(images[5:6])[0])


# both sides of a ratio do the same work


def test_our_side_augments_the_images_as_in_training(images: Tensor) -> None:
    batch = as_images(images[:8])
    view = training.method(PARAMS).augment(batch, TrainingNoise(torch.Generator().manual_seed(0)))
    assert view.shape == batch.shape and not torch.equal(view, batch)


def test_bare_step_computes_the_loss_of_the_method_and_trains_its_networks(images: Tensor) -> None:
    method = training.method(PARAMS).train()
    clean, augmented = as_images(images[:BATCH]), torch.rand(BATCH, 1, 28, 28)
    optimizer = torch.optim.AdamW(method.parameter_groups(), lr=0.01)
    before = {key: value.clone() for key, value in method.state_dict().items()}
    loss = training.bare_step(method, optimizer, augmented, clean)
    same = training.method(PARAMS).train()
    same.augment = lambda x, source: augmented
    assert_close(loss, same.loss(clean, None)["loss"].detach())  # type: ignore[arg-type]
    changed = {key.split(".")[0] for key, value in method.state_dict().items() if (value != before[key]).any()}
    assert changed == {"encoder", "predictor", "target"}


def test_all_sides_train_networks_of_the_same_size() -> None:
    method = training.method(PARAMS)
    sizes = [sum(p.numel() for p in network.parameters()) for network in (method.encoder, method.target)]
    assert sizes[0] == sizes[1] > 0
    trained = [p for group in method.parameter_groups() for p in group["params"]]
    of_tutorial = [*method.encoder.parameters(), *method.predictor.parameters()]  # as in `tutorial.theirs`
    assert {id(p) for p in trained} == {id(p) for p in of_tutorial}


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_morphology_of_single_images_equals_that_of_the_pipeline(images: Tensor, size: int) -> None:
    batch = as_images(images[:20])
    for theirs, ours in ((transforms.eroded, erosion), (transforms.dilated, dilation)):
        one_by_one = [np.asarray(theirs(Image.fromarray(image.numpy()), size)) for image in images[:20]]
        assert_close(as_images(torch.from_numpy(np.stack(one_by_one))), ours(batch, size))


def test_torchvision_displacements_have_the_standard_deviation_of_the_params() -> None:
    settings = transforms.of(PARAMS)
    settings["elastic"] |= {"probability": 1.0, "displacement": 1.5}
    elastic = transforms.elastic(settings)
    torch.manual_seed(0)
    displacements = torch.cat([elastic.make_params([torch.zeros(1, 28, 28)])["displacement"] for _ in range(100)])
    # The centre alone: near the border, the smoothing reflects the noise.
    assert (displacements[:, 10:18, 10:18] * 28 / 2).std().item() == approx(1.5, rel=0.1)


@pytest.mark.parametrize("view", [lightly_step.view, tutorial.view])
def test_augmented_views_are_images_that_differ_from_the_clean_ones(
    view: Callable[..., Callable[..., Tensor]], images: Tensor
) -> None:
    data = PILDataset(images, view(PARAMS))
    for i in range(20):
        x, _ = data[i]
        assert x.shape == (1, 28, 28) and x.dtype == torch.float32
        assert x.min() >= 0 and x.max() <= 1 and (x != as_images(images[i : i + 1])[0]).any()


def test_lightly_loads_the_clean_and_the_augmented_view(images: Tensor) -> None:
    (clean, augmented), _, names = next(iter(lightly_step.loader(PARAMS, images, workers=0)))
    rows = [int(name) for name in names]
    assert len(set(rows)) == BATCH and clean.shape == augmented.shape
    assert_close(clean, as_images(images[rows]))


def test_both_sides_of_the_animation_draw_frames_of_equal_size() -> None:
    grid, energies, steps = animation.formation(PARAMS)
    few = pipelines_animation.training(grid, energies[:2], steps[:2], NATS, animation.NO_POINTS, "t")
    assert few[0].shape == animation.redrawn(grid, energies[1], 1).shape
    assert energies.shape == (PARAMS.mog.snapshots, PARAMS.mog.evaluation.grid, PARAMS.mog.evaluation.grid)


# the rows of each benchmark, with little work


def test_training_benchmark_has_one_row_with_a_goal(images: Tensor) -> None:
    (row,) = training.rows(PARAMS, images, steps=2, turns=1)
    assert row.ratio and row.ratio.low > 0 and row.goal == training.GOAL


def test_gpu_benchmark_of_images_runs_on_any_device(images: Tensor) -> None:
    sizes = gpu.Sizes(turns=1, steps=1, cpu_steps=1, seed_turns=1, seed_steps=1)
    many = images.repeat(4, 1, 1)
    rows = list(gpu.images_rows(PARAMS, many, sizes, torch.device("cpu")))
    assert len(many) >= gpu.LARGE * BATCH and all(row.ratio and row.ratio.low > 0 and row.goal is None for row in rows)
    assert [row.measured.split()[-1] for row in rows] == [str(BATCH)] * 4 + [str(gpu.LARGE * BATCH)] * 3


def test_memory_format_of_the_features_does_not_change_the_embeddings(images: Tensor) -> None:
    channels_last, channels_first = training.method(PARAMS).eval(), gpu.contiguous(training.method(PARAMS)).eval()
    x = as_images(images[:BATCH])
    assert_close(channels_first.encoder(x), channels_last.encoder(x))
    weight = channels_first.encoder[3].weight
    assert weight.is_contiguous() and not channels_last.encoder[3].weight.is_contiguous()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_benchmark_without_a_gpu_prints_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu.main() == 1
    assert capsys.readouterr().err == "error: params.yaml: device: 'cuda' is not accepted: this machine has no cuda\n"


def test_lightly_row_names_the_number_of_workers(images: Tensor) -> None:
    (row,) = lightly_step.rows(PARAMS, images, steps=1, batches=1, turns=1, workers=[0])
    assert row.ratio and row.ratio.low > 0 and "0 workers" in row.compared


def test_tutorial_rows_compare_whole_trainings_or_are_refused(images: Tensor) -> None:
    row, without_elastic = tutorial.rows(PARAMS, images, steps=1, batches=1, turns=1, reason="")
    assert row.ratio and row.ratio.low > 0 and row.goal == tutorial.GOAL
    assert without_elastic.ratio and without_elastic.goal is None and "without the elastic" in without_elastic.compared
    row, _ = tutorial.rows(PARAMS, images, steps=1, batches=1, turns=1, reason="no accuracy")
    assert row.ratio is None and row.ours == "refused: no accuracy"


def test_seeds_benchmark_has_a_row_per_method_and_one_for_all() -> None:
    rows = list(seeds.rows(PARAMS, ["dsm", "vicreg"], steps=1, turns=1))
    assert [row.measured.split(", ")[1] for row in rows] == ["dsm", "vicreg", "all methods"]
    assert [row.goal for row in rows] == [None, None, seeds.GOAL] and all(row.ratio for row in rows)


def test_neighbours_benchmark_agrees_with_scikit_learn() -> None:
    (row,) = neighbours.rows(points=300, dim=16, queries=40, neighbours=5, turns=1)
    assert row.ratio and row.note == "100.00 % of the predictions agree."


def test_run_benchmarks_runs_only_the_named_benchmarks(images: Tensor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.__main__.training_images", lambda params: (images, "digits"))
    rows, source = run_benchmarks(PARAMS, QUICK, ["neighbours", "animation"], cold=False)
    assert [row.measured.split()[0] for row in rows] == ["animation", "k-NN,"] and source == "digits"


def test_page_benchmark_without_a_page_is_not_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = page.rows(PARAMS, redraws=1, turns=1)
    assert len(rows) == 3 and all(row.ratio is None and row.ours.startswith("not measured: ") for row in rows)


# the accuracy of the committed run


def committed(folder: Path, accuracy: float) -> tuple[Path, Path, Path]:
    """Metrics, lock and params of a committed run with this value of all k-NN metrics."""
    metrics, lock, params = folder / "metrics.json", folder / "dvc.lock", folder / "params.yaml"
    metrics.write_text(json.dumps({"knn": {key: {"mean": accuracy} for key in tutorial.KNN_METRICS}}))
    values = {"seed": 0, "mnist_jepa_ema": {"train": {"steps": 6000}}, "mnist": {"snapshots": 30}}
    params.write_text(yaml.safe_dump(values))
    trained_with = {"seed": 0, "mnist_jepa_ema": {"train": {"steps": 6000}}, "mnist.snapshots": 30}
    entry = {"cmd": "python", "params": {"params.yaml": trained_with}, "outs": [{"path": "model", "md5": "abc", "size": 1}]}
    lock.write_text(yaml.safe_dump({"schema": "2.0", "stages": {"mnist_train@jepa_ema": entry}}, sort_keys=False))
    return metrics, lock, params


def test_run_that_reaches_the_accuracy_with_the_params_is_not_refused(tmp_path: Path) -> None:
    assert tutorial.refusal(*committed(tmp_path, KNN)) == ""


def test_run_below_the_accuracy_is_refused(tmp_path: Path) -> None:
    assert f"0.9, below {KNN}" in tutorial.refusal(*committed(tmp_path, 0.9))


def test_run_with_one_metric_below_the_target_is_refused(tmp_path: Path) -> None:
    metrics, lock, params = committed(tmp_path, 0.999)
    values = {key: {"mean": 0.9 if key == "f1_macro" else 0.999} for key in tutorial.KNN_METRICS}
    metrics.write_text(json.dumps({"knn": values}))
    assert f"knn.f1_macro in {metrics} is 0.9, below {KNN}" in tutorial.refusal(metrics, lock, params)


def test_run_with_other_params_is_refused(tmp_path: Path) -> None:
    metrics, lock, params = committed(tmp_path, KNN)
    params.write_text(params.read_text().replace("6000", "3000"))
    assert "differ in mnist_jepa_ema: " in tutorial.refusal(metrics, lock, params)


def test_run_with_a_truncated_lock_entry_is_refused(tmp_path: Path) -> None:
    metrics, lock, params = committed(tmp_path, KNN)
    lock.write_text(lock.read_text().split("    outs:")[0])
    assert "differ in the training" in tutorial.refusal(metrics, lock, params)


def test_missing_run_is_refused(tmp_path: Path) -> None:
    metrics, lock, params = committed(tmp_path, KNN)
    metrics.unlink()
    assert "metrics.json is missing" in tutorial.refusal(metrics, lock, params)
    lock.unlink()
    assert "dvc.lock is missing" in tutorial.refusal(metrics, lock, params)


# the pipeline


def test_benchmark_never_reproduces_a_stale_pipeline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "DVC", ("false",))
    monkeypatch.setattr(pipeline, "_command", lambda *words: pytest.fail("ran"))
    rows = pipeline.nothing_to_do(turns=1)
    assert [row.measured for row in rows] == ["dvc status, no-op", "dvc repro, no-op"]
    assert all(row.ratio is None and "not up to date" in row.ours for row in rows)


def test_failing_command_is_not_measured() -> None:
    assert pipeline._command("true")() > 0
    with pytest.raises(subprocess.CalledProcessError):
        pipeline._command("false")()


# the edit-run loops


@pytest.fixture
def side(tmp_path: Path) -> loops.Clone:
    """A folder in place of a clone, with the claims in the file of today and in that of the earlier commit."""
    shutil.copy(ROOT / "claims.yaml", tmp_path / "claims.yaml")
    earlier = (
        "claims:\n  criteria:\n        - metric: score.relative_fisher_error\n          below: 0.1\n          figure: f.png\n"
    )
    (tmp_path / "params.yaml").write_text(earlier)
    return loops.Clone(tmp_path, (("true",),), "claims.yaml", rest=("rest",))


def record_commands(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Make clones record the commands that they should run; returns the list of these commands."""
    commands: list[tuple[str, ...]] = []

    def run(_: loops.Clone, *words: str) -> float:
        commands.append(words)
        return 1.0

    monkeypatch.setattr(loops.Clone, "run", run)
    return commands


@pytest.mark.parametrize("file", ["claims.yaml", "params.yaml"])
def test_threshold_loop_changes_nothing_but_the_threshold(
    side: loops.Clone, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    side.claims, commands = file, record_commands(monkeypatch)
    before = (side.folder / file).read_text()
    change = side.threshold()
    for value in ("0.1001", "0.1002"):
        assert change() == 1.0
        assert (side.folder / file).read_text() == before.replace("below: 0.1\n", f"below: {value}\n", 1)
    assert commands == [("dvc", "repro"), ("rest",)] * 2
    (side.folder / file).write_text("nothing: here\n")
    with pytest.raises(UserError, match="has no threshold of score"):
        change()


def test_each_experiment_has_a_new_value(side: loops.Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    commands, experiment = record_commands(monkeypatch), side.experiment()
    for _ in range(3):
        experiment()
    assert [words[-1] for words in commands[::2]] == ["dsm.sigma=0.401", "dsm.sigma=0.402", "dsm.sigma=0.403"]
    assert commands[1::2] == [("rest",)] * 3


def test_run_in_a_clone_returns_seconds_and_reports_a_failed_command(side: loops.Clone) -> None:
    assert side.run("sleep", "0.05") > 0.05
    with pytest.raises(UserError, match=r"sh -c .* ended with status 3: why"):
        side.run("sh", "-c", "echo why >&2; exit 3")


def test_costs_of_a_cold_run_are_the_cpu_seconds_of_all_stages(tmp_path: Path) -> None:
    (tmp_path / COSTS).mkdir(parents=True)
    for name in "ab":
        (tmp_path / COSTS / f"{name}.json").write_text('{"seconds": 1, "cpu_seconds": 2.5}')
    assert loops.costs(tmp_path) == 5


def test_clone_has_the_given_commit_and_can_commit(tmp_path: Path) -> None:
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
    # `make` installs nothing if these files exist.
    assert (found / ".venv/.development").exists() and (found / ".venv/bin/python").exists()


# the command line


def test_benchmark_names_and_options_are_validated(capsys: pytest.CaptureFixture[str]) -> None:
    options = arguments(["--quick", "seeds"])
    assert options.quick and options.benchmarks == ["seeds"] and options.output is None
    for argv, text in ((["speed"], ", ".join(BENCHMARKS)), (["--threads", "0"], "at least 1")):
        with pytest.raises(SystemExit):
            arguments(argv)
        assert text in capsys.readouterr().err
    assert Path("docs/benchmark.md") == OUTPUT
