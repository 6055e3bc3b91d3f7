"""The paper's detector on drawn animals, with a network whose channels are colours: what it must find is known."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from torch import nn

import partscope.maps
import partscope.scan
from colour_network import RED, SIDE, WHITE, YELLOW, colours, quick
from drawn import PARTS
from partscope.centres import concentration, find_centres
from partscope.channel_centres import CentreSpec, channel_centres
from partscope.dataset import PartDataset
from partscope.detectors import ChannelDetector, PartDetector
from partscope.errors import BackboneError, DatasetError, OptionError, PartscopeWarning
from partscope.images import load_image
from partscope.maps import gradient_maps
from partscope.selection import rank_channels
from partscope.synthetic import write_synthetic_birds

pytestmark = pytest.mark.filterwarnings("ignore:.*will never be found")


# -- fit and predict ----------------------------------------------------------------------------------------------------------------
def test_each_part_gets_the_channel_of_its_colour(detector: ChannelDetector, train: PartDataset) -> None:
    expected = {"beak": WHITE, "left eye": RED, "right eye": RED, "tail": YELLOW, "crest": RED}
    assert detector.channels_ == expected
    assert detector.parts_ == PARTS
    assert detector.train_ids_ == train.ids
    assert detector.skipped_ == ()
    assert detector.ranking_.best.tolist() == [expected[part] for part in PARTS]


@pytest.mark.parametrize("centre", ["mixture", "maximum", "smoothed", "centroid"])
@pytest.mark.parametrize("region", ["image", "mask", "crop"])
def test_parts_are_found_on_new_images(
    train: PartDataset, test: PartDataset, centre: str, region: str
) -> None:
    detector = ChannelDetector(colours(), centre=centre, region=region, quantile=0.8).fit(train)
    found = detector.predict(test)
    assert found.ids == test.ids
    assert found.found.all()
    result = detector.evaluate(test, predictions=found)
    assert result.error < 0.12
    assert result.skill > 0.3
    assert result.coverage == 1.0


def test_a_prediction_is_the_chain_written_out(detector: ChannelDetector, test: PartDataset) -> None:
    found = detector.predict(test)
    for i, sample in enumerate(test):
        image = load_image(sample.image)
        for p, part in enumerate(PARTS):
            channel = detector.channels_[part]
            inputs = detector.backbone_.preprocessing(image)
            maps = gradient_maps(detector.backbone_, inputs, [channel])
            point = find_centres(maps, "mixture", quantile=0.9).points
            expected = point[0].double().numpy() * (image.width / SIDE, image.height / SIDE)
            np.testing.assert_allclose(found.points[i, p], expected, rtol=1e-5)
            assert found.score[i, p] == pytest.approx(float(concentration(maps, point)), abs=1e-5)
            assert found.visible[i, p]
            again = channel_centres(detector.backbone_, image, [CentreSpec()], channels=[channel])
            np.testing.assert_allclose(found.points[i, p], again[0, 0], rtol=1e-5)


def test_the_ranking_is_that_of_a_scan(detector: ChannelDetector, train: PartDataset) -> None:
    scanned = partscope.scan.scan(train, colours(), channels=detector.ranking_.channels.tolist())
    expected = rank_channels(scanned.of(CentreSpec()), train, channels=detector.ranking_.channels)
    np.testing.assert_array_equal(detector.ranking_.cost, expected.cost)
    np.testing.assert_array_equal(detector.ranking_.missing, expected.missing)


def test_predict_computes_the_selected_channels_alone(
    detector: ChannelDetector, test: PartDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    differentiate, computed = partscope.maps._gradients, []

    def noted(activations: torch.Tensor, image: torch.Tensor, channels: list[int]) -> torch.Tensor:
        computed.extend(channels)
        return differentiate(activations, image, channels)

    monkeypatch.setattr(partscope.maps, "_gradients", noted)
    detector.predict(test[:3])
    # Three parts share the red channel: it is computed once an image.
    assert computed == [RED, YELLOW, WHITE] * 3


def test_a_part_whose_channel_has_no_centre_is_not_found(detector: ChannelDetector) -> None:
    picture = np.zeros((40, 60, 3), dtype=np.uint8)
    picture[20:30, 10:20] = (200, 40, 40)
    found = detector.predict([picture, np.zeros((40, 60, 3), dtype=np.uint8)])
    assert dict(zip(PARTS, found.found[0].tolist(), strict=True)) == {
        "beak": False,
        "left eye": True,
        "right eye": True,
        "tail": False,
        "crest": True,
    }
    np.testing.assert_allclose(found.points[0, 1], (15, 25), atol=1)
    assert found.score[0, 1] == pytest.approx(1, abs=0.05)
    assert found.score[0, 0] == 0
    assert not found.found[1].any()
    assert not found.visible[1].any()
    assert np.isnan(found.points[1]).all()


def test_the_same_images_give_the_same_detector(train: PartDataset, tmp_path: Path) -> None:
    for name in ("a", "b"):
        ChannelDetector(colours()).fit(train).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


# -- regions and boxes ------------------------------------------------------------------------------------------------------------
def without_boxes(data: PartDataset) -> PartDataset:
    return dataclasses.replace(data, samples=tuple(sample.with_box(None) for sample in data))


def test_the_image_region_uses_nothing_about_the_box_but_to_normalise(
    detector: ChannelDetector, train: PartDataset, test: PartDataset
) -> None:
    np.testing.assert_array_equal(detector.predict(test).points, detector.predict(without_boxes(test)).points)
    bare = quick(normalise="image").fit(without_boxes(train))
    boxed = quick(normalise="image").fit(train)
    np.testing.assert_array_equal(bare.ranking_.cost, boxed.ranking_.cost)
    assert quick().fit(without_boxes(train)).channels_ == detector.channels_
    with pytest.warns(PartscopeWarning, match="boxes are not used"):
        detector.predict([test[0].image], [test[0].box])


@pytest.mark.parametrize("region", ["mask", "crop"])
def test_a_region_that_needs_the_box_says_so(train: PartDataset, test: PartDataset, region: str) -> None:
    with pytest.raises(DatasetError, match="no bounding box, which this method needs"):
        quick(region=region).fit(without_boxes(train))
    detector = quick(region=region).fit(train)
    assert detector.needs_box
    with pytest.raises(OptionError, match="searches the bounding box, and this image has none"):
        detector.predict([sample.image for sample in test])
    found = detector.predict([sample.image for sample in test], test.boxes)
    np.testing.assert_array_equal(found.points, detector.predict(test).points)
    for points, box in zip(found.points, test.boxes, strict=True):
        assert (points >= box[:2] - 1e-6).all()
        assert (points <= box[:2] + box[2:] + 1e-6).all()
    with pytest.warns(PartscopeWarning, match="1 of 1 bounding boxes reached over"):
        clipped = detector.predict([test[0].image], [(-10, -10, 1000, 1000)])
    width, height = test[0].size
    np.testing.assert_allclose(
        clipped.points, detector.predict([test[0].image], [(0, 0, width, height)]).points
    )


def test_images_without_a_box_can_be_left_out_of_the_fit(train: PartDataset) -> None:
    samples = tuple(s.with_box(None) if i in (2, 5) else s for i, s in enumerate(train))
    with pytest.warns(PartscopeWarning, match="2 of 10 training images were left out"):
        detector = quick(region="crop").fit(dataclasses.replace(train, samples=samples), on_error="skip")
    assert [item.id for item in detector.skipped_] == [train.ids[2], train.ids[5]]
    assert len(detector.train_ids_) == 8


# -- other data ---------------------------------------------------------------------------------------------------------------------
def test_parts_are_matched_by_name(detector: ChannelDetector, test: PartDataset) -> None:
    turned = test.with_parts(["tail", "beak"])
    result = detector.evaluate(turned)
    whole = detector.evaluate(test)
    assert result.parts == ("tail", "beak")
    np.testing.assert_allclose(result.errors, whole.errors[:, [3, 0]])


def test_classes_of_fit_and_test_may_be_disjoint(tmp_path: Path) -> None:
    birds = write_synthetic_birds(tmp_path, images=12, classes=4, size=72)
    seen = [i for i, label in enumerate(birds.labels) if label is not None and label[:3] in ("001", "002")]
    rest = [i for i in range(len(birds)) if i not in seen]
    detector = quick(search="exhaustive").fit(birds[seen])
    result = detector.evaluate(birds[rest])
    assert set(birds[seen].labels).isdisjoint(birds[rest].labels)
    assert len(result.ids) == len(rest)
    assert np.isfinite(result.error)
    row = result.row()
    assert (row["method"], row["backbone"], row["layer"], row["input_size"]) == (
        "channel",
        "colours",
        "1",
        SIDE,
    )
    assert (row["centre"], row["region"]) == ("maximum", "image")


# -- scikit-learn's conventions -----------------------------------------------------------------------------------------------------
def test_it_is_an_estimator(train: PartDataset) -> None:
    backbone = colours()
    detector = PartDetector("channel", backbone=backbone, centre="maximum", shortlist=3)
    assert isinstance(detector, ChannelDetector)
    assert vars(detector) == detector.get_params(deep=False)  # nothing is computed before fit
    params = detector.get_params()
    assert params["centre"] == "maximum"
    assert params["backbone"] is backbone
    copy = clone(detector)
    assert copy.get_params()["shortlist"] == 3
    assert copy.backbone.content_hash == backbone.content_hash
    assert copy.set_params(centre="centroid") is copy
    assert (copy.centre, detector.centre) == ("centroid", "maximum")
    with pytest.raises(NotFittedError):
        detector.predict(train)
    with pytest.raises(NotFittedError):
        detector.save("nowhere")
    assert detector.fit(train) is detector
    assert clone(detector).get_params()["centre"] == "maximum"
    with pytest.raises(NotFittedError):
        clone(detector).predict(train)


def test_a_second_fit_forgets_the_first(train: PartDataset, detector: ChannelDetector) -> None:
    again = quick().fit(train.with_parts(["tail"])).fit(train)
    assert again.channels_ == detector.channels_


def test_the_cut_is_the_backbones_unless_given(train: PartDataset) -> None:
    for cut, given, expected in ((0.9, None, 0.9), (0.7, None, 0.7), (0.7, 0.5, 0.5)):
        detector = ChannelDetector(colours(cut=cut), centre="centroid", quantile=given).fit(train[:3])
        assert detector.spec_ == CentreSpec(centre="centroid", quantile=expected)


@pytest.mark.parametrize(
    ("options", "error", "reason"),
    [
        ({"centre": "mean"}, OptionError, "no centre 'mean'"),
        ({"region": "box"}, OptionError, "one of image, mask, crop, not 'box'"),
        ({"reduction": "sum"}, OptionError, "no colour reduction 'sum'"),
        ({"quantile": 1.5}, OptionError, r"must lie in \[0, 1\), not 1.5"),
        ({"sigma": -1.0}, OptionError, "sigma must be positive"),
        ({"rule": "max"}, OptionError, "rule must be one of squared, mean, median, not 'max'"),
        ({"normalise": "eyes"}, OptionError, "normalise must be one of box, image, none, not 'eyes'"),
        (
            {"search": "random"},
            OptionError,
            "search must be one of shortlist, exhaustive, bounded, racing, not 'random'",
        ),
        ({"search": "racing", "rule": "median"}, OptionError, "racing compares means"),
        ({"search": "racing", "delta": 0}, OptionError, "delta must lie between 0 and 1"),
        ({"search": "bounded", "top": 0}, OptionError, "top must be 1 or more"),
        ({"shortlist": 0}, OptionError, "at least 1 channel per part, not 0"),
        ({"layer": "0"}, OptionError, "layer is given by the Backbone object"),
        ({"input_size": 64}, OptionError, "input_size is given by the Backbone object"),
        ({"weights": "x.pt"}, OptionError, "weights is given by the Backbone object"),
        ({"backbone": nn.Conv2d(3, 4, 1)}, OptionError, r"not Conv2d; wrap a module with Backbone\("),
        ({"backbone": "squeezenet"}, BackboneError, "nearest names: 'squeezenet1_1'"),
    ],
)
def test_wrong_parameters_are_refused_by_fit(
    train: PartDataset, options: dict[str, Any], error: type[Exception], reason: str
) -> None:
    detector = ChannelDetector(**{"backbone": colours(), **options})  # says nothing yet
    with pytest.raises(error, match=reason):
        detector.fit(train)


def test_an_option_that_does_not_exist_is_refused() -> None:
    with pytest.raises(OptionError, match="quantil"):
        PartDetector("channel", quantil=0.5)


# -- what a figure asks for --------------------------------------------------------------------------------------------------------
def test_the_maps_of_the_parts(detector: ChannelDetector, test: PartDataset) -> None:
    image = Image.open(test[0].image).convert("RGB")
    channels, maps, seen = detector.part_maps(image)
    assert channels == [RED, YELLOW, WHITE]
    assert maps.shape == (3, SIDE, SIDE)
    torch.testing.assert_close(maps, gradient_maps(detector.backbone_, seen.inputs, channels))
