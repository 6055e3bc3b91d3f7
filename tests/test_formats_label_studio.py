"""Label Studio: exports read and written, pre-annotations, the labelling configuration."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generated_datasets import ROUND_TRIPS, assert_same, datasets, write_pictures
from partscope import load_dataset
from partscope.dataset import PartDataset
from partscope.errors import AnnotationError, DatasetError, ImageError, PartscopeWarning
from partscope.formats import label_studio_config, save_dataset, write_predictions_label_studio
from partscope.predictions import PartPredictions

INSTANCES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    return write_pictures(tmp_path)


@pytest.fixture(scope="module")
def same_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("label-studio"))


def with_boxes(dataset: PartDataset) -> PartDataset:
    """Give a box to each of several objects of an image, and a class only to objects with boxes, as the format can say."""
    samples = []
    for sample in dataset:
        if "#" in sample.id.replace("d#1.png", "") and sample.box is None:
            sample = sample.with_box((1.0, 1.0, 9.0, 9.0))
        samples.append(dataclasses.replace(sample, label=sample.label if sample.box else None))
    return dataclasses.replace(dataset, samples=tuple(samples))


@pytest.mark.parametrize("format", ["label-studio", "label-studio-min"])
@settings(max_examples=ROUND_TRIPS)
@given(data=st.data())
def test_reads_back(same_pictures: Path, format: str, data: st.DataObject) -> None:
    made = with_boxes(data.draw(datasets(same_pictures, instances=INSTANCES)))
    assert save_dataset(made, format, same_pictures / "parts.json").lost == ()
    read = load_dataset(format, same_pictures / "parts.json")
    assert_same(made, read, within=1e-9)
    assert read.notes == ()


def test_what_is_lost_is_counted(pictures: Path) -> None:
    (pictures / "a.csv").write_text("image,part,x,y,class,instance\na.png,beak,1,2,Robin,left\n")
    made = load_dataset("csv", pictures / "a.csv")
    assert save_dataset(made, "label-studio", pictures / "a.json").lost == (
        "the classes of 1 objects: the format has none.",
        "the names of 1 objects within their images: the format has none.",
    )
    (pictures / "a.csv").write_text("image,part,x,y,instance\na.png,beak,1,2,left\na.png,beak,1,2,right\n")
    with pytest.raises(DatasetError, match=r"a.png: of its 2 objects one has no box"):
        save_dataset(load_dataset("csv", pictures / "a.csv"), "label-studio", pictures / "a.json")


def keypoint(label: str, x: float, y: float, **more: Any) -> dict[str, Any]:
    return {
        "id": f"k-{label}",
        "type": "keypointlabels",
        "from_name": "kp-1",
        "to_name": "img-1",
        "original_width": 40,
        "original_height": 30,
        "image_rotation": 0,
        "origin": "manual",
        "value": {"x": x, "y": y, "width": 0.5, "keypointlabels": [label]},
        **more,
    }


def rectangle(key: str, *sides: float, label: str = "Bird", rotation: float = 0) -> dict[str, Any]:
    value = dict(zip(("x", "y", "width", "height"), sides, strict=True))
    return {
        "id": key,
        "type": "rectanglelabels",
        "from_name": "box",
        "to_name": "img-1",
        "original_width": 40,
        "original_height": 30,
        "image_rotation": 0,
        "value": {**value, "rotation": rotation, "rectanglelabels": [label]},
    }


#: As Label Studio exports: two objects, one by its parent, one by its place; a second task that nobody has done.
TASKS: list[dict[str, Any]] = [
    {
        "id": 12,
        "data": {"image": "/data/upload/3/1f2e3d4c-a.png"},
        "annotations": [
            {"id": 7, "was_cancelled": True, "result": []},
            {
                "id": 8,
                "was_cancelled": False,
                "result": [
                    rectangle("r1", 0, 0, 50, 50),
                    rectangle("r2", 50, 50, 50, 50, label="object"),
                    keypoint("beak", 25, 10),
                    keypoint("tail", 75, 90),
                    keypoint("beak", 5, 5, parentID="r2"),
                    {"id": "c", "type": "choices", "value": {"choices": ["blurred"]}},
                ],
            },
        ],
        "predictions": [],
    },
    {"id": 13, "data": {"image": "/data/local-files/?d=root/birds/b%20c.png"}, "annotations": []},
]


def write(pictures: Path, change: Callable[[list[dict[str, Any]]], Any] = lambda tasks: None) -> Path:
    tasks = copy.deepcopy(TASKS)
    change(tasks)
    (pictures / "export.json").write_text(json.dumps(tasks))
    return pictures / "export.json"


def test_an_export(pictures: Path) -> None:
    with pytest.warns(PartscopeWarning, match="1 tasks without an annotation"):
        read = load_dataset("label-studio", write(pictures))
    assert read.parts == ("beak", "tail")
    assert read.ids == ("a.png#r1", "a.png#r2")
    assert read.labels == ("Bird", None)
    assert read[0].box == (0, 0, 20, 15)
    np.testing.assert_array_equal(read.points, [[[10, 3], [np.nan] * 2], [[2, 1.5], [30, 27]]])
    assert "1 results that are neither key points nor rectangles with a label were not read." in read.notes
    kept = load_dataset("label-studio", write(pictures), unmarked="keep", parts=["tail", "beak"])
    assert kept.ids[2] == "birds/b c.png"
    assert kept.parts == ("tail", "beak")


def test_a_minimal_export(pictures: Path) -> None:
    """JSON-MIN as Label Studio writes it: values alone, without ids and parents."""
    regions = TASKS[0]["annotations"][1]["result"]
    values = [{**r["value"], "original_width": 40, "original_height": 30} for r in regions[:4]]
    task = {
        "image": "a.png",
        "id": 1,
        "box": values[:2],
        "kp": values[2:],
        "annotation_id": 5,
        "annotator": 1,
    }
    (pictures / "min.json").write_text(json.dumps([task]))
    read = load_dataset("label-studio-min", pictures / "min.json")
    assert read.ids == ("a.png#1", "a.png#2")
    assert read.visible.tolist() == [[True, False], [False, True]]


def test_a_turned_rectangle(pictures: Path) -> None:
    file = write(
        pictures, lambda t: t[0]["annotations"][1].update(result=[rectangle("r", 50, 0, 50, 50, rotation=90)])
    )
    with pytest.warns(PartscopeWarning, match="1 turned rectangles"):
        read = load_dataset("label-studio", file, parts=["beak"], unmarked="keep")
    # 20×15 pixels from (20, 0), a quarter turn clockwise about that corner: 15 wide to the left, 20 high.
    np.testing.assert_allclose(read[0].box, (5, 0, 15, 20))


@pytest.mark.parametrize(
    "address",
    [
        "a.png",
        "/data/upload/9/0123abcd-a.png",
        "/data/local-files/?d=a.png",
        "s3://bucket/x/a.png",
        "https://h.org/x/a.png?v=1",
    ],
)
def test_addresses(pictures: Path, address: str) -> None:
    file = write(pictures, lambda tasks: tasks[0].update(data={"photo": address}))
    with pytest.warns(PartscopeWarning):
        assert load_dataset("label-studio", file)[0].image == pictures / "a.png"


def result(i: int, **fields: Any) -> Callable[[list[dict[str, Any]]], Any]:
    return lambda tasks: tasks[0]["annotations"][1]["result"][i].update(fields)


def value(i: int, **fields: Any) -> Callable[[list[dict[str, Any]]], Any]:
    return lambda tasks: tasks[0]["annotations"][1]["result"][i]["value"].update(fields)


BAD: dict[str, tuple[Callable[[list[dict[str, Any]]], Any], type[Exception], str]] = {
    "no image": (lambda t: t[0].update(data={}), AnnotationError, "task 12: the image is not clear"),
    "two images": (
        lambda t: t[0].update(data={"x": "a", "y": "b"}),
        AnnotationError,
        "among the entries x, y",
    ),
    "missing image": (
        lambda t: t[0].update(data={"image": "z.png"}),
        ImageError,
        "task 12: there is no image",
    ),
    "leaves the folder": (
        lambda t: t[0].update(data={"image": "/data/local-files/?d=..%2F..%2Fetc/passwd"}),
        DatasetError,
        "task 12: .*leaves",
    ),
    "result no list": (
        lambda t: t[0]["annotations"][1].update(result=3),
        AnnotationError,
        "'result' must be a list",
    ),
    "annotations no list": (lambda t: t[0].update(annotations=3), AnnotationError, "'annotations' must be"),
    "two labels": (
        value(2, keypointlabels=["a", "b"]),
        AnnotationError,
        "task 12: the region 'k-beak'.*one label",
    ),
    "x missing": (value(2, x=None), AnnotationError, "task 12: the region 'k-beak' does not parse"),
    "x infinite": (value(2, x=float("inf")), AnnotationError, "not finite"),
    "no size": (result(2, original_width=None), AnnotationError, "'k-beak' does not parse"),
    "turned image": (result(2, image_rotation=90), AnnotationError, "the image was turned"),
    "another size": (result(0, original_width=80), AnnotationError, "80×30 pixels here but 40×30"),
    "outside": (
        result(2, parentID="r1", value={"x": 120, "y": 5, "keypointlabels": ["beak"]}),
        AnnotationError,
        "'beak'.*outside",
    ),
    "no owner": (value(2, x=75), AnnotationError, "lies in 0 of 2 rectangles"),
    "twice": (result(4, parentID="r1"), AnnotationError, "'beak' of one object comes twice"),
    "no area": (
        lambda t: (value(0, width=0)(t), result(2, parentID="r1")(t)),
        DatasetError,
        "task 12 .*no area",
    ),
}


@pytest.mark.filterwarnings("ignore::partscope.PartscopeWarning")
@pytest.mark.parametrize("case", BAD)
def test_bad_exports(pictures: Path, case: str) -> None:
    change, kind, match = BAD[case]
    file = write(pictures, change)
    with pytest.raises(kind, match=match) as caught:
        load_dataset("label-studio", file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("text", ["{}", "[1]", "[", "[" * 100_000])
def test_what_is_no_export(pictures: Path, text: str) -> None:
    (pictures / "a.json").write_text(text)
    with pytest.raises(AnnotationError, match=r"a\.json: (expected a list of tasks|this is not valid JSON)"):
        load_dataset("label-studio", pictures / "a.json")


def test_pre_annotations(pictures: Path) -> None:
    found = PartPredictions(
        ("beak", "tail"),
        ("birds/b c.png", "a.png"),
        np.array([[[32.0, 12.0], [1.0, 1.0]], [[1.0, 1.0], [2.0, 2.0]]]),
        np.array([[True, True], [False, False]]),
        np.array([[0.75, 0.25], [0, 0]]),
        np.array([[True, False], [False, False]]),
        expected_error=np.array([[2.0, 2.0], [np.nan, np.nan]]),
        boxes=np.array([[0, 0, 32.0, 24.0], [np.nan] * 4]),
    )
    write_predictions_label_studio(
        found, [(64, 48), (40, 30)], pictures / "tasks.json", model_version="birds 1"
    )
    first, second = json.loads((pictures / "tasks.json").read_text())
    assert unquote(first["data"]["image"]) == "/data/local-files/?d=birds/b c.png"
    assert first["data"]["doubt"] == pytest.approx(2 / 40)
    (prediction,) = first["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("birds 1", 0.75)
    box, point = prediction["result"]
    assert (box["value"]["width"], box["value"]["height"]) == (50, 50)
    assert point["value"] == {"x": 50, "y": 25, "width": 0.6, "keypointlabels": ["beak"]}
    assert (point["score"], point["parentID"], point["original_width"]) == (0.75, box["id"], 64)
    assert second["predictions"][0]["result"] == []
    # Accepted in Label Studio without a change, the pre-annotation is the annotation.
    first["annotations"] = [{"id": 1, "result": prediction["result"]}]
    (pictures / "done.json").write_text(json.dumps([first]))
    read = load_dataset("label-studio", pictures / "done.json", config=pictures / "tasks.xml")
    assert read.parts == found.parts
    np.testing.assert_allclose(read.points[0][0], (32, 12))


def test_the_labelling_configuration() -> None:
    root = ElementTree.fromstring(label_studio_config(['a "b" <c>', "tail"], ["Bird"]).split("\n", 1)[1])
    assert [label.get("value") for label in root.iter("Label")] == ['a "b" <c>', "tail", "Bird"]
    assert root.find("Image").get("value") == "$image"  # type: ignore[union-attr]
    with pytest.raises(DatasetError, match="control character"):
        label_studio_config(["a\x00"])


def test_a_configuration_with_entities_is_refused(pictures: Path) -> None:
    (pictures / "evil.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><View>&b;</View>')
    with pytest.raises(AnnotationError, match=r"evil\.xml: the file has a document type"):
        load_dataset("label-studio", write(pictures), config=pictures / "evil.xml")
