"""Metrics of part localisation and of classification: arrays in, numbers out. They do not know how predictions were made.

Throughout, N images, P parts; positions (N, P, 2) in pixels, x right, y down; NaN marks a pair that does not count (the
part is not visible in the ground truth), and every mean is taken over the pairs that are not NaN. The metrics of
:mod:`partscope.metrics.classification` take classes instead.
"""

from partscope.metrics.agreement import Agreement, part_agreement, strongest_part
from partscope.metrics.bootstrap import (
    PairedDifference,
    bootstrap_interval,
    paired_bootstrap,
    paired_bootstrap_parts,
    percentile_interval,
    resampled_means,
    total_and_parts,
)
from partscope.metrics.classification import (
    ClassCount,
    McNemar,
    accuracy,
    accuracy_interval,
    confusion,
    in_top,
    macro_accuracy,
    mcnemar,
    per_class,
    top_k,
)
from partscope.metrics.derived import HEAD_PARTS, mean_of_parts, predictions_with_mean_part, with_mean_part
from partscope.metrics.keypoints import PCK_ALPHAS, oks, pck
from partscope.metrics.normalised import (
    axes_error,
    diagonal_error,
    macro_mean,
    mean,
    median,
    part_means,
    skill,
)
from partscope.metrics.overlap import box_overlap
from partscope.metrics.regression import LinearPartMap, RegressionError, regression_error
from partscope.metrics.risk_coverage import RiskCoverage, risk_coverage
from partscope.metrics.scales import Normaliser, Scale, boxes_or_parts, make_scale, parts_box
from partscope.metrics.sides import SideCount, exchanged_sides, wrong_sides
from partscope.metrics.visibility import Reliability, VisibilityAUC, reliability, visibility_auc

__all__ = [
    "HEAD_PARTS",
    "PCK_ALPHAS",
    "Agreement",
    "ClassCount",
    "LinearPartMap",
    "McNemar",
    "Normaliser",
    "PairedDifference",
    "RegressionError",
    "Reliability",
    "RiskCoverage",
    "Scale",
    "SideCount",
    "VisibilityAUC",
    "accuracy",
    "accuracy_interval",
    "axes_error",
    "bootstrap_interval",
    "box_overlap",
    "boxes_or_parts",
    "confusion",
    "diagonal_error",
    "exchanged_sides",
    "in_top",
    "macro_accuracy",
    "macro_mean",
    "make_scale",
    "mcnemar",
    "mean",
    "mean_of_parts",
    "median",
    "oks",
    "paired_bootstrap",
    "paired_bootstrap_parts",
    "part_agreement",
    "part_means",
    "parts_box",
    "pck",
    "per_class",
    "percentile_interval",
    "predictions_with_mean_part",
    "regression_error",
    "reliability",
    "resampled_means",
    "risk_coverage",
    "skill",
    "strongest_part",
    "top_k",
    "total_and_parts",
    "visibility_auc",
    "with_mean_part",
    "wrong_sides",
]
