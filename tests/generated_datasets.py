"""Data sets drawn at random for the round trips of the annotation formats, over a few pictures written once."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from PIL import Image

from partscope.dataset import PartDataset, Sample

#: Round trips of each format: some in every run of the tests, and 250 by `make test-formats`.
ROUND_TRIPS = int(os.environ.get("PARTSCOPE_ROUND_TRIPS", "25"))

#: Pictures by name, with width and height: names with folders, blanks and letters beyond ASCII.
PICTURES = {"a.png": (40, 30), "birds/b c.png": (64, 48), "birds/ü.png": (17, 90), "d#1.png": (33, 33)}

NAMES = ("beak", "left eye", "right eye", "tail, upper", "Fuß")
LABELS = ("001.Red Bird", "Blaumeise", 'a "b" <c> & d')


def write_pictures(folder: Path, names: Sequence[str] = tuple(PICTURES)) -> Path:
    """Write the pictures below a folder and return it."""
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", PICTURES.get(name, (40, 30)), 90).save(folder / name)
    return folder


@st.composite
def datasets(
    draw: st.DrawFn,
    folder: Path,
    *,
    pictures: Sequence[str] = tuple(PICTURES),
    parts: Sequence[str] | None = None,
    instances: st.SearchStrategy[str] | None = None,
    boxes: bool = True,
    labels: Sequence[str] = LABELS,
    splits: Sequence[str] = ("train", "test", "val"),
    all_or_none: bool = False,
    hidden: bool = True,
    unmarked: bool = True,
    low: float = 0.0,
    high: float = 0.0,
) -> PartDataset:
    """Draw a data set.

    instances: the names of objects within an image; None for one object an image. boxes, labels, splits: what objects may
    have. all_or_none: either all objects have them or none. hidden: parts may be not visible. unmarked: all parts of an
    object may be. Points lie at least `low` from the image's left and upper border and `high` from the others.
    """
    names = tuple(parts if parts is not None else NAMES[: draw(st.integers(1, len(NAMES)))])
    # Numbers come from a seed: to draw each by itself would take most of the time.
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    has = dict(zip(("box", "label", "split"), rng.random(3) < 0.7, strict=True))
    chosen = [name for name in pictures if rng.random() < 0.6] or [pictures[0]]
    samples: list[Sample] = []
    for picture in chosen:
        size = np.array(PICTURES.get(picture, (40, 30)), dtype=np.float64)
        count = 1 if instances is None else int(rng.integers(1, 4))
        called: list[str | None] = [None]
        if count > 1 and instances is not None:
            called = [*draw(st.lists(instances, min_size=count, max_size=count, unique=True))]
        split = None
        if splits and (has["split"] if all_or_none else rng.random() < 0.7):
            split = str(rng.choice(splits))
        for name in called:
            visible = rng.random(len(names)) < (0.7 if hidden else 2)
            if not unmarked and not visible.any():
                visible[0] = True
            points = low + _shares(rng, len(names)) * (size - low - high)
            box = None
            if boxes and (has["box"] if all_or_none else rng.random() < 0.7):
                corner, far = _shares(rng, 2) * (size - 1)
                sides = 0.5 + (size - corner - 1) * far / size
                box = (*corner.tolist(), *sides.tolist())
            label = None
            if labels and (has["label"] if all_or_none else rng.random() < 0.7):
                label = str(rng.choice(labels))
            samples.append(
                Sample(
                    picture if name is None else f"{picture}#{name}",
                    folder / picture,
                    (int(size[0]), int(size[1])),
                    points,
                    visible,
                    box,
                    label,
                    split,
                )
            )
    return PartDataset(names, tuple(samples), "generated")


def _shares(rng: np.random.Generator, count: int) -> np.ndarray[Any, Any]:
    """Return (count, 2) numbers from 0 to 1, both ends and short decimals among them."""
    numbers = rng.random((count, 2))
    kind = rng.integers(0, 10, (count, 2))
    return np.select([kind == 0, kind == 1, kind < 4], [0.0, 1.0, numbers.round(2)], numbers)


def without(dataset: PartDataset, *fields: str) -> PartDataset:
    """Return the data set without boxes, labels or splits: what a format that has none reads back."""
    samples = (dataclasses.replace(sample, **dict.fromkeys(fields)) for sample in dataset)
    return dataclasses.replace(dataset, samples=tuple(samples))


def assert_same(left: PartDataset, right: PartDataset, within: float = 0.0, parts: bool = True) -> None:
    """Make sure that two data sets are equal, positions and boxes to `within` pixels, whatever the order of the samples.

    parts: the parts must have the same order too; otherwise only those that occur must have the same names.
    """
    if parts:
        assert left.parts == right.parts
    assert sorted(left.ids) == sorted(right.ids)
    others = {sample.id: sample for sample in right}
    for a in left:
        b = others[a.id]
        assert (a.size, a.label, a.split, a.image.resolve()) == (b.size, b.label, b.split, b.image.resolve())
        assert (a.box is None) == (b.box is None), a.id
        if a.box is not None and b.box is not None:
            np.testing.assert_allclose(a.box, b.box, rtol=0, atol=within)
        assert places(left, a).keys() == places(right, b).keys()
        for name, place in places(left, a).items():
            np.testing.assert_allclose(place, places(right, b)[name], rtol=0, atol=within)


def places(dataset: PartDataset, sample: Sample) -> dict[str, list[float]]:
    """Return the visible parts of a sample by name."""
    return {
        name: point
        for name, point, visible in zip(
            dataset.parts, sample.points.tolist(), sample.visible.tolist(), strict=True
        )
        if visible
    }
