"""Feature vectors of many views of many images, in fixed blocks, on whatever engine is in use."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partscope.backbones.carried import CarriedEmbedder
from partscope.backbones.embedding import Embedder
from partscope.dataset import Skipped
from partscope.detectors.queries import check_on_error
from partscope.engine import Block, Engine, current_engine
from partscope.errors import DatasetError, ImageError, OptionError
from partscope.extraction.blocks import FeaturesOfBlocks, images_per_block, warped_ahead
from partscope.extraction.lookup import Asked, Lookup
from partscope.extraction.views import Extracted, Views, common_count
from partscope.feature_cache import FeatureCache
from partscope.prefetch import ahead, worker_count
from partscope.progress import progress_bar


def extract(
    views: Sequence[Views],
    embedder: Embedder,
    *,
    cache: FeatureCache | str | Path | None = None,
    batch_size: int = 32,
    on_error: str = "raise",
    progress: bool = False,
    description: str = "features",
    workers: int | None = None,
    positions: Sequence[int] | NDArray[np.intp] | None = None,
    engine: Engine | None = None,
) -> Extracted:
    """Compute the embedder's vector of every view of every image.

    Equal boxes within one image are computed once. Images go through in fixed blocks (:func:`images_per_block`), and no batch
    of the network crosses their borders, so that the same call gives the same bytes on one kind of machine with one number of
    threads, on every engine, and after a kill. On what else is extracted, and on `batch_size`, a vector depends only by the
    rounding of the network's sums (about 1e-6 of its largest value).

    Parameters
    ----------
    views: N images with V boxes each.
    embedder: network up to its last hidden layer.
    cache: where vectors are looked up and kept, an open cache or a file. The key covers the embedder's content hash, the
        content of the image file (or the pixels of an image in memory), the box, and whether it is mirrored. Each batch is
        stored when it is finished, on another engine each block, so that a killed run is continued by the same call. This
        process alone uses the cache, also where the vectors are computed elsewhere.
    batch_size: views per pass of the network.
    on_error: `"skip"` leaves out images that cannot be read, or with a box that does not lie in them, and lists them in
        `failures`; `"raise"` stops at the first.
    progress: show a bar with the time left on standard error.
    description: what the bar says.
    workers: threads that decode and warp; chosen per device by default.
    positions: the images' places in the whole, ascending, by which they are cut into blocks; 0, 1, 2, … by default.
    engine: where blocks are computed; by default that of the surrounding :func:`partscope.use_engine`, or this process.

    Raises
    ------
    OptionError: `views` differ in their number of boxes or have boxes of a wrong shape, or an option has a wrong value.
    ImageError, DatasetError: with `on_error="raise"`, an image cannot be read or a box does not lie in it.
    PartscopeError: the cache cannot be used. BackboneError: the network fails.
    EngineError: blocks failed, or the engine cannot be used; finished blocks are kept in the cache.
    """
    check_on_error(on_error)
    if batch_size < 1 or (workers is not None and workers < 1):
        raise OptionError(f"batch_size and workers must be at least 1, not {batch_size} and {workers}.")
    count = common_count(views)
    features = np.zeros((len(views), count, embedder.dimension), dtype=np.float32)
    engine = engine or current_engine()
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(FeatureCache(cache)) if isinstance(cache, (str, Path)) else cache
        lookup = Lookup(embedder, store)
        asked: dict[int, Asked] = {}
        failures: dict[int, str] = {}
        ready = None
        if engine.name == "local":
            ready = warped_ahead(views, embedder, lookup, batch_size, workers)
            stack.enter_context(contextlib.closing(ready))
        elif store is not None:
            asked, failures = _looked_up(
                views, lookup, on_error, workers or worker_count(embedder.device.type)
            )
        waiting = [
            i for i in range(len(views)) if i not in failures and not (i in asked and asked[i].finished)
        ]
        size = images_per_block(count, batch_size)
        work, rows_of = _blocks(views, waiting, positions, size, asked)
        task = FeaturesOfBlocks(CarriedEmbedder(embedder), batch_size, on_error, workers, ready, store)
        for i, one in asked.items():
            for box, vector in one.known.items():
                features[i, one.places[box]] = vector
        done = len(views) - len(waiting)
        with progress_bar(description, total=len(views), done=done, enabled=progress) as advance:
            for index, (rows, lost) in engine.map_blocks(task, work, advance):
                for j, i in enumerate(rows_of[index]):
                    if j in lost:
                        failures[i] = lost[j]
                    elif i not in asked:
                        features[i] = rows[j]
                    else:
                        for box in asked[i].waiting:
                            features[i, asked[i].places[box]] = rows[j, asked[i].places[box][0]]
                if asked and store is not None:
                    store.put_many(_computed([asked[i] for i in rows_of[index]], rows, lost))
    kept = np.array([i for i in range(len(views)) if i not in failures], dtype=np.intp)
    skipped = tuple(Skipped(views[i].query.id, failures[i]) for i in sorted(failures))
    return Extracted(features[kept] if failures else features, skipped, kept)


def _looked_up(
    views: Sequence[Views], lookup: Lookup, on_error: str, threads: int
) -> tuple[dict[int, Asked], dict[int, str]]:
    """Return what the cache knows of each image, and the images that cannot be read: no other machine has the cache."""
    asked: dict[int, Asked] = {}
    failures: dict[int, str] = {}
    with contextlib.closing(ahead(views, lookup, workers=threads, depth=2 * threads)) as answers:
        for i, answer in enumerate(answers):
            try:
                asked[i] = answer.result()
            except (ImageError, DatasetError) as error:
                if on_error == "raise":
                    raise
                failures[i] = str(error)
    return asked, failures


def _blocks(
    views: Sequence[Views],
    rows: Sequence[int],
    positions: Sequence[int] | NDArray[np.intp] | None,
    size: int,
    asked: dict[int, Asked],
) -> tuple[list[Block[Views]], dict[int, list[int]]]:
    """Return the blocks in which something is to be computed, without what is known, and the rows of each."""
    rows_of: dict[int, list[int]] = {}
    for i in rows:
        rows_of.setdefault(int(i if positions is None else positions[i]) // size, []).append(i)
    blocks = []
    for index, members in rows_of.items():
        first, last = (views[i].query.label for i in (members[0], members[-1]))
        items = [_without(views[i], asked[i]) if i in asked else views[i] for i in members]
        blocks.append(Block(index, items, f"block {index} ({first} to {last})"))
    return blocks, rows_of


def _without(item: Views, asked: Asked) -> Views:
    """Return the views that are to be computed; those whose vectors are known are missing, as a part can be."""
    boxes = np.array(item.boxes, dtype=np.float64)
    boxes[[v for box in asked.known for v in asked.places[box]]] = np.nan
    return dataclasses.replace(item, boxes=boxes)


def _computed(
    asked: Sequence[Asked], rows: NDArray[np.float32], lost: dict[int, str]
) -> dict[bytes, NDArray[np.float32]]:
    """Return the vectors of a finished block by their keys."""
    return {
        one.keys[box]: rows[j, one.places[box][0]]
        for j, one in enumerate(asked)
        if j not in lost
        for box in one.waiting
    }
