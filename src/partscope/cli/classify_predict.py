"""`partscope classify predict`: tell the classes of images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partscope.cli import options
from partscope.cli.classifying import Cache, Classifier, Work, load_classifier, predict_classes
from partscope.cli.exits import INCOMPLETE, OK, list_failures
from partscope.cli.image_sources import find_images
from partscope.cli.output import Output, check_distinct, check_writable
from partscope.cli.predicting import with_boxes
from partscope.cli.sharing import run_of
from partscope.errors import OptionError
from partscope.places import shown


def predict(
    model: Classifier,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE|DIR|GLOB...",
            help="Images, folders of images, or quoted patterns.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="OUT", help="Classes and scores: .csv or .json.", show_default=False),
    ],
    boxes: Annotated[
        Path | None,
        typer.Option(
            "--boxes",
            metavar="BOXES",
            help="Bounding boxes: a CSV with image,x,y,width,height, or COCO. A model of the box needs them.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", metavar="K", min=1, help="Classes to print for each image, best first.")
    ] = 5,
    weights: options.Weights = None,
    cache: Cache = None,
    engine: options.Engine = "local",
    address: options.Address = None,
    workers: options.Workers = None,
    threads: options.Threads = None,
    shard: options.Shard = None,
) -> int:
    """Tell the classes of images, and write them with the scores of all classes.

    Bad images are listed at the end, and the exit code is 1 then. A run that is stopped is continued by the same command.
    """
    from partscope.classification import write_classes_csv, write_classes_json
    from partscope.engine import Shard, use_engine

    if out.suffix.lower() not in (".csv", ".json"):
        raise OptionError(f"{out}: the results are written as .csv or .json; give --out such an ending.")
    share = None if shard is None else Shard.parse(shard)
    out = out if share is None else share.name(out)
    check_distinct(
        {"the model": model, "--weights": weights, "--boxes": boxes, "--out": out, "--cache": cache}
    )
    check_writable(out)
    found = find_images(images)
    fitted = load_classifier(model, weights)
    if fitted.features_.source == "ground_truth":
        raise OptionError(
            f"{model}: this classifier takes marked parts, which images alone do not have; use it with "
            "'partscope classify evaluate', or fit one with --source estimated."
        )
    if fitted.features_.needs_box and boxes is None:
        raise OptionError(
            f"{model}: this classifier describes the object's bounding box; give the boxes of the images with --boxes BOXES."
        )
    tasks = with_boxes(found, boxes)
    if share is not None:
        tasks = run_of(tasks, share, fitted.features_.images_per_block)
    work = Work(out, cache)
    with work.in_use(), use_engine(engine, address=address, workers=workers, threads=threads):
        result = predict_classes(fitted, model, tasks, work, "skip")
        (write_classes_csv if out.suffix.lower() == ".csv" else write_classes_json)(result, out)
    work.remove()
    output = Output()
    best = result.top(top)
    output.table(
        ["Image", *(f"{k + 1}." for k in range(min(top, len(result.classes))))],
        [
            [name, *(f"{label} ({score:.2f})" for label, score in row)]
            for name, row in zip(result.ids, best, strict=True)
        ],
    )
    output.line(f"{shown(out)}: classes of {len(result)} of {len(tasks)} images")
    list_failures(result.failures, len(tasks), "images")
    return INCOMPLETE if result.failures else OK
