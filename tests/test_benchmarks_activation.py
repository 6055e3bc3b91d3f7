"""The benchmarks of forward-only centres and of graphics cards run on a few drawn birds, on a processor."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from partscope.errors import OptionError
from test_benchmarks import benchmarks, script

__all__ = ["benchmarks"]


@pytest.mark.slow
@pytest.mark.usefixtures("benchmarks")
def test_gpu_on_a_processor(tmp_path: Path) -> None:
    out = tmp_path / "gpu.json"
    settings = f"--device cpu --images 1 --channels 2 --networks efficientnet_lite0 --json {out}"
    result = script("gpu").main(settings.split())
    assert json.loads(out.read_text("utf-8")) == result
    assert result["machine"]["device"].startswith("cpu: ")
    assert {row["precision"] for row in result["rows"]} == {"float32", "bfloat16"}
    assert all(row["images per second"] > 0 for row in result["rows"])
    same = [row for row in result["rows"] if row["precision"] == "float32"]
    assert all(row["moved against float32, px"]["largest"] == 0 for row in same)
    moved = [
        row["moved against float32, px"]["median"]
        for row in result["rows"]
        if row["precision"] == "bfloat16" and row["way"].startswith("activations")
    ]
    assert all(0 < distance < 10 for distance in moved)


@pytest.mark.usefixtures("benchmarks")
def test_gpu_says_where_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(OptionError, match="no graphics card here"):
        script("gpu").main(["--json", str(tmp_path / "gpu.json")])
    assert not list(tmp_path.iterdir())


@pytest.mark.usefixtures("benchmarks")
def test_displacement_is_measured_in_pixels() -> None:
    gpu = script("gpu")
    here = np.zeros((2, 3, 2), dtype=np.float32)
    there = here + np.float32([3, 4])
    there[0, 0] = np.nan
    assert gpu.displacement(here, there) == {"median": 5.0, "99 %": 5.0, "largest": 5.0, "centres": 5}


@pytest.mark.slow
@pytest.mark.usefixtures("benchmarks")
def test_locate_cost(tmp_path: Path) -> None:
    out = tmp_path / "cost.json"
    settings = f"--train 4 --images 1 --repeats 1 --detectors linear --json {out}"
    result = script("locate_cost").main(settings.split())
    (row,) = json.loads(out.read_text("utf-8"))["rows"]
    assert row == result["rows"][0]
    assert row["parts"] == 15
    assert row["met"] is (row["ratio"] <= row["must"])


@pytest.mark.slow
@pytest.mark.usefixtures("benchmarks")
def test_forward_only(tmp_path: Path, tiny_cub: Path) -> None:
    settings = "--networks efficientnet_lite0 --train 4 --held 2 --gradient-train 2 --gradient-held 2 --test 2 --repeats 1"
    out = tmp_path / "result.json"
    result = script("forward_only").main(
        [str(tiny_cub), *settings.split(), "--folder", str(tmp_path / "work"), "--json", str(out)]
    )
    assert json.loads(out.read_text("utf-8")) == result
    assert len(result["layers"]) == 5
    assert {len(row["same images"]) for row in result["layers"]} == {5}
