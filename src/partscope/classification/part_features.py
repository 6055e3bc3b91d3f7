"""`PartFeatures`: features of the whole image or box and of a patch around each part, as a scikit-learn transformer."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils.validation import check_is_fitted

from partscope.backbones import DEFAULT_BACKBONE, Embedder, get_embedder
from partscope.classification.knowledge import learn
from partscope.classification.scenes import ImagesLike, Scenes, scenes_of
from partscope.classification.slots import NORMALISATIONS, Slots, groups_of
from partscope.classification.sources import REGIONS, Known, mirror_of, part_source, points_of, rectangles
from partscope.dataset import Skipped
from partscope.detectors import PartDetector
from partscope.errors import OptionError
from partscope.extraction import Views, extract, images_per_block
from partscope.feature_cache import FeatureCache
from partscope.patches import SCALES, patch_boxes
from partscope.predictions import PartPredictions


@dataclass(frozen=True, eq=False)
class Places:
    """Where the patches of M images are.

    Parameters
    ----------
    scenes: the images that could be searched.
    points: (M, P, 2) centres of the patches in pixels, NaN where a part is missing.
    boxes: (M, V, 4) boxes `(x, y, width, height)` of the views in pixels: the whole image or box first, where it is
        wanted, then the P patches; NaN rows where a part is missing.
    kept: (M,) their indices in what was given.
    failures: the images that are left out, with the reason.
    """

    scenes: Scenes
    points: NDArray[np.float64]
    boxes: NDArray[np.float64]
    kept: NDArray[np.intp]
    failures: tuple[Skipped, ...] = ()


@dataclass(frozen=True, eq=False)
class FeatureRows:
    """Feature rows of M images: `features` (M, F) float32, `kept` (M,) their indices, and the `failures`."""

    features: NDArray[np.float32]
    kept: NDArray[np.intp]
    failures: tuple[Skipped, ...] = ()


class PartFeatures(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is not typed
    """Describes images by a network's last hidden layer: the whole image or box, and a square patch around each part.

    The features of the whole and of the patches are concatenated; a missing part gives zeros (the paper, section 3;
    protocol, section 8). Images are given as a data set, as samples, or as paths, PIL images or uint8 arrays, which bring no
    box and no marked parts; a list, a tuple or a NumPy array of objects. Class names stay in `y`.

    `clone` copies everything but a fitted detector, a network, predictions and an open cache, which are taken over as they
    are: cross-validation then neither fits nor loads them again. An unfitted detector is cloned, and fitted by `fit`.

    Parameters
    ----------
    detector: finds the parts for `source="estimated"`; fitted, or unfitted and then fitted by `fit` to a data set. With the
        region `"crop"` it must search the box. For other sources a fitted one gives the parts' names and pairs, where the
        training images are samples instead of a data set.
    source: where the patches are: `"none"`, `"estimated"`, `"ground_truth"`, `"prior"`, `"grid"`, `"random"`, see
        :mod:`partscope.classification.sources`.
    backbone: a name of the registry, or an :class:`~partscope.backbones.Embedder` around any module; it need not be the
        detector's.
    input_size, weights: as for :func:`~partscope.backbones.get_embedder`; only with a backbone given by name.
    region: `"image"`, patches and whole belong to the image, or `"crop"`, to the bounding box, which is then needed.
    scale: λ; a patch's side is √(n·m·λ) for a region of n×m pixels. 1/9 for the image and 1/4 for the box by default.
    parts: names of the parts to use, all by default.
    pool_pairs: left and right part share a slot by the maximum of their features.
    whole: put the features of the whole image or box first.
    normalize: `"l2"` scales the features of each slot to Euclidean length 1, `"none"` leaves them.
    predictions: parts that a detector has found already; images whose id they hold are not searched again.
    batch_size: views per pass of the network.
    cache: a file or an open :class:`~partscope.feature_cache.FeatureCache` where features are kept between runs.
    random_state: seed of `source="random"`; the points depend on it and on the image's id alone.
    progress: show a progress bar on standard error.

    Attributes
    ----------
    parts_: names of the P patches.
    detector_: the fitted detector, or None where the source needs none.
    prior_: the parts' median positions, for `source="prior"`, or None.
    embedder_: the network.
    scale_: λ.
    slots_: what the columns of a row are, see :class:`~partscope.classification.slots.Slots`.

    Raises
    ------
    OptionError, BackboneError, DatasetError: from `fit`, for a wrong parameter, or one that the images do not suit.
    """

    parts_: tuple[str, ...]
    detector_: PartDetector | None
    embedder_: Embedder
    scale_: float
    slots_: Slots
    _known: Known

    def __init__(
        self,
        detector: PartDetector | None = None,
        *,
        source: str = "estimated",
        backbone: str | Embedder = DEFAULT_BACKBONE,
        input_size: int | None = None,
        weights: str | Path | None = None,
        region: str = "image",
        scale: float | None = None,
        parts: Sequence[str] | None = None,
        pool_pairs: bool = False,
        whole: bool = True,
        normalize: str = "l2",
        predictions: PartPredictions | None = None,
        batch_size: int = 32,
        cache: FeatureCache | str | Path | None = None,
        random_state: int = 0,
        progress: bool = False,
    ) -> None:
        self.detector = detector
        self.source = source
        self.backbone = backbone
        self.input_size = input_size
        self.weights = weights
        self.region = region
        self.scale = scale
        self.parts = parts
        self.pool_pairs = pool_pairs
        self.whole = whole
        self.normalize = normalize
        self.predictions = predictions
        self.batch_size = batch_size
        self.cache = cache
        self.random_state = random_state
        self.progress = progress

    # -- scikit-learn -----------------------------------------------------------------------------------------------
    def fit(self, X: ImagesLike, y: object = None, *, on_error: str = "raise") -> PartFeatures:
        """Learn the parts' names and pairs, and what the source needs: median positions, or the detector.

        Parameters
        ----------
        X: training images. A data set knows its parts' names; `clone`, cross-validation and the like pass samples on, whose
            names are those of a fitted detector, or not known.
        y: not used.
        on_error: for an unfitted detector, as in :meth:`PartDetector.fit`.

        Returns
        -------
        The transformer itself.
        """
        self.check_parameters()
        embedder = self._make_embedder()
        known = learn(
            X,
            source=self.source,
            region=self.region,
            detector=self.detector,
            predictions=self.predictions,
            parts=self.parts,
            random_state=self.random_state,
            on_error=on_error,
            progress=self.progress,
        )
        self._take(known, embedder, SCALES[self.region] if self.scale is None else float(self.scale))
        return self

    def _take(self, known: Known, embedder: Embedder, scale: float) -> None:
        """Set the learned attributes: from `fit`, or from a model file."""
        mirror = mirror_of(self.source, known) if self.pool_pairs else np.arange(len(known.parts))
        self.slots_ = Slots(
            known.parts,
            self.region if self.whole else None,
            groups_of(mirror, self.pool_pairs),
            self.normalize,
        )
        self._known = known
        self.parts_ = known.parts
        self.detector_ = known.detector
        self.prior_ = known.prior
        self.scale_ = scale
        self.embedder_ = embedder

    def transform(self, X: ImagesLike) -> NDArray[np.float32]:
        """Return the features of N images: (N, F) float32, F = slots · D.

        Raises
        ------
        NotFittedError: `fit` has not been called.
        ImageError, DatasetError, OptionError: an image cannot be read, or lacks the box or the marked parts that are needed;
            :meth:`locate` and :meth:`rows` can skip it.
        """
        return self.rows(self.locate(X)).features

    def transform_mirrored(self, X: ImagesLike) -> NDArray[np.float32]:
        """Return the features of the mirror images of N images, (N, F); errors as :meth:`transform`.

        Parts are not detected again: patches are mirrored, and left and right change their slots (protocol, section 8).
        """
        return self.rows(self.locate(X), mirrored=True).features

    def get_feature_names_out(self, input_features: object = None) -> NDArray[np.object_]:
        """Return the names of the F columns: the slot's (`image` or `crop` for the whole, `left+right` for a pair), `_`, index."""
        check_is_fitted(self, "embedder_")
        count = self.embedder_.dimension
        return np.array([f"{slot}_{d}" for slot in self.slots_.names for d in range(count)], dtype=object)

    def set_params(self, **params: Any) -> PartFeatures:
        """Set parameters, also `detector__NAME` of an unfitted detector.

        Raises
        ------
        OptionError: a parameter of a fitted detector, which would have no effect.
        """
        detector = params.get("detector", self.detector)
        nested = [name for name in params if name.startswith("detector__")]
        if nested and _is_fitted(detector):
            raise OptionError(
                f"the detector is fitted and taken as it is, so {nested[0]} would change nothing; give an unfitted detector."
            )
        super().set_params(**params)
        return self

    def __sklearn_clone__(self) -> PartFeatures:
        """Return an unfitted copy that shares a fitted detector, the network, the predictions and an open cache."""
        params = {
            name: value if self._is_shared(name, value) else clone(value, safe=False)
            for name, value in self.get_params(deep=False).items()
        }
        copied = type(self)(**params)
        if hasattr(self, "_sklearn_output_config"):  # of set_output
            copied._sklearn_output_config = copy.deepcopy(self._sklearn_output_config)
        return copied

    @staticmethod
    def _is_shared(name: str, value: object) -> bool:
        return (
            isinstance(value, (Embedder, PartPredictions, FeatureCache))
            or name == "backbone"
            or (name == "detector" and _is_fitted(value))
        )

    def __sklearn_is_fitted__(self) -> bool:
        """Whether `fit` has been called."""
        return hasattr(self, "embedder_")

    # -- in steps ---------------------------------------------------------------------------------------------------
    @property
    def needs_box(self) -> bool:
        """Whether an image can be described only with the object's bounding box; known after `fit`."""
        check_is_fitted(self, "embedder_")
        detector = self.detector_
        return self.region == "crop" or bool(detector and detector.needs_box)

    @property
    def images_per_block(self) -> int:
        """How many images go through the network together, known after `fit`; shards of a run are made of whole blocks."""
        check_is_fitted(self, "embedder_")
        return images_per_block(len(self.parts_) + self.whole, self.batch_size)

    def locate(
        self,
        X: ImagesLike,
        boxes: ArrayLike | Sequence[Sequence[float] | None] | None = None,
        *,
        predictions: PartPredictions | None = None,
        on_error: str = "raise",
    ) -> Places:
        """Return where the patches of N images are; the network of the features is not run.

        Parameters
        ----------
        X, boxes: as :func:`partscope.classification.scenes.scenes_of`.
        predictions: parts that the detector has found already, in place of those given to the constructor.
        on_error: `"raise"` stops at the first bad image, `"skip"` leaves it out and lists it.
        """
        check_is_fitted(self, "embedder_")
        scenes, rows, failures = scenes_of(X, boxes, needs_box=self.needs_box, on_error=on_error)
        known = self._known if predictions is None else replace(self._known, predictions=predictions)
        points, kept, lost = points_of(self.source, scenes, known, on_error=on_error, progress=self.progress)
        scenes = scenes.take(kept)
        frames = rectangles(scenes, self.region)
        patches = patch_boxes(points, frames[:, 2:], scenes.sizes, self.scale_)
        views = np.concatenate([frames[:, None], patches], axis=1) if self.whole else patches
        return Places(scenes, points, views, rows[kept], failures + lost)

    def rows(self, places: Places, *, mirrored: bool = False, on_error: str = "raise") -> FeatureRows:
        """Return the features of images whose patches have been located, or of their mirror images.

        Parameters
        ----------
        places: from :meth:`locate`.
        mirrored: describe the mirror images.
        on_error: as :meth:`locate`.

        Raises
        ------
        DatasetError: `mirrored`, and the parts' left and right are not known.
        ImageError: an image cannot be read.
        """
        check_is_fitted(self, "embedder_")
        mirror = mirror_of(self.source, self._known) if mirrored else None
        extracted = extract(
            [
                Views(query, boxes, mirrored)
                for query, boxes in zip(places.scenes.queries, places.boxes, strict=True)
            ],
            self.embedder_,
            cache=self.cache,
            batch_size=self.batch_size,
            on_error=on_error,
            progress=self.progress,
            positions=places.kept,
        )
        present = np.asarray(np.isfinite(places.boxes[extracted.kept]).all(axis=2))
        vectors = extracted.features.reshape(*present.shape, self.embedder_.dimension)  # also for no image
        features = self.slots_.rows(vectors, present, mirror)
        return FeatureRows(features, places.kept[extracted.kept], places.failures + extracted.failures)

    # -- parameters -------------------------------------------------------------------------------------------------
    def check_parameters(self) -> None:
        """Raise an OptionError for a parameter with a wrong value, as `fit` does, before any work is done."""
        source = part_source(self.source)
        for name, value, allowed in (
            ("region", self.region, REGIONS),
            ("normalize", self.normalize, NORMALISATIONS),
        ):
            if value not in allowed:
                raise OptionError(f"{name} must be one of {', '.join(allowed)}, not {value!r}.")
        scale = self.scale
        if scale is not None and not (isinstance(scale, (int, float, np.number)) and 0 < scale < np.inf):
            raise OptionError(f"scale must be a positive number, not {scale!r}.")
        if self.source == "none" and not self.whole:
            raise OptionError("source='none' with whole=False leaves nothing to describe; set whole=True.")
        if self.pool_pairs and not source.of_parts:
            raise OptionError(
                f"the part source {self.source!r} has no left/right pairs; leave pool_pairs out."
            )
        if self.detector is not None and not isinstance(self.detector, PartDetector):
            raise OptionError(
                f"detector must be a PartDetector, not {type(self.detector).__name__}; read a file with PartDetector.load."
            )

    def _make_embedder(self) -> Embedder:
        if isinstance(self.backbone, str):
            return get_embedder(self.backbone, input_size=self.input_size, weights=self.weights)
        if not isinstance(self.backbone, Embedder):
            raise OptionError(
                f"backbone must be a name or a partscope Embedder, not {type(self.backbone).__name__}; wrap a module with "
                "Embedder(module, at, preprocessing)."
            )
        for name in ("input_size", "weights"):
            if getattr(self, name) is not None:
                raise OptionError(f"{name} is given by the Embedder object; leave the option {name!r} out.")
        return self.backbone


def _is_fitted(detector: object) -> bool:
    return isinstance(detector, PartDetector) and hasattr(detector, "train_ids_")
