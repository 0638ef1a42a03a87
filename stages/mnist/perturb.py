"""Stage mnist_perturb: the fixed perturbed images on which all methods are evaluated.

Writes data/mnist/perturbed.npz, uint8 unless stated otherwise:

- `mixed` (N, H, W): all test images under the training augmentation;
- `mixed_without_affine` (N, H, W): the same without affine maps;
- `mixed_validation` (V, H, W): the held-out training images under the training augmentation;
- for each perturbation, an array of its name (L, M, H, W): M test images at the L strengths of the params;
- `rows` (M,), int64: the indices of these M images, evenly spaced among the test images.

The images of a colour data set have a last axis of 3 channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.config.params import Params
from stages.mnist.images.augmentation import Augmentation, make
from stages.mnist.images.subset import evenly, held_out
from stages.nn.conv import as_arrays, as_images
from stages.pipeline import artifacts, files, runner, seeding


def main(params: Params) -> None:
    """Write the perturbed images."""
    seeding.set_up_torch(params.threads)
    images, known = (
        as_images(torch.from_numpy(files.read_arrays(artifacts.data("mnist", part))["images"])) for part in ("test", "train")
    )
    validation = known[len(known) - held_out(len(known), params.mnist.validation_images) :]
    side = params.mnist.chosen.side
    generator = torch.Generator().manual_seed(seeding.stream(params, "mnist.perturbed"))
    steps = {name: make(name, settings, side) for name, settings in params.augmentations.items()}
    without_affine = [step for name, step in steps.items() if name != "affine"]
    sets = {
        "mixed": Augmentation(list(steps.values()), (1, 1))(images, 1, generator),
        "mixed_without_affine": Augmentation(without_affine, (1, 1))(images, 1, generator),
        "mixed_validation": Augmentation(list(steps.values()), (1, 1))(validation, 1, generator),
    }
    rows = evenly(len(images), params.mnist.evaluation.robustness_images)
    few = images[rows]
    for name, settings in params.mnist_severity.model_dump().items():
        step, seed = make(name, settings, side), seeding.stream(params, f"mnist.perturbed.{name}")
        # The same random numbers at every strength, so that only the strength of a perturbation varies.
        by_strength = (step(few, factor, torch.Generator().manual_seed(seed)) for factor in params.mnist.evaluation.strengths)
        sets[name] = torch.stack(list(by_strength))
    written = {name: _bytes(x).numpy() for name, x in sets.items()}
    files.write_arrays(artifacts.PERTURBED, {"rows": rows, **written})


def _bytes(x: Tensor) -> Tensor:
    return as_arrays((x.clamp(0, 1) * 255).round().to(torch.uint8))


if __name__ == "__main__":
    runner.run(main)
