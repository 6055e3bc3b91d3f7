"""A fitted linear detector as tensors and values of a model file, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from partscope.arrangement import Arrangement
from partscope.backbones import Backbone
from partscope.detectors.linear_arranging import with_mirror_images
from partscope.detectors.model_file import Fields, Tensors
from partscope.detectors.networks import restore_backbone
from partscope.grids import FeatureGrids
from partscope.linear import Discriminants, Statistics
from partscope.linear.collection import FLIPS
from partscope.linear.mirroring import MirrorMap, MirrorSums
from partscope.linear.record import TrainingRecord

if TYPE_CHECKING:
    from partscope.detectors.linear import LinearDetector


def linear_state(detector: LinearDetector) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Return what was learned, statistics included, so that a loaded detector can go on learning."""
    tensors: dict[str, NDArray[Any]] = {
        "weights": detector.discriminants_.weights,
        "bias": detector.discriminants_.bias,
    }
    tensors.update({f"statistics.{key}": value for key, value in detector.statistics_.to_arrays().items()})
    tensors.update({f"mirroring.{key}": value for key, value in detector.mirror_sums_.to_arrays().items()})
    tensors.update({f"record.{key}": value for key, value in detector.record_.to_arrays().items()})
    config: dict[str, Any] = {
        "backbone": detector.backbone_.describe(),
        "layers": list(detector.grids_.layers),
        "context": list(detector.grids_.context),
        "reach": float(detector.grids_.reach),
        "scales": [float(scale) for scale in detector.grids_.scales],
        "shrinkage": detector.shrinkage_,
        "shrinkage_errors": [[value, error] for value, error in detector.shrinkage_errors_.items()],
        "flips": detector.flips_used_,
        "record_ids": list(detector.record_.ids),
        "arrangement": None,
    }
    if detector.arrangement_ is not None:
        arrays, config["arrangement"] = detector.arrangement_.state()
        tensors.update({f"arrangement.{key}": value for key, value in arrays.items()})
    return tensors, config


def restore_linear(
    detector: LinearDetector, tensors: Tensors, config: Fields, backbone: Backbone | None
) -> None:
    """Take the learned state from a model file.

    Raises
    ------
    ModelFileError: an entry is missing or of another kind, or the backbone is another one.
    ValueError, KeyError: entries contradict each other.
    """
    detector.backbone_ = restore_backbone(config, detector.backbone, detector.weights, backbone)
    layers, context = config.take_names("layers"), config.take_names("context")
    scales = tuple(float(scale) for scale in config.get("scales", detector.scales))
    detector.grids_ = FeatureGrids(
        detector.backbone_, layers, context, float(config.get("reach", detector.reach)), scales
    )
    shape = (detector.grids_.features, len(detector.parts_))
    detector.discriminants_ = Discriminants(
        tensors.take("weights", shape, np.float32), tensors.take("bias", shape[1:], np.float32)
    )
    detector.statistics_ = Statistics.from_arrays(tensors.under("statistics."))
    if (detector.statistics_.features, detector.statistics_.parts) != shape:
        raise ValueError("the statistics are of other features or parts than the weights")
    detector.record_ = TrainingRecord.from_arrays(config.take_names("record_ids"), tensors.under("record."))
    _check_record(detector)
    detector.shrinkage_ = config.take("shrinkage", float)
    errors = config.take("shrinkage_errors", list)
    detector.shrinkage_errors_ = {float(value): float(error) for value, error in errors}
    detector.flips_used_ = config.take("flips", str)
    if detector.flips_used_ not in FLIPS:
        raise ValueError(f"flips must be one of {', '.join(FLIPS)}, not {detector.flips_used_!r}")
    detector.mirror_sums_ = MirrorSums.from_arrays(tensors.under("mirroring."))
    if [len(total) for total in detector.mirror_sums_.total] != [k for k, _, _ in detector.grids_.shapes]:
        raise ValueError("the sums of mirror images are of other layers")
    learned = detector.flips_used_ != "none"
    detector._mirroring = MirrorMap.of(detector.mirror_sums_, detector.grids_) if learned else None
    detector.arrangement_ = None
    if config.take("arrangement", object) is not None:
        values = config.take("arrangement", dict)
        known = detector.record_.features[detector.record_.described].astype(np.float32)
        features = with_mirror_images(known, detector._mirroring, detector.mirror_)
        detector.arrangement_ = Arrangement.restore(tensors.under("arrangement."), values, features)
        if detector.arrangement_.parts != len(detector.parts_):
            raise ValueError("the arrangement is of other parts than the detector")
    if isinstance(detector.backbone, Backbone):
        # An object in place of a name brings these with it; a later fit would refuse both.
        detector.input_size = detector.weights = None


def _check_record(detector: LinearDetector) -> None:
    """Raise a ValueError where the record is of other parts, cells or channels than the detector."""
    record, parts = detector.record_, len(detector.parts_)
    channels = sum(count for count, _, _ in detector.grids_.shapes)
    if record.visible.shape[1] != parts or record.evidence.shape[1:] != (parts, *detector.grids_.grid):
        raise ValueError("the training record is of other parts or another grid than the weights")
    if record.features.shape[2] not in (0, channels):
        raise ValueError("the training record holds features of other layers")
