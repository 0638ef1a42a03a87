"""`python -m benchmarks.gpu`: measure on this machine's GPU, print one table, and write it to docs/benchmark-gpu.md.

`python -m benchmarks` is on the CPU. Here are the rows in which a GPU differs: what a step on the images costs beside the bare
one and beside the CPU's, what mixed precision, the layout of the features and a larger batch do to it, and what seeds as a
dimension save on the mixture.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks import seeds, training
from benchmarks.images import training_images
from benchmarks.report import Row, document, figure, machine
from benchmarks.turns import Side, speedup, take_turns
from stages.config import params as parameters
from stages.config.params import Params
from stages.core.errors import UserError
from stages.methods.jepa_ema import JepaEma
from stages.nn.conv import ConvEncoder
from stages.pipeline import files, seeding

OUTPUT = Path("docs/benchmark-gpu.md")
PACKAGES = ("torch", "numpy")
LARGE = 16
"""How many times as many images as the params say are in a large batch."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How much of each is done; steps are those of one turn."""

    turns: int
    steps: int
    cpu_steps: int
    seed_turns: int
    seed_steps: int


FULL = Sizes(turns=5, steps=100, cpu_steps=40, seed_turns=3, seed_steps=10)


class Contiguous(ConvEncoder):
    """The encoder with its features one channel after the other."""

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings (B, dim)."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.mixed_precision and x.is_cuda):
            z = nn.Sequential.forward(self, x.contiguous())
        return z.float()


def contiguous(method: JepaEma) -> JepaEma:
    """The method with the weights and features of its encoders in memory one channel after the other."""
    for module in method.modules():
        if isinstance(module, ConvEncoder):
            # The networks and their weights stay the same: what differs is where the features are converted.
            module.__class__ = Contiguous
            module.to(memory_format=torch.contiguous_format)
    return method


def in_precision(params: Params, *, mixed: bool) -> Params:
    """The params with the encoder's layers computing in bfloat16, or in float32."""
    return params.model_copy(update={"mnist": params.mnist.model_copy(update={"mixed_precision": mixed})})


def images_rows(params: Params, images: Tensor, sizes: Sizes, device: torch.device) -> Iterator[Row]:
    """The training step on images (N, 28, 28) bytes on `device`, against what it could be."""
    there, steps, turns = images.to(device), sizes.steps, sizes.turns
    yield from training.rows(params, there, steps=steps, turns=turns, goal=None)
    batch = training.settings(params).batch_size
    large = LARGE * batch

    def ours() -> Side:
        return training.ours(params, there, steps)

    def row(compared: str, side: Side, our: Side | None = None, what: str = f"a batch of {batch}", images: float = 1) -> Row:
        here, other = take_turns([our or ours(), side], turns)
        return Row(
            measured=f"training step on images, {training.NAME}, {what}",
            ours=training.milliseconds(here),
            compared=compared,
            theirs=training.milliseconds(other),
            ratio=speedup([seconds / images for seconds in here], other),
        )

    yield row(f"the CPU of this machine, {params.threads} threads", training.ours(params, images, sizes.cpu_steps))
    other_precision = in_precision(params, mixed=not params.mnist.mixed_precision)
    precision = "bfloat16 instead of float32" if other_precision.mnist.mixed_precision else "float32 instead of bfloat16"
    yield row(precision, training.ours(other_precision, there, steps))
    changed = contiguous(training.method(params))
    yield row("features one channel after the other", training.ours(params, there, steps, trained=changed))
    many = training.ours(params, there, steps, batch_size=large)
    yield row(f"a batch of {batch}; the ratio is of images a second", ours(), many, f"a batch of {large}", LARGE)
    changed = contiguous(training.method(params))
    other = training.ours(params, there, steps, trained=changed, batch_size=large)
    yield row("features one channel after the other", other, many, f"a batch of {large}")
    other = training.ours(other_precision, there, steps, batch_size=large)
    yield row(precision, other, many, f"a batch of {large}")


def memory(device: torch.device) -> str:
    """What the trainings took of the device's memory at most."""
    return f"Memory of the GPU in use at most: {figure(torch.cuda.max_memory_allocated(device) / 2**20)} MiB"


def main() -> int:
    """Measure on the GPU."""
    try:
        params = parameters.load().model_copy(update={"device": "cuda"})
        seeding.set_up_torch(params.threads)
        device = seeding.device(params)
        facts = machine(params.threads, torch.cuda.get_device_name(device), PACKAGES)
        images, source = training_images(params)
        rows = []
        for one in images_rows(params, images, FULL, device):
            print(f"{one.measured}, {one.compared}: {one.cells()[4]}", file=sys.stderr, flush=True)
            rows.append(one)
        rows += seeds.rows(params, params.methods, steps=FULL.seed_steps, turns=FULL.seed_turns, device=device, goal=None)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    facts += [memory(device), f"Images: {source}", f"Turns: {FULL.turns}, of the seeds {FULL.seed_turns}"]
    text = document(rows, "python -m benchmarks.gpu", facts)
    print(text, end="")
    files.write_text(OUTPUT, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
