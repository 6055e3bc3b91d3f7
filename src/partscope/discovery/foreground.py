"""Where the object is: one linear discriminant between object and background, from boxes or from nothing at all.

With boxes the cells inside them stand for the object. A box also holds background, but it holds other background in every
image, and the discriminant keeps what is common. With nothing given, the strongest direction of variation of the features
(their first principal component) is taken to separate object from background, and the side that is rarer at the border of
the pictures to be the object; the discriminant between its upper cells and all cells then takes the place of the component,
a few times over.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eigh

from partscope.discovery.images import BoolArray, KeptImage, with_parts
from partscope.errors import BackboneError
from partscope.grids import FeatureGrids
from partscope.linear import Discriminants, Statistics, solve
from partscope.linear.shrinkage import evidence_maps

#: Share of an image's cells that are taken for the object where there is no box.
OBJECT_SHARE = 0.3

#: How often the discriminant is learned anew from what the one before took for the object.
ROUNDS = 3

#: Width of the border, as a share of the picture's side.
BORDER = 0.1


def foreground(
    images: list[KeptImage], grids: FeatureGrids, base: Statistics, shrinkage: float
) -> Discriminants:
    """Return the discriminant of object against background, (D, 1), which then needs no box.

    Parameters
    ----------
    images: with boxes all of them, or none.
    base: background statistics of these images.

    Raises
    ------
    BackboneError: the features do not vary.
    OptionError: the shrinkage is too small.
    """
    if images[0].box is not None:
        return _of_cells(images, grids, base, shrinkage, [image.inside(grids) for image in images])
    weights = _first_component(base)
    direction = Discriminants(weights[:, None].astype(np.float32), np.zeros(1, dtype=np.float32))
    scores = [_scores(image, grids, direction) for image in images]
    centres = grids.cell_centres()
    outer = (np.abs(centres - 0.5) > 0.5 - BORDER).any(axis=1)
    if outer.any() and not outer.all():
        mean = np.mean(scores, axis=0)
        if mean[outer].mean() > mean[~outer].mean():
            scores = [-score for score in scores]
    result = direction
    for _ in range(ROUNDS):
        upper = [score >= np.quantile(score, 1 - OBJECT_SHARE) for score in scores]
        result = _of_cells(images, grids, base, shrinkage, upper)
        scores = [_scores(image, grids, result) for image in images]
    return result


def object_cells(image: KeptImage, grids: FeatureGrids, discriminant: Discriminants) -> BoolArray:
    """Return which cells (h·w,) belong to the object: inside the box, and likelier object than background.

    At least one does, the likeliest.
    """
    inside = image.inside(grids)
    scores = np.where(inside, _scores(image, grids, discriminant), -np.inf)
    chosen = scores > 0
    chosen[scores.argmax()] = True
    return np.asarray(chosen)


def _scores(image: KeptImage, grids: FeatureGrids, discriminant: Discriminants) -> NDArray[np.float32]:
    return np.asarray(evidence_maps(grids, image.maps, discriminant)[0].ravel())


def _of_cells(
    images: list[KeptImage],
    grids: FeatureGrids,
    base: Statistics,
    shrinkage: float,
    chosen: list[BoolArray],
) -> Discriminants:
    """Return the discriminant of the chosen cells; each image counts once, whatever the number of its cells."""
    means = np.stack(
        [
            image.features(grids, cells).mean(axis=0, dtype=np.float64)
            for image, cells in zip(images, chosen, strict=True)
        ]
    )
    shown = np.ones((len(images), 1), dtype=np.bool_)
    return solve(with_parts(base, shown, means[:, None].astype(np.float32)), shrinkage)


def _first_component(base: Statistics) -> NDArray[np.float64]:
    """Return weights of the first principal component of the standardised features; it has no sign of its own."""
    mean = base.total / base.cells
    covariance = base.outer / base.cells - np.outer(mean, mean)
    variance = np.diag(covariance)
    # Rounding alone leaves about 1e-7 of the mean square.
    varies = variance > 1e-6 * np.diag(base.outer) / base.cells
    if not varies.any():
        raise BackboneError(
            "the network's features are the same in every cell of every training image; check its weights, its layers and "
            "its preprocessing."
        )
    scale = np.zeros_like(variance)
    scale[varies] = 1 / np.sqrt(variance[varies])
    correlation = covariance * scale * scale[:, None]
    last = len(correlation) - 1
    return np.asarray(eigh(correlation, subset_by_index=(last, last))[1][:, 0] * scale)
