"""The decoders of phase 2, as their stages build them from params and files."""

from __future__ import annotations

import torch
from safetensors.torch import load_file

from stages import runtime
from stages.mnist.models import MODELS, trained
from stages.mnist.reconstruction import Reconstruction
from stages.mnist.world import Images
from stages.nn.conv import Decoder
from stages.params import Params
from stages.schema import MNIST_PREFIX


def untrained_decoder(params: Params, name: str) -> Reconstruction:
    """The trained encoder of phase 1 with a decoder before its first step."""
    settings = params.mnist_reconstruct
    block, _ = params.method(MNIST_PREFIX + name)
    method = trained(params, name)
    world = Images(perturbations=params.mnist_perturbations.model_dump())
    torch.manual_seed(runtime.stream(params, "mnist.decoder"))
    return Reconstruction(
        method,
        Decoder(dim=block["encoder"]["dim"], channels=settings.channels),
        world.perturbation(schedule=(1, 1)),
        finetune=settings.finetune_encoder,
        encoder_scale=settings.encoder_learning_rate,
    )


def trained_decoder(params: Params, name: str) -> Reconstruction:
    """Encoder and decoder after phase 2."""
    reconstruction = untrained_decoder(params, name)
    reconstruction.load_state_dict(load_file(MODELS / f"{name}.decoder.safetensors"))
    return reconstruction.eval()
