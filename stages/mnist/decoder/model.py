"""Phase 2: a decoder that gives back the clean image from the embedding of the perturbed one.

    L(ψ) = E ‖ g_ψ(f(x')) − x ‖² / 784

f is the encoder of phase 1, frozen or trained along at a small rate; or an encoder of the same size trained from scratch, which
makes the whole a denoising autoencoder. x' is a perturbed view of the image x. The minimiser is the conditional mean
E[x | f(x')]: what a perturbation has made unrecoverable, such as the pose after a random affine map, comes out blurred.

Denoising autoencoder: Vincent et al. 2008, "Extracting and composing robust features with denoising autoencoders".
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from stages.nn.method import Augment, Method
from stages.nn.noise import NoiseSource


class Reconstruction(Method):
    """A decoder on the embeddings of a trained method.

    An encoder of phase 1 always runs in evaluation mode: in training mode BatchNorm would move its statistics, frozen or not.

    Args:
        encoder: a method with `embed`.
        decoder: from embeddings (B, D) to images (B, 1, 28, 28).
        perturb: makes the perturbed view.
        encoder_mode: what is done to the encoder: nothing, trained along, or trained from scratch.
        encoder_scale: the encoder's learning rate as a fraction of the decoder's.
    """

    def __init__(
        self,
        encoder: Any,
        decoder: nn.Module,
        perturb: Augment,
        *,
        encoder_mode: Literal["frozen", "finetuned", "scratch"],
        encoder_scale: float,
    ) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(encoder_mode != "frozen")
        self.decoder = decoder
        self.augment = perturb
        self.encoder_mode = encoder_mode
        self.encoder_scale = encoder_scale

    def train(self, mode: bool = True) -> Reconstruction:
        """Training mode for the decoder, and for an encoder without statistics of its own."""
        super().train(mode)
        if self.encoder_mode != "scratch":
            self.encoder.eval()
        return self

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The decoder, and the encoder at its own rate where it is trained."""
        groups: list[dict[str, Any]] = [{"params": list(self.decoder.parameters())}]
        if self.encoder_mode != "frozen":
            groups.append({"params": list(self.encoder.parameters()), "scale": self.encoder_scale})
        return groups

    def forward(self, x: Tensor) -> Tensor:
        """Reconstructions (B, 1, 28, 28) of images of the same shape."""
        with torch.set_grad_enabled(self.encoder_mode != "frozen" and torch.is_grad_enabled()):
            z = self.encoder.embed(x)
        return self.decoder(z)

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The objective on a batch of clean images x (B, 1, 28, 28)."""
        return {"loss": (self(self.augment(x, source)) - x).square().mean()}
