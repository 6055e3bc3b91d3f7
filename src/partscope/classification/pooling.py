"""`PooledRegions`: features of the box and of the regions of a part model that boxes alone have taught (DPD, ICCV 2013).

DeCAF + DPD, the system of the paper's Table 2, takes a network's features of the regions that a deformable part model
predicts, arranged so that the same place of the row means the same region of the object in all poses. Here a region's
features are those of its rectangle, warped to the network's input, and its place is its slot in
:class:`~partscope.classification.deformable.DeformableParts`: components share the slots by position in the box, and a
component and its mirror image share them by mirroring. The publication weighs the regions of two components against each other
by marked parts; that needs marked parts, which are not used here. The box is given, in training and in use.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from partscope.backbones import DEFAULT_BACKBONE, Embedder
from partscope.classification.deformable import DeformableParts
from partscope.classification.part_features import PartFeatures, Places
from partscope.classification.scenes import ImagesLike
from partscope.classification.slots import NORMALISATIONS, Slots
from partscope.classification.sources import Known
from partscope.errors import OptionError
from partscope.feature_cache import FeatureCache
from partscope.predictions import PartPredictions


class PooledRegions(PartFeatures):
    """Describes objects by a network's last hidden layer: their box, and the regions of a part model.

    It is used as :class:`~partscope.classification.part_features.PartFeatures` is, in a pipeline or in a
    :class:`~partscope.classification.classifier.PartClassifier`; images need boxes. In a mirror image the regions are
    mirrored, not placed again, and keep their slots, which know no left and right.

    Parameters
    ----------
    model: the part model; fitted, or unfitted and then fitted by `fit` to the training images.
    backbone, input_size, weights, whole, normalize, batch_size, cache, progress: as for `PartFeatures`.

    Attributes
    ----------
    model_: the fitted part model.
    parts_: names of the P regions.
    embedder_, slots_: as for `PartFeatures`.
    """

    model_: DeformableParts

    # What the base class asks for, fixed here.
    detector = None
    source = "estimated"
    region = "crop"
    scale = None
    pool_pairs = False
    predictions = None

    def __init__(
        self,
        model: DeformableParts | None = None,
        *,
        backbone: str | Embedder = DEFAULT_BACKBONE,
        input_size: int | None = None,
        weights: str | Path | None = None,
        whole: bool = True,
        normalize: str = "l2",
        batch_size: int = 32,
        cache: FeatureCache | str | Path | None = None,
        progress: bool = False,
    ) -> None:
        self.model = model
        self.backbone = backbone
        self.input_size = input_size
        self.weights = weights
        self.whole = whole
        self.normalize = normalize
        self.batch_size = batch_size
        self.cache = cache
        self.progress = progress

    def fit(self, X: ImagesLike, y: object = None, *, on_error: str = "raise") -> PooledRegions:
        """Learn the part model from images with boxes, unless it has been learned.

        Parameters
        ----------
        X: training images. y: not used. on_error: as :meth:`DeformableParts.fit`.

        Raises
        ------
        OptionError: a parameter has an unknown value. Others as :meth:`DeformableParts.fit`.
        """
        if self.normalize not in NORMALISATIONS:
            raise OptionError(
                f"normalize must be one of {', '.join(NORMALISATIONS)}, not {self.normalize!r}."
            )
        if self.model is not None and not isinstance(self.model, DeformableParts):
            raise OptionError(f"model must be a DeformableParts, not {type(self.model).__name__}.")
        embedder = self._make_embedder()
        model = DeformableParts() if self.model is None else self.model
        if not _is_fitted(model):
            model = clone(model).fit(X, on_error=on_error, progress=self.progress)
        names = tuple(f"region {p + 1}" for p in range(model.parts))
        self.model_ = model
        self.parts_ = names
        self.slots_ = Slots(
            names, "crop" if self.whole else None, tuple((p,) for p in range(len(names))), self.normalize
        )
        self._known = Known(names, np.arange(len(names)), "crop")
        self.detector_ = None
        self.embedder_ = embedder
        return self

    @property
    def needs_box(self) -> bool:
        """True: the part model stands in the box."""
        return True

    def locate(
        self,
        X: ImagesLike,
        boxes: ArrayLike | Sequence[Sequence[float] | None] | None = None,
        *,
        predictions: PartPredictions | None = None,
        on_error: str = "raise",
    ) -> Places:
        """Return where the regions of N images are, with their centres as points; the network of the features is not run.

        Parameters
        ----------
        X, boxes, on_error: as :meth:`DeformableParts.place`, and errors too.
        predictions: always None; a part model has no marked parts to be predicted.

        Raises
        ------
        OptionError: predictions are given.
        """
        if predictions is not None:
            raise OptionError("a part model places its own regions; leave predictions out.")
        check_is_fitted(self, "embedder_")
        placed = self.model_.place(X, boxes, on_error=on_error, progress=self.progress)
        regions = placed.boxes
        frames = placed.scenes.boxes[:, None]
        views = np.concatenate([frames, regions], axis=1) if self.whole else regions
        points = regions[..., :2] + regions[..., 2:] / 2
        return Places(placed.scenes, points, views, placed.kept, placed.failures)

    @staticmethod
    def _is_shared(name: str, value: object) -> bool:
        return PartFeatures._is_shared(name, value) or (name == "model" and _is_fitted(value))


def _is_fitted(model: object) -> bool:
    return isinstance(model, DeformableParts) and hasattr(model, "components_")
