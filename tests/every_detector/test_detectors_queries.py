"""The images and boxes that `predict` takes."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from partscope.dataset import PartDataset
from partscope.detectors import PartDetector, PriorDetector
from partscope.errors import DatasetError, ImageError, OptionError, PartscopeWarning


def test_paths_pictures_arrays_and_data_sets_give_the_same(
    detector: PartDetector, train: PartDataset
) -> None:
    detector.fit(train)
    boxes = train.boxes if detector.needs_box else None
    wanted = detector.predict(train)
    assert wanted.ids == train.ids
    pictures = [Image.open(s.image).convert("RGB") for s in train]
    for images, ids in (
        ([s.image for s in train], tuple(str(s.image) for s in train)),
        ([str(s.image) for s in train], tuple(str(s.image) for s in train)),
        (pictures, tuple("01234567")),
        ((np.asarray(picture) for picture in pictures), tuple("01234567")),
    ):
        found = detector.predict(images, boxes)  # type: ignore[arg-type]
        assert found.ids == ids
        np.testing.assert_array_equal(found.points, wanted.points)
        np.testing.assert_array_equal(found.score, wanted.score)


@pytest.mark.parametrize(
    "single",
    ["robin.jpg", Path("robin.jpg"), Image.new("RGB", (4, 4)), np.zeros((4, 4, 3), np.uint8)],
    ids=type,
)
def test_a_single_image_instead_of_a_sequence_is_explained(train: PartDataset, single: object) -> None:
    with pytest.raises(OptionError, match=r"must be a sequence, not .*write predict\(\[image\]\)"):
        PriorDetector().fit(train).predict(single)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("images", "match"), [(7, "not int"), ([7], "image 0 is of the type int"), ([None], "NoneType")]
)
def test_what_is_no_image_is_named(train: PartDataset, images: object, match: str) -> None:
    with pytest.raises(OptionError, match=match):
        PriorDetector().fit(train).predict(images)  # type: ignore[arg-type]


def test_no_images_give_no_rows(detector: PartDetector, train: PartDataset) -> None:
    found = detector.fit(train).predict([])
    assert found.points.shape == (0, 5, 2)


def test_unreadable_images_stop_or_are_listed(
    detector: PartDetector, train: PartDataset, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(train[0].image.read_bytes()[:200])
    images = [train[0].image, broken, tmp_path / "missing.png", train[1].image]
    boxes = None
    if detector.fit(train).needs_box:
        boxes = np.array([train[0].box, (1, 1, 5, 5), (1, 1, 5, 5), train[1].box])
    with pytest.raises(ImageError, match=r"broken\.png"):
        detector.predict(images, boxes)
    found = detector.predict(images, boxes, on_error="skip")
    assert found.ids == (str(train[0].image), str(train[1].image))
    assert [failure.id for failure in found.failures] == [str(broken), str(tmp_path / "missing.png")]
    assert "there is no such image" in found.failures[1].reason
    nothing = detector.predict(images[1:3], None if boxes is None else boxes[1:3], on_error="skip")
    assert len(nothing) == 0
    assert len(nothing.failures) == 2


def test_boxes_are_clipped_with_a_count_and_bad_ones_refused(train: PartDataset) -> None:
    detector = PriorDetector("box").fit(train)
    images = [Image.new("RGB", (50, 40))] * 3
    with pytest.warns(PartscopeWarning, match="2 of 3 bounding boxes reached over the border"):
        found = detector.predict(images, [(-10, -5, 70, 60), (0, 0, 50, 40), (0, 0, 50, 41)])
    np.testing.assert_allclose(found.points[0], found.points[1])
    for box, match in (
        ((5, 5, 0, 9), "image 0: .*no area"),
        ((90, 5, 9, 9), "image 0: .*outside the image of 50×40"),
        ((5, 5, np.inf, 9), "image 0: .*finite"),
    ):
        with pytest.raises(DatasetError, match=match):
            detector.predict(images[:1], [box])
        assert len(detector.predict(images[:2], [box, (0, 0, 9, 9)], on_error="skip").failures) == 1


def test_missing_boxes(train: PartDataset) -> None:
    detector = PriorDetector("box").fit(train)
    image = Image.new("RGB", (50, 40))
    for boxes in (None, [None, None], np.full((2, 4), np.nan)):
        with pytest.raises(OptionError, match=r"image 0: .*has none; give one in boxes"):
            detector.predict([image, image], boxes, on_error="skip")
    with pytest.raises(OptionError, match=r"image 1: .*has none"):
        detector.predict([image, image], [(1, 1, 9, 9), None])
    found = detector.predict([image, image], [(1, 1, 9, 9), None], on_error="skip")
    assert found.ids == ("0",)
    assert found.failures[0].id == "1"


@pytest.mark.parametrize(
    ("boxes", "match"),
    [
        ([(1, 1, 5, 5)], "1 boxes for 2 images"),
        ((1, 1, 5, 5), "4 boxes for 2 images"),
        ([(1, 1, 5), (1, 1, 5, 5)], "box 0 must be four numbers"),
        ([(1, 1, 5, 5), "abcd"], "box 1 must be four numbers"),
        (5, "0 boxes for 2 images"),
    ],
)
def test_boxes_that_do_not_fit_the_images_are_named(train: PartDataset, boxes: object, match: str) -> None:
    image = Image.new("RGB", (50, 40))
    with pytest.raises(OptionError, match=match):
        PriorDetector("box").fit(train).predict([image, image], boxes)  # type: ignore[arg-type]


def test_explicit_boxes_that_a_method_does_not_use_are_warned_of(train: PartDataset) -> None:
    detector = PriorDetector().fit(train)
    with pytest.warns(PartscopeWarning, match="the boxes are not used"):
        with_boxes = detector.predict(train, train.boxes)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(detector.predict(train).points, with_boxes.points)
