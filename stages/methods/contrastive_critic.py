"""InfoNCE with an unconstrained critic (InfoNCE critic): the critic is a function of pairs, not a cosine.

    L(θ) = − E log ( exp c(x_i, x'_i) / Σ_j exp c(x_i, x'_j) ),    x' = x + sε
    c(x, x') = g(x) · h(x') + b(x')

The minimiser over all critics is c* = log [p(x' | x) / p_s(x')] + a(x): the pointwise mutual information up to a function of
x, which cancels in the softmax. A cosine critic cannot represent it; a bilinear one can, since log p(x' | x) = −‖x' − x‖²/2s²
+ const is bilinear in features of x and x', and b(x') absorbs −log p_s(x'). A bilinear critic on all B² pairs costs one matrix
product instead of B² passes through a network.

The critic implies the score of the noisy points, since ∇_{x'} log p(x' | x) = (x − x')/s² vanishes at x' = x:

    ∇ log p_s(x) = − ∂c(x, x')/∂x' at x' = x

van den Oord et al. 2018, "Representation learning with contrastive predictive coding", arXiv 1807.03748, eq. 5; the bilinear
form is their eq. 3.
"""

from __future__ import annotations

from torch import Tensor

from stages.config.field_types import Count, Mlp, View
from stages.nn.gradient import gradient
from stages.nn.losses import info_nce
from stages.nn.method import Domain, Method
from stages.nn.noise import NoiseSource


class ContrastiveCritic(Method):
    """InfoNCE between a clean and a noisy view, with a bilinear critic.

    Args:
        domain: provides the networks and the augmentation.
        view: how the second view is augmented; `noise` is s.
        network: layer sizes of the feature networks g and (h, b).
        features: output dimension of g and h.
    """

    both_noisy = False

    def __init__(self, domain: Domain, *, view: View, network: Mlp, features: Count) -> None:
        super().__init__()
        self.augment = domain.augmentation(**view)
        self.sigma = view["noise"]
        self.first = domain.mlp(inputs=domain.dim, outputs=features, **network)
        self.second = domain.mlp(inputs=domain.dim, outputs=features + 1, **network)

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The InfoNCE loss on a batch x (S, B, d), per seed."""
        return {"loss": info_nce(self.critic(x, self.augment(x, source)))}

    def critic(self, x: Tensor, other: Tensor) -> Tensor:
        """c(x_i, x'_j), in nats up to a function of x, for all pairs of x (..., B, d) and x' (..., C, d): (..., B, C)."""
        second = self.second(other)
        return self.first(x) @ second[..., :-1].mT + second[..., None, :, -1]

    def score(self, x: Tensor) -> Tensor:
        """The implied score ∇ log p_s at points (S, B, d)."""
        first = self.first(x)

        def pair(other: Tensor) -> Tensor:
            second = self.second(other)
            return (first * second[..., :-1]).sum(-1) + second[..., -1]

        return -gradient(pair, x, copies=self.first.copies, create_graph=self.training)
