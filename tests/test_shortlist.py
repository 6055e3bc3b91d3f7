from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import partscope.maps
from drawn import drawn_dataset
from networks import awkward_network, backbone_of
from partscope.backbones import Backbone
from partscope.dataset import PartDataset
from partscope.errors import DatasetError, ImageError, OptionError, PartscopeWarning
from partscope.images import load_image
from partscope.maps import activation_maps
from partscope.shortlist import shortlist_channels

pytestmark = pytest.mark.filterwarnings("ignore:.*will never be found")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("drawn"), 8)


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return backbone_of(awkward_network(4), "3", 16)


def plain_costs(data: PartDataset, backbone: Backbone) -> np.ndarray:
    """(P, K) mean squared distance from the centroid of the squared activations, in box diagonals, by plain loops."""
    costs = np.zeros((len(data.parts), backbone.channels))
    for p in range(len(data.parts)):
        shown = [sample for sample in data if sample.visible[p]]
        for sample in shown:
            assert sample.box is not None
            image = load_image(sample.image)
            energy = activation_maps(backbone, backbone.preprocessing(image)).double().numpy() ** 2
            for k in range(backbone.channels):
                rows, columns = np.mgrid[: energy.shape[1], : energy.shape[2]] + 0.5
                total = energy[k].sum()
                if total > 0:
                    x = (energy[k] * columns).sum() / total * image.width / energy.shape[2]
                    y = (energy[k] * rows).sum() / total * image.height / energy.shape[1]
                    distance = np.hypot(x - sample.points[p, 0], y - sample.points[p, 1])
                else:
                    corners = [(a, b) for a in (0, image.width) for b in (0, image.height)]
                    distance = max(
                        np.hypot(a - sample.points[p, 0], b - sample.points[p, 1]) for a, b in corners
                    )
                costs[p, k] += (distance / np.hypot(*sample.box[2:])) ** 2 / len(shown)
    return costs


@pytest.mark.parametrize("per_part", [1, 2, 4])
def test_each_part_keeps_its_best_channels_by_activation(
    data: PartDataset, backbone: Backbone, per_part: int
) -> None:
    costs = plain_costs(data, backbone)
    expected = {int(k) for row in costs for k in np.argsort(row)[:per_part]}
    found = shortlist_channels(data, backbone, per_part)
    assert found.dtype == np.int64
    assert found.tolist() == sorted(expected)


def test_no_gradient_is_computed(
    data: PartDataset, backbone: Backbone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> None:
        raise AssertionError("no gradient may be computed")

    monkeypatch.setattr(partscope.maps, "_gradients", fail)
    assert len(shortlist_channels(data, backbone, 1)) >= 1


def test_a_large_shortlist_holds_every_channel(data: PartDataset, backbone: Backbone) -> None:
    assert shortlist_channels(data, backbone, 100).tolist() == list(range(backbone.channels))


def test_regions_are_joined(data: PartDataset, backbone: Backbone) -> None:
    each = [
        set(shortlist_channels(data, backbone, 1, regions=(region,)).tolist())
        for region in ("image", "mask", "crop")
    ]
    together = shortlist_channels(data, backbone, 1, regions=("image", "mask", "crop"))
    assert set(together.tolist()) == set.union(*each)


def test_rule_and_normaliser_are_those_of_the_ranking(data: PartDataset, backbone: Backbone) -> None:
    with pytest.raises(OptionError, match="selection rule"):
        shortlist_channels(data, backbone, 1, rule="max")
    with pytest.raises(OptionError, match="normalise"):
        shortlist_channels(data, backbone, 1, normalise="max")


@pytest.mark.parametrize("per_part", [0, -3])
def test_a_shortlist_of_nothing_is_refused(data: PartDataset, backbone: Backbone, per_part: int) -> None:
    with pytest.raises(OptionError, match=f"at least 1 channel per part, not {per_part}"):
        shortlist_channels(data, backbone, per_part)


def test_a_folder_is_continued(
    data: PartDataset, backbone: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = shortlist_channels(data, backbone, 2, folder=tmp_path)

    def fail(*args: Any) -> None:
        raise AssertionError("nothing may be computed again")

    monkeypatch.setattr("partscope.scan._centres_of", fail)
    assert shortlist_channels(data, backbone, 2, folder=tmp_path).tolist() == first.tolist()
    # How many are kept is no part of the scan.
    assert len(shortlist_channels(data, backbone, 1, folder=tmp_path)) <= len(first)


def test_bad_images_stop_it_or_are_left_out(backbone: Backbone, tmp_path: Path) -> None:
    data = drawn_dataset(tmp_path, 6)
    expected = shortlist_channels(data[[0, 1, 2, 4, 5]], backbone, 1)
    data[3].image.write_bytes(b"")
    with pytest.raises(ImageError, match="the file is empty"):
        shortlist_channels(data, backbone, 1)
    assert shortlist_channels(data, backbone, 1, on_error="skip").tolist() == expected.tolist()
    for sample in data:
        sample.image.write_bytes(b"")
    assert shortlist_channels(data, backbone, 1, on_error="skip").tolist() == []


def test_a_missing_box_is_said(data: PartDataset, backbone: Backbone) -> None:
    bare = PartDataset(data.parts, tuple(sample.with_box(None) for sample in data))
    with pytest.raises(DatasetError, match="needs a bounding box"):
        shortlist_channels(bare, backbone, 1, regions=("mask",))
    over = PartDataset(data.parts, tuple(sample.with_box((-5, -5, 40, 40)) for sample in data))
    with pytest.warns(PartscopeWarning, match="8 of 8 bounding boxes"):
        shortlist_channels(over, backbone, 1, regions=("mask",))
