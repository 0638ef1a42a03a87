"""Stage mnist_atlas@METHOD: what the page needs to let a reader look at the digits through a method's embedding.

Writes reports/atlas/mnist/METHOD.js (scripts.py), all of the first P test images: `pca` (T, P, 2) over training at `steps`
(T,); `predicted` (P,), what k-NN takes each image for; `nearest` (P, K), the training images that decided, nearest first, as
places in the sheet `neighbours` and in its labels.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from stages import files, runtime, scripts
from stages.metrics.neighbours import nearest
from stages.params import Params


def main(params: Params, name: str) -> None:
    """Write the script of the method called `name`."""
    fields = files.read_arrays(Path(f"reports/fields/mnist/{name}.npz"))
    embeddings = files.read_arrays(Path(f"reports/embeddings/mnist/{name}.npz"))
    images = files.read_arrays(Path("data/mnist/train.npz"))["images"]
    index, queries = (torch.from_numpy(embeddings[part]) for part in ("train", "test"))
    shown = params.mnist.snapshot_images
    close = nearest(index, queries[:shown], params.mnist.neighbours).numpy()
    used, places = np.unique(close, return_inverse=True)
    scripts.write(
        Path(f"reports/atlas/mnist/{name}.js"),
        f"mnist/{name}",
        {
            "steps": fields["steps"].tolist(),
            "pca": scripts.quantised(fields["pca"], "uint16"),
            "predicted": scripts.whole(fields["predicted"][:shown]),
            "nearest": scripts.whole(places.reshape(close.shape)),
            "neighbours": scripts.sheet(images[used]),
            "neighbour_labels": scripts.whole(embeddings["train_labels"][used]),
        },
    )


if __name__ == "__main__":
    runtime.run(main)
