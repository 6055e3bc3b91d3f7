"""Held-out evidence maps of training images: what every spatial model of the comparison learns from and is measured on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partscope.atomic import atomic_path
from partscope.dataset import PartDataset
from partscope.detectors import LinearDetector

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Pixels of the network's input: fewer than by default, since the models' cost grows with the cells and their order hardly
#: depends on them.
INPUT_SIZE = 320


@dataclass(frozen=True, eq=False)
class Evidence:
    """N training images.

    Parameters
    ----------
    points: (N, P, 2) in [0, 1] of the image, NaN where not visible.
    visible: (N, P).
    sizes: (N, 2) width and height in pixels.
    diagonals: (N,) box diagonals in pixels: what errors are divided by.
    mirror: (P,) the part that each part becomes in a mirrored image.
    maps: (N, P, h, w) float32; those of an image are by discriminants that have not seen it.
    parts: names of the parts.
    """

    points: FloatArray
    visible: BoolArray
    sizes: FloatArray
    diagonals: FloatArray
    mirror: NDArray[np.intp]
    maps: NDArray[np.float32]
    parts: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.points)

    def __getitem__(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> Evidence:
        return Evidence(
            self.points[chosen],
            self.visible[chosen],
            self.sizes[chosen],
            self.diagonals[chosen],
            self.mirror,
            self.maps[chosen],
            self.parts,
        )

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Left and right part of each pair."""
        return [(i, int(j)) for i, j in enumerate(self.mirror) if i < j]


def evidence_of(data: PartDataset, cache: Path | None) -> Evidence:
    """Return the evidence of a data set, from `cache` where it holds that of the same images.

    The linear detector's own cross-validation makes it: groups of images are left out in turn.
    """
    stored = None
    if cache is not None and cache.exists():
        with np.load(cache) as archive:
            if archive["ids"].tolist() == list(data.ids):
                stored = archive["maps"]
    if stored is None:
        detector = LinearDetector(arrangement="none", input_size=INPUT_SIZE, memory=1 << 33).fit(data)
        if not detector.record_.held.all():
            raise SystemExit(
                "there is not enough memory to leave out every image; use --images with a smaller number"
            )
        stored = detector.record_.evidence
        if cache is not None:
            with atomic_path(cache) as path:
                np.savez(path, ids=np.array(data.ids), maps=stored)
    return Evidence(
        data.points / data.sizes[:, None],
        data.visible,
        data.sizes.astype(np.float64),
        np.linalg.norm(data.boxes[:, 2:], axis=1),
        data.mirror,
        stored.astype(np.float32),
        data.parts,
    )
