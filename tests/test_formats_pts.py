"""Landmarks of 300-W."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generated_datasets import ROUND_TRIPS, assert_same, datasets, without, write_pictures
from partscope import load_dataset
from partscope.errors import AnnotationError, DatasetError, PartscopeWarning
from partscope.formats import save_dataset


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("pts"))


@settings(max_examples=ROUND_TRIPS)
@given(data=st.data(), count=st.integers(1, 9))
def test_reads_back(pictures: Path, data: st.DataObject, count: int) -> None:
    for old in pictures.rglob("*.pts"):
        old.unlink()
    made = data.draw(datasets(pictures, parts=[f"point {i}" for i in range(1, count + 1)]))
    lost = save_dataset(made, "300w", pictures).lost
    hidden = sum(not sample.visible.all() for sample in made)
    assert any(f"{hidden} files hold 'nan nan'" in text for text in lost) == bool(hidden)
    read = load_dataset("300w", pictures)
    assert_same(without(made, "box", "label", "split"), read, within=1e-12)


FACE = "version: 1\nn_points:  2\n{\n1.0 1.0\n40 30.5\n}\n"


def write(folder: Path, text: str = FACE) -> Path:
    write_pictures(folder, ["a.png"])
    (folder / "a.pts").write_text(text)
    return folder


def test_the_first_pixel_is_one_one(tmp_path: Path) -> None:
    read = load_dataset("300w", write(tmp_path, FACE.replace("30.5", "30")))
    assert read.parts == ("point 1", "point 2")
    assert read.points[0].tolist() == [[0.5, 0.5], [39.5, 29.5]]
    assert load_dataset("300w", tmp_path / "a.pts", parts=["beak", "tail"]).parts == ("beak", "tail")


def test_uppercase_endings_are_not_left_out(tmp_path: Path) -> None:
    write(tmp_path)
    write_pictures(tmp_path, ["B.PNG"])
    (tmp_path / "B.PTS").write_text(FACE)
    assert load_dataset("auto", tmp_path).ids == ("B.PNG", "a.png")
    (tmp_path / "a.pts").unlink()
    assert load_dataset("auto", tmp_path).ids == ("B.PNG",)


def test_the_68_points_know_their_mirror_images(tmp_path: Path) -> None:
    """Mirroring twice leads back, and the points on the middle line stay: chin, nose bridge and tip, lips."""
    rows = "\n".join(f"{x} 5" for x in range(1, 35) for _ in range(2))
    read = load_dataset("300w", write(tmp_path, f"version: 1\nn_points: 68\n{{\n{rows}\n}}"))
    np.testing.assert_array_equal(read.mirror[read.mirror], np.arange(68))
    middle = [i + 1 for i in range(68) if read.mirror[i] == i]
    assert middle == [9, 28, 29, 30, 31, 34, 52, 58, 63, 67]
    assert read.mirror[37 - 1] == 46 - 1


BAD = {
    "another version": ("version: 1", "version: 2", "version 2 of the format"),
    "no braces": ("{", "", "expected 'version: 1'"),
    "not closed": ("}", "", "expected 'version: 1'"),
    "too few": ("1.0 1.0\n", "", "n_points is 2 but there are 1"),
    "a word": ("1.0 1.0", "1.0 one", "line 4: '1.0 one' does not parse"),
    "three numbers": ("1.0 1.0", "1 1 1", "line 4: .*two numbers"),
    "half nan": ("1.0 1.0", "nan 1", "line 4: .*not finite"),
    "outside": ("40 30.5", "42 30.5", "a.pts: the part 'point 2' .*outside"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files(tmp_path: Path, case: str) -> None:
    old, new, match = BAD[case]
    with pytest.raises(AnnotationError, match=match) as caught:
        load_dataset("300w", write(tmp_path, FACE.replace(old, new)))
    assert "a.pts" in str(caught.value)


def test_points_outside_can_count_as_not_visible(tmp_path: Path) -> None:
    with pytest.warns(PartscopeWarning, match="1 visible parts outside"):
        read = load_dataset("300w", write(tmp_path, FACE.replace("40 30.5", "42 30.5")), outside="hidden")
    assert read.visible.tolist() == [[True, False]]


def test_images_that_are_missing_or_two(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "b.pts").write_text(FACE)
    with pytest.raises(AnnotationError, match=r"b\.pts: no image in .* of the name b"):
        load_dataset("300w", tmp_path)
    read = load_dataset("300w", tmp_path, on_error="skip")
    assert (read.ids, [item.id for item in read.skipped]) == (("a.png",), ["b.pts"])
    write_pictures(tmp_path, ["a.jpg"])
    with pytest.raises(AnnotationError, match=r"a\.pts: 2 images \(a\.jpg, a\.png\)"):
        load_dataset("300w", tmp_path)


def test_other_numbers_of_points(tmp_path: Path) -> None:
    write_pictures(write(tmp_path), ["b.png"])
    (tmp_path / "b.pts").write_text("version: 1\nn_points: 1\n{\n1 1\n}")
    with pytest.raises(AnnotationError, match=r"b\.pts: has 1 points where 2"):
        load_dataset("300w", tmp_path)


def test_what_cannot_be_written(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["a.png", "a.jpg"])
    (tmp_path / "a.csv").write_text("image,part,x,y\na.png,beak,1,2\na.jpg,beak,1,2\n")
    with pytest.raises(DatasetError, match="differs in its ending alone"):
        save_dataset(load_dataset("csv", tmp_path / "a.csv"), "300w", tmp_path / "out")
    (tmp_path / "a.csv").write_text("image,part,x,y,instance\na.png,beak,1,2,a\na.png,beak,1,2,b\n")
    with pytest.raises(DatasetError, match=r"a\.png: the image holds 2 objects, and 300w knows one"):
        save_dataset(load_dataset("csv", tmp_path / "a.csv"), "300w", tmp_path / "out")
