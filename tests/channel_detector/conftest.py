"""Drawn animals, and a channel detector of colours that has learned from them."""

from __future__ import annotations

import pytest

from colour_network import colours
from drawn import drawn_dataset
from partscope.dataset import PartDataset
from partscope.detectors import ChannelDetector


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("train"), 10)


@pytest.fixture(scope="module")
def test(tmp_path_factory: pytest.TempPathFactory) -> PartDataset:
    return drawn_dataset(tmp_path_factory.mktemp("test"), 6, seed=9)


@pytest.fixture(scope="module")
def detector(train: PartDataset) -> ChannelDetector:
    return ChannelDetector(colours()).fit(train)
