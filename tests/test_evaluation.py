"""`evaluate`: the row recomputed with plain loops, and what leaves it unchanged."""

from __future__ import annotations

import json
import math
import statistics

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evaluated import DRAWS, NOWHERE, PARTS, make_dataset, predict, single
from partscope.evaluation import INFO_KEYS, compare, evaluate, prior_predictions
from partscope.formats import load_dataset
from partscope.metrics import bootstrap_interval
from partscope.predictions import PartPredictions
from partscope.prior import StaticPrior


def test_row_equals_plain_loops():
    train, test = make_dataset(0, 30), make_dataset(1)
    prior = StaticPrior.fit(train)
    guess = predict(test, 2, found=0.8)
    row = evaluate(guess, test, prior, draws=DRAWS).row()

    pairs: list[dict] = []
    for i, sample in enumerate(test):
        _, _, w, h = sample.box
        for p, part in enumerate(PARTS):
            if not sample.visible[p]:
                continue
            in_image = prior.image[p] * sample.size
            in_box = sample.box[:2] + prior.box[p] * (w, h)
            place = guess.points[i, p] if guess.found[i, p] else in_image
            dx, dy = place - sample.points[p]
            pairs.append(
                {
                    "part": part,
                    "diagonal": math.hypot(dx, dy) / math.hypot(w, h),
                    "axes": math.hypot(dx / w, dy / h) / math.sqrt(2),
                    "relative": math.hypot(dx, dy) / max(w, h),
                    "found": bool(guess.found[i, p]),
                    "image": math.dist(in_image, sample.points[p]) / math.hypot(w, h),
                    "box": math.dist(in_box, sample.points[p]) / math.hypot(w, h),
                }
            )

    def average(key, chosen=None):
        return statistics.fmean(pair[key] for pair in (pairs if chosen is None else chosen))

    groups = {part: [pair for pair in pairs if pair["part"] == part] for part in PARTS}
    for name in ("diagonal", "axes"):
        assert row["error"][name]["mean"] == pytest.approx(average(name))
        macro = statistics.fmean(average(name, group) for group in groups.values())
        assert row["error"][name]["macro"] == pytest.approx(macro)
        assert row["error"][name]["median"] == pytest.approx(statistics.median(pair[name] for pair in pairs))
        low, high = row["error"][name]["ci95"]
        assert low < row["error"][name]["mean"] < high
    result = evaluate(guess, test, prior, draws=DRAWS, random_state=7)
    assert result.ci95 == pytest.approx(bootstrap_interval(result.errors, draws=DRAWS, random_state=7))
    for alpha in ("0.05", "0.1", "0.2"):
        share = statistics.fmean(pair["relative"] <= float(alpha) for pair in pairs)
        assert row["pck"][alpha] == pytest.approx(share)
    assert row["prior"] == pytest.approx({"image": average("image"), "box": average("box")})
    assert row["skill"] == pytest.approx(1 - average("diagonal") / average("image"))
    assert row["coverage"] == pytest.approx(average("found"))
    assert (row["images"], row["parts"], row["pairs"]) == (len(test), 4, len(pairs))
    for part, group in groups.items():
        cell = row["per_part"][part]
        assert cell["images"] == len(group)
        assert cell["mean"] == pytest.approx(average("diagonal", group))
        assert cell["median"] == pytest.approx(statistics.median(pair["diagonal"] for pair in group))
        assert cell["axes"] == pytest.approx(average("axes", group))
        assert cell["coverage"] == pytest.approx(average("found", group))
        assert cell["prior"] == pytest.approx({kind: average(kind, group) for kind in ("image", "box")})
        assert cell["skill"] == pytest.approx(1 - average("diagonal", group) / average("image", group))
        assert cell["pck"]["0.1"] == pytest.approx(
            statistics.fmean(pair["relative"] <= 0.1 for pair in group)
        )
    missing = sum(not pair["found"] for pair in pairs)
    assert f"visible parts not found: {missing}; given the image prior's position: {missing}" in row["notes"]


def test_row_has_the_contracts_keys_and_is_json():
    test = make_dataset(3)
    info = {"method": "channel", "backbone": "net", "layer": "l", "input_size": 224, "centre": "mixture"}
    row = evaluate(predict(test, 4), test, StaticPrior.fit(test), info=info, draws=DRAWS).row()
    again = json.loads(json.dumps(row, allow_nan=False))
    assert again == row
    contract = {*INFO_KEYS, "images", "parts", "error", "pck", "coverage", "prior", "skill", "per_part"}
    assert contract <= set(row)
    assert row["method"] == "channel"
    assert row["region"] == "image"
    for kind in ("diagonal", "axes"):
        assert set(row["error"][kind]) == {"mean", "macro", "median", "ci95"}
        assert len(row["error"][kind]["ci95"]) == 2
    assert list(row["pck"]) == ["0.05", "0.1", "0.2"]
    assert set(row["prior"]) == {"image", "box"}


def test_nothing_in_a_row_is_nan():
    """No prior, no box, pixels, a part that is never visible: None, not NaN."""
    test = single([(10, 10), NOWHERE, NOWHERE, NOWHERE])
    row = evaluate(predict(test, 0), test, normaliser="pixels", draws=DRAWS).row()
    json.dumps(row, allow_nan=False)
    assert row["prior"] == {"image": None, "box": None}
    assert row["skill"] is None
    assert row["pck"] == {"0.05": None, "0.1": None, "0.2": None}
    assert row["per_part"]["tail"]["mean"] is None
    assert row["per_part"]["tail"]["coverage"] is None
    assert row["exchanged_sides"]["both_visible"] == {"share": None, "wrong": 0, "total": 0, "left_out": 0}
    assert "there is no prior relative to the image, so there is no skill" in row["notes"]


@settings(max_examples=25)
@given(st.integers(0, 1000))
def test_perfect_predictions(seed):
    test = make_dataset(seed)
    row = evaluate(predict(test, seed, noise=0), test, StaticPrior.fit(test), draws=DRAWS).row()
    for kind in ("diagonal", "axes"):
        assert row["error"][kind] == {"mean": 0, "macro": 0, "median": 0, "ci95": [0, 0]}
    assert set(row["pck"].values()) == {1}
    assert (row["skill"], row["coverage"]) == (1, 1)
    assert row["exchanged_sides"]["both_visible"]["wrong"] in (0, 0.5, 1)  # wings nearer than 1 % count half


@pytest.mark.parametrize(
    ("kind", "region"), [("image", "image"), ("box", "box"), ("box", "crop"), ("box", "mask")]
)
def test_the_prior_has_no_skill_against_itself(kind, region):
    train, test = make_dataset(5), make_dataset(6)
    prior = StaticPrior.fit(train)
    result = evaluate(prior_predictions(prior, test, kind), test, prior, info={"region": region}, draws=DRAWS)
    assert result.skill == pytest.approx(0, abs=1e-12)
    assert result.reference == kind
    assert result.row()["prior"][kind] == pytest.approx(result.error)
    assert result.coverage == 1


@settings(max_examples=25)
@given(st.integers(0, 1000))
def test_order_of_images_and_parts_is_irrelevant(seed):
    test = make_dataset(seed)
    guess, prior = predict(test, seed, found=0.7), StaticPrior.fit(make_dataset(seed + 1))
    rng = np.random.default_rng(seed)
    expected = evaluate(guess, test, prior, draws=DRAWS).row()
    other = rng.permutation(len(test)), rng.permutation(len(test))
    parts = [PARTS[p] for p in rng.permutation(4)]
    row = evaluate(guess[other[0]].with_parts(parts), test[other[1]], prior, draws=DRAWS).row()
    for kind in ("diagonal", "axes"):
        for key in ("mean", "macro", "median", "ci95"):
            assert row["error"][kind][key] == pytest.approx(expected["error"][kind][key], abs=1e-12)
    assert row["pck"] == pytest.approx(expected["pck"])
    assert row["exchanged_sides"] == expected["exchanged_sides"]
    assert row["per_part"]["tail"]["ci95"] == pytest.approx(expected["per_part"]["tail"]["ci95"], abs=1e-12)


@pytest.mark.parametrize("normaliser", ["box", "image", ("parts", "left wing", "right wing")])
def test_enlarging_images_changes_no_normalised_error(normaliser):
    """Sizes are whole numbers before and after, so that the factor is exact."""
    small, large = make_dataset(7), make_dataset(7, factor=2.0)
    guess = predict(small, 8)
    scaled = PartPredictions(
        guess.parts, guess.ids, guess.points * 2, guess.found, guess.score, guess.visible
    )
    prior = StaticPrior.fit(small)
    rows = [
        evaluate(one, data, prior, normaliser=normaliser, draws=DRAWS).row()
        for one, data in ((guess, small), (scaled, large))
    ]
    for key in ("mean", "macro", "median", "ci95"):
        assert rows[0]["error"]["diagonal"][key] == pytest.approx(rows[1]["error"]["diagonal"][key])
    assert rows[0]["pck"] == rows[1]["pck"]
    assert rows[0]["skill"] == pytest.approx(rows[1]["skill"])


def test_repr_is_one_line():
    test = make_dataset(33)
    text = repr(
        evaluate(predict(test, 34), test, StaticPrior.fit(test), info={"method": "channel"}, draws=DRAWS)
    )
    assert text.startswith("Evaluation(channel: 12 images, 4 parts, error 0.")
    assert "\n" not in text


@pytest.mark.cub
@pytest.mark.filterwarnings("ignore::partscope.errors.PartscopeWarning")
def test_priors_of_cub(cub_folder):
    """On any part of CUB the median in the box is near the protocol's 0.186 and better than the one in the image."""
    birds = load_dataset("cub", cub_folder)
    prior = StaticPrior.fit(birds.train)
    image, box = (
        evaluate(prior_predictions(prior, birds.test, kind), birds.test, prior, info={"region": kind})
        for kind in ("image", "box")
    )
    assert box.error == pytest.approx(0.186, abs=0.015)
    assert compare(image, box).total.ci[0] > 0
    assert len(box.parts) == 15
    assert box.coverage == 1
