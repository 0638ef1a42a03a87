"""Networks and methods on images: shapes, BatchNorm statistics, EMA target, frozen encoders of phase 2."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close

from stages.methods.jepa_ema import JepaEma
from stages.mnist.decoder.model import Reconstruction
from stages.mnist.encoder import embed as embedding
from stages.mnist.encoder.domain import Images
from stages.mnist.encoder.embed import embed, for_knn
from stages.nn.build import build
from stages.nn.conv import ConvEncoder, Decoder, Predictor, as_arrays, as_images
from stages.nn.method import Method
from stages.nn.noise import TrainingNoise
from stages.nn.training import fit

DIM = 8
CPU = torch.device("cpu")
PERTURBATIONS = {"inversion": {"probability": 1.0, "amount": 0.7}, "gaussian": {"probability": 1.0, "std": 0.1}}
COMMON: dict[str, Any] = {"view": {"schedule": (1, 1)}, "encoder": {"channels": [2, 4, 4], "dim": DIM}}
EMA = {"predictor": True, "predictor_width": 8, "stop_gradient": True, "decay": 0.9}
METHODS: dict[str, dict[str, Any]] = {
    "barlow_twins": {"redundancy": 0.0051},
    "contrastive": {"temperature": 0.1},
    "jepa_basic": {},
    "jepa_ema": EMA,
    "jepa_pairwise": {},
    "sigreg": {"weight": 0.1, "directions": 4},
    "spectral_contrastive": {},
    "vicreg": {"invariance": 25.0, "variance": 25.0, "covariance": 1.0},
}


def method(name: str, **changes: Any) -> Method:
    torch.manual_seed(0)
    return build(
        name,
        Images(side=28, colours=1, perturbations=PERTURBATIONS, mixed_precision=False),
        {**COMMON, **METHODS[name], **changes},
    )


def source() -> TrainingNoise:
    return TrainingNoise(torch.Generator().manual_seed(0))


def batch(count: int = 16) -> Tensor:
    return torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(1))


def state(module: nn.Module) -> dict[str, bytes]:
    """The bytes of all parameters and buffers."""
    return {name: value.numpy().tobytes() for name, value in module.state_dict().items()}


def changed(module: nn.Module, before: dict[str, bytes]) -> set[str]:
    """The names of the parameters and buffers that differ from an earlier `state`."""
    return {name for name, content in state(module).items() if content != before[name]}


def statistics(module: nn.Module) -> dict[str, Tensor]:
    """Copies of the BatchNorm buffers."""
    return {name: value.clone() for name, value in module.named_buffers()}


# ---------------------------------------------------------------- networks


@pytest.mark.parametrize("count", [1, 5])
def test_encoder_maps_images_to_embeddings(count: int) -> None:
    encoder = ConvEncoder(channels=[2, 4, 6], dim=DIM, side=28, colours=1, mixed_precision=True).eval()
    assert encoder(batch(count)).shape == (count, DIM)
    assert encoder.outputs == DIM


@pytest.mark.parametrize("side", [8, 9, 12, 15, 28, 31, 64])
@pytest.mark.parametrize("colours", [1, 3])
def test_networks_fit_images_of_any_side_and_in_colour(side: int, colours: int) -> None:
    x = torch.rand(2, colours, side, side)
    encoder = ConvEncoder(channels=[2, 4, 6], dim=DIM, side=side, colours=colours, mixed_precision=True).eval()
    decoder = Decoder(dim=DIM, channels=4, side=side, colours=colours).eval()
    z = encoder(x)
    assert z.shape == (2, DIM) and decoder(z).shape == x.shape


def test_predictor_keeps_the_shape_of_embeddings() -> None:
    assert Predictor(dim=DIM, hidden=3)(torch.randn(5, DIM)).shape == (5, DIM)


@pytest.mark.parametrize("scale", [0, 1, 1e6])
def test_decoder_maps_any_embeddings_to_images_in_the_unit_interval(scale: float) -> None:
    images = Decoder(dim=DIM, channels=4, side=28, colours=1).eval()(scale * torch.randn(5, DIM))
    assert images.shape == (5, 1, 28, 28)
    assert images.min() >= 0 and images.max() <= 1


def test_encoder_distinguishes_positions_in_the_image() -> None:
    torch.manual_seed(0)
    encoder = ConvEncoder(channels=[2, 4, 4], dim=DIM, side=28, colours=1, mixed_precision=True).eval()
    dot = torch.zeros(1, 1, 28, 28)
    dot[..., 4:8, 4:8] = 1
    assert (encoder(dot) - encoder(dot.flip(-1))).abs().max() > 1e-3


def test_bytes_become_float_images_in_the_unit_interval() -> None:
    content = torch.tensor([0, 51, 255], dtype=torch.uint8).expand(2, 28, 3)
    images = as_images(content)
    assert images.shape == (2, 1, 28, 3) and images.dtype == torch.float32
    assert_close(images[0, 0, 0], torch.tensor([0, 0.2, 1]))
    assert content[0, 0].tolist() == [0, 51, 255]


def test_arrays_become_images_and_come_back() -> None:
    for shape in ((2, 4, 5), (2, 4, 5, 3)):
        content = torch.randint(256, shape, dtype=torch.uint8)
        images = as_images(content)
        assert images.shape == (2, len(shape) * 2 - 5, 4, 5)
        assert torch.equal((as_arrays(images) * 255).round().byte(), content)


def test_image_domain_rejects_multilayer_perceptrons_and_uniform_points() -> None:
    domain = Images(side=28, colours=1, perturbations={}, mixed_precision=False)
    with pytest.raises(TypeError, match="points"):
        domain.mlp(inputs=2, outputs=2, width=4, depth=1)
    with pytest.raises(TypeError, match="points"):
        domain.uniform(batch(), source())


def test_augmentation_follows_the_progress_of_the_training() -> None:
    domain = Images(side=28, colours=1, perturbations={"inversion": {"probability": 1.0, "amount": 1.0}}, mixed_precision=False)
    augment, noise = domain.augmentation(schedule=(0, 1)), source()
    assert_close(augment(batch(), noise), batch())
    noise.progress = 1.0
    assert_close(augment(batch(), noise), 1 - batch())


# ---------------------------------------------------------------- methods on images


@pytest.mark.parametrize("name", METHODS)
def test_loss_on_images_is_a_finite_scalar(name: str) -> None:
    parts = method(name).train().loss(batch(), source())
    assert all(value.shape == () and value.isfinite() for value in parts.values())


@pytest.mark.parametrize("name", METHODS)
def test_knn_normalises_embeddings_exactly_if_the_method_is_cosine(name: str) -> None:
    trained = method(name)
    z = embed(trained, torch.randint(256, (20, 28, 28), dtype=torch.uint8), CPU)
    length = for_knn(trained, z).norm(dim=-1)
    assert not torch.allclose(z.norm(dim=-1), torch.ones(20), atol=1e-5)
    assert trained.cosine == (name in ("contrastive", "jepa_ema"))
    assert torch.allclose(length, torch.ones(20), atol=1e-5) == trained.cosine


def test_embedding_in_chunks_changes_neither_embeddings_nor_method(monkeypatch: pytest.MonkeyPatch) -> None:
    trained, images = method("jepa_ema"), torch.randint(256, (20, 28, 28), dtype=torch.uint8)
    trained.train().loss(batch(), source())
    before, whole = state(trained), embed(trained, images, CPU)
    monkeypatch.setattr(embedding, "CHUNK", 7)
    chunks = embed(trained, images, CPU)
    assert chunks.shape == (20, DIM)
    assert_close(chunks, whole)
    assert not changed(trained, before)


def test_embedding_over_shifts_is_the_mean_over_shifted_images() -> None:
    trained, images = method("jepa_ema"), torch.zeros(5, 28, 28, dtype=torch.uint8)
    images[:, 3:-3, 3:-3] = torch.randint(256, (5, 22, 22), dtype=torch.uint8)
    assert_close(embed(trained, images, CPU, 0), trained.embed(as_images(images)).detach())
    for shifts in (1, 2):
        offsets = list(itertools.product(range(-shifts, shifts + 1), repeat=2))
        shifted = [embed(trained, images.roll(offset, (1, 2)), CPU) for offset in offsets]
        assert_close(embed(trained, images, CPU, shifts), sum(shifted) / (2 * shifts + 1) ** 2)
        assert not torch.allclose(embed(trained, images, CPU, shifts), shifted[len(offsets) // 2], atol=1e-4)


def test_shifted_images_repeat_their_border() -> None:
    trained, columns = method("jepa_ema"), torch.linspace(0, 255, 28).to(torch.uint8).expand(3, 28, 28)
    shifted = [embed(trained, columns[..., (torch.arange(28) + offset).clamp(0, 27)], CPU) for offset in (-1, 0, 1)]
    assert_close(embed(trained, columns, CPU, 1), sum(shifted) / 3)


# ---------------------------------------------------------------- the EMA target


def ema(**changes: Any) -> JepaEma:
    built = method("jepa_ema", **changes)
    assert isinstance(built, JepaEma)
    return built.train()


def test_encoder_and_target_have_the_batchnorm_statistics_of_their_own_inputs() -> None:
    trained = ema()
    on_clean, on_augmented = copy.deepcopy(trained.encoder), copy.deepcopy(trained.encoder)
    on_clean(batch())
    on_augmented(trained.augment(batch(), source()))
    trained.loss(batch(), source())
    assert_close(statistics(trained.target), statistics(on_clean))
    assert_close(statistics(trained.encoder), statistics(on_augmented))
    assert not torch.allclose(trained.target[1].running_mean, trained.encoder[1].running_mean)


def test_ema_update_changes_parameters_and_no_batchnorm_statistics() -> None:
    trained = ema(decay=0.0)
    with torch.no_grad():
        for parameter in trained.encoder.parameters():
            parameter.add_(1)
    trained.loss(batch(), source())
    before = statistics(trained.target)
    trained.after_step(0)
    assert_close(dict(trained.target.named_parameters()), dict(trained.encoder.named_parameters()))
    assert_close(statistics(trained.target), before, rtol=0, atol=0)


@pytest.mark.parametrize("stop_gradient", [True, False])
def test_no_gradient_reaches_the_target(stop_gradient: bool) -> None:
    trained = ema(stop_gradient=stop_gradient)
    trained.loss(batch(), source())["loss"].backward()
    assert all(p.grad is None and not p.requires_grad for p in trained.target.parameters())
    assert all(p.grad is not None for p in trained.encoder.parameters())
    trainable = {id(p) for group in trained.parameter_groups() for p in group["params"]}
    assert trainable.isdisjoint(map(id, trained.target.parameters()))


def test_embeddings_come_from_the_ema_target() -> None:
    trained = ema().eval()
    with torch.no_grad():
        trained.encoder[-1].weight.zero_()
    assert_close(trained.embed(batch()), trained.target(batch()))


def test_without_stop_gradient_the_encoder_embeds_with_its_own_statistics() -> None:
    trained = ema(stop_gradient=False)
    trained.loss(batch(), source())
    before = trained.encoder[1].running_mean.clone()
    trained.loss(batch(), source())
    assert trained.encoder[1].num_batches_tracked > 0
    torch.testing.assert_close(trained.eval().embed(batch()), trained.encoder(batch()))
    assert not torch.equal(before, trained.encoder[1].running_mean)


def test_weights_are_channels_last_and_load_from_contiguous_weights() -> None:
    encoder = ConvEncoder(channels=[2, 4, 6], dim=DIM, side=28, colours=1, mixed_precision=False)
    assert all(p.is_contiguous(memory_format=torch.channels_last) for p in encoder.parameters() if p.ndim == 4)
    plain = ConvEncoder(channels=[2, 4, 6], dim=DIM, side=28, colours=1, mixed_precision=False)
    plain.load_state_dict({key: value.contiguous() for key, value in encoder.state_dict().items()})
    torch.testing.assert_close(plain(batch()), encoder(batch()), rtol=0, atol=0)


def test_mixed_precision_has_no_effect_on_a_cpu() -> None:
    mixed, full = (ConvEncoder(channels=[2, 4, 6], dim=DIM, side=28, colours=1, mixed_precision=flag) for flag in (True, False))
    full.load_state_dict(mixed.state_dict())
    assert torch.equal(mixed(batch()), full(batch())) and mixed(batch()).dtype == torch.float32


# ---------------------------------------------------------------- phase 2


def reconstruction(encoder: Any, name: str = "jepa_ema") -> Reconstruction:
    """An untrained decoder on an encoder with BatchNorm statistics, in one of the modes of `Reconstruction`."""
    trained = method(name).train()
    trained.loss(batch(), source())
    augment = Images(side=28, colours=1, perturbations=PERTURBATIONS, mixed_precision=False).augmentation(schedule=(1, 1))
    return Reconstruction(
        trained, Decoder(dim=DIM, channels=4, side=28, colours=1), augment, encoder_mode=encoder, encoder_scale=0.5
    )


def after_training(model: Reconstruction) -> Reconstruction:
    """Train a model in place for four steps, with a snapshot, and return it."""

    def batches() -> Iterator[Tensor]:
        while True:
            yield batch()

    settings: dict[str, Any] = {"learning_rate": 0.01, "weight_decay": 0.1, "schedule": "constant", "warmup": 0}
    fit(
        model,
        batches(),
        name="decoder",
        source=source(),
        steps=4,
        log_every=4,
        snapshots=[2],
        on_snapshot=lambda step: model.eval() and None,
        **settings,
    )
    return model


def test_frozen_encoder_keeps_its_bytes() -> None:
    model = reconstruction("frozen")
    encoder, decoder = state(model.encoder), state(model.decoder)
    after_training(model)
    assert not changed(model.encoder, encoder)
    assert changed(model.decoder, decoder) == set(decoder)


@pytest.mark.parametrize("name, path", [("jepa_ema", "target"), ("jepa_basic", "encoder")])
def test_finetuned_encoder_changes_its_parameters_but_not_its_statistics(name: str, path: str) -> None:
    model = reconstruction("finetuned", name)
    before = state(model.encoder)
    after_training(model)
    embedder = model.encoder.get_submodule(path)
    assert changed(model.encoder, before) == {f"{path}.{key}" for key, _ in embedder.named_parameters()}


@pytest.mark.parametrize("encoder", ["frozen", "finetuned"])
def test_pretrained_encoder_stays_in_evaluation_mode(encoder: str) -> None:
    model = reconstruction(encoder).train()
    assert model.decoder.training
    assert not any(module.training for module in model.encoder.modules())


@pytest.mark.parametrize("name, path", [("jepa_ema", "target"), ("jepa_basic", "encoder")])
def test_encoder_from_scratch_changes_its_parameters_and_statistics(name: str, path: str) -> None:
    model = reconstruction("scratch", name)
    before = state(model.encoder)
    after_training(model)
    assert changed(model.encoder, before) == {f"{path}.{key}" for key in state(model.encoder.get_submodule(path))}


def test_frozen_encoder_is_in_no_parameter_group() -> None:
    (group,) = reconstruction("frozen").parameter_groups()
    decoder, encoder = reconstruction("finetuned").parameter_groups()
    assert len(group["params"]) == len(decoder["params"])
    assert encoder["scale"] == 0.5


def test_reconstruction_loss_is_the_mse_to_the_clean_image() -> None:
    model = reconstruction("frozen").eval()
    loss = model.loss(batch(), source())["loss"]
    expected = (model(model.augment(batch(), source())) - batch()).square().mean()
    assert loss.shape == () and torch.equal(loss, expected)


def test_reconstructions_are_images_in_the_unit_interval() -> None:
    images = reconstruction("frozen").eval()(batch(5))
    assert images.shape == (5, 1, 28, 28)
    assert images.min() >= 0 and images.max() <= 1
