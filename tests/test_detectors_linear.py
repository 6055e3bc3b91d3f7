"""The linear detector on drawn animals, with a small network of fixed weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from drawn import PARTS, drawn_dataset
from networks import backbone_of, seeded
from partscope.backbones import Backbone
from partscope.dataset import PartDataset
from partscope.detectors import LinearDetector, PartDetector
from partscope.errors import BackboneError, ImageError, ModelFileError, OptionError, PartscopeWarning
from partscope.linear import SHRINKAGES, collection

# Pictures are few here, and animals that face the same way show one eye only.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*are fewer than the"),
    pytest.mark.filterwarnings("ignore:.*will never be found"),
]

SIDE = 48


def small_backbone(seed: int = 0) -> Backbone:
    network = nn.Sequential(
        nn.Conv2d(3, 16, 5, stride=2, padding=2),
        nn.ReLU(inplace=True),
        nn.Conv2d(16, 24, 5, stride=2, padding=2),
        nn.ReLU(),
    )
    return backbone_of(seeded(network, seed).eval(), "3", SIDE)


def unfitted(**options: object) -> LinearDetector:
    settings = {"layers": ["0", "3"], "context": ["3"], "arrangement": "none", "flips": False, **options}
    return LinearDetector(backbone=small_backbone(), **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("drawn"), 48)


@pytest.fixture(scope="module")
def detector(data: PartDataset) -> LinearDetector:
    return unfitted().fit(data[:36])


def error(detector: PartDetector, data: PartDataset) -> float:
    found = detector.predict(data)
    distance = (
        np.linalg.norm(found.points - data.points, axis=2)
        / np.linalg.norm(data.boxes[:, 2:], axis=1)[:, None]
    )
    return float(np.nanmean(distance))


def test_parts_are_found_far_better_than_by_the_prior(detector: LinearDetector, data: PartDataset) -> None:
    prior = PartDetector("prior").fit(data[:36])
    assert error(detector, data[36:]) < 0.5 * error(prior, data[36:])
    found = detector.predict(data[36:])
    assert found.parts == PARTS
    assert ((found.score >= 0) & (found.score <= 1)).all()
    assert detector.shrinkage_ == min(detector.shrinkage_errors_, key=detector.shrinkage_errors_.get)  # type: ignore[arg-type]
    assert set(detector.shrinkage_errors_) == set(SHRINKAGES)


def test_the_same_images_give_the_same_bytes(
    detector: LinearDetector, data: PartDataset, tmp_path: Path
) -> None:
    detector.save(tmp_path / "one")
    unfitted().fit(data[:36]).save(tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_loaded_detector_predicts_the_same_and_goes_on_learning(
    detector: LinearDetector, data: PartDataset, tmp_path: Path
) -> None:
    detector.save(tmp_path / "model")
    loaded = PartDetector.load(tmp_path / "model", backbone=small_backbone())
    assert isinstance(loaded, LinearDetector)
    np.testing.assert_array_equal(loaded.predict(data[36:]).points, detector.predict(data[36:]).points)
    loaded.partial_fit(data[36:])
    assert loaded.train_ids_ == data.ids
    with pytest.raises(ModelFileError, match="another backbone"):
        PartDetector.load(tmp_path / "model", backbone=small_backbone(seed=1))


def test_images_added_later_count_as_if_they_had_been_there(data: PartDataset) -> None:
    whole = unfitted(shrinkage=0.3).fit(data[:36])
    grown = unfitted(shrinkage=0.3).fit(data[:20]).partial_fit(data[20:36])
    np.testing.assert_allclose(grown.predict(data[36:]).points, whole.predict(data[36:]).points, atol=0.01)
    np.testing.assert_allclose(grown.prior_.to_arrays()["image"], whole.prior_.to_arrays()["image"])
    with pytest.raises(OptionError, match="already learned from"):
        grown.partial_fit(data[:1])


def test_images_forgotten_count_as_if_they_had_never_been_there(data: PartDataset) -> None:
    small = unfitted(shrinkage=0.3, flips=True).fit(data[:20])
    shrunk = unfitted(shrinkage=0.3, flips=True).fit(data[:30]).forget(data[20:30])
    assert shrunk.train_ids_ == small.train_ids_
    np.testing.assert_allclose(shrunk.predict(data[36:]).points, small.predict(data[36:]).points, atol=0.01)
    with pytest.raises(OptionError, match="never learned from"):
        shrunk.forget(data[40:41])
    with pytest.raises(OptionError, match="no image would be left"):
        shrunk.forget(data[:20])


def test_shards_are_merged_to_what_one_run_gives(data: PartDataset) -> None:
    whole = unfitted(shrinkage=0.3).fit(data[:36])
    shards = [unfitted(shrinkage=0.3).fit(data[i : i + 12]) for i in (0, 12, 24)]
    merged = shards[0].merge(*shards[1:])
    np.testing.assert_allclose(merged.predict(data[36:]).points, whole.predict(data[36:]).points, atol=0.01)
    with pytest.raises(OptionError, match="can be merged"):
        merged.merge(unfitted(shrinkage=0.3, reach=0.3).fit(data[36:40]))
    with pytest.raises(OptionError, match="already learned from"):
        merged.merge(whole)


def test_with_the_arrangement_held_out_evidence_is_used(data: PartDataset, tmp_path: Path) -> None:
    arranged = unfitted(arrangement="exemplars", shrinkage=0.3).fit(data[:24])
    assert arranged.arrangement_ is not None
    assert arranged.record_.held.all()
    assert error(arranged, data[36:]) < 0.5 * error(PartDetector("prior").fit(data[:24]), data[36:])
    arranged.save(tmp_path / "model")
    loaded = PartDetector.load(tmp_path / "model", backbone=small_backbone())
    np.testing.assert_array_equal(loaded.predict(data[36:40]).points, arranged.predict(data[36:40]).points)
    arranged.partial_fit(data[24:30])
    assert len(arranged.record_) == 30


def test_held_out_evidence_is_that_of_a_detector_without_the_image(data: PartDataset) -> None:
    """With two folds of the images at even and odd places, each fold's maps come from the other alone."""
    few = unfitted(shrinkage=0.3).fit(data[:2])
    other = unfitted(shrinkage=0.3).fit(data[1:2])
    maps, _ = other.evidence(Image.open(data[0].image).convert("RGB"))
    np.testing.assert_allclose(few.record_.evidence[0], maps, rtol=0.02, atol=0.02)


def test_features_that_do_not_fit_into_memory_are_kept_of_evenly_spaced_images(data: PartDataset) -> None:
    each = 2 * (16 * 24**2 + 24 * 12**2)
    some = unfitted(memory=12 * each).fit(data[:36])
    assert 4 <= some.record_.held.sum() <= 12
    assert some.shrinkage_errors_
    none = unfitted(memory=0).fit(data[:36])
    assert not none.record_.held.any()
    assert none.shrinkage_ == 0.3


@pytest.mark.parametrize("region", ["mask", "crop"])
def test_with_a_box_no_part_is_put_outside_it(data: PartDataset, region: str) -> None:
    boxed = unfitted(region=region, shrinkage=0.3).fit(data[:24])
    found = boxed.predict(data[36:])
    low = data[36:].boxes[:, None, :2] - 6  # half a cell of the grid over the picture
    high = data[36:].boxes[:, None, :2] + data[36:].boxes[:, None, 2:] + 6
    inside = (found.points >= low) & (found.points <= high)
    assert inside[found.found].all()
    with pytest.raises(OptionError, match="bounding box"):
        boxed.predict([data[40].image])


def test_flips_teach_what_only_the_mirror_image_shows(data: PartDataset) -> None:
    """Trained on animals that face right, a detector knows the left eye from mirror images alone."""
    facing_right = data[[i for i in range(24) if i % 2 == 0]]
    assert not facing_right.visible[:, PARTS.index("left eye")].any()
    flipped = unfitted(flips=True, shrinkage=0.3).fit(facing_right)
    assert flipped.statistics_.images == 2 * len(facing_right)
    assert flipped.statistics_.shown[PARTS.index("left eye")] == len(facing_right)


def test_a_few_mirror_images_teach_what_mirroring_does(
    data: PartDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As above, with one image in two passed mirrored: the left eye is still learned from the right one."""
    monkeypatch.setattr(collection, "MAPPED_EVERY", 2)
    facing_right = data[[i for i in range(48) if i % 2 == 0]]
    mapped = unfitted(flips="mapped", shrinkage=0.3).fit(facing_right)
    assert mapped.flips_used_ == "mapped"
    assert mapped.statistics_.images == len(facing_right)
    facing_left = data[[i for i in range(48) if i % 2]]
    found = mapped.predict(facing_left)
    eye = PARTS.index("left eye")
    shown = facing_left.visible[:, eye]
    assert shown.any()
    true = unfitted(flips=True, shrinkage=0.3).fit(facing_right)
    maps = [
        detector.evidence(Image.open(facing_left.samples[0].image))[0][eye] for detector in (mapped, true)
    ]
    assert np.corrcoef(maps[0].ravel(), maps[1].ravel())[0, 1] > 0.8
    assert np.isnan(found.points[:, eye]).all()  # no marked image shows it: it is never said to be found


def test_images_added_removed_and_merged_keep_the_features_at_their_parts(
    data: PartDataset, tmp_path: Path
) -> None:
    options = {"arrangement": "exemplars", "shrinkage": 0.3, "flips": True}
    whole = unfitted(**options).fit(data[:24])
    assert whole.record_.features.shape == (24, len(PARTS), 40)
    assert np.isfinite(whole.record_.features).all()
    grown = unfitted(**options).fit(data[:16]).partial_fit(data[16:24])
    assert grown.record_.features.shape == whole.record_.features.shape
    assert np.isfinite(grown.record_.features).all()
    assert len(grown.forget(data[:8]).record_.features) == 16
    shards = [unfitted(**options).fit(data[:12]), unfitted(**options).fit(data[12:24])]
    merged = shards[0].merge(shards[1])
    assert np.isfinite(merged.record_.features).all()
    assert error(merged, data[24:]) < 1.3 * error(whole, data[24:])
    merged.save(tmp_path / "merged.partscope")
    loaded = PartDetector.load(tmp_path / "merged.partscope", small_backbone())
    np.testing.assert_array_equal(loaded.predict(data[24:28]).points, merged.predict(data[24:28]).points)


def test_several_scales_are_learned_from_saved_and_not_merged_with_one(
    data: PartDataset, detector: LinearDetector, tmp_path: Path
) -> None:
    several = unfitted(scales=(0.7, 1.0)).fit(data[:36])
    assert error(several, data[36:]) < 1.3 * error(detector, data[36:])
    several.save(tmp_path / "several.partscope")
    loaded = PartDetector.load(tmp_path / "several.partscope", small_backbone())
    found, again = several.predict(data[36:40]), loaded.predict(data[36:40])
    np.testing.assert_array_equal(again.points, found.points)
    assert np.abs(found.points - detector.predict(data[36:40]).points).max() > 0
    with pytest.raises(OptionError, match="same network"):
        unfitted().fit(data[36:42]).merge(several)


def test_strongest_channels_name_channels_of_the_layers(detector: LinearDetector) -> None:
    strongest = detector.strongest_channels("beak", 5)
    assert len(strongest) == 5
    magnitudes = [abs(strength) for _, _, strength in strongest]
    assert magnitudes == sorted(magnitudes, reverse=True)
    assert all(channel < {"0": 16, "3": 24}[layer] for layer, channel, _ in strongest)
    with pytest.raises(OptionError, match="no part 'wing'"):
        detector.strongest_channels("wing")
    with pytest.raises(OptionError, match="at least 1"):
        detector.strongest_channels("beak", 0)


def test_one_image_and_fewer_images_than_parts_are_enough_to_start(data: PartDataset) -> None:
    with pytest.warns(PartscopeWarning, match="1 training images are fewer than the 5 parts"):
        single = unfitted(arrangement="exemplars").fit(data[:1])
    assert single.arrangement_ is None
    assert single.shrinkage_errors_ == {}
    found = single.predict(data[36:38])
    np.testing.assert_array_equal(found.found, np.tile(data[0].visible, (2, 1)))


def test_constant_features_are_refused(data: PartDataset) -> None:
    backbone = small_backbone()
    with torch.no_grad():
        for parameter in backbone.network.parameters():
            parameter.zero_()
    with pytest.raises(BackboneError, match="same in every cell"):
        LinearDetector(backbone, shrinkage=0.3).fit(data[:4])


def test_an_image_that_cannot_be_read_is_skipped_on_request(data: PartDataset, tmp_path: Path) -> None:
    own = drawn_dataset(tmp_path, 8)
    own[3].image.write_bytes(b"nothing")
    with pytest.raises(ImageError, match=own[3].image.name):
        unfitted().fit(own)
    with pytest.warns(PartscopeWarning, match="1 of 8 training images"):
        fitted = unfitted().fit(own, on_error="skip")
    assert [item.id for item in fitted.skipped_] == [own[3].id]
    assert own[3].id not in fitted.train_ids_
    assert fitted.statistics_.images == 7


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"shrinkage": -1.0}, "shrinkage"),
        ({"shrinkage": "some"}, "shrinkage"),
        ({"flips": "sometimes"}, "flips"),
        ({"arrangement": "star"}, "arrangement"),
        ({"memory": -1}, "memory"),
        ({"region": "moon"}, "region"),
        ({"shrinkage": True}, "shrinkage"),
        ({"layers": ["17"], "context": None}, "no layer '17'"),
        ({"layers": "3"}, "layers must be a list of names"),
        ({"layers": []}, "one or more layers"),
        ({"layers": [3]}, "layers must be a list of names"),
        ({"context": "3"}, "context must be a list of names"),
        ({"reach": "far"}, "reach"),
        ({"scales": 0.75}, "scales"),
        ({"scales": ["half"]}, "scales"),
    ],
)
def test_wrong_options_are_refused(data: PartDataset, options: dict[str, object], says: str) -> None:
    with pytest.raises((OptionError, BackboneError), match=says):
        unfitted(**options).fit(data[:2])


def test_numbers_of_numpy_are_numbers(data: PartDataset) -> None:
    options = {"shrinkage": np.float32(0.5), "memory": np.int64(0), "scales": [np.float64(1.0)]}
    assert unfitted(**options).fit(data[:4]).shrinkage_ == 0.5


def test_expected_errors_are_those_of_the_arrangement(data: PartDataset) -> None:
    detector = unfitted(arrangement="exemplars").fit(data[:36])
    found = detector.predict(data[36:])
    assert found.expected_error is not None
    assert (np.isfinite(found.expected_error) == found.found).all()
    assert detector.arrangement_ is not None
    with Image.open(data[36].image) as image:
        maps, seen = detector.evidence(image.convert("RGB"))
    wanted = detector.arrangement_.infer(maps, seen.extent).expected_error
    np.testing.assert_allclose(found.expected_error[0][found.found[0]], wanted[found.found[0]])
    assert np.isfinite(found.doubt).all()
    assert unfitted().fit(data[:10]).predict(data[36:38]).expected_error is None


def test_boxes_are_predicted_without_the_box_alone(data: PartDataset, tmp_path: Path) -> None:
    detector = unfitted(arrangement="exemplars").fit(data[:36])
    found = detector.predict(data[36:])
    assert found.boxes is not None
    low, high = found.boxes[:, :2], found.boxes[:, :2] + found.boxes[:, 2:]
    truth_low, truth_high = data.boxes[36:, :2], data.boxes[36:, :2] + data.boxes[36:, 2:]
    common = np.clip(np.minimum(high, truth_high) - np.maximum(low, truth_low), 0, None).prod(axis=1)
    union = (high - low).prod(axis=1) + (truth_high - truth_low).prod(axis=1) - common
    assert np.mean(common / union) > 0.5
    detector.save(tmp_path / "model")
    loaded = PartDetector.load(tmp_path / "model", backbone=small_backbone())
    np.testing.assert_array_equal(loaded.predict(data[36:]).boxes, found.boxes)
    assert unfitted(arrangement="exemplars", region="crop").fit(data[:12]).predict(data[36:38]).boxes is None
    bare = dataclasses.replace(
        data[:36], samples=tuple(dataclasses.replace(sample, box=None) for sample in data[:36])
    )
    assert unfitted(arrangement="exemplars").fit(bare).predict(data[36:38]).boxes is None
