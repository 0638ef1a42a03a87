"""The one training loop and what it stands on: batched networks, moving averages, draws, schedules, independent seeds."""

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

from stages import params
from stages.errors import TrainingDiverged
from stages.methods import build
from stages.mog.world import Points
from stages.nn.draws import Draws, FixedDraws, TrainingDraws
from stages.nn.gradient import gradient
from stages.nn.method import Method
from stages.nn.mlp import BatchedMLP
from stages.nn.moments import log_spaced
from stages.nn.moving_average import follow, frozen_copy
from stages.nn.training import EpochBatches, fit, learning_rate_factor, random_batches
from tests.plane import world

PARAMS = params.load(Path(__file__).parent.parent / "params.yaml")
methods = pytest.mark.parametrize("name", PARAMS.methods)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make(name: str, copies: int = 3) -> Method:
    torch.manual_seed(0)
    return build(name, world(copies), PARAMS.method(name)[0])


def points(copies: int = 3, count: int = 16) -> Tensor:
    return torch.randn((copies, count, 2), generator=generator(1))


class Quadratic(Method):
    """w tends to the mean of the data."""

    def __init__(self, copies: int = 3) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(2.0 * copies).reshape(copies, 1, 2))
        self.progress: list[float] = []

    def loss(self, x: Tensor, draws: Draws) -> dict[str, Tensor]:
        return {"loss": (self.weight - x).square().sum(-1).mean(-1), "size": self.weight.square().sum((-2, -1))}

    def after_step(self, progress: float) -> None:
        self.progress.append(progress)


def train(method: Method, batches: Iterator[Tensor] | None = None, **changes: Any) -> list[dict[str, float]]:
    settings: dict[str, Any] = {
        "name": "quadratic",
        "draws": TrainingDraws(generator()),
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


# networks


def test_a_batched_network_is_as_many_separate_ones_in_value_and_gradient() -> None:
    batched, x = BatchedMLP(copies=3, sizes=[2, 5, 6, 4]), points()
    batched(x).square().sum().backward()
    for s in range(3):
        single = nn.Sequential(nn.Linear(2, 5), nn.SiLU(), nn.Linear(5, 6), nn.SiLU(), nn.Linear(6, 4))
        for i in (0, 2, 4):
            single[i].weight.data, single[i].bias.data = batched[i].weight.data[s].T, batched[i].bias.data[s, 0]
        single(x[s]).square().sum().backward()
        assert_close(batched(x)[s], single(x[s]))
        for i in (0, 2, 4):
            assert_close(batched[i].weight.grad[s].T, single[i].weight.grad, rtol=1e-4, atol=1e-5)
            assert_close(batched[i].bias.grad[s, 0], single[i].bias.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sizes", [[2, 4], [2, 5, 6, 4]])
def test_the_jacobian_carried_forward_is_the_one_of_reverse_derivatives(sizes: list[int]) -> None:
    network, x = BatchedMLP(copies=3, sizes=sizes).double(), points().double().requires_grad_()
    value, slopes = network.with_jacobian(x)
    assert_close(value, network(x))
    rows = [torch.autograd.grad(network(x)[..., i].sum(), x)[0] for i in range(4)]
    assert_close(slopes, torch.stack(rows, -1).movedim(-2, 0))


def test_points_without_seeds_go_to_all_copies_alike() -> None:
    batched, x = BatchedMLP(copies=3, sizes=[2, 5, 4]), points()[0]
    assert (batched(x) == batched(x.expand(3, -1, -1))).all()
    assert batched(x).shape == (3, 16, batched.outputs)


def test_without_hidden_layers_a_network_is_affine() -> None:
    (layer,) = affine = BatchedMLP(copies=3, sizes=[2, 4])
    assert_close(affine(points()), points() @ layer.weight + layer.bias)


def test_copies_start_apart_and_as_pytorchs_linear_does() -> None:
    weight = BatchedMLP(copies=2, sizes=[16, 500])[0].weight.detach()
    assert (weight[0] != weight[1]).all()
    assert weight.abs().max() <= 1 / 4 and weight.std().item() == approx(1 / 4 / 3**0.5, rel=0.05)
    assert nn.Linear(16, 500).weight.std().item() == approx(weight.std().item(), rel=0.05)


def test_the_target_follows_by_the_formula() -> None:
    target, online = nn.Linear(3, 2), nn.Linear(3, 2)
    expected = [0.9 * slow + 0.1 * fast for slow, fast in zip(target.parameters(), online.parameters(), strict=True)]
    follow(target, online, 0.9)
    assert_close(list(target.parameters()), expected, rtol=1e-5, atol=1e-6)


def test_decay_zero_copies_and_decay_one_keeps() -> None:
    target, online = nn.Linear(3, 2), nn.Linear(3, 2)
    before = target.weight.clone()
    follow(target, online, 1)
    assert (target.weight == before).all()
    follow(target, online, 0)
    assert (target.weight == online.weight).all()


def test_the_target_keeps_its_own_normalisation_statistics() -> None:
    target, online = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    online(points()[0] + 5)
    follow(target, online, 0)
    assert (target.running_mean == 0).all() and (online.running_mean != 0).all()


def test_a_frozen_copy_is_equal_apart_and_without_gradient() -> None:
    network = nn.Linear(3, 2)
    frozen = frozen_copy(network)
    assert (frozen.weight == network.weight).all() and network.weight.requires_grad
    network.weight.data.zero_()
    assert (frozen.weight != 0).all() and not any(p.requires_grad for p in frozen.parameters())


# seeds


@methods
def test_a_seed_is_not_touched_by_the_parameters_and_data_of_another(name: str) -> None:
    def loss_and_gradients(method: Method, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        losses = method.loss(x, TrainingDraws(generator()))["loss"]
        assert losses.shape == (3,)
        losses.sum().backward()
        return losses, [p.grad for p in method.parameters() if p.grad is not None]

    untouched, touched, x = make(name), make(name), points()
    with torch.no_grad():
        for p in touched.parameters():
            p[0] += 1
    loss, gradients = loss_and_gradients(untouched, x)
    other, others = loss_and_gradients(touched, x + torch.eye(3)[0, :, None, None])
    assert loss[0] != other[0] and (loss[1:] == other[1:]).all()
    assert gradients and all((a[1:] == b[1:]).all() for a, b in zip(gradients, others, strict=True))


@methods
def test_a_seed_trains_alike_whatever_the_data_of_another(name: str) -> None:
    x, trained = points(), []
    for shift in (0, 1):
        trained.append(make(name))
        train(trained[-1], itertools.repeat(x + shift * torch.eye(3)[0, :, None, None]))
    for a, b in zip(*(method.parameters() for method in trained), strict=True):
        assert (a[1:] == b[1:]).all()


@methods
def test_copies_together_lose_what_each_loses_alone(name: str) -> None:
    together, x = make(name), points()
    losses = together.loss(x, FixedDraws(points(2), torch.eye(2).repeat(8, 1)))["loss"]
    for s in range(3):
        alone = make(name, copies=1)
        alone.load_state_dict({key: value[s : s + 1] for key, value in together.state_dict().items()})
        assert_close(alone.loss(x[s : s + 1], FixedDraws(points(2), torch.eye(2).repeat(8, 1)))["loss"], losses[s : s + 1])


@methods
def test_points_shared_by_all_seeds_are_as_good_as_copies_of_them(name: str) -> None:
    shared = points()[0].expand(3, -1, -1)
    losses = [make(name).loss(x, FixedDraws(points(2), torch.eye(2).repeat(8, 1)))["loss"] for x in (shared, shared.clone())]
    assert_close(*losses)


@methods
def test_points_without_seeds_are_judged_by_all_copies_alike(name: str) -> None:
    made, x = make(name).eval(), points()[0]
    for function in {"embed", "score", "energy"} & set(dir(made)):
        judge = getattr(made, function)
        assert_close(judge(x), judge(x.repeat(3, 1, 1)))


@methods
def test_a_method_computes_in_the_precision_of_its_points(name: str) -> None:
    parts = make(name).double().loss(points().double(), TrainingDraws(generator()))
    assert {value.dtype for value in parts.values()} == {torch.float64}


# gradients


def test_the_gradient_of_a_quadratic_is_linear_and_each_copys_own() -> None:
    x, steepness = points(), torch.tensor([[1.0], [2], [3]])
    found = gradient(lambda x: steepness * x.square().sum(-1) / 2, x, copies=3, create_graph=False)
    assert_close(found, steepness[..., None] * x)


def test_points_without_seeds_have_a_gradient_for_every_copy() -> None:
    steepness = torch.tensor([[1.0], [2], [3]])
    found = gradient(lambda x: steepness * x.square().sum(-1) / 2, points()[0], copies=3, create_graph=False)
    assert_close(found, steepness[..., None] * points()[0])


def test_a_gradient_is_there_where_gradients_are_switched_off_and_leaves_the_points_alone() -> None:
    x = points()
    with torch.no_grad():
        found = gradient(lambda x: x.square().sum(-1), x, copies=3, create_graph=False)
    assert_close(found, 2 * x)
    assert not found.requires_grad and not x.requires_grad


@pytest.mark.parametrize("create_graph", [True, False])
def test_a_gradient_can_be_differentiated_if_asked(create_graph: bool) -> None:
    weight = torch.ones(3, 1, requires_grad=True)
    found = gradient(lambda x: weight**2 * x.square().sum(-1), points(), copies=3, create_graph=create_graph)
    assert found.requires_grad == create_graph
    if create_graph:
        (second,) = torch.autograd.grad(found.sum(), weight)
        assert_close(second, 4 * points().sum((1, 2))[:, None])


# draws


def test_training_draws_are_standard_normal_and_fresh() -> None:
    draws, like = TrainingDraws(generator()), torch.zeros(2, 5000, 2)
    first, second = draws.normal(like), draws.normal(like)
    assert first.mean().item() == approx(0, abs=0.03) and first.std().item() == approx(1, abs=0.03)
    assert (first != second).any() and (first[0] != first[1]).any()


def test_the_mask_hides_one_coordinate_and_alternates_from_step_to_step() -> None:
    draws = TrainingDraws(generator())
    for step, visible in enumerate([[0, 1], [1, 0], [0, 1]]):
        draws.advance(step, 3)
        assert (draws.visible(points()) == torch.tensor(visible)).all() and draws.visible(points()).shape == (3, 16, 2)


@pytest.mark.parametrize("steps", [1, 2, 11])
def test_progress_runs_from_zero_to_one(steps: int) -> None:
    draws = TrainingDraws(generator())
    progress = [draws.advance(step, steps) or draws.progress for step in range(steps)]
    assert progress == approx([step / (steps - 1) if steps > 1 else 0 for step in range(steps)])


def test_fixed_draws_hand_out_their_noise_in_turn_to_all_seeds_and_refuse_a_third() -> None:
    noise, mask = points(2), torch.eye(2).repeat(8, 1)
    draws = FixedDraws(noise, mask)
    for k in (0, 1):
        assert (draws.normal(points()) == noise[k].expand(3, 16, 2)).all()
    assert (draws.visible(points()) == mask.expand(3, 16, 2)).all()
    with pytest.raises(ValueError, match="more noise draws"):
        draws.normal(points())


def test_uniform_draws_fill_the_unit_interval_evenly_and_are_fresh() -> None:
    draws, like = TrainingDraws(generator()), torch.zeros(2, 5000, 2).double()
    first, second = draws.uniform(like), draws.uniform(like)
    assert first.shape == like.shape and first.dtype == like.dtype
    assert first.min() >= 0 and first.max() < 1
    assert first.flatten().histc(10, 0, 1).div(len(first.flatten())).tolist() == approx([0.1] * 10, abs=0.01)
    assert (first != second).all() and (first[0] != first[1]).all()


def test_fixed_uniform_draws_are_shared_by_all_seeds_and_the_same_for_the_same_seed() -> None:
    def uniform(seed: int) -> Tensor:
        return FixedDraws(points(2), torch.eye(2).repeat(8, 1), seed=seed).uniform(points(count=5))

    assert uniform(0).shape == (3, 5, 2) and (uniform(0) == uniform(0)[0]).all()
    assert (uniform(0) == uniform(0)).all() and (uniform(0) != uniform(1)).all()


def test_fixed_uniform_draws_go_on_from_one_to_the_next_and_leave_the_noise_alone() -> None:
    draws = FixedDraws(points(2), torch.eye(2).repeat(8, 1))
    assert (draws.uniform(points()) != draws.uniform(points())).all()
    assert (draws.normal(points()) == points(2)[0]).all()


def test_uniform_points_fill_the_box_evenly() -> None:
    box = [[-1, 3], [10, 11]]
    like = torch.zeros(2, 5000, 2)
    uniform = Points(copies=2, box=box).uniform(like, TrainingDraws(generator()))
    assert uniform.shape == like.shape and uniform.dtype == like.dtype
    for axis, (low, high) in enumerate(box):
        along = uniform[..., axis].flatten()
        assert along.min() >= low and along.max() <= high
        assert along.histc(10, low, high).div(len(along)).tolist() == approx([0.1] * 10, abs=0.01)
    assert torch.corrcoef(uniform[0].T)[0, 1].item() == approx(0, abs=0.05)


@methods
def test_no_method_asks_for_more_noise_than_the_held_out_views_hold(name: str) -> None:
    assert make(name).loss(points(), FixedDraws(points(2), torch.eye(2).repeat(8, 1)))["loss"].isfinite().all()


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


def test_an_epoch_sees_every_row_once_in_another_order_each_time() -> None:
    batches = EpochBatches(torch.arange(12), batch_size=4, generator=generator())
    epochs = [torch.cat([next(batches) for _ in range(3)]).tolist() for _ in range(4)]
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_an_incomplete_last_batch_is_dropped() -> None:
    batches = EpochBatches(torch.arange(11), batch_size=4, generator=generator())
    epochs = [torch.cat([next(batches), next(batches)]).tolist() for _ in range(20)]
    assert all(len(set(epoch)) == 8 for epoch in epochs)


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(ValueError, match="5 is more than the 4 rows"):
        next(EpochBatches(torch.arange(4), batch_size=5, generator=generator()))


def test_the_learning_rate_rises_and_falls_as_pytorchs_schedulers_do() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1)
    rise = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=1 / 5, total_iters=4)
    fall = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=20)
    scheduler = torch.optim.lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[5])
    for step in range(25):
        assert learning_rate_factor(step, 25, schedule="cosine", warmup=5) == approx(scheduler.get_last_lr()[0])
        optimizer.step()
        scheduler.step()


def test_learning_rate_at_its_limits() -> None:
    assert [learning_rate_factor(s, 9, schedule="constant", warmup=0) for s in range(9)] == [1] * 9
    assert learning_rate_factor(0, 100, schedule="cosine", warmup=0) == 1
    assert learning_rate_factor(50, 100, schedule="cosine", warmup=0) == approx(0.5)
    assert 0 < learning_rate_factor(99, 100, schedule="cosine", warmup=0) < 0.001
    assert learning_rate_factor(0, 100, schedule="constant", warmup=10) == approx(0.1)
    assert learning_rate_factor(9, 100, schedule="constant", warmup=10) == 1
    assert learning_rate_factor(4, 5, schedule="cosine", warmup=10) == approx(0.5)


@pytest.mark.parametrize(("steps", "count"), list(itertools.product([1, 2, 10, 1500, 6000], [1, 2, 3, 40])))
def test_snapshots_go_from_start_to_end_in_order_and_are_no_more_than_asked_for(steps: int, count: int) -> None:
    moments = log_spaced(steps, count)
    assert moments == sorted(set(moments)) and len(moments) <= count
    assert moments[-1] == steps and (count == 1 or moments[0] == 0)


def test_snapshots_are_even_in_the_logarithm_of_the_step() -> None:
    late = [math.log(step + 1) for step in log_spaced(100_000, 21) if step > 100]
    gaps = [b - a for a, b in itertools.pairwise(late)]
    assert gaps == approx([math.log(100_001) / 20] * len(gaps), rel=0.02)


# the loop


def test_fit_is_plain_adamw_with_that_schedule() -> None:
    ours, plain, x = Quadratic(), Quadratic(), points()
    train(ours, itertools.repeat(x))
    optimizer = torch.optim.AdamW(plain.parameters(), weight_decay=0.1)
    for step in range(10):
        optimizer.param_groups[0]["lr"] = 0.01 * learning_rate_factor(step, 10, schedule="cosine", warmup=3)
        optimizer.zero_grad()
        plain.loss(x, TrainingDraws(generator()))["loss"].sum().backward()
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


def test_a_parameter_group_may_have_a_rate_of_its_own() -> None:
    class Slow(Quadratic):
        def parameter_groups(self) -> list[dict[str, Any]]:
            return [{"params": [self.weight], "scale": 0.5}]

    slow, fast = Slow(), Quadratic()
    start = fast.weight.detach().clone()
    for method in (slow, fast):
        train(method, steps=1, warmup=0, weight_decay=0.0)
    assert_close(slow.weight - start, (fast.weight - start) / 2, rtol=1e-3, atol=1e-6)


def test_fit_is_deterministic() -> None:
    def once(seed: int) -> tuple[list[dict[str, float]], list[Tensor]]:
        method, x = make("dsm"), points(1, 40)[0]
        batches = random_batches(x, lead=(3,), batch_size=8, generator=generator(seed))
        return train(method, batches, draws=TrainingDraws(generator(seed))), list(method.parameters())

    (rows, weights), (same_rows, same_weights), (other_rows, _) = once(0), once(0), once(1)
    assert rows == same_rows != other_rows
    assert all((a == b).all() for a, b in zip(weights, same_weights, strict=True))


def test_curves_have_mean_and_deviation_over_seeds_of_every_part_at_every_logged_step() -> None:
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


def test_a_snapshot_leaves_the_training_as_it_was() -> None:
    with_snapshots, without = Quadratic(), Quadratic()
    train(with_snapshots, snapshots=[0, 3, 10], on_snapshot=lambda step: with_snapshots.eval() and None)
    train(without)
    assert (with_snapshots.weight == without.weight).all()


def test_a_method_trains_in_training_mode_and_is_left_in_evaluation_mode() -> None:
    class Watching(Quadratic):
        def loss(self, x: Tensor, draws: Draws) -> dict[str, Tensor]:
            assert self.training
            return super().loss(x, draws)

    method = Watching()
    train(method, snapshots=[4], on_snapshot=lambda step: method.eval() and None)
    assert not method.training


def test_after_step_is_told_the_progress_up_to_one() -> None:
    method = Quadratic()
    train(method, steps=4)
    assert method.progress == [0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_loss_that_is_not_finite_names_method_part_step_and_seed(value: float) -> None:
    x = points()
    broken = x.clone()
    broken[2, 0, 0] = value
    batches = itertools.chain([x] * 4, itertools.repeat(broken))
    with pytest.raises(TrainingDiverged, match=r"^fragile: the loss is not finite at step 4, seed 2$"):
        train(Quadratic(), batches, name="fragile")


def test_a_loss_that_was_not_finite_between_two_logged_steps_is_still_noticed() -> None:
    broken = points()
    broken[1, 0, 0] = torch.nan
    batches = itertools.chain([points()] * 4, [broken], itertools.repeat(points()))
    with pytest.raises(TrainingDiverged, match="step 4, seed 1"):
        train(Quadratic(), batches, log_every=7)


def test_a_last_step_that_breaks_the_parameters_is_noticed() -> None:
    class Breaking(Quadratic):
        def after_step(self, progress: float) -> None:
            if progress == 1:
                next(self.parameters()).data.fill_(torch.nan)

    with pytest.raises(TrainingDiverged, match=r"is not finite after the last of \d+ steps"):
        train(Breaking())


def test_progress_is_printed_in_plain_lines_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    train(Quadratic(), steps=25)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [f"quadratic: step {step} of 25" for step in (0, 10, 20)]
