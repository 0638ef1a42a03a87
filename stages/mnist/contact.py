"""Stage mnist_contact: the contact sheet, every perturbation at every strength of the fixed test sets.

Writes reports/figures/mnist/perturbations.png.
"""

from __future__ import annotations

from pathlib import Path

from stages import files, runtime
from stages.params import Params
from stages.plots.canvas import write_png
from stages.plots.images import sheet

SHOWN = 12
"""Images per row."""


def main(params: Params) -> None:
    """Draw the sheet."""
    images = files.read_arrays(Path("data/mnist/test.npz"))["images"]
    perturbed = files.read_arrays(Path("data/mnist/perturbed.npz"))
    shown = perturbed["rows"][:SHOWN]
    rows = {"original": images[shown], "training view": perturbed["mixed"][shown]}
    for kind in params.mnist_severity.model_dump():
        for strength, moved in zip(params.mnist.strengths, perturbed[kind], strict=True):
            rows[f"{kind.replace('_', ' ')} {strength:g}"] = moved[:SHOWN]
    picture = sheet(rows, "perturbations, with their strength as a fraction of mnist_severity")
    write_png(Path("reports/figures/mnist/perturbations.png"), picture)


if __name__ == "__main__":
    runtime.run(main)
