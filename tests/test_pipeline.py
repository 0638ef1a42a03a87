"""The small pipeline, end to end: equal bytes in different environments, the files that it writes, and tracking."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from stages import compare, report
from stages.config import params
from stages.core.paths import ROOT, cost_file
from stages.dag import machine
from stages.dag.lock import LOCK, locked_stages
from stages.mnist import baseline, evaluate
from stages.mnist import compare as mnist_compare
from stages.mnist import figures as mnist_figures
from stages.tools import blocks
from stages.tools.reproduce import ELSEWHERE
from stages.tracking.store import LATER, WHEN
from tests import small

COMPARING = {"claims", "compare", "report", "track"}
PIXELS = ("dsm", "ncsn", "diffusion", "flow_matching")
ALL_STAGES = {
    "mog_data", "mog_spectrum", "mnist_data", "mnist_perturb", "mnist_baseline", "mnist_compare", "mnist_figures", *COMPARING,
    *(f"mog_{part}@{method}" for part in ("train", "evaluate", "figures") for method in ("contrastive", "dsm")),
    *(f"mnist_{part}@{method}" for part in ("train", "evaluate") for method in ("jepa_ema", "contrastive")),
    "mnist_reconstruct@jepa_ema", "mnist_reconstruct_evaluate@jepa_ema",
    "pixels_data", *(f"pixels_{part}@{method}" for part in ("train", "evaluate", "figures") for method in PIXELS),
}  # fmt: skip


def read(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / name).read_text())
    return content


def test_cold_runs_in_different_environments_and_orders_give_equal_bytes(reproduced: Path, tmp_path: Path) -> None:
    """The second run is serial, with another folder, hash seed, time zone, locale and order of stages."""
    other = small.clone(tmp_path / "another folder" / "clone ä")
    # The costliest stage starts first, so these costs reverse the alphabetical order.
    for rank, stage in enumerate(sorted(ALL_STAGES)):
        cost = other / cost_file(stage)
        cost.parent.mkdir(parents=True, exist_ok=True)
        cost.write_text(json.dumps({"cpu_seconds": 2.0**rank}))
    ran = small.stages_run(small.reproduce(other, "1", **ELSEWHERE))
    before = small.stages_run((reproduced.parent / small.PRINTED).read_text())
    assert set(ran) == set(before) == ALL_STAGES and ran != before
    assert (other / LOCK).read_text() == (reproduced / LOCK).read_text()


def test_parallel_run_records_the_facts_of_its_machine(reproduced: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(reproduced)
    recorded = json.loads(machine.FILE.read_text())
    assert recorded == machine.record(locked_stages(), machine.facts(params.load()))


def test_second_repro_runs_no_stage(reproduced: Path) -> None:
    assert "Data and pipelines are up to date." in small.run(reproduced, "dvc", "repro")
    assert "Data and pipelines are up to date." in small.run(reproduced, "dvc", "status")


def test_fields_and_embeddings_have_the_expected_shapes_and_values(reproduced: Path) -> None:
    shapes = {"grid_x": (20,), "grid_y": (20,), "energy": (2, 20, 20), "log_density": (20, 20)}
    with np.load(reproduced / "reports/fields/contrastive.npz") as fields:
        assert {k: fields[k].shape for k in shapes} == shapes
        assert fields["embedding"].shape == (2, 300, 8)
        assert np.abs(fields["energy"]).max() <= 1 + 1e-6
    with np.load(reproduced / "reports/fields/dsm.npz") as fields:
        assert {k: fields[k].shape for k in shapes} == shapes
        assert fields["score"].shape == (2, 20, 20, 2)
        assert fields["score_true"].shape == (20, 20, 2)
        assert fields["samples"].shape == (2, 60, 2)
        numeric = np.stack(np.gradient(fields["log_density"], fields["grid_y"], fields["grid_x"])[::-1], -1)
        inner = (slice(4, -4), slice(4, -4))
        assert np.corrcoef(numeric[inner].ravel(), fields["score_true"][inner].ravel())[0, 1] > 0.9
    with np.load(reproduced / "reports/embeddings/mnist/jepa_ema.npz") as embeddings:
        assert embeddings["train"].shape == (1400, 16)
        assert embeddings["test"].shape == (300, 16)
        np.testing.assert_allclose(np.linalg.norm(embeddings["test"], axis=1), 1, atol=1e-5)


SERVED_MINUS_EVALUATED = """
from pathlib import Path
import numpy as np
from stages.tools.serving import Encoder
encoder = Encoder.load(Path("params.yaml"), Path("models/mnist/jepa_ema.safetensors"), "jepa_ema")
images, evaluated = np.load("data/mnist/test.npz")["images"], np.load("reports/embeddings/mnist/jepa_ema.npz")["test"]
for encoder.shifts in (encoder.shifts, 0):
    print("distance", np.abs(encoder.embed(images) - evaluated).max())
"""


def test_served_embeddings_are_the_evaluated_means_over_shifts(reproduced: Path) -> None:
    printed = small.run(reproduced, "python", "-c", SERVED_MINUS_EVALUATED)
    with_shifts, without_shifts = map(float, re.findall(r"(?m)^distance (.*)$", printed))
    assert with_shifts < 1e-5 and without_shifts > 0.01


def test_metrics_files_have_the_expected_groups(reproduced: Path) -> None:
    contrastive = read(reproduced, "reports/metrics/mog/contrastive.json")
    assert {"heldout_loss", "collapse", "alignment", "uniformity", "structure", "clusters", "critic"} <= set(contrastive)
    assert "score" not in contrastive
    assert isinstance(contrastive["collapse"]["collapsed"], bool)
    assert len(contrastive["heldout_loss"]["values"]) == 2
    dsm = read(reproduced, "reports/metrics/mog/dsm.json")
    assert set(dsm) == {"heldout_loss", "batch_dependence", "score", "denoising", "sampling"}
    assert set(dsm["sampling"]["control_langevin"]) == {
        "mode_weight_tv",
        "escaped",
        "energy_distance",
        "mode_discrepancy",
        "sliced_wasserstein",
    }
    images = read(reproduced, "reports/metrics/mnist/jepa_ema.json")
    averages = {f"{f}_{a}" for f in ("precision", "recall", "f1") for a in ("macro", "weighted")} | {"accuracy"}
    for group in ("knn", "knn_raw_pixels", "knn_untrained", "knn_validation"):
        assert set(images[group]) == averages
    assert {"mse", "psnr", "ssim", "mean_image_mse", "pca16_mse"} <= set(images["reconstruction"])
    assert "reconstruction" not in read(reproduced, "reports/metrics/mnist/contrastive.json")
    assert all(len(strengths) == 5 for strengths in images["robustness"].values())


def test_scores_of_images_are_held_against_the_truth(reproduced: Path) -> None:
    for method in PIXELS:
        found = read(reproduced, f"reports/metrics/pixels/{method}.json")
        flow = {"likelihood"} if method in ("diffusion", "flow_matching") else set()
        assert set(found["mixture"]) == {"sigma", "score", "samples"} | flow
        assert set(found["mixture"]["samples"]) == {
            *("mode_weight_tv", "log_density_gap", "frechet_distance", "true_score", "exact")
        }
        affine = found["mixture"]["score"]["outside"]["affine_per_sigma"]
        assert all(one["mean"] < 1e-9 for one in affine.values()), "outside of the components the score is affine"
        for measured in (found["images"], found["images"]["test"], found["images"]["mixture"]):
            assert {"frechet_distance", "precision", "recall", "memorised"} <= set(measured)


def test_methods_that_do_not_beat_the_baselines_are_warned_of_in_all_places(reproduced: Path) -> None:
    found = read(reproduced, "reports/mnist_tests.json")
    # A few steps of training are not enough.
    assert [re.match(r"the k-NN accuracy of (\w+) \(0\.\d{4}\) is ", text)[1] for text in found["warnings"]] == [
        "jepa_ema", "contrastive",
    ]  # fmt: skip
    printed = (reproduced.parent / small.PRINTED).read_text()
    page = (reproduced / "reports/index.html").read_text()
    tables = [(reproduced / f"reports/{name}.md").read_text() for name in ("mnist", "table")]
    for text in found["warnings"]:
        assert f"warning: {text}\n" in printed
        assert all(f"**Warning:** {text}\n" in table for table in tables)
        assert page.count(f'<p class="warning"><strong>Warning:</strong> {text}.</p>') == 2


def test_the_guide_to_comparisons_prints_what_it_shows(reproduced: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = (ROOT / "docs/how-to/compare-embeddings.md").read_text()
    compared, listed = re.findall(r"^```python\n(.*?)^```$", guide, re.DOTALL | re.MULTILINE)
    (names,) = re.findall(r"<!-- paired (.*):start -->", guide)
    printed = small.run(reproduced, "python", "-c", compared)
    every = small.run(reproduced, "python", "-c", listed)
    monkeypatch.chdir(reproduced)
    assert printed.count("\n") == 3 and blocks.paired(*names.split()) == f"```text\n{printed}```\n"
    assert blocks.paired("jepa_ema", "no_such_method") == blocks.NOT_HERE
    # All pairs of two methods, the untrained encoder and raw pixels.
    assert every.count("'task': 'linear probe'") == every.count("\n") == 6


def test_table_has_every_method_of_the_params(reproduced: Path) -> None:
    table = read(reproduced, "reports/table.json")
    assert set(table["mog"]) == {"contrastive", "dsm"}
    assert set(table["mnist"]) == {"jepa_ema", "contrastive"}
    assert "| dsm |" in (reproduced / "reports/table.md").read_text()


def test_all_figures_and_animations_are_written(reproduced: Path) -> None:
    figures, animations = reproduced / "reports/figures", reproduced / "reports/animations"
    for method in ("contrastive", "dsm"):
        own = {"embedding.png"} if method == "contrastive" else set()
        assert names(figures / "mog" / method) == {"landscape.png", "training.gif", *own}
        assert names(animations / "mog" / method) == {"walk.gif"}
    comparisons = {"collapse.png", "conditional.png", "critics.png", "embeddings.png", "mode_weights.png", "score_errors.png"}
    spectrum = {"eigenfunctions.png", "spectrum.png", "jepa_score.png"}
    assert names(figures / "mog") == {*comparisons, *spectrum, "contrastive", "dsm"}
    per_method = {"pca.png", "confusion.png", "mistakes.png", "neighbours.png", "robustness.png"}
    assert names(figures / "mnist/contrastive") == per_method
    assert names(figures / "mnist/jepa_ema") == {*per_method, "reconstruction"}
    assert names(figures / "mnist/jepa_ema/reconstruction") == {"reconstructions.png", "severity.png"}
    assert names(animations / "mnist/contrastive") == {"pca.gif"}
    assert names(animations / "mnist/jepa_ema") == {"pca.gif", "interpolation.gif"}
    comparisons = {"few_labels.png", "knn.png", "perturbations.png", "robustness.png"}
    assert names(figures / "mnist") == {*comparisons, "contrastive", "jepa_ema"}
    assert names(figures / "pixels/diffusion") == {"samples.png", "score_errors.png", "mode_weights.png"}
    assert names(animations / "pixels/diffusion") == {"mixture.gif", "images.gif"}
    assert names(figures) == {"claims.png", "gallery.png", "gallery.gif", "mog", "mnist", "pixels"}


def names(folder: Path) -> set[str]:
    """The names of a folder's entries."""
    return {path.name for path in folder.iterdir()}


def test_tracking_is_idempotent_and_complete(reproduced: Path) -> None:
    logged = {run.info.run_id for run in runs(reproduced, "")}
    small.run(reproduced, "python", "-m", "stages.track")
    assert {run.info.run_id for run in runs(reproduced, "")} == logged
    (parent,) = runs(reproduced, "tags.part = 'pipeline'")
    children = runs(reproduced, f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert {run.info.run_name for run in children} == {
        *("mog.contrastive", "mog.dsm", "mnist.jepa_ema", "mnist.contrastive"),
        *(f"pixels.{method}" for method in PIXELS),
    }
    client = MlflowClient(f"sqlite:///{reproduced / 'mlflow.db'}")
    dsm = next(run for run in children if run.info.run_name == "mog.dsm")
    assert dsm.data.params["sigma"] == "0.5"
    error = read(reproduced, "reports/metrics/mog/dsm.json")["score"]["relative_fisher_error"]
    assert dsm.data.metrics["score.relative_fisher_error"] == pytest.approx(error["mean"])
    assert len(client.get_metric_history(dsm.info.run_id, "curve.dsm.loss")) == 30
    assert {a.path for a in client.list_artifacts(dsm.info.run_id)} == {"dsm.json", "landscape.png", "training.gif", "walk.gif"}
    whole = {"params.yaml", "claims.yaml", "mixtures.yaml", "dvc.lock", "table.md", "claims.md", "mnist.md", "gallery.png"}
    assert {a.path for a in client.list_artifacts(parent.info.run_id)} >= whole
    assert not (reproduced / ".mlflow-spool").exists() or not list((reproduced / ".mlflow-spool").iterdir())


def runs(folder: Path, query: str) -> list[Any]:
    """The MLflow runs in the clone's store that match a query."""
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("energy-wells")
    return list(client.search_runs([experiment.experiment_id], query)) if experiment else []


def waiting(folder: Path) -> list[Path]:
    """The states in the spool, which wait to be logged."""
    return list((folder / ".mlflow-spool").glob("[0-9a-f]*"))


@pytest.mark.integration
def test_deferred_logging_uploads_the_state_as_it_was_recorded(copied: Path) -> None:
    (copied / "mlflow.db").unlink()
    assert small.run(copied, "python", "-m", "stages.track", **{WHEN: LATER}, status=0) == ""
    assert len(waiting(copied)) == 1 and not (copied / "mlflow.db").exists()
    # The working directory changes before the state is logged.
    picture = copied / "reports/figures/mog/dsm/landscape.png"
    before = picture.read_bytes()
    picture.write_bytes(b"another")
    damaged = copied / ".mlflow-spool/0123456789abcdef"
    damaged.mkdir()
    (damaged / "state.json").write_text('{"whole": ')
    assert "track: " not in small.run(copied, "python", "-m", "stages.tracking.log")
    assert not waiting(copied) and [run.info.status for run in runs(copied, "tags.part = 'pipeline'")] == ["FINISHED"]
    (dsm,) = runs(copied, "tags.part = 'mog.dsm'")
    client = MlflowClient(f"sqlite:///{copied / 'mlflow.db'}")
    assert Path(client.download_artifacts(dsm.info.run_id, "landscape.png", str(copied))).read_bytes() == before
    # The next call of `track` prints the messages of the background logging, once.
    printed = [small.run(copied, "python", "-m", "stages.track", **{WHEN: LATER}, status=0) for _ in range(2)]
    assert printed[0].startswith("track: logged run ") and printed[0].count("\n") == 1 and printed[1] == ""


@pytest.mark.integration
def test_dvc_does_not_wait_for_background_logging(copied: Path) -> None:
    (copied / "mlflow.db").unlink()
    printed = small.run(copied, "dvc", "repro", "--force", "--single-item", "track", **{WHEN: ""}, status=0)
    assert "track: logging this state in the background" in printed
    deadline = time.monotonic() + 300
    while waiting(copied):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    assert [run.info.status for run in runs(copied, "tags.part = 'pipeline'")] == ["FINISHED"]
    assert len(runs(copied, "")) == 5


def test_unreachable_tracking_server_causes_only_a_warning(copied: Path) -> None:
    output = small.run(
        copied, "python", "-m", "stages.track", MLFLOW_TRACKING_URI="http://127.0.0.1:9", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0"
    )
    assert "warning: not logged to MLflow" in output


def test_data_set_without_digits_has_its_own_title_and_no_transfer_metric(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digits = params.read(copied / "params.yaml")["mnist"]["datasets"]["enlarged"]
    small.change_params(copied, {"mnist": {"datasets": {"enlarged": {**digits, "title": "Clothes", "digits": False}}}})
    monkeypatch.chdir(copied)
    changed = params.load()
    baseline.main(changed)
    for name in changed.mnist.methods:
        evaluate.main(changed, name)
    for stage in (mnist_compare, mnist_figures, compare, report):
        stage.main(changed)
    tables = (copied / "reports/mnist.md").read_text() + (copied / "reports/table.md").read_text()
    page = (copied / "reports/index.html").read_text()
    shown = re.sub(r"<(details|style|script)\b.*?</\1>", "", page, flags=re.DOTALL)
    readable = " ".join([re.sub(r"<[^>]*>", " ", shown), *re.findall('(?:alt|aria-label)="([^"]*)"', page)])
    for text in (tables, readable):
        assert "Clothes" in text
        assert not re.search(r"\b[Dd]igits?\b|MNIST", text), text
    assert "transfer" not in read(copied, "reports/metrics/mnist/jepa_ema.json")


def test_invalid_params_stop_a_stage_before_it_writes(copied: Path) -> None:
    before = (copied / "models/mog/dsm.safetensors").read_bytes()
    small.change_params(copied, {"dsm": {"sigma": -1}})
    output = small.run(copied, "python", "-m", "stages.mog.train", "dsm", status=1)
    assert output == "error: params.yaml: dsm.sigma: -1 is not accepted: expected greater than 0\n"
    assert (copied / "models/mog/dsm.safetensors").read_bytes() == before
