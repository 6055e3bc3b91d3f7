"""The paired difference of two evaluations: is one method better than the other on the same images?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from partscope import metrics
from partscope.errors import DatasetError, OptionError
from partscope.evaluation.result import Evaluation
from partscope.metrics.bootstrap import DRAWS


@dataclass(frozen=True)
class Comparison:
    """Paired difference of two evaluations' `diagonal` errors, first minus second: positive where the second is better.

    Parameters
    ----------
    total: over all common pairs.
    per_part: by part name; parts without a common pair are missing.
    notes: what only one of the two has.
    """

    total: metrics.PairedDifference
    per_part: Mapping[str, metrics.PairedDifference]
    notes: tuple[str, ...] = ()

    def row(self) -> dict[str, Any]:
        """Return `difference, ci95, positive, images, pairs, per_part, notes`, ready for JSON."""
        parts = {name: _difference_row(value) for name, value in self.per_part.items()}
        return {**_difference_row(self.total), "per_part": parts, "notes": list(self.notes)}


def compare(a: Evaluation, b: Evaluation, *, random_state: int = 0, draws: int = DRAWS) -> Comparison:
    """Return the paired bootstrap difference of two methods over the images and parts that both have.

    Raises
    ------
    DatasetError: no common pair, or the same image has another scale in the two.
    OptionError: the two are normalised differently.
    """
    if a.normaliser != b.normaliser:
        raise OptionError(
            f"errors normalised by {a.normaliser!r} and by {b.normaliser!r} cannot be compared; "
            "evaluate both methods with one normaliser."
        )
    other = set(b.ids)
    ids = sorted(name for name in a.ids if name in other)
    parts = [name for name in a.parts if name in b.parts]
    notes = tuple(
        f"{what} that only one of the two methods has, left out: {extra}"
        for what, extra in (
            ("images", len(a.ids) + len(b.ids) - 2 * len(ids)),
            ("parts", len(a.parts) + len(b.parts) - 2 * len(parts)),
        )
        if extra
    )
    errors, scales = [], []
    for one in (a, b):
        row_of = {name: i for i, name in enumerate(one.ids)}
        rows = [row_of[name] for name in ids]
        errors.append(one.errors[np.ix_(rows, [one.parts.index(name) for name in parts])])
        scales.append(one.scale[rows])
    if not np.allclose(scales[0], scales[1]):
        worst = ids[int(np.argmax(np.abs(scales[0] - scales[1])))]
        raise DatasetError(
            f"{worst}: the two methods were evaluated with different boxes; use the same data set."
        )
    total, columns = metrics.paired_bootstrap_parts(
        errors[0], errors[1], draws=draws, random_state=random_state
    )
    per_part = {name: column for name, column in zip(parts, columns, strict=True) if column is not None}
    return Comparison(total, per_part, notes)


def _difference_row(value: metrics.PairedDifference) -> dict[str, Any]:
    return {
        "difference": value.difference,
        "ci95": list(value.ci),
        "positive": value.positive,
        "images": value.images,
        "pairs": value.pairs,
    }
