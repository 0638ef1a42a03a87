"""The training loop: independent seeds, batches, schedules, snapshots, and non-finite losses."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from pytest import approx
from torch import Tensor, nn
from torch.testing import assert_close

from stages.config import params
from stages.core.errors import TrainingDiverged
from stages.nn.batches import EpochBatches, random_batches
from stages.nn.build import build, configured
from stages.nn.method import Method
from stages.nn.noise import FixedNoise, NoiseSource, TrainingNoise
from stages.nn.schedule import learning_rate_factor, log_spaced
from stages.nn.training import fit
from tests.plane import domain, generator, points

PARAMS = params.load(Path(__file__).parent.parent / "params.yaml")
methods = pytest.mark.parametrize("name", PARAMS.methods)


def make(name: str, copies: int = 3) -> Method:
    torch.manual_seed(0)
    return build(name, domain(copies), configured(PARAMS, name)[0])


class Quadratic(Method):
    """The loss ‖w − x‖², whose minimum is the mean of the data."""

    def __init__(self, copies: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(2.0 * copies).reshape(copies, 1, 2))
        self.progress: list[float] = []

    def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
        return {"loss": (self.weight - x).square().sum(-1).mean(-1), "size": self.weight.square().sum((-2, -1))}

    def after_step(self, progress: float) -> None:
        self.progress.append(progress)


def train(method: Method, batches: Iterator[Tensor] | None = None, **changes: Any) -> list[dict[str, float]]:
    """Train a method for ten steps, with some arguments of `fit` changed."""
    settings: dict[str, Any] = {
        "name": "quadratic",
        "source": TrainingNoise(generator()),
        "steps": 10,
        "learning_rate": 0.01,
        "weight_decay": 0.1,
        "schedule": "cosine",
        "warmup": 3,
        "log_every": 1,
        "snapshots": [],
        "on_snapshot": lambda step: None,
        **changes,
    }
    return fit(method, batches or itertools.repeat(points()), **settings)


# seeds


@methods
def test_loss_of_a_seed_is_independent_of_other_seeds(name: str) -> None:
    def loss_and_gradients(method: Method, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        losses = method.loss(x, TrainingNoise(generator()))["loss"]
        assert losses.shape == (3,)
        losses.sum().backward()
        return losses, [p.grad for p in method.parameters() if p.grad is not None]

    original, changed, x = make(name), make(name), points()
    with torch.no_grad():
        for p in changed.parameters():
            p[0] += 1
    loss, gradients = loss_and_gradients(original, x)
    changed_loss, changed_gradients = loss_and_gradients(changed, x + torch.eye(3)[0, :, None, None])
    assert loss[0] != changed_loss[0] and (loss[1:] == changed_loss[1:]).all()
    assert gradients and all((a[1:] == b[1:]).all() for a, b in zip(gradients, changed_gradients, strict=True))


@methods
def test_training_of_a_seed_is_independent_of_the_data_of_another(name: str) -> None:
    x, trained = points(), []
    for shift in (0, 1):
        trained.append(make(name))
        train(trained[-1], itertools.repeat(x + shift * torch.eye(3)[0, :, None, None]))
    for a, b in zip(*(method.parameters() for method in trained), strict=True):
        assert (a[1:] == b[1:]).all()


@methods
def test_batched_copies_have_the_losses_of_single_copies(name: str) -> None:
    together, x = make(name), points()
    losses = together.loss(x, FixedNoise(points(2), torch.eye(2).repeat(8, 1)))["loss"]
    for s in range(3):
        alone = make(name, copies=1)
        alone.load_state_dict({key: value[s : s + 1] for key, value in together.state_dict().items()})
        assert_close(alone.loss(x[s : s + 1], FixedNoise(points(2), torch.eye(2).repeat(8, 1)))["loss"], losses[s : s + 1])


@methods
def test_expanded_points_give_the_losses_of_copied_points(name: str) -> None:
    shared = points()[0].expand(3, -1, -1)
    losses = [make(name).loss(x, FixedNoise(points(2), torch.eye(2).repeat(8, 1)))["loss"] for x in (shared, shared.clone())]
    assert_close(*losses)


@methods
def test_points_without_a_seed_axis_are_evaluated_by_all_copies(name: str) -> None:
    method, x = make(name).eval(), points()[0]
    for function in {"embed", "score", "energy"} & set(dir(method)):
        evaluate = getattr(method, function)
        assert_close(evaluate(x), evaluate(x.repeat(3, 1, 1)))


@methods
def test_loss_has_the_precision_of_the_points(name: str) -> None:
    parts = make(name).double().loss(points().double(), TrainingNoise(generator()))
    assert {value.dtype for value in parts.values()} == {torch.float64}


@methods
def test_loss_needs_no_more_noise_than_the_held_out_views_hold(name: str) -> None:
    assert make(name).loss(points(), FixedNoise(points(2), torch.eye(2).repeat(8, 1)))["loss"].isfinite().all()


# batches, learning rate, snapshots


def test_random_batches_are_rows_of_the_data_and_differ_between_seeds() -> None:
    x = torch.arange(50).reshape(25, 2)
    batch = next(random_batches(x, lead=(3,), batch_size=8, generator=generator()))
    assert batch.shape == (3, 8, 2) and (batch % 2 == torch.tensor([0, 1])).all()
    assert (batch[..., 1] == batch[..., 0] + 1).all() and (batch[0] != batch[1]).any()


def test_the_same_generator_gives_the_same_batches() -> None:
    x = torch.arange(50)
    first, second = (random_batches(x, lead=(2,), batch_size=8, generator=generator()) for _ in range(2))
    assert all((next(first) == next(second)).all() for _ in range(5))


def test_each_epoch_has_every_row_once_in_a_new_order() -> None:
    batches = EpochBatches(torch.arange(12), batch_size=4, generator=generator())
    epochs = [torch.cat([next(batches) for _ in range(3)]).tolist() for _ in range(4)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_incomplete_last_batch_is_dropped() -> None:
    batches = EpochBatches(torch.arange(11), batch_size=4, generator=generator())
    epochs = [torch.cat([next(batches), next(batches)]).tolist() for _ in range(20)]
    assert all(len(set(epoch)) == 8 for epoch in epochs)


def test_batch_larger_than_the_data_is_rejected() -> None:
    with pytest.raises(ValueError, match="5 is larger than the 4 rows"):
        next(EpochBatches(torch.arange(4), batch_size=5, generator=generator()))


def test_learning_rate_equals_that_of_pytorch_schedulers() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1)
    warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / 5, total_iters=4)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [warmup, cosine], milestones=[5])
    for step in range(25):
        assert learning_rate_factor(step, 25, schedule="cosine", warmup=5) == approx(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()


def test_learning_rate_factor_has_the_exact_value_in_limit_cases() -> None:
    assert [learning_rate_factor(s, 9, schedule="constant", warmup=0) for s in range(9)] == [1] * 9
    assert learning_rate_factor(0, 100, schedule="cosine", warmup=0) == 1
    assert learning_rate_factor(50, 100, schedule="cosine", warmup=0) == approx(0.5)
    assert 0 < learning_rate_factor(99, 100, schedule="cosine", warmup=0) < 0.001
    assert learning_rate_factor(0, 100, schedule="constant", warmup=10) == approx(0.1)
    assert learning_rate_factor(9, 100, schedule="constant", warmup=10) == 1
    assert learning_rate_factor(4, 5, schedule="cosine", warmup=10) == approx(0.5)


@pytest.mark.parametrize(("steps", "count"), list(itertools.product([1, 2, 10, 1500, 6000], [1, 2, 3, 40])))
def test_snapshots_increase_from_start_to_end_and_do_not_exceed_the_count(steps: int, count: int) -> None:
    snapshots = log_spaced(steps, count)
    assert snapshots == sorted(set(snapshots)) and len(snapshots) <= count
    assert snapshots[-1] == steps and (count == 1 or snapshots[0] == 0)


def test_snapshots_are_evenly_spaced_in_the_logarithm_of_the_step() -> None:
    late = [math.log(step + 1) for step in log_spaced(100_000, 21) if step > 100]
    gaps = [b - a for a, b in itertools.pairwise(late)]
    assert gaps == approx([math.log(100_001) / 20] * len(gaps), rel=0.02)


# the training loop


def test_fit_equals_plain_adamw_with_the_schedule() -> None:
    ours, plain, x = Quadratic(), Quadratic(), points()
    train(ours, itertools.repeat(x))
    optimizer = torch.optim.AdamW(plain.parameters(), weight_decay=0.1)
    for step in range(10):
        optimizer.param_groups[0]["lr"] = 0.01 * learning_rate_factor(step, 10, schedule="cosine", warmup=3)
        optimizer.zero_grad()
        plain.loss(x, TrainingNoise(generator()))["loss"].sum().backward()
        optimizer.step()
    assert_close(ours.weight, plain.weight)


def test_fit_finds_the_minimum() -> None:
    method, x = Quadratic(), points()
    rows = train(method, itertools.repeat(x), steps=300, learning_rate=0.1, weight_decay=0.0)
    assert_close(method.weight, x.mean(1, keepdim=True), rtol=0, atol=0.02)
    assert rows[-1]["loss"] < rows[0]["loss"]


@methods
def test_training_lowers_the_loss_of_every_method(name: str) -> None:
    x = points(count=64)
    rows = train(make(name), itertools.repeat(x), steps=60, learning_rate=0.003, schedule="constant", weight_decay=0.0)
    assert sum(row["loss"] for row in rows[-10:]) < sum(row["loss"] for row in rows[:10])


def test_parameter_group_may_scale_the_learning_rate() -> None:
    class Slow(Quadratic):
        def parameter_groups(self) -> list[dict[str, Any]]:
            return [{"params": [self.weight], "scale": 0.5}]

    slow, fast = Slow(), Quadratic()
    start = fast.weight.detach().clone()
    for method in (slow, fast):
        train(method, steps=1, warmup=0, weight_decay=0.0)
    assert_close(slow.weight - start, (fast.weight - start) / 2, rtol=1e-3, atol=1e-6)


def test_fit_is_deterministic() -> None:
    def fitted(seed: int) -> tuple[list[dict[str, float]], list[Tensor]]:
        method, x = make("dsm"), points(1, 40)[0]
        batches = random_batches(x, lead=(3,), batch_size=8, generator=generator(seed))
        return train(method, batches, source=TrainingNoise(generator(seed))), list(method.parameters())

    (rows, weights), (same_rows, same_weights), (other_rows, _) = fitted(0), fitted(0), fitted(1)
    assert rows == same_rows != other_rows
    assert all((a == b).all() for a, b in zip(weights, same_weights, strict=True))


def test_curves_have_mean_and_std_over_seeds_of_each_loss_term() -> None:
    rows = train(Quadratic(), log_every=4)
    assert [row["step"] for row in rows] == [0, 4, 8, 9]
    assert list(rows[0]) == ["step", "loss", "loss_std", "size", "size_std"]
    sizes = torch.tensor([1.0, 13, 41])
    assert rows[0]["size"] == approx(sizes.mean().item())
    assert rows[0]["size_std"] == approx(sizes.std(correction=0).item())


def test_snapshots_are_taken_before_their_step_and_at_the_end() -> None:
    method, seen = Quadratic(), {}
    start = method.weight.detach().clone()

    def keep(step: int) -> None:
        seen[step] = method.weight.detach().clone()
        method.eval()

    train(method, snapshots=[0, 4, 10], on_snapshot=keep)
    assert list(seen) == [0, 4, 10]
    assert (seen[0] == start).all() and (seen[4] != start).all() and (seen[10] == method.weight).all()


def test_snapshots_do_not_change_the_training() -> None:
    with_snapshots, without = Quadratic(), Quadratic()
    train(with_snapshots, snapshots=[0, 3, 10], on_snapshot=lambda step: with_snapshots.eval() and None)
    train(without)
    assert (with_snapshots.weight == without.weight).all()


def test_fit_trains_in_training_mode_and_ends_in_evaluation_mode() -> None:
    class ChecksMode(Quadratic):
        def loss(self, x: Tensor, source: NoiseSource) -> dict[str, Tensor]:
            assert self.training
            return super().loss(x, source)

    method = ChecksMode()
    train(method, snapshots=[4], on_snapshot=lambda step: method.eval() and None)
    assert not method.training


def test_after_step_gets_the_progress_up_to_one() -> None:
    method = Quadratic()
    train(method, steps=4)
    assert method.progress == [0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_non_finite_loss_raises_an_error_with_method_step_and_seed(value: float) -> None:
    x = points()
    broken = x.clone()
    broken[2, 0, 0] = value
    batches = itertools.chain([x] * 4, itertools.repeat(broken))
    with pytest.raises(TrainingDiverged, match=r"^diverging: the loss is not finite at step 4, seed 2$"):
        train(Quadratic(), batches, name="diverging")


def test_non_finite_loss_between_two_logged_steps_is_detected() -> None:
    broken = points()
    broken[1, 0, 0] = torch.nan
    batches = itertools.chain([points()] * 4, [broken], itertools.repeat(points()))
    with pytest.raises(TrainingDiverged, match="step 4, seed 1"):
        train(Quadratic(), batches, log_every=7)


def test_non_finite_parameters_after_the_last_step_are_detected() -> None:
    class Breaking(Quadratic):
        def after_step(self, progress: float) -> None:
            if progress == 1:
                next(self.parameters()).data.fill_(torch.nan)

    with pytest.raises(TrainingDiverged, match=r"is not finite after the last of \d+ steps"):
        train(Breaking())


def test_progress_is_printed_in_plain_lines_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    train(Quadratic(), steps=25)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"quadratic: step {step} of 25" for step in (0, 10, 20)]
