"""Intersection over union of boxes, against counting pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partscope.errors import DatasetError
from partscope.metrics import box_overlap

BOX = st.tuples(*[st.integers(0, 12)] * 2, *[st.integers(1, 12)] * 2)


@given(first=BOX, second=BOX)
def test_equals_counted_pixels(first: tuple[int, ...], second: tuple[int, ...]) -> None:
    painted = []
    for x, y, width, height in (first, second):
        canvas = np.zeros((24, 24), bool)
        canvas[y : y + height, x : x + width] = True
        painted.append(canvas)
    wanted = (painted[0] & painted[1]).sum() / (painted[0] | painted[1]).sum()
    assert box_overlap([first], [second])[0] == pytest.approx(wanted)


def test_missing_boxes() -> None:
    none, some = [np.nan] * 4, [0.0, 0.0, 2.0, 2.0]
    np.testing.assert_array_equal(
        box_overlap([some, none, some, none], [some, some, none, none]), [1.0, 0.0, np.nan, np.nan]
    )


def test_shapes() -> None:
    with pytest.raises(DatasetError, match=r"must both be \(N, 4\)"):
        box_overlap(np.ones((2, 4)), np.ones((3, 4)))
