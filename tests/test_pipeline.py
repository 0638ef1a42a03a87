"""The pipeline as a user runs it, at small size, from end to end."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from mlflow import MlflowClient

from tests import small

COMPARING = {"mog_lessons", "claims", "compare", "track"}
ALL_STAGES = {
    "mog_data", "mog_perturb", "mnist_data", "mnist_perturb", "mnist_contact", "mnist_baseline", *COMPARING,
    *(f"mog_{part}@{method}" for part in ("train", "evaluate", "figures") for method in ("contrastive", "dsm")),
    *(f"mnist_{part}@{method}" for part in ("train", "evaluate", "figures") for method in ("jepa_ema", "contrastive")),
    *(f"mnist_{part}@jepa_ema" for part in ("reconstruct", "reconstruct_evaluate", "reconstruct_figures")), "mnist_compare",
}  # fmt: skip


def read(folder: Path, name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / name).read_text())
    return content


def test_two_cold_runs_give_equal_bytes(reproduced: Path, tmp_path: Path) -> None:
    other = small.clone(tmp_path / "elsewhere")
    output = small.run(other, "dvc", "repro", TZ="Asia/Tokyo", LANG="C", PYTHONHASHSEED="7")
    assert small.stages_run(output) == ALL_STAGES
    assert (other / "dvc.lock").read_bytes() == (reproduced / "dvc.lock").read_bytes()


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


TIGHT = {
    "means": [[0, 0]],
    "covariances": [[[1, 0], [0, 1]]],
    "weights": [1],
    "box": {"x": [-2, 2], "y": [-2, 2]},
}


@pytest.mark.parametrize("preset", ["ring", "unequal", "tight"])
def test_the_whole_pipeline_runs_on_any_mixture(copied: Path, preset: str) -> None:
    kinds = ["contrastive", "contrastive_critic", "dsm", "jepa_masked_density"]
    changes = {m: {"train": {"steps": 20, "warmup": 5, "batch_size": 64}} for m in kinds}
    small.change_params(copied, {**changes, "methods": kinds, "mog": {"preset": preset, "presets": {"tight": TIGHT}}})
    ran = small.stages_run(small.run(copied, "dvc", "repro"))
    assert {"mog_data", "claims", "compare", *(f"mog_figures@{m}" for m in kinds)} <= ran
    assert not {name for name in ran if name.startswith("mnist_")}
    decided = read(copied, "reports/claims.json")
    assert set(decided) == set(kinds)
    assert decided["contrastive"]["batch_matters"]["verdict"] == "not applicable"
    assert (decided["jepa_masked_density"]["masked_prediction"]["verdict"] == "not applicable") == (preset != "unequal")


def test_a_new_method_is_one_file_and_its_params(copied: Path) -> None:
    (copied / "stages/methods/jepa_scaled.py").write_text(NEW_METHOD)
    block = {**yaml.safe_load((copied / "params.yaml").read_text())["contrastive"], "scale": 2.0}
    del block["temperature"]
    small.change_params(copied, {"methods": ["contrastive", "dsm", "jepa_scaled"], "jepa_scaled": block})
    ran = small.stages_run(small.run(copied, "dvc", "repro"))
    assert ran == {f"mog_{part}@jepa_scaled" for part in ("train", "evaluate", "figures")} | COMPARING
    row = read(copied, "reports/table.json")["mog"]["jepa_scaled"]
    assert row["held-out loss"]["mean"] > 0
    assert "| jepa_scaled |" in (copied / "reports/table.md").read_text()


NEW_METHOD = '''"""A method that only this test knows."""

from __future__ import annotations

from torch import Tensor

from stages.nn.draws import Draws
from stages.nn.method import Method, World
from stages.vocabulary import Encoder, Positive, View


class JepaScaled(Method):
    """Basic JEPA with a factor."""

    def __init__(self, world: World, *, view: View, encoder: Encoder, scale: Positive) -> None:
        super().__init__()
        self.perturb = world.perturbation(**view)
        self.encoder = world.encoder(**encoder)
        self.scale = scale

    def loss(self, x: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The objective."""
        return {"loss": self.scale * (self.encoder(x) - self.encoder(self.perturb(x, draws))).square().sum(-1).mean(-1)}

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings."""
        return self.encoder(x)
'''


def test_an_experiment_reruns_its_method_and_what_follows(copied: Path) -> None:
    ran = small.stages_run(small.run(copied, "dvc", "exp", "run", "--name", "sharper", "-S", "dsm.sigma=0.3"))
    assert ran == {f"mog_{part}@dsm" for part in ("train", "evaluate", "figures")} | COMPARING
    diff = json.loads(small.run(copied, "dvc", "metrics", "diff", "--json"))
    changed = diff["reports/metrics/summary.json"]
    assert {key.split(".")[1] for key in changed} == {"dsm"}
    assert json.loads(small.run(copied, "dvc", "params", "diff", "--json"))["params.yaml"]["dsm.sigma"]["new"] == 0.3
    (run,) = runs(copied, "tags.dvc_experiment = 'sharper' and tags.part = 'pipeline'")
    assert run.info.run_name == "sharper"
    assert run.data.params["mog.grid"] == "20"


def test_an_experiment_in_a_temporary_copy_logs_to_the_same_store(copied: Path) -> None:
    before = len(runs(copied, "tags.part = 'pipeline'"))
    small.run(copied, "dvc", "exp", "run", "--temp", "--name", "apart", "-S", "contrastive.temperature=0.2")
    assert len(runs(copied, "tags.part = 'pipeline'")) == before + 1
    (child,) = runs(copied, "tags.part = 'mog.contrastive' and params.temperature = '0.2'")
    assert MlflowClient(f"sqlite:///{copied / 'mlflow.db'}").list_artifacts(child.info.run_id)


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
