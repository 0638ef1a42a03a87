"""Stage mnist_reconstruct_evaluate@METHOD: evaluate the reconstructions of phase 2.

Writes reports/measured/mnist/METHOD.reconstruction.json, the metrics; the page's data,
reports/page_data/mnist/METHOD.reconstruction.js (pipeline/page_script.py); and
reports/fields/mnist/METHOD.reconstruction.npz, from which the figures are made:

- `original`, `perturbed`, `reconstructed` (K, H, W): test images under the training augmentation;
- for each perturbation, `KIND_perturbed` and `KIND_reconstructed` (L, H, W): one image at each strength;
- `interpolation` (F, H, W): images decoded along a closed path through the embeddings of one image of each of up to `ENDS`
  classes, which are `interpolation_labels` (C,).

The images of a colour data set have a last axis of 3 channels.

All choices were made by `validation`, on the held-out training images; the test images are only for the report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from stages.config.params import Params
from stages.mnist.decoder import quality
from stages.mnist.decoder.build import trained_decoder
from stages.mnist.decoder.model import Reconstruction
from stages.mnist.images.subset import evenly, kinds
from stages.pipeline import artifacts, files, page_script, runner, seeding

Bytes = NDArray[np.uint8]
SHOWN = 12
"""Images in the figure of reconstructions."""
FRAMES = 12
"""Frames of the animation between two images."""
ENDS = 10
"""Most classes in the animation, evenly spaced among all."""


def main(params: Params, name: str) -> None:
    """Evaluate the reconstructions by the method called `name`."""
    seeding.set_up_torch(params.threads)
    device = seeding.device(params)
    train, test = (files.read_arrays(artifacts.data("mnist", part)) for part in ("train", "test"))
    perturbed = files.read_arrays(artifacts.PERTURBED)
    decoder = trained_decoder(params, name).to(device)
    views = {"mixed": perturbed["mixed"], "without_affine": perturbed["mixed_without_affine"], "clean": test["images"]}
    found = {key: quality.reconstruct(decoder, images, device) for key, images in views.items()}
    closeness = {key: quality.closeness(test["images"] / 255, images) for key, images in found.items()}
    few = test["images"][perturbed["rows"]] / 255
    per_perturbation: dict[str, Any] = {}
    shown: dict[str, Any] = {}
    for kind in kinds(perturbed):
        by_strength = [quality.reconstruct(decoder, images, device) for images in perturbed[kind]]
        strengths = [f"{strength:g}" for strength in params.mnist.evaluation.strengths]
        per_perturbation[kind] = {
            strength: quality.closeness(few, images) for strength, images in zip(strengths, by_strength, strict=True)
        }
        shown[f"{kind}_perturbed"] = perturbed[kind][:, 0]
        shown[f"{kind}_reconstructed"] = np.stack([images[0] for images in by_strength]).astype(np.float32)
    files.write_json(
        artifacts.measured(f"{name}.reconstruction"),
        {
            **closeness["mixed"],
            **_held_out(decoder, train["images"], perturbed["mixed_validation"], device),
            "without_affine": closeness["without_affine"],
            "clean": closeness["clean"],
            "per_perturbation": per_perturbation,
        },
    )
    classes = np.unique(test["labels"])
    classes = classes[evenly(len(classes), min(len(classes), ENDS))]
    ends = np.stack([test["images"][np.flatnonzero(test["labels"] == label)[0]] for label in classes])
    files.write_arrays(
        artifacts.fields("mnist", f"{name}.reconstruction"),
        {
            "original": test["images"][:SHOWN],
            "perturbed": perturbed["mixed"][:SHOWN],
            "reconstructed": found["mixed"][:SHOWN].astype(np.float32),
            "interpolation": quality.interpolations(decoder, ends, FRAMES, device),
            "interpolation_labels": classes,
            **shown,
        },
    )
    content = page_data(decoder, perturbed, test["images"], params, device)
    page_script.write(artifacts.page_data("mnist", f"{name}.reconstruction"), f"mnist/{name}/reconstruction", content)


def page_data(
    decoder: Reconstruction, perturbed: Mapping[str, Bytes], images: Bytes, params: Params, device: torch.device
) -> dict[str, Any]:
    """The page's data on R test images.

    Returns:
        `images`, R; `strengths` (L,), of which 0 is the clean image; `perturbed` and `reconstructed`, for each perturbation a
        sheet of L · R images.
    """
    few = slice(min(params.page.reconstructions, params.mnist.evaluation.robustness_images))
    clean = images[perturbed["rows"][few]]
    views = {kind: np.concatenate([clean[None], perturbed[kind][:, few]]) for kind in kinds(perturbed)}
    flat = {kind: view.reshape(-1, *clean.shape[1:]) for kind, view in views.items()}
    decoded = {kind: quality.reconstruct(decoder, views, device).clip(0, 1) for kind, views in flat.items()}
    return {
        "strengths": [0.0, *params.mnist.evaluation.strengths],
        "images": len(clean),
        "perturbed": {kind: page_script.sheet(images) for kind, images in flat.items()},
        "reconstructed": {kind: page_script.sheet((images * 255).round().astype(np.uint8)) for kind, images in decoded.items()},
    }


def _held_out(decoder: Reconstruction, images: Bytes, perturbed: Bytes, device: torch.device) -> dict[str, Any]:
    """Metrics of the held-out training images, which are the last ones; empty if none are held out."""
    if not len(perturbed):
        return {}
    clean = images[-len(perturbed) :] / 255
    return {"validation": quality.closeness(clean, quality.reconstruct(decoder, perturbed, device))}


if __name__ == "__main__":
    runner.run(main)
