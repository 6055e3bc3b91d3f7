"""The benchmark of the searches, on a table that is at hand."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from centre_tables import marked, screened, table
from partscope.channel_centres import CentreSpec
from partscope.scan import Scan
from partscope.selection import rank_channels

PRICE = {
    "visit, few": 1.0,
    "map, few": 1.5,
    "visit, some": 2.0,
    "map, some": 1.25,
    "visit, many": 3.0,
    "map, many": 1.0,
    "screening an image": 2.0,
}
PRICES = {"with Numba": PRICE, "without Numba": {**PRICE, "visit, many": 2.0}}


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "benchmarks"))
    return import_module("search")


def test_draws_are_replayed_on_the_recorded_scan(benchmark: ModuleType) -> None:
    pool = marked(4, 80)
    centres = table(4, pool, 60, spread=1.5)
    screening = screened(4, centres, known=1.0)
    spec = CentreSpec()
    recorded = Scan(pool.ids, np.arange(60), (spec,), centres[:, None], ())
    draws = [
        benchmark.replay(recorded, screening, pool.limit(60, seed), spec, [0.1], PRICES) for seed in range(3)
    ]
    for draw in draws:
        assert draw["bounded"]["same"]
        assert 0 < draw["bounded"]["saved"] <= draw["ceiling"] < 1
        assert max(draw["bounded"]["times less cost"].values()) < draw["bounded"]["times fewer maps"]
    few = benchmark.summary("net", draws, asked=False, deltas=[0.1])
    assert not any(row.get("met") for row in few), "three draws are not what was asked"
    rows = benchmark.summary("net", draws, asked=True, deltas=[0.1])
    (share,) = [row for row in rows if "ceiling" in row["name"]]
    assert share["ratio"] == pytest.approx(np.mean([draw["bounded"]["share of ceiling"] for draw in draws]))
    assert share["met"] == (share["ratio"] >= 0.8)
    races = [row for row in rows if "racing" in row["name"]]
    assert [row["name"].partition(":")[0] for row in races] == ["net, with Numba", "net, without Numba"]
    assert all(row["met"] == (row["ratio"] >= 8) for row in races)
    draws[0]["bounded"]["same"] = False
    rows = benchmark.summary("net", draws, asked=True, deltas=[0.1])
    assert not any(row["met"] for row in rows if "ceiling" in row["name"]), "one other winner is one too many"


def test_a_silent_channel_with_a_centre_stops_the_benchmark(benchmark: ModuleType) -> None:
    pool = marked(4, 10)
    centres = table(4, pool, 5)
    screening = screened(4, centres)
    assert rank_channels(centres, pool).best.max() >= 0
    screening.silent[np.isfinite(centres[..., 0])] = True
    recorded = Scan(pool.ids, np.arange(5), (CentreSpec(),), centres[:, None], ())
    with pytest.raises(SystemExit, match="must not be"):
        benchmark.replay(recorded, screening, pool, CentreSpec(), [0.1], PRICES)


def test_visits_are_charged_by_their_numbers_of_channels(benchmark: ModuleType) -> None:
    cells = benchmark.Counted(np.zeros((4, 90, 2)))
    cells.look(np.array([0, 0, 0, 0, 2]), np.array([1, 2, 3, 8, 0]))
    cells.look(np.repeat(3, 32), np.arange(32))
    assert cells.visits == [4, 1, 32]
    # Four maps among some and a visit, one among few and its visit, 32 among many and their visit; four images screened.
    assert benchmark.charged(cells.visits, 4, PRICE) == 4 * 1.25 + 2 + 1.5 + 1 + 32 + 3 + 4 * 2


def test_prices_come_from_lines_through_times(benchmark: ModuleType) -> None:
    seconds = {
        "1": 3.0,
        "3": 6.0,
        "4": 8.0 + 8,
        "11": 8.0 + 22,
        "16": 20.0 + 16,
        "192": 20.0 + 192,
        "screening": 5.0,
    }
    assert benchmark.prices(seconds) == {
        "visit, few": 1.5,
        "map, few": 1.5,
        "visit, some": 8.0,
        "map, some": 2.0,
        "visit, many": 20.0,
        "map, many": 1.0,
        "screening an image": 5.0,
        "seconds of a map": 1.0,
    }


def test_prices_can_be_measured_without_numba(benchmark: ModuleType) -> None:
    from partscope import maps

    original = maps.has_numba
    with benchmark.numba(False):
        assert not maps.has_numba()
    assert maps.has_numba is original
