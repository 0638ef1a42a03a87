"""GPU: agreement with the CPU up to rounding, no synchronisation in a step, reproducible bytes. Skipped without a GPU."""

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
"""Steps of a training, more than an epoch of each method."""
pytestmark = [
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"),
    pytest.mark.filterwarnings("ignore:Synchronization debug mode"),  # torch warns that it is a prototype
]


@pytest.fixture(autouse=True)
def set_up() -> Iterator[None]:
    """Configure torch as every stage does, and restore its global modes afterwards."""
    seeding.set_up_torch(PARAMS.threads)
    yield
    torch.set_deterministic_debug_mode("default")
    torch.cuda.set_sync_debug_mode("default")


@pytest.fixture
def gpu() -> torch.device:
    return seeding.device(PARAMS.model_copy(update={"device": "cuda"}))


def image_batches(device: torch.device, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Endless batches of random images on the device."""
    return map(as_images, EpochBatches(IMAGES.to(device), batch_size=batch_size, generator=generator))


def on_images(name: str, device: torch.device, steps: int, method: Method) -> Method:
    """Train a method on images for `steps` steps."""
    trained = method.to(device)
    _, train = configured(PARAMS, MNIST_PREFIX + name)
    generator = torch.Generator(device).manual_seed(0)
    fitted(trained, image_batches(device, train.batch_size, generator), name, steps, train, generator)
    return trained


def on_points(name: str, device: torch.device, steps: int) -> Method:
    """Train a method on points for `steps` steps."""
    settings, train = configured(PARAMS, name)
    torch.manual_seed(0)
    trained = build(name, Points(copies=PARAMS.seeds, box=BOX), settings).to(device)
    generator = torch.Generator(device).manual_seed(0)
    points = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0)).to(device)
    batches = random_batches(points, lead=(PARAMS.seeds,), batch_size=train.batch_size, generator=generator)
    fitted(trained, batches, name, steps, train, generator)
    return trained


def fitted(method: Method, batches: Iterator[Tensor], name: str, steps: int, train: object, generator: torch.Generator) -> None:
    """Train a method in place with the params block `train`, without snapshots."""
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


def test_device_auto_is_the_gpu(gpu: torch.device) -> None:
    assert seeding.device(PARAMS.model_copy(update={"device": "auto"})) == gpu == torch.device("cuda")


@pytest.mark.parametrize("kind", ["affine", "elastic", "erosion", "dilation", "inversion", "salt_and_pepper", "gaussian"])
def test_transforms_agree_with_the_cpu(kind: str, gpu: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    x, noise = as_images(IMAGES[:16]), torch.rand(16, 1, 28, 28, generator=generator)
    uniform, nodes = torch.rand(5, 16, generator=generator) - 0.5, torch.randn(16, 2, 4, 4, generator=generator)

    def transformed(device: torch.device) -> Tensor:
        x_, noise_, uniform_, nodes_ = (tensor.to(device) for tensor in (x, noise, uniform, nodes))
        angle, scale, shear, *shift = uniform_
        result = {
            "affine": lambda: affine(x_, angle=angle, scale=1 + scale, shear=shear, shift=4 * torch.stack(shift, -1)),
            "elastic": lambda: elastic(x_, nodes_),
            "erosion": lambda: erosion(x_, 2),
            "dilation": lambda: dilation(x_, 3),
            "inversion": lambda: inversion(x_, uniform_[0] + 0.5),
            "salt_and_pepper": lambda: salt_and_pepper(x_, noise_, 0.2),
            "gaussian": lambda: gaussian(x_, noise_, 0.3),
        }[kind]()
        return result.cpu()

    assert_close(transformed(gpu), transformed(torch.device("cpu")), atol=1e-4, rtol=0)


@pytest.mark.parametrize("mixed, atol", [(False, 1e-3), (True, 0.05)])
def test_embeddings_agree_with_the_cpu_within_the_precision_of_the_layers(mixed: bool, atol: float, gpu: torch.device) -> None:
    params = in_precision(PARAMS, mixed=mixed)
    settings, _ = configured(params, f"{MNIST_PREFIX}jepa_ema")
    torch.manual_seed(0)
    encoder = domain(params, augments=False).encoder(**settings["encoder"]).eval()
    assert isinstance(encoder, ConvEncoder) and encoder.mixed_precision == mixed
    with torch.no_grad():
        x = as_images(IMAGES[:64])
        expected = encoder(x)
        found = encoder.to(gpu)(x.to(gpu))
    assert found.dtype == torch.float32
    assert_close(found.cpu(), expected, atol=atol * expected.abs().max().item(), rtol=0)


def test_embeddings_over_shifts_agree_with_the_cpu(gpu: torch.device) -> None:
    method = untrained(PARAMS, "jepa_ema")
    expected = embed(method, IMAGES[:64], torch.device("cpu"), 2)
    assert_close(embed(method.to(gpu), IMAGES[:64], gpu, 2), expected, atol=1e-3 * expected.abs().max().item(), rtol=0)


@precisions
@pytest.mark.parametrize("name", PARAMS.mnist.methods)
def test_training_step_on_images_does_not_synchronise_with_the_gpu(name: str, params: Params, gpu: torch.device) -> None:
    method = untrained(params, name, augments=True).to(gpu)
    after, done = method.after_step, 0

    def watched(progress: float) -> None:
        nonlocal done
        after(progress)
        done += 1
        # The first steps copy constants to the device, and after the last step the loss is read.
        torch.cuda.set_sync_debug_mode("error" if 2 < done < STEPS - 1 else "default")

    method.after_step = watched  # type: ignore[method-assign]
    assert on_images(name, gpu, STEPS, method) is method and done == STEPS


@precisions
@pytest.mark.parametrize("name", PARAMS.mnist.methods)
def test_repeated_training_on_images_ends_in_the_same_bytes(name: str, params: Params, gpu: torch.device) -> None:
    first, second = (on_images(name, gpu, 30, untrained(params, name, augments=True)).state_dict() for _ in range(2))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("name", PARAMS.methods)
def test_repeated_training_on_the_mixture_ends_in_the_same_bytes(name: str, gpu: torch.device) -> None:
    first, second = (on_points(name, gpu, 10).state_dict() for _ in range(2))
    assert all(torch.equal(value, second[key]) for key, value in first.items())


class CpuNoise:
    """A noise source with the same random numbers on every device: it generates them on the CPU."""

    progress = 1.0

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def normal(self, like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=self.generator).to(like)

    def uniform(self, like: Tensor) -> Tensor:
        return torch.rand(like.shape, generator=self.generator).to(like)

    def visible(self, like: Tensor) -> Tensor:
        return torch.tensor([1.0, 0.0]).to(like).expand(like.shape)


# SIGReg generates its random directions on the device of its points, so `CpuNoise` cannot provide them.
@pytest.mark.parametrize("name", [name for name in PARAMS.methods if name != "sigreg"])
def test_loss_and_gradients_on_the_mixture_agree_with_the_cpu(name: str, gpu: torch.device) -> None:
    settings, train = configured(PARAMS, name)
    torch.manual_seed(0)
    method = build(name, Points(copies=PARAMS.seeds, box=BOX), settings).train()
    x = torch.randn(PARAMS.seeds, train.batch_size, 2, generator=torch.Generator().manual_seed(1))

    def found(device: torch.device) -> list[Tensor]:
        method.to(device).zero_grad(set_to_none=True)
        loss = method.loss(x.to(device), CpuNoise())["loss"]
        loss.sum().backward()
        gradients = [p.grad.cpu().clone() for group in method.parameter_groups() for p in group["params"] if p.grad is not None]
        return [loss.detach().cpu(), *gradients]

    expected = found(torch.device("cpu"))
    for value, reference in zip(found(gpu), expected, strict=True):
        assert_close(value, reference, atol=1e-3 * reference.abs().max().item() + 1e-6, rtol=0)
