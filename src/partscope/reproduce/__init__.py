"""Table 1 of the paper on any data set with boxes: its rows, their comparisons, and the ablation."""

from partscope.reproduce.channel_rows import Outcome, predictions_of, run_variants
from partscope.reproduce.detector_rows import DetectorRow
from partscope.reproduce.table import METHODS, PUBLISHED, Table1, measure_table1
from partscope.reproduce.variants import Variant, ablation_variants, table1_variants

__all__ = [
    "METHODS",
    "PUBLISHED",
    "DetectorRow",
    "Outcome",
    "Table1",
    "Variant",
    "ablation_variants",
    "measure_table1",
    "predictions_of",
    "run_variants",
    "table1_variants",
]
