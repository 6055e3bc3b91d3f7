"""What a fitted linear detector refuses to take in or to give away, and what happens where the arrangement was left out."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch import nn

from drawn import drawn_dataset
from networks import backbone_of, seeded
from partscope.dataset import PartDataset
from partscope.detectors import LinearDetector, PartDetector
from partscope.errors import DatasetError, OptionError, PartscopeWarning

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*are fewer than the"),
    pytest.mark.filterwarnings("ignore:.*will never be found"),
]


def unfitted(**options: Any) -> LinearDetector:
    network = nn.Sequential(nn.Conv2d(3, 12, 5, stride=4, padding=2), nn.ReLU())
    backbone = backbone_of(seeded(network).eval(), "1", 48)
    return LinearDetector(backbone=backbone, **{"layers": ["1"], "flips": True, "shrinkage": 0.3, **options})


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("drawn"), 20)


@pytest.fixture(scope="module")
def detector(data: PartDataset) -> LinearDetector:
    return unfitted().fit(data[:10])


@pytest.mark.parametrize("change", ["partial_fit", "forget"])
def test_what_is_no_data_set_or_an_empty_one_is_refused(
    detector: LinearDetector, data: PartDataset, change: str
) -> None:
    with pytest.raises(DatasetError, match="PartDataset is needed, not list"):
        getattr(detector, change)(list(data[:2]))
    with pytest.raises(DatasetError, match="there is no image"):
        getattr(detector, change)(data[:0])


def test_other_pairs_of_parts_are_refused(detector: LinearDetector, data: PartDataset) -> None:
    unpaired = dataclasses.replace(data[10:], pairs=())
    assert not np.array_equal(unpaired.mirror, data.mirror)
    with pytest.raises(OptionError, match="the same pairs"):
        detector.partial_fit(unpaired)
    with pytest.raises(OptionError, match="pairs of parts can be merged"):
        detector.merge(unfitted().fit(unpaired))


def test_images_are_forgotten_with_the_annotation_that_was_learned(
    detector: LinearDetector, data: PartDataset
) -> None:
    before = detector.statistics_.part_total.copy()
    sample = data[0]
    for moved in (
        dataclasses.replace(sample, points=sample.points * 0.9),
        dataclasses.replace(sample, visible=np.zeros_like(sample.visible)),
    ):
        with pytest.raises(OptionError, match=f"another annotation.*{sample.id}"):
            detector.forget(dataclasses.replace(data[:1], samples=(moved,)))
    np.testing.assert_array_equal(detector.statistics_.part_total, before)


def test_only_linear_detectors_are_merged(detector: LinearDetector, data: PartDataset) -> None:
    with pytest.raises(OptionError, match="not with PriorDetector"):
        detector.merge(PartDetector("prior").fit(data))  # type: ignore[arg-type]


def test_images_learned_without_an_arrangement_are_left_out_of_it(
    detector: LinearDetector, data: PartDataset, tmp_path: Path
) -> None:
    plain = unfitted(arrangement="none").fit(data[10:])
    joined = copy.deepcopy(detector)
    with pytest.warns(PartscopeWarning, match="10 of 20 held-out images were learned without"):
        joined.merge(plain)
    assert joined.arrangement_ is not None
    assert len(joined.train_ids_) == 20
    assert set(joined.arrangement_.shapes.source.tolist()) <= set(range(10))
    joined.save(tmp_path / "joined")
    again = PartDetector.load(tmp_path / "joined", backbone=joined.backbone_)
    np.testing.assert_array_equal(again.predict(data[:3]).points, joined.predict(data[:3]).points)

    late = copy.deepcopy(plain).set_params(arrangement="exemplars")
    with pytest.warns(PartscopeWarning, match="10 of 14"):
        late.partial_fit(data[:4])
    assert late.arrangement_ is not None


def test_an_arrangement_that_cannot_be_learned_is_said(data: PartDataset) -> None:
    with pytest.warns(PartscopeWarning, match="two held-out images"):
        assert unfitted(memory=0).fit(data[:6]).arrangement_ is None


def test_a_change_that_fails_leaves_the_detector_as_it_was(
    detector: LinearDetector, data: PartDataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*args: Any) -> None:
        raise DatasetError("no")

    monkeypatch.setattr("partscope.detectors.linear.arrange", fails)
    whole, ids = detector.statistics_, detector.train_ids_
    for change in (lambda: detector.partial_fit(data[10:12]), lambda: detector.forget(data[:2])):
        with pytest.raises(DatasetError, match="no"):
            change()
        assert detector.statistics_ is whole
        assert detector.train_ids_ == ids


def test_a_model_file_holds_the_grids_that_were_used(
    detector: LinearDetector, data: PartDataset, tmp_path: Path
) -> None:
    changed = copy.deepcopy(detector).set_params(scales=(0.67, 1.0), reach=0.1)
    changed.save(tmp_path / "changed")
    again = PartDetector.load(tmp_path / "changed", backbone=detector.backbone_)
    np.testing.assert_array_equal(again.predict(data[:3]).points, detector.predict(data[:3]).points)


def test_a_part_far_outside_its_box_names_the_image(data: PartDataset) -> None:
    sample = data[1]
    x, y = sample.points[sample.visible][0]
    far = dataclasses.replace(sample, box=(float(x) - 3.0, float(y) - 3.0, 1.0, 1.0))
    mixed = dataclasses.replace(data[:6], samples=(data[0], far, *data[2:6]))
    with pytest.raises(DatasetError, match=f"{sample.id}: a visible part lies farther outside"):
        unfitted(region="crop").fit(mixed)
    with pytest.warns(PartscopeWarning, match="left out"):
        fitted = unfitted(region="crop").fit(mixed, on_error="skip")
    assert fitted.train_ids_ == tuple(name for name in mixed.ids if name != sample.id)
    assert unfitted().fit(mixed).train_ids_ == mixed.ids
