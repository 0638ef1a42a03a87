"""Stage mnist_train@METHOD, phase 1: train a joint-embedding method on perturbed images.

The last `validation_images` of the training images, if any, are kept out. Writes models/mnist/METHOD.safetensors;
METHOD.snapshots.npz with `steps` (T,) and `embedding` (T, M, D), the first test images at T moments of the training; and
reports/curves/mnist/METHOD.csv.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from stages import files, runtime
from stages.mnist.embed import as_seen, embed
from stages.mnist.models import MODELS, untrained
from stages.mnist.processes import place, start
from stages.mnist.training import SHOWN, fit_images, look_across
from stages.nn.moments import log_spaced
from stages.params import Params
from stages.schema import MNIST_PREFIX


def main(params: Params, name: str) -> None:
    """Train the method called `name` on the images."""
    runtime.set_up_torch(params)
    if start(params, "stages.mnist.train", name):
        return
    with place(params) as here:
        _, train = params.method(MNIST_PREFIX + name)
        method = untrained(params, name).to(here.device)
        if here.shared:
            look_across(method)
        shown = torch.from_numpy(files.read_arrays(SHOWN)["images"][: params.mnist.snapshot_images])
        moments = log_spaced(train.steps, params.mnist.snapshots)
        fitted = fit_images(
            method,
            params,
            here,
            stage="train",
            name=name,
            train=train,
            settings={"snapshot_images": params.mnist.snapshot_images},
            moments=moments,
            record=lambda: as_seen(method, embed(method, shown, here.device)),
        )
        if here.writes:
            files.write_tensors(MODELS / f"{name}.safetensors", method.state_dict())
            recorded = {"steps": np.array(moments), "embedding": torch.stack(fitted.recorded).numpy()}
            files.write_arrays(MODELS / f"{name}.snapshots.npz", recorded)
            files.write_curves(Path(f"reports/curves/mnist/{name}.csv"), fitted.rows)
            fitted.checkpoints.remove()


if __name__ == "__main__":
    runtime.run(main)
