"""Phase 2: a decoder that gives back the clean image from the embedding of the perturbed one.

    L(ψ) = E ‖ g_ψ(f(x')) − x ‖² / 784

f is the encoder of phase 1, frozen or trained along at a small rate; x' is a perturbed view of the image x. The minimiser is
the conditional mean E[x | f(x')]: what a perturbation has made unrecoverable, such as the pose after a random affine map,
comes out blurred.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from stages.nn.draws import Draws
from stages.nn.method import Method, Perturb


class Reconstruction(Method):
    """A decoder on the embeddings of a trained method.

    The encoder always runs in evaluation mode: in training mode BatchNorm would move its statistics, frozen or not.

    Args:
        encoder: a trained method with `embed`.
        decoder: from embeddings (B, D) to images (B, 1, 28, 28).
        perturb: makes the perturbed view.
        finetune: whether the encoder is trained along.
        encoder_scale: the encoder's learning rate as a fraction of the decoder's.
    """

    def __init__(self, encoder: Any, decoder: nn.Module, perturb: Perturb, *, finetune: bool, encoder_scale: float) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(finetune)
        self.decoder = decoder
        self.perturb = perturb
        self.finetune = finetune
        self.encoder_scale = encoder_scale

    def train(self, mode: bool = True) -> Reconstruction:
        """Training mode for the decoder alone."""
        super().train(mode)
        self.encoder.eval()
        return self

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The decoder, and the encoder at its own rate where it is trained along."""
        groups: list[dict[str, Any]] = [{"params": list(self.decoder.parameters())}]
        if self.finetune:
            groups.append({"params": list(self.encoder.parameters()), "scale": self.encoder_scale})
        return groups

    def forward(self, x: Tensor) -> Tensor:
        """Reconstructions (B, 1, 28, 28) of images of the same shape."""
        with torch.set_grad_enabled(self.finetune and torch.is_grad_enabled()):
            z = self.encoder.embed(x)
        return self.decoder(z)

    def loss(self, x: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The objective on a batch of clean images x (B, 1, 28, 28)."""
        return {"loss": (self(self.perturb(x, draws)) - x).square().mean()}
