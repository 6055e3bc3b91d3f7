"""The channel detector on activations: all channels from one pass, centres written out, files, explanations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import ImageOps

import partscope.maps
from colour_network import ANY, RED, SIDE, WHITE, YELLOW, colours
from drawn import PARTS
from partscope.backbones import Backbone
from partscope.channel_centres import CentreSpec, channel_centres
from partscope.channel_maps import UPSAMPLING
from partscope.cli.fit import unfitted
from partscope.dataset import PartDataset
from partscope.detectors import ChannelDetector, PartDetector
from partscope.errors import OptionError
from partscope.explanation import explain
from partscope.images import load_image

pytestmark = pytest.mark.filterwarnings("ignore:.*will never be found")


@pytest.fixture(scope="module")
def detector(train: PartDataset) -> ChannelDetector:
    return ChannelDetector(colours(), maps="activation").fit(train)


def forward_only(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Refuse gradients, and count the forward passes."""
    passes: list[int] = []
    original = Backbone.activations

    def counted(self: Backbone, inputs: Any) -> Any:
        passes.append(len(inputs))
        return original(self, inputs)

    def refused(*args: object, **options: object) -> None:
        raise AssertionError("a gradient was computed")

    monkeypatch.setattr(Backbone, "activations", counted)
    monkeypatch.setattr(partscope.maps, "_gradients", refused)
    return passes


def test_all_channels_are_compared_in_one_pass_an_image(
    train: PartDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = colours()
    assert backbone.cells.step == (1, 1)  # also measures the grid, which takes passes of its own
    passes = forward_only(monkeypatch)
    fitted = ChannelDetector(backbone, maps="activation", shortlist=1).fit(train)
    assert fitted.ranking_.channels.tolist() == list(range(6))
    assert len(passes) == len(train)
    assert fitted.channels_ == {
        "beak": WHITE,
        "left eye": RED,
        "right eye": RED,
        "tail": YELLOW,
        "crest": RED,
    }
    fitted.predict(train[:2])
    assert len(passes) == len(train) + 2


@pytest.mark.parametrize("maps", ["activation", "upsampled"])
@pytest.mark.parametrize("region", ["image", "mask", "crop"])
def test_parts_are_found(train: PartDataset, test: PartDataset, maps: str, region: str) -> None:
    fitted = ChannelDetector(colours(), maps=maps, region=region).fit(train)
    result = fitted.evaluate(test)
    assert result.coverage == 1
    assert result.error < 0.12
    assert result.skill > 0.3
    assert fitted.spec_ == CentreSpec("centroid", region, quantile=0.0, maps=maps)


def test_a_prediction_is_the_centroid_of_the_squares(detector: ChannelDetector, test: PartDataset) -> None:
    found = detector.predict(test)
    sample = test[0]
    inputs = detector.backbone_.preprocessing(load_image(sample.image))
    values = detector.backbone_.activations(inputs[None])[0].detach().clamp_min(0).double().numpy() ** 2
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    for p, part in enumerate(PARTS):
        own = values[detector.channels_[part]]
        expected = np.array([(own * x).sum(), (own * y).sum()]) / own.sum() / SIDE * sample.size
        np.testing.assert_allclose(found.points[0, p], expected, rtol=1e-4)


def test_centres_move_with_the_mirror(test: PartDataset) -> None:
    image = load_image(test[0].image)
    specs = [
        CentreSpec(centre, quantile=cut, maps=maps)
        for maps in ("activation", "upsampled")
        for centre, cut in (("centroid", 0.0), ("mixture", 0.8), ("maximum", 0.0))
    ]
    here = channel_centres(colours(), image, specs, channels=[RED, YELLOW, ANY])
    there = channel_centres(colours(), ImageOps.mirror(image), specs, channels=[RED, YELLOW, ANY])
    there[..., 0] = image.width - there[..., 0]
    np.testing.assert_allclose(here[:, :2], there[:, :2], atol=0.51 * image.width / SIDE)
    np.testing.assert_allclose(here[0], there[0], atol=0.05)


def test_the_finer_grid_lies_where_the_coarse_one_does(test: PartDataset) -> None:
    image = load_image(test[1].image)
    coarse, fine = (CentreSpec("centroid", quantile=0.0, maps=maps) for maps in ("activation", "upsampled"))
    found = channel_centres(colours(), image, [coarse, fine], channels=[RED])[:, 0]
    assert UPSAMPLING > 1
    np.testing.assert_allclose(found[0], found[1], atol=0.5 * image.width / SIDE)


def test_a_model_file_keeps_the_kind_of_maps(
    detector: ChannelDetector, test: PartDataset, tmp_path: Path
) -> None:
    detector.save(tmp_path / "model.partscope")
    loaded = PartDetector.load(tmp_path / "model.partscope", backbone=colours())
    assert loaded.spec_ == detector.spec_
    np.testing.assert_array_equal(loaded.predict(test).points, detector.predict(test).points)
    assert loaded._info()["centre"] == "activation centroid"


def test_a_file_of_before_is_one_of_gradients(
    train: PartDataset, test: PartDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fitted = ChannelDetector(colours(), centre="maximum").fit(train)
    before = ChannelDetector.get_params

    def without(self: ChannelDetector, deep: bool = True) -> dict[str, Any]:
        return {name: value for name, value in before(self, deep).items() if name != "maps"}

    with monkeypatch.context() as patch:
        patch.setattr(ChannelDetector, "get_params", without)
        fitted.save(tmp_path / "old.partscope")
    loaded = PartDetector.load(tmp_path / "old.partscope", backbone=colours())
    assert loaded.maps == "gradient"
    np.testing.assert_array_equal(loaded.predict(test).points, fitted.predict(test).points)


def test_an_explanation_shows_the_squared_activations(detector: ChannelDetector, test: PartDataset) -> None:
    image = load_image(test[0].image)
    shown = explain(detector, image, "tail", count=2)
    inputs = detector.backbone_.preprocessing(image)
    expected = partscope.maps.activation_maps(detector.backbone_, inputs, [shown.channels[0].channel])[0] ** 2
    np.testing.assert_allclose(shown.evidence, expected.numpy(), rtol=1e-5)
    assert shown.frame == (0.0, 0.0, *map(float, image.size))


def test_it_works_under_the_arrangement(train: PartDataset, test: PartDataset) -> None:
    fitted = ChannelDetector(colours(), maps="activation", arrangement="exemplars").fit(train)
    assert fitted.evaluate(test).skill > 0.2


def test_wrong_options_are_refused() -> None:
    with pytest.raises(OptionError, match="there is no kind of maps 'activations'"):
        ChannelDetector(colours(), maps="activations")._spec(0.9)
    with pytest.raises(OptionError, match="does not use --search; leave it out"):
        unfitted("channel", {"maps": "activation", "search": "exhaustive"})
    with pytest.raises(OptionError, match="'centroid' does not use --sigma"):
        unfitted("channel", {"maps": "activation", "sigma": 2.0})
    assert unfitted(None, {"maps": "activation"}).method == "channel"


def test_the_default_centre_depends_on_the_maps() -> None:
    assert ChannelDetector(colours())._spec(0.9) == CentreSpec("mixture", quantile=0.9)
    maximum = ChannelDetector(colours(), maps="activation", centre="maximum")._spec(0.9)
    assert json.loads(json.dumps(maximum.as_dict()))["centre"] == "maximum"
