"""What every detector does alike: fitting, evaluating, and what a method may give."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.exceptions import NotFittedError

from drawn import PARTS, drawn_dataset
from partscope.dataset import PartDataset, Sample
from partscope.detectors import PartDetector, PriorDetector, TransferDetector
from partscope.detectors.located import Located
from partscope.errors import DatasetError, ImageError, OptionError, PartscopeWarning
from partscope.evaluation import evaluate


# -- fit ------------------------------------------------------------------------------------------------------------
def test_fit_keeps_what_it_learned_from(detector: PartDetector, train: PartDataset) -> None:
    assert detector.fit(train) is detector
    assert detector.parts_ == PARTS
    assert detector.mirror_.tolist() == [0, 2, 1, 3, 4]
    assert detector.train_ids_ == train.ids
    assert detector.skipped_ == ()
    np.testing.assert_allclose(detector.prior_.visibility, train.visible.mean(axis=0))


def test_a_training_set_without_images_or_visible_parts_is_refused(
    detector: PartDetector, train: PartDataset
) -> None:
    with pytest.raises(DatasetError, match="drawn: there is no image to learn from"):
        detector.fit(train[:0])
    hidden = [Sample(s.id, s.image, s.size, s.points, np.zeros(5, bool), s.box) for s in train]
    with pytest.raises(DatasetError, match="no part is visible in any training image"):
        detector.fit(PartDataset(PARTS, tuple(hidden)))
    with pytest.raises(DatasetError, match="fit needs a PartDataset, not list"):
        detector.fit(list(train))  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="on_error must be 'raise' or 'skip', not 'ignore'"):
        detector.fit(train, on_error="ignore")


def test_a_part_that_is_never_visible_is_warned_of_and_never_found(
    detector: PartDetector, train: PartDataset
) -> None:
    right_facing = train[::2]
    assert not right_facing.visible[:, 1].any()
    with pytest.warns(PartscopeWarning, match="1 of 5 parts are visible in no training image .*: left eye"):
        detector.fit(right_facing)
    found = detector.predict(train)
    assert not found.found[:, 1].any()
    assert not found.score[:, 1].any()
    if not isinstance(detector, TransferDetector):
        assert found.found[:, 0].all()


def test_a_fit_that_fails_leaves_an_unfitted_detector(train: PartDataset, tmp_path: Path) -> None:
    detector = TransferDetector().fit(train)
    lost = Sample(
        "lost", tmp_path / "lost.png", train[0].size, train[0].points, train[0].visible, train[0].box
    )
    with pytest.raises(ImageError, match=r"lost\.png"):
        detector.fit(PartDataset(PARTS, (*train, lost)))
    with pytest.raises(NotFittedError):
        detector.predict(train)


def with_unreadable(data: PartDataset, where: list[int], folder: Path) -> PartDataset:
    """The data set with some of its pictures replaced by a file that is none."""
    broken = folder / "broken.png"
    broken.write_bytes(b"no picture")
    samples = [dataclasses.replace(s, image=broken) if i in where else s for i, s in enumerate(data)]
    return dataclasses.replace(data, samples=tuple(samples))


def test_the_prior_is_that_of_the_images_that_were_used(train: PartDataset, tmp_path: Path) -> None:
    with pytest.warns(PartscopeWarning, match="3 of 8 training images were left out"):
        detector = TransferDetector().fit(with_unreadable(train, [0, 2, 3], tmp_path), on_error="skip")
    expected = TransferDetector().fit(train[[1, 4, 5, 6, 7]])
    assert detector.train_ids_ == expected.train_ids_
    for name, array in expected.prior_.to_arrays().items():
        np.testing.assert_array_equal(detector.prior_.to_arrays()[name], array)


def test_parts_that_only_unreadable_images_show_are_said(train: PartDataset, tmp_path: Path) -> None:
    left_facing = [1, 3, 5, 7]
    assert not train[::2].visible[:, 1].any()
    with pytest.warns(
        PartscopeWarning, match="no training image that could be read shows left eye; .*never be found"
    ):
        detector = TransferDetector().fit(with_unreadable(train, left_facing, tmp_path), on_error="skip")
    assert detector.prior_.visibility[1] == 0
    assert np.isnan(detector.prior_.image[1]).all()
    assert not detector.predict(train[::2]).found[:, 1].any()
    hidden = dataclasses.replace(train[1], visible=np.zeros(5, dtype=bool))
    blind = dataclasses.replace(train, samples=(train[0], hidden))
    with pytest.raises(DatasetError, match="no part is visible in any training image that could be read"):
        TransferDetector().fit(with_unreadable(blind, [0], tmp_path), on_error="skip")


def test_overflowing_training_boxes_are_clipped_and_counted(train: PartDataset) -> None:
    wide = [s.with_box((-30.0, -30.0, s.size[0] + 60.0, s.size[1] + 60.0)) for s in train[:3]]
    data = PartDataset(PARTS, (*wide, *train[3:]), "wide")
    with pytest.warns(PartscopeWarning, match="wide: 3 of 8 bounding boxes reached over the border"):
        detector = PriorDetector("box").fit(data)
    whole = [s.with_box((0.0, 0.0, *map(float, s.size))) for s in train[:3]]
    same = PriorDetector("box").fit(PartDataset(PARTS, (*whole, *train[3:])))
    np.testing.assert_allclose(detector.prior_.box, same.prior_.box)


# -- evaluate -------------------------------------------------------------------------------------------------------
def test_evaluate_is_predict_and_evaluate(detector: PartDetector, train: PartDataset, tmp_path: Path) -> None:
    detector.fit(train)
    test = drawn_dataset(tmp_path, 6, seed=3)
    result = detector.evaluate(test, random_state=1)
    region = "box" if detector.needs_box else "image"
    by_hand = evaluate(
        detector.predict(test), test, detector.prior_, fallback=region, info=detector._info(), random_state=1
    )
    assert result.row() == by_hand.row()
    assert result.row()["method"] == detector.method
    assert result.reference == region
    assert detector.evaluate(test, predictions=detector.predict(test), random_state=1).row() == by_hand.row()
    if isinstance(detector, PriorDetector):
        assert result.skill == pytest.approx(0)


def test_evaluate_counts_unreadable_images(
    detector: PartDetector, train: PartDataset, tmp_path: Path
) -> None:
    lost = Sample(
        "lost", tmp_path / "lost.png", train[0].size, train[0].points, train[0].visible, train[0].box
    )
    data = PartDataset(PARTS, (*train, lost))
    with pytest.raises(ImageError):
        detector.fit(train).evaluate(data)
    result = detector.evaluate(data, on_error="skip")
    assert len(result.ids) == len(train)
    assert [failure.id for failure in result.failures] == ["lost"]


def test_parts_match_by_name(train: PartDataset) -> None:
    detector = TransferDetector().fit(train)
    result = detector.evaluate(train.with_parts(["tail", "beak"]))
    assert result.parts == ("tail", "beak")
    assert result.error == pytest.approx(0, abs=1e-9)


# -- what a method may give ---------------------------------------------------------------------------------------------
def test_a_method_may_give_an_expected_error_and_a_box(
    train: PartDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = PriorDetector().fit(train)
    plain = detector.predict(train[:3])
    assert plain.expected_error is None
    assert plain.boxes is None
    original, calls = PriorDetector._locate, []

    def locate(self: PriorDetector, image: Image.Image, box: object) -> Located:
        calls.append(image)
        found = original(self, image, box)  # type: ignore[arg-type]
        if len(calls) == 2:
            return found
        return found._replace(
            expected_error=np.full(len(found.points), len(calls)), box=np.array([1.0, 2.0, 3.0, 4.0])
        )

    monkeypatch.setattr(PriorDetector, "_locate", locate)
    given = detector.predict(train[:3])
    np.testing.assert_array_equal(given.points, plain.points)
    assert given.expected_error is not None
    np.testing.assert_array_equal(
        given.expected_error,
        np.where(plain.found, np.array([1.0, np.nan, 3.0])[:, None], np.nan),
    )
    np.testing.assert_array_equal(given.boxes, [[1, 2, 3, 4], [np.nan] * 4, [1, 2, 3, 4]])
