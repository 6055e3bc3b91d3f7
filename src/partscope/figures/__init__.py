"""Overlays, gradient maps, rankings, error curves and classes: arrays in, pictures out.

Charts are matplotlib figures and need the extra `plot`; overlays need Pillow alone.
"""

from partscope.figures.accuracy import Curve, figure_accuracy
from partscope.figures.canvas import figure_bytes, save_figure
from partscope.figures.classification import Decision, figure_confusion, figure_decisions
from partscope.figures.confidence import figure_reliability, figure_risk_coverage
from partscope.figures.curves import figure_error_curves, figure_part_errors, share_band, share_within
from partscope.figures.evidence import figure_evidence
from partscope.figures.gradients import figure_maps
from partscope.figures.method import figure_method
from partscope.figures.overlay import draw_parts
from partscope.figures.palette import part_colours
from partscope.figures.ranking import figure_ranking, figure_shared_channels
from partscope.figures.robustness import figure_robustness

__all__ = [
    "Curve",
    "Decision",
    "draw_parts",
    "figure_accuracy",
    "figure_bytes",
    "figure_confusion",
    "figure_decisions",
    "figure_error_curves",
    "figure_evidence",
    "figure_maps",
    "figure_method",
    "figure_part_errors",
    "figure_ranking",
    "figure_reliability",
    "figure_risk_coverage",
    "figure_robustness",
    "figure_shared_channels",
    "part_colours",
    "save_figure",
    "share_band",
    "share_within",
]
