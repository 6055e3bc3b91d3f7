"""`PartPredictions`: what every detector returns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partscope.dataset import Skipped
from partscope.errors import DatasetError


@dataclass(frozen=True, eq=False)
class PartPredictions:
    """Parts located in N images; immutable, the arrays are copied.

    Parameters
    ----------
    parts: P part names.
    ids: N names of the images.
    points: (N, P, 2) float64 positions `(x, y)` in pixels of the upright image; NaN where not found.
    found: (N, P) bool: the method gave a position.
    score: (N, P) float64 in [0, 1]; 0 where not found. What it measures depends on the method and is documented there;
        it orders the predictions of one method, it is not a probability.
    visible: (N, P) bool: the method believes that the part can be seen.
    failures: images that could not be read and have no row here, with the reason.

    Raises
    ------
    DatasetError: shapes do not fit, or a part that was found has no finite position or no score in [0, 1].
    """

    parts: tuple[str, ...]
    ids: tuple[str, ...]
    points: NDArray[np.float64]
    found: NDArray[np.bool_]
    score: NDArray[np.float64]
    visible: NDArray[np.bool_]
    failures: tuple[Skipped, ...] = ()

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.parts))
        wanted = {
            "points": ((*shape, 2), np.float64),
            "found": (shape, np.bool_),
            "score": (shape, np.float64),
            "visible": (shape, np.bool_),
        }
        arrays: dict[str, NDArray[Any]] = {}
        for name, (size, dtype) in wanted.items():
            arrays[name] = np.array(getattr(self, name), dtype=dtype)
            if arrays[name].shape != size:
                raise DatasetError(f"predictions: {name} must have shape {size}, not {arrays[name].shape}.")
        found, score = arrays["found"], arrays["score"]
        if not np.isfinite(arrays["points"][found]).all():
            raise DatasetError("predictions: a part that was found has no finite position.")
        arrays["points"][~found] = np.nan
        score[~found] = 0.0
        wrong = score[~((score >= 0) & (score <= 1))]
        if wrong.size:
            raise DatasetError(f"predictions: score must lie in [0, 1], not {wrong[0]}.")
        for name, array in arrays.items():
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    @classmethod
    def empty(cls, parts: Sequence[str]) -> PartPredictions:
        """Return predictions for no image."""
        shape = (0, len(parts))
        return cls(
            tuple(parts),
            (),
            np.empty((*shape, 2)),
            np.empty(shape, bool),
            np.empty(shape),
            np.empty(shape, bool),
        )

    @classmethod
    def concatenate(cls, pieces: Sequence[PartPredictions]) -> PartPredictions:
        """Join predictions of the same parts."""
        if not pieces:
            raise DatasetError("predictions: there is nothing to join.")
        if any(piece.parts != pieces[0].parts for piece in pieces):
            raise DatasetError("predictions: only predictions of the same parts can be joined.")
        return cls(
            pieces[0].parts,
            tuple(name for piece in pieces for name in piece.ids),
            np.concatenate([piece.points for piece in pieces]),
            np.concatenate([piece.found for piece in pieces]),
            np.concatenate([piece.score for piece in pieces]),
            np.concatenate([piece.visible for piece in pieces]),
            tuple(failure for piece in pieces for failure in piece.failures),
        )

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int | slice | Sequence[int] | NDArray[Any]) -> PartPredictions:
        if not isinstance(index, slice):
            index = np.atleast_1d(np.asarray(index, dtype=None if np.size(index) else np.intp))
        take = np.arange(len(self))[index]
        return PartPredictions(
            self.parts,
            tuple(self.ids[i] for i in take),
            self.points[take],
            self.found[take],
            self.score[take],
            self.visible[take],
            self.failures,
        )

    def with_parts(self, names: Sequence[str]) -> PartPredictions:
        """Return the predictions of these parts only, in this order; a DatasetError names an unknown part."""
        missing = [name for name in names if name not in self.parts]
        if missing:
            raise DatasetError(
                f"predictions: there is no part {missing[0]!r}; there are {', '.join(self.parts)}."
            )
        take = [self.parts.index(name) for name in names]
        return PartPredictions(
            tuple(names),
            self.ids,
            self.points[:, take],
            self.found[:, take],
            self.score[:, take],
            self.visible[:, take],
            self.failures,
        )

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield one flat record per image and part: `image, part, x, y, found, score, visible` (x, y None if not found)."""
        for i, name in enumerate(self.ids):
            for p, part in enumerate(self.parts):
                found = bool(self.found[i, p])
                x, y = self.points[i, p].tolist() if found else (None, None)
                yield {
                    "image": name,
                    "part": part,
                    "x": x,
                    "y": y,
                    "found": found,
                    "score": float(self.score[i, p]),
                    "visible": bool(self.visible[i, p]),
                }
