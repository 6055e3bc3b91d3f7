"""The regression protocol of the part-discovery literature."""

from __future__ import annotations

import numpy as np
import pytest

from partscope.errors import DatasetError
from partscope.metrics import LinearPartMap, axes_error, regression_error


def scene(seed: int, images: int = 60, discovered: int = 3, parts: int = 2):
    """Annotated parts that are an exact linear map of box-relative discovered centres."""
    rng = np.random.default_rng(seed)
    boxes = np.column_stack([rng.uniform(0, 50, (images, 2)), rng.uniform(20, 200, (images, 2))])
    relative = rng.uniform(0, 1, (images, discovered, 2))
    weights = np.random.default_rng(99).normal(size=(parts, 2 * discovered + 1, 2))
    design = np.column_stack([relative.reshape(images, -1), np.ones(images)])
    target = np.stack([design @ weights[p] for p in range(parts)], axis=1)
    return (
        boxes[:, None, :2] + relative * boxes[:, None, 2:],
        boxes,
        boxes[:, None, :2] + target * boxes[:, None, 2:],
    )


def test_exact_linear_map_is_recovered():
    fitted = LinearPartMap.fit(*scene(0))
    centres, boxes, points = scene(1)
    result = regression_error(fitted.predict(centres, boxes), boxes, points)
    assert result.error == pytest.approx(0, abs=1e-8)
    assert (result.pairs, result.left_out) == (120, 0)


def test_fit_equals_the_normal_equations_of_each_part():
    centres, boxes, points = scene(2)
    points = points + np.random.default_rng(3).normal(0, 5, points.shape)
    points[:40, 1] = np.nan
    fitted = LinearPartMap.fit(centres, boxes, points)
    relative = (centres - boxes[:, None, :2]) / boxes[:, None, 2:]
    design = np.column_stack([relative.reshape(60, -1), np.ones(60)])
    for part, rows in ((0, np.arange(60)), (1, np.arange(40, 60))):
        target = (points[rows, part] - boxes[rows, :2]) / boxes[rows, 2:]
        solution = np.linalg.solve(design[rows].T @ design[rows], design[rows].T @ target)
        assert fitted.weights[part] == pytest.approx(solution, abs=1e-8)


def test_missing_centres_take_the_training_mean():
    centres, boxes, points = scene(4)
    centres[5, 0] = np.nan
    centres[:, 2] = np.nan
    fitted = LinearPartMap.fit(centres, boxes, points)
    relative = (centres - boxes[:, None, :2]) / boxes[:, None, 2:]
    assert fitted.typical[0] == pytest.approx(np.delete(relative[:, 0], 5, axis=0).mean(axis=0))
    assert fitted.typical[2].tolist() == [0.5, 0.5]
    filled = centres[5:6].copy()
    filled[0, 0] = boxes[5, :2] + fitted.typical[0] * boxes[5, 2:]
    assert fitted.predict(centres[5:6], boxes[5:6]) == pytest.approx(fitted.predict(filled, boxes[5:6]))


def test_parts_never_seen_in_training_are_counted():
    centres, boxes, points = scene(5)
    hidden = points.copy()
    hidden[:, 1] = np.nan
    result = regression_error(
        LinearPartMap.fit(centres, boxes, hidden).predict(centres, boxes), boxes, points
    )
    assert (result.pairs, result.left_out) == (60, 60)
    assert np.isnan(result.per_part[1])


def test_error_is_per_axis_in_percent():
    boxes = np.array([(0.0, 0.0, 100.0, 50.0)])
    points = np.array([[(20.0, 20.0)]])
    guess = points + np.array([3.0, 2.0])
    result = regression_error(guess, boxes, points)
    assert result.error == pytest.approx(100 * np.hypot(0.03, 0.04))
    assert result.error == pytest.approx(100 * np.sqrt(2) * axes_error(guess, points, boxes[:, 2:])[0, 0])


def test_what_does_not_fit_is_refused():
    centres, boxes, points = scene(6)
    with pytest.raises(DatasetError, match="needed"):
        LinearPartMap.fit(centres, boxes[:5], points)
    with pytest.raises(DatasetError, match="fitted on 3 discovered parts, not 2"):
        LinearPartMap.fit(centres, boxes, points).predict(centres[:, :2], boxes)
    boxes[7] = np.nan
    with pytest.raises(DatasetError, match="image 7 has no box"):
        LinearPartMap.fit(centres, boxes, points)
