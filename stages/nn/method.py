"""The interface between a method, the training loop and the evaluation.

A method is an `nn.Module` with a loss. What can be measured of it follows from the functions it defines: see the protocols
`HasEncoder`, `HasSpectralLoss`, `HasScore`, `HasEnergy`, `HasLogLikelihood`, `HasNoiseSchedule`, `HasFlow`, `HasCritic`,
`HasPredictor` and `HasConditionalDensity` below.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Protocol, runtime_checkable

from torch import Tensor, nn

from stages.nn.noise import NoiseSource

Augment = Callable[[Tensor, NoiseSource], Tensor]
"""A function from points or images to an augmented view of the same shape."""


class Domain(Protocol):
    """The networks and the augmentation that a method gets in one domain: the mixture or the images."""

    @property
    def dim(self) -> int:
        """Coordinates of a point, d."""
        ...

    def augmentation(self, *args: Any, **view: Any) -> Augment:
        """The random augmentation that the params block `view` describes."""
        ...

    def encoder(self, *args: Any, **sizes: Any) -> Any:
        """A network from points or images to embeddings (..., B, D), from the params block `encoder`; `outputs` is D."""
        ...

    def predictor(self, *, dim: int, hidden: int) -> nn.Module:
        """A network from embeddings (..., B, dim) to embeddings of the same shape."""
        ...

    def uniform(self, like: Tensor, source: NoiseSource) -> Tensor:
        """Points uniform on the domain's box, of the shape of `like` (..., B, d)."""
        ...

    def mlp(self, *args: Any, **sizes: Any) -> Any:
        """A network from vectors (..., B, inputs) to vectors (..., B, outputs)."""
        ...


class Method(nn.Module):
    """Base of all methods: a training objective with its networks.

    A subclass has a constructor `(self, domain, *, KEY: TYPE, ...)`, whose keyword arguments are the method's params block.

    Attributes:
        cosine: the loss sees only L2-normalised embeddings, so neighbours are searched among normalised embeddings.
        denoises: the loss is denoising score matching at the single noise level `sigma`.
    """

    cosine: ClassVar[bool] = False
    denoises: ClassVar[bool] = False

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        """The objective on a batch x.

        Args:
            x: points (S, B, d) or images (B, 1, H, W).
            source: the noise of the loss.

        Returns:
            `loss` and its named terms, each (S,) on the mixture and () on images.
        """
        raise TypeError(f"{type(self).__name__} defines no loss")

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Parameter groups for the optimizer; `scale` is a factor on the learning rate, 1 if absent."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def after_step(self, progress: float) -> None:
        """Called after each optimizer step; `progress` runs from 0 to 1 over training."""


@runtime_checkable
class HasEncoder(Protocol):
    """A joint-embedding method."""

    def embed(self, x: Tensor) -> Tensor:
        """Embeddings (..., B, D) of points (..., B, d) or images (B, 1, H, W)."""
        ...


@runtime_checkable
class HasSpectralLoss(Protocol):
    """A joint-embedding method whose loss has the minimum −Σ_{k<D} λ_k², with the eigenvalues of the pairs' operator."""

    factorises_operator: bool


@runtime_checkable
class HasScore(Protocol):
    """A score-based method, which learns ∇ log p_σ."""

    sigma: float

    def score(self, x: Tensor) -> Tensor:
        """The learned ∇ log p_σ at x, of the shape of x."""
        ...


@runtime_checkable
class HasEnergy(Protocol):
    """A score-based method whose score is minus the gradient of an energy."""

    def energy(self, x: Tensor) -> Tensor:
        """The learned energy −log p_σ at x (..., B, d), in nats up to a constant, (..., B)."""
        ...


@runtime_checkable
class HasLogLikelihood(Protocol):
    """A method that learns a density without a free constant."""

    def log_likelihood(self, x: Tensor) -> Tensor:
        """The learned log p, in nats, at x (..., B, d), (..., B)."""
        ...


@runtime_checkable
class HasNoiseSchedule(Protocol):
    """A score-based method that learns ∇ log p_σ for a schedule of noise levels."""

    sigmas: list[float]

    def score_at(self, x: Tensor, sigma: float) -> Tensor:
        """The learned ∇ log p_σ at x, of the shape of x."""
        ...


@runtime_checkable
class HasFlow(Protocol):
    """A method that transports a normal density to that of the data along dx/dt = u(x, t), from t = `start` to t = `end`.

    At each t the density is that of a(t) x + b(t) ε, with x of the data and ε ~ N(0, I); at t = `start` it is N(0, b²) or close
    to it. The velocity is evaluated at `times`.
    """

    start: float
    end: float
    times: list[float]

    def time_of(self, sigma: float) -> float:
        """The t at which the noise level b/a is σ."""
        ...

    def path(self, t: float) -> tuple[float, float, float, float]:
        """a, b and their derivatives a', b' at t."""
        ...

    def velocity(self, x: Tensor, t: float) -> Tensor:
        """The learned u(x, t) = E[a' x + b' ε | a x + b ε], of the shape of x (..., B, d)."""
        ...


@runtime_checkable
class HasCritic(Protocol):
    """A method with a critic on pairs of views; `both_noisy` is false if the first view is the clean point."""

    both_noisy: bool

    def critic(self, x: Tensor, other: Tensor) -> Tensor:
        """The critic c(x_i, x'_j) on all pairs of x (..., B, d) and x' (..., C, d), (..., B, C).

        Its target is the pointwise mutual information log [p(x' | x) / p(x')], up to a function of x.
        """
        ...


@runtime_checkable
class HasPredictor(Protocol):
    """A method that predicts the embedding of a point from its visible coordinates."""

    def predict(self, x: Tensor, visible: Tensor) -> Tensor:
        """Predicted embeddings (..., B, D) of points x (..., B, d); `visible` is 1 for the coordinates that may be used."""
        ...


@runtime_checkable
class HasConditionalDensity(Protocol):
    """A method that learns the conditional density of a hidden coordinate."""

    def log_density(self, x: Tensor, visible: Tensor) -> Tensor:
        """log q (..., B) of the coordinate of x with `visible` 0, given the other one."""
        ...
