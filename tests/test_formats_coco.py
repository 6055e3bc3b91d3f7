"""COCO data sets with keypoints."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generated_datasets import ROUND_TRIPS, assert_same, datasets, write_pictures
from partscope import load_dataset
from partscope.errors import AnnotationError, DatasetError, ImageError, PartscopeWarning
from partscope.formats import read_predictions_coco, save_dataset, write_predictions_coco
from partscope.predictions import PartPredictions

INSTANCES = st.integers(1, 9).map(str) | st.sampled_from(("left", "0", "007", "3#4"))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("coco"))


@settings(max_examples=ROUND_TRIPS)
@given(data=st.data())
def test_reads_back_exactly(pictures: Path, data: st.DataObject) -> None:
    made = data.draw(datasets(pictures, instances=INSTANCES))
    assert save_dataset(made, "coco", pictures / "parts.json").lost == ()
    read = load_dataset("coco", pictures / "parts.json", unmarked="keep")
    assert_same(made, read)
    assert read.notes == ()


@pytest.mark.filterwarnings("ignore::partscope.PartscopeWarning")
def test_what_tools_write_for_nothing(pictures: Path) -> None:
    """No keypoints as null, no box as an empty list or zeros, and any place of a keypoint that is not marked."""

    def change(content: dict[str, Any]) -> None:
        content["categories"].append({"id": 77, "name": "tree", "keypoints": None})
        first, second, *_ = content["annotations"]
        first["bbox"], second["bbox"] = [], [0, 0, 0, 0]
        for place in ((None, None), (float("nan"), 0), ("", "")):
            first["keypoints"] = [3, 4, 2, *place, 0]

    write(pictures, change)
    read = load_dataset("coco", pictures / "hand.json")
    assert read[0].box is None
    assert read[1].box is None
    assert read[0].visible.tolist() == [True, False]
    assert "1 boxes of zeros alone count as none." in read.notes


@pytest.mark.filterwarnings("ignore::partscope.PartscopeWarning")
def test_a_class_called_object_is_lost_with_a_count(pictures: Path, tmp_path: Path) -> None:
    write(pictures, lambda content: content["categories"][0].update(name="object"))
    read = load_dataset("coco", pictures / "hand.json")
    assert set(read.labels) == {None}
    named = dataclasses.replace(read, samples=tuple(dataclasses.replace(s, label="object") for s in read))
    assert save_dataset(named, "coco", tmp_path / "a.json").lost == (
        "the class 'object' of 3 objects: it stands for objects without a class.",
    )


#: As COCO writes it: whole numbers, several persons an image, v = 0, 1 and 2, a crowd and a person without keypoints.
COCO: dict[str, Any] = {
    "info": {"description": "COCO 2017 Dataset"},
    "images": [
        {"id": 7, "file_name": "a.png", "width": 40, "height": 30},
        {"id": 9, "file_name": "birds/b c.png", "width": 64, "height": 48},
        {"id": 11, "file_name": "d#1.png", "width": 33, "height": 33},
    ],
    "categories": [
        {"id": 1, "name": "person", "keypoints": ["nose", "left_eye"], "skeleton": [[1, 2]]},
        {"id": 3, "name": "car"},
    ],
    "annotations": [
        {
            "id": 101,
            "image_id": 7,
            "category_id": 1,
            "iscrowd": 0,
            "bbox": [1.5, 2, 20, 20],
            "area": 9.0,
            "keypoints": [39, 29, 2, 4, 5, 1],
            "num_keypoints": 2,
            "segmentation": [[1, 1, 2, 2, 3, 1]],
        },
        {"id": 102, "image_id": 7, "category_id": 1, "bbox": [0, 0, 9, 9], "keypoints": [1, 2, 2, 0, 0, 0]},
        {"id": 103, "image_id": 9, "category_id": 1, "bbox": [0, 0, 9, 9], "keypoints": [0, 0, 0, 0, 0, 0]},
        {
            "id": 104,
            "image_id": 9,
            "category_id": 1,
            "iscrowd": 1,
            "bbox": [0, 0, 9, 9],
            "keypoints": [0] * 6,
        },
        {"id": 105, "image_id": 9, "category_id": 3, "bbox": [0, 0, 9, 9]},
        {"id": 106, "image_id": 9, "category_id": 1, "bbox": [0, 0, 9, 9], "keypoints": [0, 5, 2, 6, 7, 2]},
    ],
}


def write(pictures: Path, change: Callable[[dict[str, Any]], Any] = lambda content: None) -> Path:
    content = copy.deepcopy(COCO)
    change(content)
    (pictures / "hand.json").write_text(json.dumps(content))
    return pictures / "hand.json"


def test_several_objects_an_image(pictures: Path) -> None:
    with pytest.warns(PartscopeWarning):
        read = load_dataset("coco", write(pictures))
    assert read.parts == ("nose", "left_eye")
    # Of the three annotations of image 9, two were left out, so the third is called by the image alone.
    assert read.ids == ("a.png#101", "a.png#102", "birds/b c.png")
    assert read.labels == ("person",) * 3
    assert read[0].box == (1.5, 2, 20, 20)
    assert read.points[0][0].tolist() == [39.5, 29.5]  # an index of a pixel becomes its centre
    assert read.visible.tolist() == [[True, False], [True, False], [True, True]]
    for text in (
        "1 occluded parts (v = 1)",
        "1 annotations without a marked keypoint",
        "1 annotations of crowds",
        "1 annotations of categories without keypoints",
        "1 images without an annotation",
        "the segmentations of 1 objects",
        "0.5 was added",
    ):
        assert any(text in note for note in read.notes), text


@pytest.mark.filterwarnings("ignore::partscope.PartscopeWarning")
def test_options(pictures: Path) -> None:
    file = write(pictures)
    assert load_dataset("coco", file, occluded="marked").points[0][1].tolist() == [4.5, 5.5]
    assert "birds/b c.png#103" in load_dataset("coco", file, unmarked="keep").ids
    assert load_dataset("coco", file, origin="corner").points[0][0].tolist() == [39.0, 29.0]


@pytest.mark.filterwarnings("ignore::partscope.PartscopeWarning")
@pytest.mark.parametrize("place", [(39.25, 29), (40, 29)], ids=["a fraction", "on the border"])
def test_distances_from_the_corner_are_recognised(pictures: Path, place: tuple[float, float]) -> None:
    file = write(pictures, lambda c: c["annotations"][0]["keypoints"].__setitem__(slice(0, 2), place))
    assert load_dataset("coco", file).points[0][0].tolist() == list(place)


def test_located_parts_are_a_data_set_too(pictures: Path) -> None:
    """What `locate` writes can be corrected elsewhere and read back as marks."""
    found = PartPredictions(("beak",), ("a.png",), [[[3.0, 4.0]]], [[True]], [[0.5]], [[True]])  # type: ignore[arg-type]
    write_predictions_coco(found, [(40, 30)], pictures / "found.json", boxes=[[1, 1, 9, 9]])
    read = load_dataset("coco", pictures / "found.json")
    assert read.points.tolist() == [[[3.0, 4.0]]]
    assert read.labels == (None,)
    assert read_predictions_coco(pictures / "found.json").ids == ("a.png",)


def annotation(i: int, **fields: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: content["annotations"][i].update(fields)


BAD: dict[str, tuple[Callable[[dict[str, Any]], Any], type[Exception], str]] = {
    "no categories": (lambda c: c.pop("categories"), AnnotationError, "under 'categories'"),
    "no keypoints": (lambda c: c["categories"].pop(0), AnnotationError, "no category has 'keypoints'"),
    "keypoints not names": (
        lambda c: c["categories"][0].update(keypoints=[1]),
        AnnotationError,
        "category 1: 'keypoints'",
    ),
    "category twice": (lambda c: c["categories"][1].update(id=1), AnnotationError, "category 1: comes twice"),
    "image twice": (lambda c: c["images"][1].update(id=7), AnnotationError, "image id 7 comes twice"),
    "image without a name": (
        lambda c: c["images"][1].pop("file_name"),
        AnnotationError,
        "image 1 of the list",
    ),
    "unknown image": (
        annotation(0, image_id=8),
        AnnotationError,
        "annotation 101: the image id 8 is not listed",
    ),
    "image id a list": (annotation(0, image_id=[7]), AnnotationError, "annotation 101: the image id"),
    "unknown category": (annotation(0, category_id=2), AnnotationError, "annotation 101: the category id 2"),
    "too few numbers": (
        annotation(0, keypoints=[1, 2, 2]),
        AnnotationError,
        "3 numbers for each of 2 parts, not 3",
    ),
    "v 3": (
        annotation(0, keypoints=[1, 2, 3, 0, 0, 0]),
        AnnotationError,
        "annotation 101: .*v must be 0, 1 or 2",
    ),
    "x text": (
        annotation(0, keypoints=["a", 2, 2, 0, 0, 0]),
        AnnotationError,
        "annotation 101: the keypoint 'nose'",
    ),
    "x infinite": (annotation(0, keypoints=[float("inf"), 2, 2, 0, 0, 0]), AnnotationError, "'nose'"),
    "box of three": (annotation(0, bbox=[1, 2, 3]), AnnotationError, "annotation 101: 'bbox'"),
    "box without area": (annotation(0, bbox=[1, 2, 0, 3]), DatasetError, "annotation 101 .*no area"),
    "outside": (
        annotation(0, keypoints=[1, 99, 2, 0, 0, 0]),
        AnnotationError,
        "annotation 101: .*'nose'.*outside",
    ),
    "another size": (lambda c: c["images"][0].update(width=50), AnnotationError, "50×30 .*another image"),
    "turned": (lambda c: c["images"][0].update(width=30, height=40), AnnotationError, "turned by its EXIF"),
    "no such image": (
        lambda c: c["images"][0].update(file_name="z.png"),
        ImageError,
        "there is no image .*z.png",
    ),
    "leaves the folder": (lambda c: c["images"][0].update(file_name="../a.png"), DatasetError, "leaves"),
}


@pytest.mark.filterwarnings("ignore::partscope.PartscopeWarning")
@pytest.mark.parametrize("case", BAD)
def test_bad_files(pictures: Path, case: str) -> None:
    change, kind, match = BAD[case]
    file = write(pictures, change)
    with pytest.raises(kind, match=match) as caught:
        load_dataset("coco", file)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::partscope.PartscopeWarning")
def test_bad_objects_can_be_left_out(pictures: Path) -> None:
    read = load_dataset("coco", write(pictures, annotation(1, keypoints=[1])), on_error="skip")
    assert len(read.skipped) == 1
    assert "annotation 102" in read.skipped[0].reason
    assert read.ids == ("a.png", "birds/b c.png")


def test_skeletons(pictures: Path, tmp_path: Path) -> None:
    with pytest.warns(PartscopeWarning):
        read = load_dataset("coco", write(pictures))
    save_dataset(read, "coco", tmp_path / "a.json", skeleton=[("left_eye", "nose")])
    assert json.loads((tmp_path / "a.json").read_text())["categories"][0]["skeleton"] == [[2, 1]]
    with pytest.raises(DatasetError, match="unknown part 'ear'"):
        save_dataset(read, "coco", tmp_path / "a.json", skeleton=[("ear", "nose")])
