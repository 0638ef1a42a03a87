"""The decoders of phase 2, as their stages build them from params and files."""

from __future__ import annotations

import torch

from stages import files, runtime
from stages.mnist.models import MODELS, trained, untrained, world
from stages.mnist.reconstruction import Reconstruction
from stages.nn.conv import Decoder
from stages.params import Params
from stages.schema import MNIST_PREFIX


def untrained_decoder(params: Params, name: str) -> Reconstruction:
    """The encoder of phase 1, or where it is to be trained from scratch a new one, with a decoder before its first step."""
    settings = params.mnist_reconstruct
    block, _ = params.method(MNIST_PREFIX + name)
    method = (untrained if settings.encoder == "scratch" else trained)(params, name)
    torch.manual_seed(runtime.stream(params, "mnist.decoder"))
    return Reconstruction(
        method,
        Decoder(dim=block["encoder"]["dim"], channels=settings.channels),
        world(params).perturbation(schedule=(1, 1)),
        encoder_mode=settings.encoder,
        encoder_scale=settings.encoder_learning_rate if settings.encoder == "finetuned" else 1.0,
    )


def trained_decoder(params: Params, name: str) -> Reconstruction:
    """Encoder and decoder after phase 2."""
    reconstruction = untrained_decoder(params, name)
    files.load(reconstruction, MODELS / f"{name}.decoder.safetensors")
    return reconstruction.eval()
