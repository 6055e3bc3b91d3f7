"""`DeformableParts`: a part model that is learned from boxes alone, the weakly supervised half of DPD (ICCV 2013).

Zhang, Farrell, Iandola and Darrell pool features over the parts of a deformable part model (Felzenszwalb et al. 2010): a
mixture of components, each a root template over the object and parts that move against it at a quadratic cost, all on
gradient histograms; which component an object belongs to and where its parts are is latent. The same model stands here,
with these differences, which let it be learned in minutes and without a solver's settings:

- Templates are linear discriminants in closed form against natural images (Hariharan et al. 2012), not a latent SVM.
- The box is given, so it is warped to a square, and the root may move by one of its cells only.
- A component and its mirror image are one component that is tried on both orientations. The side to which all objects are
  turned is found first (:mod:`partscope.classification.facing`), then k-means finds the components.
- Costs are negative log densities: score, deformation and the components' shares are one log likelihood ratio. The sums
  treat root and parts as if they were independent, as every star model does.
- Histograms have the 13 contrast-insensitive of the original 31 values.
- The publication learns from marked parts which parts of two components belong together. Here no marked part is used: parts
  correspond by their position in the box.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from partscope.classification.components import (
    LEAST_MEMBERS,
    Component,
    Grids,
    Placement,
    learn_components,
    part_rectangles,
    read_object,
    scene_cells,
)
from partscope.classification.hog_cells import CellArray
from partscope.classification.scenes import ImagesLike, Scenes, scenes_of
from partscope.dataset import Skipped
from partscope.detectors.queries import check_on_error
from partscope.errors import DatasetError, ImageError, OptionError
from partscope.progress import track

FloatArray = NDArray[np.float64]

#: So many images at most, evenly spread over the training images, are looked at as a whole for the background.
_BACKGROUND_IMAGES = 200


@dataclass(frozen=True, eq=False)
class PlacedParts:
    """Where the parts of M images were placed.

    Parameters
    ----------
    scenes: the images that could be read.
    boxes: (M, P, 4) `(x, y, width, height)` in pixels, inside the images; slot p is the same region of all objects.
    component: (M,) index of the component.
    mirrored: (M,) whether the object looks the other way than the model.
    score: (M,) log likelihood ratio against the background.
    kept: (M,) indices in what was given.
    failures: images that were left out, with the reason.
    """

    scenes: Scenes
    boxes: FloatArray
    component: NDArray[np.intp]
    mirrored: NDArray[np.bool_]
    score: FloatArray
    kept: NDArray[np.intp]
    failures: tuple[Skipped, ...] = ()


class DeformableParts(BaseEstimator):  # type: ignore[misc]  # scikit-learn is not typed
    """Regions that correspond to each other in all objects of a kind, learned from their boxes alone.

    Parameters
    ----------
    components: C, kinds of poses; each is tried on an image and on its mirror image, so there are 2·C readings. Three
        with their mirror images and eight parts are the setting of the example in voc-release5, the released code of
        part models.
    parts: P, parts of a component.
    rounds: how often all images are read anew and the templates made again.
    random_state: fixes the start of k-means.

    Attributes
    ----------
    components_: the C learned components. Slot p of a component is the part that is nearest, by its position in the box, to
        part p of the largest one, in the assignment with the smallest sum of squared distances.
    train_ids_: ids of the training images that were used.
    skipped_: training images that were left out with `on_error="skip"`, with the reason.
    """

    components_: tuple[Component, ...]
    train_ids_: tuple[str, ...]
    skipped_: tuple[Skipped, ...]

    def __init__(self, components: int = 3, parts: int = 8, rounds: int = 3, random_state: int = 0) -> None:
        self.components = components
        self.parts = parts
        self.rounds = rounds
        self.random_state = random_state

    def fit(
        self, images: ImagesLike, y: object = None, *, on_error: str = "raise", progress: bool = False
    ) -> DeformableParts:
        """Learn the components from images with boxes; marked parts and class names are not looked at.

        Parameters
        ----------
        images: a data set or samples with boxes.
        y: not used.
        on_error: `"raise"` stops at the first bad image, `"skip"` leaves it out and lists it in `skipped_`.
        progress: show a progress bar on standard error.

        Raises
        ------
        DatasetError: a box is missing, or there are fewer than 5 images for every component.
        ImageError: an image cannot be read.
        OptionError: a parameter is out of range.
        """
        check_on_error(on_error)
        for name in ("components", "parts", "rounds"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
                raise OptionError(f"{name} must be a whole number from 1, not {value!r}.")
        scenes, _, skipped = scenes_of(images, needs_box=True, on_error=on_error)
        every = max(1, -(-len(scenes) // _BACKGROUND_IMAGES))
        grids: list[Grids] = []
        wholes: list[CellArray] = []
        ids: list[str] = []
        failures: list[Skipped] = []
        for query, box in track(
            list(zip(scenes.queries, scenes.boxes, strict=True)), "part model", enabled=progress
        ):
            try:
                image = query.open()
            except (ImageError, DatasetError) as error:
                if on_error == "raise":
                    raise
                failures.append(Skipped(query.id, str(error)))
                continue
            if len(grids) % every == 0:
                wholes.append(scene_cells(image))
            grids.append(Grids.of(image, tuple(box.tolist())))
            ids.append(query.id)
        least = LEAST_MEMBERS * self.components
        if len(grids) < least:
            raise DatasetError(
                f"{len(grids)} images are too few for a part model of {self.components} components; give at least {least}."
            )
        learned, _ = learn_components(
            grids, wholes, self.components, self.parts, self.rounds, self.random_state
        )
        self.components_ = tuple(learned)
        self.train_ids_ = tuple(ids)
        self.skipped_ = (*skipped, *failures)
        return self

    def place(
        self,
        images: ImagesLike,
        boxes: ArrayLike | Sequence[Sequence[float] | None] | None = None,
        *,
        on_error: str = "raise",
        progress: bool = False,
    ) -> PlacedParts:
        """Place the parts in images whose boxes are given.

        Parameters
        ----------
        images, boxes: as for :func:`partscope.classification.scenes.scenes_of`.
        on_error: `"raise"` stops at the first bad image, `"skip"` lists it in the result's `failures`.
        progress: show a progress bar on standard error.

        Raises
        ------
        NotFittedError: there is no model yet.
        ImageError: an image cannot be read.
        DatasetError: a box is missing or does not fit its image.
        """
        check_is_fitted(self, "components_")
        scenes, rows, skipped = scenes_of(images, boxes, needs_box=True, on_error=on_error)
        read: list[Placement] = []
        good: list[int] = []
        failures: list[Skipped] = []
        pairs = list(zip(scenes.queries, scenes.boxes, strict=True))
        for i, (query, box) in enumerate(track(pairs, "place parts", enabled=progress)):
            try:
                grids = Grids.of(query.open(), tuple(box.tolist()))
            except (ImageError, DatasetError) as error:
                if on_error == "raise":
                    raise
                failures.append(Skipped(query.id, str(error)))
                continue
            read.append(read_object(self.components_, grids))
            good.append(i)
        kept = scenes.take(good)
        rectangles = [
            part_rectangles(placement, box, size)
            for placement, box, size in zip(read, kept.boxes, kept.sizes, strict=True)
        ]
        return PlacedParts(
            kept,
            np.array(rectangles).reshape(len(read), self.parts, 4),
            np.array([placement.component for placement in read], dtype=np.intp),
            np.array([placement.mirrored for placement in read], dtype=np.bool_),
            np.array([placement.score for placement in read], dtype=np.float64),
            rows[good],
            (*skipped, *failures),
        )

    def part_boxes(
        self, images: ImagesLike, boxes: ArrayLike | Sequence[Sequence[float] | None] | None = None
    ) -> FloatArray:
        """Return the (N, P, 4) boxes of :meth:`place`; the first image that cannot be used is an error."""
        return self.place(images, boxes).boxes
