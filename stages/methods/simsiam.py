"""SimSiam: the EMA JEPA with a target that is the encoder itself, behind a stop-gradient.

    L(θ, φ) = E [ 2 − 2 cos( h_φ(f_θ(x')), sg f_θ(x) ) ]

f is the encoder, h the predictor, sg the stop-gradient and x' an augmented view of x. It equals `jepa_ema` with `decay: 0`, up
to the statistics of BatchNorm on images. A constant map has zero loss; stop-gradient and predictor keep the dynamics from it.

Chen and He 2021, "Exploring simple siamese representation learning", arXiv 2011.10566, eqs. 1 to 3. Their loss is the mean of
this one over both orders of two augmented views.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from stages.config.field_types import Count, Encoder, View
from stages.nn.joint_embedding import JointEmbedding
from stages.nn.method import Domain
from stages.nn.noise import NoiseSource


class Simsiam(JointEmbedding):
    """Predict the encoder's own embedding of the clean view from an augmented view.

    Args:
        domain: provides the encoder, the predictor and the augmentation.
        view: how the view is augmented.
        encoder: layer sizes of the encoder; `dim` is D.
        predictor_width: hidden units of h.
    """

    cosine = True

    def __init__(self, domain: Domain, *, view: View, encoder: Encoder, predictor_width: Count) -> None:
        super().__init__(domain, view=view, encoder=encoder)
        self.predictor = domain.predictor(dim=self.encoder.outputs, hidden=predictor_width)

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The cosine loss on points (S, B, d), per seed, or on images (B, 1, H, W)."""
        prediction = self.predictor(self.encoder(self.augment(x, source)))
        target = self.encoder(x).detach()
        return {"loss": 2 - 2 * F.cosine_similarity(prediction, target, dim=-1).mean(-1)}
