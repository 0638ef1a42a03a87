"""Encoding of the page data: quantised numbers, integers, contact sheets of images, and scripts that are safe in HTML."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from numpy.typing import NDArray
from PIL import Image

from stages.core.errors import UserError
from stages.pipeline import page_script


def decoded(encoded: dict[str, Any]) -> NDArray[np.float64]:
    """The values low + step · q of an encoded array, as the page's script data.js computes them."""
    steps = np.frombuffer(base64.b64decode(encoded["data"]), np.dtype(encoded["type"]).newbyteorder("<"))
    return encoded["low"] + encoded["step"] * steps.reshape(encoded["shape"]).astype(np.float64)


@given(
    arrays(np.float32, array_shapes(max_dims=3), elements=st.floats(-1e6, 1e6, width=32)), st.sampled_from(["uint8", "uint16"])
)
def test_the_quantisation_error_is_at_most_half_a_step(values: NDArray[Any], kind: Any) -> None:
    encoded = page_script.quantised(values, kind)
    assert encoded["type"] == kind and decoded(encoded).shape == values.shape
    assert (abs(decoded(encoded) - values) <= encoded["step"] * 0.5000001 + 1e-9).all()


@pytest.mark.parametrize("values", [[], [3.5], [2.0, 2.0]])
def test_empty_and_constant_arrays_are_encoded_exactly(values: list[float]) -> None:
    assert decoded(page_script.quantised(np.array(values), "uint8")).tolist() == values


def test_values_that_are_not_finite_are_rejected() -> None:
    with pytest.raises(UserError, match="finite"):
        page_script.quantised(np.array([1.0, np.nan]), "uint16")


@given(arrays(np.int64, array_shapes(max_dims=2), elements=st.integers(0, 65_535)))
def test_integers_are_encoded_exactly(values: NDArray[Any]) -> None:
    encoded = page_script.integers(values)
    assert (decoded(encoded) == values).all() and encoded["type"] == ("uint8" if values.max() < 256 else "uint16")


@pytest.mark.parametrize("values", [[-1], [65_536]])
def test_integers_out_of_range_are_rejected(values: list[int]) -> None:
    with pytest.raises(ValueError, match="65,535"):
        page_script.integers(np.array(values))


@pytest.mark.parametrize("count", [1, 3, page_script.COLUMNS, page_script.COLUMNS + 1])
def test_a_contact_sheet_holds_every_image_at_its_position(count: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, 4, 5)).astype(np.uint8)
    sheet = page_script.sheet(images)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet["png"]))))
    for index, image in enumerate(images):
        top, left = 4 * (index // sheet["columns"]), 5 * (index % sheet["columns"])
        assert (picture[top : top + 4, left : left + 5] == image).all()
    assert (sheet["count"], sheet["width"], sheet["height"]) == (count, 5, 4)


def test_a_contact_sheet_of_colour_images_keeps_each_image_at_its_position() -> None:
    colours = np.random.default_rng(0).integers(0, 256, (7, 1, 1, 3)).astype(np.uint8)
    sheet = page_script.sheet(colours.repeat(12, 1).repeat(12, 2))
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet["jpeg"]))))
    assert picture.shape == (12, 7 * 12, 3) and (sheet["count"], sheet["width"], sheet["height"]) == (7, 12, 12)
    for index, colour in enumerate(colours[:, 0, 0]):
        assert np.abs(picture[2:10, 12 * index + 2 : 12 * index + 10].astype(int) - colour).mean() < 12
    assert page_script.sheet(colours.repeat(12, 1).repeat(12, 2)) == sheet


@given(st.integers(1, 200), st.integers(2, 50))
def test_evenly_spaced_indices_are_distinct_and_include_both_ends(total: int, count: int) -> None:
    found = page_script.evenly_spaced(total, count)
    assert found[0] == 0 and found[-1] == (total - 1 if total > 1 else 0)
    assert len(set(found)) == len(found) == min(total, count)
    assert total < 2 or np.ptp(np.diff(found)) <= 1


def test_a_data_script_is_one_call_without_html_characters(tmp_path: Path) -> None:
    page_script.write(tmp_path / "a.js", "</script><img onerror=x>", {"text": "</SCRIPT>&\u2028", "n": [1.5]})
    text = (tmp_path / "a.js").read_text(encoding="utf-8")
    assert not re.search(r"[<>&\u2028]", text) and text.startswith("pageData.add(") and text.endswith(");\n")
    name, content = json.loads(f"[{text[len('pageData.add(') : -3]}]")
    assert name == "</script><img onerror=x>" and content == {"text": "</SCRIPT>&\u2028", "n": [1.5]}
