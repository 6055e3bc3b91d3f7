"""`--images DIR`: the annotation lies in one folder, its pictures in another."""

from __future__ import annotations

from pathlib import Path

import pytest

from command_line import run
from drawn import drawn_dataset
from partscope import load_dataset, save_dataset
from partscope.dataset import PartDataset

Capture = pytest.CaptureFixture[str]
#: Formats whose annotation may lie elsewhere, and the annotation's name.
PLACES = {
    "csv": "marks.csv",
    "coco": "marks.json",
    "label-studio": "marks.json",
    "label-studio-min": "marks.json",
    "cvat": "marks.xml",
}


@pytest.fixture
def animals(tmp_path: Path) -> PartDataset:
    return drawn_dataset(tmp_path / "photos", 6)


def written(animals: PartDataset, folder: Path, format: str = "csv") -> Path:
    folder.mkdir(exist_ok=True)
    save_dataset(animals, format, folder / PLACES[format])
    return folder / PLACES[format]


@pytest.mark.parametrize("format", PLACES)
def test_a_detector_is_fitted_and_evaluated(
    animals: PartDataset, tmp_path: Path, format: str, capsys: Capture
) -> None:
    marks, model = written(animals, tmp_path / "export", format), tmp_path / "m.partscope"
    fit = ("fit", marks, "--split", "all", "--method", "prior", "--out", model)
    assert "0_00.png" in run(capsys, *fit).error  # the picture that is not beside the annotation is named
    ran = run(capsys, *fit, "--images", tmp_path / "photos")
    assert ran.code == 0, ran.err
    ran = run(
        capsys, "evaluate", model, marks, "--split", "all", "--images", tmp_path / "photos", "--json", "-"
    )
    assert ran.code == 0, ran.err
    assert ran.json["rows"][0]["images"] == 6


def test_the_folder_itself_may_be_named_without_the_file(
    animals: PartDataset, tmp_path: Path, capsys: Capture
) -> None:
    written(animals, tmp_path / "export", "cvat")
    argv = ("--split", "all", "--method", "prior", "--out", tmp_path / "m", "--images", tmp_path / "photos")
    assert run(capsys, "fit", tmp_path / "export", *argv).code == 0


def test_convert_reads_from_there_and_brings_them(
    animals: PartDataset, tmp_path: Path, capsys: Capture
) -> None:
    marks = written(animals, tmp_path / "export", "coco")
    (tmp_path / "new").mkdir()
    argv = ("convert", marks, tmp_path / "new" / "a.csv", "--to", "csv", "--images", tmp_path / "photos")
    ran = run(capsys, *argv, "--bring", "copy")
    assert ran.code == 0, ran.err
    assert "6 images copied" in ran.out
    assert load_dataset("auto", tmp_path / "new").ids == animals.ids


def test_a_format_with_a_folder_of_its_own_says_so(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    for argv in (
        ("fit", tiny_cub, "--method", "prior", "--out", tmp_path / "m"),
        ("convert", tiny_cub, tmp_path / "a.csv", "--to", "csv"),
        ("reproduce", "table1", tiny_cub),
        ("discover", tiny_cub, "--out", tmp_path / "m"),
        ("classify", "fit", tiny_cub, "--out", tmp_path / "m", "--source", "none"),
    ):
        error = run(capsys, *argv, "--images", tmp_path).error
        assert "--images: the format 'cub' has its images in its own folder" in error, argv[0]


def test_a_folder_that_is_not_there_is_named(animals: PartDataset, tmp_path: Path, capsys: Capture) -> None:
    marks = written(animals, tmp_path / "export")
    for place in (tmp_path / "nowhere", marks):
        ran = run(capsys, "fit", marks, "--method", "prior", "--out", tmp_path / "m", "--images", place)
        assert f"--images {place}: there is no such folder" in ran.error


def test_the_page_takes_marks_whose_pictures_are_in_its_folder(
    animals: PartDataset, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = pytest.importorskip("partscope.web", reason="the page is in the extra web")
    marks, photos = written(animals, tmp_path / "export", "label-studio"), tmp_path / "photos"
    kept: list[int] = []

    def note(session: object, **options: object) -> None:
        kept.append(len(session.project.marked()))  # type: ignore[attr-defined]

    monkeypatch.setattr(web, "serve", note)
    assert run(capsys, "serve", photos, "--marks", marks).code == 2
    ran = run(capsys, "serve", photos, "--marks", marks, "--images", photos)
    assert ran.code == 0, ran.err
    assert "took the marks of 6 pictures" in ran.out
    assert kept == [6]
    assert "--images belongs to --marks" in run(capsys, "serve", photos, "--images", photos).error
