"""Feature grids that are computed once and kept, so that many fits over the same images cost one forward pass an image.

`memo_detector(Memo(folder))` returns a class that does what `LinearDetector` does, bit for bit: a layer's map is kept in
float32 and in the order in memory that the network gave it (on request in float16, which is not bit for bit). With a folder
every input has a file there, which other processes use too; without one the maps stay in memory.
"""

from __future__ import annotations

import copy
import hashlib
import os
import tempfile
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from partscope.backbones import Backbone
from partscope.detectors import LinearDetector
from partscope.grids import FeatureGrids


class Memo:
    """Maps by input.

    Parameters
    ----------
    folder: where each input's maps are a file; in memory by default.
    half: keep float16.
    """

    def __init__(self, folder: Path | None = None, half: bool = False) -> None:
        self.folder = folder
        self.half = half
        self.passes = 0
        self._kept: dict[str, dict[str, Tensor]] = {}
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)

    def read(self, key: str) -> dict[str, Tensor] | None:
        if self.folder is None:
            return self._kept.get(key)
        file = self.folder / f"{key}.safetensors"
        return load_file(file) if file.exists() else None

    def write(self, key: str, maps: dict[str, Tensor]) -> None:
        if self.folder is None:
            self._kept[key] = maps
            return
        # Under a name of its own first: another process may be at the same input.
        handle, name = tempfile.mkstemp(dir=self.folder)
        os.close(handle)
        save_file(maps, name)
        os.replace(name, self.folder / f"{key}.safetensors")


@dataclass(frozen=True, eq=False)
class MemoGrids(FeatureGrids):
    """Grids whose maps are looked up; what is not known yet is computed by `FeatureGrids` and kept."""

    memo: Memo = field(default_factory=Memo)

    @classmethod
    def around(cls, grids: FeatureGrids, memo: Memo) -> MemoGrids:
        same = {item.name: getattr(grids, item.name) for item in fields(grids) if item.init}
        return cls(**{**same, "memo": memo})

    def __call__(self, inputs: Tensor) -> list[Tensor]:
        keys = [self._key(picture) for picture in inputs]
        known = [self.memo.read(key) for key in keys]
        missing = [i for i, maps in enumerate(known) if maps is None]
        if missing:
            self.memo.passes += len(missing)
            computed = super().__call__(inputs[missing])
            for row, i in enumerate(missing):
                known[i] = {
                    f"{number} {_order(features)}": self._kept(_stored(features[row : row + 1]))
                    for number, features in enumerate(computed)
                }
                self.memo.write(keys[i], known[i])  # type: ignore[arg-type]
        layers = []
        for number in range(len(self.layers)):
            rows = []
            for maps in known:
                assert maps is not None
                (name,) = (name for name in maps if name.startswith(f"{number} "))
                rows.append(_restored(maps[name].float(), name.endswith("last")))
            layers.append(rows[0] if len(rows) == 1 else torch.cat(rows))
        return layers

    def _kept(self, features: Tensor) -> Tensor:
        return features.half() if self.memo.half else features

    @cached_property
    def _network(self) -> str:
        # Hashing the weights for every picture would cost as much as a small network's pass.
        return self.backbone.content_hash

    def _key(self, picture: Tensor) -> str:
        facts = (self._network, self.layers, tuple(picture.shape), self.memo.half)
        digest = hashlib.sha256(repr(facts).encode())
        digest.update(picture.contiguous().numpy().tobytes())
        return digest.hexdigest()


def _order(features: Tensor) -> str:
    """Which of channels and places is the inner one in memory: results of matrix products depend on it in the last bit."""
    last = features.is_contiguous(memory_format=torch.channels_last) and not features.is_contiguous()
    return "channels last" if last else "channels first"


def _stored(features: Tensor) -> Tensor:
    """One picture's map (1, K, h, w), contiguous in its own order."""
    plain = features.permute(0, 2, 3, 1) if _order(features).endswith("last") else features
    return plain.contiguous().clone()


def _restored(stored: Tensor, channels_last: bool) -> Tensor:
    return stored.permute(0, 3, 1, 2) if channels_last else stored


def memo_detector(memo: Memo) -> type[LinearDetector]:
    """Return a `LinearDetector` whose grids are looked up in `memo`."""

    class Remembering(LinearDetector):
        store: ClassVar[Memo] = memo

        def _make_grids(self, backbone: Backbone) -> FeatureGrids:
            return MemoGrids.around(super()._make_grids(backbone), self.store)

    return Remembering


def without_arrangement(detector: LinearDetector) -> LinearDetector:
    """The same discriminants, each part placed by its own evidence: what a fit with `arrangement="none"` gives."""
    plain = copy.copy(detector)
    plain.arrangement = "none"
    plain.arrangement_ = None
    return plain
