"""Changes by a user, on the small pipeline: another mixture, a new method, and experiments of DVC."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient

from tests import small
from tests.test_pipeline import COMPARING, read, runs
from tests.test_readme import readme_block

ONE_MODE = {
    "means": [[0, 0]],
    "covariances": [[[1, 0], [0, 1]]],
    "weights": [1],
    "box": {"x": [-2, 2], "y": [-2, 2]},
}
"""A mixture of a single mode."""
SLOW = [pytest.param(preset, marks=pytest.mark.integration) for preset in ("ring", "one_mode")]


@pytest.mark.parametrize("preset", ["unequal", *SLOW])
def test_pipeline_runs_on_other_mixtures(copied: Path, preset: str) -> None:
    methods = ["contrastive", "contrastive_critic", "dsm", "jepa_masked_density"]
    changes = {m: {"train": {"steps": 20, "warmup": 5, "batch_size": 64}} for m in methods}
    small.change_params(
        copied, {**changes, "methods": methods, "mog": {"preset": preset}, "mixtures.yaml": {"one_mode": ONE_MODE}}
    )
    ran = set(small.stages_run(small.reproduce(copied, "2")))
    assert {"mog_data", "claims", "compare", *(f"mog_figures@{m}" for m in methods)} <= ran
    assert not {name for name in ran if name.startswith("mnist_")}
    claims = read(copied, "reports/claims.json")
    assert set(claims) == set(methods)
    assert claims["contrastive"]["batch_matters"]["verdict"] == "not applicable"
    assert (claims["jepa_masked_density"]["masked_prediction"]["verdict"] == "not applicable") == (preset != "unequal")


def test_new_method_needs_only_its_file_and_its_params(copied: Path) -> None:
    # One with an encoder and a param of its own, and the one in the README.
    (copied / "stages/methods/jepa_scaled.py").write_text(NEW_METHOD)
    (copied / "stages/methods/mine.py").write_text(readme_block("python"))
    blocks = yaml.safe_load((copied / "params.yaml").read_text())
    block = {**blocks["contrastive"], "scale": 2.0}
    del block["temperature"]
    mine = {"network": blocks["dsm"]["network"], "train": blocks["dsm"]["train"]}
    changed = {"methods": ["contrastive", "dsm", "jepa_scaled", "mine"], "jepa_scaled": block, "mine": mine}
    small.change_params(copied, changed)
    ran = set(small.stages_run(small.reproduce(copied, "2")))
    new = {f"mog_{part}@{name}" for part in ("train", "evaluate", "figures") for name in ("jepa_scaled", "mine")}
    # A new file in stages/methods is a dependency of all stages that name methods.
    assert ran == new | COMPARING | {"mnist_figures"}
    table = read(copied, "reports/table.json")["mog"]
    assert table["jepa_scaled"]["held-out loss"]["mean"] > 0 and table["mine"]["relative Fisher divergence"]["mean"] > 0
    assert "| jepa_scaled |" in (copied / "reports/table.md").read_text()
    assert (copied / "reports/figures/mog/mine/landscape.png").is_file()


NEW_METHOD = '''"""A method for this test."""

from __future__ import annotations

from torch import Tensor

from stages.config.field_types import Encoder, Positive, View
from stages.nn.method import Domain, Method
from stages.nn.noise import NoiseSource


class JepaScaled(Method):
    """Basic JEPA with a factor on its loss."""

    def __init__(self, domain: Domain, *, view: View, encoder: Encoder, scale: Positive) -> None:
        super().__init__()
        self.augment = domain.augmentation(**view)
        self.encoder = domain.encoder(**encoder)
        self.scale = scale

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The objective."""
        return {"loss": self.scale * (self.encoder(x) - self.encoder(self.augment(x, source))).square().sum(-1).mean(-1)}

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings."""
        return self.encoder(x)
'''


def test_experiment_reruns_only_the_changed_method_and_the_comparisons(copied: Path) -> None:
    ran = set(small.stages_run(small.run(copied, "dvc", "exp", "run", "--name", "sharper", "-S", "dsm.sigma=0.3")))
    assert ran == {f"mog_{part}@dsm" for part in ("train", "evaluate", "figures")} | COMPARING
    diff = json.loads(small.run(copied, "dvc", "metrics", "diff", "--json"))
    changed = diff["reports/metrics/summary.json"]
    assert {key.split(".")[1] for key in changed} == {"dsm"}
    assert json.loads(small.run(copied, "dvc", "params", "diff", "--json"))["params.yaml"]["dsm.sigma"]["new"] == 0.3
    (run,) = runs(copied, "tags.dvc_experiment = 'sharper' and tags.part = 'pipeline'")
    assert run.info.run_name == "sharper"
    assert run.data.params["mog.evaluation.grid"] == "20"
    # Unchanged results are logged already, under the run of the baseline.
    (child,) = runs(copied, f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    assert child.info.run_name == "mog.dsm" and child.data.params["sigma"] == "0.3"


def test_make_restore_discards_the_changes_of_a_failed_experiment(copied: Path) -> None:
    """Git overlooks the changed value, which has the length of the old one."""
    committed = (copied / "params.yaml").read_text()
    small.run(copied, "dvc", "exp", "run", "-S", "mog.preset=no_preset", status=255)
    assert "preset: no_preset" in (copied / "params.yaml").read_text() and "preset: reference" in committed
    (copied / "stages/notes.py").write_text("mine")
    small.run(copied, "make", "restore")
    assert (copied / "params.yaml").read_text() == committed
    assert small.run(copied, "git", "status", "--porcelain") == "?? stages/notes.py\n"
    assert "up to date" in small.run(copied, "dvc", "status")


@pytest.mark.integration
def test_experiment_in_a_temporary_copy_logs_to_the_projects_store(copied: Path) -> None:
    before = len(runs(copied, "tags.part = 'pipeline'"))
    small.run(copied, "dvc", "exp", "run", "--temp", "--name", "apart", "-S", "contrastive.temperature=0.2")
    assert len(runs(copied, "tags.part = 'pipeline'")) == before + 1
    (child,) = runs(copied, "tags.part = 'mog.contrastive' and params.temperature = '0.2'")
    assert MlflowClient(f"sqlite:///{copied / 'mlflow.db'}").list_artifacts(child.info.run_id)


@pytest.mark.integration
def test_queued_experiments_appear_in_the_store_and_in_dvcs_tables(copied: Path) -> None:
    head = small.run(copied, "git", "rev-parse", "HEAD").strip()
    small.run(copied, "dvc", "exp", "run", "--queue", "-S", "dsm.sigma=range(0.3,0.5,0.1)")
    small.run(copied, "dvc", "queue", "start", "-j", "2")
    deadline = time.monotonic() + 900
    while len(small.run(copied, "dvc", "exp", "list", "--name-only").split()) < 2:
        status = small.run(copied, "dvc", "queue", "status")
        assert "Failed" not in status and time.monotonic() < deadline, status
        time.sleep(5)
    small.run(copied, "dvc", "queue", "stop")
    names = set(small.run(copied, "dvc", "exp", "list", "--name-only").split())
    logged = {run.info.run_name: run for run in runs(copied, "tags.part = 'pipeline'") if run.data.tags["dvc_experiment"]}
    assert set(logged) == names
    assert {run.data.tags["dvc_baseline"] for run in logged.values()} == {head}
    sigmas = [
        child.data.params["sigma"]
        for run in logged.values()
        for child in runs(copied, f"tags.mlflow.parentRunId = '{run.info.run_id}' and tags.part = 'mog.dsm'")
    ]
    assert sorted(map(float, sigmas)) == pytest.approx([0.3, 0.4])
    shown = small.run(copied, "dvc", "exp", "show", "--csv")
    assert all(name in shown for name in names)
    first, second = sorted(names)
    changed = json.loads(small.run(copied, "dvc", "metrics", "diff", "--json", first, second))
    assert "dsm" in json.dumps(changed["reports/metrics/summary.json"])
    assert "file://" in small.run(copied, "dvc", "plots", "diff", first, second)


@pytest.mark.integration
def test_experiment_is_logged_by_a_later_call_if_the_server_was_down(copied: Path) -> None:
    unreachable = f"http://127.0.0.1:{small.free_port()}"
    command = ["dvc", "exp", "run", "--temp", "--name", "later", "--set-param", "dsm.sigma=0.35"]
    printed = small.run(copied, *command, MLFLOW_TRACKING_URI=unreachable)
    assert "warning: not logged" in printed and "`make track` tries again" in printed
    # The temporary copy of the project no longer exists; the spool has the files to log.
    small.run(copied, "python", "-m", "stages.track")
    (run,) = runs(copied, "tags.dvc_experiment = 'later' and tags.part = 'pipeline'")
    assert run.info.run_name == "later"
    (child,) = runs(copied, f"tags.mlflow.parentRunId = '{run.info.run_id}'")
    assert child.data.params["sigma"] == "0.35"
    assert run.data.tags["dvc_baseline"] == small.run(copied, "git", "rev-parse", "HEAD").strip()
