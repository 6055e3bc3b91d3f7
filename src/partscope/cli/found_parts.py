"""What `locate` writes: the formats that hold parts found, and the choice among them by name or by the file's ending."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from partscope.cli.exits import say
from partscope.cli.predicting import Task
from partscope.errors import OptionError

if TYPE_CHECKING:
    from partscope.predictions import PartPredictions

#: Formats by name, with the endings of their files.
FORMATS = {
    "csv": ".csv",
    "coco": ".json",
    "label-studio": ".json",
    "cvat": ".xml",
    "deeplabcut": ".csv",
}
_BY_ENDING = {".csv": "csv", ".json": "coco", ".xml": "cvat"}


def chosen_format(out: Path, to: str | None) -> str:
    """Return the format of the results: the one named, or that of the ending; an OptionError where the two do not fit."""
    ending = out.suffix.lower()
    if to is None:
        if ending not in _BY_ENDING:
            raise OptionError(
                f"{out}: the results are written as .csv, .json (COCO) or .xml (CVAT); give --out such an ending."
            )
        return _BY_ENDING[ending]
    if to not in FORMATS:
        raise OptionError(f"--to must be one of {', '.join(FORMATS)}, not {to!r}.")
    if ending != FORMATS[to]:
        raise OptionError(
            f"{out}: {to} is written to a file that ends in {FORMATS[to]}; give --out that ending."
        )
    return to


def write_found(
    result: PartPredictions, out: Path, to: str, tasks: Mapping[str, Task], prefix: str | None, model: Path
) -> None:
    """Write the parts found; what the format cannot hold is said.

    Parameters
    ----------
    tasks: by the images' names.
    prefix: what stands before an image's name in its address, for Label Studio.
    model: gives pre-annotations their name.
    """
    import numpy as np

    from partscope.formats import (
        as_dataset,
        save_dataset,
        write_predictions_coco,
        write_predictions_csv,
        write_predictions_deeplabcut,
        write_predictions_label_studio,
    )
    from partscope.formats.label_studio_writer import LOCAL

    if to == "csv":
        write_predictions_csv(result, out)
        return
    if to == "deeplabcut":
        write_predictions_deeplabcut(result, out)
        return
    used = [tasks[name] for name in result.ids]
    sizes = np.array([task.size() for task in used], dtype=np.float64).reshape(-1, 2)
    boxes = np.array([task.box or (np.nan,) * 4 for task in used], dtype=np.float64).reshape(-1, 4)
    if to == "coco":
        write_predictions_coco(result, sizes, out, boxes=boxes)
    elif to == "label-studio":
        write_predictions_label_studio(
            result, sizes, out, model_version=model.stem, prefix=LOCAL if prefix is None else prefix
        )
    else:
        dataset = as_dataset(result, {task.name: task.path for task in used}, sizes)
        for text in (*dataset.notes, *save_dataset(dataset, to, out).lost):
            say(f"warning: {out}: {text}")
