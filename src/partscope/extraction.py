"""Feature vectors of many views of many images: decoded once, warped in the background, in full network batches, cached.

While the network computes one batch, threads decode the next images and warp their views; at most a few batches wait.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from partscope.backbones.embedding import Embedder
from partscope.dataset import Skipped
from partscope.detectors.queries import Query, check_on_error
from partscope.errors import DatasetError, ImageError, OptionError
from partscope.feature_cache import FeatureCache
from partscope.images import image_size
from partscope.places import read_bytes
from partscope.prefetch import ahead, worker_count
from partscope.progress import track

#: Begins every key, so that another way to compute the vectors can be told apart.
_KEY = b"partscope features 1"

#: Batches of views that are prepared ahead of the network.
_AHEAD = 2


@dataclass(frozen=True, eq=False)
class Views:
    """The regions of one image that go through the network.

    Parameters
    ----------
    query: the image; its box is not looked at.
    boxes: (V, 4) `(x, y, width, height)` in pixels of the upright image, inside it; a row of NaN is missing and gives zeros.
    mirrored: each warped region is flipped left to right. The boxes are still those of the image as it is.
    """

    query: Query
    boxes: NDArray[np.float64]
    mirrored: bool = False


@dataclass(frozen=True, eq=False)
class Extracted:
    """Feature vectors of M of N images.

    Parameters
    ----------
    features: (M, V, D) float32, in the order of the images; zeros for missing views.
    failures: the N − M images that could not be read, with the reason.
    kept: (M,) positions of the images that could.
    """

    features: NDArray[np.float32]
    failures: tuple[Skipped, ...]
    kept: NDArray[np.intp]


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
) -> Extracted:
    """Compute the embedder's vector of every view of every image.

    Equal boxes within one image are computed once. A vector depends on `batch_size`, and on what else is extracted, only
    by the rounding of the network's sums (about 1e-6 of its largest value); the same call gives the same bytes on one
    machine with one number of threads.

    Parameters
    ----------
    views: N images with V boxes each.
    embedder: network up to its last hidden layer.
    cache: where vectors are looked up and kept, an open cache or a file. The key covers the embedder's content hash, the
        content of the image file (or the pixels of an image in memory), the box, and whether it is mirrored. Each batch is
        stored when it is finished, so that a killed run is continued by the same call.
    batch_size: views per pass of the network.
    on_error: `"skip"` leaves out images that cannot be read, or with a box that does not lie in them, and lists them in
        `failures`; `"raise"` stops at the first.
    progress: show a bar with the time left on standard error.
    description: what the bar says.
    workers: threads that decode and warp; chosen per device by default.

    Raises
    ------
    OptionError: `views` differ in their number of boxes or have boxes of a wrong shape, or an option has a wrong value.
    ImageError, DatasetError: with `on_error="raise"`, an image cannot be read or a box does not lie in it.
    PartscopeError: the cache cannot be used. BackboneError: the network fails.
    """
    check_on_error(on_error)
    if batch_size < 1 or (workers is not None and workers < 1):
        raise OptionError(f"batch_size and workers must be at least 1, not {batch_size} and {workers}.")
    count = _common_count(views)
    features = np.zeros((len(views), count, embedder.dimension), dtype=np.float32)
    failures: dict[int, Skipped] = {}
    with contextlib.ExitStack() as stack:
        store = stack.enter_context(FeatureCache(cache)) if isinstance(cache, (str, Path)) else cache
        source = _Source(embedder, store, embedder.content_hash.encode() if store is not None else b"")
        batches = _Batches(embedder, store, batch_size, features)
        depth = max(2, -(-_AHEAD * batch_size // max(count, 1)))
        waiting = ahead(views, source, workers=workers or worker_count(embedder.device.type), depth=depth)
        stack.enter_context(contextlib.closing(waiting))
        for i, future in enumerate(track(waiting, description, total=len(views), enabled=progress)):
            try:
                ready = future.result()
            except (ImageError, DatasetError) as error:
                if on_error == "raise":
                    raise
                failures[i] = Skipped(views[i].query.id, str(error))
                continue
            batches.add(i, ready)
        batches.finish()
    kept = np.array([i for i in range(len(views)) if i not in failures], dtype=np.intp)
    return Extracted(features[kept] if failures else features, tuple(failures.values()), kept)


def _common_count(views: Sequence[Views]) -> int:
    """Return V, after a look at the shape of all boxes: a wrong one is found here, before the first image."""
    counts = set()
    for item in views:
        boxes = np.asarray(item.boxes)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or boxes.dtype.kind not in "fiu":
            raise OptionError(
                f"{item.query.label}: boxes must be numbers of shape (views, 4), not {boxes.dtype} of shape {boxes.shape}."
            )
        missing = np.isnan(boxes)
        if (missing.any(axis=1) & ~missing.all(axis=1)).any():
            raise OptionError(
                f"{item.query.label}: a box is NaN in part; give four numbers, or four NaN for a missing one."
            )
        counts.add(len(boxes))
    if len(counts) > 1:
        raise OptionError(
            f"all images must have the same number of boxes, not {min(counts)} to {max(counts)}; fill up with NaN rows."
        )
    return counts.pop() if counts else 0


@dataclass
class _Ready:
    """The distinct views of one image: those to compute with their pixels, and those that the cache knew."""

    rows: list[list[int]] = field(
        default_factory=list
    )  #: for each distinct view to compute, its places among the V
    pixels: list[NDArray[np.uint8]] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)
    known: list[tuple[list[int], NDArray[np.float32]]] = field(default_factory=list)


@dataclass(frozen=True)
class _Source:
    """What runs in the background: an image's key, a look into the cache, decoding and warping."""

    embedder: Embedder
    store: FeatureCache | None
    embedder_hash: bytes

    def __call__(self, item: Views) -> _Ready:
        places: dict[bytes, list[int]] = {}
        boxes = np.ascontiguousarray(item.boxes, dtype="<f8") + 0.0  # no −0
        for v, box in enumerate(boxes):
            if not np.isnan(box).any():
                places.setdefault(box.tobytes(), []).append(v)
        ready = _Ready()
        if self.store is None:
            keys, known = dict.fromkeys(places, b""), {}
        else:
            content = _content(item.query)
            keys = {
                box: hashlib.sha256(
                    b"\0".join([_KEY, self.embedder_hash, content, box, b"%d" % item.mirrored])
                ).digest()
                for box in places
            }
            known = self.store.get_many(list(keys.values()), self.embedder.dimension)
        if places and len(known) == len(places):
            _check_size(item.query)
        else:
            self._warp(item, places, keys, known, ready)
        ready.known = [(places[box], known[key]) for box, key in keys.items() if key in known]
        return ready

    def _warp(
        self,
        item: Views,
        places: dict[bytes, list[int]],
        keys: dict[bytes, bytes],
        known: dict[bytes, NDArray[np.float32]],
        ready: _Ready,
    ) -> None:
        image = item.query.open()
        for raw, rows in places.items():
            if keys[raw] in known:
                continue
            x, y, width, height = np.frombuffer(raw, dtype="<f8").tolist()
            try:
                pixels = self.embedder.preprocessing.warped(image, (x, y, width, height))
            except DatasetError as error:
                raise DatasetError(f"{item.query.label}: {error}") from error
            ready.rows.append(rows)
            ready.pixels.append(pixels[:, ::-1] if item.mirrored else pixels)
            ready.keys.append(keys[raw])


def _content(query: Query) -> bytes:
    """Return the SHA-256 of an image file's bytes, or of size and pixels of an image in memory."""
    if isinstance(query.source, (str, Path)):
        try:
            return hashlib.sha256(read_bytes(query.source)).digest()
        except OSError:
            # The message that names the cause is the decoder's.
            query.open()
            raise
    image = query.open()
    return hashlib.sha256(b"pixels %d %d " % image.size + image.tobytes()).digest()


def _check_size(query: Query) -> None:
    """Make sure, without decoding, that an image whose vectors are known has the size that its data set states."""
    if query.size is None or not isinstance(query.source, (str, Path)):
        return
    if image_size(Path(query.source)) != tuple(query.size):
        query.open()  # says so


class _Batches:
    """Collects views over images into full batches, runs them, and files the vectors."""

    def __init__(
        self, embedder: Embedder, store: FeatureCache | None, batch_size: int, features: NDArray[np.float32]
    ) -> None:
        self._embedder, self._store, self._size, self._features = embedder, store, batch_size, features
        self._waiting: deque[tuple[int, list[int], NDArray[np.uint8], bytes]] = deque()

    def add(self, i: int, ready: _Ready) -> None:
        """Take the views of image i and run every batch that is full."""
        for rows, vector in ready.known:
            self._features[i, rows] = vector
        for rows, pixels, key in zip(ready.rows, ready.pixels, ready.keys, strict=True):
            self._waiting.append((i, rows, pixels, key))
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
