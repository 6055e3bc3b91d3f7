"""Samples and data sets: what is refused, what is kept, and what cannot be changed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from partscope.dataset import PartDataset, Sample, Skipped, check_box, clip_box, dataset_from_arrays
from partscope.errors import DatasetError, ImageError, OptionError
from partscope.formats import read_cub

Box = tuple[float, float, float, float]


def make_sample(name: str = "a.png", **changes: Any) -> Sample:
    values: dict[str, Any] = {
        "size": (60, 40),
        "points": [[1.0, 2.0], [3.0, 4.0]],
        "visible": [True, True],
        **changes,
    }
    return Sample(id=name, image=Path(name), **values)


def make_dataset(labels: list[str | None], splits: list[str | None] | None = None) -> PartDataset:
    splits = splits or [None] * len(labels)
    samples = (
        make_sample(f"{i}.png", label=label, split=split)
        for i, (label, split) in enumerate(zip(labels, splits, strict=True))
    )
    return PartDataset(("left eye", "right eye"), tuple(samples))


# -- Sample -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"points": np.zeros((2, 3))}, r"points must have shape \(P, 2\)"),
        ({"points": np.zeros(4)}, r"not \(4,\)"),
        ({"visible": [True]}, r"visible \(P,\), not \(2, 2\) and \(1,\)"),
        ({"size": (0, 40)}, "not positive"),
        ({"points": [[1.0, np.nan], [3.0, 4.0]]}, "part 0 is marked visible but its position is"),
        ({"points": [[1.0, 1.0], [np.inf, 4.0]]}, "part 1 is marked visible"),
        ({"points": [[1.0, 1.0], [60.01, 4.0]]}, r"part 1 at \[60.01, 4.0\] lies outside the image of 60×40"),
        ({"points": [[1.0, -0.01], [6.0, 4.0]]}, "part 0 at"),
        ({"box": (0, 0, 0, 5)}, "has no area"),
        ({"box": (0, 0, 5, -1)}, "has no area"),
        ({"box": (0, 0, 5, np.nan)}, "four finite numbers"),
        ({"box": (0, 0, 5)}, "four finite numbers"),
        ({"box": (60, 0, 5, 5)}, "outside the image of 60×40"),
        ({"box": (0, -5, 5, 5)}, "outside the image"),
    ],
)
def test_samples_are_validated(changes: dict[str, Any], match: str) -> None:
    with pytest.raises(DatasetError, match=match) as caught:
        make_sample("robin.png", **changes)
    assert str(caught.value).startswith("robin.png: ")


def test_sample_takes_copies_and_hides_what_is_not_visible() -> None:
    points, visible = np.array([[1.0, 2.0], [-5.0, np.inf]]), np.array([True, False])
    sample = make_sample(points=points, visible=visible)
    points[:] = 9
    visible[:] = True
    np.testing.assert_array_equal(sample.points, [[1.0, 2.0], [np.nan, np.nan]])
    np.testing.assert_array_equal(sample.visible, [True, False])
    assert sample.points.dtype == np.float64


def test_samples_are_immutable() -> None:
    sample = make_sample(box=(0, 0, 5, 5))
    with pytest.raises(ValueError, match="read-only"):
        sample.points[0, 0] = 1.0
    with pytest.raises(ValueError, match="read-only"):
        sample.visible[0] = False
    with pytest.raises(dataclasses.FrozenInstanceError):
        sample.label = "x"  # type: ignore[misc]
    other = sample.with_box(None)
    assert other.box is None
    assert sample.box == (0.0, 0.0, 5.0, 5.0)


# -- boxes ------------------------------------------------------------------------------------------------------------
coordinates = st.floats(-100, 200, allow_nan=False)
lengths = st.floats(1e-3, 300, allow_nan=False)


@given(box=st.tuples(coordinates, coordinates, lengths, lengths))
def test_clipping_a_box_intersects_it_with_the_image(box: Box) -> None:
    size = (60, 40)
    try:
        check_box(box, size, "robin.png")
    except DatasetError:
        return
    (x, y, width, height), clipped = clip_box(box, size)
    assert x >= 0
    assert y >= 0
    assert width > 0
    assert height > 0
    assert x + width <= 60 + 1e-6
    assert y + height <= 40 + 1e-6
    np.testing.assert_allclose(
        [x, y, x + width, y + height],
        [max(box[0], 0), max(box[1], 0), min(box[0] + box[2], 60), min(box[1] + box[3], 40)],
        atol=1e-6,
    )
    # What has been clipped, or needs no clipping, comes back untouched.
    assert clip_box((x, y, width, height), size) == ((x, y, width, height), False)
    assert clipped == ((x, y, width, height) != box)


@pytest.mark.parametrize("box", [(0.1, 0.1, 0.2, 0.2), (0.0, 1.0, 1.0, 0.001), (0.0, 0.0, 60.0, 40.0)])
def test_a_box_inside_is_not_clipped(box: Box) -> None:
    """0.1 + 0.2 − 0.1 is not 0.2 in floating point; that is no overflow."""
    assert clip_box(box, (60, 40)) == (box, False)


# -- PartDataset ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("parts", "samples", "match"),
    [
        ((), (), "non-empty"),
        (("eye", " "), (), "non-empty"),
        (("eye", "eye"), (), "the part 'eye' occurs more than once"),
        (("eye", "tail"), (make_sample("a"), make_sample("b"), make_sample("a")), "the sample 'a' occurs"),
        (("eye",), (make_sample("a"),), "has 2 parts where the data set has 1"),
    ],
)
def test_data_sets_are_validated(parts: tuple[str, ...], samples: tuple[Sample, ...], match: str) -> None:
    with pytest.raises(DatasetError, match=match):
        PartDataset(parts, samples)


def test_arrays_of_a_data_set(tiny_cub: Path) -> None:
    birds = read_cub(tiny_cub)
    assert birds.points.shape == (12, 15, 2)
    assert birds.visible.shape == (12, 15)
    assert birds.boxes.shape == (12, 4)
    np.testing.assert_array_equal(birds.sizes, np.tile([64.0, 48.0], (12, 1)))
    np.testing.assert_array_equal(np.isnan(birds.points).any(axis=2), ~birds.visible)
    for i, sample in enumerate(birds):
        np.testing.assert_array_equal(birds.points[i], sample.points)
        np.testing.assert_array_equal(birds.boxes[i], sample.box)


def test_arrays_of_an_empty_data_set() -> None:
    empty = PartDataset(("beak", "tail"), ())
    assert empty.points.shape == (0, 2, 2)
    assert empty.visible.shape == (0, 2)
    assert empty.boxes.shape == (0, 4)
    assert empty.sizes.shape == (0, 2)


def test_missing_boxes_are_nan_rows() -> None:
    data = PartDataset(("a", "b"), (make_sample("x", box=(1, 2, 3, 4)), make_sample("y")))
    np.testing.assert_array_equal(data.boxes, [[1, 2, 3, 4], [np.nan] * 4])


def test_indexing() -> None:
    data = make_dataset(["a", "b", "c"])
    assert data[1].id == "1.png"
    assert data[-1].id == "2.png"
    assert data[np.int64(2)].id == "2.png"  # type: ignore[call-overload]
    assert data[1:].ids == ("1.png", "2.png")
    assert data[[2, 0]].ids == ("2.png", "0.png")
    assert data[(2, 0)].ids == ("2.png", "0.png")
    assert data[np.array([1])].ids == ("1.png",)
    assert data[[]].ids == ()
    with pytest.raises(IndexError):
        data[3]
    with pytest.raises(DatasetError, match="occurs more than once"):
        data[[1, 1]]


def test_indexing_with_a_mask() -> None:
    data = make_dataset(["a", "b"])
    assert data[np.array([False, True])].ids == ("1.png",)
    assert data[[True, False]].ids == ("0.png",)
    with pytest.raises(IndexError):
        data[np.array([True, False, True])]


def test_subsets_keep_what_was_skipped_and_noted() -> None:
    data = dataclasses.replace(make_dataset(["a", "b"]), notes=("1 box was clipped",), name="birds")
    assert data[:1].notes == ("1 box was clipped",)
    assert data[:1].name == "birds"


def test_data_sets_are_immutable() -> None:
    data = make_dataset(["a"])
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "x"  # type: ignore[misc]
    with pytest.raises(ValueError, match="read-only"):
        data.mirror[0] = 0


def test_splits() -> None:
    data = make_dataset(["a"] * 4, ["train", "test", None, "train"])
    assert data.train.ids == ("0.png", "3.png")
    assert data.test.ids == ("1.png",)
    assert data.split("all") is data
    with pytest.raises(
        OptionError, match=r"no image belongs to the split 'val'; the splits are \(none\), test, train"
    ):
        data.split("val")


def test_a_split_keeps_its_own_faulty_items_and_counts_the_others() -> None:
    items = (
        Skipped("x", "faulty", "train"),
        Skipped("y", "faulty", "test"),
        Skipped("z", "faulty"),  # might belong to any
        Skipped("w", "faulty", "train"),
    )
    data = dataclasses.replace(make_dataset(["a"] * 2, ["train", "test"]), skipped=items, notes=("a note",))
    assert [item.id for item in data.train.skipped] == ["x", "z", "w"]
    assert data.train.notes == ("a note", "faulty items of other splits: 1")
    assert [item.id for item in data.test.skipped] == ["y", "z"]
    assert data.test.notes == ("a note", "faulty items of other splits: 2")
    assert data.train.limit(1).split("train").notes == data.train.notes
    assert data.split("all").skipped == items
    clean = dataclasses.replace(data, skipped=items[2:3])
    assert clean.train.notes == ("a note",)
    with pytest.raises(DatasetError, match=r"every image of the split 'val' was left out; .* no box"):
        dataclasses.replace(data, skipped=(Skipped("v", "no box", "val"),)).split("val")


@given(
    labels=st.lists(st.sampled_from(["a", "b", "c", None]), min_size=1, max_size=40),
    count=st.integers(1, 45),
    seed=st.integers(0, 99),
)
def test_limit_is_stratified_and_deterministic(labels: list[str | None], count: int, seed: int) -> None:
    data = make_dataset(labels)
    drawn = data.limit(count, seed)
    assert len(drawn) == min(count, len(data))
    assert drawn.ids == data.limit(count, seed).ids
    positions = [data.ids.index(name) for name in drawn.ids]
    assert positions == sorted(positions)
    for label, size in Counter(labels).items():
        assert abs(Counter(drawn.labels)[label] - len(drawn) * size / len(data)) < 1


def test_limit_depends_on_the_seed_alone() -> None:
    data = make_dataset(["a"] * 30 + ["b"] * 30)
    draws = {data.limit(10, seed).ids for seed in range(10)}
    assert len(draws) == 10
    assert data.limit(None) is data
    with pytest.raises(OptionError, match="must be positive, not 0"):
        data.limit(0)


def test_limit_draws_every_sample_equally_often() -> None:
    data = make_dataset(["a"] * 6 + ["b"] * 3)
    drawn = Counter(name for seed in range(600) for name in data.limit(3, seed).ids)
    # Each is drawn with probability 1/3: 200 ± 5 standard deviations of 11.5.
    assert len(drawn) == 9
    assert all(abs(count - 200) < 58 for count in drawn.values())


def test_with_parts(tiny_cub: Path) -> None:
    birds = read_cub(tiny_cub)
    chosen = birds.with_parts(["tail", "left eye", "right eye"])
    assert chosen.parts == ("tail", "left eye", "right eye")
    np.testing.assert_array_equal(chosen.points, birds.points[:, [13, 6, 10]])
    np.testing.assert_array_equal(chosen.visible, birds.visible[:, [13, 6, 10]])
    assert chosen.mirror.tolist() == [0, 2, 1]
    assert birds.with_parts(["left eye"]).mirror.tolist() == [0]
    with pytest.raises(DatasetError, match="there is no part 'beek'; nearest names: 'beak'"):
        birds.with_parts(["beek"])
    with pytest.raises(DatasetError, match="'beak' occurs more than once"):
        birds.with_parts(["beak", "beak"])


def test_with_parts_keeps_the_pairs_that_remain_whole() -> None:
    sample = make_sample(points=np.ones((3, 2)), visible=[True] * 3)
    data = PartDataset(("a", "b", "c"), (sample,), pairs=(("a", "c"),))
    assert data.with_parts(["c", "a"]).mirror.tolist() == [1, 0]
    assert data.with_parts(["c", "b"]).mirror.tolist() == [0, 1]


def test_fingerprint_sees_what_a_scan_depends_on(tiny_cub: Path) -> None:
    birds = read_cub(tiny_cub)
    assert birds.fingerprint() == read_cub(tiny_cub).fingerprint()
    first, rest = birds[0], birds.samples[1:]
    changed = [
        dataclasses.replace(first, id="other.png"),
        dataclasses.replace(first, size=(65, 48)),
        first.with_box((0, 0, 5, 5)),
        first.with_box(None),
        dataclasses.replace(first, points=np.where(first.visible[:, None], first.points + 0.5, 0)),
        dataclasses.replace(first, visible=np.eye(15, dtype=bool)[1]),
    ]
    prints = {dataclasses.replace(birds, samples=(sample, *rest)).fingerprint() for sample in changed}
    prints.add(birds.with_parts(birds.parts[::-1]).fingerprint())
    prints.add(birds[::-1].fingerprint())
    assert len(prints) == len(changed) + 2
    assert birds.fingerprint() not in prints
    # Where the files lie, and what the data set is called, does not matter.
    moved = dataclasses.replace(first, image=Path("/elsewhere.png"))
    assert dataclasses.replace(birds, samples=(moved, *rest), name="x").fingerprint() == birds.fingerprint()


# -- dataset_from_arrays ----------------------------------------------------------------------------------------------
def test_arrays_become_a_data_set(tmp_path: Path) -> None:
    files = [tmp_path / "a.png", tmp_path / "b.png"]
    for file in files:
        Image.new("RGB", (30, 20)).save(file)
    data = dataset_from_arrays(
        files,
        {"beak": [[1, 2], [np.nan, np.nan]], "tail": [[3, 4], [5, 6]]},
        boxes=[[0, 0, 9, 9], [np.nan] * 4],
        labels=["robin", None],
    )
    assert data.parts == ("beak", "tail")
    np.testing.assert_array_equal(data.visible, [[True, True], [False, True]])
    np.testing.assert_array_equal(data.sizes, [[30, 20], [30, 20]])
    assert [s.box for s in data] == [(0.0, 0.0, 9.0, 9.0), None]
    assert data.labels == ("robin", None)


def test_arrays_that_do_not_fit(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"part 'beak' must have shape \(1, 2\), not \(2, 2\)"):
        dataset_from_arrays(["a.png"], {"beak": np.ones((2, 2))}, sizes=[(9, 9)])
    with pytest.raises(DatasetError, match=r"boxes must have shape \(1, 4\), not \(4,\)"):
        dataset_from_arrays(["a.png"], {"beak": [[1, 1]]}, sizes=[(9, 9)], boxes=[1, 1, 1, 1])
    with pytest.raises(DatasetError, match="2 sizes for 1 image"):
        dataset_from_arrays(["a.png"], {"beak": [[1, 1]]}, sizes=[(9, 9), (9, 9)])
    with pytest.raises(DatasetError, match="0 labels for 1 image"):
        dataset_from_arrays(["a.png"], {"beak": [[1, 1]]}, sizes=[(9, 9)], labels=[])
    for half in ([1, np.nan], [np.inf, 1], [np.inf, np.inf]):
        with pytest.raises(DatasetError, match="part 0 is marked visible but its position is"):
            dataset_from_arrays(["a.png"], {"beak": [half]}, sizes=[(9, 9)])
    with pytest.raises(ImageError, match=r"a.png: there is no such image"):
        dataset_from_arrays([tmp_path / "a.png"], {"beak": [[1, 1]]})
