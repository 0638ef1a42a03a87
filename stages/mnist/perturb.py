"""Stage mnist_perturb: the fixed perturbed images on which all methods are evaluated.

Writes data/mnist/perturbed.npz, uint8 unless stated otherwise:

- `mixed` (N, 28, 28): all test images under the training augmentation;
- `mixed_without_affine` (N, 28, 28): the same without affine maps;
- `mixed_validation` (V, 28, 28): the held-out training images under the training augmentation;
- for each perturbation, an array of its name (L, M, 28, 28): M test images at the L strengths of the params;
- `rows` (M,), int64: the indices of these M images, evenly spaced among the test images.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.config.params import Params
from stages.mnist.images.augmentation import Augmentation, make
from stages.mnist.images.subset import evenly
from stages.nn.conv import as_images
from stages.pipeline import artifacts, files, runner, seeding


def main(params: Params) -> None:
    """Write the perturbed images."""
    seeding.set_up_torch(params.threads)
    images, known = (
        as_images(torch.from_numpy(files.read_arrays(artifacts.data("mnist", part))["images"])) for part in ("test", "train")
    )
    held_out = known[len(known) - params.mnist.validation_images :]
    generator = torch.Generator().manual_seed(seeding.stream(params, "mnist.perturbed"))
    training = params.mnist_perturbations.model_dump()
    steps = {name: make(name, settings) for name, settings in training.items()}
    without_affine = [step for name, step in steps.items() if name != "affine"]
    sets = {
        "mixed": Augmentation(list(steps.values()), (1, 1))(images, 1, generator),
        "mixed_without_affine": Augmentation(without_affine, (1, 1))(images, 1, generator),
        "mixed_validation": Augmentation(list(steps.values()), (1, 1))(held_out, 1, generator),
    }
    rows = evenly(len(images), params.mnist.evaluation.robustness_images)
    few = images[rows]
    for name, settings in params.mnist_severity.model_dump().items():
        step, seed = make(name, settings), seeding.stream(params, f"mnist.perturbed.{name}")
        # The same random numbers at every strength, so that only the strength of a perturbation varies.
        by_strength = (step(few, factor, torch.Generator().manual_seed(seed)) for factor in params.mnist.evaluation.strengths)
        sets[name] = torch.stack(list(by_strength))
    written = {name: _bytes(x).numpy() for name, x in sets.items()}
    files.write_arrays(artifacts.PERTURBED, {"rows": rows, **written})


def _bytes(x: Tensor) -> Tensor:
    return (x.clamp(0, 1) * 255).round().to(torch.uint8).squeeze(-3)


if __name__ == "__main__":
    runner.run(main)
