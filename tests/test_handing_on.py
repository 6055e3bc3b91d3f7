"""Located parts in other libraries."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from partscope.errors import DatasetError, MissingExtraError, OptionError
from partscope.predictions import PartPredictions

TWO = PartPredictions(
    ("beak", "tail"),
    ("a.jpg", "b.jpg"),
    np.array([[[10.5, 20.0], [3.0, 4.0]], [[5.0, 6.0], [np.nan, np.nan]]]),
    np.array([[True, True], [True, False]]),
    np.array([[0.75, 0.25], [0.5, 0.0]]),
    np.array([[True, False], [True, False]]),
    expected_error=np.array([[1.0, 2.0], [3.0, np.nan]]),
)


def test_a_frame_holds_the_records() -> None:
    pytest.importorskip("pandas", reason="pandas is in the extra formats")
    frame = TWO.to_pandas()
    assert list(frame.columns) == list(next(TWO.records()))
    assert frame["found"].tolist() == [True, True, True, False]
    assert frame.loc[frame["part"] == "beak", "x"].tolist() == [10.5, 5.0]
    assert np.isnan(frame["x"].iloc[3])
    assert frame.dtypes["x"] == frame.dtypes["expected_error"] == np.float64
    assert frame.dtypes["visible"] == np.bool_
    empty = PartPredictions.empty(("beak",)).to_pandas()
    assert (len(empty), list(empty.columns)[:3]) == (0, ["image", "part", "x"])


def test_coco_results() -> None:
    first, second = TWO.to_coco({"a.jpg": 40, "b.jpg": 7}, category_id=3)
    assert first == {"image_id": 40, "category_id": 3, "keypoints": [10, 19.5, 2, 2.5, 3.5, 1], "score": 0.5}
    assert (second["image_id"], second["keypoints"][3:], second["score"]) == (7, [0, 0, 0], 0.5)
    assert TWO.to_coco(origin="corner")[1]["keypoints"][:2] == [5, 6]
    assert [record["image_id"] for record in TWO.to_coco()] == [1, 2]
    with pytest.raises(DatasetError, match=r"b\.jpg: the image has no COCO id"):
        TWO.to_coco({"a.jpg": 1})
    with pytest.raises(OptionError, match="origin must be"):
        TWO.to_coco(origin="middle")


def test_key_points_of_supervision() -> None:
    supervision = pytest.importorskip("supervision", reason="supervision is an extra of its own")
    first, second = TWO.to_supervision()
    assert isinstance(first, supervision.KeyPoints)
    assert len(first) == 1
    np.testing.assert_array_equal(first.xy, [[[10.5, 20.0], [3.0, 4.0]]])
    np.testing.assert_array_equal(second.xy[0, 1], [0, 0])
    picture = np.zeros((40, 40, 3), np.uint8)
    drawn = supervision.VertexAnnotator(color=supervision.Color.WHITE, radius=1).annotate(
        picture.copy(), second
    )
    assert drawn[6, 5].tolist() == [255, 255, 255]  # the part that was found is drawn …
    assert not drawn[:3, :3].any()  # … and nothing at (0, 0)


def test_keypoints_of_fiftyone() -> None:
    first, second = TWO.to_fiftyone([(40, 80), (10, 20)], label="bird")
    assert list(first) == ["keypoints"]
    (one,) = first["keypoints"]
    assert (one["label"], one["confidence"]) == ("bird", [0.75, 0.25])
    np.testing.assert_array_equal(one["points"], [[10.5 / 40, 0.25], [np.nan, np.nan]])  # the tail is hidden
    (other,) = second["keypoints"]
    np.testing.assert_array_equal(other["points"], [[0.5, 0.3], [np.nan, np.nan]])
    assert other["confidence"] == [0.5, 0.0]
    assert PartPredictions.empty(("beak",)).to_fiftyone([]) == []
    for sizes in ([(40, 80)], [40, 80], [(40, 80), (0, 20)], [(40, 80), (np.nan, 20)]):
        with pytest.raises(DatasetError, match="positive width and height of each of 2 images"):
            TWO.to_fiftyone(sizes)


@pytest.mark.parametrize(("package", "extra"), [("pandas", "formats"), ("supervision", "supervision")])
def test_what_is_missing_is_named(package: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"{package}.*partscope\[{extra}\]"):
        getattr(TWO, f"to_{package}")()
