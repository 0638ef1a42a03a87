"""Real services on loopback: an MLflow server, its UI and model registry, and S3 storage."""

from __future__ import annotations

import http.server
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import mlflow
import numpy as np
import psutil
import pytest
from mlflow import MlflowClient
from moto.server import ThreadedMotoServer
from playwright.sync_api import sync_playwright

from stages import track
from stages.config.params import load
from stages.tools import browser
from stages.tracking import log
from stages.tracking.store import NOW, WHEN
from tests import small

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server, started as in docs/scaling.md."""
    folder, port = tmp_path_factory.mktemp("server"), small.free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/runs.db", "--artifacts-destination", str(folder / "artifacts")]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    uri = f"http://127.0.0.1:{port}"
    wait_for(uri, process)
    yield uri
    process.terminate()
    process.wait()


def wait_for(uri: str, process: subprocess.Popen[Any]) -> None:
    """Wait until MLflow's server answers."""
    for _ in range(240):
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=2):
                return
        except (urllib.error.URLError, OSError):
            assert process.poll() is None
            time.sleep(0.5)
    raise AssertionError(f"{uri} does not answer")


def test_the_ui_listens_only_on_loopback(copied: Path) -> None:
    port = small.free_port()
    ui = small.start(copied, sys.executable, "-m", "stages.tools.ui", str(port))
    try:
        wait_for(f"http://127.0.0.1:{port}", ui)
        processes = [psutil.Process(ui.pid), *psutil.Process(ui.pid).children(recursive=True)]
        listening = {
            (connection.laddr.ip, connection.laddr.port)
            for process in processes
            for connection in process.net_connections()
            if connection.status == psutil.CONN_LISTEN
        }
        assert listening == {("127.0.0.1", port)}
    finally:
        os.killpg(ui.pid, signal.SIGTERM)
        small.rest_of(ui)


def runs(client: MlflowClient, query: str) -> list[Any]:
    """The runs of the pipeline's experiment that match a query; none if there is no experiment."""
    experiment = client.get_experiment_by_name("energy-wells")
    return list(client.search_runs([experiment.experiment_id], query)) if experiment else []


def test_runs_on_a_server_are_complete_and_shown_in_its_ui(server: str, copied: Path) -> None:
    (copied / "mlflow.db").unlink()
    small.change_params(copied, {"dsm": {"sigma": 0.4}})
    output = small.run(copied, "dvc", "repro", MLFLOW_TRACKING_URI=server)
    assert "track: logged run" in output and not (copied / "mlflow.db").exists()
    client = MlflowClient(server)
    (parent,) = runs(client, "tags.part = 'pipeline'")
    children = {run.info.run_name: run for run in runs(client, f"tags.mlflow.parentRunId = '{parent.info.run_id}'")}
    assert set(children) == {
        *("mog.contrastive", "mog.dsm", "mnist.jepa_ema", "mnist.contrastive"),
        *(f"pixels.{method}" for method in ("dsm", "ncsn", "diffusion", "flow_matching")),
    }
    dsm = children["mog.dsm"]
    assert dsm.data.params["sigma"] == "0.4"
    curve = client.get_metric_history(dsm.info.run_id, "curve.dsm.loss")
    assert [point.step for point in curve] == sorted(point.step for point in curve) and len(curve) == 30
    picture = Path(client.download_artifacts(dsm.info.run_id, "landscape.png", str(copied)))
    assert picture.read_bytes() == (copied / "reports/figures/mog/dsm/landscape.png").read_bytes()
    chromium = browser.find()
    if not chromium:
        pytest.skip("no browser: chromium is not installed")
    shown = {"": ["mog.dsm", "relative_fisher_error"], "/model-metrics": ["curve.dsm.loss"], "/artifacts": ["landscape.png"]}
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"]) as window:
        page = window.new_page()
        for tab, texts in shown.items():
            page.goto(f"{server}/#/experiments/{parent.info.experiment_id}/runs/{dsm.info.run_id}{tab}")
            for text in texts:
                page.get_by_text(text).first.wait_for(state="attached", timeout=120_000)


def test_an_unresponsive_server_causes_one_warning_and_the_run_is_logged_later(server: str, copied: Path) -> None:
    class Silent(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            time.sleep(60)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Silent) as silent:
        silent.daemon_threads = True
        threading.Thread(target=silent.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{silent.server_address[1]}"
        small.change_params(copied, {"dsm": {"sigma": 0.6}})
        output = small.run(copied, "dvc", "repro", MLFLOW_TRACKING_URI=address)
        assert output.count("warning: not logged to MLflow") == 1
        # Almost all of the time is waiting: two requests with a timeout of 20 s each.
        assert json.loads((copied / "reports/costs/track.json").read_text())["seconds"] < 60
        silent.shutdown()
    output = small.run(copied, "python", "-m", "stages.track", MLFLOW_TRACKING_URI=server)
    assert "track: logged run" in output


def test_errors_of_the_server_cause_one_warning(copied: Path) -> None:
    class Broken(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(500)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Broken) as broken:
        threading.Thread(target=broken.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{broken.server_address[1]}"
        output = small.run(copied, "python", "-m", "stages.track", MLFLOW_TRACKING_URI=address)
        broken.shutdown()
    assert output.count("warning: not logged to MLflow") == 1


def test_logging_to_a_slow_server_ends_at_the_timeout(copied: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    class Slow(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(1)
            content = b'{"experiment": {"experiment_id": "1", "lifecycle_stage": "active"}, "run": {"info": {"run_id": "a"}}}'
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            with suppress(BrokenPipeError):
                self.wfile.write(content)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None: ...

    monkeypatch.chdir(copied)
    monkeypatch.setattr(log, "TIMEOUT", 5)
    monkeypatch.setenv(WHEN, NOW)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Slow) as slow:
        threading.Thread(target=slow.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{slow.server_address[1]}")
        started = time.monotonic()
        track.main(load())
        took = time.monotonic() - started
        slow.shutdown()
    assert "logging takes longer than 5 s" in capsys.readouterr().err
    assert 5 <= took < 60


def test_registering_without_a_server_ends_in_a_one_line_error(copied: Path) -> None:
    address = f"http://127.0.0.1:{small.free_port()}"
    output = small.run(copied, "python", "-m", "stages.tools.registry", status=1, MLFLOW_TRACKING_URI=address)
    assert output.splitlines()[-1].startswith("error: not registered: ") and "Traceback" not in output


EMBED = """
import sys, mlflow, numpy
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/energy-wells-digits@best")
numpy.save("embeddings.npy", model.predict(numpy.load(sys.argv[2])["images"]))
"""
"""Script that embeds images with the registered model, without the project."""


@pytest.mark.filterwarnings("ignore::UserWarning")  # MLflow warns when its loaders are imported
def test_the_best_encoder_is_registered_once_loads_anywhere_and_keeps_its_alias(
    server: str, copied: Path, tmp_path: Path
) -> None:
    small.run(copied, "python", "-m", "stages.track", MLFLOW_TRACKING_URI=server)
    output = small.run(copied, "python", "-m", "stages.tools.registry", MLFLOW_TRACKING_URI=server)
    assert "is version 1 of energy-wells-digits" in output and "version 1 is best now" in output
    output = small.run(copied, "python", "-m", "stages.tools.registry", MLFLOW_TRACKING_URI=server)
    assert "registry: version 1 is best already" in output and "is version" not in output.replace("version 1 is best", "")
    client = MlflowClient(server)
    version = client.get_model_version_by_alias("energy-wells-digits", "best")
    name = version.tags["method"]
    metrics = json.loads((copied / f"reports/metrics/mnist/{name}.json").read_text())
    assert float(version.tags["knn_validation.accuracy"]) == metrics["knn_validation"]["accuracy"]["mean"]
    assert len(runs(client, f"tags.lock_digest = '{version.tags['lock_digest']}' and tags.part = 'pipeline'")) == 1
    # The version belongs to the only run with these results, whose parent is the first state that has them.
    logged = client.get_run(version.run_id).data
    (run,) = runs(client, f"tags.results_digest = '{logged.tags['results_digest']}'")
    assert run.info.run_id == version.run_id and logged.tags["part"] == f"mnist.{name}"
    assert logged.metrics["knn_validation.accuracy"] == metrics["knn_validation"]["accuracy"]["mean"]
    parents = {run.info.run_id for run in runs(client, "tags.part = 'pipeline'")}
    assert logged.tags["mlflow.parentRunId"] in parents
    mlflow.set_tracking_uri(server)
    model = mlflow.pyfunc.load_model("models:/energy-wells-digits@best")
    assert model.metadata.signature is not None and model.input_example is not None
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # -I: neither the working directory nor PYTHONPATH leads to the project.
    small.run(elsewhere, sys.executable, "-I", "-c", EMBED, server, str(copied / "data/mnist/test.npz"))
    with np.load(copied / f"reports/embeddings/mnist/{name}.npz") as embeddings:
        np.testing.assert_allclose(np.load(elsewhere / "embeddings.npy"), embeddings["test"], atol=1e-6)
    folder = Path(mlflow.artifacts.download_artifacts("models:/energy-wells-digits@best", dst_path=str(copied / "version")))
    assert (folder / "artifacts/params.yaml").read_bytes() == (copied / "params.yaml").read_bytes()
    suffixes = {path.suffix for path in folder.rglob("*") if path.is_file()}
    assert ".safetensors" in suffixes and not suffixes & {".pkl", ".pickle", ".pt", ".pth"}
    small.change_params(copied, {"mnist": {"evaluation": {"shifts": 0}}})
    small.run(copied, "dvc", "repro", MLFLOW_TRACKING_URI=server)
    output = small.run(copied, "python", "-m", "stages.tools.registry", MLFLOW_TRACKING_URI=server)
    assert "is version 2 of energy-wells-digits" in output
    best = client.get_model_version_by_alias("energy-wells-digits", "best").version
    poor = {"encoder": {"channels": [2, 2, 2], "dim": 2}, "train": {"steps": 1, "warmup": 0}}
    contrastive = {"methods": ["contrastive"]}
    small.change_params(copied, {"mnist": contrastive, "mnist_reconstruct": contrastive, "mnist_contrastive": poor})
    small.run(copied, "dvc", "repro", MLFLOW_TRACKING_URI=server)
    output = small.run(copied, "python", "-m", "stages.tools.registry", MLFLOW_TRACKING_URI=server)
    assert "is version 3 of energy-wells-digits" in output and f"version {best} stays best" in output
    assert client.get_model_version_by_alias("energy-wells-digits", "best").version == best


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of an S3 server with the bucket `wells`."""
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    storage = ThreadedMotoServer("127.0.0.1", small.free_port())
    storage.start()
    host, port = storage.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}").create_bucket(Bucket="wells")
    yield f"http://{host}:{port}"
    storage.stop()


def test_clones_share_results_and_experiments_through_s3(bucket: str, copied: Path, tmp_path: Path) -> None:
    origin = tmp_path / "origin.git"
    small.run(tmp_path, "git", "clone", "--quiet", "--bare", str(copied), str(origin))
    small.run(copied, "git", "remote", "add", "origin", str(origin))
    small.run(copied, "dvc", "remote", "add", "--default", "shared", "s3://wells/cache")
    small.run(copied, "dvc", "remote", "modify", "shared", "endpointurl", bucket)
    small.run(copied, "git", "commit", "--quiet", "--all", "--message=remote")
    small.run(copied, "git", "push", "--quiet", "origin", "main")
    small.run(copied, "dvc", "push", "--run-cache")
    assert "in sync" in small.run(copied, "dvc", "status", "--cloud")
    small.run(copied, "dvc", "exp", "run", "--name", "sharper", "--set-param", "dsm.sigma=0.3")
    small.run(copied, "dvc", "exp", "push", "--run-cache", "origin", "sharper")

    second, third = tmp_path / "second", tmp_path / "third"
    small.run(tmp_path, "git", "clone", "--quiet", str(origin), str(second))
    small.run(second, "dvc", "pull", "--run-cache")
    assert "up to date" in small.run(second, "dvc", "status")
    assert set(small.stages_run(small.run(second, "dvc", "repro"))) <= {"track"}

    small.run(tmp_path, "git", "clone", "--quiet", str(origin), str(third))
    small.run(third, "dvc", "exp", "pull", "origin", "sharper")
    small.run(third, "dvc", "exp", "apply", "sharper")
    assert "sigma: 0.3" in (third / "params.yaml").read_text()
    assert (third / "models/mog/dsm.safetensors").read_bytes() == (copied / "models/mog/dsm.safetensors").read_bytes()
