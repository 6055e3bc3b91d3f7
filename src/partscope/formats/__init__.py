"""One module per annotation format; :func:`load_dataset` reads any of them by name.

To add a format, write a module with a function decorated by `@reader("name")` and import it here.
"""

from __future__ import annotations

from partscope.formats.boxes import read_boxes
from partscope.formats.cub import read_cub
from partscope.formats.cub_writer import write_cub_annotations
from partscope.formats.registry import READERS, load_dataset, reader
from partscope.formats.results import read_predictions_csv, write_predictions_csv
from partscope.formats.results_coco import read_predictions_coco, write_predictions_coco

__all__ = [
    "READERS",
    "load_dataset",
    "read_boxes",
    "read_cub",
    "read_predictions_coco",
    "read_predictions_csv",
    "reader",
    "write_cub_annotations",
    "write_predictions_coco",
    "write_predictions_csv",
]
