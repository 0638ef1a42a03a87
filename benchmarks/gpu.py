"""`python -m benchmarks.gpu`: run benchmarks on this machine's GPU, print one table, and write it to docs/benchmark-gpu.md.

`python -m benchmarks` runs on the CPU. These are the rows in which a GPU differs: the training step on images compared with the
bare step, with the CPU's step, with the other precision, with the other memory format and with a larger batch; and batched
seeds on the mixture.
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
from benchmarks.report import Row, document, machine, three_digits
from benchmarks.turns import Side, speedup, take_turns
from stages.config import params as parameters
from stages.config.params import Params
from stages.core.errors import UserError
from stages.methods.jepa_ema import JepaEma
from stages.nn.conv import ConvEncoder
from stages.pipeline import files, seeding

OUTPUT = Path("docs/benchmark-gpu.md")
"""The report."""
PACKAGES = ("torch", "numpy")
"""Packages whose versions are reported."""
LARGE = 16
"""Size of a large batch, relative to that of the params."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """The amount of work; steps are per turn."""

    turns: int
    steps: int
    cpu_steps: int
    seed_turns: int
    seed_steps: int


FULL = Sizes(turns=5, steps=100, cpu_steps=40, seed_turns=3, seed_steps=10)
"""The work for the report."""


class Contiguous(ConvEncoder):
    """The encoder with channels-first instead of channels-last features."""

    def forward(self, x: Tensor) -> Tensor:
        """Embeddings (B, dim)."""
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.mixed_precision and x.is_cuda):
            z = nn.Sequential.forward(self, x.contiguous())
        return z.float()


def contiguous(method: JepaEma) -> JepaEma:
    """Change a method's encoders to channels-first weights and features, in place."""
    for module in method.modules():
        if isinstance(module, ConvEncoder):
            # The networks and their weights stay the same; only `forward` differs.
            module.__class__ = Contiguous
            module.to(memory_format=torch.contiguous_format)
    return method


def in_precision(params: Params, *, mixed: bool) -> Params:
    """The params with `mixed_precision`: the encoder's layers compute in bfloat16, else in float32."""
    return params.model_copy(update={"mnist": params.mnist.model_copy(update={"mixed_precision": mixed})})


def images_rows(params: Params, images: Tensor, sizes: Sizes, device: torch.device) -> Iterator[Row]:
    """Rows of the training step on `device`, from images (N, 28, 28), bytes."""
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
    yield row("channels-first features", training.ours(params, there, steps, trained=changed))
    many = training.ours(params, there, steps, batch_size=large)
    yield row(f"a batch of {batch}; the ratio compares images per second", ours(), many, f"a batch of {large}", LARGE)
    changed = contiguous(training.method(params))
    other = training.ours(params, there, steps, trained=changed, batch_size=large)
    yield row("channels-first features", other, many, f"a batch of {large}")
    other = training.ours(other_precision, there, steps, batch_size=large)
    yield row(precision, other, many, f"a batch of {large}")


def memory(device: torch.device) -> str:
    """The peak GPU memory of the trainings, as a line of the report."""
    return f"Peak GPU memory: {three_digits(torch.cuda.max_memory_allocated(device) / 2**20)} MiB"


def main() -> int:
    """Run the benchmarks on the GPU and write the report."""
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
    facts += [memory(device), f"Images: {source}", f"Turns: {FULL.turns}; for the seeds: {FULL.seed_turns}"]
    text = document(rows, "python -m benchmarks.gpu", facts, "Benchmark on a GPU")
    print(text, end="")
    files.write_text(OUTPUT, text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
