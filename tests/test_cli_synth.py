"""`partscope synth`."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import run
from partscope import load_dataset

Capture = pytest.CaptureFixture[str]
SMALL = ("--images", "8", "--classes", "2", "--size", "64")


def test_birds_are_a_data_set(tmp_path: Path, capsys: Capture) -> None:
    ran = run(capsys, "synth", tmp_path / "birds", *SMALL, "--seed", "3", "--json", "-")
    assert ran.code == 0, ran.err
    data = load_dataset("cub", tmp_path / "birds")
    assert len(data) == ran.json["images"] == 8
    assert ran.json["splits"] == {"train": 4, "test": 4}
    assert [row["region"] for row in ran.json["rows"]] == ["image", "box"]
    image = ran.json["rows"][0]
    assert image["error"]["diagonal"]["mean"] == image["prior"]["image"] > 0
    assert "What any method has to beat" in ran.err
    assert run(capsys, "synth", tmp_path / "again", *SMALL, "--seed", "3").code == 0
    for file in (tmp_path / "birds").rglob("*.[jt]*"):
        assert (tmp_path / "again" / file.relative_to(tmp_path / "birds")).read_bytes() == file.read_bytes()


def test_a_folder_that_is_not_empty(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "notes.txt").touch()
    ran = run(capsys, "synth", tmp_path, *SMALL)
    assert ran.code == 2
    assert "not empty" in ran.error
    assert run(capsys, "synth", tmp_path, *SMALL, "--overwrite").code == 0


def test_without_a_test_split_there_is_no_prior(tmp_path: Path, capsys: Capture) -> None:
    ran = run(
        capsys, "synth", tmp_path / "birds", "--images", "2", "--classes", "2", "--size", "64", "--json", "-"
    )
    assert ran.code == 0, ran.err
    assert ran.json["rows"] == []


@pytest.mark.parametrize("option", [("--images", "0"), ("--classes", "0"), ("--size", "3")])
def test_wrong_numbers(tmp_path: Path, capsys: Capture, option: tuple[str, str]) -> None:
    ran = run(capsys, "synth", tmp_path / "birds", *option)
    assert ran.code == 2
    assert option[1] in ran.error


@pytest.mark.parametrize("given", [("--images", "3", "--classes", "5"), ("--images", "3")])
def test_fewer_images_than_classes_is_an_error(
    tmp_path: Path, capsys: Capture, given: tuple[str, ...]
) -> None:
    ran = run(capsys, "synth", tmp_path / "birds", *given)
    assert ran.code == 2
    classes = given[3] if len(given) > 2 else 8
    assert f"{classes} classes needs at least {classes} images, not 3" in ran.error
    assert "--classes" in ran.error
    assert not (tmp_path / "birds").exists()
