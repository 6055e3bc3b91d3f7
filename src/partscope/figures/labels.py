"""Short names of parts, and places for labels where they hide neither the dots nor each other."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Rectangle = tuple[float, float, float, float]  # left, top, right, bottom

_DIRECTIONS = 16
_RINGS = (1.0, 1.8, 3.0, 4.5)


def short_names(parts: Sequence[str]) -> tuple[str, ...]:
    """Return a short name for each part, all different: initials of several words, else the word's first two letters.

    Where two parts would get the same short name the later one takes a later letter of its name, and in the end a number.

    >>> short_names(["beak", "belly", "left eye", "left leg"])
    ('be', 'bl', 'le', 'll')
    """
    taken: set[str] = set()
    result: list[str] = []
    for part in parts:
        name = next((candidate for candidate in _candidates(part) if candidate not in taken), "")
        number = len(result) + 1
        while not name or name in taken:
            name = str(number)
            number += len(parts)
        taken.add(name)
        result.append(name)
    return tuple(result)


def _candidates(part: str) -> list[str]:
    words = re.findall(r"\w+", part.lower().replace("_", " "))
    if not words:
        return []
    if len(words) > 1:
        initials = "".join(word[0] for word in words[:3])
        return [initials, *(initials[:-1] + letter for letter in words[-1][1:])]
    word = words[0]
    return [word[:2], *(word[0] + letter for letter in word[2:])]


def group_coincident(points: NDArray[np.float64], distance: float) -> list[list[int]]:
    """Return the indices of `points` (n, 2) in groups whose members lie within `distance` of the group's first one.

    Parts that share a channel are found at the very same place; drawn one by one only the last would be seen.
    """
    groups: list[list[int]] = []
    for i, point in enumerate(points):
        for group in groups:
            if math.dist(point, points[group[0]]) <= distance:
                group.append(i)
                break
        else:
            groups.append([i])
    return groups


def place_labels(
    anchors: NDArray[np.float64], sizes: NDArray[np.float64], radius: float, frame: Rectangle
) -> list[Rectangle]:
    """Find a rectangle for each label near its anchor.

    Greedy, the most crowded anchor first: of 64 candidate places around the anchor the one is taken that covers the
    least of the dots, of the labels placed before and of what lies outside the frame; the nearer place wins a tie.

    Parameters
    ----------
    anchors: (n, 2) positions of the dots' centres.
    sizes: (n, 2) widths and heights of the labels.
    radius: of the dots.
    frame: left, top, right, bottom; labels stay inside where there is room.

    Returns
    -------
    list of n rectangles (left, top, right, bottom), all in the anchors' pixels.
    """
    n = len(anchors)
    if n == 0:
        return []
    dots = np.concatenate([anchors - radius, anchors + radius], axis=1)
    crowding = np.linalg.norm(anchors[:, None] - anchors[None], axis=-1).sum(axis=1)
    placed: dict[int, Rectangle] = {}
    for i in np.argsort(crowding, kind="stable").tolist():
        taken = np.concatenate([dots, np.array(list(placed.values())).reshape(-1, 4)])
        places = _places(anchors[i], sizes[i], radius)
        inside = np.clip(places, [frame[0], frame[1]] * 2, [frame[2], frame[3]] * 2)
        cost = np.prod(sizes[i]) - _area(inside) + 1e-3 * np.arange(len(places))
        cost += _overlap(places[:, None], taken[None]).sum(axis=1)
        placed[i] = tuple(places[int(cost.argmin())].tolist())
    return [placed[i] for i in range(n)]


def _places(anchor: NDArray[np.float64], size: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    """Return candidate rectangles (64, 4) whose near edge touches rings around the dot, nearest ring first."""
    angles = 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    direction = np.stack([np.cos(angles), -np.sin(angles)], axis=-1)
    # Straight beside the dot a label is centred on it; at a diagonal its corner is the nearest point.
    reach = np.clip(1.5 * direction, -1, 1) * size / 2
    centres = np.concatenate([anchor + direction * (radius * 1.25 * ring) + reach for ring in _RINGS])
    return np.concatenate([centres - size / 2, centres + size / 2], axis=1)


def _area(rectangles: NDArray[np.float64]) -> NDArray[np.float64]:
    extent = np.clip(rectangles[..., 2:] - rectangles[..., :2], 0, None)
    return np.asarray(extent.prod(axis=-1))


def _overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    return _area(
        np.concatenate([np.maximum(a[..., :2], b[..., :2]), np.minimum(a[..., 2:], b[..., 2:])], axis=-1)
    )
