"""Leeds Sports Pose."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.io import savemat

from generated_datasets import ROUND_TRIPS, datasets, write_pictures
from partscope import load_dataset
from partscope.errors import AnnotationError, DatasetError, PartscopeWarning
from partscope.formats import save_dataset
from partscope.formats.lsp import JOINTS

NAMES = ("im0001.png", "im0002.png", "im0003.png")


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("lsp"), [f"images/{name}" for name in NAMES])


@pytest.mark.filterwarnings("ignore::partscope.PartscopeWarning")
@settings(max_examples=ROUND_TRIPS)
@given(data=st.data(), extended=st.booleans())
def test_reads_back(tmp_path: Path, data: st.DataObject, extended: bool) -> None:
    folder = write_pictures(tmp_path, [f"images/{name}" for name in NAMES])
    made = data.draw(datasets(folder / "images", pictures=NAMES, parts=JOINTS[::-1]))
    written = save_dataset(made, "lsp", folder, extended=extended)
    for old in folder.glob("images/*"):
        old.unlink()
    write_pictures(folder, list(written.images))  # all of one size
    read = load_dataset("lsp", folder)
    assert [name.removeprefix("images/") for name in written.images] == list(read.ids)
    np.testing.assert_array_equal(read.visible[:, ::-1], made.visible)
    np.testing.assert_allclose(read.points[:, ::-1], made.points, atol=1e-12)
    renamed = sum(a != b for a, b in zip(made.ids, read.ids, strict=True))
    assert any(f"the names of {renamed} images" in text for text in written.lost) == bool(renamed)


def write(folder: Path, joints: Any, count: int = 2, digits: int = 4) -> Path:
    write_pictures(folder, [f"images/im{i:0{digits}d}.png" for i in range(1, count + 1)])
    savemat(folder / "joints.mat", joints if isinstance(joints, dict) else {"joints": joints})
    return folder


def matrix(extended: bool) -> np.ndarray[Any, Any]:
    """Joints at (10, 20); of the first image the first joint has the flag 1, the others 0, of the second the opposite."""
    values = np.zeros((2, 14, 3))
    values[..., :2] = 10, 20
    values[0, 0, 2] = 1
    values[1, 1:, 2] = 1
    return values.transpose(1, 2, 0) if extended else values.transpose(2, 1, 0)


def test_the_flags_mean_the_opposite_in_the_two_sets(tmp_path: Path) -> None:
    with pytest.warns(PartscopeWarning, match="14 occluded joints"):
        read = load_dataset("lsp", write(tmp_path / "lsp", matrix(False)))
    assert read.visible.sum(axis=1).tolist() == [13, 1]
    assert read.points[0, 1].tolist() == [9.5, 19.5]
    assert load_dataset("lsp", tmp_path / "lsp", occluded="marked").visible.all()
    assert load_dataset("lsp", tmp_path / "lsp", flag="visible").visible.sum(axis=1).tolist() == [1, 13]
    read = load_dataset("lsp", write(tmp_path / "lspet", matrix(True), digits=5))
    assert read.visible.sum(axis=1).tolist() == [1, 13]
    assert read.ids == ("im00001.png", "im00002.png")
    assert read.parts[0] == "right ankle"


@pytest.mark.filterwarnings("ignore::partscope.PartscopeWarning")
def test_one_image(tmp_path: Path) -> None:
    assert len(load_dataset("lsp", write(tmp_path, matrix(False)[..., :1], 1))) == 1


BAD: dict[str, tuple[Any, str]] = {
    "no joints": ({"points": np.zeros((3, 14, 2))}, "expected a matrix 'joints' of numbers.*not nothing"),
    "another shape": (np.zeros((3, 13, 2)), "3×14×N or 14×3×N, not \\(3, 13, 2\\)"),
    "two dimensions": (np.zeros((3, 14)), "expected a matrix 'joints'"),
    "cells": (np.array([[["a"]]], dtype=object), "not cell"),
    "text": ("hello", "not char"),
    "more images": (matrix(False)[..., :1], "there are 2 images, but .* joints for 1"),
    "fewer images": (np.concatenate([matrix(False)] * 2, axis=2), "im0003 is missing"),
    "flag 2": (np.full((3, 14, 2), 2.0), "image 1: the right ankle is .* flag 2"),
    "not finite": (np.where(matrix(False) == 10, np.inf, matrix(False)), "image 1: the right ankle"),
}


@pytest.mark.filterwarnings("ignore::partscope.PartscopeWarning")
@pytest.mark.parametrize("case", BAD)
def test_bad_matrices(tmp_path: Path, case: str) -> None:
    joints, match = BAD[case]
    with pytest.raises(AnnotationError, match=match) as caught:
        load_dataset("lsp", write(tmp_path, joints))
    assert "joints.mat" in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b"nonsense" * 40, b"MATLAB 7.3 MAT-file" + bytes(109) + b"\x00\x02IM"]
)
def test_damaged_files(tmp_path: Path, content: bytes) -> None:
    write(tmp_path, matrix(False))
    (tmp_path / "joints.mat").write_bytes(content)
    with pytest.raises(AnnotationError, match=r"joints\.mat: "):
        load_dataset("lsp", tmp_path)


def test_other_parts_cannot_be_written(pictures: Path) -> None:
    (pictures / "a.csv").write_text("image,part,x,y\nimages/im0001.png,beak,1,2\n")
    with pytest.raises(DatasetError, match="'beak' differs"):
        save_dataset(load_dataset("csv", pictures / "a.csv"), "lsp", pictures)
