"""Located parts written and read back, as a table and as a COCO data set."""

from __future__ import annotations

import csv
import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partscope.dataset import Skipped
from partscope.errors import AnnotationError, DatasetError, PartscopeError
from partscope.formats import (
    read_boxes,
    read_predictions_coco,
    read_predictions_csv,
    write_predictions_coco,
    write_predictions_csv,
)
from partscope.predictions import PartPredictions

TWO = PartPredictions(
    parts=("beak", "left eye"),
    ids=("a/robin.jpg", "b.jpg"),
    points=np.array([[[10.5, 20.25], [12.0, 18.0]], [[1.0, 2.0], [np.nan, np.nan]]]),
    found=np.array([[True, True], [True, False]]),
    score=np.array([[0.75, 0.25], [0.5, 0.0]]),
    visible=np.array([[True, False], [True, False]]),
    failures=(Skipped("c.jpg", "c.jpg: the file is empty."),),
)
SIZES = [(64, 48), (30, 20)]

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)


@st.composite
def predictions(draw: st.DrawFn, names: st.SearchStrategy[str] = NAMES) -> PartPredictions:
    parts = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    ids = draw(st.lists(names, min_size=1, max_size=4, unique=True))
    shape = (len(ids), len(parts))
    count = shape[0] * shape[1]

    def array(values: st.SearchStrategy[Any], *more: int) -> np.ndarray[Any, Any]:
        size = count * int(np.prod(more))
        return np.array(draw(st.lists(values, min_size=size, max_size=size))).reshape(*shape, *more)

    found = array(st.booleans())
    points = array(st.floats(-1e6, 1e6), 2)
    expected = array(st.floats(0, 1e6) | st.just(np.nan)) if draw(st.booleans()) else None
    side = st.floats(1e-3, 1e6)
    boxes = st.tuples(side, side, side, side) | st.just((np.nan,) * 4)
    rows = draw(st.lists(boxes, min_size=len(ids), max_size=len(ids))) if draw(st.booleans()) else None
    return PartPredictions(
        tuple(parts),
        tuple(ids),
        points,
        found,
        array(st.floats(0, 1)),
        array(st.booleans()) & found,
        expected_error=expected,
        boxes=None if rows is None else np.array(rows),
    )


def assert_same(left: PartPredictions, right: PartPredictions) -> None:
    assert left.parts == right.parts
    assert left.ids == right.ids
    for name in ("expected_error", "boxes"):
        assert (getattr(left, name) is None) == (getattr(right, name) is None)
    for name in ("points", "found", "score", "visible", "expected_error", "boxes"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), strict=True)


@given(made=predictions())
def test_table_reads_back_exactly(tmp_path: Path, made: PartPredictions) -> None:
    write_predictions_csv(made, tmp_path / "parts.csv")
    assert_same(read_predictions_csv(tmp_path / "parts.csv"), made)


@given(made=predictions())
def test_coco_reads_back_exactly(tmp_path: Path, made: PartPredictions) -> None:
    write_predictions_coco(made, np.full((len(made), 2), 9), tmp_path / "parts.json")
    assert_same(read_predictions_coco(tmp_path / "parts.json"), made)


def test_names_that_are_not_unicode(tmp_path: Path) -> None:
    """On some file systems a name is any bytes; Python holds the others as surrogates."""
    made = PartPredictions(("beak",), ("b\udce4rd.jpg",), [[[1, 2]]], [[True]], [[1]], [[True]])  # type: ignore[arg-type]
    write_predictions_csv(made, tmp_path / "a.csv")
    assert b"b\xe4rd.jpg," in (tmp_path / "a.csv").read_bytes()
    assert read_predictions_csv(tmp_path / "a.csv").ids == made.ids
    write_predictions_coco(made, [(9, 9)], tmp_path / "a.json")
    assert read_predictions_coco(tmp_path / "a.json").ids == made.ids


def test_table_as_written(tmp_path: Path) -> None:
    write_predictions_csv(TWO, tmp_path / "parts.csv")
    assert (tmp_path / "parts.csv").read_bytes() == (
        b"image,part,x,y,found,score,visible\n"
        b"a/robin.jpg,beak,10.5,20.25,1,0.75,1\n"
        b"a/robin.jpg,left eye,12.0,18.0,1,0.25,0\n"
        b"b.jpg,beak,1.0,2.0,1,0.5,1\n"
        b"b.jpg,left eye,,,0,0.0,0\n"
    )


def test_table_with_expected_errors_and_boxes_as_written(tmp_path: Path) -> None:
    made = dataclasses.replace(
        TWO,
        expected_error=np.array([[2.5, np.nan], [1.0, 3.0]]),
        boxes=np.array([[5.0, 6.0, 30.0, 40.0], [np.nan] * 4]),
    )
    write_predictions_csv(made, tmp_path / "parts.csv")
    lines = (tmp_path / "parts.csv").read_text().splitlines()
    assert lines == [
        "image,part,x,y,found,score,visible,expected_error,doubt,box_x,box_y,box_width,box_height",
        "a/robin.jpg,beak,10.5,20.25,1,0.75,1,2.5,0.05,5.0,6.0,30.0,40.0",
        "a/robin.jpg,left eye,12.0,18.0,1,0.25,0,,0.05,5.0,6.0,30.0,40.0",
        "b.jpg,beak,1.0,2.0,1,0.5,1,1.0,,,,,",  # a single point has no size
        "b.jpg,left eye,,,0,0.0,0,,,,,,",
    ]
    lines[2] = lines[2].replace("30.0", "31.0")
    (tmp_path / "parts.csv").write_text("\n".join(lines))
    with pytest.raises(AnnotationError, match=r"the rows of a/robin\.jpg differ in the box"):
        read_predictions_csv(tmp_path / "parts.csv")


def test_coco_with_expected_errors_and_boxes_as_written(tmp_path: Path) -> None:
    made = dataclasses.replace(
        TWO,
        expected_error=np.array([[2.5, np.nan], [1.0, 3.0]]),
        boxes=np.array([[5.0, 6.0, 30.0, 40.0], [0.0, 0.0, 9.0, 9.0]]),
    )
    write_predictions_coco(made, SIZES, tmp_path / "a.json", boxes=[[np.nan] * 4, [1.0, 1.0, 8.0, 8.0]])
    first, second = json.loads((tmp_path / "a.json").read_text())["annotations"]
    assert first["keypoint_expected_errors"] == [2.5, None]
    assert first["doubt"] == pytest.approx(0.05)
    assert first["bbox"] == first["predicted_box"] == [5.0, 6.0, 30.0, 40.0]
    assert second["bbox"] == [1.0, 1.0, 8.0, 8.0], "a box that was given comes first"
    assert second["predicted_box"] == [0.0, 0.0, 9.0, 9.0]


@given(made=predictions())
def test_table_is_what_the_csv_module_understands(tmp_path: Path, made: PartPredictions) -> None:
    write_predictions_csv(made, tmp_path / "parts.csv")
    with (tmp_path / "parts.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["part"]) for row in rows] == [(i, p) for i in made.ids for p in made.parts]


def test_coco_as_written(tmp_path: Path) -> None:
    boxes = [[5.0, 6.0, 30.0, 20.0], [np.nan] * 4]
    file = tmp_path / "parts.json"
    write_predictions_coco(TWO, SIZES, file, boxes=boxes, skeleton=[("left eye", "beak")], category="bird")
    content = json.loads(file.read_text())
    assert content["images"] == [
        {"id": 1, "file_name": "a/robin.jpg", "width": 64, "height": 48},
        {"id": 2, "file_name": "b.jpg", "width": 30, "height": 20},
    ]
    (category,) = content["categories"]
    assert category["name"] == "bird"
    assert category["keypoints"] == ["beak", "left eye"]
    assert category["skeleton"] == [[2, 1]]
    first, second = content["annotations"]
    assert first["keypoints"] == [10.5, 20.25, 2, 12.0, 18.0, 1]
    assert first["keypoint_scores"] == [0.75, 0.25]
    assert (first["num_keypoints"], first["score"], first["iscrowd"]) == (2, 0.5, 0)
    assert (first["bbox"], first["area"]) == ([5.0, 6.0, 30.0, 20.0], 600.0)
    assert second["keypoints"] == [1.0, 2.0, 2, 0.0, 0.0, 0]
    assert second["num_keypoints"] == 1
    assert second["score"] == 0.5
    assert second["bbox"] == [1.0, 2.0, 0.0, 0.0]  # around the one part that was found
    assert read_predictions_coco(file).failures == TWO.failures
    # The boxes of the file are boxes that `locate` takes, apart from those without area.
    assert content["info"]["failures"] == [{"file_name": "c.jpg", "reason": "c.jpg: the file is empty."}]


def test_boxes_of_located_parts_are_boxes(tmp_path: Path) -> None:
    write_predictions_coco(TWO, SIZES, tmp_path / "parts.json", boxes=[[5, 6, 30, 20], [1, 1, 9, 9]])
    assert read_boxes(tmp_path / "parts.json") == {
        "a/robin.jpg": (5.0, 6.0, 30.0, 20.0),
        "b.jpg": (1.0, 1.0, 9.0, 9.0),
    }


def test_nothing_found_and_no_image(tmp_path: Path) -> None:
    none = PartPredictions(
        ("beak",),
        ("a",),
        np.full((1, 1, 2), np.nan),
        np.zeros((1, 1), bool),
        np.zeros((1, 1)),
        np.zeros((1, 1), bool),
    )
    write_predictions_coco(none, [(9, 9)], tmp_path / "none.json")
    (annotation,) = json.loads((tmp_path / "none.json").read_text())["annotations"]
    assert (annotation["bbox"], annotation["num_keypoints"], annotation["score"]) == ([0.0] * 4, 0, 0.0)
    empty = PartPredictions.empty(["beak"])
    write_predictions_coco(empty, [], tmp_path / "empty.json")
    assert_same(read_predictions_coco(tmp_path / "empty.json"), empty)
    write_predictions_csv(empty, tmp_path / "empty.csv")
    assert (tmp_path / "empty.csv").read_text() == "image,part,x,y,found,score,visible\n"
    with pytest.raises(AnnotationError, match="there is no row"):
        read_predictions_csv(tmp_path / "empty.csv")


def test_what_cannot_be_written(tmp_path: Path) -> None:
    file = tmp_path / "out"
    with pytest.raises(DatasetError, match=r"sizes must have shape \(2, 2\), not \(1, 2\)"):
        write_predictions_coco(TWO, SIZES[:1], file)
    with pytest.raises(DatasetError, match=r"boxes must have shape \(2, 4\)"):
        write_predictions_coco(TWO, SIZES, file, boxes=[[1, 2, 3, 4]])
    with pytest.raises(DatasetError, match="skeleton names the unknown part 'tail'"):
        write_predictions_coco(TWO, SIZES, file, skeleton=[("beak", "tail")])
    twice = PartPredictions.concatenate([TWO, TWO])
    with pytest.raises(DatasetError, match=r"a/robin.jpg: the image occurs more than once"):
        write_predictions_csv(twice, file)
    with pytest.raises(DatasetError, match=r"a/robin.jpg: the image occurs more than once"):
        write_predictions_coco(twice, SIZES * 2, file)
    assert not file.exists()
    with pytest.raises(PartscopeError, match="there is no such folder"):
        write_predictions_csv(TWO, tmp_path / "none" / "out.csv")


HEADER = "image,part,x,y,found,score,visible\n"
GOOD = HEADER + "a,beak,1.0,2.0,1,0.5,1\na,tail,,,0,0.0,0\n"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "the file is empty"),
        ("image,x,y\n", "first line must be 'image,part,x,y,found,score,visible', not 'image,x,y'"),
        (GOOD + "b,beak,1.0\n", "line 4: 'b,beak,1.0' does not parse"),
        (GOOD + "b,beak,1.0,2.0,yes,0.5,1\n", "line 4"),
        (GOOD + "b,beak,1.0,2.0,1,0.5,2\n", "line 4"),
        (GOOD + "b,beak,,,1,0.5,1\n", "line 4"),
        (GOOD + "b,beak,nan,2.0,1,0.5,1\n", "line 4"),
        (GOOD + "b,beak,1.0,2.0,0,0.5,1\n", "line 4"),
        (GOOD + "b,beak,1.0,2.0,1,inf,1\n", "line 4"),
        (GOOD + "a,beak,1.0,2.0,1,0.5,1\n", "line 4: the part 'beak' of a comes a second time"),
        (GOOD + "b,beak,1.0,2.0,1,0.5,1\n", "same parts, but 'tail' differs for b"),
        (GOOD + '"b,beak,1.0', "not valid CSV"),
    ],
)
def test_tables_that_do_not_parse(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "parts.csv").write_text(text)
    with pytest.raises(AnnotationError, match=match) as caught:
        read_predictions_csv(tmp_path / "parts.csv")
    assert str(tmp_path / "parts.csv") in str(caught.value)


def written(tmp_path: Path) -> dict[str, Any]:
    write_predictions_coco(TWO, SIZES, tmp_path / "parts.json")
    content = json.loads((tmp_path / "parts.json").read_text())
    assert isinstance(content, dict)
    return content


def spoil_categories(content: dict[str, Any]) -> None:
    content["categories"] *= 2


def spoil_annotation(content: dict[str, Any]) -> None:
    del content["annotations"][1]


def spoil_image(content: dict[str, Any]) -> None:
    content["annotations"].append(content["annotations"][0] | {"id": 3})


def spoil_count(content: dict[str, Any]) -> None:
    content["annotations"][0]["keypoints"].pop()


def spoil_number(content: dict[str, Any]) -> None:
    content["annotations"][0]["keypoints"][0] = float("nan")


def spoil_scores(content: dict[str, Any]) -> None:
    del content["annotations"][0]["keypoint_scores"]


def spoil_images(content: dict[str, Any]) -> None:
    content["images"] = {}


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (spoil_categories, "expected one category, not 2"),
        (spoil_annotation, "lacks a field or does not fit"),
        (spoil_image, "image 1 has a second annotation"),
        (spoil_count, "lacks a field or does not fit"),
        (spoil_number, "not finite"),
        (spoil_scores, "'keypoint_scores'"),
        (spoil_images, "expected a list of objects under 'images'"),
    ],
)
def test_coco_files_that_do_not_fit(tmp_path: Path, spoil: Any, match: str) -> None:
    content = written(tmp_path)
    spoil(content)
    (tmp_path / "parts.json").write_text(json.dumps(content))
    with pytest.raises(AnnotationError, match=match):
        read_predictions_coco(tmp_path / "parts.json")


@pytest.mark.parametrize(
    ("text", "match"), [("{", "not valid JSON"), ("[]", "a JSON object, not list"), ("", "empty")]
)
def test_files_that_are_no_json_object(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "parts.json").write_text(text)
    with pytest.raises(AnnotationError, match=match):
        read_predictions_coco(tmp_path / "parts.json")
