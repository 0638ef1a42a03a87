"""What the training loop and the evaluation ask of a method.

A method is an `nn.Module` with a loss. What else can be measured of it follows from the functions it has: `embed` makes it
a joint-embedding method, `score` a score method, `energy` an energy-based one, `score_at` one with a ladder of noise levels,
`critic` one that judges pairs, `predict` and `log_density` conditional ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from stages.nn.noise import Draws

Perturb = Callable[[Tensor, Draws], Tensor]
"""A function that gives another view of points or images, of the same shape."""


class World(Protocol):
    """What differs between the mixture and the images: the networks and the perturbation that makes a second view."""

    def perturbation(self, *args: Any, **view: Any) -> Perturb:
        """The function that makes a second view, from the method's params block `view`."""
        ...

    def encoder(self, *args: Any, **sizes: Any) -> Any:
        """A network from points or images to embeddings, from the method's params block `encoder`; `outputs` is their D."""
        ...

    def predictor(self, *, dim: int, hidden: int) -> nn.Module:
        """A network from embeddings (..., B, dim) to embeddings of the same shape."""
        ...

    def uniform(self, like: Tensor, draws: Draws) -> Tensor:
        """Points uniform in the part of the plane that is looked at, as many as there are in `like`."""
        ...

    def mlp(self, *args: Any, **sizes: Any) -> Any:
        """A network from vectors (..., B, inputs) to vectors (..., B, outputs)."""
        ...


class Method(nn.Module):
    """A training objective with its networks. Subclasses take `(world, *, keyword parameters)`.

    `cosine` says that the loss sees only the directions of embeddings, so that neighbours are to be sought among those;
    `denoises` that it is denoising score matching at the one noise level `sigma`.
    """

    cosine: ClassVar[bool] = False
    denoises: ClassVar[bool] = False

    def loss(self, x: Tensor, draws: Draws) -> dict[str, Tensor]:
        """The objective on a batch x: `loss` and its named parts, each (S,) on the mixture, () on images."""
        raise TypeError(f"{type(self).__name__} defines no loss")

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What the optimizer trains: groups with `params` and, where not 1, a `scale` on the learning rate."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def after_step(self, progress: float) -> None:
        """Called after each optimizer step; `progress` runs from 0 to 1 over the training."""


@runtime_checkable
class Embeds(Protocol):
    """A method with an encoder."""

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (..., B, D) of points (..., B, 2) or images (B, 1, H, W)."""
        ...


@runtime_checkable
class Scores(Protocol):
    """A method that knows ∇ log p_σ."""

    sigma: float

    def score(self, x: Tensor) -> Tensor:
        """The learned ∇ log p_σ at x, of the shape of x."""
        ...


@runtime_checkable
class Energises(Protocol):
    """A score method whose score is minus the gradient of an energy."""

    def energy(self, x: Tensor) -> Tensor:
        """The learned − log p_σ up to a constant at x (..., B, 2), as (..., B)."""
        ...


@runtime_checkable
class Anneals(Protocol):
    """A score method that knows ∇ log p_σ for a whole ladder of σ."""

    sigmas: list[float]

    def score_at(self, x: Tensor, sigma: float) -> Tensor:
        """The learned ∇ log p_σ at x, of the shape of x."""
        ...


@runtime_checkable
class Criticises(Protocol):
    """A method that judges how well two views fit together; `both_noisy` is false where the first view is the clean point."""

    both_noisy: bool

    def critic(self, x: Tensor, other: Tensor) -> Tensor:
        """The learned log p(x' | x) / p(x') up to a function of x, of all pairs of x (..., B, 2) and x' (..., C, 2)."""
        ...


@runtime_checkable
class Densities(Protocol):
    """A method that knows the conditional density of a hidden coordinate."""

    def log_density(self, x: Tensor, visible: Tensor) -> Tensor:
        """log q (..., B) of the coordinate of x that is marked 0 in `visible`, given the other one."""
        ...


@runtime_checkable
class Predicts(Protocol):
    """A method that predicts the embedding of a whole point from its visible coordinates."""

    def predict(self, x: Tensor, visible: Tensor) -> Tensor:
        """Predicted embeddings (..., B, D); `visible` marks with 1 what of x may be used."""
        ...
