"""The channel detector on images that cannot be read and on parts that are never seen."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

from colour_network import quick
from drawn import PARTS, drawn_dataset
from partscope.dataset import PartDataset
from partscope.errors import DatasetError, ImageError, PartscopeWarning

pytestmark = pytest.mark.filterwarnings("ignore:.*will never be found")


def test_a_bad_training_image_stops_the_fit_or_is_left_out(tmp_path: Path) -> None:
    data = drawn_dataset(tmp_path, 8)
    expected = quick(normalise="image").fit(data[[0, 1, 2, 4, 5, 6, 7]])
    data[3].image.write_bytes(data[3].image.read_bytes()[:200])
    detector = quick(normalise="image")
    with pytest.raises(ImageError, match=r"0_03\.png: "):
        detector.fit(data)
    with pytest.raises(NotFittedError):
        detector.predict(data)
    with pytest.warns(
        PartscopeWarning, match=r"1 of 8 training images were left out; the first is 0_03\.png"
    ):
        detector.fit(data, on_error="skip")
    assert [item.id for item in detector.skipped_] == ["0_03.png"]
    assert detector.train_ids_ == expected.train_ids_
    np.testing.assert_array_equal(detector.ranking_.cost, expected.ranking_.cost)
    np.testing.assert_array_equal(detector.prior_.image, expected.prior_.image)
    found = detector.predict(data, on_error="skip")
    assert len(found) == 7
    assert [item.id for item in found.failures] == ["0_03.png"]


def test_no_readable_training_image_is_an_error(tmp_path: Path) -> None:
    data = drawn_dataset(tmp_path, 3)
    for sample in data:
        sample.image.write_bytes(b"")
    for search in ("shortlist", "exhaustive"):
        with pytest.raises(
            DatasetError, match=r"not one training image could be read; the first: .*0_00\.png.*empty"
        ):
            quick(search=search).fit(data, on_error="skip")


def only_visible(data: PartDataset, part: str, where: list[int]) -> PartDataset:
    """The data set with one part visible in some images alone."""
    p = data.parts.index(part)
    samples = []
    for i, sample in enumerate(data):
        visible, points = sample.visible.copy(), np.nan_to_num(sample.points, nan=1.0)
        visible[p] = i in where
        samples.append(dataclasses.replace(sample, visible=visible, points=points))
    return dataclasses.replace(data, samples=tuple(samples))


@pytest.mark.filterwarnings("default", "ignore:.*were left out")
def test_a_part_that_only_bad_images_show_is_said_and_never_found(tmp_path: Path) -> None:
    data = only_visible(drawn_dataset(tmp_path, 6), "tail", [2])
    data[2].image.write_bytes(b"")
    with pytest.warns(
        PartscopeWarning, match="no training image that could be read shows tail; .*never be found"
    ):
        detector = quick().fit(data, on_error="skip")
    assert "tail" not in detector.channels_
    assert not detector.predict(data[:2]).found[:, PARTS.index("tail")].any()


def test_readable_images_that_show_no_part_are_an_error(tmp_path: Path) -> None:
    data = drawn_dataset(tmp_path, 3)
    for part in PARTS:
        data = only_visible(data, part, [0])
    data[0].image.write_bytes(b"")
    for search in ("shortlist", "exhaustive", "bounded", "racing"):
        with pytest.raises(DatasetError, match="no part is visible in any training image that could be read"):
            quick(search=search).fit(data, on_error="skip")


@pytest.mark.filterwarnings("default")
def test_a_part_that_no_training_image_shows_is_never_found(train: PartDataset, test: PartDataset) -> None:
    with pytest.warns(
        PartscopeWarning, match="1 of 5 parts are visible in no training image .* never be found: crest"
    ):
        detector = quick().fit(only_visible(train, "crest", []))
    assert set(detector.channels_) == set(PARTS) - {"crest"}
    found = detector.predict(test)
    assert not found.found[:, 4].any()
    assert found.found[:, :4].all()
    assert detector.evaluate(test, predictions=found).coverage < 1
