"""The predicted box: exact where it follows from the parts, and its measure of overlap."""

from __future__ import annotations

import numpy as np
import pytest

from partscope.arrangement import Arrangement
from partscope.arrangement.boxes import FOLDS, fit_boxes
from test_arrangement_model import MIRROR as EARS
from test_arrangement_model import animals

MIRROR = np.array([0, 2, 1])


def objects(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return points, shares, sizes, and boxes whose sides lie beyond the outermost parts, farther in front than behind."""
    rng = np.random.default_rng(seed)
    side = rng.choice([-1.0, 1.0], count)
    size = rng.uniform(0.2, 0.8, count)
    shape = np.array([[0.5, 0.0], [-0.1, 0.2], [-0.2, 0.3]])
    shapes = np.where(side[:, None, None] > 0, shape, shape[MIRROR] * (-1, 1))
    points = rng.uniform(0.3, 0.7, (count, 1, 2)) + size[:, None, None] * shapes
    low, high = points.min(axis=1), points.max(axis=1)
    # The nose is the first part, and the box ends 0.2 sizes before it and 0.1 behind the last part.
    before, behind = np.where(side > 0, 0.1, 0.2) * size, np.where(side > 0, 0.2, 0.1) * size
    sides = np.stack(
        [low[:, 0] - before, low[:, 1] - 0.05 * size, high[:, 0] + behind, high[:, 1] + 0.1 * size], axis=1
    )
    return points, np.full((count, 3), 0.9), size, sides


def test_sides_that_follow_from_the_parts_are_learned() -> None:
    points, share, size, sides = objects(60)
    model = fit_boxes(points, share, size, sides, MIRROR)
    assert model is not None
    assert model.overlap > 0.97
    fresh, share, size, wanted = objects(20, 1)
    found = np.array([model(p, s, z) for p, s, z in zip(fresh, share, size, strict=True)])
    assert np.abs(found - wanted).max() < 0.03


def test_a_mirrored_object_has_the_mirrored_box() -> None:
    points, share, size, sides = objects(30)
    rng = np.random.default_rng(2)
    model = fit_boxes(points + 0.02 * rng.standard_normal(points.shape), share, size, sides, MIRROR)
    assert model is not None
    straight = model(points[0], share[0], size[0])
    flipped = model(points[0][MIRROR] * (-1, 1), share[0][MIRROR], size[0])
    np.testing.assert_allclose(flipped, straight[[2, 1, 0, 3]] * (-1, 1, -1, 1), atol=1e-9)


def test_moved_and_scaled_parts_move_and_scale_the_box() -> None:
    points, share, size, sides = objects(30)
    model = fit_boxes(points, share, size, sides, MIRROR)
    assert model is not None
    straight = model(points[0], share[0], size[0])
    moved = model(3 * points[0] + (5, 7), share[0], 3 * size[0])
    np.testing.assert_allclose(moved, 3 * straight + (5, 7, 5, 7))


def test_objects_that_were_not_found_hardly_disturb() -> None:
    points, share, size, sides = objects(60)
    clean = fit_boxes(points, share, size, sides, MIRROR)
    lost = sides.copy()
    lost[::10] += 2.0
    robust = fit_boxes(points, share, size, lost, MIRROR)
    assert clean is not None
    assert robust is not None
    # Squares would move all sides by 0.2, a tenth of 2.
    difference = robust(points[1], share[1], size[1]) - clean(points[1], share[1], size[1])
    assert np.abs(difference).max() < 0.05


def test_too_few_images_with_a_box_predict_none() -> None:
    points, share, size, sides = objects(20)
    sides[FOLDS - 1 :] = np.nan
    assert fit_boxes(points, share, size, sides, MIRROR) is None


def test_images_without_a_box_do_not_count() -> None:
    points, share, size, sides = objects(40)
    sides[::2] = np.nan
    some = fit_boxes(points, share, size, sides, MIRROR)
    alone = fit_boxes(points[1::2], share[1::2], size[1::2], sides[1::2], MIRROR)
    assert some is not None
    assert alone is not None
    np.testing.assert_array_equal(some.weights, alone.weights)


def test_the_arrangement_predicts_boxes_inside_the_image() -> None:
    points, visible, sizes, maps = animals(40, 0)
    pixels = points * sizes[:, None]
    low, high = pixels.min(axis=1) - 6, pixels.max(axis=1) + 6
    boxes = np.concatenate([low, high - low], axis=1)
    model = Arrangement.fit(points[:30], visible[:30], sizes[:30], EARS, maps[:30], boxes[:30])
    assert Arrangement.fit(points[:5], visible[:5], sizes[:5], EARS, maps[:5]).box is None
    again = Arrangement.restore(*model.state())
    for image, size, box in zip(maps[30:], sizes[30:], boxes[30:], strict=True):
        found = model.infer(image, size).box
        assert found is not None
        np.testing.assert_array_equal(found, again.infer(image, size).box)
        assert (found[:2] >= 0).all()
        assert (found[:2] + found[2:] <= size + 1e-9).all()
        inside = np.concatenate([np.clip(box[:2], 0, size), np.clip(box[:2] + box[2:], 0, size)])
        assert np.abs(np.concatenate([found[:2], found[:2] + found[2:]]) - inside).max() < 0.2 * box[2:].max()
    assert model.box is not None
    assert model.box.overlap == pytest.approx(0.9, abs=0.09)
