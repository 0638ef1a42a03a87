"""What the page's scripts carry: typed binary numbers, sheets of images, and nothing that could end a script."""

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


def unpacked(packed: dict[str, Any]) -> NDArray[np.float64]:
    steps = np.frombuffer(base64.b64decode(packed["data"]), np.dtype(packed["type"]).newbyteorder("<"))
    return packed["low"] + packed["step"] * steps.reshape(packed["shape"]).astype(np.float64)


@given(
    arrays(np.float32, array_shapes(max_dims=3), elements=st.floats(-1e6, 1e6, width=32)), st.sampled_from(["uint8", "uint16"])
)
def test_numbers_are_off_by_half_a_step_at_most(values: NDArray[Any], kind: Any) -> None:
    packed = page_script.quantised(values, kind)
    assert packed["type"] == kind and unpacked(packed).shape == values.shape
    assert (abs(unpacked(packed) - values) <= packed["step"] * 0.5000001 + 1e-9).all()


@pytest.mark.parametrize("values", [[], [3.5], [2.0, 2.0]])
def test_no_numbers_and_equal_ones_come_out_exactly(values: list[float]) -> None:
    assert unpacked(page_script.quantised(np.array(values), "uint8")).tolist() == values


def test_what_is_not_finite_is_refused() -> None:
    with pytest.raises(UserError, match="finite"):
        page_script.quantised(np.array([1.0, np.nan]), "uint16")


@given(arrays(np.int64, array_shapes(max_dims=2), elements=st.integers(0, 65_535)))
def test_whole_numbers_come_out_exactly(values: NDArray[Any]) -> None:
    packed = page_script.integers(values)
    assert (unpacked(packed) == values).all() and packed["type"] == ("uint8" if values.max() < 256 else "uint16")


@pytest.mark.parametrize("values", [[-1], [65_536]])
def test_whole_numbers_that_do_not_fit_are_refused(values: list[int]) -> None:
    with pytest.raises(ValueError, match="65,535"):
        page_script.integers(np.array(values))


@pytest.mark.parametrize("count", [1, 3, page_script.COLUMNS, page_script.COLUMNS + 1])
def test_a_sheet_holds_every_image_at_its_place(count: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (count, 4, 5)).astype(np.uint8)
    sheet = page_script.sheet(images)
    picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet["png"]))))
    for number, image in enumerate(images):
        top, left = 4 * (number // sheet["columns"]), 5 * (number % sheet["columns"])
        assert (picture[top : top + 4, left : left + 5] == image).all()
    assert (sheet["count"], sheet["width"], sheet["height"]) == (count, 5, 4)


@given(st.integers(1, 200), st.integers(2, 50))
def test_the_few_that_stand_for_all_have_the_ends_among_them(total: int, count: int) -> None:
    found = page_script.evenly_spaced(total, count)
    assert found[0] == 0 and found[-1] == (total - 1 if total > 1 else 0)
    assert len(set(found)) == len(found) == min(total, count)
    assert total < 2 or np.ptp(np.diff(found)) <= 1


def test_a_script_is_one_call_and_nothing_in_it_ends_a_script(tmp_path: Path) -> None:
    page_script.write(tmp_path / "a.js", "</script><img onerror=x>", {"text": "</SCRIPT>&\u2028", "n": [1.5]})
    text = (tmp_path / "a.js").read_text(encoding="utf-8")
    assert not re.search(r"[<>&\u2028]", text) and text.startswith("pageData.add(") and text.endswith(");\n")
    name, content = json.loads(f"[{text[len('pageData.add(') : -3]}]")
    assert name == "</script><img onerror=x>" and content == {"text": "</SCRIPT>&\u2028", "n": [1.5]}
