"""Stage mnist_reconstruct@METHOD, phase 2: train a decoder on the encoder of phase 1.

Writes models/mnist/METHOD.decoder.safetensors, encoder and decoder, and reports/curves/mnist/METHOD.reconstruction.csv.
"""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from stages import runtime
from stages.mnist.decoders import untrained_decoder
from stages.mnist.models import MODELS
from stages.nn.conv import as_images
from stages.nn.draws import TrainingDraws
from stages.nn.training import epoch_batches, fit
from stages.params import Params


def main(params: Params, name: str) -> None:
    """Train the decoder for the method called `name`."""
    runtime.set_up_torch(params)
    device = runtime.device(params)
    reconstruction = untrained_decoder(params, name).to(device)
    train = params.mnist_reconstruct.train
    generator = torch.Generator(device).manual_seed(runtime.stream(params, "mnist.reconstruct"))
    images = torch.from_numpy(runtime.read_arrays(Path("data/mnist/train.npz"))["images"]).to(device)
    batches = epoch_batches(
        images[: len(images) - params.mnist.validation_images], batch_size=train.batch_size, generator=generator
    )
    rows = fit(
        reconstruction,
        map(as_images, batches),
        name=f"{name} decoder",
        draws=TrainingDraws(generator),
        log_every=max(train.steps // 100, 1),
        snapshots=[],
        on_snapshot=lambda step: None,
        **train.model_dump(exclude={"batch_size"}),
    )
    state = {k: v.cpu().contiguous() for k, v in reconstruction.state_dict().items()}
    save_file(state, MODELS / f"{name}.decoder.safetensors")
    runtime.write_curves(Path(f"reports/curves/mnist/{name}.reconstruction.csv"), rows)


if __name__ == "__main__":
    runtime.run(main)
