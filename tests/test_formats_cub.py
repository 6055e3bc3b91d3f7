"""The reader and the writer of the CUB layout."""

from __future__ import annotations

import re
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from generated_datasets import ROUND_TRIPS
from partscope.dataset import PartDataset, Sample
from partscope.errors import (
    AnnotationError,
    DatasetError,
    ImageError,
    OptionError,
    PartscopeError,
    PartscopeWarning,
)
from partscope.formats import READERS, load_dataset, read_cub, write_cub_annotations


def edit(file: Path, line: int, text: str | None) -> None:
    """Replace a line (from 1) of a table, or remove it."""
    lines = file.read_text(encoding="utf-8").splitlines()
    lines[line - 1 : line] = [] if text is None else [text]
    file.write_text("".join(f"{entry}\n" for entry in lines), encoding="utf-8")


# -- what is read -----------------------------------------------------------------------------------------------------
def test_tiny_cub_is_read_whole(tiny_cub: Path) -> None:
    birds = load_dataset("cub", tiny_cub)
    assert len(birds) == 12
    assert birds.name == "tiny_cub"
    assert len(birds.train) == len(birds.test) == 6
    assert birds.labels == ("001.Red",) * 4 + ("002.Green",) * 4 + ("003.Blue",) * 4
    assert birds.parts[6] == "left eye"
    assert birds.parts[int(birds.mirror[6])] == "right eye"
    first = birds[0]
    assert first.id == "001.Red/bird_5.png"
    assert first.image == tiny_cub / "images" / "001.Red" / "bird_5.png"
    assert first.size == (64, 48)
    assert not birds.skipped
    assert not birds.notes
    np.testing.assert_array_equal(birds.visible, ~np.eye(12, 15, dtype=bool))
    # The documented grid: relative places in the box are the same in every image.
    box = birds.boxes[:, None, :]
    relative = (birds.points - box[..., :2]) / box[..., 2:]
    expected = np.array([[(4 + 6 * (p % 5)) / 32, (4 + 8 * (p // 5)) / 24] for p in range(15)])
    np.testing.assert_allclose(relative[birds.visible], np.broadcast_to(expected, (12, 15, 2))[birds.visible])


def test_folder_above_is_found(tiny_cub: Path, tmp_path: Path) -> None:
    above = tmp_path / "download"
    above.mkdir()
    tiny_cub.rename(above / "CUB_200_2011")
    birds = read_cub(above)
    assert birds.name == "CUB_200_2011"
    assert birds.ids == read_cub(str(above / "CUB_200_2011")).ids


def test_optional_tables(tiny_cub: Path) -> None:
    for name in ("bounding_boxes.txt", "image_class_labels.txt", "classes.txt", "train_test_split.txt"):
        (tiny_cub / name).unlink()
    birds = read_cub(tiny_cub)
    assert {(s.box, s.label, s.split) for s in birds} == {(None, None, None)}


def test_class_ids_are_labels_without_names(tiny_cub: Path) -> None:
    (tiny_cub / "classes.txt").unlink()
    assert read_cub(tiny_cub).labels == ("1",) * 4 + ("2",) * 4 + ("3",) * 4


def test_line_ends_blank_lines_tabs_and_byte_order_mark(tiny_cub: Path) -> None:
    expected = read_cub(tiny_cub).fingerprint()
    for file in tiny_cub.rglob("*.txt"):
        text = file.read_text(encoding="utf-8").replace(" ", "\t ", 1).replace("\n", " \r\n\r\n")
        file.write_bytes(text.encode("utf-8-sig"))
    assert read_cub(tiny_cub).fingerprint() == expected


def test_boxes_that_overflow_are_clipped_counted_and_warned_about_once(tiny_cub: Path) -> None:
    edit(tiny_cub / "bounding_boxes.txt", 1, "5 -3.0 2.0 40.0 20.0")
    edit(tiny_cub / "bounding_boxes.txt", 4, "14 10.5 20.0 60.0 40.0")
    with pytest.warns(PartscopeWarning) as caught:
        birds = read_cub(tiny_cub)
    assert len(caught) == 1
    assert birds.notes == ("2 of 12 bounding boxes overflow their images and were clipped to them.",)
    assert str(tiny_cub) in str(caught[0].message)
    assert birds[0].box == (0.0, 2.0, 37.0, 20.0)
    assert birds[3].box == (10.5, 20.0, 53.5, 28.0)


def test_part_on_the_border_is_inside(tiny_cub: Path) -> None:
    edit(tiny_cub / "parts" / "part_locs.txt", 2, "5 2 64.0 0.0 1")
    assert read_cub(tiny_cub)[0].points[1].tolist() == [64.0, 0.0]


def test_positions_of_invisible_parts_are_not_read(tiny_cub: Path) -> None:
    edit(tiny_cub / "parts" / "part_locs.txt", 2, "5 2 nan 999.0 0")
    assert not read_cub(tiny_cub)[0].visible[1]


def test_upright_size_counts(tiny_cub: Path) -> None:
    """A part right of the stored but inside the upright image is fine, for points refer to the upright image."""
    file = tiny_cub / "images" / "001.Red" / "bird_5.png"
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (48, 64)).save(file, exif=exif)
    assert read_cub(tiny_cub)[0].size == (64, 48)


# -- faults: each is an error that names its place, and with on_error="skip" a counted omission -------------------------
LOCS, IMAGES, BOXES = "parts/part_locs.txt", "images.txt", "bounding_boxes.txt"


def replace(table: str, line: int, text: str | None) -> Callable[[Path], None]:
    return lambda folder: edit(folder / table, line, text)


FIRST = "001.Red/bird_5.png"
FAULTS = {
    "part line does not parse": (replace(LOCS, 2, "5 2 abc 3.0 1"), AnnotationError, f"{LOCS}, line 2: '5 2 abc", FIRST),
    "part line too short": (replace(LOCS, 2, "5 2 3.0 1"), AnnotationError, f"{LOCS}, line 2: .* expected image id", FIRST),
    "part line too long": (replace(LOCS, 2, "5 2 3.0 3.0 1 7"), AnnotationError, f"{LOCS}, line 2", FIRST),
    "part visibility": (replace(LOCS, 2, "5 2 3.0 3.0 2"), AnnotationError, f"{LOCS}, line 2", FIRST),
    "part underscore": (replace(LOCS, 2, "5 2 1_0 3.0 1"), AnnotationError, f"{LOCS}, line 2", FIRST),
    "part of unknown image": (replace(LOCS, 2, "6 2 3.0 3.0 1"), AnnotationError, "image id '6' is not listed", "id 6"),
    "unknown part": (replace(LOCS, 2, "5 16 3.0 3.0 1"), AnnotationError, "line 2: the part id '16' is not", FIRST),
    "part twice": (replace(LOCS, 3, "5 2 3.0 3.0 1"), AnnotationError, "line 3: the part 'beak' .* second", FIRST),
    "part missing": (replace(LOCS, 2, None), AnnotationError, f"{LOCS}: image 5 .* no line for the part 'beak'", FIRST),
    "part outside": (replace(LOCS, 2, "5 2 64.5 3.0 1"), AnnotationError, "line 2: the part 'beak' .* outside .*64×48", FIRST),
    "part negative": (replace(LOCS, 2, "5 2 6.5 -0.1 1"), AnnotationError, "line 2: the part 'beak' .* outside", FIRST),
    "part NaN": (replace(LOCS, 2, "5 2 nan 3.0 1"), AnnotationError, r"line 2: the part 'beak' .*\(nan", FIRST),
    "part infinite": (replace(LOCS, 2, "5 2 3.0 inf 1"), AnnotationError, r"line 2: the part 'beak' .* inf\)", FIRST),
    "box without area": (replace(BOXES, 1, "5 1.0 1.0 0.0 9.0"), DatasetError, f"{BOXES}, line 1 .* no area", FIRST),
    "box off the image": (replace(BOXES, 1, "5 70.0 1.0 5.0 9.0"), DatasetError, f"{BOXES}, line 1 .* outside", FIRST),
    "box NaN": (replace(BOXES, 1, "5 nan 1.0 5.0 9.0"), AnnotationError, f"{BOXES}, line 1: .* does not parse", FIRST),
    "box missing": (replace(BOXES, 1, None), AnnotationError, f"{BOXES}: image 5 .* no line for a bounding box", FIRST),
    "box twice": (replace(BOXES, 2, "5 1.0 1.0 5.0 9.0\n8 1.0 1.0 5.0 9.0"), AnnotationError, f"{BOXES}, line 2: .* second", FIRST),
    "label missing": (replace("image_class_labels.txt", 1, None), AnnotationError, "no line for a class", FIRST),
    "label unknown": (replace("image_class_labels.txt", 1, "5 9"), AnnotationError, "class id '9' is not listed", FIRST),
    "split missing": (replace("train_test_split.txt", 1, None), AnnotationError, "no line for a split", FIRST),
    "split 2": (replace("train_test_split.txt", 1, "5 2"), AnnotationError, r"line 1: '5 2' .* 1 \(train\)", FIRST),
    "image line too short": (replace(IMAGES, 1, "5"), AnnotationError, "images.txt, line 1: '5' .* image id and path", "id 5"),
    "image missing": (replace(IMAGES, 1, "5 001.Red/none.png"), ImageError, "none.png: there is no such image", "001.Red/none.png"),
    "path leaves": (replace(IMAGES, 1, "5 ../../x.png"), DatasetError, "images.txt, line 1: .* leaves", "../../x.png"),
    "path absolute": (replace(IMAGES, 1, "5 /etc/x.png"), DatasetError, "images.txt, line 1: .* leaves", "/etc/x.png"),
    "path sideways": (replace(IMAGES, 1, "5 a/../../x.png"), DatasetError, "line 1: .* leaves", "a/../../x.png"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_are_named_or_skipped(tiny_cub: Path, fault: str) -> None:
    spoil, error, message, item = FAULTS[fault]
    spoil(tiny_cub)
    with pytest.raises(error, match=message):
        read_cub(tiny_cub)
    birds = read_cub(tiny_cub, on_error="skip")
    assert len(birds) == 11
    assert item in [skipped.id for skipped in birds.skipped]
    assert any(re.search(message, skipped.reason) for skipped in birds.skipped)
    assert all(not name.endswith("bird_5.png") for name in birds.ids)


def test_an_image_listed_under_two_ids_is_kept_once(tiny_cub: Path) -> None:
    edit(tiny_cub / IMAGES, 2, f"8 {FIRST}")
    with pytest.raises(
        AnnotationError, match=r"line 2: the image 001.Red/bird_5.png is listed a second time"
    ):
        read_cub(tiny_cub)
    birds = read_cub(tiny_cub, on_error="skip")
    assert birds.ids.count(FIRST) == 1
    assert [skipped.id for skipped in birds.skipped] == [FIRST]


def test_a_faulty_item_belongs_to_its_split(tiny_cub: Path) -> None:
    for name in ("bird_5", "bird_14", "bird_8"):
        (tiny_cub / "images" / "001.Red" / f"{name}.png").unlink()
    edit(tiny_cub / "train_test_split.txt", 2, "8 perhaps")
    birds = read_cub(tiny_cub, on_error="skip")
    assert {item.id: item.split for item in birds.skipped} == {
        FIRST: "train",
        "001.Red/bird_14.png": "test",
        "001.Red/bird_8.png": None,
    }
    assert len(birds.train.skipped) == len(birds.test.skipped) == 2


def test_an_id_of_two_images_spoils_both(tiny_cub: Path) -> None:
    edit(tiny_cub / IMAGES, 2, "5 001.Red/bird_8.png")
    with pytest.raises(
        AnnotationError, match=r"images.txt, line 2: the id '5' is listed a second time, after line 1"
    ):
        read_cub(tiny_cub)
    birds = read_cub(tiny_cub, on_error="skip")
    assert len(birds) == 10
    assert len(birds.skipped) == 2  # the id that is ambiguous, and the id 8 that no image has now


@pytest.mark.parametrize("content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n"])
def test_unreadable_headers(tiny_cub: Path, content: bytes) -> None:
    (tiny_cub / "images" / FIRST).write_bytes(content)
    with pytest.raises(ImageError, match=r"bird_5.png: "):
        read_cub(tiny_cub)
    assert [s.id for s in read_cub(tiny_cub, on_error="skip").skipped] == [FIRST]


@pytest.mark.parametrize("on_error", ["raise", "skip"])
@pytest.mark.parametrize(
    "table", [IMAGES, LOCS, "parts/parts.txt", BOXES, "classes.txt", "train_test_split.txt"]
)
def test_empty_tables_are_errors_even_when_skipping(tiny_cub: Path, table: str, on_error: str) -> None:
    (tiny_cub / table).write_text("\n \n")
    with pytest.raises(AnnotationError, match=f"{table}: the file is empty"):
        read_cub(tiny_cub, on_error=on_error)


@pytest.mark.parametrize("table", [LOCS, "parts/parts.txt"])
def test_missing_tables(tiny_cub: Path, table: str) -> None:
    (tiny_cub / table).unlink()
    with pytest.raises(AnnotationError, match=f"{table}: there is no such file"):
        read_cub(tiny_cub, on_error="skip")


@pytest.mark.parametrize(
    ("line", "match"), [("2 back", "'back' occurs more"), ("1 beak", "second time"), ("2", "parse")]
)
def test_bad_list_of_parts_is_never_skipped(tiny_cub: Path, line: str, match: str) -> None:
    edit(tiny_cub / "parts" / "parts.txt", 2, line)
    with pytest.raises(DatasetError, match=match):
        read_cub(tiny_cub, on_error="skip")


def test_text_that_is_not_utf8(tiny_cub: Path) -> None:
    (tiny_cub / IMAGES).write_bytes(b"5 001.Red/b\xe4rd.png\n")
    with pytest.raises(AnnotationError, match=r"images.txt: the file is not UTF-8 text \(byte 11\)"):
        read_cub(tiny_cub)


def test_nothing_left(tiny_cub: Path) -> None:
    shutil.rmtree(tiny_cub / "images")
    with pytest.raises(
        DatasetError, match=r"no image is left, 12 items were skipped; the first: .*no such image"
    ):
        read_cub(tiny_cub, on_error="skip")


def test_wrong_folders(tiny_cub: Path, tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="no such folder"):
        read_cub(tmp_path / "none")
    with pytest.raises(AnnotationError, match="this is a file"):
        read_cub(tiny_cub / "images.txt")
    with pytest.raises(AnnotationError, match="neither this folder nor CUB_200_2011"):
        read_cub(tmp_path)


# -- the registry -----------------------------------------------------------------------------------------------------
def test_unknown_format_and_options(tiny_cub: Path) -> None:
    with pytest.raises(OptionError, match=r"format 'cup'; nearest names: 'cub'"):
        load_dataset("cup", tiny_cub)
    with pytest.raises(OptionError, match="has no option 'split'"):
        load_dataset("cub", tiny_cub, split="train")
    with pytest.raises(OptionError, match="'raise' or 'skip', not 'ignore'"):
        load_dataset("cub", tiny_cub, on_error="ignore")


@pytest.mark.parametrize("format", READERS)
def test_every_reader_names_what_is_missing(tmp_path: Path, format: str) -> None:
    with pytest.raises(PartscopeError, match="none"):
        load_dataset(format, tmp_path / "none")


# -- the writer -------------------------------------------------------------------------------------------------------
NAMES = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n\t /\\\x00"), min_size=1, max_size=6
).filter(lambda name: name.strip() == name and name not in (".", ".."))


@st.composite
def datasets(draw: st.DrawFn) -> PartDataset:
    """Data sets of 60×40 images whose boxes lie inside them."""
    parts = draw(
        st.lists(
            st.builds(" ".join, st.lists(NAMES, min_size=1, max_size=2)), min_size=1, max_size=4, unique=True
        )
    )
    count = draw(st.integers(1, 5))
    with_box, with_label, with_split = draw(st.tuples(st.booleans(), st.booleans(), st.booleans()))
    samples = []
    for i in range(count):
        visible = draw(st.lists(st.booleans(), min_size=len(parts), max_size=len(parts)))
        points = [[draw(st.floats(0, 60)), draw(st.floats(0, 40))] for _ in parts]
        x, y = draw(st.floats(0, 59)), draw(st.floats(0, 39))
        box = (x, y, draw(st.floats(1e-3, 60 - x)), draw(st.floats(1e-3, 40 - y)))
        samples.append(
            Sample(
                id=f"{draw(NAMES)}/{i}.png",
                image=Path("unused"),
                size=(60, 40),
                points=np.array(points),
                visible=np.array(visible),
                box=box if with_box else None,
                label=draw(NAMES) if with_label else None,
                split=draw(st.sampled_from(["train", "test"])) if with_split else None,
            )
        )
    return PartDataset(tuple(parts), tuple(samples))


@settings(max_examples=ROUND_TRIPS)
@given(data=datasets())
def test_what_is_written_reads_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, data: PartDataset
) -> None:
    folder = tmp_path_factory.mktemp("written")
    write_cub_annotations(data, folder)
    for sample in data:
        file = folder / "images" / sample.id
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", sample.size).save(file)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # no box is clipped
        back = load_dataset("cub", folder)
    assert back.fingerprint() == data.fingerprint()
    assert back.labels == data.labels
    assert [s.split for s in back] == [s.split for s in data]


def sample(name: str = "a/b.png", **changes: object) -> Sample:
    values: dict[str, object] = {"points": np.ones((1, 2)), "visible": np.ones(1, bool), **changes}
    return Sample(id=name, image=Path("b.png"), size=(9, 9), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("samples", "match"),
    [
        ((), "no image to write"),
        ((sample("/abs/b.png"),), "leaves the data set's folder"),
        ((sample("../b.png"),), "leaves the data set's folder"),
        ((sample("a//b.png"),), "shortest form"),
        ((sample("a\nb.png"),), "line of text"),
        ((sample("b\udc80.png"),), "valid Unicode"),
        ((sample("b.png", label=" x"),), "line of text"),
        ((sample("b.png", split="val"),), "not 'val'"),
        ((sample("a.png", box=(1, 1, 2, 2)), sample("b.png")), "b.png: has no bounding box"),
        ((sample("a.png", label="x"), sample("b.png")), "b.png: has no label"),
        ((sample("a.png", split="test"), sample("b.png")), "b.png: has no split"),
    ],
)
def test_what_the_layout_cannot_hold(tmp_path: Path, samples: tuple[Sample, ...], match: str) -> None:
    with pytest.raises(DatasetError, match=match):
        write_cub_annotations(PartDataset(("beak",), samples), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_tables_of_another_data_set_are_not_mixed_in(tiny_cub: Path) -> None:
    with pytest.raises(DatasetError, match=r"bounding_boxes.txt: this table of another data set"):
        write_cub_annotations(PartDataset(("beak",), (sample(),)), tiny_cub)
    assert len(read_cub(tiny_cub)) == 12


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(PartscopeError, match="the folder cannot be created"):
        write_cub_annotations(PartDataset(("beak",), (sample(),)), tmp_path / "file" / "out")


# -- real photographs -------------------------------------------------------------------------------------------------
@pytest.mark.cub
def test_real_annotations(cub_folder: Path, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PartscopeWarning)
        birds = read_cub(cub_folder)
    assert birds.parts[1] == "beak"
    assert len(birds.parts) == 15
    assert not birds.skipped
    assert np.isfinite(birds.boxes).all()
    assert 11.5 < birds.visible.sum(axis=1).mean() < 12.5  # the data set's known average is about 12 of 15
    right, bottom = (birds.boxes[:, :2] + birds.boxes[:, 2:]).T
    assert (right <= birds.sizes[:, 0]).all()
    assert (bottom <= birds.sizes[:, 1]).all()
    write_cub_annotations(birds, tmp_path)
    (tmp_path / "images").symlink_to((cub_folder / "images").resolve(), target_is_directory=True)
    again = read_cub(tmp_path)
    assert again.fingerprint() == birds.fingerprint()
    assert not again.notes
