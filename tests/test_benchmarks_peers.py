"""What the linear detector is compared with, on maps in which parts have known features."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from networks import backbone_of
from partscope.grids import FeatureGrids

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

pytestmark = pytest.mark.usefixtures("benchmarks")


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes `import neighbours` find the script, and leaves the number of threads as it was."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def script(name: str) -> ModuleType:
    return import_module(name)


def planted(seed: int, count: int, parts: int = 3) -> tuple[Any, Any]:
    """Images and how they look in a mirror: random maps of 8×8 cells and 16 channels, in which parts have features."""
    rng = np.random.default_rng(seed)
    features = np.random.default_rng(99).normal(size=(parts, 16))
    maps, points = [], np.empty((count, parts, 2))
    for i in range(count):
        one = rng.normal(size=(16, 8, 8))
        rows, columns = np.divmod(rng.choice(64, parts, replace=False), 8)
        one[:, rows, columns] += 4 * features.T
        points[i] = np.stack([(columns + 0.5) / 8, (rows + 0.5) / 8], axis=1)
        maps.append([torch.from_numpy(one).float()])
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 16, 3, stride=8, padding=1))
    grids = FeatureGrids(backbone_of(network, "0", side=64), ("0",))
    facts = (np.ones((count, parts), bool), np.full((count, 2), 64.0), np.full(count, 64.0), np.arange(parts))
    made = script("pictures").Pictures
    flipped = [[one[0].flip(-1)] for one in maps]
    return made(grids, maps, points, *facts), made(grids, flipped, points * [-1, 1] + [1, 0], *facts)


def test_neighbours_copy_the_parts_of_the_same_image() -> None:
    neighbours = script("neighbours")
    train, mirrored = planted(0, 10)
    found = neighbours.Neighbours.fit(train, mirrored)
    assert set(found.errors) == {f"pooled to {p}×{p}, k = {k}" for p in (1, 2, 4) for k in (1, 3, 5)}
    nearest = dataclasses.replace(found, described=np.concatenate(
        [neighbours.pooled(one, 4) for one in (train, mirrored)]
    ), pool=4, count=1)  # fmt: skip
    np.testing.assert_allclose(nearest.locate(train), train.points)
    np.testing.assert_allclose(nearest.locate(mirrored), mirrored.points)


def test_neighbours_median_is_over_those_that_show_the_part() -> None:
    neighbours = script("neighbours")
    points = np.array([0.1, np.nan, 0.3, 0.9]).reshape(4, 1, 1).repeat(2, axis=2)
    likeness = np.array([[4.0, 3, 2, 1], [1, 4, 2, 3]], np.float32)
    assert neighbours._copied(likeness, points, 3)[:, 0, 0] == pytest.approx([0.2, 0.6])
    assert np.isnan(neighbours._copied(likeness, points, 1)[1]).all()


def test_correspondence_finds_planted_features() -> None:
    neighbours = script("neighbours")
    train, mirrored = planted(0, 20)
    test, _ = planted(1, 10)
    similar = neighbours.Neighbours.fit(train, mirrored)
    found = neighbours.Correspondence.fit(train, mirrored, similar)
    assert test.errors(found.locate(test)).mean() < 0.05
    assert test.errors(similar.locate(test)).mean() > 0.2  # nothing to copy: places are independent
    lost = dataclasses.replace(found, features=np.where(np.arange(3)[:, None] == 1, np.nan, found.features))
    np.testing.assert_array_equal(np.isnan(lost.locate(test)).any(axis=(0, 2)), [False, True, False])


def test_linear_head_is_the_linear_detectors_function() -> None:
    head_of = script("heatmap_head").Head
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 5, 3, stride=8, padding=1), torch.nn.Conv2d(5, 4, 3, stride=2, padding=1)
    )
    grids = FeatureGrids(backbone_of(network, "1", side=64), ("0", "1"), ("1",))
    maps = [features[0] for features in grids(torch.randn(1, 3, 64, 64))]
    weights = np.random.default_rng(0).normal(size=(grids.features, 3)).astype(np.float32)
    moments = [torch.stack([torch.zeros(k), torch.ones(k)]) for k in (5, 4)]
    head = head_of(grids, 3, "1x1", moments)
    with torch.no_grad():
        start = 0
        for layer, (channels, parameter) in enumerate(zip((5, 4), head.weights, strict=True)):
            taps = len(grids.places(grids.layers[layer]))
            own = torch.from_numpy(weights[start : start + taps * channels]).reshape(taps, channels, 3)
            parameter.copy_(own.transpose(1, 2).reshape(-1, channels))
            start += taps * channels
        found = head([features[None] for features in maps])[0].numpy()
    np.testing.assert_allclose(found, grids.combine(maps, weights), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("kind", ["1x1", "3x3"])
def test_heads_learn_planted_features(kind: str) -> None:
    heads = script("heatmap_head")
    train, _ = planted(0, 30)
    test, _ = planted(1, 10)
    settings = {"loss": "heat map", "rate": 3e-3}
    trained = heads.TrainedHeads.fit(train, kind, epochs=15, settings=settings)
    alone, arranged = trained.locate(test)
    assert test.errors(alone).mean() < 0.15 < test.errors(np.full_like(alone, 0.5)).mean()
    assert arranged.shape == alone.shape
    assert len(trained.facts["epochs"]) == 5


def test_head_losses() -> None:
    heads = script("heatmap_head")
    points = torch.tensor([[[0.4375, 0.3125], [0.5, 0.5]]])
    visible, unit = torch.tensor([[True, False]]), torch.tensor([[2.0, 1.0]])
    maps = torch.full((1, 2, 8, 8), -1e4)
    maps[0, 0, 2, 5] = 0.0
    torch.testing.assert_close(heads.soft_points(maps)[0, 0], torch.tensor([5.5 / 8, 2.5 / 8]))
    # Two cells to the right, in an image twice as wide as the length that errors are divided by.
    assert float(heads.loss_of(maps, points, visible, unit, "distance")) == pytest.approx(2 * 2 / 8, rel=1e-4)
    y, x = np.mgrid[:8, :8]
    best = torch.from_numpy(-((x - 3) ** 2 + (y - 2) ** 2) / 2.0).float()
    target = functional.softmax(best.flatten(), dim=0)
    maps = torch.stack([best, torch.zeros(8, 8)])[None].requires_grad_()
    value = heads.loss_of(maps, points, visible, unit, "heat map")
    assert float(value.detach()) == pytest.approx(float(-(target * target.log()).sum()), rel=1e-5)
    (slope,) = torch.autograd.grad(value, maps)
    assert float(slope.abs().max()) < 1e-6
