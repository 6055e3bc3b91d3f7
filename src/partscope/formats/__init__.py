"""One module per annotation format; :func:`load_dataset` reads any of them by name, :func:`save_dataset` writes it.

To add a format, write a module with functions decorated by `@reader("name")` and `@writer("name")` and import it here.
"""

from __future__ import annotations

from partscope.formats.boxes import read_boxes
from partscope.formats.coco import read_coco
from partscope.formats.coco_writer import write_coco
from partscope.formats.converting import Converted, convert
from partscope.formats.cub import read_cub
from partscope.formats.cub_writer import write_cub, write_cub_annotations
from partscope.formats.cvat import read_cvat
from partscope.formats.cvat_writer import write_cvat
from partscope.formats.dataset_csv import read_csv, write_csv
from partscope.formats.deeplabcut import read_deeplabcut
from partscope.formats.deeplabcut_writer import write_deeplabcut, write_predictions_deeplabcut
from partscope.formats.label_studio import read_label_studio
from partscope.formats.label_studio_writer import (
    label_studio_config,
    write_label_studio,
    write_label_studio_min,
    write_predictions_label_studio,
)
from partscope.formats.lsp import read_lsp, write_lsp
from partscope.formats.nabirds import read_nabirds, write_nabirds
from partscope.formats.pts import read_pts, write_pts
from partscope.formats.registry import READERS, WRITERS, load_dataset, reader, recognise, save_dataset, writer
from partscope.formats.results import read_predictions_csv, write_predictions_csv
from partscope.formats.results_coco import read_predictions_coco, write_predictions_coco
from partscope.formats.results_dataset import as_dataset
from partscope.formats.writing import Written

__all__ = [
    "READERS",
    "WRITERS",
    "Converted",
    "Written",
    "as_dataset",
    "convert",
    "label_studio_config",
    "load_dataset",
    "read_boxes",
    "read_coco",
    "read_csv",
    "read_cub",
    "read_cvat",
    "read_deeplabcut",
    "read_label_studio",
    "read_lsp",
    "read_nabirds",
    "read_predictions_coco",
    "read_predictions_csv",
    "read_pts",
    "reader",
    "recognise",
    "save_dataset",
    "write_coco",
    "write_csv",
    "write_cub",
    "write_cub_annotations",
    "write_cvat",
    "write_deeplabcut",
    "write_label_studio",
    "write_label_studio_min",
    "write_lsp",
    "write_nabirds",
    "write_predictions_coco",
    "write_predictions_csv",
    "write_predictions_deeplabcut",
    "write_predictions_label_studio",
    "write_pts",
    "writer",
]
