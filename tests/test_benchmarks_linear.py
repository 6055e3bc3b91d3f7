"""The benchmarks of the linear detector run on drawn birds, and their shortcuts change nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from partscope import get_backbone, load_dataset
from partscope.dataset import PartDataset
from partscope.detectors import LinearDetector
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


def page_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The page of documentation that the results in a folder give."""
    monkeypatch.setattr(script("markdown_tables"), "RESULTS", folder)
    page: str = script("summary_linear").page()
    return page


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
    page = page_of(tmp_path, monkeypatch)
    assert f"| linear | {four['error']:.3f} ± " in page
    assert "Test images: prior 6, linear 6, linear + spatial 6." in page
    # A second run computes nothing.
    monkeypatch.setattr(few_shots, "memo_detector", None)
    monkeypatch.setattr(few_shots, "PartDetector", None)
    with pytest.raises(TypeError):
        few_shots.main([str(birds), *settings, "--seeds", "0", "1", "2"])
    monkeypatch.setattr(few_shots, "memo_detector", lambda memo: None)
    assert few_shots.main([str(birds), *settings])["rows"] == result["rows"]


def test_unseen_classes(
    birds: Path, data: PartDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unseen = script("unseen_classes")
    out = tmp_path / "unseen_classes.json"
    result = unseen.main([str(birds), "--folder", str(tmp_path / "work"), "--json", str(out)])
    assert json.loads(out.read_text("utf-8")) == result
    (row,) = result["rows"]
    assert row["ratio"] == pytest.approx(row["classes left out"]["error"] / row["images left out"]["error"])
    for what in ("images", "classes"):
        low, high = row[f"ci95 over {what}"]
        assert low < row["ratio"] < high
    assert f"| exemplars | {row['images left out']['error']:.3f} [" in page_of(tmp_path, monkeypatch)
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


def test_linear_costs(data: PartDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    linear = script("linear")
    options = {"layers": ("blocks.4.0",), "input_size": 96, "shrinkage": 0.3}
    found = linear.costs(data.train[:8], data.test[:3], {**options, "flips": False}, 1)
    (tmp_path / "linear.json").write_text(json.dumps({"rows": [], "costs": {"none": found}}))
    wanted = f"| fit / passes | {found['fit / passes']['median']:.2f} |"
    assert wanted in page_of(tmp_path, monkeypatch)
    assert found["views per image, fit"] == found["views per image, predict"] == 1
    assert found["input size"] == 96
    for clock in ("", "processor time, "):
        assert found[f"{clock}fit / passes"]["median"] > found[f"{clock}predict / passes"]["median"] > 0
    assert (
        linear.costs(data.train[:8], data.test[:3], {**OPTIONS, "flips": True}, 1)["views per image, fit"]
        == 2
    )


def test_linear(birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    linear = script("linear")
    out = tmp_path / "linear.json"
    settings = [str(birds), "--train", "6", "--test", "4", "--skip", "costs", "--json", str(out)]
    result = linear.main(settings)
    assert json.loads(out.read_text("utf-8")) == result
    assert [row["region"] for row in result["rows"]] == ["image"] * 3 + ["box"] + ["crop"] * 2
    page = page_of(tmp_path, monkeypatch)
    for row, name in zip(result["rows"][1:3], ("linear", "linear + arrangement"), strict=True):
        assert f"| {name}, image | {row['error']['diagonal']['mean']:.3f} [" in page
    monkeypatch.setattr(linear, "memo_detector", lambda memo: None)  # a second run fits nothing
    assert linear.main(settings)["rows"] == result["rows"]


def test_peers(birds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    assert f"| {peers.NEIGHBOURS} | {rows[peers.NEIGHBOURS]['error']:.3f} [" in page_of(tmp_path, monkeypatch)
