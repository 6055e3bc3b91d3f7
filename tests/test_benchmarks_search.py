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

PRICE = {"visit": 2.0, "visit for few channels": 1.0, "map among few": 1.5, "screening an image": 2.0}


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
        benchmark.replay(recorded, screening, pool.limit(60, seed), spec, [0.1], PRICE) for seed in range(3)
    ]
    for draw in draws:
        assert draw["bounded"]["same"]
        assert 0 < draw["bounded"]["saved"] <= draw["ceiling"] < 1
        assert draw["bounded"]["times less cost"] < draw["bounded"]["times fewer maps"]
    few = benchmark.summary("net", draws, asked=False, deltas=[0.1])
    assert not any(row.get("met") for row in few), "three draws are not what was asked"
    rows = benchmark.summary("net", draws, asked=True, deltas=[0.1])
    assert rows[1]["ratio"] == pytest.approx(np.mean([draw["bounded"]["share of ceiling"] for draw in draws]))
    assert rows[1]["met"] == (rows[1]["ratio"] >= 0.8)
    draws[0]["bounded"]["same"] = False
    assert not benchmark.summary("net", draws, asked=True, deltas=[0.1])[1]["met"], (
        "one other winner is one too many"
    )


def test_a_silent_channel_with_a_centre_stops_the_benchmark(benchmark: ModuleType) -> None:
    pool = marked(4, 10)
    centres = table(4, pool, 5)
    screening = screened(4, centres)
    assert rank_channels(centres, pool).best.max() >= 0
    screening.silent[np.isfinite(centres[..., 0])] = True
    recorded = Scan(pool.ids, np.arange(5), (CentreSpec(),), centres[:, None], ())
    with pytest.raises(SystemExit, match="must not be"):
        benchmark.replay(recorded, screening, pool, CentreSpec(), [0.1], PRICE)


def test_visits_are_charged_by_their_numbers_of_channels(benchmark: ModuleType) -> None:
    cells = benchmark.Counted(np.zeros((4, 9, 2)))
    cells.look(np.array([0, 0, 0, 0, 2]), np.array([1, 2, 3, 8, 0]))
    cells.look(np.array([3]), np.array([0]))
    assert cells.visits == [4, 1, 1]
    # Four maps and a visit; two maps among few and their visits; four images screened.
    assert benchmark.charged(cells.visits, 4, PRICE) == 4 + 2 + 2 * 1.5 + 2 * 1 + 4 * 2


def test_prices_come_from_lines_through_times(benchmark: ModuleType) -> None:
    seconds = {"1": 3.0, "3": 6.0, "16": 8.0 + 16, "80": 8.0 + 80, "screening": 5.0}
    assert benchmark.prices(seconds) == {
        "visit": 8.0,
        "visit for few channels": 1.5,
        "map among few": 1.5,
        "screening an image": 5.0,
    }
