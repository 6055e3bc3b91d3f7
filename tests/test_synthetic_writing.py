from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from partscope.errors import DatasetError, OptionError
from partscope.formats.cub import read_cub
from partscope.images import load_image
from partscope.synthetic import PARTS, draw_bird, write_synthetic_birds


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_what_is_written_is_read_back(tmp_path: Path):
    written = write_synthetic_birds(tmp_path / "birds", images=13, classes=3, random_state=2, size=96)
    read = read_cub(tmp_path / "birds")
    assert read.parts == written.parts == PARTS
    assert read.fingerprint() == written.fingerprint()
    assert read.labels == written.labels
    assert [sample.split for sample in read] == [sample.split for sample in written]
    assert [sample.image for sample in read] == [sample.image for sample in written]
    assert read.name == written.name == "birds"


def test_the_layout_is_cubs(tmp_path: Path):
    write_synthetic_birds(tmp_path / "birds", images=6, classes=2, size=80)
    files = contents(tmp_path / "birds")
    tables = {
        "images.txt",
        "classes.txt",
        "image_class_labels.txt",
        "bounding_boxes.txt",
        "train_test_split.txt",
    }
    assert tables | {"parts/parts.txt", "parts/part_locs.txt"} == {
        name for name in files if name.endswith(".txt")
    }
    assert files["images.txt"].decode().splitlines()[0].startswith("1 001.")
    assert files["parts/parts.txt"].decode().splitlines()[6] == "7 left eye"
    assert len(files["parts/part_locs.txt"].splitlines()) == 6 * 15


def test_files_hold_the_drawn_birds(tmp_path: Path):
    dataset = write_synthetic_birds(tmp_path / "birds", images=3, classes=2, random_state=9, size=128)
    for i, sample in enumerate(dataset):
        bird = draw_bird(i, classes=2, random_state=9, size=128)
        image = np.asarray(load_image(sample.image), dtype=float)
        assert image.shape == bird.image.shape
        assert np.abs(image - bird.image).mean() < 6
        np.testing.assert_array_equal(sample.points, bird.points)


def test_classes_and_splits_are_balanced(tmp_path: Path):
    dataset = write_synthetic_birds(tmp_path / "birds", images=24, classes=3, size=64)
    counts = Counter((sample.label, sample.split) for sample in dataset)
    assert set(counts.values()) == {4}
    assert len(counts) == 6


def test_same_seed_same_bytes_and_more_images_leave_the_first_alone(tmp_path: Path):
    for folder, images in (("a", 4), ("b", 4), ("c", 6)):
        write_synthetic_birds(tmp_path / folder, images=images, classes=2, random_state=5, size=80)
    first, again, more = (contents(tmp_path / folder) for folder in "abc")
    assert first == again
    pictures = {name: data for name, data in first.items() if name.endswith(".jpg")}
    assert len(pictures) == 4
    assert all(more[name] == data for name, data in pictures.items())
    assert more["parts/part_locs.txt"].startswith(first["parts/part_locs.txt"])


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path):
    (tmp_path / "images.txt").write_text("mine")
    with pytest.raises(DatasetError, match="not empty"):
        write_synthetic_birds(tmp_path, images=1, classes=1, size=64)
    assert contents(tmp_path) == {"images.txt": b"mine"}
    seen: list[int] = []
    write_synthetic_birds(tmp_path, images=2, classes=2, size=64, overwrite=True, progress=seen.append)
    assert seen == [1, 2]
    assert len(read_cub(tmp_path)) == 2


def test_bad_options_write_nothing(tmp_path: Path):
    with pytest.raises(OptionError, match="classes"):
        write_synthetic_birds(tmp_path / "birds", images=2, classes=0)
    with pytest.raises(OptionError, match="8 classes needs at least 8 images, not 7"):
        write_synthetic_birds(tmp_path / "birds", images=7)
    assert not (tmp_path / "birds").exists()


def test_a_file_in_the_way_is_named(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match="file") as caught:
        write_synthetic_birds(tmp_path / "file", images=1, classes=1, size=64)
    assert type(caught.value).__module__ == "partscope.errors"
