"""What holds on a GPU: the CPU's figures but for rounding, no step that waits, twice the same bytes. Skipped without one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from benchmarks.gpu import in_precision
from stages.config import params as parameters
from stages.config.base import MNIST_PREFIX
from stages.config.params import Params
from stages.core.paths import ROOT
from stages.mnist.encoder.embed import embed
from stages.mnist.encoder.models import domain, untrained
from stages.mnist.images.transforms import affine, dilation, elastic, erosion, gaussian, inversion, salt_and_pepper
from stages.nn.batches import EpochBatches, random_batches
from stages.nn.build import build, configured
from stages.nn.conv import ConvEncoder, as_images
from stages.nn.method import Method
from stages.nn.noise import TrainingNoise
from stages.nn.points import Points
from stages.nn.training import fit
from stages.pipeline import seeding
from tests.plane import BOX

PARAMS = parameters.load(ROOT / "params.yaml").model_copy(update={"seeds": 2})
IMAGES = torch.randint(0, 256, (2048, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
precisions = pytest.mark.parametrize(
    "params", [in_precision(PARAMS, mixed=False), in_precision(PARAMS, mixed=True)], ids=["float32", "bfloat16"]
)
STEPS = 40
"""More than an epoch of any method has."""
pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode"),  # torch calls it a prototype
]


@pytest.fixture(autouse=True)
def set_up() -> Iterator[None]:
    """As every stage does; what torch keeps of it is put back."""
    seeding.set_up_torch(PARAMS.threads)
    yield
    torch.set_deterministic_debug_mode("default")
    torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def gpu() -> torch.device:
    return seeding.device(PARAMS.model_copy(update={"device": "cuda"}))


def image_batches(device: torch.device, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    return map(as_images, EpochBatches(IMAGES.to(device), batch_size=batch_size, generator=generator))


def on_images(name: str, device: torch.device, steps: int, method: Method) -> Method:
    """The method of the images after so many steps."""
    trained = method.to(device)
    _, train = configured(PARAMS, MNIST_PREFIX + name)
    generator = torch.Generator(device).manual_seed(0)
    fitted(trained, image_batches(device, train.batch_size, generator), name, steps, train, generator)
    return trained


def on_points(name: str, device: torch.device, steps: int) -> Method:
    """The method of the mixture after so many steps."""
    settings, train = configured(PARAMS, name)
    torch.manual_seed(0)
    trained = build(name, Points(copies=PARAMS.seeds, box=BOX), settings).to(device)
    generator = torch.Generator(device).manual_seed(0)
    points = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)).to(device)
    batches = random_batches(points, lead=(PARAMS.seeds,), batch_size=train.batch_size, generator=generator)
    fitted(trained, batches, name, steps, train, generator)
    return trained


def fitted(method: Method, batches: Iterator[Tensor], name: str, steps: int, train: object, generator: torch.Generator) -> None:
    settings = train.model_dump(exclude={"batch_size", "steps"})  # type: ignore[attr-defined]
    fit(
        method,
        batches,
        name=name,
        source=TrainingNoise(generator),
        steps=steps,
        log_every=10**9,
        snapshots=[],
        on_snapshot=lambda step: None,
        report=False,
        **settings,
    )


def test_auto_takes_the_gpu(gpu: torch.device) -> None:
    assert seeding.device(PARAMS.model_copy(update={"device": "auto"})) == gpu == torch.device("cuda")


@pytest.mark.parametrize("kind", ["affine", "elastic", "erosion", "dilation", "inversion", "salt_and_pepper", "gaussian"])
def test_a_perturbation_is_the_cpus(kind: str, gpu: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    x, noise = as_images(IMAGES[:16]), torch.rand(16, 1, 28, 28, generator=generator)
    draws, nodes = torch.rand(5, 16, generator=generator) - 0.5, torch.randn(16, 2, 4, 4, generator=generator)

    def perturbed(device: torch.device) -> Tensor:
        x_, noise_, draws_, nodes_ = (one.to(device) for one in (x, noise, draws, nodes))
        angle, scale, shear, *shift = draws_
        result = {
            "affine": lambda: affine(x_, angle=angle, scale=1 + scale, shear=shear, shift=4 * torch.stack(shift, -1)),
            "elastic": lambda: elastic(x_, nodes_),
            "erosion": lambda: erosion(x_, 2),
            "dilation": lambda: dilation(x_, 3),
            "inversion": lambda: inversion(x_, draws_[0] + 0.5),
            "salt_and_pepper": lambda: salt_and_pepper(x_, noise_, 0.2),
            "gaussian": lambda: gaussian(x_, noise_, 0.3),
        }[kind]()
        return result.cpu()

    assert_close(perturbed(gpu), perturbed(torch.device("cpu")), atol=1e-4, rtol=0)


@pytest.mark.parametrize("mixed, atol", [(False, 1e-3), (True, 0.05)])
def test_embeddings_are_the_cpus_in_the_precision_of_the_layers(mixed: bool, atol: float, gpu: torch.device) -> None:
    params = in_precision(PARAMS, mixed=mixed)
    settings, _ = configured(params, f"{MNIST_PREFIX}jepa_ema")
    torch.manual_seed(0)
    encoder = domain(params).encoder(**settings["encoder"]).eval()
    assert isinstance(encoder, ConvEncoder) and encoder.mixed_precision == mixed
    with torch.no_grad():
        x = as_images(IMAGES[:64])
        expected = encoder(x)
        found = encoder.to(gpu)(x.to(gpu))
    assert found.dtype == torch.float32
    assert_close(found.cpu(), expected, atol=atol * expected.abs().max().item(), rtol=0)


def test_embeddings_over_shifts_are_the_cpus(gpu: torch.device) -> None:
    method = untrained(PARAMS, "jepa_ema")
    expected = embed(method, IMAGES[:64], torch.device("cpu"), 2)
    assert_close(embed(method.to(gpu), IMAGES[:64], gpu, 2), expected, atol=1e-3 * expected.abs().max().item(), rtol=0)


@precisions
@pytest.mark.parametrize("name", PARAMS.mnist.methods)
def test_no_step_on_the_images_waits_for_the_gpu(name: str, params: Params, gpu: torch.device) -> None:
    method = untrained(params, name).to(gpu)
    after, done = method.after_step, 0

    def watched(progress: float) -> None:
        nonlocal done
        after(progress)
        done += 1
        # What is kept on the device for all steps is made in the first ones, and after the last one the loss is read.
        torch.cuda.set_sync_debug_mode("error" if 2 < done < STEPS - 1 else "default")

    method.after_step = watched  # type: ignore[method-assign]
    assert on_images(name, gpu, STEPS, method) is method and done == STEPS


@precisions
@pytest.mark.parametrize("name", PARAMS.mnist.methods)
def test_a_training_on_images_ends_in_the_same_bytes(name: str, params: Params, gpu: torch.device) -> None:
    one, other = (on_images(name, gpu, 30, untrained(params, name)).state_dict() for _ in range(2))
    assert all(torch.equal(value, other[key]) for key, value in one.items())


@pytest.mark.parametrize("name", PARAMS.methods)
def test_a_training_on_the_mixture_ends_in_the_same_bytes(name: str, gpu: torch.device) -> None:
    one, other = (on_points(name, gpu, 10).state_dict() for _ in range(2))
    assert all(torch.equal(value, other[key]) for key, value in one.items())


class Alike:
    """NoiseSource that are the same on every device."""

    progress = 1.0

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def normal(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator).to(like)

    def uniform(self, like: Tensor) -> Tensor:
        return torch.rand(like.shape, generator=self.generator).to(like)

    def visible(self, like: Tensor) -> Tensor:
        return torch.tensor([1.0, 0.0]).to(like).expand(like.shape)


# SIGReg draws its directions where its points are.
@pytest.mark.parametrize("name", [name for name in PARAMS.methods if name != "sigreg"])
def test_loss_and_gradients_on_the_mixture_are_the_cpus(name: str, gpu: torch.device) -> None:
    settings, train = configured(PARAMS, name)
    torch.manual_seed(0)
    method = build(name, Points(copies=PARAMS.seeds, box=BOX), settings).train()
    x = torch.randn(PARAMS.seeds, train.batch_size, 2, generator=torch.Generator().manual_seed(1))

    def found(device: torch.device) -> list[Tensor]:
        method.to(device).zero_grad(set_to_none=True)
        loss = method.loss(x.to(device), Alike())["loss"]
        loss.sum().backward()
        gradients = [p.grad.cpu().clone() for group in method.parameter_groups() for p in group["params"] if p.grad is not None]
        return [loss.detach().cpu(), *gradients]

    expected = found(torch.device("cpu"))
    for one, other in zip(found(gpu), expected, strict=True):
        assert_close(one, other, atol=1e-3 * other.abs().max().item() + 1e-6, rtol=0)
