"""Parts discovered in drawn animals, with a small network of fixed weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from drawn import PARTS, drawn_dataset
from partscope import PartDetector, PartDiscovery, load_dataset
from partscope.dataset import PartDataset
from partscope.discovery import measure
from partscope.discovery.measure import look
from partscope.errors import (
    BackboneError,
    DatasetError,
    ImageError,
    ModelFileError,
    OptionError,
    PartscopeWarning,
)
from partscope.metrics import part_agreement
from test_detectors_linear import small_backbone


def unfitted(parts: int = 5, **options: object) -> PartDiscovery:
    return PartDiscovery(parts, backbone=small_backbone(), layers=["0", "3"], **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("drawn"), 60)


@pytest.fixture(scope="module", params=["box", "none"])
def detector(data: PartDataset, request: pytest.FixtureRequest) -> PartDiscovery:
    return unfitted(supervision=request.param).fit(data[:30])


def without_boxes(data: PartDataset) -> PartDataset:
    return dataclasses.replace(data, samples=tuple(sample.with_box(None) for sample in data))


def unmarked(data: PartDataset) -> PartDataset:
    nothing = np.zeros(len(data.parts), dtype=np.bool_)
    return dataclasses.replace(
        data, samples=tuple(dataclasses.replace(sample, visible=nothing) for sample in data)
    )


def test_discovered_parts_say_where_the_marked_ones_are(detector: PartDiscovery, data: PartDataset) -> None:
    result = measure(detector, data[:30], data[30:])
    assert result.regression.error < 0.3 * result.constant.error
    assert result.agreement.keypoints == data[30:].visible.sum()
    _, labels = look(detector, data[30:])
    names = np.broadcast_to(np.arange(len(PARTS)), data[30:].visible.shape)[data[30:].visible]
    shuffled = part_agreement(np.random.default_rng(0).permutation(labels), names)
    assert result.agreement.nmi > 4 * shuffled.nmi
    assert result.agreement.ari > shuffled.ari + 0.1


def test_marked_parts_are_not_looked_at(detector: PartDiscovery, data: PartDataset) -> None:
    blind = clone(detector).set_params(backbone=small_backbone()).fit(unmarked(data[:30]))
    np.testing.assert_array_equal(blind.discriminants_.weights, detector.discriminants_.weights)


def test_without_supervision_boxes_are_not_looked_at(data: PartDataset) -> None:
    boxed = unfitted(supervision="none").fit(data[:12])
    blind = unfitted(supervision="none").fit(without_boxes(data[:12]))
    np.testing.assert_array_equal(blind.discriminants_.weights, boxed.discriminants_.weights)


def test_predictions_are_of_numbered_parts_the_most_stable_first(
    detector: PartDiscovery, data: PartDataset
) -> None:
    found = detector.predict(data[30:])
    assert found.parts == ("part 1", "part 2", "part 3", "part 4", "part 5")
    assert found.found.all()
    assert ((found.score >= 0) & (found.score <= 1)).all()
    assert ((found.points >= 0) & (found.points <= data[30:].sizes[:, None])).all()
    assert (np.diff(detector.spread_) >= 0).all()
    assert ((detector.rate_ > 0) & (detector.rate_ <= 1)).all()
    middle = detector.predict([Image.open(data[30].image)]).points[0]
    np.testing.assert_allclose(middle, found.points[0])


def test_names_make_a_detector_that_beats_the_prior(detector: PartDiscovery, data: PartDataset) -> None:
    named = detector.name_parts(data[:8])
    assert named.parts_ == PARTS
    assert detector.parts_[0] == "part 1", "the detector itself must stay as it is"
    result = named.evaluate(data[30:])
    prior = PartDetector("prior").fit(data[:8]).evaluate(data[30:])
    assert result.error < 0.5 * prior.error
    assert result.info["method"] == "discovered"
    np.testing.assert_array_equal(named.predict(data[30:32]).score[0], named.prior_.visibility)
    again = named.name_parts(data[:8])
    np.testing.assert_array_equal(again.predict(data[30:33]).points, named.predict(data[30:33]).points)


def test_a_single_marked_image_is_enough_to_name(detector: PartDiscovery, data: PartDataset) -> None:
    one = detector.name_parts(data[:1])
    np.testing.assert_array_equal(one.predict(data[30:31]).found[0], data[0].visible)


def test_a_loaded_detector_predicts_the_same_named_or_not(
    detector: PartDiscovery, data: PartDataset, tmp_path: Path
) -> None:
    for made in (detector, detector.name_parts(data[:8])):
        made.save(tmp_path / "model")
        loaded = PartDetector.load(tmp_path / "model", backbone=small_backbone())
        assert isinstance(loaded, PartDiscovery)
        assert loaded.parts_ == made.parts_
        np.testing.assert_array_equal(loaded.predict(data[30:36]).points, made.predict(data[30:36]).points)
        later = loaded.name_parts(data[:8])
        np.testing.assert_array_equal(
            later.predict(data[30:33]).points, detector.name_parts(data[:8]).predict(data[30:33]).points
        )
    with pytest.raises(ModelFileError, match="another backbone"):
        PartDetector.load(tmp_path / "model", backbone=small_backbone(seed=1))


def test_the_same_images_and_seed_give_the_same_bytes(data: PartDataset, tmp_path: Path) -> None:
    for name in ("one", "two"):
        unfitted(3).fit(data[:12]).save(tmp_path / name)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_single_channels_are_an_option(data: PartDataset, tmp_path: Path) -> None:
    channels = unfitted(4, by="channels").fit(data[:24])
    assert channels.part_channels_ is not None
    assert len(set(channels.part_channels_)) == 4
    assert (np.count_nonzero(channels.discriminants_.weights, axis=0) == 1).all()
    result = measure(channels, data[:24], data[30:])
    assert result.regression.error < 0.5 * result.constant.error
    channels.save(tmp_path / "model")
    loaded = PartDetector.load(tmp_path / "model", backbone=small_backbone())
    assert loaded.part_channels_ == channels.part_channels_


def test_in_the_region_mask_no_part_is_put_outside_the_box(data: PartDataset) -> None:
    boxed = unfitted(region="mask").fit(data[:12])
    some = data[30:40]
    found = boxed.predict(some).points
    low, high = (
        some.boxes[:, None, :2] - 6,
        some.boxes[:, None, :2] + some.boxes[:, None, 2:] + 6,
    )  # half a cell
    assert ((found >= low) & (found <= high)).all()
    with pytest.raises(OptionError, match="bounding box"):
        boxed.predict([data[40].image])
    assert boxed.name_parts(data[:4]).needs_box


def test_discovered_is_a_method_like_others() -> None:
    assert isinstance(PartDetector("discovered", parts=4), PartDiscovery)
    with pytest.raises(NotFittedError):
        PartDiscovery().predict([])
    with pytest.raises(NotFittedError):
        PartDiscovery().name_parts(None)  # type: ignore[arg-type]


def test_where_memory_is_short_evenly_spaced_images_are_used(data: PartDataset) -> None:
    each = 2 * (16 * 24**2 + 24 * 12**2)
    with pytest.warns(PartscopeWarning, match="6 of 12 images fit into memory"):
        some = unfitted(3, memory=6 * each).fit(data[:12])
    assert len(some.train_ids_) == 6
    assert {data[0].id, data[11].id} <= set(some.train_ids_)
    with pytest.raises(OptionError, match="fewer than two images"):
        unfitted(3, memory=each).fit(data[:12])


# -- bad input ------------------------------------------------------------------------------------------------------
def test_too_few_images_are_refused(data: PartDataset) -> None:
    with pytest.raises(DatasetError, match="4 images are too few to discover 5 parts"):
        unfitted(5).fit(data[:4])
    with pytest.raises(DatasetError, match=r"1 images are too few.*at least 2"):
        unfitted(1).fit(data[:1])


def test_missing_boxes_are_named(data: PartDataset) -> None:
    with pytest.raises(DatasetError, match=r"no image has a bounding box.*supervision none"):
        unfitted().fit(without_boxes(data[:12]))
    mixed = dataclasses.replace(data[:12], samples=(data[0].with_box(None), *data[1:12].samples))
    with pytest.raises(DatasetError, match=data[0].id):
        unfitted().fit(mixed)
    with pytest.warns(PartscopeWarning, match="1 of 12 training images"):
        fitted = unfitted().fit(mixed, on_error="skip")
    assert [item.id for item in fitted.skipped_] == [data[0].id]


@pytest.mark.parametrize("supervision", ["box", "none"])
def test_constant_features_are_refused(data: PartDataset, supervision: str) -> None:
    backbone = small_backbone()
    with torch.no_grad():
        for parameter in backbone.network.parameters():
            parameter.zero_()
    with pytest.raises(BackboneError, match="same in every cell"):
        PartDiscovery(3, supervision, backbone=backbone).fit(data[:4])


def test_more_parts_than_different_cells_are_refused(data: PartDataset, tmp_path: Path) -> None:
    """Copies of one picture have as many different cells as the picture."""
    own = drawn_dataset(tmp_path, 40)
    picture = own[0]
    copies = tuple(dataclasses.replace(picture, id=f"copy {i}") for i in range(40))
    tiny = (50.0, 40.0, 9.0, 9.0)
    same = PartDataset(PARTS, tuple(sample.with_box(tiny) for sample in copies), "copies")
    with pytest.raises(DatasetError, match="different cells, too few for 40 parts"):
        unfitted(40).fit(same)


def test_an_image_that_cannot_be_read_is_skipped_on_request(tmp_path: Path) -> None:
    own = drawn_dataset(tmp_path, 8)
    own[3].image.write_bytes(b"nothing")
    with pytest.raises(ImageError, match=own[3].image.name):
        unfitted(3).fit(own)
    with pytest.warns(PartscopeWarning, match="1 of 8 training images"):
        fitted = unfitted(3).fit(own, on_error="skip")
    assert own[3].id not in fitted.train_ids_
    with pytest.raises(ImageError, match=own[3].image.name):
        fitted.name_parts(own)
    named = fitted.name_parts(own, on_error="skip")
    assert [item.id for item in named.skipped_] == [own[3].id] * 2
    with pytest.raises(DatasetError, match="no part is visible"):
        fitted.name_parts(unmarked(own[:2]))


def test_unnamed_parts_are_not_compared_with_marked_ones(detector: PartDiscovery, data: PartDataset) -> None:
    with pytest.raises(OptionError, match="no names yet"):
        detector.evaluate(data[30:])


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"parts": 0}, "positive whole number"),
        ({"parts": 2.5}, "positive whole number"),
        ({"parts": True}, "positive whole number"),
        ({"supervision": "some"}, "supervision"),
        ({"by": "magic"}, "by must be"),
        ({"region": "crop"}, "region"),
        ({"shrinkage": 0}, "shrinkage"),
        ({"shrinkage": "auto"}, "shrinkage"),
        ({"position": -1.0}, "position"),
        ({"memory": -1}, "memory"),
        ({"layers": ["17"]}, "no layer '17'"),
    ],
)
def test_wrong_options_are_refused(data: PartDataset, options: dict[str, object], says: str) -> None:
    settings = {"parts": 3, "layers": ["0", "3"], "backbone": small_backbone(), **options}
    with pytest.raises((OptionError, BackboneError), match=says):
        PartDiscovery(**settings).fit(data[:4])  # type: ignore[arg-type]


@pytest.mark.cub
@pytest.mark.filterwarnings("ignore::partscope.errors.PartscopeWarning")
@pytest.mark.parametrize("supervision", ["box", "none"])
def test_on_real_birds_discovered_parts_say_where_marked_ones_are(cub_folder: Path, supervision: str) -> None:
    birds = load_dataset("cub", cub_folder)
    train, test = birds.train.limit(80), birds.test.limit(40)
    discovered = PartDiscovery(4, supervision).fit(train)
    result = measure(discovered, train, test)
    assert result.regression.error < 0.8 * result.constant.error
    assert result.agreement.nmi > 0.2
    named = discovered.name_parts(train.limit(10)).evaluate(test)
    assert named.skill > 0.3
