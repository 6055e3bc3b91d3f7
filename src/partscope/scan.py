"""The scan: centres of channels for every image of a data set, in fixed blocks, resumable.

With a folder, each finished block is a file; a scan that was killed at any moment is continued by the same call and ends
with the same bytes. Of a channel in an image only the centre is kept (two numbers), never its map.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from partscope.backbones.carried import CarriedBackbone
from partscope.backbones.core import Backbone
from partscope.channel_centres import CentreSpec, channel_centres
from partscope.dataset import PartDataset, Sample, Skipped, clip_box
from partscope.engine import Advance, Engine, ShardDone, Worker, current_engine, current_shard
from partscope.engine.blocks import blocks_of
from partscope.errors import DatasetError, ImageError, OptionError, PartscopeWarning
from partscope.images import load_image
from partscope.prefetch import prepared
from partscope.progress import progress_bar
from partscope.scan_store import Block, ScanStore
from partscope.views import needs_box

#: Images per block: small enough that a kill costs little, large enough that files are few.
BLOCK = 8


@dataclass(frozen=True, eq=False)
class Scan:
    """Centres of channels in N images.

    Parameters
    ----------
    ids: N image ids.
    channels: (K,) channel numbers.
    specs: R ways from a channel to a point.
    centres: (N, R, K, 2) float32 `(x, y)` in image pixels; NaN where a channel has no centre, and for a failed image.
    failures: images that could not be read, with the reason.
    """

    ids: tuple[str, ...]
    channels: NDArray[np.int64]
    specs: tuple[CentreSpec, ...]
    centres: NDArray[np.float32]
    failures: tuple[Skipped, ...]

    def of(self, spec: CentreSpec) -> NDArray[np.float32]:
        """Return the centres (N, K, 2) of one spec; an OptionError if it was not scanned."""
        if spec not in self.specs:
            raise OptionError(f"the scan does not hold {spec}; it holds {', '.join(map(str, self.specs))}.")
        return self.centres[:, self.specs.index(spec)]

    @property
    def succeeded(self) -> NDArray[np.intp]:
        """Positions of the images that did not fail."""
        failed = {item.id for item in self.failures}
        return np.array([i for i, name in enumerate(self.ids) if name not in failed], dtype=np.intp)


def scan(
    dataset: PartDataset,
    backbone: Backbone,
    specs: Sequence[CentreSpec] = (CentreSpec(),),
    *,
    channels: Sequence[int] | None = None,
    folder: str | Path | None = None,
    block: int = BLOCK,
    on_error: str = "skip",
    progress: bool = False,
    description: str = "scan",
    chunk: int | None = None,
    engine: Engine | None = None,
) -> Scan:
    """Compute the centres of channels in every image of a data set.

    Parameters
    ----------
    dataset: N images; parts are not looked at.
    backbone: network, layer, preprocessing.
    specs: R ways from a channel to a point; their common passes are shared.
    channels: K channel numbers, all by default.
    folder: where finished blocks are kept; in memory alone by default.
    block: images per block; a folder can be continued only with the same number.
    on_error: `"skip"` finishes the rest and lists the bad images in `failures` (a later call with the same folder tries
        them again), `"raise"` stops at the first.
    progress: show a bar with the time left on standard error.
    description: what the bar says.
    chunk: channels per backward pass, chosen per device by default; halved where memory runs out, with a warning.
    engine: where blocks are computed; by default that of the surrounding :func:`partscope.use_engine`, or this process.
        Images and their folder must be within the reach of its machines; this process alone writes the blocks.

    Raises
    ------
    ShardDone: this process takes a shard of the run, has finished its blocks, and the others' are not all there.
    EngineError: blocks failed, or the engine cannot be used; finished blocks are kept.
    ScanError: the folder belongs to another scan, or a block cannot be written.
    ImageError, DatasetError: with `on_error="raise"`, an image cannot be read or lacks a needed box.
    OptionError: an option has an unknown value, or there is no such channel. BackboneError: as
        :meth:`partscope.backbones.Backbone.activations`.

    Warns
    -----
    PartscopeWarning: boxes that a region uses reach over their images and are clipped (how many), or a block of the folder
        is damaged and is computed again.
    """
    if block < 1:
        raise OptionError(f"a block must hold at least 1 image, not {block}.")
    if on_error not in ("raise", "skip"):
        raise OptionError(f"on_error must be 'raise' or 'skip', not {on_error!r}.")
    specs = tuple(specs)
    if not specs:
        raise OptionError("a scan needs at least one way from a channel to a point (CentreSpec).")
    wanted = _checked_channels(channels, backbone.channels)
    if any(needs_box(spec.region) for spec in specs):
        warn_of_clipping(dataset)
    store = None
    if folder is not None:
        store = ScanStore(folder, scan_manifest(dataset, backbone, specs, wanted, block))
    count = -(-len(dataset) // block)
    shape = (len(specs), len(wanted), 2)
    table = _Table(np.full((len(dataset), *shape), np.nan, dtype=np.float32), block, {})
    table.read(store, range(count))
    engine, shard = engine or current_engine(), current_shard()
    mine = range(count) if shard is None else shard.every(count)
    waiting = [index for index in mine if index not in table.failures]
    work = blocks_of(dataset.samples, block, dataset.ids, waiting)
    done = len(dataset) - sum(len(piece.items) for piece in work)
    samples = (sample for piece in work for sample in piece.items)
    opened = prepared(samples, open_annotated, backbone.device.type) if engine.name == "local" else None
    task = _CentresOfBlocks(CarriedBackbone(backbone), specs, tuple(wanted.tolist()), chunk, on_error, opened)
    with (
        progress_bar(description, total=len(dataset), done=done, enabled=progress) as advance,
        contextlib.closing(opened) if opened else contextlib.nullcontext(),
    ):
        for index, found in engine.map_blocks(task, work, advance):
            table.put(index, found)
            if store:
                store.write(index, found)
    if shard is not None:
        # What another shard could not read is its own to try again.
        table.read(store, [index for index in range(count) if index not in table.failures], failed=True)
        if len(table.failures) < count:
            raise ShardDone(description, count - len(table.failures))
    elif store:  # what another shard is writing is left alone
        store.tidy()
    failures = tuple(failure for index in range(count) for failure in table.failures[index])
    return Scan(dataset.ids, wanted, specs, table.centres, failures)


@dataclass(frozen=True, eq=False)
class _Table:
    """The centres (N, R, K, 2) of a scan, filled block by block: they are held once, never as blocks and as a table.

    `failures` are those of each finished block.
    """

    centres: NDArray[np.float32]
    block: int
    failures: dict[int, tuple[Skipped, ...]]

    def put(self, index: int, found: Block) -> None:
        """Fill in a finished block."""
        self.centres[index * self.block :][: len(found[0])] = found[0]
        self.failures[index] = found[1]

    def read(self, store: ScanStore | None, indices: Iterable[int], failed: bool = False) -> None:
        """Fill in the finished blocks of a store; unless `failed`, one with failures is tried again: it may have been mended."""
        for index in indices if store is not None else ():
            assert store is not None
            images = min(self.block, len(self.centres) - index * self.block)
            found = store.read(index, (images, *self.centres.shape[1:]))
            if found is not None and (failed or not found[1]):
                self.put(index, found)


Opened = Generator[Callable[[], Image.Image], None, None]


@dataclass(frozen=True)
class _CentresOfBlocks:
    """Makes the worker that computes the centres in blocks of images.

    `opened` is the images of all blocks, decoded ahead across their borders, where this process takes the blocks in order.
    """

    backbone: CarriedBackbone
    specs: tuple[CentreSpec, ...]
    channels: tuple[int, ...]
    chunk: int | None
    on_error: str
    opened: Opened | None

    @property
    def device(self) -> str:
        return self.backbone.device

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "opened": None}

    def __call__(self) -> Worker[Sample, Block]:
        backbone = self.backbone.open()

        def compute(samples: Sequence[Sample], advance: Advance) -> Block:
            opened = self.opened or prepared(samples, open_annotated, backbone.device.type)
            rows: list[NDArray[np.float32]] = []
            failures: list[Skipped] = []
            for sample, take in zip(samples, opened, strict=False):
                try:
                    rows.append(_centres_of(sample, take, backbone, self.specs, self.channels, self.chunk))
                except (ImageError, DatasetError) as error:
                    if self.on_error == "raise":
                        raise
                    rows.append(np.full((len(self.specs), len(self.channels), 2), np.nan, dtype=np.float32))
                    failures.append(Skipped(sample.id, str(error)))
                advance(1)
            if opened is not self.opened:
                opened.close()
            return np.stack(rows), tuple(failures)

        return compute


def open_annotated(sample: Sample) -> Image.Image:
    """Return a sample's picture, upright RGB; an ImageError or DatasetError if it cannot be read or is not the annotated one."""
    image = load_image(sample.image)
    if image.size != tuple(sample.size):
        raise DatasetError(
            f"{sample.image}: the image has {image.width}×{image.height} pixels where the data set states "
            f"{sample.size[0]}×{sample.size[1]}; use the image that was annotated."
        )
    return image


def _centres_of(
    sample: Sample,
    take: Callable[[], Image.Image],
    backbone: Backbone,
    specs: Sequence[CentreSpec],
    channels: Sequence[int],
    chunk: int | None,
) -> NDArray[np.float32]:
    image = take()
    try:
        found = channel_centres(backbone, image, specs, channels=channels, box=sample.box, chunk=chunk)
    except DatasetError as error:
        raise DatasetError(f"{sample.image}: {error}") from error
    return np.asarray(found.numpy(), dtype=np.float32)


def _checked_channels(channels: Sequence[int] | None, count: int) -> NDArray[np.int64]:
    """Return the channel numbers, all by default; a wrong one is found here, before the first image."""
    if channels is None:
        return np.arange(count, dtype=np.int64)
    for channel in channels:
        if channel != int(channel) or not 0 <= channel < count:
            raise OptionError(f"there is no channel {channel}; the layer has {count}, numbered from 0.")
    return np.array([int(channel) for channel in channels], dtype=np.int64)


def warn_of_clipping(dataset: PartDataset) -> None:
    """Warn if boxes of a data set reach over their images and are clipped."""
    clipped = sum(sample.box is not None and clip_box(sample.box, sample.size)[1] for sample in dataset)
    if clipped:
        warnings.warn(
            f"{dataset.name}: {clipped} of {len(dataset)} bounding boxes reached over the border of their images and were "
            "clipped.",
            PartscopeWarning,
            stacklevel=3,
        )


def scan_manifest(
    dataset: PartDataset,
    backbone: Backbone,
    specs: Sequence[CentreSpec],
    channels: NDArray[np.int64],
    block: int,
) -> dict[str, Any]:
    """Return what identifies a scan: a folder that holds another is refused."""
    manifest: dict[str, Any] = {
        "format": 1,
        "data set": dataset.fingerprint(),
        "images": len(dataset),
        "backbone": backbone.content_hash,
        "centres": [spec.as_dict() for spec in specs],
        "channels": channels.tolist(),
        "images per block": block,
    }
    if any(spec.maps != "gradient" for spec in specs):
        manifest["cells"] = [*backbone.cells.start, *backbone.cells.step]
    return manifest
