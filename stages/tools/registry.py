"""`make register`: register the best image encoder in MLflow's model registry.

The best encoder is that with the highest k-NN accuracy on held-out training images. It becomes a version of the model
`energy-wells-DATASET`, with a signature, an input example, params.yaml and the digests that identify its run. An encoder with
the same weights and shifts is registered only once. The alias `best` moves to the new version if its accuracy is higher than
that of the version with the alias. A version loads without this project:

    mlflow.pyfunc.load_model("models:/energy-wells-mnist@best").predict(images)

It maps byte images (N, H, W), or (N, H, W, 3) in colour, to embeddings (N, D); the signature has the side and the channels of
the data set. It contains the package's code and the weights as safetensors, and no pickle.
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
from stages.tracking.store import EXPERIMENT, check, limit_retries, tracking_uri

ALIAS = "best"
"""The alias of the version with the highest accuracy."""
KEY = "knn_validation.accuracy"
"""The tag with the accuracy by which versions are compared."""
SERVING_PACKAGES = ("torch", "numpy", "safetensors", "pydantic", "pyyaml", "mlflow")
"""Packages that a loaded version requires."""


def model_name(dataset: str) -> str:
    """The registered model of a data set; accuracies on different data sets are not comparable."""
    return f"energy-wells-{dataset}"


def best(params: Params) -> tuple[str, float]:
    """The image method with the highest k-NN accuracy on held-out training images, and that accuracy.

    Raises:
        UserError: no training images are held out, and the choice must not depend on test images.
    """
    metrics = {m: files.read_json(artifacts.metrics("mnist", m)) for m in params.mnist.methods}
    held_out = {m: found["knn_validation"]["accuracy"]["mean"] for m, found in metrics.items() if "knn_validation" in found}
    if not held_out:
        raise UserError("mnist.validation_images is 0: the best encoder is selected on held-out training images")
    name = max(held_out, key=lambda method: held_out[method])
    return name, held_out[name]


def main(params: Params) -> None:
    """Register the best encoder of the working directory, unless it is registered already.

    Raises:
        UserError: the results are missing, not up to date or not logged, or MLflow fails.
    """
    # A version has too few files for progress bars.
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    limit_retries()
    check()
    import mlflow
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    model = model_name(params.mnist.dataset)
    name, accuracy = best(params)
    weights = artifacts.weights("mnist", name)
    if not weights.exists():
        raise UserError(f"{weights} is missing: `dvc repro` makes it, `dvc pull` brings it")
    values = read()
    stages = locked_stages()
    trained = outputs(stages).get(f"mnist_train@{name}", {})
    changes = differences(stages, values)
    changes += [] if file_md5(weights) == trained.get(str(weights)) else [f"{weights} differs from {LOCK}"]
    if changes:
        raise UserError(f"{changes[0]}: run `dvc repro` first")
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
        _update_alias(client, model, version, accuracy)
    except (MlflowException, SQLAlchemyError) as error:
        raise UserError(f"not registered: {' '.join(str(error).split())[:300]}") from None


def _run(client: Any, part: Run) -> str:
    """The ID of the MLflow run with the method's current results."""
    experiment = client.get_experiment_by_name(EXPERIMENT)
    query = f"tags.results_digest = '{part.tags['results_digest']}' and tags.part = '{part.name}'"
    found = experiment and client.search_runs([experiment.experiment_id], query)
    if not found:
        raise UserError("the current results are not logged to MLflow: run `make track` first")
    return str(found[0].info.run_id)


def _registered(client: Any, model: str, encoder_digest: str) -> str | None:
    """The version with these weights and shifts, if there is one."""
    found = client.search_model_versions(f"name = '{model}'")
    return next((str(v.version) for v in found if v.tags.get("encoder_digest") == encoder_digest), None)


def _register(client: Any, model: str, run: str, name: str, weights: Path, tags: Mapping[str, str]) -> str:
    """Create a new version and return its number."""
    import mlflow
    from mlflow.models import infer_signature

    from stages.tools.serving import Encoder

    example = files.read_arrays(artifacts.data("mnist", "test"))["images"][:2]
    embeddings = Encoder.load(PARAMS, weights, name).embed(example)
    with tempfile.TemporaryDirectory() as folder, mlflow.start_run(run_id=run):
        # The file may be a link into DVC's cache.
        copy = shutil.copy(weights, folder)
        logged = mlflow.pyfunc.log_model(
            name="encoder",
            python_model=str(ROOT / "stages/tools/serving.py"),
            artifacts={"params": str(PARAMS), "weights": str(copy)},
            model_config={"method": name},
            code_paths=[str(ROOT / "stages")],
            signature=infer_signature(example, embeddings),
            input_example=example,
            pip_requirements=[pin for pin in pinned() if pin.split("==")[0] in SERVING_PACKAGES],
        )
    created = mlflow.register_model(logged.model_uri, model, tags=dict(tags))
    print(f"registry: {name} is version {created.version} of {model}")
    return str(created.version)


def _update_alias(client: Any, model: str, version: str, accuracy: float) -> None:
    """Move the alias to a version if its accuracy is higher than that of the version with the alias."""
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
