"""CVAT for images 1.1."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generated_datasets import ROUND_TRIPS, assert_same, datasets, write_pictures
from partscope import load_dataset
from partscope.errors import AnnotationError, DatasetError, ImageError, PartscopeWarning
from partscope.formats import save_dataset


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("cvat"))


@settings(max_examples=ROUND_TRIPS)
@given(data=st.data())
def test_reads_back(pictures: Path, data: st.DataObject) -> None:
    made = data.draw(datasets(pictures, instances=st.integers(1, 99).map(str)))
    assert save_dataset(made, "cvat", pictures / "parts.xml").lost == ()
    read = load_dataset("cvat", pictures / "parts.xml")
    assert_same(made, read, within=1e-12)  # a box is written by its corners, whose difference is rounded
    assert read.notes == ()


#: As CVAT exports: a skeleton with a point outside and one occluded, and its box; grouped points; an image without shapes.
XML = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta/>
<image id="0" name="a.png" subset="Train" width="40" height="30">
  <skeleton label="bird" source="manual" z_order="0">
    <points label="beak" source="manual" outside="0" occluded="0" points="10.50,20.25"></points>
    <points label="tail" source="manual" outside="1" occluded="0" points="1.00,2.00"></points>
    <points label="eye" source="manual" outside="0" occluded="1" points="3.00,4.00"></points>
  </skeleton>
  <box label="bird" source="manual" occluded="0" xtl="1.5" ytl="2" xbr="11.5" ybr="22" z_order="0"></box>
</image>
<image id="1" name="birds/b c.png" width="64" height="48">
  <points label="beak" occluded="0" points="1,2" group_id="4"/>
  <points label="tail" occluded="0" points="3,4" group_id="4"/>
  <points label="beak" occluded="0" points="5,6" group_id="9"/>
  <box label="gull" xtl="0" ytl="0" xbr="9" ybr="9" group_id="9"/>
  <polygon label="wing" points="1,1;2,2;3,1"/>
</image>
<image id="2" name="d#1.png" width="33" height="33"/>
</annotations>
"""


def write(pictures: Path, old: str = "", new: str = "", text: str = XML) -> Path:
    assert old in text
    (pictures / "export.xml").write_text(text.replace(old, new) if old else text, encoding="utf-8")
    return pictures / "export.xml"


def test_an_export(pictures: Path) -> None:
    with pytest.warns(PartscopeWarning) as said:
        read = load_dataset("cvat", write(pictures))
    assert read.ids == ("a.png", "birds/b c.png#4", "birds/b c.png#9")
    assert read.parts == ("beak", "tail")
    assert read.labels == ("bird", None, "gull")
    assert [sample.split for sample in read] == ["Train", None, None]
    assert read[0].box == (1.5, 2, 10, 20)
    assert read.points[0][0].tolist() == [10.5, 20.25]
    assert read.visible.tolist() == [[True, False], [True, True], [True, False]]
    for text in ("1 occluded parts", "1 images without a shape", "1 shapes of the kind <polygon>"):
        assert any(text in str(warning.message) for warning in said), text


@pytest.mark.filterwarnings("ignore::partscope.PartscopeWarning")
def test_options(pictures: Path) -> None:
    read = load_dataset("cvat", write(pictures), occluded="marked", unmarked="keep")
    assert read.parts == ("beak", "eye", "tail")
    assert read.points[0][1].tolist() == [3.0, 4.0]
    assert read.ids[-1] == "d#1.png"


@pytest.mark.filterwarnings("ignore::partscope.PartscopeWarning")
def test_a_turned_box_becomes_the_upright_one_around_it(pictures: Path) -> None:
    """A quarter turn about the centre: 20×10 pixels around (15, 15) are 10×20; half of one is the same box."""
    shape = '<box label="bird" occluded="0" xtl="5" ytl="10" xbr="25" ybr="20" rotation="{}"></box>'
    for degrees, box in (
        (90, (10, 5, 10, 20)),
        (-90, (10, 5, 10, 20)),
        (180, (5, 10, 20, 10)),
        (0, (5, 10, 20, 10)),
    ):
        file = pictures / "turned.xml"
        point = '<points label="beak" occluded="0" points="12,9"></points>'
        file.write_text(
            f'<annotations><image id="0" name="a.png" width="40" height="30">{point}{shape.format(degrees)}</image></annotations>'
        )
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            read = load_dataset("cvat", file)
        assert [str(one.message).split(": ")[1] for one in said] == (
            ["1 turned boxes became the upright ones around them."] if degrees else []
        )
        np.testing.assert_allclose(read[0].box, box, atol=1e-9)


def test_images_in_the_exported_folder(tmp_path: Path) -> None:
    write_pictures(tmp_path / "images")
    (tmp_path / "annotations.xml").write_text(XML)
    assert load_dataset("cvat", tmp_path / "annotations.xml")[0].image == tmp_path / "images" / "a.png"


def test_names_that_are_lost_are_counted(pictures: Path) -> None:
    (pictures / "a.csv").write_text(
        "image,part,x,y,instance\na.png,b,1,2,left\na.png,b,1,2,7\na.png,b,1,2,1\nd#1.png,b,1,2,only\n"
    )
    made = load_dataset("csv", pictures / "a.csv")
    assert save_dataset(made, "cvat", pictures / "parts.xml").lost == (
        "the names of 1 objects, which are no numbers.",
        "the names of 1 objects within their images: the format has none.",
    )
    assert load_dataset("cvat", pictures / "parts.xml").ids == ("a.png#2", "a.png#7", "a.png#1", "d#1.png")


LAUGHS = '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]>\n<annotations>'
BAD = {
    "a document type": ("<annotations>", LAUGHS, AnnotationError, "has a document type"),
    "not closed": ("</annotations>", "", AnnotationError, "not valid XML"),
    "another root": ("annotations>", "labels>", AnnotationError, "expected <annotations>, not <labels>"),
    "a video": ("<meta/>", '<meta/><track id="0"/>', AnnotationError, "an export for video"),
    "no name": ('name="a.png"', "", AnnotationError, "image number 1: the attribute 'name'"),
    "no label": ('label="tail" occ', "occ", AnnotationError, "b c.png: a point has no label"),
    "twice": (
        'label="tail" occ',
        'label="beak" occ',
        AnnotationError,
        r"b c.png: the part 'beak' .*twice.*key G",
    ),
    "several points": ("10.50,20.25", "1,2;3,4", AnnotationError, "a.png: the point 'beak'.*several points"),
    "not a number": ("10.50,20.25", "1,nan", AnnotationError, "a.png: the point 'beak'.*not finite"),
    "one number": ("10.50,20.25", "1", AnnotationError, "a.png: the point 'beak' at '1'"),
    "half a box": ('xbr="11.5"', "", AnnotationError, "a.png: a box does not parse"),
    "box turned over": ('xbr="11.5"', 'xbr="1"', DatasetError, "a.png .*no area"),
    "two boxes": (
        "<polygon",
        '<box label="x" xtl="0" ytl="0" xbr="9" ybr="9" group_id="9"/><polygon',
        AnnotationError,
        "group 9 holds two boxes",
    ),
    "outside": ("10.50,20.25", "41,2", AnnotationError, "a.png: the part 'beak'.*outside"),
    "another size": ('width="40"', 'width="41"', AnnotationError, "41×30 pixels here"),
    "width a word": ('width="40"', 'width="wide"', AnnotationError, "width must be a whole number"),
    "no image": ('name="a.png"', 'name="z.png"', ImageError, "there is no image"),
    "leaves": ('name="a.png"', 'name="../a.png"', DatasetError, "leaves"),
}


@pytest.mark.filterwarnings("ignore::partscope.PartscopeWarning")
@pytest.mark.parametrize("case", BAD)
def test_bad_exports(pictures: Path, case: str) -> None:
    old, new, kind, match = BAD[case]
    file = write(pictures, old, new)
    with pytest.raises(kind, match=match) as caught:
        load_dataset("cvat", file)
    assert str(file) in str(caught.value)


@pytest.mark.filterwarnings("ignore::partscope.PartscopeWarning")
def test_bad_images_can_be_left_out(pictures: Path) -> None:
    read = load_dataset("cvat", write(pictures, "10.50,20.25", "x"), on_error="skip")
    assert [item.reason.count("a.png") for item in read.skipped] == [1]
    assert len(read) == 2


def test_an_encoding_trick_is_refused(pictures: Path) -> None:
    (pictures / "export.xml").write_bytes(LAUGHS.encode("utf-16"))
    with pytest.raises(AnnotationError, match=r"UTF-16.*save it as UTF-8"):
        load_dataset("cvat", pictures / "export.xml")
