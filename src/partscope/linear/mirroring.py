"""The mirror map: what a network's features become when the picture is mirrored, as a linear map learned from a few passes.

Mirroring a picture moves each feature to the mirrored cell and, nearly linearly, mixes the channels (Lenc and Vedaldi,
"Understanding image representations by measuring their equivariance and equivalence", CVPR 2015). So the statistics of
mirror images follow from those of the images themselves: with features x → A x + b, sums and products transform in closed
form, and learning from mirror images costs a few forward passes instead of one for each image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from partscope.errors import OptionError
from partscope.grids import FeatureGrids
from partscope.linear.statistics import Statistics

FloatArray = NDArray[np.float64]

#: Ridge of the regression, in units of the mean variance of a channel.
RIDGE = 0.01


@dataclass(eq=False)
class MirrorSums:
    """Sums over the cells of pictures and of their mirror images, of each layer; additive, in float64.

    Parameters
    ----------
    cells: (L,) number of cells.
    total, mirrored: of each layer (K_l,), sums of the features of a cell and of the same place in the mirror image.
    outer, cross: of each layer (K_l, K_l), sums of their products with themselves, and of original times mirrored.
    """

    cells: FloatArray
    total: list[FloatArray]
    mirrored: list[FloatArray]
    outer: list[FloatArray]
    cross: list[FloatArray]

    @classmethod
    def zeros(cls, channels: Sequence[int]) -> MirrorSums:
        """Return the sums of no picture, for layers of so many channels."""
        square = [np.zeros((count, count)) for count in channels]
        vector = [np.zeros(count) for count in channels]
        return cls(
            np.zeros(len(channels)),
            vector,
            [v.copy() for v in vector],
            square,
            [s.copy() for s in square],
        )

    def add(self, maps: Sequence[Tensor], flipped: Sequence[Tensor]) -> None:
        """Add a picture, in place: of each layer its map (K_l, h_l, w_l), and that of its mirror image."""
        for layer, (features, other) in enumerate(zip(maps, flipped, strict=True)):
            before = features.float().flatten(1).T.cpu().numpy()
            after = other.float().flip(-1).flatten(1).T.cpu().numpy()
            self.cells[layer] += len(before)
            self.total[layer] += before.sum(axis=0, dtype=np.float64)
            self.mirrored[layer] += after.sum(axis=0, dtype=np.float64)
            self.outer[layer] += before.T @ before
            self.cross[layer] += before.T @ after

    def __add__(self, other: MirrorSums) -> MirrorSums:
        """Return the sums of both sets of pictures."""
        return self._combined(other, 1)

    def __sub__(self, other: MirrorSums) -> MirrorSums:
        """Return the sums without the other's pictures, which must be among these."""
        return self._combined(other, -1)

    def _combined(self, other: MirrorSums, sign: int) -> MirrorSums:
        if [len(v) for v in self.total] != [len(v) for v in other.total]:
            raise OptionError(
                "sums of mirror images of different layers do not go together; use the same network and layers."
            )
        names = ("total", "mirrored", "outer", "cross")
        lists = {
            n: [a + sign * b for a, b in zip(getattr(self, n), getattr(other, n), strict=True)] for n in names
        }
        return MirrorSums(self.cells + sign * other.cells, **lists)

    # -- storage ----------------------------------------------------------------------------------------------------
    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return arrays for a model file; of the symmetric products one triangle is kept."""
        arrays: dict[str, NDArray[Any]] = {"cells": self.cells}
        for layer, outer in enumerate(self.outer):
            arrays[f"total.{layer}"] = self.total[layer]
            arrays[f"mirrored.{layer}"] = self.mirrored[layer]
            arrays[f"outer.{layer}"] = outer[np.triu_indices(len(outer))]
            arrays[f"cross.{layer}"] = self.cross[layer]
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> MirrorSums:
        """Return the sums that :meth:`to_arrays` was called on, to the last bit.

        Raises
        ------
        KeyError, ValueError: arrays are missing or contradict each other, or a value is not finite.
        """
        if not all(np.isfinite(array).all() for array in arrays.values()):
            raise ValueError("a sum of mirror images is not finite")
        cells = np.array(arrays["cells"], dtype=np.float64)
        sums = cls.zeros([len(arrays[f"total.{layer}"]) for layer in range(len(cells))])
        sums.cells = cells
        for layer, zero in enumerate(sums.outer):
            sums.total[layer] = np.array(arrays[f"total.{layer}"], dtype=np.float64)
            sums.mirrored[layer] = np.array(arrays[f"mirrored.{layer}"], dtype=np.float64).reshape(len(zero))
            sums.cross[layer] = np.array(arrays[f"cross.{layer}"], dtype=np.float64).reshape(zero.shape)
            zero[np.triu_indices(len(zero))] = arrays[f"outer.{layer}"]
            sums.outer[layer] = np.triu(zero) + np.triu(zero, 1).T
        return sums


@dataclass(frozen=True, eq=False)
class MirrorMap:
    """What a cell's features become in the mirrored picture.

    Parameters
    ----------
    matrices: of each layer (K_l, K_l) float32, so that mirrored ≈ features @ matrix + offset.
    offsets: of each layer (K_l,) float32.
    places: of each layer (T_l,), the place around a cell that each place becomes.
    """

    matrices: list[NDArray[np.float32]]
    offsets: list[NDArray[np.float32]]
    places: list[NDArray[np.intp]]

    @classmethod
    def of(cls, sums: MirrorSums, grids: FeatureGrids) -> MirrorMap | None:
        """Return the ridge regression of mirrored on original features; None without a picture."""
        if not (sums.cells > 0).all():
            return None
        matrices, offsets, places = [], [], []
        for layer, name in enumerate(grids.layers):
            count = sums.cells[layer]
            mean, after = sums.total[layer] / count, sums.mirrored[layer] / count
            covariance = sums.outer[layer] / count - np.outer(mean, mean)
            level = float(np.trace(covariance)) / len(mean)
            # A layer of constant features is its own mirror image; its map is then the offset alone.
            covariance[np.diag_indices_from(covariance)] += RIDGE * level if level > 0 else 1.0
            matrix = np.linalg.solve(covariance, sums.cross[layer] / count - np.outer(mean, after))
            matrices.append(matrix.astype(np.float32))
            offsets.append((after - mean @ matrix).astype(np.float32))
            offered = grids.places(name)
            distance = np.abs(offered[:, None] - offered * (-1.0, 1.0)).sum(axis=2)
            places.append(distance.argmin(axis=1))
        return cls(matrices, offsets, places)

    def cells(self, features: NDArray[np.floating]) -> NDArray[np.float32]:
        """Return what features (…, ΣK_l), of every layer at the cell itself, become."""
        parts, start = [], 0
        for matrix, offset in zip(self.matrices, self.offsets, strict=True):
            parts.append(features[..., start : start + len(offset)].astype(np.float32) @ matrix + offset)
            start += len(offset)
        return np.concatenate(parts, axis=-1)

    def statistics(self, statistics: Statistics, mirror: NDArray[np.intp]) -> Statistics:
        """Return what the statistics of the mirror images would be.

        Parameters
        ----------
        statistics: of the images, with all places around a cell.
        mirror: (P,) the part that each part becomes in a mirrored image.
        """
        offset = np.concatenate(
            [np.tile(b, len(p)) for b, p in zip(self.offsets, self.places, strict=True)]
        ).astype(float)
        total = self._apply(statistics.total[None])[0]
        outer = self._apply(self._apply(statistics.outer).T)
        outer += (
            np.outer(total, offset) + np.outer(offset, total) + statistics.cells * np.outer(offset, offset)
        )
        shown = statistics.shown[mirror]
        return Statistics(
            statistics.images,
            statistics.cells,
            total + statistics.cells * offset,
            (outer + outer.T) / 2,
            shown,
            self._apply(statistics.part_total[mirror]) + shown[:, None] * offset,
        )

    def _apply(self, rows: FloatArray) -> FloatArray:
        """Return rows (M, D) times the whole map, block by block, without the offsets."""
        result, start = np.empty_like(rows), 0
        for matrix, places in zip(self.matrices, self.places, strict=True):
            channels, wide = len(matrix), matrix.astype(np.float64)
            for to, place in enumerate(places.tolist()):
                source = slice(start + place * channels, start + (place + 1) * channels)
                result[:, start + to * channels : start + (to + 1) * channels] = rows[:, source] @ wide
            start += len(places) * channels
        return result
