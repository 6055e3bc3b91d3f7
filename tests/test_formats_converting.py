"""Recognising formats, and converting from one to another."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
from pathlib import Path

import pytest

from command_line import run
from generated_datasets import assert_same, write_pictures
from partscope import load_dataset
from partscope.dataset import PartDataset, Sample
from partscope.errors import AnnotationError, DatasetError, OptionError, PartscopeError
from partscope.formats import READERS, WRITERS, convert, recognise, save_dataset
from partscope.formats.lsp import JOINTS

#: Where each format is written, below a folder.
PLACES = {
    "csv": "parts.csv",
    "coco": "parts.json",
    "label-studio": "tasks.json",
    "label-studio-min": "minimal.json",
    "cvat": "annotations.xml",
    "deeplabcut": "CollectedData_me.csv",
    "cub": ".",
    "nabirds": ".",
    "300w": ".",
    "lsp": ".",
}


@pytest.fixture
def marked(tmp_path: Path) -> PartDataset:
    """Two images with the fourteen joints, which every format can hold."""
    folder = write_pictures(tmp_path / "pictures", ["im0001.png", "im0002.png"])
    samples = [
        Sample(name, folder / name, (40, 30), [[i + 1, i + 2.5] for i in range(14)], [True] * 14)  # type: ignore[arg-type]
        for name in ("im0001.png", "im0002.png")
    ]
    return PartDataset(JOINTS, tuple(samples), "marked")


def test_every_format_is_read_and_written() -> None:
    assert set(PLACES) == set(READERS) == set(WRITERS)


@pytest.mark.parametrize("format", PLACES)
def test_what_is_written_is_recognised(marked: PartDataset, tmp_path: Path, format: str) -> None:
    """By itself, and alone in its folder; then it reads back from where its images belong."""
    out = tmp_path / "out"
    out.mkdir()
    target = out / PLACES[format]
    written = save_dataset(marked, format, target)
    for name, image in written.images.items():
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(image, out / name)
    name = "label-studio" if format == "label-studio-min" else format
    assert recognise(target)[0] == name
    assert recognise(out) == (name, target if target != out / "." else out)
    read = load_dataset("auto", out)
    assert read.points.shape == (2, 14, 2)
    assert abs(read.points - marked.points).max() < 1e-9


@pytest.mark.parametrize("format", PLACES)
def test_a_name_that_is_no_text_is_kept_or_refused(tmp_path: Path, format: str) -> None:
    """File systems hold any bytes as names."""
    name = "v\udcf6gel.png"
    try:
        os.rename(write_pictures(tmp_path, ["a.png"]) / "a.png", tmp_path / name)
    except (OSError, UnicodeError):
        pytest.skip("the file system holds no such names")
    marked = PartDataset(
        JOINTS, (Sample(name, tmp_path / name, (40, 30), [[1, 2]] * 14, [True] * 14),), "marked"
    )  # type: ignore[arg-type]
    target = tmp_path / PLACES[format]
    if format in ("cub", "nabirds", "cvat", "deeplabcut"):
        with pytest.raises(DatasetError, match="rename it"):
            save_dataset(marked, format, target)
        return
    written = save_dataset(marked, format, target)
    for image, source in written.images.items():
        if not (tmp_path / image).exists():
            (tmp_path / image).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, tmp_path / image)
    assert load_dataset(format, target).ids[0].endswith(name if format != "lsp" else "im0001.png")


@pytest.mark.parametrize("to", PLACES)
def test_from_a_table_to_every_format_and_back(
    marked: PartDataset, tmp_path: Path, to: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save_dataset(marked, "csv", tmp_path / "pictures" / "parts.csv")
    target = "new" if PLACES[to] == "." else PLACES[to]
    (tmp_path / "there").mkdir()
    ran = run(
        capsys, "convert", tmp_path / "pictures", tmp_path / "there" / target, "--to", to, "--bring", "copy"
    )
    assert ran.code == 0, ran.err
    assert "2 objects in 2 images, 14 parts, 28 of 28 visible (csv to" in ran.out
    assert "2 images copied" in ran.out
    back = run(
        capsys, "convert", tmp_path / "there" / target, tmp_path / "back.csv", "--to", "csv", "--json", "-"
    )
    assert back.code == 0, back.err
    assert (back.json["objects"], back.json["absent"]) == (2, 2)
    assert [path.name for path in tmp_path.rglob(".partial-*")] == []


@pytest.fixture
def source(marked: PartDataset, tmp_path: Path) -> Path:
    save_dataset(marked, "csv", tmp_path / "pictures" / "parts.csv")
    return tmp_path / "pictures" / "parts.csv"


def test_links(source: Path, tmp_path: Path, marked: PartDataset) -> None:
    done = convert(source, tmp_path / "birds", "cub", images="link")
    assert (done.images, done.absent, done.format) == (2, 0, "csv")
    assert (tmp_path / "birds/images/im0001.png").is_symlink()
    read = load_dataset("auto", tmp_path / "birds")
    assert_same(marked, dataclasses.replace(read, name="marked"))


def test_images_that_are_in_place_are_left_alone(source: Path) -> None:
    done = convert(source, source.with_name("coco.json"), "coco", images="copy")
    assert (done.images, done.absent) == (0, 0)
    assert load_dataset("coco", source.with_name("coco.json")).ids == ("im0001.png", "im0002.png")


def test_what_is_there_is_not_replaced(source: Path, tmp_path: Path) -> None:
    target = tmp_path / "a.json"
    target.write_text("mine")
    with pytest.raises(OptionError, match=r"a\.json: this is there already.*--force"):
        convert(source, target, "coco")
    assert target.read_text() == "mine"
    convert(source, target, "coco", force=True)
    assert target.read_text() != "mine"
    (tmp_path / "birds").mkdir()
    (tmp_path / "birds" / "mine.txt").write_text("mine")
    with pytest.raises(OptionError, match="this is there already"):
        convert(source, tmp_path / "birds", "cub")
    convert(source, tmp_path / "birds", "cub", force=True, images="copy")
    assert (tmp_path / "birds" / "mine.txt").read_text() == "mine"
    # An image that would be replaced counts too, and so does the configuration beside Label Studio's tasks.
    (tmp_path / "im0001.png").write_bytes(b"another")
    with pytest.raises(OptionError, match=r"im0001\.png: this is there already"):
        convert(source, tmp_path / "b.json", "coco", images="copy")
    assert not (tmp_path / "b.json").exists()
    assert not (tmp_path / "im0002.png").exists()
    (tmp_path / "t.xml").write_text("mine")
    with pytest.raises(OptionError, match=r"t\.xml: this is there already"):
        convert(source, tmp_path / "t.json", "label-studio")


def test_a_full_disk_leaves_nothing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "im0002.png")

    monkeypatch.setattr(shutil, "copyfile", full)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(PartscopeError, match=r"birds: cannot be written \(No space left"):
        convert(source, tmp_path / "birds", "cub", images="copy")
    assert sorted(tmp_path.rglob("*")) == before


BAD: dict[str, tuple[tuple[str, ...], str]] = {
    "unknown target": (
        ("x.csv", "--to", "cubs"),
        "no annotation format 'cubs' to write; nearest names: 'cub'",
    ),
    "unknown source": (
        ("x.csv", "--to", "csv", "--from", "coko"),
        "no annotation format 'coko'; nearest names: 'coco'",
    ),
    "ending": (("x.txt", "--to", "csv"), r"csv is written to a file that ends in \.csv"),
    "no folder": (("no/x.csv", "--to", "csv"), "there is no folder"),
    "bring": (("x.csv", "--to", "csv", "--bring", "move"), "--bring must be one of copy, link, none"),
    "images": (("x.csv", "--to", "csv", "--images", "copy"), "--bring copy brings them"),
    "no images": (("x.csv", "--to", "csv", "--images", "no"), "--images no: there is no such folder"),
    "option": (("x.csv", "--to", "csv", "--option", "outsid=hidden"), "nearest names .*'outside'"),
    "option without value": (("x.csv", "--to", "csv", "--option", "outside"), "takes NAME=VALUE"),
    "whether": (("x", "--to", "deeplabcut", "--option", "h5=maybe"), "h5 must be yes or no"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_options(
    source: Path,
    tmp_path: Path,
    case: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments, match = BAD[case]
    ran = run(capsys, "convert", source, *arguments)
    assert ran.code == 2
    with pytest.raises(AssertionError, match=match):
        raise AssertionError(ran.error)


def test_options_and_losses_on_the_command_line(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--option", "scorer=me", "--option", "outside=hidden")
    source.write_text("image,part,x,y,class\nim0001.png,beak,1,2,Robin\nim0002.png,beak,99,2,Robin\n")
    ran = run(capsys, "convert", source, tmp_path / "dlc", "--to", "deeplabcut", *options)
    assert ran.code == 0
    assert "lost: the classes of 2 objects: the format has none." in ran.out
    assert "note: 1 visible parts outside their images" in ran.out
    assert "2 images are not where deeplabcut looks for them" in ran.out
    assert (tmp_path / "dlc/labeled-data/images/CollectedData_me.csv").exists()
    skipped = run(capsys, "convert", source, tmp_path / "b.csv", "--to", "csv", "--on-error", "skip")
    assert skipped.code == 1
    assert "1 of 2 items were left out" in skipped.err


def test_what_is_not_recognised(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no such file or folder"):
        recognise(tmp_path / "nothing")
    with pytest.raises(
        AnnotationError, match=r"looked for: .*images\.txt and parts/parts\.txt \(cub\).*joints\.mat"
    ):
        recognise(tmp_path)
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(
        AnnotationError, match=r"more than one annotation here: coco \(a\.json\), coco \(b\.json\)"
    ):
        recognise(tmp_path)
    for name, text in (
        ("a.json", "["),
        ("a.csv", "x,y\n"),
        ("a.xml", "<a/>"),
        ("a.txt", "?"),
        ("a.json", "[" * 100_000),
    ):
        (tmp_path / name).write_text(text)
        with pytest.raises(AnnotationError, match="no annotation format was recognised"):
            load_dataset("auto", tmp_path / name)
