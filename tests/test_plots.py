"""Figures and animations: size and length, reproducible bytes, exact colours, constant data without a warning."""

from __future__ import annotations

import subprocess
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image, ImageSequence

from stages.core.paths import ROOT
from stages.plots import animation, comparison, gallery, images, landscape, sheets, studies
from stages.plots.canvas import ACCENT, DPI, write_gif, write_png
from stages.plots.fields import Conditional
from stages.plots.landscape import Grid

RNG = np.random.default_rng(0)
GRID = Grid(x=np.linspace(-10, 10, 20), y=np.linspace(-5, 15, 21))
X, Y = np.meshgrid(GRID.x, GRID.y)
ENERGY = -np.cos(X / 3) * np.cos(Y / 3)
FLAT = np.full_like(ENERGY, -1)
SNAPSHOTS = np.stack([ENERGY * k / 5 for k in range(1, 6)])
STEPS = np.array([0, 1, 4, 20, 100])
POINTS = RNG.uniform((-9, -4), (9, 14), (40, 2))
WALK = RNG.uniform((-9, -4), (9, 14), (5, 2))
FIELD = np.stack(np.gradient(-ENERGY)[::-1], -1)
DIGITS = RNG.integers(256, size=(6, 28, 28), dtype=np.uint8)
LABELS = np.arange(40) % 10
PROJECTED = RNG.normal(size=(5, 40, 2)).astype(np.float32)
SCORES = {"ours": {"accuracy": 0.99, "recall": 0.98}, "raw": {"accuracy": 0.96, "recall": 0.95}}

MEASURED = {"mean": 0.5, "std": 0.1, "values": [0.4, 0.6]}
ROBUST = {
    "robustness": {"affine": {"0.5": MEASURED, "1": MEASURED}, "dilation": {"1": MEASURED}},
    "robustness_clean": {"accuracy": MEASURED},
}

Draw = Callable[[], Figure]
Animate = Callable[[], list[np.ndarray]]

FIGURES: Mapping[str, tuple[Draw, tuple[float, float]]] = {
    "joint embedding": (lambda: landscape.joint_embedding(GRID, ENERGY, POINTS, (0, 0), "f"), (5.6, 4.9)),
    "score": (lambda: landscape.score(GRID, ENERGY, -ENERGY, FIELD, POINTS, "s"), (9.6, 4.6)),
    "gallery": (lambda: gallery.gallery(GRID, {"a": (ENERGY, (-1, 1))}, POINTS, ENERGY), (5.0, 2.5)),
    "sheet": (lambda: sheets.sheet({"bytes": DIGITS, "floats": DIGITS[:4] / 255}, "t", "abcdef"), (5.32, 2.02)),
    "pca": (lambda: images.pca(PROJECTED[0], LABELS, "t"), (6.4, 5)),
    "confusion": (lambda: images.confusion(np.eye(10, dtype=int) * 5 + 1, "t"), (5.2, 4.8)),
    "dots": (lambda: images.dots(SCORES, "t", "score", 0.9901), (7.2, 3.6)),
    "study lines": (
        lambda: studies.lines(
            [0.1, 1.0], {"a.b": {"m": [MEASURED] * 2, "n": [None, MEASURED]}, "c": {"m": [MEASURED] * 2}}, "l", "t"
        ),
        (6.4, 3.2),
    ),
    "study bars": (lambda: studies.bars(["p", "q"], {"a.b": [MEASURED, None], "c": [MEASURED] * 2}, "t"), (7.2, 1.52)),
    "study verdicts": (
        lambda: studies.verdicts(
            {"p": {"a": "holds", "b": "fails"}, "q": {"b": "not applicable"}}, {"l": [MEASURED, None]}, "t"
        ),
        (2.2 + 0.84 + 1.8, 2.2 + 0.52),
    ),
    "mistakes": (lambda: sheets.mistakes(DIGITS, LABELS[:6], LABELS[1:7], "t"), (9.6, 1.4)),
    "no mistakes": (lambda: sheets.mistakes(DIGITS[:0], LABELS[:0], LABELS[:0], "t"), (9.6, 1.4)),
    "neighbours": (
        lambda: sheets.neighbours(DIGITS[:2], DIGITS[None, 2:].repeat(2, 0), np.eye(2, 4, dtype=bool), "t"),
        (0.62 * 5.4, 0.6 + 0.62 * 2),
    ),
    "robustness of all": (
        lambda: images.robustness_of_all({"m": ROBUST}, 1000),
        (3.8, 1.92),
    ),
    "few labels": (lambda: images.few_labels({k: {"10": MEASURED, "100": MEASURED} for k in "abcd"}), (6.4, 3.8)),
    "robustness": (lambda: images.robustness({"affine": {"0.5": 0.9, "1": 0.7}}, 0.99, "t"), (5.2, 3.4)),
}
ANIMATIONS: Mapping[str, tuple[Animate, tuple[float, float], int]] = {
    "walk": (lambda: animation.walk(GRID, SNAPSHOTS, WALK, POINTS, "t"), (4.4, 4.0), 5),
    "training": (lambda: animation.training(GRID, SNAPSHOTS, STEPS, (-1, 1), "t", "u"), (4.4, 4.0), 6),
    "particles": (lambda: animation.particles(GRID, ENERGY, PROJECTED, STEPS, (-1, 1), "t"), (4.4, 4.0), 6),
    # This animation shows every second snapshot.
    "formation": (
        lambda: gallery.formation(GRID, {k: (SNAPSHOTS.repeat(2, 0)[1:], (-1, 1)) for k in "ab"}, POINTS),
        (2.8, 1.55),
        6,
    ),
    "movie": (lambda: images.movie(DIGITS[:5] / 255, "t"), (2.6, 2.8), 5),
    "pca over training": (lambda: images.pca_over_training(PROJECTED, LABELS, STEPS, "t"), (5, 4.2), 6),
}


def pixels(inches: tuple[float, float]) -> tuple[int, int]:
    """Width and height in pixels."""
    return int(inches[0] * DPI + 1e-6), int(inches[1] * DPI + 1e-6)


@cache
def png(name: str) -> bytes:
    """The content of a figure's PNG file."""
    with TemporaryDirectory() as folder:
        write_png(Path(folder) / "new folder" / "a.png", FIGURES[name][0]())
        return (Path(folder) / "new folder" / "a.png").read_bytes()


def gif(frames: list[np.ndarray], seconds: float = 3, accents: Sequence[str] = (ACCENT,)) -> bytes:
    """The content of an animation's GIF file."""
    with TemporaryDirectory() as folder:
        write_gif(Path(folder) / "new folder" / "a.gif", frames, seconds, accents)
        return (Path(folder) / "new folder" / "a.gif").read_bytes()


@cache
def frames(name: str) -> list[np.ndarray]:
    """The frames of an animation, before they are encoded."""
    return ANIMATIONS[name][0]()


def opened(content: bytes) -> list[np.ndarray]:
    """Check the content of an image file and return its frames (H, W, 3) in RGB."""
    with Image.open(BytesIO(content)) as image:
        image.verify()
    with Image.open(BytesIO(content)) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


def seconds(content: bytes) -> float:
    """The duration of one loop of an animation."""
    with Image.open(BytesIO(content)) as image:
        return sum(frame.info["duration"] for frame in ImageSequence.Iterator(image)) / 1000


def count(frame: np.ndarray, colour: str) -> int:
    """The number of pixels with exactly this colour."""
    return int((frame == np.round(np.array(to_rgb(colour)) * 255).astype(int)).all(-1).sum())


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_a_png_of_the_given_size_and_not_blank(name: str) -> None:
    (frame,) = opened(png(name))
    assert png(name).startswith(b"\x89PNG")
    assert (frame.shape[1], frame.shape[0]) == pixels(FIGURES[name][1])
    assert len(np.unique(frame.reshape(-1, 3), axis=0)) > 10


@pytest.mark.parametrize("name", ANIMATIONS)
def test_animation_is_a_looping_gif_of_the_given_size_whose_frames_differ(name: str) -> None:
    _, inches, length = ANIMATIONS[name]
    assert len(frames(name)) == length, "animations of a process hold the last frame for another quarter of their length"
    content = gif(frames(name), seconds=3)
    written = opened(content)
    assert content.startswith(b"GIF89a") and b"NETSCAPE2.0\x03\x01\x00\x00" in content
    assert len(written) == 5, "the held frame is stored as one long frame"
    assert all((frame.shape[1], frame.shape[0]) == pixels(inches) for frame in written)
    assert all((a != b).any() for a, b in pairwise(written))
    assert seconds(content) == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize("name", ["joint embedding", "sheet"])
def test_figure_drawn_twice_has_the_same_bytes(name: str) -> None:
    assert png(name) == png.__wrapped__(name)


@pytest.mark.parametrize("name", ["walk", "pca over training"])
def test_animation_drawn_twice_has_the_same_bytes(name: str) -> None:
    assert gif(frames(name)) == gif(frames.__wrapped__(name))


def test_methods_keep_their_colours_across_panels_and_missing_values_are_omitted() -> None:
    metrics = {"a": {"m": [None, None], "n": [MEASURED] * 2}, "b": {"m": [MEASURED] * 2, "n": [MEASURED, None]}}
    left, right = studies.lines([1, 2], metrics, "l", "t").axes

    def lines(axes: Axes) -> dict[str, tuple[str, int]]:
        return {c.get_label(): (c[0].get_color(), len(c[0].get_xdata())) for c in axes.containers}

    assert lines(left)["n"] == (studies.SERIES[0], 2) and lines(left)["m"][1] == 0
    assert lines(right) == {"m": (ACCENT, 2), "n": (studies.SERIES[0], 1)}


def test_values_too_close_on_an_axis_are_evenly_spaced_and_labelled() -> None:
    def ticks(values: list[float]) -> tuple[str, list[str]]:
        (axes,) = studies.lines(values, {"a": {"m": [MEASURED] * len(values)}}, "l", "t").axes
        return axes.get_xscale(), [label.get_text() for label in axes.get_xticklabels()]

    assert ticks([0, 0.9, 0.99, 0.999]) == ("linear", ["0", "0.9", "0.99", "0.999"])
    assert ticks([0.1, 1, 10]) == ("log", ["0.1", "1", "10"])
    assert ticks([0, 0.5, 1])[1] != ["0", "0.5", "1"]
    assert ticks([0.5]) == ticks([0.5])


def test_panel_title_is_the_shortest_unique_suffix_of_the_metric() -> None:
    assert studies.short(["mse", "clean.mse", "noisy.clean.mse", "a.some_name", "b.affine.1"]) == {
        "mse": "mse",
        "clean.mse": "clean mse",
        "noisy.clean.mse": "noisy clean mse",
        "a.some_name": "some name",
        "b.affine.1": "affine 1",
    }


def test_many_panels_of_bars_fill_several_rows() -> None:
    figure = studies.bars(["p", "q"], {f"metric_{number}": [MEASURED] * 2 for number in range(10)}, "t")
    drawn = [axes for axes in figure.axes if axes.axison]
    assert [axes.get_title() for axes in drawn] == [f"metric {number}" for number in range(10)]
    assert len({round(axes.get_position().y0, 3) for axes in drawn}) == 2


def test_gallery_has_four_panels_per_row_or_five_with_many_methods() -> None:
    sizes = []
    for names in ("abc", "abcd", "abcdefghij"):
        figure = gallery.gallery(GRID, dict.fromkeys(names, (ENERGY, (-1, 1))), POINTS, ENERGY)
        sizes.append((round(figure.get_figwidth(), 1), round(figure.get_figheight(), 1)))
    assert sizes == [(10.0, 2.5), (10.0, 5.0), (12.5, 7.5)]


CURVES = {name: (STEPS, np.geomspace(1, end, 5), np.geomspace(1, end, 5)) for name, end in (("a", 1e-3), ("b", 10.0))}
CONDITIONAL = Conditional(
    seen=2.0,
    axis=np.linspace(-5, 5, 50),
    true=np.linspace(0, 1, 50),
    mean=0.0,
    point=1.0,
    density=np.linspace(1, 0, 50),
)
COMPARISONS: Mapping[str, Draw] = {
    "collapse": lambda: comparison.collapse(CURVES, 0.01, 0.1),
    "conditional": lambda: comparison.conditional({"a": CONDITIONAL}),
    "critics": lambda: comparison.critics({"a": (POINTS[:, 0], POINTS[:, 1], 0.5)}),
    "score errors": lambda: comparison.score_errors(GRID, {"a": (FIELD, 0 * FIELD, 0.1), "b": (FIELD, FIELD, 0.0)}, POINTS),
    "mode weights": lambda: comparison.mode_weights({"a": (np.full((2, 3), 0.3), np.full((2, 3), 0.4))}, np.full(3, 1 / 3)),
}
EMPTY: Mapping[str, Draw] = {
    "collapse": lambda: comparison.collapse({}, 0.01, 0.1),
    "conditional": lambda: comparison.conditional({}),
    "critics": lambda: comparison.critics({}),
    "score errors": lambda: comparison.score_errors(GRID, {}, POINTS),
    "mode weights": lambda: comparison.mode_weights({}, np.ones(3)),
}


@pytest.mark.parametrize(
    "draw", [*COMPARISONS.values(), *EMPTY.values()], ids=[*COMPARISONS, *(f"no {name}" for name in EMPTY)]
)
def test_comparison_is_drawn_with_and_without_methods(draw: Draw, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_png(tmp_path / "a.png", draw())
    (frame,) = opened((tmp_path / "a.png").read_bytes())
    assert len(np.unique(frame.reshape(-1, 3), axis=0)) > 10


def test_exact_score_is_dark_everywhere_on_the_error_map() -> None:
    wrong, right = comparison.score_errors(GRID, {"a": (FIELD + 9, FIELD, 1.0), "b": (FIELD, FIELD, 0.0)}, POINTS).axes[:2]
    assert wrong.images[0].get_array().min() > right.images[0].get_array().max()


# ---------------------------------------------------------------- colours and content


def test_reference_point_keeps_its_colour_in_every_frame() -> None:
    assert min(count(frame, ACCENT) for frame in opened(gif(frames("walk")))) >= 10


def test_classes_keep_their_ten_colours_in_every_frame() -> None:
    for frame in opened(gif(frames("pca over training"), accents=images.CLASS_COLOURS)):
        assert all(count(frame, colour) >= 10 for colour in images.CLASS_COLOURS)


@pytest.mark.parametrize("colours", [images.CLASS_COLOURS, (ACCENT,)], ids=["classes", "accent"])
def test_palette_of_an_animation_keeps_accent_colours_exactly(colours: tuple[str, ...]) -> None:
    stripes = np.round(np.array([to_rgb(c) for c in (*colours, "white")]) * 255).astype(np.uint8).repeat(8, 0)
    squares = np.stack([stripes] * 8)
    first, second = opened(gif([squares, squares[:, ::-1].copy()], accents=colours))
    assert np.array_equal(first, squares) and np.array_equal(second, squares[:, ::-1])


def test_low_energy_is_darker_than_high_energy() -> None:
    low, high = animation.training(GRID, np.stack([FLAT, -FLAT]), STEPS[:2], (-1, 1), "t", "u")
    assert low[120:200, 100:200].mean() < high[120:200, 100:200].mean()


def test_landscape_above_the_colour_scale_is_not_white() -> None:
    limits = (2.8378770664093453, 22.837877066409345)
    figure = landscape.score(
        GRID, np.full(ENERGY.shape, 1e3, np.float32), np.full(ENERGY.shape, -limits[0]), FIELD, POINTS, "s"
    )
    figure.canvas.draw()
    image = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
    height, width = image.shape[:2]
    inside = image[height // 3 : height // 2, width // 8 : width // 3].reshape(-1, 3)
    assert (inside == 255).all(-1).mean() < 0.2


def test_second_coordinate_points_up_in_figures_and_animations() -> None:
    upper = np.where(Y > 5, 1.0, -1.0)
    figure = landscape.joint_embedding(GRID, upper, np.zeros((0, 2)), (100, 100), "f")
    figure.canvas.draw()
    image = np.asarray(figure.canvas.buffer_rgba())[..., :3]  # type: ignore[attr-defined]
    first, *_ = animation.walk(GRID, np.stack([upper] * 2), np.full((2, 2), 100), np.zeros((0, 2)), "t")
    for frame in (image, first):
        height, width = frame.shape[:2]
        column = frame[:, width // 3].astype(int).sum(-1)
        assert column[height // 4] > column[height // 2 + height // 6]


def test_only_the_moving_part_changes_between_frames() -> None:
    varies = np.ptp(np.stack(frames("training")), axis=0).any(-1)
    assert varies.any() and not varies[:, :20].any() and not varies[:20].any() and not varies[:, -40:].any()


def test_sheet_shows_bytes_and_floats_on_the_same_scale() -> None:
    (axes,) = sheets.sheet({"bytes": DIGITS[:1], "floats": DIGITS[:1] / 255, "dark": DIGITS[:1] / 510}, "t").axes
    (image,) = axes.images
    shown = image.cmap(image.norm(image.get_array()))[..., 0]
    below = 28 + sheets.GAP
    first, second, dark = (shown[row * below : row * below + 28, :28] for row in range(3))
    assert np.array_equal(first, second) and np.allclose(first, DIGITS[0] / 255, atol=1 / 255)
    # Images are not scaled by their own brightest pixel.
    assert np.allclose(dark, DIGITS[0] / 510, atol=1 / 255)


# ---------------------------------------------------------------- limit cases


@pytest.mark.parametrize(
    "draw",
    [
        lambda: landscape.joint_embedding(GRID, FLAT, POINTS, (0, 0), "f"),
        lambda: landscape.joint_embedding(GRID, FLAT - 1e-7, POINTS, (0, 0), "f"),
        lambda: gallery.gallery(GRID, {"a": (FLAT, (-1, 1))}, POINTS, FLAT),
        lambda: images.confusion(np.eye(10, dtype=int) * 5, "t"),
        lambda: sheets.sheet({"black": np.zeros((2, 28, 28), np.uint8), "none": np.zeros((0, 28, 28))}, "t"),
        pytest.param(
            lambda: landscape.score(GRID, FLAT, FLAT, np.zeros((*FLAT.shape, 2)), POINTS, "s"),
        ),
        pytest.param(
            lambda: images.dots({"a": {"accuracy": 1.0}}, "t", "u"),
        ),
    ],
    ids=["embedding", "embedding below the scale", "gallery", "confusion", "sheet", "score", "dots"],
)
def test_figure_of_constant_data_is_drawn_without_a_warning(draw: Draw, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        write_png(tmp_path / "a.png", draw())


@pytest.mark.parametrize(
    "draw",
    [
        lambda: animation.walk(GRID, np.stack([FLAT] * 5), WALK, POINTS, "t"),
        lambda: animation.training(GRID, np.stack([FLAT] * 5), STEPS, (-1, 1), "t", "u"),
        lambda: animation.particles(GRID, FLAT, np.zeros((2, 4, 2)), STEPS[:2], (-1, 19), "t"),
        lambda: gallery.formation(GRID, {"a": (np.stack([FLAT] * 5), (-1, 1))}, POINTS),
        pytest.param(
            lambda: images.pca_over_training(np.zeros((2, 40, 2)), LABELS, STEPS[:2], "t"),
        ),
    ],
    ids=["walk", "training", "particles", "formation", "pca"],
)
def test_animation_of_constant_data_is_drawn_without_a_warning(draw: Animate) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gif(draw())


def test_plots_import_neither_torch_nor_pyplot() -> None:
    modules = sorted(f"stages.plots.{path.stem}" for path in (ROOT / "stages" / "plots").glob("[!_]*.py"))
    assert len(modules) >= 5
    code = f"import sys, {', '.join(modules)}; print(*({{'torch', 'matplotlib.pyplot'}} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
