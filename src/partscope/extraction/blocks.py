"""The vectors of blocks of images, here or on another machine: views are warped in threads while the network runs."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Generator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from partscope.backbones.carried import CarriedEmbedder
from partscope.backbones.embedding import Embedder
from partscope.engine import Advance, Worker
from partscope.errors import DatasetError, ImageError
from partscope.extraction.lookup import Asked, Lookup
from partscope.extraction.views import Views
from partscope.feature_cache import FeatureCache
from partscope.prefetch import ahead, worker_count

#: Batches of views that are prepared ahead of the network.
_AHEAD = 2

#: Vectors (n, V, D) of a block's n images, and by its place in the block why an image has none.
Rows = tuple[NDArray[np.float32], dict[int, str]]
Ready = Generator[Future["Warped"], None, None]


def images_per_block(views: int, batch_size: int) -> int:
    """Return how many images of so many views make a block: a few batches, so that the last one of a block may be short."""
    return max(8, -(-2 * batch_size // max(views, 1)))


@dataclass(frozen=True, eq=False)
class Warped:
    """The views of one image: what was asked, and the pixels (S, S, 3) of those that are to be computed."""

    asked: Asked
    pixels: list[NDArray[np.uint8]]


@dataclass(frozen=True)
class _Warping:
    """What runs in the background: a look into the cache, decoding and warping."""

    embedder: Embedder
    lookup: Lookup

    def __call__(self, item: Views) -> Warped:
        asked = self.lookup(item)
        if asked.finished:
            return Warped(asked, [])
        image = item.query.open()
        pixels = []
        for raw in asked.waiting:
            x, y, width, height = np.frombuffer(raw, dtype="<f8").tolist()
            try:
                warped = self.embedder.preprocessing.warped(image, (x, y, width, height))
            except DatasetError as error:
                raise DatasetError(f"{item.query.label}: {error}") from error
            pixels.append(warped[:, ::-1] if item.mirrored else warped)
        return Warped(asked, pixels)


def warped_ahead(
    views: Sequence[Views], embedder: Embedder, lookup: Lookup, batch_size: int, workers: int | None
) -> Ready:
    """Yield the warped views of each image in order, prepared in threads while the network computes."""
    count = len(views[0].boxes) if views else 0
    depth = max(2, -(-_AHEAD * batch_size // max(count, 1)))
    threads = workers or worker_count(embedder.device.type)
    return ahead(views, _Warping(embedder, lookup), workers=threads, depth=depth)


@dataclass(frozen=True)
class FeaturesOfBlocks:
    """Makes the worker that computes the vectors of blocks of images.

    `ready` is the views of all blocks, warped ahead across their borders, and `store` the cache that takes each batch as it
    is finished, where this process takes the blocks in order.
    """

    embedder: CarriedEmbedder
    batch_size: int
    on_error: str
    workers: int | None
    ready: Ready | None
    store: FeatureCache | None

    @property
    def device(self) -> str:
        return self.embedder.device

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "ready": None, "store": None}

    def __call__(self) -> Worker[Views, Rows]:
        embedder = self.embedder.open()
        lookup = Lookup(embedder, None)

        def compute(items: Sequence[Views], advance: Advance) -> Rows:
            rows = np.zeros((len(items), len(items[0].boxes), embedder.dimension), dtype=np.float32)
            failures: dict[int, str] = {}
            batches = _Batches(embedder, self.store, self.batch_size, rows)
            with contextlib.ExitStack() as stack:
                ready = self.ready
                if ready is None:
                    ready = warped_ahead(items, embedder, lookup, self.batch_size, self.workers)
                    stack.enter_context(contextlib.closing(ready))
                for i, (_, future) in enumerate(zip(items, ready, strict=False)):
                    try:
                        batches.add(i, future.result())
                    except (ImageError, DatasetError) as error:
                        if self.on_error == "raise":
                            raise
                        failures[i] = str(error)
                    advance(1)
                batches.finish()
            return rows, failures

        return compute


class _Batches:
    """Collects views over images into full batches, runs them, and files the vectors."""

    def __init__(
        self, embedder: Embedder, store: FeatureCache | None, batch_size: int, features: NDArray[np.float32]
    ) -> None:
        self._embedder, self._store, self._size, self._features = embedder, store, batch_size, features
        self._waiting: deque[tuple[int, list[int], NDArray[np.uint8], bytes]] = deque()

    def add(self, i: int, one: Warped) -> None:
        """Take the views of image i and run every batch that is full."""
        asked = one.asked
        for box, vector in asked.known.items():
            self._features[i, asked.places[box]] = vector
        for box, pixels in zip(asked.waiting, one.pixels, strict=True):
            self._waiting.append((i, asked.places[box], pixels, asked.keys.get(box, b"")))
        while len(self._waiting) >= self._size:
            self._run(self._size)

    def finish(self) -> None:
        """Run what is left."""
        if self._waiting:
            self._run(len(self._waiting))

    def _run(self, count: int) -> None:
        batch = [self._waiting.popleft() for _ in range(count)]
        pixels = torch.from_numpy(np.stack([pixels for _, _, pixels, _ in batch]))
        # 8-bit pixels are a quarter of what would otherwise travel to a graphics card.
        inputs = self._embedder.preprocessing.normalised(pixels.to(self._embedder.device))
        vectors = self._embedder(inputs).cpu().numpy()
        for (i, rows, _, _), vector in zip(batch, vectors, strict=True):
            self._features[i, rows] = vector
        if self._store is not None:
            self._store.put_many({key: vector for (_, _, _, key), vector in zip(batch, vectors, strict=True)})
