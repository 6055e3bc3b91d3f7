"""benchmarks/doubt.py: its own functions, and one small run on drawn birds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from partscope.dataset import PartDataset, Sample
from partscope.synthetic import write_synthetic_birds

pytest.importorskip("matplotlib", reason="the script draws figures, which need the extra plot")

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*are fewer than the"),
    pytest.mark.filterwarnings("ignore:.*will never be found"),
]


@pytest.fixture
def doubt(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    threads = torch.get_num_threads()
    yield import_module("doubt")
    torch.set_num_threads(threads)


def boxed(*boxes: tuple[float, float, float, float] | None) -> PartDataset:
    samples = [
        Sample(f"{i}", Path(f"{i}"), (100, 50), np.array([[1.0, 1.0]]), np.array([True]), box)
        for i, box in enumerate(boxes)
    ]
    return PartDataset(("beak",), tuple(samples))


def test_the_median_box_is_relative_to_the_image(doubt: ModuleType) -> None:
    train = boxed((10, 10, 20, 20), (20, 10, 40, 20), None, (0, 0, 90, 40))
    # Sides relative to the image: left .1 .2 0, top .2 .2 0, right .3 .6 .9, bottom .6 .6 .8.
    np.testing.assert_allclose(
        doubt.median_boxes(train, np.array([[100.0, 50.0], [1000.0, 100.0]])),
        [[10, 10, 50, 20], [100, 20, 500, 40]],
    )


def test_overlaps_count_images_with_a_box(doubt: ModuleType) -> None:
    data = boxed((0, 0, 10, 10), (0, 0, 10, 10), (0, 0, 10, 10))
    found = doubt.overlaps(np.array([[0, 0, 10, 10], [0, 0, 10, 6], [50, 0, 10, 10]], dtype=float), data)
    assert found["mean_iou"] == pytest.approx((1 + 0.6 + 0) / 3)
    assert found["share"] == {"0.5": pytest.approx(2 / 3), "0.75": pytest.approx(1 / 3)}


def test_groups_are_ordered_by_what_was_expected(doubt: ModuleType) -> None:
    expected = np.random.default_rng(0).permutation(40).astype(float)
    groups = doubt.in_groups(expected, 2 * expected)
    assert [group["expected"] for group in groups] == [4 * i + 1.5 for i in range(10)]
    assert all(group["actual"] == 2 * group["expected"] for group in groups)


def test_a_small_run(doubt: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_synthetic_birds(tmp_path / "birds", images=24, classes=3, random_state=0, size=160)
    out = tmp_path / "doubt.json"
    settings = ["--train", "10", "--test", "5", "--skip", "passes", "--json"]
    result = doubt.main([str(tmp_path / "birds"), *settings, str(out), "--figures", str(tmp_path)])
    assert json.loads(out.read_text("utf-8")).keys() == result.keys()
    first, prior = result["rows"]
    assert (first["method"], prior["method"]) == ("linear", "prior")
    assert first["kept"]["shares"]["0.5"]["oracle"] <= first["kept"]["shares"]["0.5"]["error"]
    assert len(result["expected error"]["parts"]["tenths"]) == 10
    assert result["box"]["predicted"]["mean_iou"] > 0.3
    assert {path.name for path in tmp_path.glob("*.png")} == {"doubt-reliability.png", "doubt-kept.png"}

    # The page made of it, as it is read back from the file.
    summary = import_module("summary_doubt")
    monkeypatch.setattr(summary, "load", lambda name: json.loads(out.read_text("utf-8")))
    page = "\n".join(summary.block())
    assert f"mean error is {first['error']['diagonal']['mean']:.3f}" in page
    assert f"| predicted | {result['box']['predicted']['mean_iou']:.3f} |" in page
    assert "A second look" not in page
    assert all(f"figures/{path.name}" in page for path in tmp_path.glob("*.png"))
    monkeypatch.setattr(summary, "load", lambda name: None)
    assert summary.block() == summary.NO_FIGURES


@pytest.mark.slow
def test_two_passes_leave_every_image_out_once(doubt: ModuleType, tmp_path: Path) -> None:
    data = write_synthetic_birds(tmp_path / "birds", images=12, classes=3, random_state=0, size=160)
    result = doubt.two_passes(data, 2)
    assert set(result["error"]) == {
        "without the box", "with the box", "predicted box", "mean of both passes", "surer of both passes",
    }  # fmt: skip
    assert all(0 < error < 1 for error in result["error"].values())
    assert 0 < result["median box, left out"]["mean_iou"] <= 1
