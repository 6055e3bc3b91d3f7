"""`partscope locate`: find the parts in images, and write them as a table or a COCO data set."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partscope.cli import options
from partscope.cli.exits import INCOMPLETE, OK, list_failures, resumable
from partscope.cli.found_parts import chosen_format, write_found
from partscope.cli.image_sources import find_images
from partscope.cli.locating import Locating, check_doubt, elsewhere
from partscope.cli.models import load_model
from partscope.cli.output import Output, check_distinct, check_writable
from partscope.cli.overlays import overlay_paths, write_overlay
from partscope.cli.predicting import BLOCK, Kept, predict_in_blocks, with_boxes
from partscope.cli.sharing import run_of
from partscope.cli.video_sources import is_video, video_tasks
from partscope.errors import OptionError, PartscopeWarning
from partscope.places import shown

if TYPE_CHECKING:
    from partscope.predictions import PartPredictions


def locate(
    model: options.Model,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE|DIR|GLOB|VIDEO...",
            help="Images, folders of images, quoted patterns, or videos.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            metavar="OUT",
            help="The parts found: .csv, .json for COCO, .xml for CVAT; or as --to says.",
            show_default=False,
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="csv|coco|label-studio|cvat|deeplabcut",
            help="Format of OUT; by default that of its ending.",
            show_default=False,
        ),
    ] = None,
    prefix: Annotated[
        str | None,
        typer.Option(
            "--prefix",
            metavar="TEXT",
            help="With --to label-studio: what stands before an image's name in its address.",
            show_default=False,
        ),
    ] = None,
    every: Annotated[
        int, typer.Option("--every", metavar="N", min=1, help="Of a video, search every Nth frame.")
    ] = 1,
    boxes: Annotated[
        Path | None,
        typer.Option(
            "--boxes",
            metavar="BOXES",
            help="Bounding boxes: a CSV with image,x,y,width,height, or COCO. A model that searches the box needs them.",
            show_default=False,
        ),
    ] = None,
    overlay: Annotated[
        Path | None,
        typer.Option(
            "--overlay",
            metavar="DIR",
            help="Draw the parts onto the images, as DIR/NAME.png.",
            show_default=False,
        ),
    ] = None,
    sort: Annotated[
        str,
        typer.Option(
            "--sort",
            metavar="images|doubt",
            help="Order of the results: as the images were given, or the most doubtful image first.",
        ),
    ] = "images",
    weights: options.Weights = None,
    engine: options.Engine = "local",
    address: options.Address = None,
    workers: options.Workers = None,
    threads: options.Threads = None,
    shard: options.Shard = None,
) -> int:
    """Find the parts in images.

    Bad images are listed at the end, and the exit code is 1 then. A run that is stopped is continued by the same command.
    """
    from partscope.engine import Shard, use_engine

    to = chosen_format(out, to)
    if prefix is not None and to != "label-studio":
        raise OptionError(f"--prefix belongs to --to label-studio, and the results are {to}; leave it out.")
    share = None if shard is None else Shard.parse(shard)
    if share is not None:
        if sort == "doubt":
            raise OptionError(
                "--sort doubt orders all images, so it does not go with --shard; sort the merged results."
            )
        if to not in ("csv", "coco"):
            raise OptionError(f"the results of shards are merged as csv or coco, not {to}; leave --to out.")
        out = share.name(out)
    if sort not in ("images", "doubt"):
        raise OptionError(f"--sort must be images or doubt, not {sort!r}.")
    check_distinct({"the model": model, "--weights": weights, "--boxes": boxes, "--out": out})
    check_writable(out)
    _check_overlay_folder(overlay, images)
    videos = video_tasks(images, every)
    pictures_given = [source for source in images if not is_video(source)]
    found = find_images(pictures_given, leave_out=overlay) if pictures_given else []
    detector = load_model(model, weights)
    if detector.needs_box and boxes is None:
        raise OptionError(
            f"{model}: this model searches the object's bounding box; give the boxes of the images with --boxes BOXES."
        )
    if videos and (boxes is not None or detector.needs_box):
        raise OptionError(
            f"{videos[0].path}: a video's frames have no boxes; fit a model that searches the whole image, or extract frames."
        )
    if videos and engine != "local":
        raise OptionError(
            f"{videos[0].path}: videos are searched in this process; leave --engine out, or extract frames."
        )
    tasks = [*(with_boxes(found, boxes) if found else []), *videos]
    tasks = tasks if share is None else run_of(tasks, share, BLOCK)
    if boxes is not None and not detector.needs_box and overlay is None and to != "coco":
        warnings.warn(
            f"{model}: this model searches the whole image, so {boxes} changes nothing; leave --boxes out, or fit a model "
            "with --region crop.",
            PartscopeWarning,
            stacklevel=2,
        )
    pictures = {} if overlay is None else overlay_paths([(task.name, task.path) for task in tasks], overlay)
    by_name = {task.name: task for task in tasks}

    def draw(block: PartPredictions) -> None:
        for row, name in enumerate(block.ids):
            if name in pictures:
                write_overlay(pictures[name], by_name[name].image(), block, row, by_name[name].box)

    kept = Kept(out, model, tasks)
    work = Locating(detector, model, weights, doubt=sort == "doubt")
    with (
        resumable(kept.hint),
        use_engine(engine, address=address, workers=workers, threads=threads) as used,
    ):
        result = predict_in_blocks(
            *(tasks, lambda i: work.predict(tasks[i]), kept),
            parts=detector.parts_,
            on_error="skip",
            after=draw,
            elsewhere=None if used.name == "local" else elsewhere(work, used),
        )
        for row, name in enumerate(result.ids):  # of an earlier run, if they have been removed since
            if name in pictures and not pictures[name].exists():
                draw(result[row])
        ordered = _by_doubt(result, model) if sort == "doubt" else result
        write_found(ordered, out, to, by_name, prefix, model)
    kept.remove()
    output = Output()
    located = int(result.found.sum())
    output.line(
        f"{shown(out)}: {located} of {result.found.size} parts found in {len(result)} of {len(tasks)} images"
        + ("" if located == result.found.size else f"; {result.found.size - located} not found")
    )
    if overlay is not None:
        output.line(f"{overlay}: {len(result)} overlays")
    list_failures(result.failures, len(tasks), "images")
    return INCOMPLETE if result.failures else OK


def _by_doubt(result: PartPredictions, model: Path) -> PartPredictions:
    """Return the images in order of doubt, the most doubtful first; before them those in which nothing was found."""
    import numpy as np

    if not len(result):
        return result
    check_doubt(result, model)
    doubt = result.doubt
    return result[np.argsort(-np.where(np.isnan(doubt), np.inf, doubt), kind="stable")]


def _check_overlay_folder(overlay: Path | None, sources: Sequence[str]) -> None:
    if overlay is None:
        return
    if overlay.exists() and not overlay.is_dir():
        raise OptionError(f"{overlay}: this is a file; give --overlay a folder.")
    for source in sources:
        if os.path.abspath(source) == os.path.abspath(overlay):
            raise OptionError(
                f"{overlay}: the overlays would lie among the images that are searched; give --overlay a folder of its own."
            )
