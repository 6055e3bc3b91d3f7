"""Scans of a few pictures of noise with an awkward network, and what their folders hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import partscope.channel_centres
import partscope.scan
from networks import awkward_network, backbone_of
from partscope.backbones import Backbone
from partscope.channel_centres import CentreSpec
from partscope.dataset import PartDataset, Sample, dataset_from_arrays
from partscope.scan import Scan

SPECS = (CentreSpec(centre="maximum"), CentreSpec(centre="centroid", region="mask"))


def backbone() -> Backbone:
    return backbone_of(awkward_network(), "7")


def make_dataset(folder: Path, count: int = 10) -> PartDataset:
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    files, boxes = [], []
    for i in range(count):
        files.append(folder / f"{i}.png")
        width, height = 20 + i, 30 - i
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(files[-1])
        boxes.append((2, 3, width - 6, height - 8))
    return dataset_from_arrays(files, {"beak": np.full((count, 2), 5.0)}, boxes=boxes, name="noise")


def assert_same(first: Scan, second: Scan) -> None:
    assert first.ids == second.ids
    np.testing.assert_array_equal(first.centres, second.centres)
    assert first.failures == second.failures


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def note_computed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return a list that grows by the names of the images whose centres are computed, as the test goes on."""
    names: list[str] = []
    compute = partscope.scan._centres_of

    def noted(sample: Sample, *args: Any) -> Any:
        names.append(sample.image.name)
        return compute(sample, *args)

    monkeypatch.setattr(partscope.scan, "_centres_of", noted)
    return names
