"""From files, folders and patterns to the images that a command goes through."""

from __future__ import annotations

from pathlib import Path

import pytest

from partscope.cli.image_sources import NamedImage, find_images
from partscope.errors import OptionError, PartscopeWarning


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a.jpg", "b.PNG", "one/a.jpg", "one/c.tif", "two/a.jpg", "two/deep/d.webp"):
        file = tmp_path / "photos" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def names(images: list[NamedImage]) -> list[str]:
    return [image.name for image in images]


def test_a_folder(folder: Path) -> None:
    images = find_images(["photos"])
    assert names(images) == ["a.jpg", "b.PNG", "one/a.jpg", "one/c.tif", "two/a.jpg", "two/deep/d.webp"]
    assert all(image.path == folder / image.name for image in images)


def test_other_and_hidden_files_are_counted(folder: Path) -> None:
    for name in ("notes.txt", "._a.jpg", "one/.hidden.png"):
        (folder / name).touch()
    (folder / ".cache").mkdir()
    (folder / ".cache" / "x.jpg").touch()
    with pytest.warns(PartscopeWarning, match="by their name: 3"):
        assert len(find_images(["photos"])) == 6


def test_the_folder_of_overlays_is_not_searched(folder: Path) -> None:
    assert "two/deep/d.webp" not in names(find_images(["photos"], leave_out=Path("photos/two")))
    assert names(find_images(["photos/**/a.jpg"], leave_out=Path("photos/two"))) == ["a.jpg", "one/a.jpg"]


def test_a_pattern_is_named_from_the_folder_before_it(folder: Path) -> None:
    assert names(find_images(["photos/*/a.jpg"])) == ["one/a.jpg", "two/a.jpg"]
    assert names(find_images([f"{folder}/two/*.jpg"])) == ["a.jpg"]
    assert names(find_images(["photos/**/*.webp"])) == ["two/deep/d.webp"]


def test_files_are_named_from_the_folder_they_share(folder: Path) -> None:
    assert names(find_images(["photos/one/a.jpg"])) == ["a.jpg"]
    assert names(find_images(["photos/one/c.tif", "photos/one/a.jpg"])) == ["c.tif", "a.jpg"]
    assert names(find_images(["photos/one/a.jpg", "photos/two/deep/../a.jpg"])) == ["one/a.jpg", "two/a.jpg"]


def test_a_file_whose_name_looks_like_a_pattern(folder: Path) -> None:
    (folder / "x[1].jpg").touch()
    assert names(find_images(["photos/x[1].jpg"])) == ["x[1].jpg"]


def test_a_missing_file_is_listed(folder: Path) -> None:
    assert names(find_images(["photos/none.jpg"])) == ["none.jpg"]


def test_the_same_image_twice_is_used_once(folder: Path) -> None:
    with pytest.warns(PartscopeWarning, match="3 of the images"):
        images = find_images(["photos/one", "photos/one/../one", "photos/one/a.jpg"])
    assert names(images) == ["a.jpg", "c.tif"]


def test_one_name_in_two_folders(folder: Path) -> None:
    with pytest.warns(PartscopeWarning, match="2 images in different folders"):
        images = find_images(["photos/one", "photos/two"])
    assert names(images) == ["one/a.jpg", "c.tif", "two/a.jpg", "deep/d.webp"]


def test_a_longer_name_may_clash_again(folder: Path) -> None:
    """two/a.jpg of the first folder against the a.jpg that is lengthened to two/a.jpg."""
    other = folder.parent / "other" / "two" / "a.jpg"
    other.parent.mkdir(parents=True)
    other.touch()
    with pytest.warns(PartscopeWarning, match="listed with their folders"):
        images = find_images(["photos", "other/two"])
    assert len(set(names(images))) == len(images) == 7
    assert {"photos/two/a.jpg", "other/two/a.jpg"} <= set(names(images))
    for image in images:
        assert image.path.as_posix().endswith(f"/{image.name}")


@pytest.mark.parametrize(("source", "word"), [("photos/empty", "no image"), ("photos/*.gif", "no file")])
def test_nothing_to_search(folder: Path, source: str, word: str) -> None:
    (folder / "empty").mkdir()
    with pytest.raises(OptionError, match=word):
        find_images([source])
