"""`Evaluation`: the errors of one method on one data set, and the row that a table shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partscope import metrics
from partscope.dataset import Skipped
from partscope.evaluation.confidence import confidence_rows
from partscope.prior import Frame

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: What a row says about the method, in the row's order.
INFO_KEYS = ("method", "backbone", "layer", "input_size", "centre", "region")


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation:
    """Errors of one method on one data set; N evaluated images with a visible part, P parts common to both sides.

    A pair is an (image, part) whose part is visible in the ground truth. All arrays are NaN elsewhere.

    Parameters
    ----------
    parts, ids: P part names and N image ids, in the data set's order.
    errors: (N, P) distance divided by the scale (`diagonal`).
    axes_errors: (N, P) the error of Part Transfer (`axes`).
    distances: (N, P) pixels.
    found: (N, P) bool, the method itself gave the position; False outside pairs.
    scale: (N,) pixels that `errors` are divided by; reach: (N,) pixels of which PCK takes the share α.
    prior_errors: `errors` of the static prior on the same pairs, relative to `"image"` and to `"box"`, or None.
    reference: which of the two the method is held against.
    intervals: 95 % percentile bootstrap over images, `(2,)` for `"diagonal"` and `"axes"`, `(2, P)` for `"parts"`.
    exchanged, wrong_side: definitions (a) and (b) of exchanged sides.
    score: (N, P) how strongly the method believes that each part is visible; 0 where not found.
    expected_error: (N, P) expected errors divided by the scale, where the method gives them; None for a method that does not.
    overlap: (N,) intersection over union of the predicted with the marked box, NaN where none is marked; None for a method
        that predicts none.
    oks: (N,) object keypoint similarity, where sigmas were given.
    info: `method, backbone, layer, input_size, centre, region`.
    notes: counted remarks; skipped, failures: images left out, with the reason.
    """

    parts: tuple[str, ...]
    ids: tuple[str, ...]
    errors: FloatArray
    axes_errors: FloatArray
    distances: FloatArray
    found: BoolArray
    scale: FloatArray
    reach: FloatArray
    prior_errors: Mapping[str, FloatArray | None]
    reference: Frame
    intervals: Mapping[str, FloatArray]
    exchanged: metrics.SideCount
    wrong_side: metrics.SideCount
    score: FloatArray
    expected_error: FloatArray | None
    overlap: FloatArray | None
    oks: FloatArray | None
    normaliser: metrics.Normaliser
    info: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    failures: tuple[Skipped, ...] = ()

    @property
    def visible(self) -> BoolArray:
        """(N, P) the pairs."""
        return np.isfinite(self.errors)

    @property
    def error(self) -> float:
        """Mean `diagonal` error over all pairs: the headline."""
        return metrics.mean(self.errors)

    @property
    def ci95(self) -> tuple[float, float]:
        """95 % interval of :attr:`error`."""
        low, high = self.intervals["diagonal"].tolist()
        return low, high

    @property
    def coverage(self) -> float:
        """Share of the pairs that the method itself found."""
        return float(self.found.sum() / self.visible.sum())

    @property
    def prior_error(self) -> float:
        """Mean error of the prior that the method is held against, on the same pairs; NaN without one."""
        against = self.prior_errors[self.reference]
        return float("nan") if against is None else metrics.mean(against)

    @property
    def skill(self) -> float:
        """1 − error/prior error; NaN without a prior."""
        return metrics.skill(self.error, self.prior_error)

    @property
    def visibility_auc(self) -> metrics.VisibilityAUC:
        """How well the scores rank visible parts before hidden ones."""
        return metrics.visibility_auc(self.score, self.visible)

    @property
    def reliability(self) -> metrics.Reliability:
        """How far the scores can be read as the probability that a part is visible."""
        return metrics.reliability(self.score, self.visible)

    @property
    def risk_coverage(self) -> metrics.RiskCoverage | None:
        """Error of the parts kept, where the method says which it is sure of."""
        if self.expected_error is None:
            return None
        return metrics.risk_coverage(self.errors, self.expected_error)

    def pck(self, alpha: float = 0.1) -> float:
        """Return the share of pairs whose distance is at most α·max(w, h); NaN in pixels."""
        return metrics.mean(metrics.pck(self.distances, self.reach, alpha))

    def row(self) -> dict[str, Any]:
        """Return the row of a table: plain numbers, text, lists and dicts; None where a number does not exist."""
        priors = {kind: _mean_or_nan(self.prior_errors[kind]) for kind in ("image", "box")}
        row: dict[str, Any] = {key: self.info.get(key) for key in INFO_KEYS}
        row |= {
            "images": len(self.ids),
            "parts": len(self.parts),
            "pairs": int(self.visible.sum()),
            "error": {
                name: {
                    "mean": metrics.mean(errors),
                    "macro": metrics.macro_mean(errors),
                    "median": metrics.median(errors),
                    "ci95": self.intervals[name].tolist(),
                }
                for name, errors in (("diagonal", self.errors), ("axes", self.axes_errors))
            },
            "pck": {str(alpha): self.pck(alpha) for alpha in metrics.PCK_ALPHAS},
            "oks": _mean_or_nan(self.oks),
            "coverage": self.coverage,
            "prior": priors,
            "skill": self.skill,
            "skill_against": self.reference,
            "normaliser": self.normaliser if isinstance(self.normaliser, str) else list(self.normaliser),
            "exchanged_sides": {
                "both_visible": _side_row(self.exchanged),
                "one_visible": _side_row(self.wrong_side),
                "together": _side_row(self.exchanged + self.wrong_side),
            },
            **confidence_rows(self),
            "per_part": {name: self._part_row(p) for p, name in enumerate(self.parts)},
            "skipped": len(self.skipped),
            "failures": len(self.failures),
            "notes": list(self.notes),
        }
        cleaned: dict[str, Any] = _json_ready(row)
        return cleaned

    def _part_row(self, p: int) -> dict[str, Any]:
        pairs = int(self.visible[:, p].sum())
        column = self.errors[:, p]
        priors = {k: _mean_or_nan(None if e is None else e[:, p]) for k, e in self.prior_errors.items()}
        correct = {a: metrics.pck(self.distances[:, [p]], self.reach, a) for a in metrics.PCK_ALPHAS}
        return {
            "images": pairs,
            "mean": metrics.mean(column),
            "median": metrics.median(column),
            "ci95": self.intervals["parts"][:, p].tolist(),
            "axes": metrics.mean(self.axes_errors[:, p]),
            "pck": {str(alpha): metrics.mean(values) for alpha, values in correct.items()},
            "coverage": float(self.found[:, p].sum()) / pairs if pairs else float("nan"),
            "prior": priors,
            "skill": metrics.skill(metrics.mean(column), priors[self.reference]),
        }

    def __repr__(self) -> str:
        low, high = self.ci95
        return (
            f"Evaluation({self.info.get('method') or 'predictions'}: {len(self.ids)} images, {len(self.parts)} parts, "
            f"error {self.error:.3f} [{low:.3f}, {high:.3f}], {self.reference} prior {self.prior_error:.3f}, "
            f"skill {self.skill:.3f}, coverage {self.coverage:.1%})"
        )


def _mean_or_nan(values: FloatArray | None) -> float:
    return float("nan") if values is None else metrics.mean(values)


def _side_row(count: metrics.SideCount) -> dict[str, float]:
    return {"share": count.share, "wrong": count.wrong, "total": count.total, "left_out": count.left_out}


def _json_ready(value: Any) -> Any:
    """Replace NaN and infinity by None, which JSON can say, and NumPy numbers and tuples by plain ones."""
    if isinstance(value, Mapping):
        return {key: _json_ready(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json_ready(entry) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
