"""`partscope fit` on data with faults: said and refused, or skipped with a count."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from command_line import run

Capture = pytest.CaptureFixture[str]


def replace_line(file: Path, number: int, text: str) -> None:
    lines = file.read_text("utf-8").splitlines()
    lines[number - 1] = text
    file.write_text("".join(f"{line}\n" for line in lines), "utf-8")


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
