from __future__ import annotations

import dataclasses
import pickle
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from drawn import PARTS, drawn_dataset
from partscope.dataset import PartDataset, Sample
from partscope.detectors import (
    PartDetector,
    PriorDetector,
    TransferDetector,
    detector_class,
    detector_methods,
    register_detector,
)
from partscope.detectors.located import Located
from partscope.detectors.registry import _METHODS
from partscope.errors import DatasetError, ImageError, ModelFileError, OptionError, PartscopeWarning
from partscope.evaluation import evaluate

#: Detectors that need no network, one per way of using the box.
LIGHT = [PriorDetector(), PriorDetector("box"), TransferDetector()]


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    # `left eye` and `right eye` are each seen from one side only, so all five parts occur.
    return drawn_dataset(tmp_path_factory.mktemp("train"), 8)


@pytest.fixture(params=LIGHT, ids=repr)
def detector(request: pytest.FixtureRequest) -> PartDetector:
    return clone(request.param)  # type: ignore[no-any-return]


# -- construction ---------------------------------------------------------------------------------------------------
def test_a_method_names_a_class() -> None:
    assert type(PartDetector(method="prior", region="box")) is PriorDetector
    assert type(PartDetector("transfer")) is TransferDetector
    assert PartDetector(method="prior", region="box").get_params() == {"region": "box"}
    assert detector_class("prior") is PriorDetector
    assert {"prior", "transfer"} <= set(detector_methods())


def test_the_default_serves_best_and_an_option_of_the_paper_names_its_method() -> None:
    assert PartDetector().method == "linear"
    assert PartDetector(backbone="squeezenet1_1", region="crop", arrangement="none").method == "linear"
    for option in (
        {"centre": "mixture"},
        {"layer": "features.12"},
        {"search": "exhaustive", "region": "mask"},
    ):
        assert PartDetector(**option).method == "channel"
    assert PartDetector(layers=["a"], shrinkage=0.3).method == "linear"
    with pytest.raises(OptionError, match="'linear' has no option 'centre'"):
        PartDetector("linear", centre="mixture")
    with pytest.raises(OptionError, match="'linear' has no option 'centr'; its options are backbone"):
        PartDetector(centr="mixture")
    with pytest.raises(OptionError, match="'linear' has no option 'centre'"):
        PartDetector(centre="mixture", layers=["a"])


def test_an_unknown_method_and_an_unknown_option_are_named() -> None:
    with pytest.raises(OptionError, match=r"no method 'magic'; the methods are .*prior.*transfer"):
        PartDetector(method="magic")
    with pytest.raises(OptionError, match=r"'prior' has no option 'centre'; its options are region\."):
        PartDetector(method="prior", centre="mixture")
    with pytest.raises(OptionError, match=r"'transfer' has no option 'region'; it has no options\."):
        PartDetector(method="transfer", region="crop")


@pytest.mark.parametrize("method", detector_methods())
def test_every_method_is_a_scikit_learn_estimator_with_the_whole_interface(method: str) -> None:
    estimator = PartDetector(method=method)
    assert estimator.method == method
    copy = clone(estimator)
    assert type(copy) is type(estimator)
    assert copy.get_params() == estimator.get_params()
    assert estimator.set_params(**estimator.get_params()) is estimator
    assert set(vars(estimator)) == set(estimator.get_params())  # nothing is computed in __init__
    for name in ("_fit", "_locate", "_state", "_restore"):
        assert getattr(type(estimator), name) is not getattr(PartDetector, name)
    for call in (
        lambda: estimator.predict([]),
        lambda: estimator.save("x"),
        lambda: estimator.evaluate(None),
    ):
        with pytest.raises(NotFittedError):
            call()


def test_a_new_method_is_a_registered_subclass(train: PartDataset) -> None:
    @register_detector("centre of the image")
    class Centre(PartDetector):
        def __init__(self, shift: float = 0.0) -> None:
            self.shift = shift

        def _fit(self, dataset: PartDataset, *, on_error: str, progress: bool) -> None:
            pass

        def _locate(self, image, box):  # type: ignore[no-untyped-def]
            points = np.full((len(self.parts_), 2), self.shift) + np.array(image.size) / 2
            yes = np.ones(len(points), dtype=bool)
            return points, yes, np.ones(len(points)), yes

    try:
        found = PartDetector(method="centre of the image", shift=1.0).fit(train).predict(train)
        np.testing.assert_allclose(found.points[:, 0], train.sizes / 2 + 1)
    finally:
        del _METHODS["centre of the image"]


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


# -- predict --------------------------------------------------------------------------------------------------------
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


# -- save and load --------------------------------------------------------------------------------------------------
@settings(max_examples=5)
@given(count=st.integers(1, 8))
@pytest.mark.filterwarnings("ignore::partscope.errors.PartscopeWarning")
@pytest.mark.parametrize("estimator", LIGHT, ids=repr)
def test_a_loaded_detector_is_the_saved_one(
    estimator: PartDetector, train: PartDataset, tmp_path: Path, count: int
) -> None:
    fitted = clone(estimator).fit(train[:count])
    path = tmp_path / "m.partscope"
    fitted.save(path)
    for cls in (PartDetector, type(fitted)):
        loaded = cls.load(path)
        assert type(loaded) is type(fitted)
        assert loaded.get_params() == fitted.get_params()
        assert (loaded.parts_, loaded.train_ids_) == (fitted.parts_, fitted.train_ids_)
        np.testing.assert_array_equal(loaded.mirror_, fitted.mirror_)
        np.testing.assert_array_equal(loaded.prior_.image, fitted.prior_.image)
        one, other = fitted.predict(train), loaded.predict(train)
        np.testing.assert_array_equal(one.points, other.points)
        np.testing.assert_array_equal(one.score, other.score)
        np.testing.assert_array_equal(one.visible, other.visible)
    loaded.save(tmp_path / "again.partscope")
    assert (tmp_path / "again.partscope").read_bytes() == path.read_bytes()


def test_a_file_of_another_method_is_refused_by_a_subclass(train: PartDataset, tmp_path: Path) -> None:
    PriorDetector().fit(train).save(tmp_path / "m.partscope")
    with pytest.raises(ModelFileError, match=r"m\.partscope: .*'prior', not 'transfer'"):
        TransferDetector.load(tmp_path / "m.partscope")


def test_a_backbone_for_a_method_without_one_is_refused(train: PartDataset, tmp_path: Path) -> None:
    PriorDetector().fit(train).save(tmp_path / "m.partscope")
    with pytest.raises(OptionError, match="'prior' uses no backbone"):
        PartDetector.load(tmp_path / "m.partscope", backbone=object())  # type: ignore[arg-type]


def test_given_pairs_are_kept_in_the_model_file(train: PartDataset, tmp_path: Path) -> None:
    data = PartDataset(PARTS, train.samples, pairs=(("beak", "tail"),))
    PriorDetector().fit(data).save(tmp_path / "m.partscope")
    assert PartDetector.load(tmp_path / "m.partscope").mirror_.tolist() == [3, 1, 2, 0, 4]


def test_a_fitted_detector_can_be_pickled_as_scikit_learn_estimators_can(train: PartDataset) -> None:
    fitted = PriorDetector("box").fit(train)
    again = pickle.loads(pickle.dumps(fitted))
    np.testing.assert_array_equal(again.predict(train).points, fitted.predict(train).points)


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
