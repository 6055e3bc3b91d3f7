"""`PartPredictions`: validation, joining, choosing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from partscope.dataset import Skipped
from partscope.errors import DatasetError
from partscope.predictions import PartPredictions


def make_predictions(count: int = 3, **changes: Any) -> PartPredictions:
    """Predictions of three parts; the middle one is not found, the last one believed hidden."""
    found = np.tile([True, False, True], (count, 1))
    values: dict[str, Any] = {
        "parts": ("beak", "belly", "tail"),
        "ids": tuple(f"{i}.png" for i in range(count)),
        "points": np.where(found[..., None], np.arange(count * 6).reshape(count, 3, 2) + 0.5, np.nan),
        "found": found,
        "score": np.where(found, 0.5, 0.0),
        "visible": np.tile([True, False, False], (count, 1)),
        **changes,
    }
    return PartPredictions(**values)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"points": np.zeros((3, 3))}, r"points must have shape \(3, 3, 2\), not \(3, 3\)"),
        ({"found": np.ones((3, 2), bool)}, r"found must have shape \(3, 3\)"),
        ({"score": np.ones(3)}, r"score must have shape \(3, 3\)"),
        ({"visible": np.ones((2, 3), bool)}, r"visible must have shape \(3, 3\)"),
        ({"points": np.full((3, 3, 2), np.nan)}, "no finite position"),
        ({"points": np.full((3, 3, 2), np.inf)}, "no finite position"),
        ({"score": np.full((3, 3), np.nan)}, r"score must lie in \[0, 1\], not nan"),
        ({"score": np.full((3, 3), 1.5)}, r"score must lie in \[0, 1\], not 1.5"),
        ({"expected_error": np.ones(3)}, r"expected_error must have shape \(3, 3\)"),
        ({"expected_error": np.full((3, 3), -1.0)}, "expected_error must be finite and not negative, not -1"),
        (
            {"expected_error": np.full((3, 3), np.inf)},
            "expected_error must be finite and not negative, not inf",
        ),
        ({"boxes": np.ones((3, 3))}, r"boxes must have shape \(3, 4\)"),
        ({"boxes": [[0, 0, 1, 1], [0, 0, 0, 1], [0, 0, 1, 1]]}, "with an area, or NaN, not"),
        ({"boxes": [[0, 0, 1, 1], [np.nan, 0, 1, 1], [0, 0, 1, 1]]}, "with an area, or NaN, not"),
    ],
)
def test_predictions_are_validated(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(DatasetError, match=match):
        make_predictions(**changes)


def test_what_was_not_found_has_no_position_and_no_score() -> None:
    predictions = make_predictions(points=np.zeros((3, 3, 2)), score=np.full((3, 3), 0.7))
    assert np.isnan(predictions.points[:, 1]).all()
    assert (predictions.score[:, 1] == 0).all()
    assert (predictions.score[:, 0] == 0.7).all()


def test_flags_given_as_numbers_are_flags() -> None:
    """0 and 1 as integers would pick rows instead of masking them."""
    found = np.tile([1, 0, 1], (3, 1))
    predictions = make_predictions(found=found, visible=found, points=np.ones((3, 3, 2), np.float32))
    assert predictions.found.dtype == predictions.visible.dtype == np.bool_
    assert predictions.points.dtype == np.float64
    assert np.isnan(predictions.points[:, 1]).all()


def test_predictions_are_immutable_copies() -> None:
    score = np.full((3, 3), 0.25)
    predictions = make_predictions(score=score)
    score[:] = 1
    assert predictions.score[0, 0] == 0.25
    for array in (predictions.points, predictions.found, predictions.score, predictions.visible):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 0


def test_choosing_images() -> None:
    predictions = make_predictions(4)
    for index in (slice(1, 3), [1, 2], (1, 2), np.array([1, 2]), np.array([False, True, True, False])):
        chosen = predictions[index]
        assert chosen.ids == ("1.png", "2.png")
        np.testing.assert_array_equal(chosen.points, predictions.points[1:3])
        np.testing.assert_array_equal(chosen.score, predictions.score[1:3])
    assert len(predictions[[]]) == 0
    assert predictions[2].ids == predictions[-2].ids == ("2.png",)
    with pytest.raises(IndexError):
        predictions[[4]]


def test_joining_undoes_splitting() -> None:
    predictions = make_predictions(4, failures=(Skipped("x.png", "damaged"),))
    joined = PartPredictions.concatenate(
        [predictions[:1], PartPredictions.empty(predictions.parts), predictions[1:]]
    )
    assert joined.ids == predictions.ids
    np.testing.assert_array_equal(joined.points, predictions.points)
    np.testing.assert_array_equal(joined.found, predictions.found)


def test_joining_keeps_every_failure() -> None:
    pieces = [make_predictions(1, ids=(f"{i}",), failures=(Skipped(f"x{i}", "damaged"),)) for i in range(2)]
    assert [failure.id for failure in PartPredictions.concatenate(pieces).failures] == ["x0", "x1"]


def test_what_cannot_be_joined() -> None:
    with pytest.raises(DatasetError, match="nothing to join"):
        PartPredictions.concatenate([])
    with pytest.raises(DatasetError, match="same parts"):
        PartPredictions.concatenate([make_predictions(), make_predictions().with_parts(["tail"])])


def test_with_parts() -> None:
    predictions = make_predictions()
    chosen = predictions.with_parts(["tail", "beak"])
    assert chosen.parts == ("tail", "beak")
    np.testing.assert_array_equal(chosen.points, predictions.points[:, [2, 0]])
    np.testing.assert_array_equal(chosen.visible, predictions.visible[:, [2, 0]])
    with pytest.raises(DatasetError, match="there is no part 'wing'; there are beak, belly, tail"):
        predictions.with_parts(["wing"])


def test_records() -> None:
    records = list(make_predictions(2).records())
    assert len(records) == 6
    assert records[3] == {
        "image": "1.png",
        "part": "beak",
        "x": 6.5,
        "y": 7.5,
        "found": True,
        "score": 0.5,
        "visible": True,
    }
    assert (records[1]["x"], records[1]["y"], records[1]["found"]) == (None, None, False)
    assert all(type(record["found"]) is bool and type(record["score"]) is float for record in records)


def test_empty() -> None:
    empty = PartPredictions.empty(["beak"])
    assert len(empty) == 0
    assert empty.points.shape == (0, 1, 2)
    assert list(empty.records()) == []


# -- what a method may give ---------------------------------------------------------------------------------------------
def doubting(count: int = 4) -> PartPredictions:
    """Predictions with an expected error of every part, and a box in every second image."""
    boxes = np.tile([0.0, 0.0, 30.0, 40.0], (count, 1))
    boxes[::2] = np.nan
    return make_predictions(count, expected_error=np.arange(3.0 * count).reshape(count, 3), boxes=boxes)


def test_optional_arrays_are_none_unless_given() -> None:
    predictions = make_predictions()
    assert predictions.expected_error is None
    assert predictions.boxes is None
    assert np.isnan(predictions.doubt).all()
    joined = PartPredictions.concatenate([predictions, make_predictions(1, ids=("x",))])[1:]
    assert joined.expected_error is None
    assert joined.boxes is None
    assert set(next(predictions.records())) == {"image", "part", "x", "y", "found", "score", "visible"}


def test_optional_arrays_follow_images_and_parts() -> None:
    predictions = doubting()
    assert predictions.expected_error is not None
    assert np.isnan(predictions.expected_error[:, 1]).all(), "a part that is not found has no expected error"
    chosen = predictions[[3, 0]].with_parts(["tail", "beak"])
    np.testing.assert_array_equal(chosen.expected_error, predictions.expected_error[[3, 0]][:, [2, 0]])
    np.testing.assert_array_equal(chosen.boxes, predictions.boxes[[3, 0]])  # type: ignore[index]
    for array in (predictions.expected_error, predictions.boxes):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0  # type: ignore[index]


def test_joining_fills_what_a_piece_lacks() -> None:
    joined = PartPredictions.concatenate([make_predictions(1, ids=("x",)), doubting(2)])
    assert joined.expected_error is not None
    assert joined.boxes is not None
    assert np.isnan(joined.expected_error[0]).all()
    assert np.isnan(joined.boxes[0]).all()
    np.testing.assert_array_equal(joined.expected_error[1:], doubting(2).expected_error)
    np.testing.assert_array_equal(joined.boxes[1:], doubting(2).boxes)


def test_doubt_is_the_expected_error_of_the_visible_relative_to_the_object() -> None:
    points = np.array([[[0.0, 0.0], [5.0, 5.0], [30.0, 40.0]]] * 4)
    predictions = make_predictions(
        4,
        points=points,
        found=[[1, 1, 1], [1, 1, 1], [1, 0, 1], [0, 0, 0]],
        visible=np.zeros((4, 3), bool),
        score=[[1.0, 0.5, 0.0], [1.0, 0.5, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]],
        expected_error=np.tile([2.0, 8.0, 100.0], (4, 1)),
        boxes=[[np.nan] * 4, [0, 0, 60, 80], [np.nan] * 4, [np.nan] * 4],
    )
    first = (1.0 * 2 + 0.5 * 8) / 1.5 / 50
    np.testing.assert_allclose(predictions.doubt, [first, first / 2, (2 + 100) / 2 / 50, np.nan])


def test_doubt_does_not_change_with_the_images_size() -> None:
    small = doubting()
    large = make_predictions(
        4,
        points=small.points * 3,
        expected_error=small.expected_error * 3,  # type: ignore[operator]
        boxes=small.boxes * 3,  # type: ignore[operator]
    )
    np.testing.assert_allclose(large.doubt, small.doubt)
    assert np.isfinite(small.doubt).all()


def test_records_hold_what_the_method_gives() -> None:
    records = list(doubting(2).records())
    assert [record["expected_error"] for record in records] == [0.0, None, 2.0, 3.0, None, 5.0]
    assert records[0]["box_x"] is None
    assert (records[3]["box_width"], records[3]["box_height"]) == (30.0, 40.0)
    assert records[3]["doubt"] == pytest.approx(4.0 / 50)
