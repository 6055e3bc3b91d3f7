"""Searches over tables of centres: what they find, what they look at, what they say about it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from centre_tables import NotedCells, marked, sampled, screened, table, tally_of
from partscope.errors import DatasetError, OptionError
from partscope.search import RecordedCells, Screening, fewest_maps, search_cells
from partscope.search.bounds import estimates
from partscope.search.charges import Charges
from partscope.search.guide import Guide
from partscope.search.racing import looks, sample_order, shares
from partscope.selection import NORMALISERS, RULES, rank_channels

FEW = settings(max_examples=25)


def nothing_known(centres: np.ndarray) -> Screening:
    return Screening(np.full_like(centres, np.nan), np.zeros(centres.shape[:2], dtype=bool))


# -- bounded search is the exhaustive search ------------------------------------------------------------------------------
@FEW
@given(
    seed=st.integers(0, 10**6),
    rule=st.sampled_from(RULES),
    normalise=st.sampled_from(NORMALISERS),
    top=st.integers(1, 4),
    images=st.integers(1, 25),
    rounded=st.booleans(),
)
def test_bounded_search_finds_what_the_exhaustive_one_does(
    seed: int, rule: str, normalise: str, top: int, images: int, rounded: bool
) -> None:
    data = marked(seed, images)
    centres = table(seed, data, 14, rounded=rounded)
    cells, screening = NotedCells(centres), screened(seed, centres)
    expected = rank_channels(centres, data, rule=rule, normalise=normalise)
    found, search = search_cells(cells, data, screening, "bounded", rule=rule, normalise=normalise, top=top)
    assert_array_equal(found.best, expected.best)
    shown = expected.images > 0
    assert_array_equal(found.order[shown, :top], expected.order[shown, :top])
    assert_array_equal(found.cost[:, found.exact], expected.cost[:, found.exact])
    assert_array_equal(found.missing[:, found.exact], expected.missing[:, found.exact])
    # What was dropped is known to cost at least so much, and more than the last of the best.
    dropped = found.cost[shown][:, ~found.exact]
    assert (dropped <= expected.cost[shown][:, ~found.exact] * (1 + 1e-9)).all()
    last = np.sort(expected.cost[shown], axis=1)[:, [top - 1]]
    assert (dropped > last).all()
    assert cells.asked.max(initial=0) <= 1
    assert not cells.asked[screening.silent].any()
    assert search.maps == cells.asked.sum() <= search.exhaustive_maps - search.silent
    assert search.fewest <= search.maps
    assert search.saved <= search.ceiling


def test_equal_channels_are_ranked_by_their_number() -> None:
    data = marked(1, 12)
    centres = np.repeat(table(1, data, 1), 6, axis=1)
    for method in ("bounded", "racing"):
        found, _ = search_cells(RecordedCells(centres), data, nothing_known(centres), method)
        assert found.best.tolist() == [0, 0, 0]
        assert found.complete is None, "a channel that reaches the best sum exactly is not dropped"


def test_a_misleading_forward_pass_costs_time_alone() -> None:
    data = marked(2, 40)
    centres = table(2, data, 30)
    expected = rank_channels(centres, data)
    wrong = Screening(centres[:, ::-1], np.zeros(centres.shape[:2], dtype=bool))
    good = screened(2, centres, error=1.0, known=1.0)
    saved = []
    for screening in (wrong, nothing_known(centres), good):
        found, search = search_cells(RecordedCells(centres), data, screening, "bounded")
        assert_array_equal(found.best, expected.best)
        saved.append(search.saved)
    assert saved[2] > max(saved[:2])


def test_searches_save_most_of_the_work_where_channels_differ() -> None:
    data = marked(4, 120)
    centres = table(4, data, 200, spread=1.5)
    expected = rank_channels(centres, data)
    screening = screened(4, centres, error=3.0, known=1.0)
    for method in ("bounded", "racing"):
        found, search = search_cells(RecordedCells(centres), data, screening, method)
        assert_array_equal(found.best, expected.best)
        assert search.saved > 0.85
        assert search.ratio(1.0) > 6


# -- racing -------------------------------------------------------------------------------------------------------------------------
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6), rule=st.sampled_from(("squared", "mean")))
def test_a_race_without_risk_is_the_exhaustive_search(seed: int, rule: str) -> None:
    data = marked(seed, 30)
    centres = table(seed, data, 20)
    expected = rank_channels(centres, data, rule=rule)
    found, search = search_cells(
        RecordedCells(centres), data, screened(seed, centres), "racing", rule=rule, delta=1e-15
    )
    assert_array_equal(found.best, expected.best)
    winners = np.isin(found.channels, found.best)
    assert found.exact[winners].all()
    assert_array_equal(found.cost[:, found.exact], expected.cost[:, found.exact])
    assert search.delta == 1e-15
    assert search.looks == len(looks(30))


def test_winners_are_lost_no_more_often_than_the_risk_says() -> None:
    """Channels that hardly differ are the hardest case: each of 30 races has three parts to lose."""
    lost, compared = 0, 0
    for seed in range(1, 90, 3):
        data = marked(seed, 40)
        centres = table(seed, data, 12, spread=0.1, missing=0.0)
        expected = rank_channels(centres, data)
        found, search = search_cells(
            RecordedCells(centres), data, nothing_known(centres), "racing", delta=0.2
        )
        lost += bool((found.best != expected.best).any())
        compared += search.compared
    assert compared > 250
    # 30 races at a risk of 0.2 lose 6 on average if the bound is tight, and 2 were lost.
    assert lost <= 6


def test_looks_grow_to_most_of_the_images() -> None:
    assert looks(200) == [11, 14, 18, 24, 31, 40, 53, 69, 89, 116, 151]
    assert looks(7) == []
    assert shares(looks(200)).sum() == pytest.approx(1)
    assert np.argmax(shares(looks(200))) == looks(200).index(31)
    assert shares([]).size == 0
    assert sorted(sample_order(50).tolist()) == list(range(50))
    assert sample_order(50).tolist() != sample_order(50, purpose=1).tolist()


def test_estimates_are_those_of_a_ratio_estimator_written_out() -> None:
    data = marked(5, 30)
    centres = table(5, data, 8)
    tally, guide, drawn = sampled(5, data, centres, [3, 8, 11, 20, 21, 28])
    estimate, error, count = estimates(tally, guide, np.ones((3, 8), dtype=bool), drawn)
    charges = Charges(data)
    for p, k in itertools.product(range(3), range(1, 8)):
        shown = [i for i in range(30) if data.visible[i, p]]
        true = {i: charges.of(i, centres[i, k])[p] for i in shown}
        guess = guide.charges(k)[:, p]
        here = [i for i in shown if drawn[i, k]]
        rest = [i for i in shown if not tally.known[i, k]]
        ratio = sum(true[i] for i in here) / sum(guess[i] for i in here)
        total = sum(true[i] for i in shown if i not in rest) + ratio * sum(guess[i] for i in rest)
        assert_allclose(estimate[p, k], total / len(shown))
        assert count[p, k] == len(here)
        square = sum((true[i] - ratio * guess[i]) ** 2 for i in here) / (len(here) - 1)
        variance = square * (1 / len(here) + 1 / len(rest))
        assert_allclose(error[p, k], len(rest) * np.sqrt(variance) / len(shown))


# -- the ceiling ------------------------------------------------------------------------------------------------------------------
@settings(max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_the_ceiling_is_the_least_number_of_images_that_any_order_needs(seed: int) -> None:
    data = marked(seed, 6)
    centres = table(seed, data, 5)
    screening = screened(seed, centres)
    tally = tally_of(data, centres, screening)
    tally.finish(np.ones(5, dtype=bool))
    expected = rank_channels(centres, data)
    shown = [p for p in range(3) if data.visible[:, p].any()]
    limits = {p: expected.cost[p].min() * expected.images[p] * (1 + 1e-9) for p in shown}
    charges = Charges(data)
    total = 0
    for k in range(5):
        live = [i for i in range(6) if not screening.silent[i, k]]
        charge = charges.of(np.arange(6), centres[:, k])
        start = charge[screening.silent[:, k]].sum(axis=0)

        def excludes(some: tuple[int, ...], p: int, charge: Any = charge, start: Any = start) -> bool:
            return bool(start[p] + charge[list(some), p].sum() > limits[p])

        if k in expected.best:
            total += len(live)
            continue
        total += max(
            min(
                (
                    n
                    for n in range(len(live) + 1)
                    if any(excludes(some, p) for some in itertools.combinations(live, n))
                ),
                default=len(live),
            )
            for p in shown
        )
    assert fewest_maps(tally) == total


def test_the_ceiling_of_a_search_holds_for_the_whole_table() -> None:
    for seed in range(1, 12):
        data = marked(seed, 25)
        centres = table(seed, data, 25)
        screening = screened(seed, centres)
        whole = tally_of(data, centres, screening)
        whole.finish(np.ones(25, dtype=bool))
        _, search = search_cells(RecordedCells(centres), data, screening, "bounded")
        assert search.fewest <= fewest_maps(whole) <= search.maps


# -- what is counted --------------------------------------------------------------------------------------------------------------
def test_the_charges_are_those_of_the_ranking() -> None:
    data = marked(7, 15)
    centres = table(7, data, 6)
    for rule in RULES:
        charges = Charges(data, rule)
        whole = charges.of(np.arange(15)[:, None], centres)
        expected = rank_channels(centres, data, rule=rule)
        for p in range(3):
            rows = whole[data.visible[:, p], :, p]
            value = np.median(rows, axis=0) if rule == "median" else rows.mean(axis=0)
            assert_allclose(value, expected.cost[p], rtol=1e-12)
        assert not whole[~data.visible[:, 1], :, 1].any()


def test_the_guide_learns_a_linear_rule() -> None:
    """Where charges are a multiple of the forward pass's, it is found from one complete channel."""
    data = marked(8, 40)
    centres = table(8, data, 4, missing=0.0)
    screening = Screening(centres, np.zeros(centres.shape[:2], dtype=bool))
    tally = tally_of(data, centres, screening)
    guide = Guide(screening, tally)
    for _ in range(2):
        charges = Charges(data)
        for k in range(4):
            assert_allclose(guide.charges(k), charges.of(np.arange(40), centres[:, k]), atol=1e-9)
        assert_allclose(guide.costs(), rank_channels(centres, data).cost, atol=1e-9)
        tally.finish(np.arange(4) < 2)
        guide.measure_images()
        guide.learn()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"method": "exhaustive"}, "search must be one of bounded, racing, not 'exhaustive'"),
        ({"rule": "best"}, "rule must be one of squared, mean, median, not 'best'"),
        ({"normalise": "eyes"}, "normalise must be one of"),
        ({"top": 0}, "top must be 1 or more, not 0"),
        ({"delta": 0.0}, "between 0 and 1, not 0.0"),
        ({"delta": 1.5}, "between 0 and 1, not 1.5"),
        ({"method": "racing", "rule": "median"}, "racing compares means .* use search='bounded'"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], reason: str) -> None:
    data = marked(1, 3)
    centres = table(1, data, 2)
    call = {"method": "bounded", **options}
    with pytest.raises(OptionError, match=reason):
        search_cells(RecordedCells(centres), data, nothing_known(centres), **call)


def test_tables_of_other_images_are_refused() -> None:
    data = marked(1, 3)
    centres = table(1, data, 2)
    with pytest.raises(DatasetError, match="the table has 3 images and 2 channels, the data set 2 images"):
        search_cells(RecordedCells(centres), data[:2], nothing_known(centres), "bounded")
