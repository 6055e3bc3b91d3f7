"""Boxes from a CSV file or a COCO data set."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from partscope.errors import AnnotationError
from partscope.formats import read_boxes

Box = tuple[float, float, float, float]
NAMES = st.text(st.characters(codec="utf-8", exclude_characters="/\\\x00\r\n:"), min_size=1, max_size=6)
PATHS = st.lists(NAMES.filter(lambda name: name not in (".", "..")), min_size=1, max_size=3).map("/".join)
BOXES = st.tuples(st.floats(-99, 99), st.floats(-99, 99), st.floats(1e-3, 99), st.floats(1e-3, 99))


def coco(*boxes: tuple[str, Any]) -> dict[str, Any]:
    names = list(dict.fromkeys(name for name, _ in boxes))
    return {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [
            {"id": 7 + i, "image_id": names.index(name), "bbox": box} for i, (name, box) in enumerate(boxes)
        ],
    }


@given(boxes=st.dictionaries(PATHS, BOXES, min_size=1, max_size=5), order=st.permutations(range(6)))
def test_both_formats_say_the_same(tmp_path: Path, boxes: dict[str, Box], order: list[int]) -> None:
    columns = ["image", "x", "y", "width", "height", "remark"]
    with (tmp_path / "boxes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([columns[i] for i in order])
        for name, box in boxes.items():
            row = [name, *map(repr, box), "a, b"]
            writer.writerow([row[i] for i in order])
    (tmp_path / "boxes.json").write_text(json.dumps(coco(*boxes.items())))
    assert read_boxes(tmp_path / "boxes.csv") == boxes
    assert read_boxes(str(tmp_path / "boxes.json")) == boxes


def test_paths_are_compared_in_their_normal_form(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("image,x,y,width,height\n./a//b/../c.jpg,1,2,3,4\n\nd.jpg,1,2,3,4\n")
    assert read_boxes(tmp_path / "b.csv") == {"a/c.jpg": (1.0, 2.0, 3.0, 4.0), "d.jpg": (1.0, 2.0, 3.0, 4.0)}


def test_spaces_and_byte_order_mark_of_spreadsheets(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_bytes("\ufeffimage, x, y, width, height\r\na.jpg, 1, 2, 3, 4\r\n".encode())
    assert read_boxes(tmp_path / "b.csv") == {"a.jpg": (1.0, 2.0, 3.0, 4.0)}


def test_images_without_a_box_are_not_in_it(tmp_path: Path) -> None:
    content = coco(("a.jpg", [1, 2, 3, 4]))
    content["images"].append({"id": "x", "file_name": "b.jpg"})
    (tmp_path / "b.JSON").write_text(json.dumps(content))
    assert read_boxes(tmp_path / "b.JSON") == {"a.jpg": (1.0, 2.0, 3.0, 4.0)}


def test_the_same_box_twice_is_one_box(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("image,x,y,width,height\na.jpg,1,2,3,4\na.jpg,1.0,2.0,3.0,4.0\n")
    assert len(read_boxes(tmp_path / "b.csv")) == 1


HEADER = "image,x,y,width,height\n"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", "the file is empty"),
        ("image,x,y,w,h\na.jpg,1,2,3,4\n", "column 'width' once; .*not 'image,x,y,w,h'"),
        ("image;x;y;width;height\na.jpg;1;2;3;4\n", "column 'image' once"),
        ("image,x,x,y,width,height\na.jpg,1,1,2,3,4\n", "column 'x' once"),
        (HEADER + "a.jpg,1,2,3\n", "line 2: has 4 columns where the first line has 5"),
        (HEADER + "a.jpg,1,2,3,abc\n", r"line 2: the box \['1', '2', '3', 'abc'\] must be four finite"),
        (HEADER + "a.jpg,1,2,3,nan\n", "line 2: the box .* four finite"),
        (HEADER + "a.jpg,1,2,3,inf\n", "line 2: the box .* four finite"),
        (HEADER + "a.jpg,1,2,0,4\n", "line 2: the box .* has no area"),
        (HEADER + "a.jpg,1,2,3,-4\n", "line 2: the box .* has no area"),
        (
            HEADER + "a.jpg,1,2,3,4\nb.jpg,1,2,3,4\na.jpg,1,2,3,5\n",
            "line 4: the image a.jpg has a second box",
        ),
        (HEADER + "../a.jpg,1,2,3,4\n", "line 2: the path '../a.jpg' leaves"),
        (HEADER + "/a.jpg,1,2,3,4\n", "line 2: the path '/a.jpg' leaves"),
        (HEADER + ",1,2,3,4\n", "line 2: the path '' names no file"),
        (HEADER + '"a.jpg,1,2,3,4\n', "not valid CSV"),
    ],
)
def test_tables_that_do_not_parse(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "boxes.csv").write_text(text)
    with pytest.raises(AnnotationError, match=match) as caught:
        read_boxes(tmp_path / "boxes.csv")
    assert str(caught.value).startswith(str(tmp_path / "boxes.csv"))


@pytest.mark.parametrize(
    ("content", "match"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ([], "expected a JSON object, not list"),
        ({"images": []}, "list of objects under 'annotations'"),
        ({"images": [1], "annotations": []}, "list of objects under 'images'"),
        ({"images": [{"id": 1}], "annotations": []}, "image 0 of the list has no 'id' or no 'file_name'"),
        (
            {"images": [], "annotations": [{"id": 7, "image_id": 1, "bbox": [1, 2, 3, 4]}]},
            "annotation 7: the image id 1",
        ),
        (
            {"images": [], "annotations": [{"image_id": [], "bbox": [1, 2, 3, 4]}]},
            r"number 0: the image id \[\]",
        ),
        (coco(("a.jpg", [1, 2, 3])), r"annotation 7: 'bbox' must be \[x, y, width, height\]"),
        (coco(("a.jpg", None)), "annotation 7: 'bbox' must be"),
        (coco(("a.jpg", [1, 2, 3, None])), "annotation 7: the box .* four finite"),
        (coco(("a.jpg", [1, 2, 3, True])), "annotation 7: the box .* four finite"),
        (coco(("a.jpg", [1, 2, 3, float("nan")])), "annotation 7: the box .* four finite"),
        (coco(("a.jpg", [1, 2, 3, 10**400])), "annotation 7: the box .* four finite"),
        (coco(("a.jpg", [1, 2, 0, 4])), "annotation 7: the box .* no area"),
        (
            coco(("a.jpg", [1, 2, 3, 4]), ("a.jpg", [9, 2, 3, 4])),
            "annotation 8: the image a.jpg has a second box",
        ),
    ],
)
def test_coco_files_that_do_not_fit(tmp_path: Path, content: Any, match: str) -> None:
    (tmp_path / "boxes.json").write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(AnnotationError, match=match) as caught:
        read_boxes(tmp_path / "boxes.json")
    assert str(caught.value).startswith(str(tmp_path / "boxes.json"))


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"none.csv: there is no such file"):
        read_boxes(tmp_path / "none.csv")
    with pytest.raises(AnnotationError, match="cannot be read"):
        read_boxes(tmp_path)
