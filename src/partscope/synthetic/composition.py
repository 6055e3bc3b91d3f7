"""Composition: where the bird is in its picture, what it sits on, and what stands around and before it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partscope.synthetic.pose import Stance
from partscope.synthetic.scenery import Layer

#: Everything is drawn on a grid of this many pixels per pixel of the picture and side, then reduced.
SUPERSAMPLING = 2
_ASPECTS = (4 / 3, 4 / 3, 3 / 2, 3 / 2, 1.0, 3 / 4, 2 / 3, 16 / 9)


@dataclass(frozen=True)
class Subject:
    """The bird's landmarks on the fine grid that a scene is built around.

    Attributes
    ----------
    box: left, top, right and bottom of the whole silhouette, inside the picture or not.
    feet: (2, 2) left and right foot.
    forward, under: (2,) projected unit vectors of the body, to the breast and to the belly (in lengths of the body).
    unit: pixels per length of the body.
    """

    box: tuple[int, int, int, int]
    feet: NDArray[np.float64]
    forward: NDArray[np.float64]
    under: NDArray[np.float64]
    unit: float


def draw_size(rng: np.random.Generator, size: int) -> tuple[int, int]:
    """Draw width and height of a picture whose longer side is between 75 % and 100 % of `size` pixels."""
    longer = size * float(rng.uniform(0.75, 1.0))
    aspect = _ASPECTS[int(rng.integers(len(_ASPECTS)))]
    width, height = (longer, longer / aspect) if aspect >= 1 else (longer * aspect, longer)
    return max(round(width), 16), max(round(height), 16)


def draw_extent(rng: np.random.Generator, width: int, height: int, box: tuple[float, float]) -> float:
    """Draw the factor that brings a silhouette of extent `box` to 6 % up to most of the picture's area."""
    share = 0.25 + 0.63 * float(rng.uniform()) ** 1.2
    by_area = share * np.sqrt(width * height / (box[0] * box[1]))
    return float(min(by_area, 0.98 * width / box[0], 0.98 * height / box[1]))


def draw_place(
    rng: np.random.Generator, box: tuple[int, int], picture: tuple[int, int], cut: bool
) -> tuple[int, int]:
    """Draw where the upper left corner of a box comes to lie; `cut` pushes it over one border of the picture.

    All on the fine grid; the answer is a multiple of the supersampling, so that the reduced bird stays on the grid.
    """
    place = [
        float(rng.uniform(min(0, most - side), max(0, most - side)))
        for side, most in zip(box, picture, strict=True)
    ]
    if cut:
        axis = int(rng.integers(2))
        over = float(rng.uniform(0.05, 0.33)) * box[axis]
        place[axis] = -over if rng.random() < 0.5 else picture[axis] - box[axis] + over
    x, y = (SUPERSAMPLING * round(value / SUPERSAMPLING) for value in place)
    return x, y


def set_stage(layer: Layer, rng: np.random.Generator, subject: Subject, stance: Stance) -> None:
    """Draw what is behind the bird: clutter that is no bird, then what it sits on."""
    width, height = layer.mask.size
    middle = subject.feet.mean(axis=0)
    for _ in range(int(rng.integers(0, 4))):
        start, end = (
            (float(rng.uniform(-0.1, 1.1) * width), float(rng.uniform(-0.1, 1.1) * height)) for _ in range(2)
        )
        path = layer.branch(rng, start, end, float(rng.uniform(0.01, 0.05)) * max(width, height))
        for _ in range(int(rng.integers(0, 7))):
            x, y = path[int(rng.integers(len(path)))]
            layer.leaf(rng, float(x), float(y), float(rng.uniform(0.04, 0.13)) * max(width, height))
    _strew(layer, rng, (0, 0, width, height), int(rng.integers(0, 4)), 0.1 * max(width, height))
    for _ in range(int(rng.integers(0, 3))):
        layer.decoy(
            rng,
            float(rng.uniform() * width),
            float(rng.uniform() * height),
            float(rng.uniform(0.02, 0.11)) * max(width, height),
        )
    if rng.random() < 0.25:
        _reeds(
            layer, rng, (0, width), height, float(rng.uniform(0.3, 0.9)) * height, int(rng.integers(4, 16))
        )
    if stance == "perched":
        angle = float(rng.normal(0.0, 0.3))
        thick = float(rng.uniform(0.09, 0.24)) * subject.unit
        reach = 1.5 * np.array([np.cos(angle), np.sin(angle)]) * max(width, height)
        through = middle + np.array([0.0, 0.3 * thick])
        # One end may be near: birds like the tip of a branch or a post.
        near = float(rng.uniform(0.2, 1.0))
        layer.branch(rng, tuple(through - near * reach), tuple(through + reach), thick, bend=0.015)
    elif stance == "clinging":
        thick = float(rng.uniform(0.35, 1.2)) * subject.unit
        reach = subject.forward / (np.linalg.norm(subject.forward) + 0.1) * 2.0 * max(width, height)
        through = middle + 0.45 * thick * subject.under
        layer.branch(rng, tuple(through - reach), tuple(through + reach), thick, bend=0.01)
    elif stance == "ground":
        for _ in range(int(rng.integers(2, 9))):
            at = middle + rng.normal(0, [1.0, 0.12]) * subject.unit
            layer.decoy(rng, float(at[0]), float(at[1]), float(rng.uniform(0.05, 0.2)) * subject.unit)


def hide_pieces(layer: Layer, rng: np.random.Generator, subject: Subject) -> None:
    """Draw what stands between the viewer and the bird: a branch, leaves or reeds."""
    left, top, right, bottom = subject.box
    wide, high = right - left, bottom - top
    kind = rng.random()
    if kind < 0.4:
        for _ in range(int(rng.integers(1, 3))):
            x, y = left + wide * rng.uniform(), top + high * rng.uniform()
            angle = float(rng.uniform(0, np.pi))
            reach = np.array([np.cos(angle), np.sin(angle)]) * 1.2 * max(layer.mask.size)
            thick = float(rng.uniform(0.03, 0.13)) * subject.unit
            layer.branch(rng, (x - reach[0], y - reach[1]), (x + reach[0], y + reach[1]), thick, bend=0.03)
    elif kind < 0.75:
        x, y = left + wide * rng.uniform(), top + high * rng.uniform()
        spread = 0.28 * max(wide, high)
        cluster = (x - spread, y - spread, x + spread, y + spread)
        _strew(layer, rng, cluster, int(rng.integers(3, 10)), 0.42 * subject.unit)
    else:
        length = float(rng.uniform(0.4, 1.3)) * high + max(layer.mask.size[1] - bottom, 0)
        _reeds(layer, rng, (left, right), layer.mask.size[1], length, int(rng.integers(2, 8)))


def _strew(
    layer: Layer, rng: np.random.Generator, box: tuple[float, float, float, float], count: int, length: float
) -> None:
    for _ in range(count):
        x, y = float(rng.uniform(box[0], box[2])), float(rng.uniform(box[1], box[3]))
        layer.leaf(rng, x, y, length * float(rng.uniform(0.4, 1.0)))


def _reeds(
    layer: Layer,
    rng: np.random.Generator,
    span: tuple[float, float],
    bottom: float,
    length: float,
    count: int,
) -> None:
    width = 0.012 * max(layer.mask.size)
    for _ in range(count):
        x = float(rng.uniform(*span))
        layer.reed(
            rng, x, bottom, length * float(rng.uniform(0.6, 1.1)), width * float(rng.uniform(0.6, 1.8))
        )
