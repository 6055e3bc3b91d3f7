"""`evaluate` and `compare`: the row recomputed with plain loops, the rules for what was not found, and the messages."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partscope import metrics
from partscope.dataset import PartDataset, Sample, Skipped
from partscope.errors import DatasetError, OptionError
from partscope.evaluation import INFO_KEYS, compare, evaluate, prior_predictions
from partscope.formats import load_dataset
from partscope.metrics import bootstrap_interval
from partscope.predictions import PartPredictions
from partscope.prior import StaticPrior

PARTS = ("beak", "left wing", "right wing", "tail")
NOWHERE = (math.nan, math.nan)
DRAWS = 100


def make_dataset(
    seed: int, images: int = 12, boxes: bool = True, parts=PARTS, factor: float = 1.0
) -> PartDataset:
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(images):
        width, height = rng.integers(50, 300, 2) * factor
        x, y = rng.uniform(0, 0.4, 2)
        box = tuple((np.array([x, y, 0.5, 0.4]) * [width, height, width, height]).tolist())
        places = np.array(box[:2]) + rng.uniform(0, 1, (len(parts), 2)) * box[2:]
        visible = rng.random(len(parts)) < 0.7
        visible[:2] |= not visible.any()
        places[~visible] = math.nan
        samples.append(
            Sample(
                f"{i:03}",
                Path(f"{i}.jpg"),
                (int(width), int(height)),
                places,
                visible,
                box if boxes else None,
            )
        )
    return PartDataset(tuple(parts), tuple(samples))


def predict(dataset: PartDataset, seed: int, noise: float = 20.0, found: float = 1.0) -> PartPredictions:
    rng = np.random.default_rng(seed)
    shape = (len(dataset), len(dataset.parts))
    truth = np.where(dataset.visible[..., None], dataset.points, rng.uniform(0, 50, (*shape, 2)))
    kept = rng.random(shape) < found
    points = np.where(kept[..., None], truth + rng.normal(0, noise, (*shape, 2)), math.nan)
    score = np.where(kept, rng.random(shape), 0)
    return PartPredictions(dataset.parts, dataset.ids, points, kept, score, kept)


def single(points, box=None, size=(100, 100), parts=PARTS) -> PartDataset:
    points = np.array(points, dtype=float)
    return PartDataset(
        parts, (Sample("only", Path("only"), size, points, np.isfinite(points).all(axis=1), box),)
    )


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


def test_not_found_is_charged_the_fallback_prior_or_the_farthest_corner():
    test = single([(20, 30), (60, 80), NOWHERE, NOWHERE], box=(10, 20, 60, 80), size=(100, 200))
    prior = StaticPrior(
        ("beak",), np.array([(0.5, 0.5)]), np.array([(0.25, 0.25)]), np.ones(1)
    )  # knows no left wing
    shape = (1, 4)
    nothing = PartPredictions(
        PARTS,
        ("only",),
        np.full((1, 4, 2), np.nan),
        np.zeros(shape, bool),
        np.zeros(shape),
        np.zeros(shape, bool),
    )
    image = evaluate(nothing, test, prior, draws=DRAWS)
    assert image.coverage == 0
    assert image.errors[0, 0] == pytest.approx(math.dist((50, 100), (20, 30)) / 100)
    corner = math.dist((0, 200), (60, 80)) / 100
    assert image.errors[0, 1] == pytest.approx(corner)
    assert image.notes[0] == (
        "visible parts not found: 2; given the image prior's position: 1; "
        "for want of a prior charged the distance to the farthest image corner: 1"
    )
    box = evaluate(nothing, test, prior, fallback="box", draws=DRAWS)
    assert box.errors[0, 0] == pytest.approx(math.dist((25, 40), (20, 30)) / 100)
    assert (box.reference, image.reference) == ("box", "image")
    # The prior itself is charged the same where it has no position, so that both are over the same pairs.
    assert box.prior_errors["box"][0, 1] == pytest.approx(corner)
    assert box.skill == pytest.approx(0)
    alone = evaluate(nothing, test, None, draws=DRAWS)
    assert alone.errors[0, 0] == pytest.approx(math.dist((100, 200), (20, 30)) / 100)


def test_box_prior_of_an_image_without_a_box_is_the_image_prior():
    boxed, boxless = make_dataset(9), make_dataset(9, boxes=False)
    mixed = PartDataset(PARTS, (*boxed.samples[:6], *boxless.samples[6:]))
    prior = StaticPrior.fit(boxed)
    guess = predict(mixed, 10, found=0.0)
    result = evaluate(guess, mixed, prior, info={"region": "crop"}, normaliser="image", draws=DRAWS)
    hidden = int(mixed.visible[6:].sum())
    assert f"(for want of a box the image prior's: {hidden})" in result.notes[0]
    assert np.allclose(result.errors[6:], result.prior_errors["image"][6:], equal_nan=True)
    assert result.prior_errors["box"] is not None
    row = evaluate(predict(boxless, 11), boxless, prior, normaliser="image", draws=DRAWS).row()
    assert row["prior"]["box"] is None


def test_images_match_by_id_and_the_rest_is_counted():
    test = make_dataset(12)
    guess = predict(test, 13)
    failures = (Skipped(test.ids[0], "truncated"),)
    some = guess[2:]
    extra = PartPredictions(
        some.parts, (*some.ids[:-1], "elsewhere"), some.points, some.found, some.score, some.visible, failures
    )
    result = evaluate(extra, test, draws=DRAWS)
    assert result.ids == test.ids[2:-1]
    assert result.failures == failures
    assert result.row()["failures"] == 1
    for note in (
        "images that could not be read, left out: 1",
        "images without a prediction, left out: 2 (the first: 001)",
        "predicted images that are not in the data set, left out: 1",
    ):
        assert note in result.notes
    whole = evaluate(guess, test, draws=DRAWS)
    assert np.array_equal(whole.errors[2:-1], result.errors, equal_nan=True)


def test_parts_match_by_name_and_the_rest_is_named():
    test = make_dataset(14)
    guess = predict(test, 15)
    other = PartPredictions(
        ("tail", "crest", "beak", "left wing"),
        guess.ids,
        guess.points,
        guess.found,
        guess.score,
        guess.visible,
    )
    result = evaluate(other, test, draws=DRAWS)
    assert result.parts == ("beak", "left wing", "tail")
    assert "parts annotated but not predicted, counted nowhere: right wing" in result.notes
    assert "parts predicted but not annotated, counted nowhere: crest" in result.notes
    assert result.exchanged.total == 0
    tail = np.linalg.norm(guess.points[:, 0] - test.points[:, 3], axis=1)
    assert np.allclose(result.distances[:, 2], tail, equal_nan=True)


def test_images_without_a_visible_part_count_nowhere():
    seen, hidden = make_dataset(16, 3), single([NOWHERE] * 4)
    both = PartDataset(PARTS, (*seen.samples, *hidden.samples), notes=("a remark",))
    result = evaluate(predict(both, 17), both, draws=DRAWS)
    assert len(result.ids) == 3
    assert result.notes == (
        "a remark",
        "images without a visible part, counted nowhere: 1",
        "there is no prior relative to the image, so there is no skill",
    )


def test_data_without_boxes_say_what_stands_in():
    test = make_dataset(18, boxes=False)
    keep = [i for i, sample in enumerate(test) if sample.visible.sum() > 1]
    test = test[keep]
    result = evaluate(predict(test, 19), test, draws=DRAWS)
    assert any("the visible parts' bounding box" in note for note in result.notes)
    lonely = PartDataset(PARTS, (*test.samples, *single([(5, 5), NOWHERE, NOWHERE, NOWHERE]).samples))
    with pytest.raises(DatasetError, match=r"^only: the scale of the error is zero"):
        evaluate(predict(lonely, 19), lonely, draws=DRAWS)
    skipped = evaluate(predict(lonely, 19), lonely, on_error="skip", draws=DRAWS)
    assert [one.id for one in skipped.skipped] == ["only"]
    assert skipped.row()["skipped"] == 1
    assert len(skipped.ids) == len(test)


def test_named_parts_may_lie_outside_the_predicted_ones():
    test = single([(10, 10), (20, 20), (50, 60), NOWHERE], box=(5, 5, 60, 60))
    guess = predict(test, 20).with_parts(["beak"])
    result = evaluate(guess, test, normaliser=("parts", "left wing", "right wing"), draws=DRAWS)
    assert result.scale.tolist() == [50]
    assert result.row()["normaliser"] == ["parts", "left wing", "right wing"]
    assert result.error == pytest.approx(math.dist(guess.points[0, 0], (10, 10)) / 50)


def test_oks_takes_sigmas_by_name():
    test = single([(10, 10), (20, 20), NOWHERE, NOWHERE], box=(0, 0, 50, 40))
    guess = predict(test, 21, noise=5)
    sigmas = {"beak": 0.05, "left wing": 0.1, "right wing": 0.1, "tail": 0.1}
    terms = [
        math.exp(-(math.dist(guess.points[0, p], test.points[0, p]) ** 2) / (2 * 2000 * (2 * s) ** 2))
        for p, s in ((0, 0.05), (1, 0.1))
    ]
    assert evaluate(guess, test, sigmas=sigmas, draws=DRAWS).row()["oks"] == pytest.approx(sum(terms) / 2)
    with pytest.raises(OptionError, match="none for 'beak'"):
        evaluate(guess, test, sigmas={"tail": 0.1}, draws=DRAWS)


def test_exchanged_wings():
    test = single([NOWHERE, (10, 10), (40, 10), NOWHERE], box=(0, 0, 60, 40))
    guess = predict(test, 22, noise=0)
    swapped = guess.points[:, [0, 2, 1, 3]]
    wrong = PartPredictions(PARTS, guess.ids, swapped, guess.found, guess.score, guess.visible)
    assert evaluate(guess, test, draws=DRAWS).exchanged.share == 0
    assert evaluate(wrong, test, draws=DRAWS).exchanged.share == 1


def test_what_does_not_fit_is_refused():
    test = make_dataset(23)
    guess = predict(test, 24)
    renamed = PartPredictions(
        ("beaks", "b", "c", "d"), guess.ids, guess.points, guess.found, guess.score, guess.visible
    )
    with pytest.raises(DatasetError, match="nearest annotated ones are 'beak'"):
        evaluate(renamed, test)
    with pytest.raises(DatasetError, match="the image '000' occurs more than once"):
        evaluate(guess[[0, 0]], test)
    twice = PartPredictions(("tail",) * 4, guess.ids, guess.points, guess.found, guess.score, guess.visible)
    with pytest.raises(DatasetError, match="the part 'tail' occurs more than once"):
        evaluate(twice, test)
    with pytest.raises(
        DatasetError, match="first ids are '000' in the predictions and 'only' in the data set"
    ):
        evaluate(guess, single([(1, 1), (2, 2), NOWHERE, NOWHERE]))
    hidden = single([NOWHERE] * 4)
    with pytest.raises(DatasetError, match="nothing to evaluate"):
        evaluate(predict(hidden, 0), hidden)
    for options, message in (
        ({"info": {"model": "x"}}, "unknown key 'model'"),
        ({"info": {"region": "full"}}, "not 'full'"),
        ({"fallback": "centre"}, "not 'centre'"),
        ({"on_error": "ignore"}, "not 'ignore'"),
        ({"draws": 0}, "not 0"),
    ):
        with pytest.raises(OptionError, match=message):
            evaluate(guess, test, **options)


def test_compare_is_paired():
    test = make_dataset(25, 40)
    prior = StaticPrior.fit(make_dataset(26))
    good, bad = (evaluate(predict(test, 27, noise), test, prior, draws=DRAWS) for noise in (3, 30))
    result = compare(bad, good)
    assert result.total.difference == pytest.approx(bad.error - good.error)
    assert result.total.ci[0] > 0
    assert result.total.positive == 1
    assert result.notes == ()
    row = result.row()
    json.dumps(row, allow_nan=False)
    assert row["per_part"]["tail"]["difference"] == pytest.approx(
        bad.row()["per_part"]["tail"]["mean"] - good.row()["per_part"]["tail"]["mean"]
    )


def test_compare_takes_what_both_have():
    test = make_dataset(28, 20)
    first = evaluate(predict(test, 29)[:15].with_parts(["beak", "tail"]), test, draws=DRAWS)
    second = evaluate(
        predict(test, 30)[np.arange(19, 4, -1)].with_parts(["tail", "left wing"]), test, draws=DRAWS
    )
    result = compare(first, second, draws=DRAWS)
    common = [i for i in range(5, 15) if test.visible[i, 3]]
    gaps = [
        first.errors[first.ids.index(test.ids[i]), 1] - second.errors[second.ids.index(test.ids[i]), 1]
        for i in common
    ]
    assert result.total.difference == pytest.approx(statistics.fmean(gaps))
    assert result.total.pairs == len(common)
    assert "parts that only one of the two methods has, left out: 2" in result.notes
    assert list(result.per_part) == ["tail"]


def test_compare_refuses_other_scales():
    test = make_dataset(31)
    guess = predict(test, 32)
    box, image = (evaluate(guess, test, normaliser=kind, draws=DRAWS) for kind in ("box", "image"))
    with pytest.raises(OptionError, match="'box' and by 'image'"):
        compare(box, image)
    wider = PartDataset(PARTS, tuple(s.with_box((0, 0, *s.size)) for s in test))
    with pytest.raises(DatasetError, match="different boxes"):
        compare(box, evaluate(guess, wider, draws=DRAWS))


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


# -- confidence ---------------------------------------------------------------------------------------------------------
def test_confidence_equals_the_metrics_on_the_same_pairs():
    train, test = make_dataset(0, 30), make_dataset(1, 70)
    rng = np.random.default_rng(5)
    plain = predict(test, 2, found=0.8)
    expected = rng.uniform(1, 20, plain.found.shape)
    boxes = test.boxes + rng.uniform(0, 5, test.boxes.shape)
    boxes[3] = math.nan
    guess = dataclasses.replace(plain, expected_error=expected, boxes=boxes)
    order = rng.permutation(len(test))
    result = evaluate(guess[order], test, StaticPrior.fit(train), draws=DRAWS)
    row = result.row()

    scale = np.hypot(test.boxes[:, 2], test.boxes[:, 3])
    wanted = metrics.risk_coverage(result.errors, np.where(plain.found, expected, math.nan) / scale[:, None])
    assert row["kept"]["area"] == pytest.approx(wanted.area)
    assert row["kept"]["shares"]["0.8"] == {
        "error": pytest.approx(wanted.at(0.8)[0]),
        "oracle": pytest.approx(wanted.at(0.8)[1]),
    }
    assert row["kept"]["unordered"] == pytest.approx(result.error)
    both = test.visible & plain.found
    assert row["kept"]["expected"] == pytest.approx((expected / scale[:, None])[both].mean())
    auc = metrics.visibility_auc(plain.score, test.visible)
    assert auc.per_part, "the example must have parts that are judged"
    assert row["visibility"]["macro"] == pytest.approx(auc.macro)
    assert row["visibility"]["per_part"] == {test.parts[p]: pytest.approx(v) for p, v in auc.per_part.items()}
    assert row["reliability"]["brier"] == pytest.approx(np.mean((plain.score - test.visible) ** 2))
    assert sum(entry["pairs"] for entry in row["reliability"]["bins"]) == test.visible.size
    overlap = metrics.box_overlap(boxes, test.boxes)
    assert overlap[3] == 0
    assert row["box"] == {
        "images": 70,
        "mean_iou": pytest.approx(overlap.mean()),
        "share": {
            "0.5": pytest.approx((overlap >= 0.5).mean()),
            "0.75": pytest.approx((overlap >= 0.75).mean()),
        },
    }


def test_a_method_without_confidence_has_no_row_of_it():
    test = make_dataset(1)
    row = evaluate(predict(test, 2), test, draws=DRAWS).row()
    assert row["kept"] is None
    assert row["box"] is None
    assert row["reliability"]["brier"] is not None


def test_exchanged_sides_together():
    test = make_dataset(1, 40)
    row = evaluate(predict(test, 2, noise=60.0), test, draws=DRAWS).row()["exchanged_sides"]
    assert row["together"]["total"] == row["both_visible"]["total"] + row["one_visible"]["total"] > 0
    assert row["together"]["wrong"] == row["both_visible"]["wrong"] + row["one_visible"]["wrong"]
    assert row["together"]["share"] == pytest.approx(row["together"]["wrong"] / row["together"]["total"])
