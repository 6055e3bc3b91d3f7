"""Prediction over many images that can be interrupted: finished blocks are kept beside the result until it is written."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from partscope.cli.exits import go_on
from partscope.cli.image_sources import NamedImage
from partscope.errors import DatasetError, ImageError, OptionError, PartscopeError, PartscopeWarning
from partscope.places import files_in, make_folder, read_bytes, remove, remove_empty_folder, shown

if TYPE_CHECKING:
    from partscope.dataset import PartDataset
    from partscope.images import ImageLike
    from partscope.predictions import PartPredictions
    from partscope.video import VideoFrames

Box = tuple[float, float, float, float]

#: The predictions for one image, or the reason why there are none.
Found: TypeAlias = "PartPredictions | str"
Elsewhere: TypeAlias = "Callable[[Sequence[Task]], Iterator[tuple[list[int], list[Found]]]]"

#: Images per block: what a kill costs at most.
BLOCK = 16
#: Numbers of blocks for each process that writes to one folder.
_NUMBERS = 10**6


@dataclass(frozen=True)
class Task:
    """One image to be searched: what results call it, its file, and its box `(x, y, width, height)` in pixels.

    For a frame of a video, `path` is the video and `frames` reads its frame `index`. For an image of a data set, `stated` is the
    part of the data set that holds it alone.
    """

    name: str
    path: Path
    box: Box | None = None
    frames: VideoFrames | None = None
    index: int = 0
    stated: PartDataset | None = None

    def image(self) -> ImageLike:
        """Return what a detector is given."""
        return self.path if self.frames is None else self.frames.read(self.index)

    def size(self) -> tuple[int, int]:
        """Return width and height of the upright image in pixels."""
        from partscope.images import image_size

        return image_size(self.path) if self.frames is None else self.frames.size


def tasks_of(dataset: PartDataset) -> list[Task]:
    """Return one task per image of a data set, which states its box and what its annotations are."""
    return [
        Task(sample.id, sample.image, sample.box, stated=dataset[i : i + 1])
        for i, sample in enumerate(dataset)
    ]


def with_boxes(images: Sequence[NamedImage], file: Path | None) -> list[Task]:
    """Return one task per image, its box clipped to the image with a counted warning; a wrong box is left as it is."""
    from partscope.dataset import check_box, clip_box
    from partscope.formats import read_boxes
    from partscope.images import image_size

    if file is None:
        return [Task(image.name, image.path) for image in images]
    boxes = read_boxes(file)
    tasks = []
    clipped = 0
    for image in images:
        box = boxes.get(image.name)
        if box is not None:
            try:
                size = image_size(image.path)
                box, changed = clip_box(check_box(box, size, image.name), size)
                clipped += changed
            except (ImageError, DatasetError):
                pass  # reported when the image's turn comes
        tasks.append(Task(image.name, image.path, box))
    if not any(task.box for task in tasks):
        example = next(iter(boxes), "none")
        raise OptionError(
            f"{file}: no box belongs to one of the {len(images)} images; they match by name, the first names are "
            f"{images[0].name!r} among the images and {example!r} among the boxes."
        )
    unused = len(set(boxes) - {image.name for image in images})
    for count, what in (
        (clipped, "reached over the border of their images and were clipped"),
        (unused, "belong to none of the images"),
    ):
        if count:
            warnings.warn(f"{file}: {count} of {len(boxes)} boxes {what}.", PartscopeWarning, stacklevel=2)
    return tasks


class Kept:
    """The folder of finished blocks; its name is that of the result and a digest of model, images and boxes.

    By the digest another model, or images that have changed, never continue an old run; of an image elsewhere the address alone
    counts.

    Parameters
    ----------
    beside: the file that the folder lies next to; a path or a URL.
    model: the model file.
    tasks: all images of the run.
    writer: number of this process among those that write to the folder at the same time.
    """

    def __init__(self, beside: Path, model: Path, tasks: Sequence[Task], writer: int = 0) -> None:
        digest = hashlib.sha256(read_bytes(model))
        for task in tasks:
            with suppress(OSError):  # a missing image is reported when its turn comes
                stat = task.path.stat()
                digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
            digest.update(json.dumps([task.name, str(task.path), task.box]).encode())
        self.folder = beside.with_name(f"{beside.name}.partial-{digest.hexdigest()[:12]}")
        self._usable = True
        self._numbers = range(writer * _NUMBERS, (writer + 1) * _NUMBERS)

    def hint(self) -> str:
        """Return the sentence on how to go on after a stop."""
        return go_on(self.folder, bool(self._blocks()))

    def read(self) -> list[PartPredictions]:
        """Return the finished blocks; a damaged one is computed again, with a warning."""
        from partscope.formats import read_predictions_csv

        blocks = []
        for file in self._blocks():
            try:
                blocks.append(read_predictions_csv(file))
            except PartscopeError as error:
                warnings.warn(f"{error} The block is computed again.", PartscopeWarning, stacklevel=2)
                remove(file)
        return blocks

    def write(self, block: PartPredictions) -> None:
        """Keep a finished block; where no folder can be made the run goes on without, with a warning."""
        from partscope.formats import write_predictions_csv

        if not self._usable or not len(block):
            return
        try:
            make_folder(self.folder)
        except OSError as error:
            self._usable = False
            warnings.warn(
                f"{shown(self.folder)}: the folder cannot be made ({error.strerror or error}), so an interrupted run will start "
                "over.",
                PartscopeWarning,
                stacklevel=2,
            )
            return
        taken = {int(file.stem[6:]) for file in self._blocks()}.intersection(self._numbers)
        number = max(taken, default=self._numbers.start - 1) + 1
        write_predictions_csv(block, self.folder / f"block-{number:06d}.csv")

    def remove(self) -> None:
        """Remove the blocks, once the result has been written."""
        for file in self._blocks():
            remove(file)
        remove_empty_folder(self.folder)

    def _blocks(self) -> list[Path]:
        return [file for file in files_in(self.folder, "block-*.csv") if file.stem[6:].isdigit()]


def predict_in_blocks(
    tasks: Sequence[Task],
    predict: Callable[[int], PartPredictions],
    kept: Kept,
    *,
    parts: Sequence[str],
    on_error: str,
    after: Callable[[PartPredictions], None] = lambda block: None,
    elsewhere: Elsewhere | None = None,
    share: Sequence[int] | None = None,
) -> PartPredictions:
    """Locate the parts in the images of `tasks`, in their order, continuing what `kept` holds.

    Parameters
    ----------
    tasks: the images.
    predict: returns the predictions for the image with this index, under its task's name.
    kept: where finished blocks are kept.
    parts: the detector's part names.
    on_error: `"raise"` stops at the first bad image, `"skip"` lists it in the result's `failures`.
    after: called with each new block before it is kept; not for the last images before a stop, which are kept at once.
    elsewhere: where given, computes the images in `predict`'s place, in blocks that come in any order, and yields their
        positions and what was found; it raises the errors of images itself, if they are to be raised.
    share: positions of the images that are searched, all by default; the others are there where another process has finished
        them.

    Raises
    ------
    ImageError, DatasetError, OptionError: with `on_error="raise"`, from `predict`; what was finished is kept.
    """
    from partscope.dataset import Skipped
    from partscope.predictions import PartPredictions
    from partscope.progress import track

    index = {task.name: i for i, task in enumerate(tasks)}
    blocks = kept.read()
    finished = {name for block in blocks for name in block.ids}
    mine = range(len(tasks)) if share is None else share
    waiting = [i for i in mine if tasks[i].name not in finished]
    done = len(mine) - len(waiting)
    failures: list[Skipped] = []
    current: list[PartPredictions] = []

    def close(keep: bool) -> None:
        if not current:
            return
        block = PartPredictions.concatenate(current)
        after(block)
        if keep:
            kept.write(block)
        blocks.append(block)
        current.clear()

    if elsewhere is not None:
        left = [tasks[i] for i in waiting]
        for rows, found in elsewhere(left):
            for row, one in zip(rows, found, strict=True):
                if isinstance(one, str):
                    failures.append(Skipped(left[row].name, one))
                else:
                    current.append(one)
            close(keep=True)
        waiting = []
    try:
        for i in track(waiting, "locate", total=len(mine), done=done):
            if len(current) == BLOCK:
                close(keep=True)
            try:
                current.append(predict(i))
            except (ImageError, DatasetError, OptionError) as error:
                if on_error == "raise":
                    raise
                failures.append(Skipped(tasks[i].name, str(error)))
    except (KeyboardInterrupt, PartscopeError):
        if current:
            with suppress(PartscopeError):  # the disk may be what stopped the run
                kept.write(PartPredictions.concatenate(current))
        raise
    close(keep=share is not None)
    if not blocks:
        blocks.append(PartPredictions.empty(parts))
    joined = PartPredictions.concatenate(blocks)
    inside = joined[sorted(range(len(joined)), key=lambda row: index[joined.ids[row]])]
    return dataclasses.replace(inside, failures=tuple(sorted(failures, key=lambda item: index[item.id])))
