"""`Table2`: the finished rows, their comparisons, and the document that says both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partscope.dataset import PartDataset, Skipped
from partscope.errors import OptionError
from partscope.metrics.bootstrap import paired_bootstrap
from partscope.metrics.classification import mcnemar
from partscope.table2.rows import RowPlan, omitted_rows, row_pairs


@dataclass(frozen=True, eq=False)
class MeasuredRow:
    """One finished row.

    Parameters
    ----------
    plan: which row.
    row: its JSON-ready record.
    predicted: the predicted class of each test image, by id.
    """

    plan: RowPlan
    row: dict[str, Any]
    predicted: dict[str, str]


@dataclass(frozen=True, eq=False)
class Table2:
    """What :func:`measure_table2` measured.

    Parameters
    ----------
    train, test: the images that were used.
    measured: the rows, in order.
    settings: JSON-ready.
    failures: images that were left out, with the reason.
    """

    train: PartDataset
    test: PartDataset
    measured: tuple[MeasuredRow, ...]
    settings: dict[str, Any]
    failures: tuple[Skipped, ...] = ()

    @property
    def accuracy(self) -> dict[str, float]:
        """The share of test images classified right, by row name."""
        return {one.plan.name: float(one.row["accuracy"]["mean"]) for one in self.measured}

    def correct(self, name: str) -> NDArray[np.bool_]:
        """Return which test images a row has right, (N,) in the order of `test`; an OptionError names an unknown row."""
        for one in self.measured:
            if one.plan.name == name:
                return np.array([one.predicted[sample.id] == sample.label for sample in self.test])
        raise OptionError(
            f"there is no row {name!r}; the rows are {', '.join(one.plan.name for one in self.measured)}."
        )

    def document(self) -> dict[str, Any]:
        """Return `rows`, `comparisons` and `settings` as JSON-ready values.

        A row has `name, region, part_source, detector, features, classifier, C, accuracy {mean, macro, ci95}, top5, images,
        status, published`, and in `right` a 1 for each test image, in the data set's order, that it has right, and a 0 for
        the others; accuracies are shares, intervals are a percentile bootstrap over the test images. Rows with the
        status `"omitted"` have the paper's figure alone. A comparison has `comparison`, `kind` (what the second row is to the
        first), `first`, `second`, `difference` (first minus second), its paired bootstrap interval `ci95`, `only_first` and
        `only_second` (images that one of the two has right), `p` (McNemar's exact test, two-sided) and `images`.
        """
        names = [one.plan.name for one in self.measured]
        rows = [{**one.row, "right": _bits(self.correct(one.plan.name))} for one in self.measured]
        return {
            "rows": [*rows, *omitted_rows()],
            "comparisons": compare_rows(
                [one.plan for one in self.measured], {name: self.correct(name) for name in names}
            ),
            "settings": self.settings,
        }


def compare_rows(plans: Sequence[RowPlan], correct: Mapping[str, NDArray[np.bool_]]) -> list[dict[str, Any]]:
    """Return the comparisons of :meth:`Table2.document`, from which test images (N,) each row has right, by its name."""
    result = []
    by_name = {plan.name: plan for plan in plans}
    accuracy = {name: float(right.mean()) for name, right in correct.items()}
    for kind, first, second in row_pairs(plans, accuracy):
        a, b = correct[first], correct[second]
        test = mcnemar(a, b)
        wrong_a, wrong_b = ((~right)[:, None].astype(np.float64) for right in (a, b))
        gain = paired_bootstrap(wrong_b, wrong_a)
        result.append(
            {
                "comparison": f"{first} over {second}",
                "kind": kind,
                "region": by_name[first].region,
                "first": first,
                "second": second,
                "difference": gain.difference,
                "ci95": list(gain.ci),
                "only_first": test.b,
                "only_second": test.c,
                "p": test.p,
                "images": len(a),
            }
        )
    return result


def _bits(right: NDArray[np.bool_]) -> str:
    return "".join("1" if one else "0" for one in right)
