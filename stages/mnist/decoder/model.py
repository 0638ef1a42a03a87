"""Phase 2: a decoder that reconstructs the clean image from the embedding of a perturbed one.

    L(ψ) = E ‖ g_ψ(f(x')) − x ‖² / d

f is the encoder of phase 1, either frozen or fine-tuned at a small learning rate; or it is an encoder of the same size trained
from scratch, which makes f and g a denoising autoencoder. x' is a randomly augmented view of the image x with d pixel values.
The minimiser is the conditional mean E[x | f(x')]: features that are lost in x', such as the pose after a random affine map,
are blurred.

Vincent et al. 2008, "Extracting and composing robust features with denoising autoencoders".
"""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor, nn

from stages.nn.method import Augment, Method
from stages.nn.noise import NoiseSource


class Reconstruction(Method):
    """An encoder and a decoder on its embeddings.

    An encoder of phase 1 always runs in evaluation mode: in training mode BatchNorm would update its statistics, even if the
    parameters are frozen.

    Args:
        encoder: a method with `embed`.
        decoder: maps embeddings (B, D) to images (B, C, H, W).
        augment: makes the view x'.
        encoder_mode: whether the encoder is frozen, fine-tuned or trained from scratch.
        encoder_scale: the encoder's learning rate as a fraction of the decoder's.
    """

    def __init__(
        self,
        encoder: Any,
        decoder: nn.Module,
        augment: Augment,
        *,
        encoder_mode: Literal["frozen", "finetuned", "scratch"],
        encoder_scale: float,
    ) -> None:
        super().__init__()
        self.encoder = encoder.requires_grad_(encoder_mode != "frozen")
        self.decoder = decoder
        self.augment = augment
        self.encoder_mode = encoder_mode
        self.encoder_scale = encoder_scale

    def train(self, mode: bool = True) -> Reconstruction:
        """Set training or evaluation mode; an encoder of phase 1 stays in evaluation mode."""
        super().train(mode)
        if self.encoder_mode != "scratch":
            self.encoder.eval()
        return self

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The decoder's parameters and, unless it is frozen, the encoder's with their own learning rate."""
        groups: list[dict[str, Any]] = [{"params": list(self.decoder.parameters())}]
        if self.encoder_mode != "frozen":
            groups.append({"params": list(self.encoder.parameters()), "scale": self.encoder_scale})
        return groups

    def forward(self, x: Tensor) -> Tensor:
        """Reconstructions (B, C, H, W) of images of the same shape."""
        with torch.set_grad_enabled(self.encoder_mode != "frozen" and torch.is_grad_enabled()):
            z = self.encoder.embed(x)
        return self.decoder(z)

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The objective on a batch of clean images x (B, C, H, W)."""
        return {"loss": (self(self.augment(x, source)) - x).square().mean()}
