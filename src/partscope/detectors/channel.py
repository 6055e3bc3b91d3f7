"""`ChannelDetector`: the paper's method. Each part is found by the one channel that Eq. 3 selects for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from partscope.arrangement import Arrangement
from partscope.backbones import DEFAULT_BACKBONE, Backbone
from partscope.centres import concentration, find_centres
from partscope.channel_centres import ACTIVATION_CENTRE, ACTIVATION_CUT, CentreSpec
from partscope.channel_maps import ChannelMaps, all_channel_maps
from partscope.dataset import PartDataset
from partscope.detectors.base import PartDetector
from partscope.detectors.channel_arrangement import (
    evidence_of_parts,
    gradient_evidence,
    learn_arrangement,
    selected_channels,
)
from partscope.detectors.channel_search import (
    CHANNEL_SEARCHES,
    check_channel_search,
    rank_training_channels,
)
from partscope.detectors.linear_options import ARRANGEMENTS
from partscope.detectors.located import Located
from partscope.detectors.model_file import Fields, Tensors
from partscope.detectors.networks import make_backbone, restore_backbone
from partscope.detectors.queries import Box
from partscope.detectors.registry import register_detector
from partscope.errors import ModelFileError, OptionError
from partscope.search import Search
from partscope.selection import NORMALISERS, RULES, Ranking, ranking_order
from partscope.views import View, needs_box, region_box, view


@register_detector("channel")
class ChannelDetector(PartDetector):
    """Finds each part at the activation centre of one channel of a pretrained network (the paper, section 2).

    `fit` computes the activation centre of every candidate channel in every training image and takes for each part the
    channel with the smallest sum of squared distances (Eq. 3). `predict` computes the selected channels alone. A part is
    found, and believed visible, where its channel has a centre; `score` is the share of the channel's map's mass within a
    tenth of the map's diagonal of that centre.

    With `maps="activation"`, which is not the paper's, centres are those of the channels' squared activations. One forward
    pass gives them for all channels, so `fit` compares all of them, and `predict` costs little more than that pass.

    With `arrangement="exemplars", which is not the paper's, the maps of all selected channels together place the parts
    (:mod:`partscope.arrangement`); a part is then found wherever some training image showed it, and `score` is the
    probability that it is visible, `visible` where that is at least 0.5.

    Parameters
    ----------
    backbone: a name of the registry, or a :class:`~partscope.backbones.Backbone` around any module.
    layer, input_size, weights: as for :func:`~partscope.backbones.get_backbone`; only with a backbone given by name.
    centre: `"mixture"` (the paper's), `"maximum"` (MaxG), `"smoothed"` or `"centroid"`; by default the mixture of gradients
        and the centroid of activations.
    region: `"image"` (nothing about a box is used), `"mask"` or `"crop"`, see :mod:`partscope.views`.
    rule: of selection, `"squared"` (Eq. 3), `"mean"` or `"median"`.
    normalise: distances are divided by the training `"box"` diagonal, the `"image"` diagonal, or by nothing (`"none"`).
    reduction: of the gradient's colours, `"l2"`, `"l1"` or `"max"`.
    quantile: cut of `mixture` and `centroid`; by default the backbone's (`Backbone.cut`) for gradients, none for activations.
    sigma: of `smoothed`, in pixels of the map: those of the network's input, or cells of the layer's grid for activations.
    search: `"shortlist"` computes gradients for the channels whose *activation* centres rank among the best of some part
        alone (see :mod:`partscope.shortlist`), `"exhaustive"` for all channels, as the paper does. `"bounded"` finds
        what `"exhaustive"` finds with a fraction of the gradients, `"racing"` does but for a risk of `delta` (see
        :mod:`partscope.search`). Not looked at where the maps are activations: all channels are compared then.
    shortlist: channels kept per part by the shortlist.
    arrangement: `"none"`, the paper's: each part for itself; or `"exemplars"`, which costs `fit` one more pass over the
        images, with the gradients of the selected channels.
    maps: `"gradient"` (the paper's), `"activation"`, or `"upsampled"`: activations interpolated to a finer grid.
    delta: risk of `search="racing"` that a winner is lost.
    top: channels per part whose costs are complete after `"bounded"` and `"racing"`; of the others a lower bound is known.
    scan_folder: where `fit` keeps the centres as it goes, so that a killed fit can be continued; in memory by default.

    Attributes
    ----------
    backbone_: the backbone.
    spec_: how a channel becomes a point, every default filled in.
    ranking_: the candidate channels of each part with their costs.
    search_: what a `"bounded"` or `"racing"` search cost; None after the others, and of a detector from a file.
    channels_: the selected channel of each part, by name; a part that no training image shows is missing.
    arrangement_: the spatial model, or None.

    Raises
    ------
    OptionError, BackboneError: from `fit`, for a parameter with an unknown value.
    """

    backbone_: Backbone
    spec_: CentreSpec
    ranking_: Ranking
    channels_: dict[str, int]
    arrangement_: Arrangement | None
    search_: Search | None

    def __init__(
        self,
        backbone: str | Backbone = DEFAULT_BACKBONE,
        layer: str | None = None,
        input_size: int | None = None,
        weights: str | Path | None = None,
        centre: str | None = None,
        region: str = "image",
        rule: str = "squared",
        normalise: str = "box",
        reduction: str = "l2",
        quantile: float | None = None,
        sigma: float = 3.0,
        search: str = "shortlist",
        shortlist: int = 4,
        arrangement: str = "none",
        scan_folder: str | Path | None = None,
        maps: str = "gradient",
        delta: float = 0.05,
        top: int = 1,
    ) -> None:
        self.backbone = backbone
        self.layer = layer
        self.input_size = input_size
        self.weights = weights
        self.centre = centre
        self.region = region
        self.rule = rule
        self.normalise = normalise
        self.reduction = reduction
        self.quantile = quantile
        self.sigma = sigma
        self.search = search
        self.shortlist = shortlist
        self.arrangement = arrangement
        self.scan_folder = scan_folder
        self.maps = maps
        self.delta = delta
        self.top = top

    @property
    def needs_box(self) -> bool:
        """Whether the region is defined by the bounding box; an OptionError names an unknown region."""
        return needs_box(self.region)

    def _spec(self, cut: float) -> CentreSpec:
        """How a channel becomes a point, from the parameters; an OptionError names a wrong one."""
        gradients = self.maps == "gradient"
        centre = self.centre or ("mixture" if gradients else ACTIVATION_CENTRE)
        usual = cut if gradients else ACTIVATION_CUT
        quantile = usual if self.quantile is None else self.quantile
        return CentreSpec(centre, self.region, self.reduction, quantile, self.sigma, self.maps)

    def _fit(self, dataset: PartDataset, *, on_error: str, progress: bool) -> None:
        self._spec(0.5)  # a wrong parameter is refused before a network is loaded
        for what, value, known in (
            ("rule", self.rule, RULES),
            ("normalise", self.normalise, NORMALISERS),
            ("search", self.search, CHANNEL_SEARCHES),
            ("arrangement", self.arrangement, ARRANGEMENTS),
        ):
            if value not in known:
                raise OptionError(f"{what} must be one of {', '.join(known)}, not {value!r}.")
        check_channel_search(self)
        backbone = make_backbone(self.backbone, self.layer, self.input_size, self.weights)
        spec = self._spec(backbone.cut)
        folder = None if self.scan_folder is None else Path(self.scan_folder)
        found = rank_training_channels(
            self, dataset, backbone, spec, folder=folder, on_error=on_error, progress=progress
        )
        failed = {item.id for item in found.failures}
        usable = dataset[np.array([i for i, name in enumerate(dataset.ids) if name not in failed])]
        self._check_shown(usable)
        self.skipped_ = found.failures
        self.backbone_ = backbone
        self.spec_ = spec
        self.ranking_ = found.ranking
        self.search_ = found.search
        self._select()
        self.arrangement_ = None
        if self.arrangement == "exemplars":
            place = None if folder is None else folder / "evidence"
            self.arrangement_ = learn_arrangement(self, usable, folder=place, progress=progress)

    def _select(self) -> None:
        winners = zip(self.ranking_.parts, self.ranking_.best.tolist(), strict=True)
        self.channels_ = {part: channel for part, channel in winners if channel >= 0}

    def part_maps(self, image: Image.Image, box: Box | None = None) -> tuple[list[int], torch.Tensor, View]:
        """Return the selected channels, ascending, their maps (C, H, W), and the view that they belong to.

        The view's mask is that of the maps' own grid.

        Parameters
        ----------
        image: upright RGB picture.
        box: `(x, y, width, height)` in pixels, needed where `needs_box`.
        """
        channels, found, seen = self._channel_maps(image, box)
        return channels, found.maps, seen

    def _channel_maps(self, image: Image.Image, box: Box | None) -> tuple[list[int], ChannelMaps, View]:
        spec = self.spec_
        seen = view(self.backbone_.preprocessing, image, spec.region, box)
        channels = selected_channels(self)
        found = all_channel_maps(self.backbone_, seen, spec.maps, channels, reduction=spec.reduction)
        if spec.region == "mask":
            mask = found.mask(seen, region_box(spec.region, image.size, box))
            seen = dataclasses.replace(seen, mask=mask)
        return channels, found, seen

    def _locate(self, image: Image.Image, box: Box | None) -> Located:
        channels, found_maps, seen = self._channel_maps(image, box)
        maps = found_maps.maps
        if self.arrangement_ is not None:
            return self._arranged(self.arrangement_, maps, seen)
        spec = self.spec_
        centres = find_centres(maps, spec.centre, seen.mask, **spec.options)
        share = concentration(maps, centres.points, seen.mask)
        in_image = found_maps.to_image(centres.points, seen).numpy()
        row = {channel: i for i, channel in enumerate(channels)}
        points = np.full((len(self.parts_), 2), np.nan)
        score = np.zeros(len(self.parts_))
        for p, part in enumerate(self.parts_):
            if part in self.channels_:
                points[p] = in_image[row[self.channels_[part]]]
                score[p] = float(share[row[self.channels_[part]]])
        found = np.isfinite(points).all(axis=1)
        return Located(points, found, score, found.copy())

    def _arranged(self, arrangement: Arrangement, maps: torch.Tensor, seen: View) -> Located:
        evidence = evidence_of_parts(gradient_evidence(maps, seen.mask), self)
        arranged = arrangement.infer(evidence, seen.extent)
        points = np.clip(arranged.points, 0.0, 1.0) * np.array(seen.extent) + np.array(seen.origin)
        found = np.array([part in self.channels_ for part in self.parts_])
        points[~found] = np.nan
        score = np.where(found, arranged.visibility, 0.0)
        return Located(points, found, score, found & (score >= 0.5), arranged.expected_error, arranged.box)

    def _info(self) -> dict[str, Any]:
        backbone, spec = self.backbone_, self.spec_
        centre = spec.centre if spec.maps == "gradient" else f"{spec.maps} {spec.centre}"
        return {
            "method": self.method,
            "backbone": backbone.name,
            "layer": backbone.layer,
            "input_size": backbone.input_size,
            "centre": centre if self.arrangement == "none" else f"{centre} + {self.arrangement}",
            "region": self.region,
        }

    # -- model files ------------------------------------------------------------------------------------------------
    def _state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        ranking = self.ranking_
        tensors: dict[str, NDArray[Any]] = {
            "channels": ranking.channels,
            "cost": ranking.cost,
            "missing": ranking.missing,
            "images": ranking.images,
        }
        if ranking.complete is not None:
            tensors["complete"] = ranking.complete
        config = {"backbone": self.backbone_.describe(), "quantile": self.spec_.quantile}
        if self.arrangement_ is not None:
            arrays, config["arrangement"] = self.arrangement_.state()
            tensors.update({f"arrangement.{key}": value for key, value in arrays.items()})
        return tensors, config

    def _restore(self, tensors: Tensors, config: Fields, backbone: Backbone | None) -> None:
        spec = self._spec(config.take("quantile", float))
        backbone = restore_backbone(config, self.backbone, self.weights, backbone)
        count = len(self.parts_)
        channels = tensors.take("channels", (None,), np.int64)
        cost = tensors.take("cost", (count, len(channels)), np.float64, finite=False)
        missing = tensors.take("missing", (count, len(channels)), np.int64)
        images = tensors.take("images", (count,), np.int64)
        if not len(channels) or channels.min() < 0 or channels.max() >= backbone.channels:
            raise ModelFileError(
                f"{config.path}: the model names channels that the layer does not have; copy the file again, or fit and "
                "save the detector again."
            )
        has_bounds = "complete" in tensors
        complete = tensors.take("complete", (len(channels),), np.bool_) if has_bounds else None
        order = ranking_order(cost, channels, complete)
        if isinstance(self.backbone, Backbone):
            # An object in place of a name brings these with it; a later fit would refuse both.
            self.layer = self.input_size = self.weights = None
        self.backbone_ = backbone
        self.spec_ = spec
        self.ranking_ = Ranking(self.parts_, channels, cost, order, missing, images, complete)
        self.search_ = None
        self._select()
        self.arrangement_ = None
        if "arrangement" in config:
            values = config.take("arrangement", dict)
            self.arrangement_ = Arrangement.restore(tensors.under("arrangement."), values)
            if self.arrangement_.parts != len(self.parts_):
                raise ValueError("the arrangement is of other parts than the detector")
