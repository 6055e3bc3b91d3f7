"""Sufficient statistics of linear discriminants: additive, so that images can be added, removed, and merged from shards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from partscope.errors import OptionError

FloatArray = NDArray[np.float64]


@dataclass(eq=False)
class Statistics:
    """Counts, sums and products of features, in float64.

    Parameters
    ----------
    images: number of images.
    cells: number of background cells.
    total: (D,) sum of the features over the background cells.
    outer: (D, D) sum of their outer products.
    shown: (P,) number of visible parts.
    part_total: (P, D) sum of the features at each part's position.
    """

    images: int
    cells: int
    total: FloatArray
    outer: FloatArray
    shown: FloatArray
    part_total: FloatArray

    @classmethod
    def zeros(cls, parts: int, features: int) -> Statistics:
        """Return the statistics of no image, for P parts and D features."""
        return cls(
            0,
            0,
            np.zeros(features),
            np.zeros((features, features)),
            np.zeros(parts),
            np.zeros((parts, features)),
        )

    @property
    def parts(self) -> int:
        """Number of parts P."""
        return len(self.shown)

    @property
    def features(self) -> int:
        """Number of features D."""
        return len(self.total)

    def add(
        self, cells: NDArray[np.float32], at_parts: NDArray[np.float32], visible: NDArray[np.bool_]
    ) -> None:
        """Add images, in place.

        The products of one call are formed in float32 and added up in float64, so the same images in the same calls give
        the same bytes, and other calls differ by rounding (about 1e-7 of the entries).

        Parameters
        ----------
        cells: (M, D) features of background cells of the images.
        at_parts: (N, P, D) features at the parts' positions; not looked at where a part is not visible.
        visible: (N, P).
        """
        self.images += len(visible)
        self.cells += len(cells)
        self.total += cells.sum(axis=0, dtype=np.float64)
        self.outer += cells.T @ cells
        self.shown += visible.sum(axis=0)
        self.part_total += np.where(visible[:, :, None], at_parts, 0).sum(axis=0, dtype=np.float64)

    def __add__(self, other: Statistics) -> Statistics:
        """Return the statistics of both sets of images."""
        return self._combined(other, 1)

    def __sub__(self, other: Statistics) -> Statistics:
        """Return the statistics without the other's images, which must be among these."""
        return self._combined(other, -1)

    def _combined(self, other: Statistics, sign: int) -> Statistics:
        if (self.parts, self.features) != (other.parts, other.features):
            raise OptionError(
                f"statistics of {self.parts} parts and {self.features} features do not go with those of {other.parts} parts "
                f"and {other.features} features; use the same parts, network, layers and input size."
            )
        result = Statistics(
            self.images + sign * other.images,
            self.cells + sign * other.cells,
            self.total + sign * other.total,
            self.outer + sign * other.outer,
            self.shown + sign * other.shown,
            self.part_total + sign * other.part_total,
        )
        if result.images < 0 or result.cells < 0 or (result.shown < 0).any():
            raise OptionError(
                f"{other.images} images cannot be taken from the statistics of {self.images} that do not hold them; remove "
                "only images that were added."
            )
        return result

    # -- storage ----------------------------------------------------------------------------------------------------
    def to_arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return arrays for a model file; of the symmetric products one triangle is kept."""
        upper = np.triu_indices(self.features)
        return {
            "images": np.array([self.images]),
            "cells": np.array([self.cells]),
            "total": self.total,
            "outer": self.outer[upper],
            "shown": self.shown,
            "part_total": self.part_total,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Statistics:
        """Return the statistics that :meth:`to_arrays` was called on, to the last bit.

        Raises
        ------
        ValueError: shapes contradict each other, or a value is not finite.
        """
        values = {field.name: np.asarray(arrays[field.name]) for field in fields(cls)}
        features, parts = values["total"].size, values["shown"].size
        wanted = {
            "images": (1,),
            "cells": (1,),
            "total": (features,),
            "outer": (features * (features + 1) // 2,),
            "shown": (parts,),
            "part_total": (parts, features),
        }
        for name, shape in wanted.items():
            if values[name].shape != shape or not np.isfinite(values[name]).all():
                raise ValueError(
                    f"{name} of the statistics has the shape {values[name].shape} or is not finite"
                )
        outer = np.zeros((features, features))
        outer[np.triu_indices(features)] = values["outer"]
        outer = np.triu(outer) + np.triu(outer, 1).T
        return cls(
            int(values["images"][0]),
            int(values["cells"][0]),
            values["total"].astype(np.float64),
            outer,
            values["shown"].astype(np.float64),
            values["part_total"].astype(np.float64),
        )
