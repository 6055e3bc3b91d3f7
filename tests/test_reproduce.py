"""Table 1 as one call: its rows against detectors fitted one by one, its comparisons, its continuation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from torch import nn

from cub_folders import write_tiny_cub
from networks import backbone_of, seeded
from partscope import ChannelDetector
from partscope.channel_centres import CentreSpec
from partscope.detectors import LinearDetector
from partscope.errors import OptionError, PartscopeWarning
from partscope.formats import load_dataset
from partscope.reproduce import (
    PUBLISHED,
    Variant,
    ablation_variants,
    measure_table1,
    run_variants,
    table1_variants,
)

pytestmark = pytest.mark.filterwarnings("ignore:.*are fewer than the")


@pytest.fixture(scope="module")
def network():
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 6, 3, padding=1), nn.ReLU())
    return backbone_of(seeded(layers).float(), "3", side=32)


@pytest.fixture
def data(tiny_cub):
    return load_dataset("cub", tiny_cub)


@pytest.fixture(scope="module")
def table(tmp_path_factory, network):
    """Table 1 of the same images as `data`."""
    data = load_dataset("cub", write_tiny_cub(tmp_path_factory.mktemp("table") / "tiny_cub"))
    return measure_table1(data, network, methods=("channel",), limit=None, search="exhaustive")


def test_rows_are_those_of_the_issue(table):
    assert list(table.evaluations) == [
        "prior in image",
        "prior in box",
        "Part Transfer, BB",
        "MaxG, Full",
        "mixture, Full",
        "MaxG, BB as mask",
        "mixture, BB as mask",
        "MaxG, BB as crop",
        "mixture, BB as crop",
    ]


@pytest.mark.parametrize("region", ["image", "mask", "crop"])
@pytest.mark.parametrize("centre", ["maximum", "mixture"])
def test_a_row_equals_a_detector_fitted_for_it(data, network, table, region, centre):
    detector = ChannelDetector(backbone=network, centre=centre, region=region, search="exhaustive")
    detector.fit(data.train)
    outcome = next(
        item
        for item in table.outcomes
        if (item.variant.spec.region, item.variant.spec.centre) == (region, centre)
    )
    assert dict(zip(outcome.ranking.parts, outcome.ranking.best.tolist(), strict=True)) == {
        **dict.fromkeys(data.parts, -1),
        **detector.channels_,
    }
    expected = detector.predict(data.test)
    # A scan keeps its centres in float32.
    np.testing.assert_allclose(outcome.predictions.points, expected.points, atol=1e-3)
    assert outcome.evaluation.error == pytest.approx(detector.evaluate(data.test).error, abs=1e-4)


def test_document_is_json_with_the_contracts_keys(table):
    document = json.loads(json.dumps(table.document(), allow_nan=False))
    keys = {
        "method",
        "backbone",
        "layer",
        "input_size",
        "centre",
        "region",
        "images",
        "parts",
        "error",
        "pck",
    }
    keys |= {"coverage", "prior", "skill", "per_part", "name", "published"}
    for row in document["rows"]:
        assert keys <= set(row)
    channel = [row for row in document["rows"] if row["method"] == "channel"]
    assert all(row["search"] == "exhaustive" and row["channels_compared"] == 6 for row in channel)
    by_name = {row["name"]: row["published"] for row in document["rows"]}
    assert by_name["mixture, Full"] == PUBLISHED["mixture", "Full"]
    assert by_name["Part Transfer, BB"] == PUBLISHED["transfer", "BB"]
    assert by_name["prior in box"] is None


def test_comparisons_are_the_differences_of_the_rows(table):
    document = table.document()
    error = {row["name"]: row["error"]["diagonal"]["mean"] for row in document["rows"]}
    assert document["comparisons"]
    for item in document["comparisons"]:
        better, _, worse = item["comparison"].partition(" over ")
        assert item["difference"] == pytest.approx(error[worse] - error[better])
        assert item["ci95"][0] <= item["difference"] <= item["ci95"][1]


def test_continuing_gives_the_same_document(data, network, table, tmp_path):
    options = {"methods": ("channel",), "limit": None, "search": "exhaustive", "folder": tmp_path}
    first = measure_table1(data, network, **options).document()
    blocks = sorted(tmp_path.rglob("block-*.safetensors"))
    before = {path: path.read_bytes() for path in blocks}
    blocks[0].unlink()
    again = measure_table1(data, network, **options).document()
    assert again == first == table.document()
    assert {path: path.read_bytes() for path in blocks} == before


def test_without_boxes_only_full_rows_remain(data, network):
    import dataclasses

    bare = dataclasses.replace(data, samples=tuple(sample.with_box(None) for sample in data))
    names = list(measure_table1(bare, network, limit=None, search="exhaustive").evaluations)
    assert names == [
        "prior in image",
        "MaxG, Full",
        "mixture, Full",
        "linear, Full",
        "linear + arrangement, Full",
    ]


def test_regions_can_be_chosen(data, network):
    options = {"methods": ("channel",), "limit": None, "search": "exhaustive"}
    table = measure_table1(data, network, regions=("mask",), **options)
    assert [outcome.variant.spec.region for outcome in table.outcomes] == ["mask", "mask"]


def test_ablation_changes_one_thing_at_a_time():
    base, *others = ablation_variants(0.9)
    assert base == Variant("as in the table", CentreSpec())
    for variant in others:
        spec, first = variant.spec.as_dict(), base.spec.as_dict()
        changed = [key for key in spec if spec[key] != first[key]]
        changed += ["rule"] * (variant.rule != base.rule)
        changed += ["normalise"] * (variant.normalise != base.normalise)
        assert len(changed) == 1, variant


def test_ablation_is_measured(data, network):
    table = measure_table1(data, network, limit=None, search="exhaustive", ablation=True)
    assert [item.variant for item in table.outcomes] == ablation_variants(network.cut)
    base = table.outcomes[0].evaluation.error
    document = table.document()
    assert document["rows"][2]["error"]["diagonal"]["mean"] == base
    assert len(document["comparisons"]) == len(table.outcomes) - 1


def test_the_networks_cut_is_used():
    assert {variant.spec.quantile for variant in table1_variants(("image",), 0.95)} == {0.95}


def test_unknown_search(data, network):
    with pytest.raises(OptionError, match="search must be one of shortlist, exhaustive"):
        run_variants(data.train, data.test, network, table1_variants(("image",), 0.9), search="fast")


# -- rows of other detectors --------------------------------------------------------------------------------------------
@pytest.mark.parametrize("region", ["image", "crop"])
def test_a_linear_row_equals_a_detector_fitted_for_it(data, network, tmp_path, region):
    table = measure_table1(data, network, methods=("linear",), regions=(region,), limit=None, folder=tmp_path)
    assert not table.outcomes
    where = {"image": "Full", "crop": "BB as crop"}[region]
    assert list(table.evaluations)[3:] == [f"linear, {where}", f"linear + arrangement, {where}"]
    for row, arrangement in zip(table.detectors, ("none", "exemplars"), strict=True):
        detector = LinearDetector(network, region=region, arrangement=arrangement).fit(data.train)
        assert row.evaluation.error == pytest.approx(detector.evaluate(data.test).error, abs=1e-9)
        written = next(item for item in table.document()["rows"] if item["name"] == row.name)
        assert written["shrinkage"] == detector.shrinkage_
        assert written["features"] == 6
        assert written["published"] is None
        json.dumps(written, allow_nan=False)


def test_a_channel_row_with_the_arrangement(data, network, tmp_path):
    options = {"limit": None, "search": "exhaustive", "regions": ("image",), "folder": tmp_path}
    table = measure_table1(data, network, methods=("channel", "channel+arrangement"), **options)
    (row,) = table.detectors
    detector = ChannelDetector(network, search="exhaustive", arrangement="exemplars").fit(data.train)
    assert row.name == "mixture + arrangement, Full"
    assert row.evaluation.error == pytest.approx(detector.evaluate(data.test).error, abs=1e-9)
    pairs = [item["comparison"] for item in table.document()["comparisons"]]
    assert "mixture + arrangement, Full over mixture, Full" in pairs
    assert "mixture + arrangement, Full over prior in image" in pairs


def test_linear_rows_are_compared_with_prior_and_mixture(data, network):
    table = measure_table1(data, network, limit=None, search="exhaustive", regions=("image",))
    pairs = [item["comparison"] for item in table.document()["comparisons"]]
    for name in ("linear, Full", "linear + arrangement, Full"):
        assert f"{name} over prior in image" in pairs
        assert f"{name} over mixture, Full" in pairs
    assert "linear + arrangement, Full over linear, Full" in pairs


def test_finished_detector_rows_are_not_measured_again(data, network, tmp_path, monkeypatch):
    options = {"methods": ("linear",), "limit": None, "regions": ("image",), "folder": tmp_path}
    calls = []
    predict, fit = LinearDetector.predict, LinearDetector.fit

    def counted(self, images, *args, **kwargs):
        calls.append(len(images))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return predict(self, images, *args, **kwargs)

    monkeypatch.setattr(LinearDetector, "predict", counted)
    monkeypatch.setattr("partscope.reproduce.kept.BLOCK", 4)
    with pytest.raises(KeyboardInterrupt):
        measure_table1(data, network, **options)
    kept = sorted(tmp_path.rglob("*.csv"))
    assert len(kept) == 2, "both blocks of the first row"
    fits = []
    monkeypatch.setattr(LinearDetector, "fit", lambda self, *a, **k: fits.append(1) or fit(self, *a, **k))
    first = measure_table1(data, network, **options).document()
    assert not fits, "the detector had been fitted before the stop"
    assert calls[3:] == [4, 2]
    assert measure_table1(data, network, **{**options, "folder": tmp_path / "new"}).document() == first


def test_an_unreadable_image_is_tried_again_in_the_next_run(data, network, tmp_path):
    options = {"methods": ("linear",), "limit": None, "regions": ("image",), "on_error": "skip"}
    for sample in (data.train[0], data.test[0]):
        sample.image.rename(sample.image.with_suffix(".away"))
    with pytest.warns(PartscopeWarning, match="left out"):
        broken = measure_table1(data, network, folder=tmp_path, **options)
    lost = {
        item.id for row in broken.detectors for item in (*row.detector.skipped_, *row.evaluation.failures)
    }
    assert lost == {data.train[0].id, data.test[0].id}
    for sample in (data.train[0], data.test[0]):
        sample.image.with_suffix(".away").rename(sample.image)
    whole = measure_table1(data, network, folder=tmp_path, **options)
    assert whole.detectors[0].evaluation.error == pytest.approx(
        LinearDetector(network, arrangement="none").fit(data.train).evaluate(data.test).error, abs=1e-9
    )


@pytest.mark.parametrize("methods", [(), ("channel", "channel"), ("linear", "star")])
def test_methods_are_checked(data, network, methods):
    with pytest.raises(
        OptionError, match="one or more of channel, channel\\+arrangement, activation, linear"
    ):
        measure_table1(data, network, methods=methods)


def test_bounded_search_selects_what_the_exhaustive_one_does(data, network, tmp_path):
    variants = table1_variants(("image", "mask"), 0.9)
    train, test = data.train, data.test[:2]
    whole = run_variants(train, test, network, variants, search="exhaustive")
    found = run_variants(train, test, network, variants, search="bounded", folder=tmp_path)
    assert [one.ranking.best.tolist() for one in found] == [one.ranking.best.tolist() for one in whole]
    files = set(tmp_path.rglob("cells-*"))
    again = run_variants(train, test, network, variants, search="bounded", folder=tmp_path)
    assert set(tmp_path.rglob("cells-*")) == files, "the variants share what was looked at"
    assert [one.ranking.best.tolist() for one in again] == [one.ranking.best.tolist() for one in whole]
