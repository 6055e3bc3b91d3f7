"""The HTML report: one file that opens from disk, with every image inside it and nothing fetched from anywhere.

A report is a title and a list of sections. What a section shows is given as plain numbers, text and pictures; the rows of
tables are those of :meth:`partscope.evaluation.Evaluation.row`.
"""

from partscope.report.environment import environment_facts
from partscope.report.page import write_report
from partscope.report.sections import Facts, Gallery, Notes, PartTable, Picture, ResultTable, Section, Table
from partscope.report.tables import method_name

__all__ = [
    "Facts",
    "Gallery",
    "Notes",
    "PartTable",
    "Picture",
    "ResultTable",
    "Section",
    "Table",
    "environment_facts",
    "method_name",
    "write_report",
]
