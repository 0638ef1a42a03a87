"""Stage mnist_train@METHOD, phase 1: train a joint-embedding method on augmented images.

The last `validation_images` of the training images, if any, are held out. Writes models/mnist/METHOD.safetensors;
METHOD.snapshots.npz with `steps` (T,) and `embedding` (T, M, D), embeddings of the first M test images at T snapshots; and
reports/curves/mnist/METHOD.csv.
"""

from __future__ import annotations

import numpy as np
import torch

from stages.config.base import MNIST_PREFIX
from stages.config.params import Params
from stages.mnist.encoder.embed import embed, for_knn
from stages.mnist.encoder.models import untrained
from stages.mnist.training.fit import SHOWN, fit_images, gather_across_processes
from stages.mnist.training.launch import join_workers, start
from stages.nn.build import configured
from stages.nn.schedule import log_spaced
from stages.pipeline import artifacts, files, runner, seeding


def main(params: Params, name: str) -> None:
    """Train the method called `name` on the images."""
    seeding.set_up_torch(params.threads)
    _, train = configured(params, MNIST_PREFIX + name)
    if start(params, "stages.mnist.train", name):
        return
    with join_workers(params) as worker:
        method = untrained(params, name, augments=True).to(worker.device)
        if worker.shared:
            gather_across_processes(method)
        shown = torch.from_numpy(files.read_arrays(SHOWN)["images"][: params.mnist.snapshot_images])
        snapshots = log_spaced(train.steps, params.mnist.snapshots)
        fitted = fit_images(
            method,
            params,
            worker,
            stage="train",
            name=name,
            train=train,
            settings={"snapshot_images": params.mnist.snapshot_images},
            snapshots=snapshots,
            record=lambda: for_knn(method, embed(method, shown, worker.device)),
        )
        if worker.writes:
            files.write_tensors(artifacts.weights("mnist", name), method.state_dict())
            recorded = {"steps": np.array(snapshots), "embedding": torch.stack(fitted.recorded).numpy()}
            files.write_arrays(artifacts.embedding_snapshots(name), recorded)
            files.write_curves(artifacts.curves("mnist", name), fitted.rows)
            fitted.checkpoints.remove()


if __name__ == "__main__":
    runner.run(main)
