"""Stage mog_train@METHOD: train S independent copies of a method at once.

Writes to models/mog/:

- `METHOD.safetensors`, all parameters with leading dimension S;
- `METHOD.snapshots.safetensors`, the first copy's parameters at T steps of the training with leading dimension T, which load
  like T copies, and the steps;
- `METHOD.json`, the params of the training.

The learning curves are written to reports/curves/mog/METHOD.csv.
"""

from __future__ import annotations

import torch

from stages.config.params import Params
from stages.mog.problem import setup
from stages.nn.batches import random_batches
from stages.nn.build import build, configured
from stages.nn.noise import TrainingNoise
from stages.nn.points import Points
from stages.nn.schedule import log_spaced
from stages.nn.training import fit
from stages.pipeline import artifacts, card, files, runner, seeding


def main(params: Params, name: str) -> None:
    """Train the method called `name` on the mixture."""
    seeding.set_up_torch(1)
    device = seeding.device(params)
    settings, train = configured(params, name)
    torch.manual_seed(seeding.stream(params, "mog.init"))
    method = build(name, Points(copies=params.seeds, box=setup.box(setup.read())), settings).to(device)
    generator = torch.Generator(device).manual_seed(seeding.stream(params, "mog.training"))
    x = torch.from_numpy(files.read_arrays(artifacts.data("mog", "train"))["x"]).to(device)
    snapshot_steps = log_spaced(train.steps, params.mog.snapshots)
    states: list[dict[str, torch.Tensor]] = []
    rows = fit(
        method,
        random_batches(x, lead=(params.seeds,), batch_size=train.batch_size, generator=generator),
        name=name,
        source=TrainingNoise(generator),
        log_every=max(train.steps // 100, 1),
        snapshots=snapshot_steps,
        on_snapshot=lambda step: states.append({k: v[0].to("cpu", copy=True) for k, v in method.state_dict().items()}),
        **train.model_dump(exclude={"batch_size"}),
    )
    files.write_tensors(artifacts.weights("mog", name), method.state_dict())
    stacked = {key: torch.stack([state[key] for state in states]) for key in states[0]}
    files.write_tensors(artifacts.parameter_snapshots(name), {**stacked, "snapshot_steps": torch.tensor(snapshot_steps)})
    card.write(artifacts.card(name), card.Card(seed=params.seed, seeds=params.seeds, settings=settings, train=train))
    files.write_curves(artifacts.curves("mog", name), rows)


if __name__ == "__main__":
    runner.run(main, threads=1)
