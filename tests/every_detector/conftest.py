"""Drawn animals, and each of the light detectors in turn."""

from __future__ import annotations

import pytest
from sklearn.base import clone

from drawn import drawn_dataset
from light_detectors import LIGHT
from partscope.dataset import PartDataset
from partscope.detectors import PartDetector


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    # `left eye` and `right eye` are each seen from one side only, so all five parts occur.
    return drawn_dataset(tmp_path_factory.mktemp("train"), 8)


@pytest.fixture(params=LIGHT, ids=repr)
def detector(request: pytest.FixtureRequest) -> PartDetector:
    return clone(request.param)  # type: ignore[no-any-return]
