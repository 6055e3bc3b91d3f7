"""Table 2 of the paper on any data set with classes and parts: do parts help to tell the classes apart?

Every row is a linear classifier on features of the same training images, with C chosen in the same way, tested on the same
test images: the whole image or box alone, with patches at estimated and at marked parts, and with as many patches of the
same size at places that no detector has chosen. Two systems that the paper compares with are measured beside them.
"""

from partscope.table2.measure import measure_table2
from partscope.table2.merging import merged_document
from partscope.table2.result import MeasuredRow, Table2, compare_rows
from partscope.table2.rows import OMITTED, PUBLISHED_ON, RowPlan, plan_rows, row_pairs

__all__ = [
    "OMITTED",
    "PUBLISHED_ON",
    "MeasuredRow",
    "RowPlan",
    "Table2",
    "compare_rows",
    "measure_table2",
    "merged_document",
    "plan_rows",
    "row_pairs",
]
