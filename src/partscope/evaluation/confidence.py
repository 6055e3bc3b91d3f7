"""What a row says about a method's confidence: visibility, expected error and predicted box."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from partscope.evaluation.result import Evaluation

#: Shares of the parts kept that a row holds, and of those the ones that a table shows.
SHARES = tuple(round(0.05 * step, 2) for step in range(1, 21))
SHOWN_SHARES = (1.0, 0.9, 0.8, 0.5)
#: Intersections over union from which on a predicted box counts as right.
OVERLAPS = (0.5, 0.75)


def confidence_rows(result: Evaluation) -> dict[str, Any]:
    """Return `visibility`, `reliability`, `kept` and `box` of an evaluation's row; None where the method has none.

    `reliability` is there for every method: it tells how far its scores can be read as probabilities.
    """
    auc, bins = result.visibility_auc, result.reliability
    return {
        "visibility": {
            "macro": auc.macro,
            "parts": len(auc.per_part),
            "pooled": auc.pooled,
            "pooled_base_rates": auc.base_rates,
            "per_part": {result.parts[p]: value for p, value in auc.per_part.items()},
        },
        "reliability": {
            "ece": bins.expected_calibration_error,
            "brier": bins.brier,
            "bins": [
                {"from": low, "to": high, "pairs": count, "score": score, "visible": share}
                for low, high, count, score, share in zip(
                    bins.edges[:-1].tolist(),
                    bins.edges[1:].tolist(),
                    bins.count.tolist(),
                    bins.score.tolist(),
                    bins.share.tolist(),
                    strict=True,
                )
            ],
        },
        "kept": _kept(result),
        "box": _box(result),
    }


def _kept(result: Evaluation) -> dict[str, Any] | None:
    curve = result.risk_coverage
    if curve is None or result.expected_error is None:
        return None
    sure = np.isfinite(result.errors) & np.isfinite(result.expected_error)
    return {
        "area": curve.area,
        "oracle_area": curve.oracle_area,
        "unordered": curve.unordered,
        "expected": float(result.expected_error[sure].mean()) if sure.any() else float("nan"),
        "shares": {
            f"{share:g}": dict(zip(("error", "oracle"), curve.at(share), strict=True)) for share in SHARES
        },
    }


def _box(result: Evaluation) -> dict[str, Any] | None:
    if result.overlap is None:
        return None
    known = result.overlap[np.isfinite(result.overlap)]
    return {
        "images": len(known),
        "mean_iou": float(known.mean()) if len(known) else float("nan"),
        "share": {
            f"{least:g}": float((known >= least).mean()) if len(known) else float("nan") for least in OVERLAPS
        },
    }
