"""Stage mnist_reconstruct_figures@METHOD: what phase 2 reconstructs.

Writes to reports/figures/mnist/METHOD/reconstruction/: reconstructions.png, original, perturbed and reconstructed side by side;
severity.png, one digit under every perturbation at rising strength; and interpolation.gif, from digit to digit through the
embeddings.
"""

from __future__ import annotations

from pathlib import Path

from stages import digests, files, runtime
from stages.params import Params
from stages.plots import images
from stages.plots.canvas import write_gif, write_png


def main(params: Params, name: str) -> None:
    """Draw the reconstructions by the method called `name`."""
    metrics = files.read_json(Path(f"reports/measured/mnist/{name}.reconstruction.json"))
    fields = files.read_arrays(Path(f"reports/fields/mnist/{name}.reconstruction.npz"))
    folder = Path(f"reports/figures/mnist/{name}/reconstruction")
    mse, psnr, ssim = (metrics[key]["mean"] for key in ("mse", "psnr", "ssim"))
    rows = {row: fields[row] for row in ("original", "perturbed", "reconstructed")}
    severity = {}
    for kind in params.mnist_severity.model_dump():
        severity[kind.replace("_", " ")] = fields[f"{kind}_perturbed"]
        severity[f"{kind.replace('_', ' ')} → clean"] = fields[f"{kind}_reconstructed"]
    strengths = [f"{strength:g}" for strength in params.mnist.strengths]
    write_png(
        folder / "reconstructions.png",
        images.sheet(rows, f"{name}: MSE {mse:.4f}, PSNR {psnr:.1f} dB, SSIM {ssim:.3f}"),
    )
    write_png(
        folder / "severity.png",
        images.sheet(severity, f"{name}: severity rises to the right", strengths),
    )
    frames = images.movie(fields["interpolation"], f"{name}: from digit to digit")
    write_gif(folder / "interpolation.gif", frames, seconds=8)
    digests.write_of_folder(Path(f"reports/digests/mnist/{name}.reconstruction.json"), folder)


if __name__ == "__main__":
    runtime.run(main)
