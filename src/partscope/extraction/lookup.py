"""Vectors that are known already: what a view's vector depends on, as a key, and the look into the cache."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partscope.backbones.embedding import Embedder
from partscope.detectors.queries import Query
from partscope.extraction.views import Views
from partscope.feature_cache import FeatureCache
from partscope.images import image_size
from partscope.places import read_bytes

#: Begins every key, so that another way to compute the vectors can be told apart.
_KEY = b"partscope features 1"


@dataclass(frozen=True, eq=False)
class Asked:
    """The distinct boxes of one image, each as its bytes.

    Parameters
    ----------
    places: of each box its places among the V views.
    keys: of each box its key in the cache; none without a cache.
    known: vectors (D,) that the cache has, by box.
    """

    places: dict[bytes, list[int]]
    keys: dict[bytes, bytes]
    known: dict[bytes, NDArray[np.float32]]

    @property
    def waiting(self) -> list[bytes]:
        """The boxes whose vectors are to be computed."""
        return [box for box in self.places if box not in self.known]

    @property
    def finished(self) -> bool:
        """Whether all is known. An image without any view is not: somebody must see whether it can be read."""
        return bool(self.places) and not self.waiting


class Lookup:
    """Asks a cache for the vectors of an image's views; called in threads.

    Parameters
    ----------
    embedder: whose vectors are wanted.
    store: the cache; None for none, and every view is to be computed then.
    """

    def __init__(self, embedder: Embedder, store: FeatureCache | None) -> None:
        self._store, self._hash, self._dimension = store, b"", 0
        if store is not None:
            self._hash, self._dimension = embedder.content_hash.encode(), embedder.dimension

    def __call__(self, item: Views) -> Asked:
        """Return what is known of an image's views; an ImageError or DatasetError if the image cannot be used."""
        places: dict[bytes, list[int]] = {}
        boxes = np.ascontiguousarray(item.boxes, dtype="<f8") + 0.0  # no −0
        for v, box in enumerate(boxes):
            if not np.isnan(box).any():
                places.setdefault(box.tobytes(), []).append(v)
        if self._store is None:
            return Asked(places, {}, {})
        content = _content(item.query)
        keys = {
            box: hashlib.sha256(b"\0".join([_KEY, self._hash, content, box, b"%d" % item.mirrored])).digest()
            for box in places
        }
        stored = self._store.get_many(list(keys.values()), self._dimension)
        known = {box: stored[key] for box, key in keys.items() if key in stored}
        if places and len(known) == len(places):
            _check_size(item.query)
        return Asked(places, keys, known)


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
