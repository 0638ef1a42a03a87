"""Stage mnist_reconstruct_atlas@METHOD: what the page needs to show reconstructions at several severities.

Writes reports/atlas/mnist/METHOD.reconstruction.js (scripts.py), of R test images: `images`, R; `strengths` (L,), 0 for the
clean image among them; `perturbed` and `reconstructed`, each with a sheet of L times R images for every perturbation.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from stages import files, runtime, scripts
from stages.mnist import quality
from stages.mnist.decoders import trained_decoder
from stages.params import Params


def main(params: Params, name: str) -> None:
    """Write the script of the reconstructions by the method called `name`."""
    runtime.set_up_torch(params)
    device = runtime.device(params)
    perturbed = files.read_arrays(Path("data/mnist/perturbed.npz"))
    few = slice(min(params.atlas.reconstructions, params.mnist.robustness_images))
    clean = files.read_arrays(Path("data/mnist/test.npz"))["images"][perturbed["rows"][few]]
    decoder = trained_decoder(params, name).to(device)
    views = {kind: np.concatenate([clean[None], perturbed[kind][:, few]]) for kind in params.mnist_severity.model_dump()}
    flat = {kind: view.reshape(-1, *clean.shape[1:]) for kind, view in views.items()}
    decoded = {kind: quality.reconstruct(decoder, images, device).clip(0, 1) for kind, images in flat.items()}
    scripts.write(
        Path(f"reports/atlas/mnist/{name}.reconstruction.js"),
        f"mnist/{name}/reconstruction",
        {
            "strengths": [0.0, *params.mnist.strengths],
            "images": len(clean),
            "perturbed": {kind: scripts.sheet(images) for kind, images in flat.items()},
            "reconstructed": {kind: scripts.sheet((images * 255).round().astype(np.uint8)) for kind, images in decoded.items()},
        },
    )


if __name__ == "__main__":
    runtime.run(main)
