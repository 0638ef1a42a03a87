"""The decoders of phase 2, built from params and model files."""

from __future__ import annotations

import torch

from stages.config.base import MNIST_PREFIX
from stages.config.params import Params
from stages.mnist.decoder.model import Reconstruction
from stages.mnist.encoder.models import domain, trained, untrained
from stages.nn.build import configured
from stages.nn.conv import Decoder
from stages.pipeline import artifacts, files, seeding


def untrained_decoder(params: Params, name: str, *, augments: bool = False) -> Reconstruction:
    """An untrained decoder on the encoder of phase 1, or on an untrained encoder if the params train it from scratch."""
    settings = params.mnist_reconstruct
    block, _ = configured(params, MNIST_PREFIX + name)
    method = (untrained if settings.encoder == "scratch" else trained)(params, name)
    torch.manual_seed(seeding.stream(params, "mnist.decoder"))
    return Reconstruction(
        method,
        Decoder(
            dim=block["encoder"]["dim"],
            channels=settings.channels,
            side=params.mnist.chosen.side,
            colours=params.mnist.chosen.channels,
        ),
        domain(params, augments=augments).augmentation(schedule=(1, 1)),
        encoder_mode=settings.encoder,
        encoder_scale=settings.encoder_learning_rate if settings.encoder == "finetuned" else 1.0,
    )


def trained_decoder(params: Params, name: str) -> Reconstruction:
    """Encoder and decoder after phase 2, in evaluation mode."""
    reconstruction = untrained_decoder(params, name)
    files.load(reconstruction, artifacts.decoder(name))
    return reconstruction.eval()
