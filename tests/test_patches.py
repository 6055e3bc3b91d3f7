"""The geometry of patches: side, clipping, mirroring, and the controls' places."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partscope.errors import OptionError
from partscope.patches import SCALES, SMALLEST, grid_points, mirrored_boxes, patch_boxes, random_points

lengths = st.integers(1, 3000)
scales = st.floats(1e-5, 4)
places = st.floats(-4000, 4000)


def test_a_patch_has_the_papers_side_around_its_point() -> None:
    boxes = patch_boxes([[[200, 150]]], [[300, 200]], [[500, 400]], SCALES["crop"])
    side = math.sqrt(300 * 200 / 4)
    np.testing.assert_allclose(boxes, [[[200 - side / 2, 150 - side / 2, side, side]]])
    whole = patch_boxes([[[250, 200]]], [[500, 400]], [[500, 400]], SCALES["image"])
    np.testing.assert_allclose(whole[0, 0, 2:], math.sqrt(500 * 400 / 9))


@given(lengths, lengths, places, places, scales)
def test_patches_lie_in_the_image_and_have_an_area(
    width: int, height: int, x: float, y: float, scale: float
) -> None:
    size = np.array([width, height], dtype=float)
    box = patch_boxes([[[x, y]]], [size], [size], scale)[0, 0]
    side = max(math.sqrt(width * height * scale), SMALLEST)
    low, high = box[:2], box[:2] + box[2:]
    assert (low >= 0).all()
    assert (high <= size + 1e-9).all()
    assert (box[2:] <= side + 1e-9).all()
    assert (box[2:] >= np.minimum(side / 2, size) - 1e-9).all()
    nearest = np.clip([x, y], 0, size)
    assert (low - 1e-9 <= nearest).all()
    assert (nearest <= high + 1e-9).all()
    inside = (nearest - side / 2 >= 0) & (nearest + side / 2 <= size)
    np.testing.assert_allclose(box[2:][inside], side)


@given(lengths, lengths, places, places, scales)
def test_patches_of_mirrored_points_are_mirrored_patches(
    width: int, height: int, x: float, y: float, scale: float
) -> None:
    size = np.array([[width, height]], dtype=float)
    boxes = patch_boxes([[[x, y]]], size, size, scale)
    mirrored = patch_boxes([[[width - x, y]]], size, size, scale)
    np.testing.assert_allclose(mirrored_boxes(boxes, [width]), mirrored, atol=1e-6)
    assert (mirrored_boxes(boxes, [width])[..., 0] >= 0).all()
    np.testing.assert_allclose(mirrored_boxes(mirrored_boxes(boxes, [width]), [width]), boxes, atol=1e-6)


def test_missing_points_have_no_patch() -> None:
    points = np.array([[[5.0, 5.0], [np.nan, np.nan], [3.0, np.nan]]])
    boxes = patch_boxes(points, [[40, 30]], [[40, 30]], 1 / 9)
    assert np.isnan(boxes).all(axis=2).tolist() == [[False, True, True]]
    assert np.isfinite(boxes[0, 0]).all()
    assert np.isnan(mirrored_boxes(boxes, [40])).all(axis=2).tolist() == [[False, True, True]]


@pytest.mark.parametrize("scale", [0, -1, math.nan, math.inf])
def test_a_wrong_scale_is_named(scale: float) -> None:
    with pytest.raises(OptionError, match="patch scale"):
        patch_boxes(np.zeros((1, 1, 2)), [[4, 4]], [[4, 4]], scale)


def test_wrong_shapes_are_named() -> None:
    with pytest.raises(OptionError, match=r"points must have shape .* not \(1, 2\)"):
        patch_boxes(np.zeros((1, 2)), [[4, 4]], [[4, 4]], 1)
    with pytest.raises(OptionError, match=r"extents must have shape \(1, 2\)"):
        patch_boxes(np.zeros((1, 1, 2)), [4, 4], [[4, 4]], 1)
    with pytest.raises(OptionError, match=r"sizes must be positive .* row 0 is \[4.0, 0.0\]"):
        patch_boxes(np.zeros((1, 1, 2)), [[4, 4]], [[4, 0]], 1)
    with pytest.raises(OptionError, match="rectangles must have shape"):
        grid_points(3, [0, 0, 1, 1])
    with pytest.raises(OptionError, match="at least 1 point"):
        grid_points(0, [[0, 0, 1, 1]])
    with pytest.raises(OptionError, match="2 ids for 1 rectangles"):
        random_points(3, [[0, 0, 1, 1]], 0, ["a", "b"])
    with pytest.raises(OptionError, match="random_state"):
        random_points(3, [[0, 0, 1, 1]], -1, ["a"])


@given(st.integers(1, 60), st.floats(1, 2000), st.floats(1, 2000))
def test_a_grid_is_regular_symmetric_and_inside(count: int, width: float, height: float) -> None:
    points = grid_points(count, [[7, 11, width, height]])[0]
    assert points.shape == (count, 2)
    assert len(np.unique(points, axis=0)) == count
    relative = (points - [7, 11]) / [width, height]
    assert ((relative > 0) & (relative < 1)).all()
    mirrored = np.column_stack([1 - relative[:, 0], relative[:, 1]])
    order = np.lexsort(mirrored.round(9).T)
    np.testing.assert_allclose(mirrored[order], relative[np.lexsort(relative.round(9).T)], atol=1e-8)
    _, per_row = np.unique(relative[:, 1].round(9), return_counts=True)
    assert per_row.max() - per_row.min() <= 1


def test_fifteen_points_are_five_by_three_in_a_wide_image() -> None:
    points = grid_points(15, [[0, 0, 500, 300]])[0]
    assert sorted(set(points[:, 0])) == [50, 150, 250, 350, 450]
    assert sorted(set(points[:, 1])) == [50, 150, 250]


def test_random_points_depend_on_seed_and_id_alone() -> None:
    areas = np.array([[0, 0, 100, 50], [20, 10, 30, 40], [0, 0, 100, 50]], dtype=float)
    points = random_points(15, areas, 3, ["a", "b", "c"])
    backwards = random_points(15, areas[::-1], 3, ["c", "b", "a"])[::-1]
    assert np.array_equal(points, backwards)
    assert not np.allclose(points[0], points[2])
    assert not np.allclose(points, random_points(15, areas, 4, ["a", "b", "c"]))
    assert (points >= areas[:, None, :2]).all()
    assert (points <= areas[:, None, :2] + areas[:, None, 2:]).all()
    spread = random_points(4000, areas[:1], 0, ["a"])[0]
    np.testing.assert_allclose(spread.mean(axis=0), [50, 25], atol=2)
