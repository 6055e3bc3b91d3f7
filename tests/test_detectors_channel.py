"""The paper's detector on drawn animals, with a network whose channels are colours: what it must find is known."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
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
from drawn import PARTS, drawn_dataset
from partscope.backbones import NETWORKS, Backbone, Preprocessing
from partscope.backbones.registry import NetworkEntry
from partscope.centres import concentration, find_centres
from partscope.channel_centres import CentreSpec, channel_centres
from partscope.dataset import PartDataset
from partscope.detectors import ChannelDetector, PartDetector
from partscope.errors import (
    BackboneError,
    DatasetError,
    ImageError,
    ModelFileError,
    OptionError,
    PartscopeWarning,
    ScanError,
)
from partscope.images import load_image
from partscope.maps import gradient_maps
from partscope.selection import rank_channels
from partscope.shortlist import shortlist_channels
from partscope.synthetic import write_synthetic_birds

pytestmark = pytest.mark.filterwarnings("ignore:.*will never be found")

SIDE = 48
#: Channels of the network: where a picture is red (the head), yellow (the tail), white (the beak), blue (the body),
#: anything (everywhere), and never.
RED, YELLOW, WHITE, BLUE, ANY, DEAD = range(6)


def colour_network() -> nn.Sequential:
    network = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(inplace=True))
    rows = [(1, -1, -1), (0.5, 0.5, -1), (0.4, 0.3, 0.3), (-1, -1, 1), (0.1, 0.1, 0.1), (0, 0, 0)]
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor(rows)[:, :, None, None])
        network[0].bias.copy_(torch.tensor([-0.2, -0.4, -0.85, -0.2, 0.1, -1.0]))
    return network


def colours(**options: Any) -> Backbone:
    return Backbone(
        colour_network(), "1", Preprocessing(SIDE, (0, 0, 0), (1, 1, 1)), name="colours", **options
    )


def quick(**options: Any) -> ChannelDetector:
    """A detector with the cheapest centre, for what does not depend on it."""
    return ChannelDetector(colours(), **{"centre": "maximum", **options})


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("train"), 10)


@pytest.fixture(scope="module")
def test(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("test"), 6, seed=9)


@pytest.fixture(scope="module")
def detector(train: PartDataset) -> ChannelDetector:
    return ChannelDetector(colours()).fit(train)


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


# -- the search --------------------------------------------------------------------------------------------------------------------
def test_a_large_shortlist_is_the_exhaustive_search(train: PartDataset, test: PartDataset) -> None:
    whole = quick(search="exhaustive").fit(train)
    listed = quick(search="shortlist", shortlist=6).fit(train)
    assert whole.ranking_.channels.tolist() == listed.ranking_.channels.tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(whole.ranking_.cost, listed.ranking_.cost)
    assert whole.channels_ == listed.channels_
    np.testing.assert_array_equal(whole.predict(test).points, listed.predict(test).points)
    # The dead channel has no centre anywhere and does not win for it.
    assert (whole.ranking_.missing[:, DEAD] == whole.ranking_.images).all()


@pytest.mark.parametrize("search", ["bounded", "racing"])
def test_searches_that_drop_channels_find_the_same(
    train: PartDataset, test: PartDataset, tmp_path: Path, search: str
) -> None:
    whole = quick(search="exhaustive").fit(train)
    found = quick(search=search, top=2, delta=0.01).fit(train)
    assert found.channels_ == whole.channels_
    assert whole.search_ is None
    assert found.search_ is not None
    assert (found.search_.method, found.search_.top, found.search_.exhaustive_maps) == (search, 2, 60)
    assert found.search_.delta == (0.01 if search == "racing" else None)
    assert found.search_.silent >= 10, "the dead channel costs nothing"
    assert found.search_.maps <= 60 - found.search_.silent
    expected = {row["channel"]: row for row in whole.ranking_.top("tail", 6)}
    for row in found.ranking_.top("tail", 6):
        there = expected[row["channel"]]
        if row["complete"]:
            assert row["cost"] == pytest.approx(there["cost"], rel=1e-5)
        else:
            assert row["cost"] <= there["cost"]
    found.save(tmp_path / "model")
    again = PartDetector.load(tmp_path / "model", backbone=colours())
    np.testing.assert_array_equal(again.ranking_.order, found.ranking_.order)
    np.testing.assert_array_equal(again.ranking_.exact, found.ranking_.exact)
    assert again.search_ is None
    np.testing.assert_allclose(again.predict(test).points, whole.predict(test).points, rtol=1e-6)


def test_gradients_are_computed_for_the_shortlist_alone(
    train: PartDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    differentiate, computed = partscope.maps._gradients, set()

    def noted(activations: torch.Tensor, image: torch.Tensor, channels: list[int]) -> torch.Tensor:
        computed.update(channels)
        return differentiate(activations, image, channels)

    monkeypatch.setattr(partscope.maps, "_gradients", noted)
    detector = quick(shortlist=1).fit(train)
    expected = shortlist_channels(train, colours(), 1).tolist()
    assert len(expected) < 6
    assert sorted(computed) == expected == detector.ranking_.channels.tolist()


@pytest.mark.parametrize(("rule", "normalise"), [("squared", "none"), ("mean", "image"), ("median", "box")])
def test_rule_and_normaliser_reach_the_ranking(train: PartDataset, rule: str, normalise: str) -> None:
    detector = ChannelDetector(
        colours(), rule=rule, normalise=normalise, search="exhaustive", centre="maximum"
    ).fit(train)
    scanned = partscope.scan.scan(train, colours(), [CentreSpec(centre="maximum")])
    expected = rank_channels(scanned.centres[:, 0], train, rule=rule, normalise=normalise)
    np.testing.assert_array_equal(detector.ranking_.cost, expected.cost)


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


# -- bad images ----------------------------------------------------------------------------------------------------------------------
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


# -- scan folders ------------------------------------------------------------------------------------------------------------------
class Killed(BaseException):
    pass


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    names: list[str] = []
    compute = partscope.scan._centres_of

    def noted(sample: Any, *args: Any) -> Any:
        if len(names) == limit[0]:
            raise Killed
        names.append(sample.id)
        return compute(sample, *args)

    monkeypatch.setattr(partscope.scan, "_centres_of", noted)
    return names


limit = [10**9]


@pytest.fixture(autouse=True)
def _no_limit() -> Iterator[None]:
    yield
    limit[0] = 10**9


@pytest.mark.parametrize("killed_after", [3, 8, 15])
def test_a_killed_fit_is_continued(
    train: PartDataset, tmp_path: Path, computed: list[str], killed_after: int
) -> None:
    quick().fit(train).save(tmp_path / "expected")
    computed.clear()
    limit[0] = killed_after
    detector = quick(scan_folder=tmp_path / "scan")
    with pytest.raises(Killed):
        detector.fit(train)
    computed.clear()
    limit[0] = 10**9
    detector.fit(train)
    # Blocks of 8 images, first of the shortlist, then of the gradients: finished ones are not computed again.
    assert len(computed) == {3: 20, 8: 12, 15: 10}[killed_after]
    detector.set_params(scan_folder=None).save(tmp_path / "found")
    assert (tmp_path / "found").read_bytes() == (tmp_path / "expected").read_bytes()


def test_a_scan_folder_is_kept_to_one_scan(train: PartDataset, tmp_path: Path) -> None:
    quick(scan_folder=tmp_path).fit(train)
    with pytest.raises(ScanError, match="differs in centres"):
        quick(scan_folder=tmp_path, centre="centroid").fit(train)
    with pytest.raises(ScanError, match="differs in data set"):
        quick(scan_folder=tmp_path).fit(train[:4])
    # Rules of selection are applied afterwards.
    quick(scan_folder=tmp_path, search="shortlist", shortlist=4, rule="squared").fit(train)


# -- model files --------------------------------------------------------------------------------------------------------------------
def test_an_own_network_is_not_saved_and_its_content_is_checked(
    detector: ChannelDetector, test: PartDataset, tmp_path: Path
) -> None:
    file = tmp_path / "model"
    detector.save(file)
    with pytest.raises(ModelFileError, match=r"model: .*own network \(colours\).*load\(path, backbone=…\)"):
        PartDetector.load(file)
    network = colour_network()
    with torch.no_grad():
        network[0].bias[0] += 1e-6
    wrong = {
        "weights": Backbone(network, "1", colours().preprocessing),
        "layer": Backbone(colour_network(), "0", colours().preprocessing),
        "size": Backbone(colour_network(), "1", colours().preprocessing.with_size(64)),
    }
    for backbone in wrong.values():
        with pytest.raises(
            ModelFileError, match=r"model: .*made with another backbone than own.*content hash"
        ):
            PartDetector.load(file, backbone=backbone)
    loaded = PartDetector.load(file, backbone=colours())
    assert isinstance(loaded, ChannelDetector)
    assert loaded.channels_ == detector.channels_
    assert loaded.spec_ == detector.spec_
    assert loaded.train_ids_ == detector.train_ids_
    for name in ("channels", "cost", "order", "missing", "images"):
        np.testing.assert_array_equal(getattr(loaded.ranking_, name), getattr(detector.ranking_, name))
    expected, found = detector.predict(test), loaded.predict(test)
    np.testing.assert_array_equal(found.points, expected.points)
    np.testing.assert_array_equal(found.score, expected.score)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == file.read_bytes()


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> tuple[nn.Module, dict[str, torch.Tensor]]:
        return colour_network(), colour_network().state_dict()

    entry = NetworkEntry(build, "1", colours().preprocessing, "for tests", cut=0.8)
    monkeypatch.setitem(NETWORKS, "colours", entry)


@pytest.mark.usefixtures("registered")
def test_a_network_of_the_registry_is_made_again(
    train: PartDataset, test: PartDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = ChannelDetector("colours", input_size=64, centre="maximum").fit(train)
    assert (detector.backbone_.name, detector.backbone_.input_size, detector.spec_.quantile) == (
        "colours",
        64,
        0.8,
    )
    detector.save(tmp_path / "model")
    np.testing.assert_array_equal(
        PartDetector.load(tmp_path / "model").predict(test).points, detector.predict(test).points
    )
    # Another version's defaults do not change a model that was fitted with these.
    monkeypatch.setitem(NETWORKS, "colours", dataclasses.replace(NETWORKS["colours"], layer="0", cut=0.5))
    loaded = PartDetector.load(tmp_path / "model")
    assert (loaded.backbone_.layer, loaded.spec_.quantile) == ("1", 0.8)
    np.testing.assert_array_equal(loaded.predict(test).points, detector.predict(test).points)
    # Another version's weights do.
    monkeypatch.setitem(
        NETWORKS,
        "colours",
        dataclasses.replace(
            NETWORKS["colours"],
            build=lambda: (colour_network(), nn.Sequential(nn.Conv2d(3, 6, 1)).state_dict()),
        ),
    )
    with pytest.raises(ModelFileError, match="made with another backbone than colours"):
        PartDetector.load(tmp_path / "model")
    monkeypatch.delitem(NETWORKS, "colours")
    with pytest.raises(
        BackboneError, match=r"model: the model's backbone cannot be made again: .*no backbone 'colours'"
    ):
        PartDetector.load(tmp_path / "model")


@pytest.mark.usefixtures("registered")
def test_a_model_of_the_registry_takes_the_same_network_as_an_object(
    train: PartDataset, tmp_path: Path
) -> None:
    ChannelDetector("colours", input_size=64, layer="1", centre="maximum").fit(train).save(tmp_path / "model")
    backbone = Backbone(colour_network(), "1", colours().preprocessing.with_size(64))
    loaded = PartDetector.load(tmp_path / "model", backbone=backbone)
    assert loaded.backbone_ is backbone
    clone(loaded).fit(train)  # its parameters fit together


def test_weights_of_a_hub_are_announced_before_they_are_fetched(
    train: PartDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(name: str, *, pretrained: bool) -> tuple[nn.Module, Preprocessing]:
        fetched.append((name, pretrained))
        return colour_network(), colours().preprocessing

    fetched: list[tuple[str, bool]] = []
    monkeypatch.setattr("partscope.backbones.registry.timm_network", fetch)
    ChannelDetector("timm:small", layer="1", centre="maximum").fit(train).save(tmp_path / "model")
    with pytest.warns(PartscopeWarning, match=r"model: the weights of timm:small are fetched .*backbone=…"):
        PartDetector.load(tmp_path / "model")
    assert fetched == [("small", True)] * 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        PartDetector.load(tmp_path / "model", backbone=colours())
    assert len(fetched) == 2, "a network that is given is not fetched"


def test_weights_of_a_file_are_looked_for_where_they_were(
    train: PartDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = NetworkEntry(lambda: (colour_network(), None), "1", colours().preprocessing, "for tests")
    monkeypatch.setitem(NETWORKS, "colours", entry)
    torch.save(colour_network().state_dict(), tmp_path / "w.pt")
    ChannelDetector("colours", weights=tmp_path / "w.pt", centre="maximum").fit(train).save(
        tmp_path / "model"
    )
    assert PartDetector.load(tmp_path / "model").backbone_.weights == str((tmp_path / "w.pt").resolve())
    (tmp_path / "w.pt").unlink()
    with pytest.raises(
        BackboneError, match=r"model: .*cannot be made again: .*w\.pt: there is no such weights file"
    ):
        PartDetector.load(tmp_path / "model")
    assert isinstance(PartDetector.load(tmp_path / "model", backbone=colours()), ChannelDetector)


@pytest.mark.parametrize("numbers", [[0, 99, 2], [-1, 1, 2], []])
def test_a_model_of_channels_that_do_not_exist_is_refused(
    train: PartDataset, tmp_path: Path, numbers: list[int]
) -> None:
    detector = quick().fit(train)
    columns = len(numbers)
    detector.ranking_ = dataclasses.replace(
        detector.ranking_,
        channels=np.array(numbers, dtype=np.int64),
        cost=np.ones((5, columns)),
        missing=np.zeros((5, columns), dtype=np.int64),
    )
    detector.save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="names channels that the layer does not have"):
        PartDetector.load(tmp_path / "model", backbone=colours())


# -- what a figure asks for --------------------------------------------------------------------------------------------------------
def test_the_maps_of_the_parts(detector: ChannelDetector, test: PartDataset) -> None:
    image = Image.open(test[0].image).convert("RGB")
    channels, maps, seen = detector.part_maps(image)
    assert channels == [RED, YELLOW, WHITE]
    assert maps.shape == (3, SIDE, SIDE)
    torch.testing.assert_close(maps, gradient_maps(detector.backbone_, seen.inputs, channels))
