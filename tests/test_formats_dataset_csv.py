"""Marked parts as a plain table."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generated_datasets import ROUND_TRIPS, assert_same, datasets, write_pictures
from partscope import load_dataset
from partscope.errors import AnnotationError, DatasetError, ImageError, OptionError, PartscopeWarning
from partscope.formats import save_dataset

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1, max_size=6)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("csv"))


@settings(max_examples=ROUND_TRIPS)
@given(data=st.data())
def test_reads_back_exactly(pictures: Path, data: st.DataObject) -> None:
    made = data.draw(datasets(pictures, instances=TEXT))
    written = save_dataset(made, "csv", pictures / "parts.csv")
    assert written.lost == ()
    assert {pictures / name for name in written.images} == {sample.image for sample in made}
    read = load_dataset("csv", pictures / "parts.csv")
    assert_same(made, read)
    assert read.notes == ()


def write(pictures: Path, text: str) -> Path:
    (pictures / "hand.csv").write_text(text, encoding="utf-8")
    return pictures / "hand.csv"


def test_a_table_made_by_hand(pictures: Path) -> None:
    """Columns in any order, no `visible`, parts without a row, and columns that are nobody's."""
    file = write(pictures, "part,y,x,image,who\nbeak,2,1,a.png,me\ntail,,,a.png,me\ntail,4,3,d#1.png,me\n")
    with pytest.warns(PartscopeWarning, match="1 parts have no row"):
        read = load_dataset("csv", file)
    assert read.parts == ("beak", "tail")
    assert read.ids == ("a.png", "d#1.png")
    assert read.points[0][0].tolist() == [1.0, 2.0]
    assert read.visible.tolist() == [[True, False], [False, True]]
    assert "the column 'who' was not read (3 rows)." in read.notes


def test_a_table_of_a_spreadsheet_or_of_pandas(pictures: Path) -> None:
    """Blanks behind commas, quotes around everything, TRUE and FALSE, NaN for no position."""
    tables = (
        'image, part, x, y, visible\na.png, beak, 1, 2, TRUE\na.png, "left, eye", 5, 5, FALSE\n',
        '"image","part","x","y"\r\n"a.png","beak","1.0","2.0"\r\n"a.png","left, eye","NaN","nan"\r\n',
        'image,part,x,y,visible\na.png,beak,1,2,1.0\na.png,"left, eye",NaN,NaN,0.0\n',
        'image,part,x,y,visible\na.png,beak,1,2,True\na.png,"left, eye",,,false\n',
    )
    for text in tables:
        read = load_dataset("auto", write(pictures, text))
        assert read.parts == ("beak", "left, eye")
        assert read.ids == ("a.png",)
        assert read.points[0][0].tolist() == [1.0, 2.0]
        assert read.visible.tolist() == [[True, False]]


@pytest.mark.parametrize(
    "text",
    [
        "image;part;x;y;visible\r\na.png;beak;1,5;2;TRUE\r\n",
        "image;part;x;y\na.png;beak;1.5;2,0\n",
        "image\tpart\tx\ty\na.png\tbeak\t1.5\t2\n",
        '"image";"part";"x";"y"\n"a.png";"beak";"1,5";"2"\n',
    ],
)
def test_semicolons_and_tabs_may_stand_for_commas(pictures: Path, text: str) -> None:
    read = load_dataset("auto", write(pictures, text))
    assert read.points[0][0].tolist() == [1.5, 2.0]


def test_a_box_between_semicolons_may_have_decimal_commas(pictures: Path) -> None:
    header = "image;part;x;y;box_x;box_y;box_width;box_height"
    read = load_dataset("auto", write(pictures, f"{header}\na.png;a,b;1;2;0,5;0,5;4,5;5\n"))
    assert read.parts == ("a,b",)
    assert read[0].box == (0.5, 0.5, 4.5, 5.0)


HEADER = "image,part,x,y,visible"
BAD = {
    "visible without place": (f"{HEADER}\na.png,beak,NaN,NaN,1\n", AnnotationError, "line 2: .*not finite"),
    "half a place": ("image,part,x,y\na.png,beak,1,NaN\n", AnnotationError, "line 2: .*not finite"),
    "no column x": ("image,part,y,visible\n", AnnotationError, "name the column 'x' once"),
    "column twice": (f"{HEADER},class,class\n", AnnotationError, "'class' comes twice"),
    "too few columns": (f"{HEADER}\na.png,beak,1\n", AnnotationError, "line 2: has 3 columns"),
    "not a number": (f"{HEADER}\na.png,beak,one,2,1\n", AnnotationError, "line 2: .*'one'"),
    "not finite": (f"{HEADER}\na.png,beak,inf,2,1\n", AnnotationError, "line 2: .*not finite"),
    "visible 2": (f"{HEADER}\na.png,beak,1,2,2\n", AnnotationError, "line 2: .*visible 1 or 0"),
    "part twice": (
        f"{HEADER}\na.png,beak,1,2,1\na.png,beak,1,2,1\n",
        AnnotationError,
        "line 3: .*second time",
    ),
    "two classes": (
        f"{HEADER},class\na.png,beak,1,2,1,A\na.png,tail,1,2,1,B\n",
        AnnotationError,
        "line 3: the label 'B' .* is 'A' in an earlier",
    ),
    "outside": (f"{HEADER}\na.png,beak,41,2,1\n", AnnotationError, r"line 2: .*outside the image of 40×30"),
    "no image": (f"{HEADER}\nz.png,beak,1,2,1\n", ImageError, "line 2: there is no image"),
    "leaves the folder": (
        f"{HEADER}\n../a.png,beak,1,2,1\n",
        DatasetError,
        "line 2: .*leaves the data set's folder",
    ),
    "absolute": (f"{HEADER}\n/etc/passwd,beak,1,2,1\n", DatasetError, "leaves the data set's folder"),
    "half a box": (
        f"{HEADER},box_x,box_y,box_width,box_height\na.png,beak,1,2,1,3,,4,5\n",
        AnnotationError,
        "line 2: .*does not parse",
    ),
    "box without area": (
        f"{HEADER},box_x,box_y,box_width,box_height\na.png,beak,1,2,1,3,3,0,5\n",
        DatasetError,
        "line 2.*has no area",
    ),
    "open quote": (f'{HEADER}\n"a.png,beak,1,2,1\n', AnnotationError, "not valid CSV"),
    "empty": (" \n", AnnotationError, "the file is empty"),
    "header alone": (f"{HEADER}\n", AnnotationError, "no part is named"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_tables(pictures: Path, case: str) -> None:
    text, kind, match = BAD[case]
    file = write(pictures, text)
    with pytest.raises(kind, match=match) as caught:
        load_dataset("csv", file)
    assert str(file) in str(caught.value)


def test_bad_objects_can_be_left_out(pictures: Path) -> None:
    file = write(pictures, f"{HEADER}\na.png,beak,99,2,1\nd#1.png,beak,1,2,1\nbirds/ü.png,beak,1,x,1\n")
    read = load_dataset("csv", file, on_error="skip")
    assert read.ids == ("d#1.png",)
    assert {item.id for item in read.skipped} == {"a.png", "birds/ü.png"}


def test_points_outside_can_count_as_not_visible(pictures: Path) -> None:
    file = write(pictures, f"{HEADER}\na.png,beak,99,2,1\na.png,tail,1,2,1\n")
    with pytest.warns(PartscopeWarning, match="1 visible parts outside"):
        read = load_dataset("csv", file, outside="hidden")
    assert read.visible.tolist() == [[False, True]]
    with pytest.raises(OptionError, match="outside must be one of"):
        load_dataset("csv", file, outside="maybe")
