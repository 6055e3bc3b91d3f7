"""`Slots`: from the features of an image's views to one row of features; what each stretch of the row belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partscope.errors import OptionError

#: How each slot's features are scaled: to Euclidean length 1, or not at all.
NORMALISATIONS = ("l2", "none")


@dataclass(frozen=True, eq=False)
class Slots:
    """The slots of a feature row: the whole image or box first, then one slot per patch or per left/right pair.

    Parameters
    ----------
    parts: names of the P patches.
    whole: name of the slot of the whole image or box, or None where it is left out.
    groups: indices of the patches that share a slot by the maximum, one tuple per slot.
    normalize: `"l2"` scales each slot to Euclidean length 1 (zeros stay zeros), `"none"` leaves it.

    Raises
    ------
    OptionError: unknown normalisation.
    """

    parts: tuple[str, ...]
    whole: str | None
    groups: tuple[tuple[int, ...], ...]
    normalize: str = "l2"

    def __post_init__(self) -> None:
        if self.normalize not in NORMALISATIONS:
            raise OptionError(f"normalize must be 'l2' or 'none', not {self.normalize!r}.")

    @property
    def views(self) -> int:
        """Number of views V of an image: the whole, where it is wanted, and the patches."""
        return len(self.parts) + (self.whole is not None)

    @property
    def names(self) -> tuple[str, ...]:
        """The slots' names; those of a pair are joined by `+`."""
        joined = tuple("+".join(self.parts[i] for i in group) for group in self.groups)
        return joined if self.whole is None else (self.whole, *joined)

    def rows(
        self,
        features: NDArray[np.float32],
        present: NDArray[np.bool_],
        mirror: NDArray[np.intp] | None = None,
    ) -> NDArray[np.float32]:
        """Return the feature rows of N images.

        Parameters
        ----------
        features: (N, V, D) of the views, the whole first.
        present: (N, V) False where the view is missing; its features count as zeros, and not at all in a pair.
        mirror: (P,) the patch whose features each patch takes, for mirror images; None leaves them in place.

        Returns
        -------
        (N, slots·D) float32.
        """
        first = int(self.whole is not None)
        order = np.arange(self.views)
        if mirror is not None:
            order[first:] = first + mirror
        features, present = features[:, order], present[:, order]
        slots = [features[:, 0]] if first else []
        for group in self.groups:
            index = [first + i for i in group]
            here = np.where(present[:, index, None], features[:, index], -np.inf).max(axis=1)
            slots.append(np.where(np.isneginf(here), np.float32(0), here))
        if not slots:
            return np.zeros((len(features), 0), np.float32)
        table = np.stack(slots, axis=1).astype(np.float32)
        if self.normalize == "l2":
            length = np.linalg.norm(table, axis=2, keepdims=True)
            table = np.divide(table, length, out=np.zeros_like(table), where=length > 0)
        return table.reshape(len(table), table.shape[1] * table.shape[2])


def groups_of(mirror: Sequence[int] | NDArray[np.intp], pool_pairs: bool) -> tuple[tuple[int, ...], ...]:
    """Return which patches share a slot: each its own, or with `pool_pairs` left and right together, in the first's place."""
    if not pool_pairs:
        return tuple((i,) for i in range(len(mirror)))
    return tuple((i,) if i == j else (i, int(j)) for i, j in enumerate(mirror) if i <= j)
