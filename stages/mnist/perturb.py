"""Stage mnist_perturb: the fixed perturbed images on which every method is evaluated.

Writes data/mnist/perturbed.npz, uint8: `mixed` (N, 28, 28), every test image under the training perturbation;
`mixed_without_affine`, the same with its affine part left out; `mixed_validation`, every held-out training image under the
training perturbation; and for each perturbation one array of its name (L, M, 28, 28): M test images at the L strengths of the
params. Those images are evenly spaced among the test images, in the rows `rows` (M,), int64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from stages.config.params import Params
from stages.mnist.images.augmentation import Perturbation, make
from stages.mnist.images.subset import evenly
from stages.nn.conv import as_images
from stages.pipeline import artifacts, files, runner, seeding


def main(params: Params) -> None:
    """Augment the images once and for all."""
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
        "mixed": Perturbation(list(steps.values()), (1, 1))(images, 1, generator),
        "mixed_without_affine": Perturbation(without_affine, (1, 1))(images, 1, generator),
        "mixed_validation": Perturbation(list(steps.values()), (1, 1))(held_out, 1, generator),
    }
    rows = evenly(len(images), params.mnist.evaluation.robustness_images)
    few = images[rows]
    for name, settings in params.mnist_severity.model_dump().items():
        step, seed = make(name, settings), seeding.stream(params, f"mnist.perturbed.{name}")
        # The same draws at every strength, so that each image is perturbed in the same way, only more.
        by_strength = (step(few, factor, torch.Generator().manual_seed(seed)) for factor in params.mnist.evaluation.strengths)
        sets[name] = torch.stack(list(by_strength))
    written = {name: _bytes(x).numpy() for name, x in sets.items()}
    files.write_arrays(artifacts.PERTURBED, {"rows": rows, **written})


def _bytes(x: Tensor) -> Tensor:
    return (x.clamp(0, 1) * 255).round().to(torch.uint8).squeeze(-3)


if __name__ == "__main__":
    runner.run(main)
