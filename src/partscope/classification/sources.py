"""Part sources: where the patches of an image are. A registry by name; sources return points `(x, y)` in pixels.

`none` (no patches), `estimated` (a detector's predictions), `ground_truth` (the visible marked parts), and three controls
with the same number and size of patches, which see nothing of the image: `prior` (the parts' median positions), `grid` and
`random`. A row of NaN is a missing part, whose features are zeros (protocol, section 8).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from partscope.classification.scenes import Scenes
from partscope.dataset import Skipped
from partscope.detectors import PartDetector
from partscope.errors import DatasetError, OptionError, nearest_names
from partscope.patches import grid_points, random_points
from partscope.predictions import PartPredictions
from partscope.prior import StaticPrior

FloatArray = NDArray[np.float64]
Need = Literal["", "parts", "detector", "prior"]

#: Where a region's patches lie: in the whole image, or in the box.
REGIONS = ("image", "crop")


@dataclass(frozen=True, eq=False)
class Known:
    """What a source may use besides the images; learned from the training images, never from those to be described.

    Parameters
    ----------
    parts: P part names, the slots of the patches.
    mirror: (P,) index of the part that each becomes in a mirrored image; None where names, and so sides, are not known.
    region: `"image"` or `"crop"`.
    marked: names of the parts in the order of the samples' points; None where not known.
    detector, predictions, prior: for the sources that need them.
    random_state: seed of `random`.
    """

    parts: tuple[str, ...] = ()
    mirror: NDArray[np.intp] | None = None
    region: str = "image"
    marked: tuple[str, ...] | None = None
    detector: PartDetector | None = None
    predictions: PartPredictions | None = None
    prior: StaticPrior | None = None
    random_state: int = 0


#: (N, P, 2) points, and the reason for each image (by its row) that could not be searched.
Found = tuple[FloatArray, dict[int, str]]
Locate = Callable[[Scenes, Known, str, bool], Found]


@dataclass(frozen=True)
class PartSource:
    """A registered source.

    Parameters
    ----------
    name: its name.
    locate: called with the scenes, what is known, `on_error` and `progress`.
    needs: what it needs: `"detector"`, `"prior"`, the number of `"parts"`, or nothing.
    of_parts: its patches are parts, so that they have names and left/right pairs.
    """

    name: str
    locate: Locate
    needs: Need
    of_parts: bool


_SOURCES: dict[str, PartSource] = {}


def register_source(name: str, *, needs: Need = "parts", of_parts: bool = True) -> Callable[[Locate], Locate]:
    """Return a decorator that registers a function as the part source `name`; see :class:`PartSource`."""

    def register(locate: Locate) -> Locate:
        _SOURCES[name] = PartSource(name, locate, needs, of_parts)
        return locate

    return register


def part_source(name: str) -> PartSource:
    """Return the source registered as `name`; an OptionError names the sources there are."""
    if name not in _SOURCES:
        raise OptionError(f"there is no part source {name!r}; the sources are {', '.join(_SOURCES)}.")
    return _SOURCES[name]


def part_sources() -> tuple[str, ...]:
    """Return the names of the registered sources."""
    return tuple(_SOURCES)


def points_of(
    source: str, scenes: Scenes, known: Known, *, on_error: str = "raise", progress: bool = False
) -> tuple[FloatArray, NDArray[np.intp], tuple[Skipped, ...]]:
    """Return where the patches are in N images.

    Returns
    -------
    (M, P, 2) float64 pixels, NaN rows where a part is missing; the (M,) indices of the images that they belong to; and the
    images that could not be searched, with `on_error="skip"` alone.

    Raises
    ------
    OptionError: unknown source.
    DatasetError: the images bring no marked parts, or another number of parts, where the source needs them.
    ImageError: an image cannot be read.
    """
    points, bad = part_source(source).locate(scenes, known, on_error, progress)
    kept = np.array([i for i in range(len(scenes)) if i not in bad], dtype=np.intp)
    return points[kept], kept, tuple(Skipped(scenes.ids[i], reason) for i, reason in sorted(bad.items()))


def mirror_of(source: str, known: Known) -> NDArray[np.intp]:
    """Return for each slot the slot whose patch it shows in the mirrored image, mirrored (an index array (P,)).

    Raises
    ------
    DatasetError: the slots are parts whose names, and so sides, are not known.
    """
    count = len(known.parts)
    if source == "grid":
        unit = _unit_grid(count)
        apart = np.linalg.norm((unit * (-1.0, 1.0) + (1.0, 0.0))[:, None] - unit, axis=2)
        return np.asarray(linear_sum_assignment(apart)[1])
    if not part_source(source).of_parts:
        return np.arange(count)
    if known.mirror is None:
        raise DatasetError(
            "the parts' names, and so their left and right, are not known from samples alone; fit on a data set, or give a "
            "fitted detector."
        )
    return known.mirror


# -- the sources ----------------------------------------------------------------------------------------------------
@register_source("none", needs="", of_parts=False)
def _none(scenes: Scenes, known: Known, on_error: str, progress: bool) -> Found:
    return np.empty((len(scenes), 0, 2)), {}


@register_source("estimated", needs="detector")
def _estimated(scenes: Scenes, known: Known, on_error: str, progress: bool) -> Found:
    points = np.full((len(scenes), len(known.parts), 2), np.nan)
    ready = known.predictions
    row_of = {} if ready is None else {name: row for row, name in enumerate(ready.ids)}
    if ready is not None:
        take = [ready.parts.index(name) for name in known.parts]
        for i, name in enumerate(scenes.ids):
            if name in row_of:
                points[i] = ready.points[row_of[name], take]
    waiting = [i for i, name in enumerate(scenes.ids) if name not in row_of]
    if not waiting:
        return points, {}
    if known.detector is None:
        raise DatasetError(
            f"{scenes.queries[waiting[0]].label}: the predictions hold no parts for this image, and there is no detector to "
            "search it; give predictions for all images, or a detector."
        )
    detector = known.detector
    sources = [scenes.queries[i].source for i in waiting]
    predicted = detector.predict(
        sources,
        scenes.boxes[waiting] if detector.needs_box else None,
        on_error=on_error,
        progress=progress,
    )
    # A path is its own id there, another image has its index among those that were searched.
    reasons = {failure.id: failure.reason for failure in predicted.failures}
    names = [
        str(source) if isinstance(source, (str, Path)) else str(position)
        for position, source in enumerate(sources)
    ]
    bad = {i: reasons[name] for i, name in zip(waiting, names, strict=True) if name in reasons}
    points[[i for i in waiting if i not in bad]] = predicted.with_parts(known.parts).points
    return points, bad


@register_source("ground_truth")
def _ground_truth(scenes: Scenes, known: Known, on_error: str, progress: bool) -> Found:
    names = scenes.parts or known.marked
    if scenes.marked is None or names is None:
        first = scenes.queries[0].label if len(scenes) else "the images"
        raise DatasetError(
            f"{first}: the image brings no marked parts, which the part source 'ground_truth' takes; give a data set, or "
            "use the source 'estimated' with a detector."
        )
    if scenes.marked.shape[1] != len(names):
        raise DatasetError(
            f"{scenes.queries[0].label}: the sample has {scenes.marked.shape[1]} parts where {len(names)} were learned; "
            "give samples with the same parts."
        )
    for name in known.parts:
        if name not in names:
            raise DatasetError(
                f"the data set has no part {name!r}, which was learned; nearest names: {nearest_names(name, names)}."
            )
    return scenes.marked[:, [names.index(name) for name in known.parts]], {}


@register_source("prior", needs="prior")
def _prior(scenes: Scenes, known: Known, on_error: str, progress: bool) -> Found:
    assert known.prior is not None  # the transformer has learned it
    prior = known.prior.aligned(known.parts)
    if known.region == "crop":
        return prior.positions(scenes.sizes, scenes.boxes, "box"), {}
    return prior.positions(scenes.sizes), {}


@register_source("grid", of_parts=False)
def _grid(scenes: Scenes, known: Known, on_error: str, progress: bool) -> Found:
    areas = rectangles(scenes, known.region)
    return areas[:, None, :2] + _unit_grid(len(known.parts)) * areas[:, None, 2:], {}


def _unit_grid(count: int) -> FloatArray:
    """Return the grid of a 4:3 picture, relative to it: one for all images, so that a slot means one place in all."""
    return np.asarray(grid_points(count, [[0.0, 0.0, 4.0, 3.0]])[0] / (4.0, 3.0), dtype=np.float64)


@register_source("random", of_parts=False)
def _random(scenes: Scenes, known: Known, on_error: str, progress: bool) -> Found:
    return random_points(
        len(known.parts), rectangles(scenes, known.region), known.random_state, scenes.ids
    ), {}


def rectangles(scenes: Scenes, region: str) -> FloatArray:
    """Return the rectangle of each image that a region means: (N, 4) `(x, y, width, height)`, the image or the box."""
    if region == "crop":
        return scenes.boxes
    return np.concatenate([np.zeros_like(scenes.sizes), scenes.sizes], axis=1)
