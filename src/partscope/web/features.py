"""The network's features of each picture, computed once: what makes a second *Find parts* fast.

`RememberingGrids` stands in for :class:`partscope.grids.FeatureGrids` and looks a network input up before it runs the
network. It also counts what it does, and stops where it is told to: this is how a job shows its progress and is cancelled.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load, save
from torch import Tensor

from partscope.backbones import Backbone
from partscope.detectors import LinearDetector
from partscope.grids import FeatureGrids
from partscope.linear.shrinkage import compact
from partscope.web.kept_files import KeptFiles

_D = TypeVar("_D", bound="FolderDetector")


@dataclass
class Peaks:
    """Where each channel answers most strongly in each picture that was looked at.

    Parameters
    ----------
    layers: names of the layers, whose channels stand in this order, with the number of each.
    values: by picture, (K,) the largest activation of each channel.
    places: by picture, (K, 2) `(x, y)` of the cell's centre as shares of the picture's width and height.
    """

    layers: list[tuple[str, int]] = field(default_factory=list)
    values: dict[str, NDArray[np.float16]] = field(default_factory=dict)
    places: dict[str, NDArray[np.float16]] = field(default_factory=dict)

    def note(self, id: str, grids: FeatureGrids, maps: list[Tensor]) -> None:
        """Note the peaks of a picture."""
        layers = [(name, shape[0]) for name, shape in zip(grids.layers, grids.shapes, strict=True)]
        if layers != self.layers:
            self.layers, self.values, self.places = layers, {}, {}
        values, places = [], []
        for features in maps:
            top, index = features.float().flatten(1).max(dim=1)
            rows, columns = features.shape[1:]
            y, x = torch.div(index, columns, rounding_mode="floor"), index % columns
            values.append(top)
            places.append(torch.stack([(x + 0.5) / columns, (y + 0.5) / rows], dim=1))
        limit = float(np.finfo(np.float16).max)
        self.values[id] = torch.cat(values).clamp(-limit, limit).cpu().numpy().astype(np.float16)
        self.places[id] = torch.cat(places).cpu().numpy().astype(np.float16)

    def column(self, layer: str, channel: int) -> int | None:
        """Return the position of a channel among all, or None where there is no such channel."""
        start = 0
        for name, count in self.layers:
            if name == layer:
                return start + channel if 0 <= channel < count else None
            start += count
        return None

    def named(self, column: int) -> tuple[str, int]:
        """Return layer and number of the channel at a position among all."""
        for name, count in self.layers:
            if column < count:
                return name, column
            column -= count
        raise IndexError(column)


class FeatureStore:
    """Features by network input, on disk, and the peaks of channels, in memory.

    Parameters
    ----------
    kept: where the features are kept.

    Attributes
    ----------
    turn: held while the network runs; its hooks are not made for two threads at once.
    before: called before each input is looked up; may raise to stop.
    about: the picture that the next input is of, whose peaks are noted; None for none.
    passes, found: how often the network ran, and how often it did not need to.
    """

    def __init__(self, kept: KeptFiles) -> None:
        self.kept = kept
        self.turn = threading.RLock()
        self.before: Callable[[], None] = lambda: None
        self.about: str | None = None
        self.peaks = Peaks()
        self.passes = self.found = 0


@dataclass(frozen=True, eq=False)
class RememberingGrids(FeatureGrids):
    """Feature grids that keep what they have computed, in half precision.

    What is kept is also what is returned the first time, so that it makes no difference whether a picture was seen before.
    """

    store: FeatureStore = field(default_factory=lambda: _no_store(), repr=False)
    signature: str = ""

    def __call__(self, inputs: Tensor) -> list[Tensor]:
        """Return each layer's map (N, K_l, h_l, w_l), as :class:`FeatureGrids`."""
        store = self.store
        rows = []
        for one in inputs:
            store.before()
            key = self._key(one)
            maps = self._kept(key)
            if maps is None:
                with store.turn:
                    maps = compact([features[0] for features in super().__call__(one[None])])
                    store.passes += 1
                names = {f"{i}": features.contiguous() for i, features in enumerate(maps)}
                store.kept.put(key, save(names))
            else:
                store.found += 1
            if store.about is not None:
                store.peaks.note(store.about, self, maps)
            rows.append([features.float() for features in maps])
        return [torch.stack(layer) for layer in zip(*rows, strict=True)]

    def _key(self, one: Tensor) -> str:
        digest = hashlib.blake2b(self.signature.encode(), digest_size=20)
        digest.update(one.contiguous().cpu().numpy().tobytes())
        return digest.hexdigest()

    def _kept(self, key: str) -> list[Tensor] | None:
        data = self.store.kept.get(key)
        if data is None:
            return None
        try:
            tensors = load(data)
            maps = [tensors[f"{i}"] for i in range(len(self.layers))]
        except Exception:  # a damaged file is computed anew, whatever the damage leads the reader to
            return None
        shapes = [tuple(features.shape) for features in maps]
        return maps if shapes == [tuple(shape) for shape in self.shapes] else None


def _no_store() -> FeatureStore:
    raise TypeError("RememberingGrids needs a store")


class FolderDetector(LinearDetector):
    """A linear detector whose features come from a store; its model files are those of any linear detector."""

    store_: FeatureStore

    @classmethod
    def with_store(cls: type[_D], store: FeatureStore, **options: object) -> _D:
        """Return an unfitted detector."""
        detector = cls(**options)  # type: ignore[arg-type]
        detector.store_ = store
        return detector

    @classmethod
    def from_fitted(cls: type[_D], fitted: LinearDetector, store: FeatureStore) -> _D:
        """Return a fitted detector that goes on learning with the store."""
        detector = cls.with_store(store, **fitted.get_params(deep=False))
        detector.__dict__.update(fitted.__dict__)
        detector.store_ = store
        detector.grids_ = detector._remembering(fitted.grids_)
        return detector

    def _make_grids(self, backbone: Backbone) -> FeatureGrids:
        return self._remembering(super()._make_grids(backbone))

    def _remembering(self, grids: FeatureGrids) -> RememberingGrids:
        backbone = grids.backbone
        facts = (backbone.content_hash, grids.layers, grids.scales, backbone.input_size)
        return RememberingGrids(
            backbone,
            grids.layers,
            grids.context,
            grids.reach,
            grids.scales,
            store=self.store_,
            signature=repr(facts),
        )
