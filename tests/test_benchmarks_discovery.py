"""The benchmark of part discovery runs, keeps what is finished, and its baselines say what they must."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest
import torch

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def discovery(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The script, with fewer parts, marked images and draws; the number of threads stays as it was."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    threads = torch.get_num_threads()
    script = import_module("discovery")
    for name, value in {
        "NAMED_PARTS": 2,
        "HELD_PARTS": (2,),
        "MARKED": (1, 2),
        "REPEATS": 2,
        "DRAWS": 5,
        "NAMINGS": script.NAMINGS[:2],
    }.items():
        monkeypatch.setattr(script, name, value)
    yield script
    torch.set_num_threads(threads)


def test_rows_are_made_once(discovery: ModuleType, tiny_cub: Path, tmp_path: Path) -> None:
    out = tmp_path / "discovery.json"
    words = ["--images", "3", "--held", "3", "--parts", "2", "--input-size", "64", "--json", str(out)]
    words += ["--cache", str(tmp_path / "cache")]
    result = discovery.main([str(tiny_cub), *words])
    rows = result["rows"]
    assert json.loads(out.read_text("utf-8")) == result
    # The keypoints of these pictures lie in the same places of every box.
    assert rows["test, constant"]["regression"] == pytest.approx(0, abs=1e-9)
    place, chance = rows["test, k-means on position, 2 parts"], rows["test, chance, 2 parts"]
    assert place["ari"] > chance["ari"]
    assert place["keypoints"] == chance["keypoints"] == 6 * 14
    for supervision in ("box", "none"):
        named = rows[f"test, {supervision}, combinations, 2 parts, named"]
        assert set(named) == {f"{n} marked{more}" for n in (1, 2) for more in ("", ", places alone")}
        assert all(len(entry["draws"]) == 2 for entry in named.values())
        assert 0 <= rows[f"test, {supervision}, channels, 2 parts"]["nmi"] <= 1
    assert rows["test, static prior of the marked images"]["2 marked, prior in the box"]["error"] < 0.01

    stored = json.loads(out.read_text("utf-8"))
    stored["rows"]["test, chance, 2 parts"]["nmi"] = 0.5
    del stored["rows"]["test, constant"]
    out.write_text(json.dumps(stored), "utf-8")
    again = discovery.main([str(tiny_cub), *words])
    assert again["rows"]["test, chance, 2 parts"]["nmi"] == 0.5
    assert again["rows"]["test, constant"] == rows["test, constant"]
