"""DeepLabCut: projects and tables, with one animal and several, old and new."""

from __future__ import annotations

import csv
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generated_datasets import ROUND_TRIPS, assert_same, datasets, without, write_pictures
from partscope import load_dataset
from partscope.errors import AnnotationError, DatasetError, ImageError, OptionError, PartscopeWarning
from partscope.formats import save_dataset, write_predictions_deeplabcut
from partscope.predictions import PartPredictions

FRAMES = ("labeled-data/reach 1/img0.png", "labeled-data/reach 1/img 1.png", "labeled-data/ü2/img0.png")
INDIVIDUALS = st.sampled_from(("mus1", "mus2", "single", "the third, tall"))


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("deeplabcut"), FRAMES)


@pytest.mark.filterwarnings("ignore::partscope.PartscopeWarning")  # individuals that are not in every frame
@settings(max_examples=ROUND_TRIPS)
@given(data=st.data(), several=st.booleans(), project=st.booleans())
def test_reads_back(frames: Path, data: st.DataObject, several: bool, project: bool) -> None:
    made = data.draw(
        datasets(frames, pictures=FRAMES, instances=INDIVIDUALS if several else None, unmarked=False)
    )
    for old in frames.glob("**/CollectedData_*"):
        old.unlink()
    target = frames if project else frames / "CollectedData_me.csv"
    written = save_dataset(made, "deeplabcut", target, scorer="me")
    assert set(written.images) == {str(sample.image.relative_to(frames)) for sample in made}
    lost = sum(value is not None for s in made for value in (s.box, s.label, s.split))
    assert sum(int(text.split(" of ")[1].split()[0]) for text in written.lost) == lost
    read = load_dataset("deeplabcut", target, unmarked="keep" if not several else "skip")
    assert_same(without(made, "box", "label", "split"), read, within=1e-12)  # 0.5 is taken away and added


@pytest.mark.parametrize("several", [False, True])
def test_pandas_and_we_agree_on_hdf5(frames: Path, several: bool) -> None:
    """What pandas writes we read, what we write pandas reads, and the CSV says the same."""
    pandas = pytest.importorskip("pandas", reason="pandas is in the extra formats")
    pytest.importorskip("tables", reason="PyTables is in the extra formats")
    pytest.importorskip("h5py", reason="h5py is in the extra formats")
    levels = ["scorer", *(["individuals"] if several else []), "bodyparts", "coords"]
    animals = [("m1",), ("single",)] if several else [()]
    header = [("me", *who, part, axis) for who in animals for part in ("nose", "Fuß") for axis in "xy"]
    values = np.arange(2 * len(header), dtype=np.float64).reshape(2, -1) / 4
    values[1, :2] = np.nan
    frame = pandas.DataFrame(
        values, index=list(FRAMES[:2]), columns=pandas.MultiIndex.from_tuples(header, names=levels)
    )
    frame.iloc[:, -1] = frame.iloc[:, -1].astype(int)  # a second block
    frame.to_hdf(frames / "CollectedData_me.h5", key="df_with_missing", mode="w")
    frame.to_csv(frames / "CollectedData_me.csv")
    read = [load_dataset("deeplabcut", frames / f"CollectedData_me.{ending}") for ending in ("h5", "csv")]
    assert_same(*read)
    assert read[0].ids[0] == FRAMES[0] + "#m1" * several
    assert read[0].points[0].tolist() == [[0.5, 0.75], [1.0, read[0].points[0, 1, 1]]]
    save_dataset(read[0], "deeplabcut", frames / "again.h5", scorer="me")
    again = pandas.read_hdf(frames / "again.h5")
    assert list(again.columns.names) == levels
    assert list(again.index) == [tuple(name.split("/")) for name in FRAMES[:2]]
    np.testing.assert_array_equal(again["me"].to_numpy(), frame["me"].to_numpy())


def test_a_pickle_in_hdf5_is_not_opened(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py", reason="h5py is in the extra formats")

    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "exploded"),)

    with h5py.File(tmp_path / "CollectedData_me.h5", "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["axis0_nlevels"] = 1
        group["block0_values"] = [[1.0]]
        group["axis0_level0"] = [np.bytes_(b"me")]
        group["axis0_level0"].attrs["name"] = np.void(pickle.dumps(Bomb()))
    with pytest.raises(AnnotationError, match=r"CollectedData_me\.h5: the table cannot be read"):
        load_dataset("deeplabcut", tmp_path / "CollectedData_me.h5")
    assert not (tmp_path / "exploded").exists()


OLD = """scorer,me,me,me,me
bodyparts,nose,nose,tail,tail
coords,x,y,x,y
labeled-data\\reach 1\\img0.png,1.5,2,,
labeled-data/reach 1/img 1.png,,,,
"""


def write(folder: Path, text: str = OLD) -> Path:
    write_pictures(folder, FRAMES)
    (folder / "CollectedData_me.csv").write_text(text, encoding="utf-8")
    return folder / "CollectedData_me.csv"


def test_an_old_table(tmp_path: Path) -> None:
    """One column for the image, with the signs of Windows; a frame that nobody has labelled."""
    with pytest.warns(PartscopeWarning, match="1 frames or individuals without"):
        read = load_dataset("deeplabcut", write(tmp_path))
    assert read.ids == (FRAMES[0],)
    assert read.points[0][0].tolist() == [2.0, 2.5]  # counted from the centre of the first pixel
    assert read.visible.tolist() == [[True, False]]
    assert load_dataset("deeplabcut", tmp_path / "CollectedData_me.csv", unmarked="keep").ids == FRAMES[:2]


@pytest.mark.filterwarnings("ignore::partscope.PartscopeWarning")
def test_a_table_that_was_moved(tmp_path: Path) -> None:
    write_pictures(tmp_path, ["img0.png", "img 1.png"])
    (tmp_path / "CollectedData_me.csv").write_text(OLD)
    assert load_dataset("deeplabcut", tmp_path / "CollectedData_me.csv")[0].image.samefile(
        tmp_path / "img0.png"
    )


def test_several_scorers(tmp_path: Path) -> None:
    place = tmp_path / "labeled-data" / "reach 1"
    text = OLD.replace("\\", "/").replace(",,,,\n", ",1,2,3,4\n")
    write(tmp_path, text).rename(place / "CollectedData_me.csv")
    (place / "CollectedData_you.csv").write_text(text.replace("me,me", "you,you"))
    with pytest.raises(AnnotationError, match="me, you have labelled; choose one"):
        load_dataset("deeplabcut", tmp_path)
    assert len(load_dataset("deeplabcut", tmp_path, scorer="you")) == 2
    with pytest.raises(AnnotationError, match=r"no table .*CollectedData_him"):
        load_dataset("deeplabcut", tmp_path, scorer="him")


BAD = {
    "half a point": ("1.5,2,,", "1.5,,,", AnnotationError, "line 4: the part 'nose' .* one of x and y"),
    "a word": ("1.5,2", "one,2", AnnotationError, "line 4: does not parse"),
    "infinite": ("1.5,2", "inf,2", AnnotationError, "line 4: does not parse"),
    "too short": ("1.5,2,,", "1.5,2", AnnotationError, "line 4: has 3 columns"),
    "predictions": ("x,y\n", "x,likelihood\n", AnnotationError, "'likelihood' .* not one of predictions"),
    "another header": ("scorer", "who", AnnotationError, "the header must have the rows"),
    "header cut": ("nose,nose,tail,tail", "nose,nose", AnnotationError, "different lengths"),
    "column twice": ("nose,nose,tail,tail", "nose,nose,nose,nose", AnnotationError, "comes twice"),
    "no coords": ("coords", "x", AnnotationError, "the header must have the rows"),
    "frame twice": ("img 1", "img0", AnnotationError, "line 5: the frame .* second time"),
    "outside": ("1.5,2", "40.5,2", AnnotationError, "line 4: .*'nose'.*outside"),
    "no image": ("img0", "img9", ImageError, "line 4: there is no image"),
    "leaves": ("labeled-data\\reach 1\\img0.png", "../x.png", DatasetError, "line 4: .*leaves"),
}


@pytest.mark.filterwarnings("ignore::partscope.PartscopeWarning")
@pytest.mark.parametrize("case", BAD)
def test_bad_tables(tmp_path: Path, case: str) -> None:
    old, new, kind, match = BAD[case]
    assert old in OLD
    file = write(tmp_path, OLD.replace(old, new))
    with pytest.raises(kind, match=match) as caught:
        load_dataset("deeplabcut", file)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x89HDF\r\n\x1a\n" + bytes(64)])
def test_damaged_hdf5(tmp_path: Path, content: bytes) -> None:
    pytest.importorskip("h5py", reason="h5py is in the extra formats")
    (tmp_path / "CollectedData_me.h5").write_bytes(content)
    with pytest.raises(AnnotationError, match=r"CollectedData_me\.h5: the table cannot be read"):
        load_dataset("deeplabcut", tmp_path / "CollectedData_me.h5")


def test_a_project_as_written(tmp_path: Path) -> None:
    write_pictures(tmp_path / "in", ["a.png", "x/y/b.png"])
    (tmp_path / "in" / "a.csv").write_text(
        "image,part,x,y,instance\na.png,nose,1,2,m1\na.png,nose,3,4,m2\nx/y/b.png,nose,1,1,\n"
    )
    made = load_dataset("csv", tmp_path / "in" / "a.csv")
    written = save_dataset(made, "deeplabcut", tmp_path / "out")
    assert set(written.images) == {"labeled-data/images/a.png", "labeled-data/x_y/b.png"}
    with (tmp_path / "out/labeled-data/images/CollectedData_partscope.csv").open() as file:
        rows = list(csv.reader(file))
    assert [row[0] for row in rows] == ["scorer", "individuals", "bodyparts", "coords", "labeled-data"]
    assert rows[-1] == ["labeled-data", "images", "a.png", "0.5", "1.5", "2.5", "3.5"]
    config = (tmp_path / "out/config.yaml").read_text()
    assert "multianimalproject: true\n" in config
    assert 'multianimalbodyparts:\n- "nose"\n' in config
    with pytest.raises(OptionError, match="scorer must be"):
        save_dataset(made, "deeplabcut", tmp_path / "out", scorer="../me")


def test_parts_found(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is in the extra formats")
    found = PartPredictions(
        ("nose", "tail"),
        ("a, b.png",),
        [[[1.5, 2.5], [9, 9]]],
        [[True, False]],
        [[0.5, 0]],
        [[True, False]],  # type: ignore[arg-type]
    )
    write_predictions_deeplabcut(found, tmp_path / "found.csv")
    frame = pandas.read_csv(tmp_path / "found.csv", header=[0, 1, 2], index_col=0)["partscope"]
    assert frame.index.tolist() == ["a, b.png"]
    assert frame["nose"].to_numpy().tolist() == [[1.0, 2.0, 0.5]]
    assert frame["tail"]["x"].isna().all()
