"""The benchmarks of the linear detector run on drawn birds, and their shortcuts change nothing."""

from __future__ import annotations

import dataclasses
import json
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
from partscope import get_backbone, load_dataset
from partscope.dataset import PartDataset
from partscope.detectors import LinearDetector
from partscope.grids import FeatureGrids
from partscope.synthetic import write_synthetic_birds

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
#: One layer of a small input, a network that is built once, and nothing to choose: a fit takes a fraction of a second.
OPTIONS: dict[str, Any] = {
    "backbone": get_backbone("efficientnet_lite0", layer="blocks.4.0", input_size=96),
    "layers": ("blocks.4.0",),
    "shrinkage": 0.3,
}

pytestmark = [
    pytest.mark.usefixtures("benchmarks"),
    pytest.mark.filterwarnings("ignore::partscope.errors.PartscopeWarning"),
]


@pytest.fixture
def benchmarks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Makes `import memo` find the script, gives its detectors few features, and leaves the number of threads as it was."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    threads = torch.get_num_threads()
    # One dictionary, which all scripts look into.
    monkeypatch.setattr(import_module("linear"), "OPTIONS", OPTIONS)
    for name in ("few_shots", "peers", "unseen_classes"):
        monkeypatch.setattr(import_module(name), "OPTIONS", OPTIONS)
    yield
    torch.set_num_threads(threads)


def script(name: str) -> ModuleType:
    return import_module(name)


@pytest.fixture(scope="module")
def birds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 12 training and 12 test images of three classes."""
    folder = tmp_path_factory.mktemp("drawn") / "birds"
    write_synthetic_birds(folder, images=24, classes=3, size=96)
    return folder


@pytest.fixture(scope="module")
def data(birds: Path) -> PartDataset:
    return load_dataset("cub", birds)


@pytest.mark.parametrize("folder", [None, "grids"])
def test_memo_changes_no_bit(data: PartDataset, tmp_path: Path, folder: str | None) -> None:
    memo = script("memo")
    store = memo.Memo(None if folder is None else tmp_path / folder)
    train, test = data.train[:5], data.test[:2]
    plain = LinearDetector(**OPTIONS).fit(train)
    wanted = plain.predict(test)
    # Images and their mirror images, and the test images; nothing the second time.
    for expected_passes in (10 + 2, 12):
        found = memo.memo_detector(store)(**OPTIONS).fit(train).predict(test)
        np.testing.assert_array_equal(found.points, wanted.points)
        np.testing.assert_array_equal(found.score, wanted.score)
        assert store.passes == expected_passes
    if folder is not None:
        again = memo.Memo(tmp_path / folder)
        found = memo.memo_detector(again)(**OPTIONS).fit(train).predict(test)
        np.testing.assert_array_equal(found.points, wanted.points)
        assert again.passes == 0


def test_memo_of_a_batch_and_in_half_precision(data: PartDataset) -> None:
    memo = script("memo")
    plain = LinearDetector(**OPTIONS).fit(data.train[:4]).grids_
    inputs = torch.rand(3, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    exact, rough = (
        memo.MemoGrids.around(plain, memo.Memo()),
        memo.MemoGrids.around(plain, memo.Memo(half=True)),
    )
    exact(inputs[:1])
    for grids, tolerance in ((exact, 1e-5), (rough, 1e-2)):
        for got, wanted in zip(grids(inputs), plain(inputs), strict=True):
            assert got.dtype == wanted.dtype
            torch.testing.assert_close(
                got, wanted, rtol=tolerance, atol=tolerance * float(wanted.abs().max())
            )
    assert exact.memo.passes == 3


def test_few_shots_draws_are_nested_and_stratified(data: PartDataset) -> None:
    few_shots = script("few_shots")
    drawn = few_shots.nested_draws(data.train, (2, 6, 9, 99), seed=1)
    assert [len(one) for one in drawn.values()] == [2, 6, 9] == list(drawn)
    assert set(drawn[2].ids) < set(drawn[6].ids) < set(drawn[9].ids)
    assert len(set(drawn[2].labels)) == 2
    assert sorted(np.unique(drawn[6].labels, return_counts=True)[1]) == [2, 2, 2]
    assert drawn[2].ids != few_shots.nested_draws(data.train, (2, 6, 9), seed=2)[2].ids


def test_without_arrangement_is_a_fit_without(data: PartDataset) -> None:
    memo = script("memo")
    train, test = data.train[:10], data.test[:4]
    wanted = LinearDetector(arrangement="none", **OPTIONS).fit(train).predict(test)
    spatial = LinearDetector(arrangement="exemplars", **OPTIONS).fit(train)
    found = memo.without_arrangement(spatial).predict(test)
    np.testing.assert_array_equal(found.points, wanted.points)
    np.testing.assert_array_equal(found.score, wanted.score)
    assert not np.array_equal(spatial.predict(test).points, wanted.points)


def test_few_shots(birds: Path, data: PartDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few_shots = script("few_shots")
    out, figure = tmp_path / "few_shots.json", tmp_path / "few.png"
    settings = [
        "--sizes",
        "4",
        "--seeds",
        "0",
        "1",
        "--test",
        "6",
        "--folder",
        str(tmp_path / "work"),
        "--json",
        str(out),
    ]
    settings += ["--figure", str(figure), "--methods", "prior", "linear"]
    result = few_shots.main([str(birds), *settings])
    assert json.loads(out.read_text("utf-8")) == result
    assert figure.stat().st_size > 10_000
    rows = {(row["method"], row["images"]): row for row in result["rows"]}
    assert set(rows) == {(m, n) for m in ("prior", "linear", few_shots.SPATIAL) for n in (4, 12)}
    four = rows["linear", 4]
    each = [
        LinearDetector(arrangement="none", **OPTIONS)
        .fit(few_shots.nested_draws(data.train, (4,), seed)[4])
        .evaluate(data.test.limit(6))
        .error
        for seed in (0, 1)
    ]
    assert four["error"] == pytest.approx(np.mean(each), abs=1e-12)
    assert four["range over draws"] == pytest.approx(sorted(each), abs=1e-12)
    assert four["standard deviation over draws"] == pytest.approx(np.std(each, ddof=1), abs=1e-12)
    assert four["ci95"][0] < four["error"] < four["ci95"][1]
    # A second run computes nothing.
    monkeypatch.setattr(few_shots, "memo_detector", None)
    monkeypatch.setattr(few_shots, "PartDetector", None)
    with pytest.raises(TypeError):
        few_shots.main([str(birds), *settings, "--seeds", "0", "1", "2"])
    monkeypatch.setattr(few_shots, "memo_detector", lambda memo: None)
    assert few_shots.main([str(birds), *settings])["rows"] == result["rows"]


def test_unseen_classes(birds: Path, data: PartDataset, tmp_path: Path) -> None:
    unseen = script("unseen_classes")
    out = tmp_path / "unseen.json"
    result = unseen.main([str(birds), "--folder", str(tmp_path / "work"), "--json", str(out)])
    assert json.loads(out.read_text("utf-8")) == result
    (row,) = result["rows"]
    assert row["ratio"] == pytest.approx(row["classes left out"]["error"] / row["images left out"]["error"])
    for what in ("images", "classes"):
        low, high = row[f"ci95 over {what}"]
        assert low < row["ratio"] < high
    groups = unseen.groups_of(data.train, "classes")
    for label in set(data.train.labels):
        assert len({int(g) for g, one in zip(groups, data.train.labels, strict=True) if one == label}) == 1
    assert len(set(groups.tolist())) == 3
    assert sorted(np.bincount(unseen.groups_of(data.train, "images"))) == [2, 2, 2, 3, 3]


def test_unseen_classes_ratio_of_a_constant_factor() -> None:
    unseen = script("unseen_classes")
    seen = np.random.default_rng(0).uniform(1, 2, (12, 3))
    seen[4, 1] = np.nan
    found = unseen.ratio_with_intervals(1.5 * seen, seen, ["a", "b", "b"] * 4)
    assert found["ratio"] == pytest.approx(1.5)
    assert found["ci95 over images"] == pytest.approx([1.5, 1.5])
    assert found["ci95 over classes"] == pytest.approx([1.5, 1.5])


def test_linear_costs(data: PartDataset) -> None:
    linear = script("linear")
    options = {"layers": ("blocks.4.0",), "input_size": 96, "shrinkage": 0.3}
    found = linear.costs(data.train[:8], data.test[:3], {**options, "flips": False}, 1)
    assert found["views per image, fit"] == found["views per image, predict"] == 1
    assert found["input size"] == 96
    assert found["fit / passes"]["median"] > 0
    assert (
        linear.costs(data.train[:8], data.test[:3], {**OPTIONS, "flips": True}, 1)["views per image, fit"]
        == 2
    )


def test_peers(birds: Path, tmp_path: Path) -> None:
    peers = script("peers")
    out = tmp_path / "peers.json"
    settings = [
        "--train",
        "12",
        "--test",
        "6",
        "--epochs",
        "2",
        "--folder",
        str(tmp_path / "work"),
        "--json",
        str(out),
    ]
    result = peers.main([str(birds), *settings])
    assert json.loads(out.read_text("utf-8")) == result
    rows = {row["method"]: row for row in result["rows"]}
    assert set(peers.ROWS) <= set(rows)
    assert len(rows) == len(peers.ROWS) + 2
    for name, row in rows.items():
        assert row["ci95"][0] <= row["error"] <= row["ci95"][1]
        if name not in ("linear", peers.SPATIAL):
            gap = row["linear is better by"]["mean"]
            assert gap == pytest.approx(row["error"] - rows["linear"]["error"], abs=1e-9)


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
    settings = {"loss": "heat map", "decay": 1e-3}
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
