"""CUB's and NABirds' layout by way of the registry."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generated_datasets import ROUND_TRIPS, assert_same, datasets, write_pictures
from partscope import load_dataset
from partscope.errors import AnnotationError, DatasetError, OptionError
from partscope.formats import save_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("birds")
    write_pictures(folder / "images")
    return folder


@pytest.mark.parametrize("format", ["cub", "nabirds"])
@settings(max_examples=ROUND_TRIPS)
@given(data=st.data())
def test_reads_back_exactly(folder: Path, format: str, data: st.DataObject) -> None:
    for old in folder.rglob("*.txt"):
        old.unlink()
    made = data.draw(datasets(folder / "images", splits=("train", "test"), all_or_none=True))
    written = save_dataset(made, format, folder)
    assert written.lost == ()
    assert {folder / name for name in written.images} == {sample.image for sample in made}
    assert_same(made, load_dataset(format, folder))


@pytest.fixture
def birds(tmp_path: Path) -> Path:
    """Two images in NABirds' layout, with three steps of classes."""
    write_pictures(tmp_path / "nabirds" / "images", ["a.png", "b.png"])
    one, two = "0000139e-21dc-4d0c-bfe1-4cae3c85c829", "0000d9fc-4e02-4c06-a0af-a55cfb16b12b"
    tables = {
        "images.txt": f"{one} a.png\n{two} b.png\n",
        "sizes.txt": f"{one} 40 30\n{two} 40 30\n",
        "bounding_boxes.txt": f"{one} 1 2 20 20\n{two} 3 4 20 20\n",
        "image_class_labels.txt": f"{one} 817\n{two} 860\n",
        "classes.txt": "0 Birds\n1 Ducks, Geese, and Swans\n295 Eiders\n817 Common Eider (Adult male)\n860 Mallard\n",
        "hierarchy.txt": "1 0\n295 1\n817 295\n860 1\n",
        "train_test_split.txt": f"{one} 1\n{two} 0\n",
        "parts/parts.txt": "0 bill\n1 left eye\n",
        "parts/part_locs.txt": f"{one} 0 5 6 1\n{one} 1 -1 -1 0\n{two} 0 7 8 1\n{two} 1 9 9 1\n",
    }
    (tmp_path / "nabirds" / "parts").mkdir()
    for name, text in tables.items():
        (tmp_path / "nabirds" / name).write_text(text)
    return tmp_path


def test_nabirds(birds: Path) -> None:
    read = load_dataset("nabirds", birds)
    assert read.parts == ("bill", "left eye")
    assert read.train.ids == ("a.png",)
    assert read.labels == ("Common Eider (Adult male)", "Mallard")
    assert read.visible.tolist() == [[True, False], [True, True]]


@pytest.mark.parametrize(
    ("depth", "labels"),
    [
        (0, ("Birds", "Birds")),
        (1, ("Ducks, Geese, and Swans",) * 2),
        (2, ("Eiders", "Mallard")),
        (9, ("Common Eider (Adult male)", "Mallard")),
    ],
)
def test_labels_of_a_depth(birds: Path, depth: int, labels: tuple[str, str]) -> None:
    assert load_dataset("nabirds", birds, depth=depth).labels == labels


BAD = {
    "another size": ("sizes.txt", "40 30\n", "41 30\n", "sizes.txt, line 1: a.png has 41×30 pixels"),
    "no size": (
        "sizes.txt",
        "0000139e-21dc-4d0c-bfe1-4cae3c85c829 40 30\n",
        "",
        "sizes.txt: image .*a.png.* no line",
    ),
    "a word": ("sizes.txt", "40 30\n", "wide 30\n", "sizes.txt, line 1: .*does not parse"),
    "a circle": ("hierarchy.txt", "1 0", "1 295", "hierarchy.txt: the classes above '817' run in a circle"),
    "an unnamed class": ("classes.txt", "295 Eiders\n", "", "the class id '295' is not listed"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables(birds: Path, case: str) -> None:
    name, old, new, match = BAD[case]
    file = birds / "nabirds" / name
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new, 1))
    with pytest.raises(AnnotationError, match=match):
        load_dataset("nabirds", birds, depth=2)


def test_bad_sizes_can_be_left_out(birds: Path) -> None:
    file = birds / "nabirds" / "sizes.txt"
    file.write_text(file.read_text().replace("40 30", "41 30", 1))
    read = load_dataset("nabirds", birds, on_error="skip")
    assert (read.ids, read.skipped[0].id, read.skipped[0].split) == (("b.png",), "a.png", "train")


def test_what_is_refused(birds: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="depth must be"):
        load_dataset("nabirds", birds, depth=-1)
    with pytest.raises(
        AnnotationError, match=r"neither this folder nor nabirds in it holds images\.txt and sizes\.txt"
    ):
        load_dataset("nabirds", tmp_path / "nabirds" / "images")
    shutil.copy(birds / "nabirds" / "images" / "a.png", birds / "a.png")
    (birds / "a.csv").write_text("image,part,x,y,instance\na.png,bill,1,2,l\na.png,bill,1,2,r\n")
    with pytest.raises(DatasetError, match="knows one an image"):
        save_dataset(load_dataset("csv", birds / "a.csv"), "nabirds", birds / "out")
