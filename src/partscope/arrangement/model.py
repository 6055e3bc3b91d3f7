"""`Arrangement`: the spatial model on top of any detector's evidence maps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partscope.arrangement.boxes import BoxModel, fit_boxes
from partscope.arrangement.consensus import consensus
from partscope.arrangement.decoding import Decoded, decode
from partscope.arrangement.doubt import Doubt, fit_doubt
from partscope.arrangement.expected_error import ExpectedError
from partscope.arrangement.likelihood import calibrate, likelihood_ratios
from partscope.arrangement.refinement import Refinement, fit_refinement
from partscope.arrangement.shapes import Shapes, make_shapes, unit_of
from partscope.arrangement.stored import check_arrays
from partscope.errors import DatasetError

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]
Describe = Callable[[int, FloatArray], NDArray[np.floating]]

#: Groups of similar arrangements, and object sizes, of the coarse search.
GROUPS, SCALES = 32, 6


@dataclass(frozen=True, eq=False)
class Arranged:
    """The parts of one image.

    Parameters
    ----------
    points: (P, 2) `(x, y)` relative to the region that the maps show, mostly in [0, 1].
    visibility: (P,) probability that the part is visible.
    expected_error: (P,) expected distance between the part and its point in pixels, if it is visible.
    box: (4,) the object's box `(x, y, width, height)` in pixels of the region, inside it; None where none was learned.
    """

    points: FloatArray
    visibility: FloatArray
    expected_error: FloatArray
    box: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Where parts stand relative to each other, learned from marked images and held-out evidence maps.

    It knows nothing of the detector that made the maps or of the objects: a map of part p is any score per cell that is
    larger where the part is likelier.

    Parameters
    ----------
    shapes: the training arrangements.
    ratios: (P, 2) scale and offset that make a map a log likelihood ratio.
    refinement: what the whole arrangement, and the network's features where it was found, say about each part.
    doubt: visibility and expected error.
    box: predicts the object's box, or None.
    """

    shapes: Shapes
    ratios: FloatArray
    refinement: Refinement
    doubt: Doubt
    box: BoxModel | None = None

    @property
    def parts(self) -> int:
        """Number of parts P."""
        return len(self.ratios)

    @classmethod
    def fit(
        cls,
        points: FloatArray,
        visible: BoolArray,
        sizes: FloatArray,
        mirror: NDArray[np.intp],
        maps: NDArray[np.floating],
        boxes: FloatArray | None = None,
        describe: Describe | None = None,
    ) -> Arrangement:
        """Learn from marked images.

        Parameters
        ----------
        points: (N, P, 2) relative to the region that the maps show, in [0, 1]; anything where not visible.
        visible: (N, P).
        sizes: (N, 2) width and height in pixels of the regions that the maps show.
        mirror: (P,) index of the part that each part becomes in a mirrored image.
        maps: (N, P, h, w) evidence. The maps of an image should come from a detector that was not fitted on that image
            (cross-validation): otherwise the evidence looks better than it is, and is trusted too much.
        boxes: (N, 4) the objects' boxes `(x, y, width, height)` in pixels of the region, NaN rows where there is none; with
            them the box is predicted too.
        describe: called with the index of an image and the points (P, 2) in [0, 1] at which its parts were found; returns
            the network's features there, (2, P, F): those of the image, and those of its mirror image in the order of the
            mirrored parts (or (1, P, F), where the mirror image's are unknown). They tell more about each part.

        Raises
        ------
        DatasetError: shapes do not fit, no part is visible, a visible point is outside the region by more than its size,
            or a map is not finite.
        """
        points, visible, sizes = (
            np.asarray(points, np.float64),
            np.asarray(visible, np.bool_),
            np.asarray(sizes, np.float64),
        )
        _check(points, visible, sizes, mirror, maps)
        points = np.where(visible[..., None], points, np.nan)
        ratios = calibrate(maps, points, visible)
        shapes = make_shapes(points, visible, sizes, mirror, GROUPS, SCALES)
        decoded = [
            decode(r, consensus(r, size, shapes, exclude=index), size)
            for index, (size, r) in enumerate(
                (size, likelihood_ratios(image, ratios)) for size, image in zip(sizes, maps, strict=True)
            )
        ]
        unit = sizes / unit_of(sizes)[:, None]
        object_size = np.array([found.size for found in decoded])[:, None, None]
        local = np.array([found.local for found in decoded])
        deviation = (points * unit[:, None] - local) / object_size
        features = None
        if describe is not None:
            features = np.stack([describe(i, place) for i, place in enumerate(local / unit[:, None])])
        refinement, shifts, votes = fit_refinement(decoded, deviation, visible, mirror, features)
        error = np.linalg.norm(deviation - shifts, axis=2) * object_size[..., 0]
        box = None
        if boxes is not None:
            length = unit_of(sizes)[:, None]
            sides = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1) / length
            share = np.array([found.share for found in decoded])
            box = fit_boxes(local + shifts * object_size, share, object_size[:, 0, 0], sides, mirror)
        return cls(shapes, ratios, refinement, fit_doubt(decoded, visible, error, votes, mirror), box)

    def infer(
        self,
        maps: NDArray[np.floating],
        size: tuple[float, float] | FloatArray,
        describe: Callable[[FloatArray], NDArray[np.floating]] | None = None,
    ) -> Arranged:
        """Locate the parts of one image.

        Parameters
        ----------
        maps: (P, h, w) evidence; any h and w.
        size: width and height in pixels of the region that the maps show.
        describe: called with points (P, 2) in [0, 1]; returns the network's features there, (P, F). Needed if :meth:`fit`
            had them.

        Raises
        ------
        DatasetError: the number of maps is not that of the parts, or a map is not finite.
        """
        region = np.asarray(size, dtype=np.float64)
        if maps.ndim != 3 or len(maps) != self.parts or not np.isfinite(maps).all():
            raise DatasetError(
                f"the arrangement needs finite maps (parts, rows, columns) of {self.parts} parts, not shape "
                f"{maps.shape}; give the maps of the detector that it was fitted with."
            )
        ratios = likelihood_ratios(maps, self.ratios)
        found = decode(ratios, consensus(ratios, region, self.shapes), region)
        unit = float(unit_of(region))
        features = None if describe is None else describe(found.local * unit / region)
        shift, vote = self.refinement(found, features)
        points = found.local + shift * found.size
        return Arranged(
            points=points * unit / region,
            visibility=self.doubt.visibility(found, vote),
            expected_error=self.doubt.expected_error(found) * unit,
            box=self._box(points, found, region),
        )

    def _box(self, points: FloatArray, found: Decoded, region: FloatArray) -> FloatArray | None:
        if self.box is None:
            return None
        sides = self.box(points, found.share, found.size) * unit_of(region)
        low, high = np.clip(sides[:2], 0.0, region), np.clip(sides[2:], 0.0, region)
        # Sides that crossed, or a box beyond the border, are no box.
        return np.concatenate([low, high - low]) if (high > low).all() else None

    # -- model files ------------------------------------------------------------------------------------------------
    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return what was learned: tensors, and JSON-able values, for :meth:`restore`."""
        shapes = self.shapes
        tensors: dict[str, NDArray[Any]] = {
            "offsets": shapes.offsets,
            "visible": shapes.visible,
            "source": shapes.source,
            "group": shapes.group,
            "group_offsets": shapes.group_offsets,
            "group_visible": shapes.group_visible,
            "sizes": shapes.sizes,
            "ratios": self.ratios,
            "visibility": self.doubt.log_odds,
            "error": self.doubt.error.weights,
            "error_parts": self.doubt.error.parts,
            "base": self.doubt.base,
            **self.refinement.arrays(),
        }
        strength = None if np.isinf(self.refinement.strength) else self.refinement.strength
        config = {"size_mean": shapes.size_mean, "size_spread": shapes.size_spread, "strength": strength}
        if self.box is not None:
            tensors["box"], config["box_overlap"] = self.box.weights, self.box.overlap
        return tensors, config

    @classmethod
    def restore(
        cls,
        tensors: Mapping[str, NDArray[Any]],
        config: Mapping[str, Any],
        features: NDArray[np.floating] | None = None,
    ) -> Arrangement:
        """Make the arrangement again from :meth:`state`.

        Parameters
        ----------
        features: (N, 2, P, F) or (N, 1, P, F), what `describe` returned to :meth:`fit`, which the state does not hold.

        Raises
        ------
        KeyError: a tensor or a value is missing.
        ValueError: a tensor is not what an arrangement holds, or features of another number of images or parts.
        """
        check_arrays(tensors)
        if not 0 < config["size_spread"] < float("inf"):
            raise ValueError(f"size_spread of the arrangement is {config['size_spread']}")
        shapes = Shapes(
            offsets=np.asarray(tensors["offsets"]),
            visible=np.asarray(tensors["visible"]),
            source=np.asarray(tensors["source"]),
            group=np.asarray(tensors["group"]),
            group_offsets=np.asarray(tensors["group_offsets"]),
            group_visible=np.asarray(tensors["group_visible"]),
            size_mean=float(config["size_mean"]),
            size_spread=float(config["size_spread"]),
            sizes=np.asarray(tensors["sizes"]),
        )
        visibility, error, error_parts, base = (
            np.asarray(tensors[name]) for name in ("visibility", "error", "error_parts", "base")
        )
        doubt = Doubt(visibility, ExpectedError(error, error_parts), base)
        box = None
        if "box" in tensors:
            box = BoxModel(np.asarray(tensors["box"]), float(config["box_overlap"]))
        strength = float("inf") if config["strength"] is None else float(config["strength"])
        refinement = Refinement.restored(tensors, strength, features)
        return cls(shapes, np.asarray(tensors["ratios"]), refinement, doubt, box)


def _check(
    points: FloatArray,
    visible: BoolArray,
    sizes: FloatArray,
    mirror: NDArray[np.intp],
    maps: NDArray[np.floating],
) -> None:
    """Raise a DatasetError where the training arrays do not fit each other or cannot be learned from."""
    images, parts = visible.shape
    if points.shape != (images, parts, 2) or sizes.shape != (images, 2) or np.shape(mirror) != (parts,):
        raise DatasetError(
            f"the arrangement needs points (N, P, 2), visible (N, P), sizes (N, 2) and mirror (P,), not {points.shape}, "
            f"{visible.shape}, {sizes.shape} and {np.shape(mirror)}."
        )
    if maps.ndim != 4 or maps.shape[:2] != (images, parts) or not np.isfinite(maps).all():
        raise DatasetError(
            f"the arrangement needs finite maps (N, P, h, w) of {images} images and {parts} parts, not shape {maps.shape}; "
            "check the detector that made them."
        )
    if not visible.any():
        raise DatasetError(
            "no part is visible in any image, so there is no arrangement to learn; check the annotation."
        )
    if not np.isfinite(points[visible]).all() or np.abs(points[visible] - 0.5).max() > 1.5:
        raise DatasetError(
            "a visible part lies far outside the region that the maps show; give points relative to it, in [0, 1]."
        )
