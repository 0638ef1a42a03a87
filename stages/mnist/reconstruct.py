"""Stage mnist_reconstruct@METHOD, phase 2: train a decoder on the encoder of phase 1.

Writes models/mnist/METHOD.decoder.safetensors, encoder and decoder, and reports/curves/mnist/METHOD.reconstruction.csv.
"""

from __future__ import annotations

from pathlib import Path

from stages import files, runtime
from stages.mnist.decoders import untrained_decoder
from stages.mnist.models import MODELS
from stages.mnist.processes import place, start
from stages.mnist.training import fit_images
from stages.nn.distributed import synchronise
from stages.params import Params


def main(params: Params, name: str) -> None:
    """Train the decoder for the method called `name`."""
    runtime.set_up_torch(params)
    if start(params, "stages.mnist.reconstruct", name):
        return
    with place(params) as here:
        reconstruction = untrained_decoder(params, name).to(here.device)
        if here.shared:
            synchronise(reconstruction)
        settings = params.mnist_reconstruct
        fitted = fit_images(
            reconstruction,
            params,
            here,
            stage="reconstruct",
            name=name,
            train=settings.train,
            settings=settings.model_dump(exclude={"methods"}),
        )
        if here.writes:
            files.write_tensors(MODELS / f"{name}.decoder.safetensors", reconstruction.state_dict())
            files.write_curves(Path(f"reports/curves/mnist/{name}.reconstruction.csv"), fitted.rows)
            fitted.checkpoints.remove()


if __name__ == "__main__":
    runtime.run(main)
