"""InfoNCE with an unconstrained critic on the pair.

    L(θ) = − E log ( exp c(x_i, x'_i) / Σ_j exp c(x_i, x'_j) ),    x' = x + sε
    c(x, x') = g(x) · h(x') + b(x')

The minimiser over all critics is c* = log p(x' | x) / p_s(x') + a(x), the pointwise mutual information up to a function of x
that cancels in the softmax. A cosine critic cannot represent it, a sum of products can: log p(x' | x) = − ‖x' − x‖²/2s² + const
is one itself, and b takes the marginal. All B² pairs then cost one matrix product instead of B² passes through a network.

With the critic comes the score of the noisy points, since ∇_{x'} log p(x' | x) = (x − x')/s² vanishes at x' = x:

    ∇ log p_s(x) = − ∂c(x, x')/∂x' at x' = x

van den Oord et al. 2018, "Representation learning with contrastive predictive coding", arXiv 1807.03748, eq. 5; the bilinear
form is their eq. 3.
"""

from __future__ import annotations

from torch import Tensor

from stages.config.field_types import Count, Mlp, View
from stages.nn.gradient import gradient
from stages.nn.losses import info_nce
from stages.nn.method import Method, World
from stages.nn.noise import Draws


class ContrastiveCritic(Method):
    """InfoNCE between a clean and a noisy view, whose critic is a sum of products of features.

    Args:
        world: gives the networks and the perturbation.
        view: how the second view is made; `noise` is s.
        network: the layer sizes of the two feature networks.
        features: how many products there are.
    """

    both_noisy = False

    def __init__(self, world: World, *, view: View, network: Mlp, features: Count) -> None:
        super().__init__()
        self.perturb = world.perturbation(**view)
        self.sigma = view["noise"]
        self.first = world.mlp(inputs=2, outputs=features, **network)
        self.second = world.mlp(inputs=2, outputs=features + 1, **network)

    def loss(self, x: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The objective on a batch x (S, B, 2), per seed."""
        return {"loss": info_nce(self.critic(x, self.perturb(x, draws)))}

    def critic(self, x: Tensor, other: Tensor) -> Tensor:
        """c(x_i, x'_j) of all pairs of x (..., B, 2) and x' (..., C, 2), in nats up to a function of x: (..., B, C)."""
        second = self.second(other)
        return self.first(x) @ second[..., :-1].mT + second[..., None, :, -1]

    def score(self, x: Tensor) -> Tensor:
        """The learned ∇ log p_s."""
        first = self.first(x)

        def pair(other: Tensor) -> Tensor:
            second = self.second(other)
            return (first * second[..., :-1]).sum(-1) + second[..., -1]

        return -gradient(pair, x, copies=self.first.copies, create_graph=self.training)
