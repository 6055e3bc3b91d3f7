"""A fitted discovery as tensors and values of a model file, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from partscope.backbones import Backbone
from partscope.detectors.model_file import Fields, Tensors
from partscope.detectors.networks import restore_backbone
from partscope.discovery.naming import Naming
from partscope.discovery.places import PlaceMap
from partscope.grids import FeatureGrids
from partscope.linear import Discriminants, Statistics

if TYPE_CHECKING:
    from partscope.discovery.detector import PartDiscovery


def discovery_state(detector: PartDiscovery) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return what was learned: enough to predict, and to name the parts later."""
    tensors: dict[str, NDArray[Any]] = {
        "weights": detector.discriminants_.weights,
        "bias": detector.discriminants_.bias,
        "rate": detector.rate_,
        "spread": detector.spread_,
    }
    tensors.update({f"base.{key}": value for key, value in detector.base_.to_arrays().items()})
    config: dict[str, Any] = {
        "backbone": detector.backbone_.describe(),
        "layers": list(detector.grids_.layers),
        "discovered_ids": list(detector.discovered_ids_),
        "channels": None
        if detector.part_channels_ is None
        else [list(pair) for pair in detector.part_channels_],
        "strength": None,
    }
    if detector.naming_ is not None:
        places, named = detector.naming_.places, detector.naming_.discriminants
        tensors |= {"places": places.weights, "deviation": places.deviation}
        tensors |= {"named.weights": named.weights, "named.bias": named.bias}
        config["strength"] = places.strength
    return tensors, config


def restore_discovery(
    detector: PartDiscovery, tensors: Tensors, config: Fields, backbone: Backbone | None
) -> None:
    """Take the learned state from a model file.

    Raises
    ------
    ModelFileError: an entry is missing or of another kind, or the backbone is another one.
    ValueError: entries contradict each other.
    """
    detector.backbone_ = restore_backbone(config, detector.backbone, detector.weights, backbone)
    detector.grids_ = FeatureGrids(detector.backbone_, config.take_names("layers"))
    bias = tensors.take("bias", (None,), np.float32)
    count = len(bias)
    weights = tensors.take("weights", (detector.grids_.features, count), np.float32)
    detector.discriminants_ = Discriminants(weights, bias)
    detector.base_ = Statistics.from_arrays(tensors.under("base."))
    if (detector.base_.features, detector.base_.parts) != (detector.grids_.features, 0):
        raise ValueError("the statistics are of other features than the weights")
    detector.rate_ = tensors.take("rate", (count,), np.float64)
    detector.spread_ = tensors.take("spread", (count,), np.float64)
    detector.discovered_ids_ = config.take_names("discovered_ids")
    detector.part_channels_ = None
    if config.take("channels", object) is not None:
        pairs = config.take("channels", list)
        detector.part_channels_ = tuple((str(layer), int(channel)) for layer, channel in pairs)
    detector.naming_ = None
    if config.take("strength", object) is not None:
        parts = len(detector.parts_)
        places = PlaceMap(
            tensors.take("places", (parts, 2 * count + 1, 2), np.float64, finite=False),
            config.take("strength", float),
            tensors.take("deviation", (parts,), np.float64),
        )
        named = Discriminants(
            tensors.take("named.weights", (detector.grids_.features, parts), np.float32),
            tensors.take("named.bias", (parts,), np.float32),
        )
        detector.naming_ = Naming(places, named)
    elif len(detector.parts_) != count:
        raise ValueError("there are more or fewer names than parts")
    if isinstance(detector.backbone, Backbone):
        # An object in place of a name brings these with it; a later fit would refuse both.
        detector.input_size = detector.weights = None
