"""Results of several runs over other images as the file that one run would have written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from partscope.atomic import atomic_write
from partscope.errors import AnnotationError
from partscope.formats.reading import json_records, read_json, read_text
from partscope.formats.results import read_predictions_csv, write_predictions_csv
from partscope.predictions import PartPredictions


def merge_csv(files: Sequence[Path], out: Path) -> int:
    """Join tables of located parts, in the order given, and return the number of images.

    Raises
    ------
    AnnotationError: a file cannot be read, or has other parts than the first, or none has a row.
    DatasetError: an image is in two of them. PartscopeError: the file cannot be written.
    """
    # A table without rows, of a shard of which no image could be read, does not know its parts.
    filled = [file for file in files if len(read_text(file, "surrogateescape").splitlines()) > 1]
    if not filled:
        raise AnnotationError(f"{files[0]}: there is no image in any of the files.")
    pieces = [read_predictions_csv(file) for file in filled]
    for file, piece in zip(filled, pieces, strict=True):
        if piece.parts != pieces[0].parts:
            raise AnnotationError(
                f"{file}: its parts are not those of {filled[0]} ({', '.join(pieces[0].parts)}); merge results of one model."
            )
    joined = PartPredictions.concatenate(pieces)
    write_predictions_csv(joined, out)
    return len(joined)


def merge_coco(files: Sequence[Path], out: Path) -> int:
    """Join COCO results that partscope wrote, in the order given, and return the number of images.

    Images and annotations are numbered anew, from 1.

    Raises
    ------
    AnnotationError: a file cannot be read, has other categories than the first, or an image is in two of them.
    PartscopeError: the file cannot be written.
    """
    whole: dict[str, Any] = {}
    seen: dict[str, Path] = {}
    for file in files:
        content = read_json(file)
        try:
            images, annotations = (
                json_records(content, "images", file),
                json_records(content, "annotations", file),
            )
            numbers = {image["id"]: len(seen) + i for i, image in enumerate(images, start=1)}
            for image in images:
                name = str(image["file_name"])
                if seen.setdefault(name, file) is not file:
                    raise AnnotationError(
                        f"{file}: the image {name} is in {seen[name]} as well; merge each once."
                    )
                image["id"] = numbers[image["id"]]
            for record in annotations:
                record["id"] = record["image_id"] = numbers[record["image_id"]]
            if not whole:
                whole = content
                continue
            if content["categories"] != whole["categories"]:
                raise AnnotationError(
                    f"{file}: its parts are not those of {files[0]}; merge results of one model."
                )
            whole["images"] += images
            whole["annotations"] += annotations
            whole["info"]["failures"] += content["info"]["failures"]
        except (KeyError, TypeError) as error:
            raise AnnotationError(
                f"{file}: a record lacks {error}; expected a file that partscope wrote."
            ) from error
    atomic_write(out, json.dumps(whole, allow_nan=False, indent=1) + "\n")
    return len(seen)
