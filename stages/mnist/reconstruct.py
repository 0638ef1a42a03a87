"""Stage mnist_reconstruct@METHOD, phase 2: train a decoder on the encoder of phase 1.

Writes encoder and decoder to models/mnist/METHOD.decoder.safetensors, and reports/curves/mnist/METHOD.reconstruction.csv.
"""

from __future__ import annotations

from stages.config.base import MNIST_PREFIX
from stages.config.params import Params
from stages.mnist.decoder.build import untrained_decoder
from stages.mnist.training.fit import fit_images
from stages.mnist.training.launch import join_workers, start
from stages.nn.build import configured
from stages.nn.distributed import synchronise
from stages.pipeline import artifacts, files, runner, seeding


def main(params: Params, name: str) -> None:
    """Train the decoder for the method called `name`."""
    seeding.set_up_torch(params.threads)
    # Also checks the block before further processes are started.
    configured(params, MNIST_PREFIX + name)
    if start(params, "stages.mnist.reconstruct", name):
        return
    with join_workers(params) as worker:
        reconstruction = untrained_decoder(params, name, augments=True).to(worker.device)
        if worker.shared:
            synchronise(reconstruction)
        settings = params.mnist_reconstruct
        fitted = fit_images(
            reconstruction,
            params,
            worker,
            stage="reconstruct",
            name=name,
            train=settings.train,
            settings=settings.model_dump(exclude={"methods"}),
        )
        if worker.writes:
            files.write_tensors(artifacts.decoder(name), reconstruction.state_dict())
            files.write_curves(artifacts.curves("mnist", f"{name}.reconstruction"), fitted.rows)
            fitted.checkpoints.remove()


if __name__ == "__main__":
    runner.run(main)
