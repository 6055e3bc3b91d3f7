"""`LinearDetector`: each part is found by a linear combination of channels, in closed form."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from partscope.arrangement import Arrangement
from partscope.backbones import DEFAULT_BACKBONE, Backbone
from partscope.dataset import PartDataset
from partscope.detectors.base import PartDetector
from partscope.detectors.linear_arranging import arrange, features_at
from partscope.detectors.linear_changes import check_learned_from, check_mergeable, matching
from partscope.detectors.linear_learning import Learned, learn, with_mirrored
from partscope.detectors.linear_options import candidates_of, check_grids, check_options, flips_of
from partscope.detectors.linear_state import linear_state, restore_linear
from partscope.detectors.located import Located
from partscope.detectors.model_file import Fields, Tensors
from partscope.detectors.networks import make_backbone
from partscope.detectors.queries import Box, check_on_error, with_usable_boxes
from partscope.detectors.registry import register_detector
from partscope.errors import OptionError, PartscopeWarning
from partscope.grid_layers import CHOSEN_SIZES, default_layers
from partscope.grids import REACH, FeatureGrids
from partscope.linear import Discriminants, Statistics, decode, presence, solve
from partscope.linear.channels import strongest_channels
from partscope.linear.mirroring import MirrorMap, MirrorSums
from partscope.linear.record import TrainingRecord
from partscope.linear.shrinkage import evidence_maps
from partscope.prior import StaticPrior
from partscope.views import View, box_mask, needs_box, view

_Self = TypeVar("_Self", bound="LinearDetector")


@register_detector("linear")
class LinearDetector(PartDetector):
    """Finds each part by one linear discriminant over the channels of several layers of a pretrained network.

    `fit` gathers counts, sums and products of features in one pass over the images; the discriminants follow from them in
    closed form (:mod:`partscope.linear`). They are sums over images: :meth:`partial_fit` adds images, :meth:`forget` takes
    some away, :meth:`merge` joins detectors that were fitted on shards of a data set. `predict` costs one forward pass. With
    `arrangement="exemplars"` the evidence of all parts is brought together by :mod:`partscope.arrangement`.

    Parameters
    ----------
    backbone: a name of the registry, or a :class:`~partscope.backbones.Backbone` around any module.
    layers: names of the layers to combine, the deepest last; by default :func:`~partscope.grid_layers.default_layers`.
    context: those of `layers` that are also looked at in the eight places around a cell; by default those of the default
        layers, and none where `layers` are given.
    reach: distance of these places, as a share of the input's side.
    scales: sizes at which the network sees the input, relative to it; their features are averaged, and each costs a pass.
    input_size, weights: as for :func:`~partscope.backbones.get_backbone`; only with a backbone given by name. Without
        `input_size`, that of :data:`~partscope.grid_layers.CHOSEN_SIZES`, or the network's own.
    region: `"image"` (nothing about a box is used), `"mask"` (evidence outside the box does not count) or `"crop"`, see
        :mod:`partscope.views`.
    shrinkage: `"auto"` (chosen by leaving images out), or a positive number in units of the mean variance of a feature.
    flips: learn from mirror images too: True (each costs a pass), `"mapped"` (one in eight is passed, and what it shows of
        mirroring stands for the others, see :mod:`partscope.linear.mirroring`), False, or `"auto"` (True with 60 images or
        fewer, else `"mapped"`).
    arrangement: `"exemplars"`, or `"none"`, where each part is placed by its own evidence.
    memory: bytes of features that `fit` may keep to make held-out evidence. Where those of all images do not fit, the
        shrinkage and the arrangement are learned from evenly spaced images that do.

    Attributes
    ----------
    backbone_: the backbone.
    grids_: its layers as grids.
    statistics_: the sufficient statistics.
    discriminants_: weights and biases.
    shrinkage_: the shrinkage that was used.
    shrinkage_errors_: held-out error (distance / diagonal) of each value that was tried.
    flips_used_: how mirror images were learned from: `"all"`, `"mapped"` or `"none"`.
    mirror_sums_: what mirroring does to the features, as sums over images.
    record_: annotation and held-out evidence of the training images.
    arrangement_: the spatial model, or None.

    Raises
    ------
    OptionError, BackboneError: from `fit`, for a parameter with an unknown value.
    """

    backbone_: Backbone
    grids_: FeatureGrids
    statistics_: Statistics
    discriminants_: Discriminants
    shrinkage_: float
    shrinkage_errors_: dict[float, float]
    flips_used_: str
    mirror_sums_: MirrorSums
    record_: TrainingRecord
    arrangement_: Arrangement | None
    _mirroring: MirrorMap | None

    def __init__(
        self,
        backbone: str | Backbone = DEFAULT_BACKBONE,
        layers: Sequence[str] | None = None,
        context: Sequence[str] | None = None,
        reach: float = REACH,
        scales: Sequence[float] = (1.0,),
        input_size: int | None = None,
        weights: str | Path | None = None,
        region: str = "image",
        shrinkage: str | float = "auto",
        flips: str | bool = "auto",
        arrangement: str = "exemplars",
        memory: int = 1 << 30,
    ) -> None:
        self.backbone = backbone
        self.layers = layers
        self.context = context
        self.reach = reach
        self.scales = scales
        self.input_size = input_size
        self.weights = weights
        self.region = region
        self.shrinkage = shrinkage
        self.flips = flips
        self.arrangement = arrangement
        self.memory = memory

    @property
    def needs_box(self) -> bool:
        """Whether the region is defined by the bounding box; an OptionError names an unknown region."""
        return needs_box(self.region)

    # -- learning ---------------------------------------------------------------------------------------------------
    def _fit(self, dataset: PartDataset, *, on_error: str, progress: bool) -> None:
        needs_box(self.region)
        candidates = candidates_of(self.shrinkage)
        check_options(self.arrangement, self.memory)
        check_grids(self.layers, self.context, self.reach, self.scales)
        flips = flips_of(self.flips, len(dataset))
        layer, size = None, self.input_size
        if isinstance(self.backbone, str):
            layer = None if self.layers is None else list(self.layers)[-1]
            size = CHOSEN_SIZES.get(self.backbone) if size is None else size
        backbone = make_backbone(self.backbone, layer, size, self.weights)
        grids = self._make_grids(backbone)
        self.flips_used_ = flips
        learned = learn(
            dataset,
            grids,
            self.region,
            flips=self.flips_used_,
            memory=self.memory,
            candidates=candidates,
            on_error=on_error,
            progress=progress,
        )
        self.skipped_ = learned.skipped
        self.backbone_ = backbone
        self.grids_ = grids
        self.shrinkage_errors_ = learned.errors
        self._conclude(learned)

    def partial_fit(
        self: _Self, dataset: PartDataset, *, on_error: str = "raise", progress: bool = False
    ) -> _Self:
        """Learn from further images, or from the first ones.

        The shrinkage stays what `fit` has chosen. The held-out evidence of the new images is that of the discriminants
        as they were before.

        Parameters
        ----------
        dataset: images with the same parts, with ids that the detector has not learned from.
        on_error, progress: as for :meth:`fit`.

        Raises
        ------
        As :meth:`fit`. OptionError: other parts or pairs, or an image that was learned from already.
        """
        if not hasattr(self, "train_ids_"):
            return self.fit(dataset, on_error=on_error, progress=progress)
        check_on_error(on_error)
        usable, skipped = with_usable_boxes(matching(self, dataset), self.needs_box, on_error)
        again = set(usable.ids) & set(self.record_.ids)
        if again:
            raise OptionError(
                f"{len(again)} images were already learned from, among them {min(again)}; forget them first, or leave "
                "them out."
            )
        learned = learn(
            usable,
            self.grids_,
            self.region,
            flips=self.flips_used_,
            memory=self.memory,
            candidates=[self.shrinkage_],
            known=self.discriminants_,
            on_error=on_error,
            progress=progress,
        )
        self._conclude(
            replace(
                learned,
                statistics=self.statistics_ + learned.statistics,
                mirror_sums=self.mirror_sums_ + learned.mirror_sums,
                record=self.record_.joined(learned.record),
            )
        )
        self.skipped_ += skipped + learned.skipped
        return self

    def forget(self: _Self, dataset: PartDataset, *, progress: bool = False) -> _Self:
        """Take images away that the detector has learned from: it is then as if it had never seen them.

        But for rounding, and for the held-out evidence of the others, which came from discriminants that knew them. Where
        mirror images were learned from, they go too.

        Parameters
        ----------
        dataset: images as they were given to :meth:`fit` or :meth:`partial_fit`; they are read again.

        Raises
        ------
        NotFittedError: the detector has not been fitted.
        OptionError: an image that was not learned from, or with another annotation, or all of them; other parts or pairs.
        ImageError, DatasetError: an image cannot be read.
        """
        check_is_fitted(self, "train_ids_")
        usable, _ = with_usable_boxes(matching(self, dataset), self.needs_box, "raise")
        record = self.record_.without(usable.ids)
        check_learned_from(self.record_, usable, boxes=self.region == "crop")
        if not len(record):
            raise OptionError("no image would be left; fit a new detector instead.")
        learned = learn(
            usable,
            self.grids_,
            self.region,
            flips=self.flips_used_,
            memory=0,
            candidates=[self.shrinkage_],
            known=self.discriminants_,
            progress=progress,
        )
        self._conclude(
            replace(
                learned,
                statistics=self.statistics_ - learned.statistics,
                mirror_sums=self.mirror_sums_ - learned.mirror_sums,
                record=record,
                held=[],
            )
        )
        return self

    def merge(self: _Self, *others: LinearDetector) -> _Self:
        """Add what other detectors, of the same options and other images, have learned, and return this one.

        With shrinkages that differ, their geometric mean, weighted by numbers of images, is taken.

        Raises
        ------
        NotFittedError: a detector has not been fitted.
        OptionError: other parts, layers or options that the features depend on, or an image that two have learned from.
        BackboneError: another network.
        """
        check_is_fitted(self, "train_ids_")
        total, record, sums = self.statistics_, self.record_, self.mirror_sums_
        weighted = len(record) * np.log(self.shrinkage_)
        for other in others:
            if not isinstance(other, LinearDetector):
                raise OptionError(
                    f"a linear detector can be merged with others alone, not with {type(other).__name__}."
                )
            check_is_fitted(other, "train_ids_")
            check_mergeable(self, other)
            total = total + other.statistics_
            record = record.joined(other.record_)
            sums = sums + other.mirror_sums_
            weighted += len(other.record_) * np.log(other.shrinkage_)
        same = all(other.shrinkage_ == self.shrinkage_ for other in others)
        mean = self.shrinkage_ if same else float(np.exp(weighted / len(record)))
        self._conclude(Learned(total, sums, record, mean, {}, (), []))
        return self

    def _conclude(self, learned: Learned) -> None:
        """Take what follows from statistics and record; of the last of the record's images the features are at hand."""
        record = learned.record
        if len(record) < len(self.parts_):
            warnings.warn(
                f"{len(record)} training images are fewer than the {len(self.parts_)} parts; expect large errors, and mark "
                "more images.",
                PartscopeWarning,
                stacklevel=4,
            )
        mirroring = None if self.flips_used_ == "none" else MirrorMap.of(learned.mirror_sums, self.grids_)
        both = with_mirrored(learned.statistics, mirroring, self.flips_used_, self.mirror_)
        discriminants = solve(both, learned.shrinkage)
        prior = StaticPrior.fit(record.as_dataset(self.parts_, self.mirror_))
        arrangement = None
        if self.arrangement != "none":
            arrangement, record = arrange(
                record, self.grids_, self.region, self.mirror_, mirroring, learned.held
            )
        # Only now: where one of these fails, the detector is what it was.
        self.statistics_, self.mirror_sums_, self.shrinkage_ = (
            learned.statistics,
            learned.mirror_sums,
            learned.shrinkage,
        )
        self._mirroring, self.discriminants_ = mirroring, discriminants
        self.prior_, self.arrangement_ = prior, arrangement
        self.record_, self.train_ids_ = record, record.ids

    # -- what depends on the options ------------------------------------------------------------------------------
    def _make_grids(self, backbone: Backbone) -> FeatureGrids:
        layers, near = default_layers(backbone) if self.layers is None else (tuple(self.layers), ())
        near = near if self.context is None else tuple(self.context)
        return FeatureGrids(backbone, layers, near, self.reach, tuple(self.scales))

    def _feature_options(self) -> tuple[object, ...]:
        grids = self.grids_
        facts = (grids.layers, grids.context, grids.reach, grids.scales, self.region, self.flips_used_)
        return (*facts, self.backbone_.content_hash)

    # -- locating ---------------------------------------------------------------------------------------------------
    def evidence(self, image: Image.Image, box: Box | None = None) -> tuple[NDArray[np.float32], View]:
        """Return the evidence maps of an image, (P, h, w) log-odds of part against background, and what they show.

        Parameters
        ----------
        image: upright RGB picture.
        box: `(x, y, width, height)` in pixels, needed where `needs_box`.
        """
        check_is_fitted(self, "train_ids_")
        maps, seen = self._maps(image, box)
        return evidence_maps(self.grids_, maps, self.discriminants_), seen

    def _maps(self, image: Image.Image, box: Box | None) -> tuple[list[Tensor], View]:
        region = "crop" if self.region == "crop" else "image"
        seen = view(self.backbone_.preprocessing, image, region, box)
        return [features[0] for features in self.grids_(seen.inputs[None])], seen

    def _locate(self, image: Image.Image, box: Box | None) -> Located:
        layers, seen = self._maps(image, box)
        maps = evidence_maps(self.grids_, layers, self.discriminants_)
        mask = expected_error = predicted = None
        if self.region == "mask" and box is not None:
            mask = box_mask(self.grids_.grid, seen.extent, box).numpy()
        if self.arrangement_ is None:
            shares, score = decode(maps, mask), presence(maps, self.prior_.visibility, mask)
        else:
            if mask is not None:
                maps = np.where(mask, maps, maps.min(axis=(1, 2), keepdims=True))
            arranged = self.arrangement_.infer(
                maps, seen.extent, lambda at: features_at(self.grids_, layers, at)
            )
            shares, score = np.clip(arranged.points, 0.0, 1.0), arranged.visibility
            expected_error, predicted = arranged.expected_error, arranged.box
        points = shares * np.array(seen.extent) + np.array(seen.origin)
        found = self.statistics_.shown > 0
        points[~found] = np.nan
        score = np.where(found, score, 0.0)
        return Located(points, found, score, found & (score >= 0.5), expected_error, predicted)

    def strongest_channels(self, part: str, n: int = 10) -> list[tuple[str, int, float]]:
        """Return the channels that say most about a part: layer, channel, and weight times the channel's spread.

        Of a channel that is looked at in several places the sum of the magnitudes decides, and its sign is that at the
        cell itself.

        Raises
        ------
        NotFittedError: the detector has not been fitted. OptionError: there is no such part.
        """
        check_is_fitted(self, "train_ids_")
        if part not in self.parts_:
            raise OptionError(f"there is no part {part!r}; the parts are {', '.join(self.parts_)}.")
        names = self.grids_.feature_names()
        weights = self.discriminants_.weights[:, self.parts_.index(part)]
        return strongest_channels(names, self.statistics_, weights, n)

    def _info(self) -> dict[str, Any]:
        return {
            **super()._info(),
            "backbone": self.backbone_.name,
            "layer": " + ".join(self.grids_.layers),
            "input_size": self.backbone_.input_size,
            "centre": self.arrangement,
        }

    # -- model files ------------------------------------------------------------------------------------------------
    def _state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        return linear_state(self)

    def _restore(self, tensors: Tensors, config: Fields, backbone: Backbone | None) -> None:
        restore_linear(self, tensors, config, backbone)
