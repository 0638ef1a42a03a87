"""The pipeline as a user runs it, at small size, from end to end."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from stages.graph import stage_graph
from stages.lock import LOCK, entries
from stages.reproduce import ELSEWHERE, other_order
from tests import small

COMPARING = {"mog_lessons", "claims", "compare", "report", "track"}
ALL_STAGES = {
    "mog_data", "mog_perturb", "mnist_data", "mnist_perturb", "mnist_contact", "mnist_baseline", *COMPARING,
    *(f"mog_{part}@{method}" for part in ("train", "evaluate", "figures", "atlas") for method in ("contrastive", "dsm")),
    *(f"mnist_{part}@{method}" for part in ("train", "evaluate", "figures", "atlas") for method in ("jepa_ema", "contrastive")),
    *(f"mnist_reconstruct{part}@jepa_ema" for part in ("", "_evaluate", "_figures", "_atlas")), "mnist_compare",
}  # fmt: skip


def read(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / name).read_text())
    return content


def test_a_cold_run_elsewhere_in_another_order_gives_equal_bytes(
    reproduced: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = small.clone(tmp_path / "another folder" / "clone ä")
    monkeypatch.chdir(other)
    order = other_order(stage_graph())
    ran = small.stages_run(small.run(other, "dvc", "repro", "--single-item", *order, **ELSEWHERE))
    assert set(ran) == ALL_STAGES and ran == order
    locks = [entries(folder / LOCK) for folder in (reproduced, other)]
    assert list(locks[0]) != list(locks[1])
    assert locks[0] == locks[1]


def test_a_second_repro_does_nothing(reproduced: Path) -> None:
    assert "Data and pipelines are up to date." in small.run(reproduced, "dvc", "repro")
    assert "Data and pipelines are up to date." in small.run(reproduced, "dvc", "status")


def test_the_fields_keep_their_contract(reproduced: Path) -> None:
    shapes = {"grid_x": (20,), "grid_y": (20,), "energy": (2, 20, 20), "log_density": (20, 20)}
    with np.load(reproduced / "reports/fields/contrastive.npz") as fields:
        assert {k: fields[k].shape for k in shapes} == shapes
        assert fields["embedding"].shape == (2, 300, 16)
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


DISTANCES = """
from pathlib import Path
import numpy as np
from stages.serving import Encoder
encoder = Encoder.load(Path("params.yaml"), Path("models/mnist/jepa_ema.safetensors"), "jepa_ema")
images, scored = np.load("data/mnist/test.npz")["images"], np.load("reports/embeddings/mnist/jepa_ema.npz")["test"]
for encoder.shifts in (encoder.shifts, 0):
    print("distance", np.abs(encoder.embed(images) - scored).max())
"""


def test_what_is_scored_and_what_is_served_are_the_same_embeddings_over_shifts(reproduced: Path) -> None:
    over_shifts, alone = map(float, re.findall(r"(?m)^distance (.*)$", small.run(reproduced, "python", "-c", DISTANCES)))
    assert over_shifts < 1e-5 and alone > 0.01


def test_the_metrics_keep_their_contract(reproduced: Path) -> None:
    contrastive = read(reproduced, "reports/metrics/mog/contrastive.json")
    assert {"heldout_loss", "collapse", "alignment", "uniformity", "structure", "clusters", "critic"} <= set(contrastive)
    assert "score" not in contrastive
    assert isinstance(contrastive["collapse"]["collapsed"], bool)
    assert len(contrastive["heldout_loss"]["values"]) == 2
    dsm = read(reproduced, "reports/metrics/mog/dsm.json")
    assert set(dsm) == {"heldout_loss", "batch_contrast", "score", "denoising", "sampling"}
    assert set(dsm["sampling"]["control_langevin"]) == {"mode_weight_tv", "escaped", "energy_distance", "sliced_wasserstein"}
    images = read(reproduced, "reports/metrics/mnist/jepa_ema.json")
    averages = {f"{f}_{a}" for f in ("precision", "recall", "f1") for a in ("macro", "weighted")} | {"accuracy"}
    for group in ("knn", "knn_raw_pixels", "knn_untrained", "knn_validation"):
        assert set(images[group]) == averages
    assert {"mse", "psnr", "ssim", "mean_image_mse", "pca16_mse"} <= set(images["reconstruction"])
    assert "reconstruction" not in read(reproduced, "reports/metrics/mnist/contrastive.json")
    assert all(len(strengths) == 3 for strengths in images["robustness"].values())


def test_every_method_of_the_params_is_in_the_table(reproduced: Path) -> None:
    table = read(reproduced, "reports/table.json")
    assert set(table["mog"]) == {"contrastive", "dsm"}
    assert set(table["mnist"]) == {"jepa_ema", "contrastive"}
    assert "| dsm |" in (reproduced / "reports/table.md").read_text()


def test_every_picture_is_there(reproduced: Path) -> None:
    figures = reproduced / "reports/figures"
    for method in ("contrastive", "dsm"):
        assert {p.name for p in (figures / "mog" / method).iterdir()} == {"landscape.png", "training.gif", "walk.gif"}
    names = {"pca.png", "pca.gif", "knn.png", "confusion.png", "mistakes.png", "neighbours.png", "robustness.png"}
    assert {p.name for p in (figures / "mnist/contrastive").iterdir()} == names
    assert {p.name for p in (figures / "mnist/jepa_ema").iterdir()} == {*names, "reconstruction"}
    names = {"reconstructions.png", "severity.png", "interpolation.gif"}
    assert {p.name for p in (figures / "mnist/jepa_ema/reconstruction").iterdir()} == names
    assert {p.name for p in (figures / "mnist").iterdir() if p.is_file()} == {
        "few_labels.png", "perturbations.png", "robustness.png",
    }  # fmt: skip
    assert {p.name for p in figures.iterdir() if p.is_file()} == {"gallery.png", "gallery.gif"}


def test_tracking_is_idempotent_and_complete(reproduced: Path) -> None:
    logged = {run.info.run_id for run in runs(reproduced, "")}
    small.run(reproduced, "python", "-m", "stages.track")
    assert {run.info.run_id for run in runs(reproduced, "")} == logged
    (parent,) = runs(reproduced, "tags.part = 'pipeline'")
    children = runs(reproduced, f"tags.mlflow.parentRunId = '{parent.info.run_id}'")
    assert {run.info.run_name for run in children} == {"mog.contrastive", "mog.dsm", "mnist.jepa_ema", "mnist.contrastive"}
    client = MlflowClient(f"sqlite:///{reproduced / 'mlflow.db'}")
    dsm = next(run for run in children if run.info.run_name == "mog.dsm")
    assert dsm.data.params["sigma"] == "0.5"
    error = read(reproduced, "reports/metrics/mog/dsm.json")["score"]["relative_fisher_error"]
    assert dsm.data.metrics["score.relative_fisher_error"] == pytest.approx(error["mean"])
    assert len(client.get_metric_history(dsm.info.run_id, "curve.dsm.loss")) == 30
    assert {a.path for a in client.list_artifacts(dsm.info.run_id)} == {"dsm.json", "landscape.png", "training.gif", "walk.gif"}


def runs(folder: Path, query: str) -> list[Any]:
    client = MlflowClient(f"sqlite:///{folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("energy-wells")
    return list(client.search_runs([experiment.experiment_id], query)) if experiment else []


def test_tracking_that_is_down_warns_and_fails_nothing(copied: Path) -> None:
    output = small.run(
        copied, "python", "-m", "stages.track", MLFLOW_TRACKING_URI="http://127.0.0.1:9", MLFLOW_HTTP_REQUEST_MAX_RETRIES="0"
    )
    assert "warning: not logged to MLflow" in output


def test_a_mistake_in_the_params_stops_a_stage_before_it_writes(copied: Path) -> None:
    before = (copied / "models/mog/dsm.safetensors").read_bytes()
    small.change_params(copied, {"contrastive": {"temperature": -1}})
    output = small.run(copied, "python", "-m", "stages.mog.train", "dsm", status=1)
    assert output == "error: params.yaml: contrastive.temperature: -1 is not accepted: expected greater than 0\n"
    assert (copied / "models/mog/dsm.safetensors").read_bytes() == before
