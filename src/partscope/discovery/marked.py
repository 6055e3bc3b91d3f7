"""From a handful of marked images to names for discovered parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from partscope.dataset import PartDataset, Skipped
from partscope.detectors.queries import Query, with_usable_boxes
from partscope.discovery.naming import Naming
from partscope.discovery.places import PlaceMap
from partscope.errors import DatasetError, ImageError
from partscope.progress import track

if TYPE_CHECKING:
    from partscope.discovery.detector import PartDiscovery


def learn_naming(
    detector: PartDiscovery, marked: PartDataset, *, on_error: str, progress: bool
) -> tuple[Naming, PartDataset, tuple[Skipped, ...]]:
    """Return what makes named parts of a detector's discovered ones, the images it was learned from, and those left out.

    The network runs on each image and on its mirror image.

    Parameters and errors as of :meth:`PartDiscovery.name_parts`.
    """
    usable, without = with_usable_boxes(marked, detector.needs_box, on_error)
    read: list[int] = []
    unread: list[Skipped] = []
    centres: list[NDArray[np.float64]] = []
    at_parts: list[NDArray[np.float32]] = []
    in_mirror: list[NDArray[np.float32]] = []
    grids, mirror = detector.grids_, usable.mirror
    for i, sample in enumerate(track(usable, "name", total=len(usable), enabled=progress)):
        try:
            image = Query.of(sample).open()
        except (ImageError, DatasetError) as error:
            if on_error == "raise":
                raise
            unread.append(Skipped(sample.id, str(error)))
            continue
        read.append(i)
        seen, maps = detector.features(image)
        centres.append(detector.centres(maps, seen, sample.box)[0])
        shares = np.where(sample.visible[:, None], sample.points / np.array(seen.extent), 0.5)
        at_parts.append(grids.sample(maps, shares))
        flipped = [features[0] for features in grids(seen.inputs.flip(-1)[None])]
        in_mirror.append(grids.sample(flipped, np.stack([1 - shares[mirror, 0], shares[mirror, 1]], axis=1)))
    used = usable[np.array(read, dtype=np.intp)]
    if not len(used) or not used.visible.any():
        raise DatasetError(
            f"{marked.name}: no part is visible in any image to name parts from; mark at least one image."
        )
    places = PlaceMap.fit(np.array(centres), used.sizes.astype(np.float64), used.points, mirror)
    visible = np.concatenate([used.visible, used.visible[:, mirror]])
    naming = Naming.fit(detector.base_, places, visible, np.stack([*at_parts, *in_mirror]))
    return naming, used, (*without, *unread)
