"""How good discovered parts are, before they have names: the regression protocol, NMI and ARI (protocol, section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from partscope.dataset import PartDataset
from partscope.detectors.queries import Query
from partscope.discovery.detector import PartDiscovery
from partscope.errors import DatasetError
from partscope.linear import decode
from partscope.metrics import (
    Agreement,
    LinearPartMap,
    RegressionError,
    part_agreement,
    regression_error,
    strongest_part,
)


@dataclass(frozen=True, eq=False)
class Measured:
    """What a look at marked images tells about discovered parts.

    Parameters
    ----------
    agreement: NMI and ARI over the visible keypoints of the test images.
    regression: error of the linear map from discovered centres to marked parts.
    constant: error of the same map from no centre at all, the mean position in the box: what centres have to beat.
    """

    agreement: Agreement
    regression: RegressionError
    constant: RegressionError


def measure(detector: PartDiscovery, train: PartDataset, test: PartDataset) -> Measured:
    """Measure discovered parts with the marked parts of images.

    Parameters
    ----------
    detector: fitted; names are not looked at.
    train: marked images with boxes that the linear map is learned from.
    test: marked images with boxes that are judged.

    Raises
    ------
    DatasetError: other parts in `train` than in `test`, an image without a box, no visible part, or an image has another
        size than its data set states.
    ImageError: an image cannot be read.
    """
    if train.parts != test.parts:
        raise DatasetError(f"{test.name}: its parts are not those of {train.name}; give the same parts.")
    known, _ = look(detector, train)
    found, labels = look(detector, test)
    nothing = np.full((len(train), 0, 2), np.nan), np.full((len(test), 0, 2), np.nan)
    regression, constant = (
        regression_error(
            LinearPartMap.fit(inputs, train.boxes, train.points).predict(outputs, test.boxes),
            test.boxes,
            test.points,
        )
        for inputs, outputs in ((known, found), nothing)
    )
    names = np.broadcast_to(np.arange(len(test.parts)), test.visible.shape)
    return Measured(part_agreement(labels, names[test.visible]), regression, constant)


def look(detector: PartDiscovery, dataset: PartDataset) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Return the centres of the discovered parts, and the strongest discovered part at each visible keypoint.

    Returns
    -------
    (N, K, 2) pixels, and (M,) integers below K, keypoints in the order of `visible`, row by row.

    Raises
    ------
    ImageError, DatasetError: an image cannot be read, or has another size than its data set states.
    """
    centres = np.zeros((len(dataset), len(detector.rate_), 2))
    labels: list[NDArray[np.intp]] = []
    for i, sample in enumerate(dataset):
        maps, seen = detector.evidence(Query.of(sample).open())
        centres[i] = decode(maps) * np.array(seen.extent)
        labels.append(strongest_part(maps, sample.points[sample.visible] / np.array(sample.size)))
    return centres, np.concatenate(labels) if labels else np.zeros(0, dtype=np.intp)
