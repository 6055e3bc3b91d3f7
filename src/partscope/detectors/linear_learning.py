"""What `fit` and `partial_fit` of the linear detector share: from a data set to statistics and held-out evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import numpy as np
from numpy.typing import NDArray

from partscope.dataset import PartDataset, Skipped
from partscope.detectors.linear_reading import Reading, read_features
from partscope.errors import DatasetError
from partscope.grids import FeatureGrids
from partscope.linear.collection import Collector, kept_images
from partscope.linear.discriminant import Discriminants
from partscope.linear.mirroring import MirrorMap, MirrorSums
from partscope.linear.record import TrainingRecord
from partscope.linear.shrinkage import FOLDS, HeldImage, choose_shrinkage, evidence_maps
from partscope.linear.statistics import Statistics


@dataclass(frozen=True, eq=False)
class Learned:
    """What one pass over images has given.

    Parameters
    ----------
    statistics: of all images.
    mirror_sums: what mirroring does to the features.
    record: annotation and held-out evidence.
    shrinkage: the chosen value, or the only candidate.
    errors: held-out error of each value that was tried.
    skipped: images that could not be read.
    held: the images whose features were kept, in the order of the record's evidence.
    """

    statistics: Statistics
    mirror_sums: MirrorSums
    record: TrainingRecord
    shrinkage: float
    errors: dict[float, float]
    skipped: tuple[Skipped, ...]
    held: list[HeldImage]


def learn(
    dataset: PartDataset,
    grids: FeatureGrids,
    region: str,
    *,
    flips: str,
    memory: int,
    candidates: Sequence[float],
    known: Discriminants | None = None,
    on_error: str = "raise",
    progress: bool = False,
) -> Learned:
    """Read images once and return their statistics and held-out evidence.

    Parameters
    ----------
    region: what the network sees, see :mod:`partscope.views`; "mask" as "image".
    flips: how mirror images are learned from, see :mod:`partscope.linear.collection`.
    memory: bytes of features that may be kept for held-out evidence.
    candidates: shrinkages to choose from.
    known: discriminants of other images, which give the held-out evidence; by default groups of images are left out in
        turn.

    Raises
    ------
    ImageError, DatasetError: with `on_error="raise"`, an image cannot be read, or in the region "crop" a visible part lies
        farther outside the box than the box is large; or none could be used.
    """
    folds = 1 if known is not None else max(1, min(FOLDS, len(dataset)))
    collector = Collector(grids, len(dataset.parts), folds)
    skipped: list[Skipped] = []
    read: list[int] = []
    found = read_features(
        dataset,
        Reading(grids, region, dataset.mirror, flips, on_error),
        _lengths(dataset),
        kept_images(grids, len(dataset), folds, memory),
        progress=progress,
    )
    for i, image in enumerate(found):
        if isinstance(image, Skipped):
            skipped.append(image)
        else:
            collector.add(image)
            read.append(i)
    if not read:
        raise DatasetError(
            f"{dataset.name}: not one training image could be used; the first: {skipped[0].reason}"
        )
    collector.finish()
    statistics = reduce(add, collector.statistics)
    used = dataset[read]
    sums = collector.mirror_sums
    if known is None:
        mirroring = MirrorMap.of(sums, grids)
        groups = [with_mirrored(part, mirroring, flips, dataset.mirror) for part in collector.statistics]
        choice = choose_shrinkage(grids, groups, collector.held, candidates)
        record = TrainingRecord.of(used, choice.indices, choice.evidence)
        held_images = collector.held if len(choice.indices) else []
        return Learned(statistics, sums, record, choice.shrinkage, choice.errors, tuple(skipped), held_images)
    indices = np.array([image.index for image in collector.held], dtype=np.intp)
    rows, columns = grids.grid
    evidence = np.zeros((len(indices), len(dataset.parts), rows, columns), dtype=np.float32)
    for row, held in enumerate(collector.held):
        evidence[row] = evidence_maps(grids, held.maps, known)
    record = TrainingRecord.of(used, indices, evidence)
    return Learned(statistics, sums, record, candidates[0], {}, tuple(skipped), collector.held)


def with_mirrored(
    statistics: Statistics, mirroring: MirrorMap | None, flips: str, mirror: NDArray[np.intp]
) -> Statistics:
    """Return statistics with those of the mirror images added, where the mirror map stands for their passes."""
    if flips != "mapped" or mirroring is None:
        return statistics
    return statistics + mirroring.statistics(statistics, mirror)


def _lengths(dataset: PartDataset) -> NDArray[np.float64]:
    """Return what errors are divided by, in pixels: the diagonal of the box, or of the image where there is no box."""
    boxes = np.linalg.norm(dataset.boxes[:, 2:], axis=1)
    return np.asarray(np.where(np.isfinite(boxes), boxes, np.linalg.norm(dataset.sizes, axis=1)))
