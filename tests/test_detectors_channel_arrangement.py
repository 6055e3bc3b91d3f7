"""The channel detector under the spatial model: its evidence by plain loops, its gain, its files, its continuation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import partscope.detectors.channel_arrangement as module
from drawn import PARTS, drawn_dataset
from partscope.arrangement import Arrangement
from partscope.backbones import Backbone, Preprocessing
from partscope.dataset import PartDataset
from partscope.detectors import ChannelDetector, PartDetector
from partscope.detectors.channel_arrangement import FLOOR, GRID, evidence_of_parts, gradient_evidence
from partscope.errors import OptionError
from partscope.images import load_image

pytestmark = pytest.mark.filterwarnings("ignore:.*will never be found")

SIDE = 60


def head_network() -> Backbone:
    """Channels for red (the head), and yellow (the tail): too few for five parts."""
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU())
    with torch.no_grad():
        network[0].weight.copy_(torch.tensor([(1.0, -1, -1), (0.5, 0.5, -1)])[:, :, None, None])
        network[0].bias.copy_(torch.tensor([-0.2, -0.4]))
    return Backbone(network, "1", Preprocessing(SIDE, (0, 0, 0), (1, 1, 1)), name="colours")


def unfitted(**options: object) -> ChannelDetector:
    settings = {"centre": "centroid", "search": "exhaustive", "arrangement": "exemplars", **options}
    return ChannelDetector(head_network(), **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("drawn"), 32)


@pytest.fixture(scope="module")
def detector(data: PartDataset) -> ChannelDetector:
    return unfitted().fit(data[:20])


def error(detector: PartDetector, data: PartDataset) -> float:
    found = detector.predict(data)
    distance = np.linalg.norm(found.points - data.points, axis=2)
    return float(np.nanmean(distance / np.linalg.norm(data.boxes[:, 2:], axis=1)[:, None]))


def test_evidence_is_the_logarithm_of_a_cells_share_of_the_gradient() -> None:
    rng = np.random.default_rng(0)
    maps, mask = rng.random((3, 8, 8)), rng.random((8, 8)) < 0.6
    mask[:2, :2] = False  # a cell that does not count
    maps[2] = 0
    for used in (None, mask):
        found = gradient_evidence(torch.from_numpy(maps), None if used is None else torch.from_numpy(used), 4)
        counts = np.ones((8, 8), bool) if used is None else used
        for c in range(3):
            level = maps[c][counts].mean()
            expected = np.full((4, 4), np.nan)
            for y in range(4):
                for x in range(4):
                    cell = (slice(2 * y, 2 * y + 2), slice(2 * x, 2 * x + 2))
                    if counts[cell].any() and level > 0:
                        expected[y, x] = np.log(maps[c][cell][counts[cell]].mean() / level + FLOOR)
            expected = np.where(np.isnan(expected), np.nanmin(expected) if level > 0 else 0.0, expected)
            np.testing.assert_allclose(found[c], expected, atol=1e-5)


def test_scaling_a_map_changes_nothing() -> None:
    maps = torch.rand(2, 40, 40, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(gradient_evidence(maps * 1e-4), gradient_evidence(maps), atol=1e-4)


def test_it_is_better_than_a_channel_for_each_part_alone(
    detector: ChannelDetector, data: PartDataset
) -> None:
    alone = unfitted(arrangement="none").fit(data[:20])
    assert alone.channels_ == detector.channels_, "the selection is the paper's in both"
    assert alone.arrangement_ is None
    arranged, single = error(detector, data[20:]), error(alone, data[20:])
    assert arranged < 0.8 * single
    assert arranged < 0.8 * error(PartDetector("prior").fit(data[:20]), data[20:])


def test_a_prediction_is_the_arrangements_inference(detector: ChannelDetector, data: PartDataset) -> None:
    found = detector.predict(data[20:22])
    assert detector.arrangement_ is not None
    for i, sample in enumerate(data[20:22]):
        image = load_image(sample.image)
        _, maps, _ = detector.part_maps(image)
        arranged = detector.arrangement_.infer(
            evidence_of_parts(gradient_evidence(maps), detector), image.size
        )
        np.testing.assert_allclose(found.points[i], np.clip(arranged.points, 0, 1) * image.size)
        np.testing.assert_allclose(found.score[i], arranged.visibility)
        assert found.expected_error is not None
        np.testing.assert_allclose(found.expected_error[i], arranged.expected_error)
        assert found.boxes is not None
        np.testing.assert_allclose(found.boxes[i], arranged.box)
        assert (found.visible[i] == (arranged.visibility >= 0.5)).all()


def test_it_learns_from_the_maps_that_prediction_sees(
    data: PartDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative to the box and inside it where the box is cropped; with the mask, nothing outside the box is evidence."""
    seen = {}
    original = Arrangement.fit

    def spy(points, visible, sizes, mirror, maps, boxes):
        seen.update(points=points, sizes=sizes, maps=maps, boxes=boxes)
        return original(points, visible, sizes, mirror, maps, boxes)

    monkeypatch.setattr(module.Arrangement, "fit", spy)
    few = data[:6]
    unfitted(region="crop").fit(few)
    assert seen["boxes"] is None
    relative = (few.points - few.boxes[:, None, :2]) / few.boxes[:, None, 2:]
    np.testing.assert_allclose(seen["points"][few.visible], np.clip(relative, 0, 1)[few.visible])
    np.testing.assert_allclose(seen["sizes"], few.boxes[:, 2:])
    assert seen["maps"].shape == (6, len(PARTS), GRID, GRID)
    unfitted(region="mask").fit(few)
    np.testing.assert_allclose(seen["sizes"], few.sizes)
    for i, sample in enumerate(few):
        x = (np.arange(GRID) + 0.5) / GRID * sample.size[0]
        left_of_box = x < few.boxes[i, 0] - 2 * sample.size[0] / GRID
        maps = seen["maps"][i]
        lowest = maps.min(axis=(1, 2))
        assert (maps[:, :, left_of_box] == lowest[:, None, None]).all()


@pytest.mark.parametrize("region", ["mask", "crop"])
def test_with_the_box(data: PartDataset, region: str) -> None:
    boxed = unfitted(region=region).fit(data[:20])
    assert error(boxed, data[20:]) < 0.8 * error(
        PartDetector("prior", region="box").fit(data[:20]), data[20:]
    )
    with pytest.raises(OptionError, match="bounding box"):
        boxed.predict([data[25].image])


def test_a_saved_detector_predicts_the_same(
    detector: ChannelDetector, data: PartDataset, tmp_path: Path
) -> None:
    detector.save(tmp_path / "model")
    loaded = PartDetector.load(tmp_path / "model", backbone=head_network())
    assert isinstance(loaded, ChannelDetector)
    assert loaded.arrangement == "exemplars"
    expected, found = detector.predict(data[20:24]), loaded.predict(data[20:24])
    np.testing.assert_array_equal(found.points, expected.points)
    np.testing.assert_array_equal(found.score, expected.score)
    unfitted(arrangement="none").fit(data[:6]).save(tmp_path / "plain")
    plain = PartDetector.load(tmp_path / "plain", backbone=head_network())
    assert isinstance(plain, ChannelDetector)
    assert plain.arrangement_ is None


def test_a_killed_fit_continues(data: PartDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = unfitted(scan_folder=tmp_path / "whole").fit(data[:20])
    calls = 0
    original = module._maps_of

    def counted(*args):
        nonlocal calls
        calls += 1
        if calls == 11:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(module, "_maps_of", counted)
    with pytest.raises(KeyboardInterrupt):
        unfitted(scan_folder=tmp_path / "killed").fit(data[:20])
    continued = unfitted(scan_folder=tmp_path / "killed").fit(data[:20])
    assert calls == 11 + 20 - 8, "the first block of eight was kept"
    for one, name in ((whole, "a"), (continued, "b")):
        one.set_params(scan_folder=None).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_parts_never_shown_are_never_found(detector: ChannelDetector, data: PartDataset) -> None:
    hidden = np.flatnonzero(~data[[0, 2, 4, 6]].visible.any(axis=0))
    assert hidden.size
    half = unfitted().fit(data[[0, 2, 4, 6]])
    assert not half.predict(data[20:23]).found[:, hidden].any()


def test_one_image_is_the_papers_method(data: PartDataset) -> None:
    assert unfitted().fit(data[:1]).arrangement_ is None


def test_unknown_arrangement(data: PartDataset) -> None:
    with pytest.raises(OptionError, match="arrangement must be one of exemplars, none, not 'star'"):
        unfitted(arrangement="star").fit(data[:2])
