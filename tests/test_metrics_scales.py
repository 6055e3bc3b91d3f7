"""Scales: what an error is divided by, and what happens where there is none."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partscope.errors import DatasetError, OptionError
from partscope.metrics import axes_error, boxes_or_parts, diagonal_error, make_scale, parts_box

NAN = np.nan
PARTS = ("left eye", "right eye", "tail")
POINTS = np.array(
    [
        [(10.0, 10.0), (13.0, 14.0), (40.0, 30.0)],
        [(10.0, 10.0), (NAN, NAN), (10.0, 50.0)],
        [(NAN, NAN), (NAN, NAN), (NAN, NAN)],
    ]
)
SIZES = np.array([(60.0, 80.0), (30.0, 40.0), (3.0, 4.0)])
BOXES = np.array([(5.0, 5.0, 30.0, 40.0), (NAN,) * 4, (NAN,) * 4])


def scale(normaliser, points=POINTS, boxes=BOXES, **more):
    return make_scale(
        normaliser, ids=("a", "b", "c"), sizes=SIZES, boxes=boxes, points=points, parts=PARTS, **more
    )


def test_parts_box_grows_by_a_tenth_of_its_longer_side():
    boxes = parts_box(POINTS)
    assert boxes[0] == pytest.approx([10 - 1.5, 10 - 1.5, 33, 23])
    assert boxes[1] == pytest.approx([8, 8, 4, 44])
    assert np.isnan(boxes[2]).all()


def test_box_and_its_stand_in():
    result = scale("box")
    assert result.diagonal[:2] == pytest.approx([50, math.hypot(4, 44)])
    assert result.axes[:2] == pytest.approx(np.array([(30, 40), (4, 44)]))
    assert result.reach[:2] == pytest.approx([40, 44])
    assert np.isnan(result.diagonal[2])
    assert result.notes == (
        "1 of 2 images have no box: the visible parts' bounding box, widened by 10% of its longer side, stands in for it",
    )
    boxes, missing = boxes_or_parts(BOXES, POINTS)
    assert missing.tolist() == [False, True, True]
    assert boxes[0].tolist() == [5, 5, 30, 40]


def test_image_and_pixels():
    assert scale("image").diagonal.tolist() == [100, 50, 5]
    assert scale("image").reach.tolist() == [80, 40, 4]
    pixels = scale("pixels")
    assert pixels.diagonal.tolist() == [1, 1, 1]
    assert np.isnan(pixels.reach).all()
    assert "PCK" in pixels.notes[0]


def test_distance_between_two_parts():
    result = scale(("parts", "left eye", "right eye"))
    assert result.diagonal[0] == 5
    assert result.reach[0] == 5
    assert np.isnan(result.diagonal[1:]).all()
    # The image without any visible part has no pair to lose.
    assert [skipped.id for skipped in result.left_out] == ["b"]
    assert result.notes[0].startswith("1 of 2 images are left out")


def test_zero_scale_names_the_image():
    points = POINTS.copy()
    points[1, 2] = NAN
    with pytest.raises(DatasetError, match=r"^b: the scale of the error is zero \(a single position"):
        scale("box", points)
    result = scale("box", points, on_error="skip")
    assert np.isnan(result.diagonal[1])
    assert [skipped.id for skipped in result.left_out] == ["b"]
    points[0, 1] = points[0, 0]
    with pytest.raises(DatasetError, match=r"^a: .*left eye and right eye are at one position"):
        scale(("parts", "left eye", "right eye"), points)


@pytest.mark.parametrize(
    ("normaliser", "message"),
    [
        ("bbox", "'bbox'"),
        (("parts", "left eye"), "name, name"),
        (("parts", "left eye", "rigth eye"), "unknown part 'rigth eye'; nearest parts: 'right eye'"),
        (("parts", "tail", "tail"), "two different parts"),
    ],
)
def test_unknown_normaliser(normaliser, message):
    with pytest.raises(OptionError, match=message):
        scale(normaliser)


@given(st.floats(-50, 50), st.floats(-50, 50), st.floats(1, 100))
def test_one_length_makes_both_errors_the_same(dx, dy, length):
    points = np.array([[(0.0, 0.0), (length, 0.0), (NAN, NAN)]])
    result = make_scale(
        ("parts", "left eye", "right eye"),
        ids=("a",),
        sizes=SIZES[:1],
        boxes=BOXES[:1],
        points=points,
        parts=PARTS,
    )
    guess = points + np.array([dx, dy])
    expected = math.hypot(dx, dy) / length
    assert diagonal_error(guess, points, result.diagonal)[0, :2] == pytest.approx([expected] * 2, abs=1e-9)
    assert axes_error(guess, points, result.axes)[0, :2] == pytest.approx([expected] * 2, abs=1e-9)
