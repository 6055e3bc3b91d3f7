"""`PartDiscovery`: parts from bounding boxes alone, or from images alone, which may be named afterwards."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from partscope.backbones import DEFAULT_BACKBONE, Backbone
from partscope.dataset import PartDataset, Skipped
from partscope.detectors.base import PartDetector
from partscope.detectors.located import Located
from partscope.detectors.model_file import Fields, Tensors
from partscope.detectors.networks import make_backbone
from partscope.detectors.queries import Box, check_on_error, with_usable_boxes
from partscope.detectors.registry import register_detector
from partscope.discovery.clusters import POSITION
from partscope.discovery.images import KeptImage, gather
from partscope.discovery.learning import discover
from partscope.discovery.marked import learn_naming
from partscope.discovery.naming import Naming
from partscope.discovery.settings import REGIONS, check_settings, one_of
from partscope.discovery.state import discovery_state, restore_discovery
from partscope.errors import DatasetError, OptionError, PartscopeWarning
from partscope.evaluation import Evaluation
from partscope.grid_layers import default_layers
from partscope.grids import FeatureGrids
from partscope.linear import Discriminants, Statistics, decode, presence
from partscope.linear.shrinkage import evidence_maps
from partscope.prior import StaticPrior
from partscope.views import View, box_mask, needs_box, view

_Self = TypeVar("_Self", bound="PartDiscovery")


@register_detector("discovered")
class PartDiscovery(PartDetector):
    """Discovers parts in images without marked parts, and finds them again in others.

    `fit` looks at no marked part. With `supervision="box"` it learns from the boxes what the object is, with `"none"` from
    the images alone; then it divides the object into `parts` parts that look alike and lie alike in all images
    (:mod:`partscope.discovery`). They are called `part 1`, `part 2` and so on, the most stable first, until
    :meth:`name_parts` gives a detector of named parts from a handful of marked images.

    `score` is, for discovered parts, the probability that the part is there if its evidence is taken at its word, which is
    not calibrated; for named ones, the share of the marked images that show it. `visible` is `score ≥ 0.5`.

    Parameters
    ----------
    parts: number of parts K to discover.
    supervision: `"box"` or `"none"`.
    by: `"combinations"` (a part is a linear combination of channels) or `"channels"` (a part is one channel).
    backbone: a name of the registry, or a :class:`~partscope.backbones.Backbone` around any module.
    layers: names of the layers to combine; by default :func:`~partscope.grid_layers.default_layers`.
    input_size, weights: as for :func:`~partscope.backbones.get_backbone`; only with a backbone given by name.
    region: where `predict` looks: `"image"`, or `"mask"`, inside the box alone.
    shrinkage: of the discriminants, a positive number in units of the mean variance of a feature.
    position: weight of the place in the object beside the features, 0 or more; only with combinations.
    memory: bytes of features that `fit` may keep. Where those of all images do not fit, it learns from evenly spaced ones.
    random_state: seed of the first guess; only with combinations.

    Attributes
    ----------
    backbone_, grids_: the backbone, and its layers as grids.
    base_: sums over the features of the training images' cells, for naming.
    discriminants_: of the discovered parts.
    rate_: (K,) share of the training images in which some cell of the object belongs to the part.
    spread_: (K,) root mean square distance of the part from its mean place in the object, in half extents of the object.
    part_channels_: with channels, the layer and channel of each part; else None.
    naming_: what makes named parts of the discovered ones, or None.
    discovered_ids_: ids of the images that the parts were discovered in.

    Raises
    ------
    OptionError, BackboneError: from `fit`, for a parameter with an unknown value.
    """

    backbone_: Backbone
    grids_: FeatureGrids
    base_: Statistics
    discriminants_: Discriminants
    rate_: NDArray[np.float64]
    spread_: NDArray[np.float64]
    part_channels_: tuple[tuple[str, int], ...] | None
    naming_: Naming | None
    discovered_ids_: tuple[str, ...]

    def __init__(
        self,
        parts: int = 8,
        supervision: str = "box",
        by: str = "combinations",
        backbone: str | Backbone = DEFAULT_BACKBONE,
        layers: Sequence[str] | None = None,
        input_size: int | None = None,
        weights: str | Path | None = None,
        region: str = "image",
        shrinkage: float = 1.0,
        position: float = POSITION,
        memory: int = 1 << 30,
        random_state: int = 0,
    ) -> None:
        self.parts = parts
        self.supervision = supervision
        self.by = by
        self.backbone = backbone
        self.layers = layers
        self.input_size = input_size
        self.weights = weights
        self.region = region
        self.shrinkage = shrinkage
        self.position = position
        self.memory = memory
        self.random_state = random_state

    @property
    def needs_box(self) -> bool:
        """Whether `predict` looks inside the box alone; an OptionError names an unknown region."""
        one_of("region", self.region, REGIONS)
        return needs_box(self.region)

    # -- discovering ------------------------------------------------------------------------------------------------
    def fit(self: _Self, dataset: PartDataset, *, on_error: str = "raise", progress: bool = False) -> _Self:
        """Discover parts.

        Parameters
        ----------
        dataset: training images; marked parts are not looked at, boxes with `supervision="box"` alone.
        on_error: `"raise"` stops at the first bad image, `"skip"` leaves it out and lists it in `skipped_`.
        progress: show a progress bar on standard error.

        Raises
        ------
        DatasetError: fewer (readable) images than parts, no boxes where they are needed, or objects of too few cells.
        ImageError: an image cannot be read.
        BackboneError: the network's features do not vary.
        OptionError: a parameter has an unknown value.
        """
        check_on_error(on_error)
        check_settings(self)
        if not isinstance(dataset, PartDataset):
            raise DatasetError(
                f"fit needs a PartDataset, not {type(dataset).__name__}; make one with load_dataset or dataset_from_arrays."
            )
        boxed = self.supervision == "box"
        if boxed and len(dataset) and not np.isfinite(dataset.boxes).any():
            raise DatasetError(
                f"{dataset.name}: no image has a bounding box; give boxes, or discover parts without them with "
                "supervision='none' (--supervision none)."
            )
        usable, without = with_usable_boxes(dataset, boxed, on_error)
        self._check_enough(usable.name, len(usable))
        layer = None if self.layers is None else list(self.layers)[-1]
        backbone = make_backbone(
            self.backbone, layer if isinstance(self.backbone, str) else None, self.input_size, self.weights
        )
        grids = FeatureGrids(backbone, tuple(self.layers or default_layers(backbone)[0]))
        if hasattr(self, "train_ids_"):
            del self.train_ids_  # a fit that fails halfway leaves an unfitted detector, not a mixture of two
        images, unread = gather(
            usable, grids, self.memory, use_boxes=boxed, on_error=on_error, progress=progress
        )
        self._check_enough(usable.name, len(images))
        self._warn_of_left_out(dataset, images, (*without, *unread))
        found = discover(
            images,
            grids,
            self.parts,
            by=self.by,
            shrinkage=float(self.shrinkage),
            position=float(self.position),
            random_state=self.random_state,
        )
        self.parts_ = tuple(f"part {k + 1}" for k in range(self.parts))
        self.mirror_ = np.arange(self.parts)
        self.backbone_, self.grids_ = backbone, grids
        self.base_ = found.base
        self.discriminants_, self.rate_, self.spread_ = found.discriminants, found.rate, found.spread
        names = grids.feature_names()
        self.part_channels_ = None if found.channels is None else tuple(names[k][:2] for k in found.channels)
        self.naming_ = None
        self.prior_ = StaticPrior(self.parts_, found.in_image, found.in_box, found.rate)
        self.skipped_ = (*without, *unread)
        self.discovered_ids_ = tuple(image.id for image in images)
        self.train_ids_ = self.discovered_ids_
        return self

    def _check_enough(self, name: str, images: int) -> None:
        least = max(self.parts, 2)
        if images < least:
            raise DatasetError(
                f"{name}: {images} images are too few to discover {self.parts} parts in; give at least {least}, or ask for "
                "fewer parts."
            )

    def _warn_of_left_out(
        self, dataset: PartDataset, images: list[KeptImage], skipped: Sequence[Skipped]
    ) -> None:
        if skipped:
            warnings.warn(
                f"{dataset.name}: {len(skipped)} of {len(dataset)} training images were left out; the first is "
                f"{skipped[0].id} ({skipped[0].reason.rstrip('.')}).",
                PartscopeWarning,
                stacklevel=3,
            )
        unused = len(dataset) - len(skipped) - len(images)
        if unused:
            warnings.warn(
                f"{dataset.name}: the features of {len(images)} of {len(dataset)} images fit into memory={self.memory:,} "
                f"bytes; the other {unused}, evenly spaced, were not used.",
                PartscopeWarning,
                stacklevel=3,
            )

    # -- naming -----------------------------------------------------------------------------------------------------
    def name_parts(
        self: _Self, marked: PartDataset, *, on_error: str = "raise", progress: bool = False
    ) -> _Self:
        """Return a detector of the parts that are marked in a handful of images; this one stays as it is.

        Its static prior is that of the marked images.

        Parameters
        ----------
        marked: images with marked parts; boxes are needed where `needs_box`.
        on_error, progress: as for :meth:`fit`.

        Raises
        ------
        NotFittedError: nothing has been discovered yet.
        DatasetError: no (readable) image, or none that shows a part; a box is missing where the method needs it.
        ImageError: an image cannot be read.
        """
        check_is_fitted(self, "train_ids_")
        check_on_error(on_error)
        if not isinstance(marked, PartDataset):
            raise DatasetError(
                f"name_parts needs a PartDataset, not {type(marked).__name__}; make one with load_dataset or "
                "dataset_from_arrays."
            )
        naming, used, skipped = learn_naming(self, marked, on_error=on_error, progress=progress)
        named = copy.copy(self)
        named.naming_ = naming
        named.parts_, named.mirror_ = used.parts, used.mirror
        named.prior_ = StaticPrior.fit(used)
        named.skipped_ = (*self.skipped_, *skipped)
        named.train_ids_ = tuple(dict.fromkeys((*self.discovered_ids_, *used.ids)))
        return named

    # -- locating ---------------------------------------------------------------------------------------------------
    def evidence(self, image: Image.Image) -> tuple[NDArray[np.float32], View]:
        """Return the evidence maps of the discovered parts in an image, (K, h, w), and what they show.

        Parameters
        ----------
        image: upright RGB picture.
        """
        check_is_fitted(self, "train_ids_")
        seen, maps = self.features(image)
        return evidence_maps(self.grids_, maps, self.discriminants_), seen

    def features(self, image: Image.Image) -> tuple[View, list[Tensor]]:
        """Return what the network sees of an image, and each layer's map (K_l, h_l, w_l)."""
        seen = view(self.backbone_.preprocessing, image, "image")
        return seen, [features[0] for features in self.grids_(seen.inputs[None])]

    def _mask(self, seen: View, box: Box | None) -> NDArray[np.bool_] | None:
        """Return the cells (h, w) that may be chosen, None for all."""
        if not self.needs_box or box is None:
            return None
        return np.asarray(box_mask(self.grids_.grid, seen.extent, box).numpy())

    def centres(
        self, maps: list[Tensor], seen: View, box: Box | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return places (K, 2) of the discovered parts in pixels, and the probability (K,) that each is there."""
        evidence, mask = evidence_maps(self.grids_, maps, self.discriminants_), self._mask(seen, box)
        return decode(evidence, mask) * np.array(seen.extent), presence(evidence, self.rate_, mask)

    def _locate(self, image: Image.Image, box: Box | None) -> Located:
        seen, maps = self.features(image)
        points, score = self.centres(maps, seen, box)
        if self.naming_ is not None:
            points = self.naming_.locate(
                self.grids_, maps, points, np.array(seen.extent), self._mask(seen, box)
            )
            score = self.prior_.visibility.copy()
        found = np.asarray(np.isfinite(points).all(axis=1))
        return Located(points, found, np.where(found, score, 0.0), found & (score >= 0.5))

    def evaluate(self, dataset: PartDataset, **options: Any) -> Evaluation:
        """Compare predictions of named parts with a data set's marked parts, see :meth:`PartDetector.evaluate`.

        Raises
        ------
        As there. OptionError: the parts have no names.
        """
        check_is_fitted(self, "train_ids_")
        self.check_named()
        return super().evaluate(dataset, **options)

    def check_named(self) -> None:
        """Raise an OptionError unless the parts have been named."""
        if self.naming_ is None:
            raise OptionError(
                "the discovered parts have no names yet, so there is nothing to compare with marked parts; name them with "
                "name_parts (partscope discover --name-from N), or measure them with partscope.discovery.measure."
            )

    def _info(self) -> dict[str, Any]:
        return {
            **super()._info(),
            "backbone": self.backbone_.name,
            "layer": " + ".join(self.grids_.layers),
            "input_size": self.backbone_.input_size,
            "centre": self.by,
        }

    # -- model files ------------------------------------------------------------------------------------------------
    def _state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        return discovery_state(self)

    def _restore(self, tensors: Tensors, config: Fields, backbone: Backbone | None) -> None:
        restore_discovery(self, tensors, config, backbone)
