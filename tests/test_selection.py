from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import partscope.selection
from partscope.dataset import PartDataset, Sample
from partscope.errors import DatasetError, OptionError
from partscope.selection import NORMALISERS, RULES, Ranking, rank_channels, selection_scale, shared_channels

PARTS = ("beak", "tail", "crest")


def make_dataset(seed: int, count: int = 7, hidden: float = 0.3, boxes: float = 0.7) -> PartDataset:
    """Images of different sizes; some parts are hidden, the crest always, and some images have no box."""
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(count):
        width, height = (int(v) for v in rng.integers(20, 200, 2))
        visible = rng.random(3) >= hidden
        visible[0] |= i == 0
        visible[2] = False
        box = None
        if rng.random() < boxes:
            w, h = rng.uniform(5, width), rng.uniform(5, height)
            box = (rng.uniform(0, width - w), rng.uniform(0, height - h), w, h)
        samples.append(
            Sample(
                f"{i}",
                Path(f"{i}.png"),
                (width, height),
                rng.uniform(0, 1, (3, 2)) * (width, height),
                visible,
                box,
            )
        )
    return PartDataset(PARTS, tuple(samples))


def make_centres(seed: int, data: PartDataset, channels: int = 6, missing: float = 0.2) -> np.ndarray:
    rng = np.random.default_rng(seed + 1)
    centres = rng.uniform(0, 1, (len(data), channels, 2)) * data.sizes[:, None]
    centres[rng.random((len(data), channels)) < missing] = np.nan
    return centres


def plain_cost(
    data: PartDataset, centres: np.ndarray, part: int, channel: int, rule: str, normalise: str
) -> tuple[float, int, int]:
    """Cost, missing centres and images of one channel for one part, image by image."""
    distances, missing = [], 0
    for i, sample in enumerate(data):
        if not sample.visible[part]:
            continue
        x, y = sample.points[part]
        cx, cy = centres[i, channel]
        if math.isnan(cx):
            missing += 1
            width, height = sample.size
            distance = max(math.hypot(x - a, y - b) for a in (0, width) for b in (0, height))
        else:
            distance = math.hypot(x - cx, y - cy)
        if normalise == "box" and sample.box is not None:
            distance /= math.hypot(sample.box[2], sample.box[3])
        elif normalise in ("box", "image"):
            distance /= math.hypot(*sample.size)
        distances.append(distance)
    if not distances:
        return math.nan, 0, 0
    squares = [d * d for d in distances]
    value = {
        "squared": sum(squares) / len(squares),
        "mean": sum(distances) / len(distances),
        "median": statistics.median(distances),
    }[rule]
    return value, missing, len(distances)


@settings(max_examples=10)
@given(
    seed=st.integers(0, 10**6),
    hidden=st.sampled_from([0.0, 0.3, 0.9]),
    missing=st.sampled_from([0.0, 0.2, 1.0]),
)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("normalise", NORMALISERS)
def test_costs_ranks_and_counts_equal_plain_loops(
    rule: str, normalise: str, seed: int, hidden: float, missing: float
) -> None:
    data = make_dataset(seed, hidden=hidden)
    centres = make_centres(seed, data, missing=missing)
    ranking = rank_channels(centres, data, rule=rule, normalise=normalise)
    assert ranking.parts == PARTS
    for p in range(3):
        plain = [plain_cost(data, centres, p, k, rule, normalise) for k in range(6)]
        np.testing.assert_allclose(ranking.cost[p], [cost for cost, _, _ in plain], rtol=1e-12)
        assert ranking.missing[p].tolist() == [count for _, count, _ in plain]
        assert ranking.images[p] == plain[0][2]
        if ranking.images[p]:
            # The library's own costs order it: two costs one rounding apart are no tie for either.
            expected = sorted(range(6), key=lambda k: (ranking.cost[p, k], k))
            assert ranking.order[p].tolist() == expected
            assert ranking.best[p] == expected[0]
        else:
            assert ranking.best[p] == -1


def test_equation_3_literally() -> None:
    """Sum of squared pixel distances over the images that show the part; the channel with the smallest one."""
    data = make_dataset(0)
    centres = make_centres(0, data, missing=0.0)
    ranking = rank_channels(centres, data, rule="squared", normalise="none")
    for p in (0, 1):
        sums = np.zeros(6)
        for i in range(len(data)):
            if data.visible[i, p]:
                sums += ((centres[i] - data.points[i, p]) ** 2).sum(axis=1)
        np.testing.assert_allclose(ranking.cost[p] * ranking.images[p], sums)
        assert ranking.best[p] == sums.argmin()


# -- the stated rules -----------------------------------------------------------------------------------------------------------------
def small_dataset(points: list[tuple[float, float]], size: tuple[int, int] = (30, 40)) -> PartDataset:
    samples = [
        Sample(str(i), Path(f"{i}.png"), size, [point], [not math.isnan(point[0])], (0, 0, 6, 8))
        for i, point in enumerate(points)
    ]
    return PartDataset(("beak",), tuple(samples))


def test_a_missing_centre_is_charged_the_farthest_corner_and_a_dead_channel_does_not_win() -> None:
    data = small_dataset([(10, 10), (20, 10)])
    centres = np.array([[[np.nan, np.nan], [10, 20]], [[np.nan, np.nan], [20, 30]]])
    ranking = rank_channels(centres, data, rule="mean", normalise="none")
    # The farthest corner from (10, 10) in 30×40 is (30, 40), from (20, 10) it is (0, 40).
    assert ranking.cost[0].tolist() == pytest.approx([math.hypot(20, 30), 15])
    assert ranking.missing.tolist() == [[2, 0]]
    assert ranking.best.tolist() == [1]
    assert rank_channels(centres, data, rule="mean").cost[0].tolist() == pytest.approx(
        [math.hypot(20, 30) / 10, 1.5]
    )


def test_a_centre_with_one_coordinate_is_no_centre() -> None:
    ranking = rank_channels([[[np.nan, 3.0], [3.0, np.nan]]], small_dataset([(10, 10)]))
    assert ranking.missing.tolist() == [[1, 1]]


def test_ties_go_to_the_lower_channel_number_whatever_the_order() -> None:
    data = small_dataset([(10, 10)])
    centres = np.array([[[12, 10], [10, 12], [8, 10], [10, 8.5]]])
    for channels in ([7, 3, 5, 9], [3, 7, 9, 5]):
        ranking = rank_channels(centres, data, channels=channels)
        assert ranking.channels[ranking.order[0]].tolist() == [channels[3], *sorted(channels[:3])]
        assert ranking.best.tolist() == [channels[3]]
    same = rank_channels(np.full((1, 3, 2), 5.0), data, channels=[8, 2, 4])
    assert same.best.tolist() == [2]


def test_a_part_that_is_never_visible_has_no_channel() -> None:
    data = make_dataset(3)
    ranking = rank_channels(make_centres(3, data), data)
    assert ranking.best[2] == -1
    assert ranking.images[2] == 0
    assert np.isnan(ranking.cost[2]).all()
    assert ranking.missing[2].tolist() == [0] * 6
    assert ranking.top("crest") == []
    assert all("crest" not in parts for parts in shared_channels(ranking).values())


def test_no_image_at_all_gives_no_channel() -> None:
    data = make_dataset(0)[:0]
    assert rank_channels(np.empty((0, 4, 2)), data).best.tolist() == [-1, -1, -1]


def test_several_parts_may_share_a_channel() -> None:
    ranking = Ranking(
        ("a", "b", "c", "d"),
        np.array([2, 9]),
        np.array([[0.1, 0.2], [0.3, 0.2], [0.1, 0.4], [np.nan, np.nan]]),
        np.array([[0, 1], [1, 0], [0, 1], [0, 1]]),
        np.zeros((4, 2), dtype=np.int64),
        np.array([3, 3, 3, 0]),
    )
    assert ranking.best.tolist() == [2, 9, 2, -1]
    assert shared_channels(ranking) == {2: ("a", "c"), 9: ("b",)}


def test_the_ranking_as_records() -> None:
    data = make_dataset(1)
    ranking = rank_channels(make_centres(1, data), data, channels=[10, 11, 12, 13, 14, 15])
    rows = ranking.top("tail", 4)
    assert [row["rank"] for row in rows] == [1, 2, 3, 4]
    costs = [row["cost"] for row in rows]
    assert costs == sorted(costs)
    for row in rows:
        k = row["channel"] - 10
        assert row == {
            "rank": row["rank"],
            "channel": 10 + k,
            "cost": ranking.cost[1, k],
            "missing": ranking.missing[1, k],
            "images": ranking.images[1],
            "complete": True,
        }
    assert len(ranking.top("tail", 100)) == 6
    with pytest.raises(OptionError, match="no part 'wing' in the ranking; it has beak, tail, crest"):
        ranking.top("wing")


# -- properties ---------------------------------------------------------------------------------------------------------------------------
@given(seed=st.integers(0, 10**6), rule=st.sampled_from(RULES), normalise=st.sampled_from(NORMALISERS))
def test_the_order_of_images_and_channels_does_not_matter(seed: int, rule: str, normalise: str) -> None:
    data = make_dataset(seed)
    centres, rng = make_centres(seed, data), np.random.default_rng(seed)
    ranking = rank_channels(centres, data, rule=rule, normalise=normalise)
    images, channels = rng.permutation(len(data)), rng.permutation(6)
    shuffled = rank_channels(
        centres[images][:, channels], data[images], channels=channels, rule=rule, normalise=normalise
    )
    np.testing.assert_allclose(shuffled.cost[:, np.argsort(channels)], ranking.cost, rtol=1e-12)
    assert shuffled.best.tolist() == ranking.best.tolist()


@given(seed=st.integers(0, 10**6), factor=st.integers(2, 9), rule=st.sampled_from(RULES))
def test_enlarged_images_rank_alike(seed: int, factor: int, rule: str) -> None:
    data = make_dataset(seed)
    centres = make_centres(seed, data)
    large = PartDataset(
        PARTS,
        tuple(
            Sample(
                s.id,
                s.image,
                (s.size[0] * factor, s.size[1] * factor),
                s.points * factor,
                s.visible,
                None if s.box is None else tuple(v * factor for v in s.box),  # type: ignore[arg-type]
            )
            for s in data
        ),
    )
    for normalise in ("box", "image"):
        first = rank_channels(centres, data, rule=rule, normalise=normalise)
        second = rank_channels(centres * factor, large, rule=rule, normalise=normalise)
        np.testing.assert_allclose(second.cost, first.cost, rtol=1e-9)


@given(seed=st.integers(0, 10**6), rule=st.sampled_from(RULES))
def test_a_channel_at_the_part_itself_wins_with_cost_zero(seed: int, rule: str) -> None:
    data = make_dataset(seed)
    centres = make_centres(seed, data)
    centres[:, 3] = data.points[:, 0]
    ranking = rank_channels(centres, data, rule=rule)
    assert ranking.cost[0, 3] == 0
    assert ranking.cost[0, ranking.order[0, 0]] == 0


@given(seed=st.integers(0, 10**6))
def test_channels_in_blocks_are_ranked_alike(seed: int) -> None:
    data = make_dataset(seed)
    centres = make_centres(seed, data)
    whole = rank_channels(centres, data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(partscope.selection, "_DISTANCES_AT_ONCE", 2 * len(data))
        blocks = rank_channels(centres, data)
    np.testing.assert_array_equal(blocks.cost, whole.cost)
    np.testing.assert_array_equal(blocks.order, whole.order)
    np.testing.assert_array_equal(blocks.missing, whole.missing)


# -- scales and wrong requests ---------------------------------------------------------------------------------------------------------
def test_the_scale_is_the_box_or_the_image_diagonal() -> None:
    data = make_dataset(5, 12)
    for i, sample in enumerate(data):
        image = math.hypot(*sample.size)
        box = image if sample.box is None else math.hypot(*sample.box[2:])
        assert selection_scale(data, "box")[i] == pytest.approx(box)
        assert selection_scale(data, "image")[i] == pytest.approx(image)
    assert selection_scale(data, "none").tolist() == [1.0] * 12
    assert {s.box is None for s in data} == {True, False}
    with pytest.raises(OptionError, match="one of box, image, none, not 'width'"):
        selection_scale(data, "width")


@pytest.mark.parametrize(
    ("centres", "options", "error", "reason"),
    [
        (np.zeros((7, 4, 2)), {"rule": "max"}, OptionError, "one of squared, mean, median, not 'max'"),
        (np.zeros((7, 4, 2)), {"normalise": "eyes"}, OptionError, "one of box, image, none, not 'eyes'"),
        (np.zeros((6, 4, 2)), {}, DatasetError, r"shape \(7, K, 2\) with K ≥ 1, not \(6, 4, 2\)"),
        (np.zeros((7, 0, 2)), {}, DatasetError, r"not \(7, 0, 2\)"),
        (np.zeros((7, 4)), {}, DatasetError, r"not \(7, 4\)"),
        (
            np.zeros((7, 4, 2)),
            {"channels": [1, 2]},
            DatasetError,
            r"channels must have shape \(4,\), not \(2,\)",
        ),
    ],
)
def test_wrong_requests_are_refused(
    centres: np.ndarray, options: dict[str, Any], error: type[Exception], reason: str
) -> None:
    with pytest.raises(error, match=reason):
        rank_channels(centres, make_dataset(0), **options)


def test_the_centres_are_left_alone_and_single_precision_is_taken() -> None:
    data = make_dataset(2)
    centres = make_centres(2, data).astype(np.float32)
    before = centres.copy()
    ranking = rank_channels(centres, data)
    np.testing.assert_array_equal(centres, before)
    assert ranking.cost.dtype == np.float64
    np.testing.assert_array_equal(rank_channels(centres.tolist(), data).order, ranking.order)
