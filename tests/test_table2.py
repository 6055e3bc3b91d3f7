"""Table 2 as one call: its rows, comparisons, continuation, and what it refuses."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from torch import nn

import partscope.table2.measure as measure
from networks import backbone_of, seeded
from partscope.backbones import Embedder, Preprocessing
from partscope.dataset import PartDataset
from partscope.errors import DatasetError, ImageError, OptionError
from partscope.formats import load_dataset
from partscope.metrics.classification import mcnemar
from partscope.table2 import OMITTED, RowPlan, measure_table2, plan_rows, row_pairs

NETWORK_ROWS = ["no parts", "channel", "ground truth", "prior positions", "grid", "random positions"]
OTHERS = ["BB, Part Transfer", "BB, Part Transfer, own features", "BB, DPD-style pooling"]


def small_layers() -> nn.Sequential:
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1), nn.ReLU())
    return seeded(layers).float()


@pytest.fixture(scope="module")
def embedder():
    return Embedder(small_layers(), "3", Preprocessing(16))


@pytest.fixture(scope="module")
def detecting():
    return {
        "backbone": backbone_of(small_layers(), "3", side=32),
        "search": "exhaustive",
        "centre": "maximum",
    }


@pytest.fixture
def data(tiny_cub):
    return load_dataset("cub", tiny_cub)


@pytest.fixture
def options(embedder, detecting):
    return {"backbone": embedder, "detector_options": detecting, "fit_limit": None, "C": 0.01}


def relabelled(data: PartDataset, choose) -> PartDataset:
    samples = tuple(dataclasses.replace(s, label=choose(i, s)) for i, s in enumerate(data))
    return dataclasses.replace(data, samples=samples)


# -- the plan -------------------------------------------------------------------------------------------------------
def test_rows_are_those_of_the_issue():
    plans = plan_rows([("channel", "image"), ("channel", "crop")], ("image", "crop"))
    names = [f"{short}, {name}" for short in ("Full", "BB") for name in NETWORK_ROWS]
    assert [plan.name for plan in plans] == names + OTHERS
    assert {plan.part_source for plan in plans} == {
        "none",
        "estimated",
        "ground_truth",
        "prior",
        "grid",
        "random",
    }


def test_published_figures_stand_beside_the_rows_that_they_belong_to():
    plans = plan_rows([("channel", "image"), ("linear", "image"), ("channel", "crop")], ("crop", "image"))
    published = {plan.name: plan.published for plan in plans if plan.published is not None}
    assert published == {
        "Full, channel": 0.6017,
        "Full, ground truth": 0.6055,
        "BB, channel": 0.6253,
        "BB, Part Transfer, own features": 0.5784,
        "BB, DPD-style pooling": 0.6496,
    }
    assert dict(OMITTED) == {"BB, POOF": 0.5678, "BB, Symbiotic": 0.594}


@pytest.mark.parametrize("regions", [(), ("box",)])
def test_unknown_region(regions):
    with pytest.raises(OptionError, match="regions must be some of image, crop"):
        plan_rows([], regions)


def test_pairs_name_the_best_control():
    plans = plan_rows([("channel", "image"), ("linear", "image")], ("image",))
    accuracy = {plan.name: 0.5 for plan in plans} | {"Full, grid": 0.6}
    pairs = row_pairs(plans, accuracy)
    for method in ("channel", "linear"):
        mine = [(kind, other) for kind, first, other in pairs if first == f"Full, {method}"]
        assert mine == [
            ("none", "Full, no parts"),
            ("ground_truth", "Full, ground truth"),
            ("prior", "Full, prior positions"),
            ("grid", "Full, grid"),
            ("random", "Full, random positions"),
            ("best control", "Full, grid"),
        ]
    assert ("best control", "Full, ground truth", "Full, grid") in pairs


def test_pairs_leave_out_what_was_not_measured():
    plans = [
        RowPlan("Full, no parts", "image", "none"),
        RowPlan("Full, channel", "image", "estimated", "channel"),
    ]
    assert row_pairs(plans, {"Full, channel": 1.0}) == []
    assert row_pairs(plans, {"Full, channel": 1.0, "Full, no parts": 0.5}) == [
        ("none", "Full, channel", "Full, no parts")
    ]


# -- measured -------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def kept():
    return {}


@pytest.fixture
def table(data, options, kept):
    """The rows without the box, measured once: the data are the same in every test."""
    if not kept:
        kept["rows"] = []
        kept["table"] = measure_table2(data, regions=("image",), on_row=kept["rows"].append, **options)
    return kept["table"]


def test_document(data, table, kept):
    document = json.loads(json.dumps(table.document(), allow_nan=False))
    measured = [row for row in document["rows"] if row["status"] == "measured"]
    assert [row["name"] for row in measured] == [f"Full, {name}" for name in NETWORK_ROWS]
    assert [row["name"] for row in kept["rows"]] == [row["name"] for row in measured]
    truth = np.array([sample.label for sample in data.test])
    for one, row in zip(table.measured, measured, strict=True):
        right = table.correct(row["name"])
        assert row["accuracy"]["mean"] == pytest.approx(right.mean())
        assert row["accuracy"]["macro"] == pytest.approx(
            np.mean([right[truth == c].mean() for c in set(truth)])
        )
        assert row["accuracy"]["ci95"][0] <= row["accuracy"]["mean"] <= row["accuracy"]["ci95"][1]
        assert row["images"] == len(data.test) == 6
        assert (row["classifier"], row["C"], row["region"]) == ("svm", 0.01, "image")
        assert row["top5"] == 1.0  # there are three classes
        assert row["right"] == "".join("01"[int(one)] for one in right)
        assert set(one.predicted) == set(data.test.ids)
    omitted = [row for row in document["rows"] if row["status"] == "omitted"]
    assert [(row["name"], row["published"]) for row in omitted] == list(OMITTED)
    assert all(set(row) <= set(measured[0]) and row["accuracy"] is None for row in omitted)
    for one in document["comparisons"]:
        a, b = table.correct(one["first"]), table.correct(one["second"])
        assert one["difference"] == pytest.approx(a.mean() - b.mean())
        assert (one["only_first"], one["only_second"], one["p"]) == pytest.approx(tuple(mcnemar(a, b)))
        assert one["ci95"][0] <= one["difference"] <= one["ci95"][1]
    assert any("200 classes" in note for note in document["settings"]["notes"])
    (detector,) = document["settings"]["detectors"]
    assert (detector["method"], detector["rows"], detector["given"]) == ("channel", "image", False)
    assert 0 < detector["error"] < 1
    with pytest.raises(OptionError, match="there is no row 'POOF'"):
        table.correct("POOF")


def test_colours_of_the_classes_are_learned(data, options):
    """The boxes of the three classes are red, green and blue: a mean of colours tells them apart."""
    flat = Embedder(nn.Sequential(nn.Identity(), nn.Identity()), "1", Preprocessing(16))
    table = measure_table2(data, regions=("crop",), **{**options, "backbone": flat, "C": None})
    assert table.accuracy["BB, no parts"] == 1.0
    assert [one.plan.name for one in table.measured] == [f"BB, {name}" for name in NETWORK_ROWS] + OTHERS
    rows = {one.row["name"]: one.row for one in table.measured}
    assert rows["BB, no parts"]["cross-validation"]["tried"][0]["accuracy"] > 0
    assert "histograms" in rows["BB, Part Transfer, own features"]["features"]
    assert {item["method"] for item in table.settings["detectors"]} == {"channel", "transfer"}


def test_continuing_repeats_nothing(data, options, table, tmp_path, monkeypatch):
    call = {"regions": ("image",), "folder": tmp_path / "work", **options}
    straight = table.document()
    fits, original = [], measure.fit_linear

    def stopping(*args, **kwargs):
        if len(fits) == 3:
            raise KeyboardInterrupt
        fits.append(1)
        return original(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(measure, "fit_linear", stopping)
        with pytest.raises(KeyboardInterrupt):
            measure_table2(data, **call)
    fits.clear()
    monkeypatch.setattr(measure, "fit_linear", lambda *a, **k: fits.append(1) or original(*a, **k))
    again = measure_table2(data, **call).document()
    assert len(fits) == len(NETWORK_ROWS) - 3
    rows = [{k: v for k, v in row.items() if k != "seconds"} for row in again["rows"]]
    assert rows == [{k: v for k, v in row.items() if k != "seconds"} for row in straight["rows"]]
    assert again["comparisons"] == straight["comparisons"]
    assert again["settings"] == straight["settings"]
    # A finished table is read, not measured, and a damaged row is measured again.
    for damaged in sorted((tmp_path / "work" / "rows").iterdir())[:1]:
        damaged.write_text("{")
    fits.clear()
    assert measure_table2(data, **call).document()["comparisons"] == straight["comparisons"]
    assert len(fits) == 1
    # Rows of other settings are not taken for these.
    other = measure_table2(data, **{**call, "C": 0.02})
    assert {one.row["C"] for one in other.measured} == {0.02}
    assert len(fits) == 1 + len(NETWORK_ROWS)


def test_a_given_detector_is_used(data, options, detecting):
    from partscope import ChannelDetector

    given = ChannelDetector(**detecting).fit(data.train)
    table = measure_table2(data, detector=given, regions=("image",), **options)
    assert [item["given"] for item in table.settings["detectors"]] == [True]
    with pytest.raises(OptionError, match="box_detector must search the box"):
        measure_table2(data, box_detector=given, **options)
    with pytest.raises(OptionError, match="detector is not fitted"):
        measure_table2(data, detector=ChannelDetector(**detecting), **options)


# -- what is refused ------------------------------------------------------------------------------------------------
def test_without_boxes_the_rows_with_the_box_are_left_out_and_that_is_said(data, options):
    samples = tuple(sample.with_box(None) if i == 1 else sample for i, sample in enumerate(data))
    bare = dataclasses.replace(data, samples=samples)
    table = measure_table2(bare, **options)
    assert {one.plan.region for one in table.measured} == {"image"}
    assert any("1 of 12 images have no bounding box" in note for note in table.settings["notes"])
    with pytest.raises(DatasetError, match="no bounding box"):
        measure_table2(bare, regions=("crop",), **options)


def test_classes_are_checked_first(data, options):
    train_ids = set(data.train.ids)
    first = data.train[0]
    with pytest.raises(DatasetError, match=f"{first.id}: the image has no class name"):
        measure_table2(relabelled(data, lambda i, s: None if s.id == first.id else s.label), **options)
    with pytest.raises(DatasetError, match="fewer than two training images in the class 'Lone'"):
        measure_table2(relabelled(data, lambda i, s: "Lone" if s.id == first.id else "002.Green"), **options)
    unseen = relabelled(
        data, lambda i, s: "002.Green" if s.id in train_ids and s.label == "003.Blue" else s.label
    )
    with pytest.raises(DatasetError, match=r"class '003.Blue' has no training image"):
        measure_table2(unseen, **options)
    with pytest.raises(DatasetError, match="belong to one class"):
        measure_table2(relabelled(data, lambda i, s: "bird"), **options)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"methods": ("guess",)}, "there is no method 'guess'"),
        (
            {"rows": ("Full, linear",)},
            "there is no row 'Full, linear'; the rows are Full, no parts; Full, channel",
        ),
        ({"rows": ()}, "rows is empty"),
        ({"methods": ("channel", "channel")}, "named twice"),
        ({"classifier": "forest"}, "classifier must be one of"),
        ({"regions": ("box",)}, "regions must be some of"),
        ({"box_region": "image"}, "box_region must be"),
        ({"on_error": "ignore"}, "on_error must be"),
    ],
)
def test_wrong_options(data, options, wrong, words):
    with pytest.raises(OptionError, match=words):
        measure_table2(data, **{**options, **wrong})


def test_images_that_cannot_be_read_are_left_out_for_all_rows(data, options):
    two = relabelled(data, lambda i, s: "001.Red" if s.label == "002.Green" else s.label)
    for sample in (two.train[0], two.test[0]):
        sample.image.write_bytes(b"no image")
    table = measure_table2(two, regions=("image",), on_error="skip", **options)
    assert {item.id for item in table.failures} == {two.train[0].id, two.test[0].id}
    assert all(one.row["images"] == len(two.test) - 1 for one in table.measured)
    with pytest.raises(ImageError, match="not a readable image"):
        measure_table2(two, regions=("image",), **options)
