"""`make register`: put the best encoder of the images into MLflow's model registry.

The best one is that with the highest k-NN accuracy on the held-out training images. It becomes a version of the model
`energy-wells-DATASET`, with its signature, an input example, params.yaml and the digests by which its run is found again; an
encoder, its weights and its shifts, that is registered already is not registered twice. The alias `best` goes to it if it is
better than the version that has the alias. It loads without this project at hand:

    mlflow.pyfunc.load_model("models:/energy-wells-mnist@best").predict(images)    # bytes (N, 28, 28) to embeddings (N, D)

A version holds the code of the package, weights as safetensors, and no pickle.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.config.params import Params, read
from stages.core.errors import UserError
from stages.core.paths import PARAMS, ROOT
from stages.dag.lock import LOCK, differences, file_md5, locked_stages, outputs
from stages.dag.requirements import pinned
from stages.pipeline import artifacts, digests, files, runner
from stages.tracking.state import Run, parts
from stages.tracking.store import EXPERIMENT, be_impatient, check, tracking_uri

ALIAS = "best"
KEY = "knn_validation.accuracy"
NEEDS = ("torch", "numpy", "safetensors", "pydantic", "pyyaml", "mlflow")
"""Packages that a loaded version needs."""


def model_name(dataset: str) -> str:
    """The registered model of the encoders of a data set: accuracies on other images say nothing about which is the best."""
    return f"energy-wells-{dataset}"


def best(params: Params) -> tuple[str, float]:
    """The method on the images with the highest k-NN accuracy on held-out images, and that accuracy.

    Raises:
        UserError: no images are held out, so that nothing can be chosen without looking at the test images.
    """
    figures = {m: files.read_json(artifacts.metrics("mnist", m)) for m in params.mnist.methods}
    held_out = {m: found["knn_validation"]["accuracy"]["mean"] for m, found in figures.items() if "knn_validation" in found}
    if not held_out:
        raise UserError("mnist.validation_images is 0: which encoder is best is decided on held-out training images")
    name = max(held_out, key=lambda method: held_out[method])
    return name, held_out[name]


def main(params: Params) -> None:
    """Register the best encoder of the working directory, unless that is done."""
    # No bars for a file or two.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    be_impatient()
    check()
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    model = model_name(params.mnist.dataset)
    name, accuracy = best(params)
    weights = artifacts.weights("mnist", name)
    if not weights.exists():
        raise UserError(f"{weights} is missing: `dvc repro` or `dvc pull` brings it")
    values = read()
    stages = locked_stages(values)
    trained = outputs(stages).get(f"mnist_train@{name}", {})
    moved = differences(stages, values)
    moved += [] if file_md5(weights) == trained.get(str(weights)) else [f"{weights} is not as in {LOCK}"]
    if moved:
        raise UserError(f"{moved[0]}: `dvc repro` first")
    part = next(part for part in parts(params, stages) if part.name == f"mnist.{name}")
    tags = {
        "method": name,
        "images": params.mnist.title,
        KEY: f"{accuracy:.6g}",
        "lock_digest": digests.of_content(stages),
        "encoder_digest": digests.of_content([stages[f"mnist_train@{name}"]["outs"], params.mnist.evaluation.shifts]),
    }
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    mlflow.set_tracking_uri(tracking_uri())
    try:
        client = mlflow.MlflowClient()
        version = _registered(client, model, tags["encoder_digest"])
        version = version or _register(client, model, _run(client, part), name, weights, tags)
        _crown(client, model, version, accuracy)
    except (MlflowException, SQLAlchemyError) as error:
        raise UserError(f"not registered: {' '.join(str(error).split())[:300]}") from None


def _run(client: Any, part: Run) -> str:
    """The run of the method with the results that are here."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    query = f"tags.results_digest = '{part.tags['results_digest']}' and tags.part = '{part.name}'"
    found = experiment and client.search_runs([experiment.experiment_id], query)
    if not found:
        raise UserError("this state of the pipeline is not logged: `make track` first")
    return str(found[0].info.run_id)


def _registered(client: Any, model: str, encoder_digest: str) -> str | None:
    """The version that gives these embeddings: of these weights, over these shifts."""
    found = client.search_model_versions(f"name = '{model}'")
    return next((str(v.version) for v in found if v.tags.get("encoder_digest") == encoder_digest), None)


def _register(client: Any, model: str, run: str, name: str, weights: Path, tags: Mapping[str, str]) -> str:
    """Make a new version and return its number."""
    import mlflow
    from mlflow.models import infer_signature

    from stages.tools.serving import Encoder

    example = files.read_arrays(artifacts.data("mnist", "test"))["images"][:2]
    embeddings = Encoder.load(PARAMS, weights, name).embed(example)
    with tempfile.TemporaryDirectory() as folder, mlflow.start_run(run_id=run):
        # The file itself, where it is a link into DVC's cache.
        copy = shutil.copy(weights, folder)
        logged = mlflow.pyfunc.log_model(
            name="encoder",
            python_model=str(ROOT / "stages/tools/serving.py"),
            artifacts={"params": str(PARAMS), "weights": str(copy)},
            model_config={"method": name},
            code_paths=[str(ROOT / "stages")],
            signature=infer_signature(example, embeddings),
            input_example=example,
            pip_requirements=[pin for pin in pinned() if pin.split("==")[0] in NEEDS],
        )
    made = mlflow.register_model(logged.model_uri, model, tags=dict(tags))
    print(f"registry: {name} is version {made.version} of {model}")
    return str(made.version)


def _crown(client: Any, model: str, version: str, accuracy: float) -> None:
    """Give the alias to the version unless the one that has it is as good."""
    number = client.get_registered_model(model).aliases.get(ALIAS)
    holder = client.get_model_version(model, number) if number else None
    if holder and str(holder.version) == version:
        print(f"registry: version {version} is {ALIAS} already")
    elif holder and float(holder.tags[KEY]) >= accuracy:
        print(f"registry: version {holder.version} stays {ALIAS}, with {holder.tags[KEY]} against {accuracy:.6g}")
    else:
        client.set_registered_model_alias(model, ALIAS, version)
        print(f"registry: version {version} is {ALIAS} now, with {accuracy:.6g}")


if __name__ == "__main__":
    runner.run(main)
