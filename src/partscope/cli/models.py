"""From a model file to a detector, with the network's weights from wherever they are now."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from partscope.errors import OptionError

if TYPE_CHECKING:
    from partscope.detectors import PartDetector


def load_model(path: Path, weights: Path | None) -> PartDetector:
    """Read a detector; `weights` names the network's weights where they are not where they were at fit.

    Raises
    ------
    ModelFileError: as :meth:`PartDetector.load`, also for weights other than those that the model was made with.
    BackboneError: the weights cannot be read or do not fit.
    OptionError: weights for a method that has no network.
    """
    from partscope.backbones import get_backbone
    from partscope.detectors import PartDetector
    from partscope.detectors.model_file import Fields, check_kind, read_model

    if weights is None:
        return PartDetector.load(path)
    document, _ = read_model(path)
    check_kind(document, "detector")
    config = Fields(document.path, document.take("config", dict))
    if "backbone" not in config:
        raise OptionError(
            f"{path}: the method {document.take('method', str)!r} has no network; leave --weights out."
        )
    stored = Fields(document.path, config.take("backbone", dict))
    preprocessing = Fields(document.path, stored.take("preprocessing", dict))
    backbone = get_backbone(
        stored.take("name", str),
        layer=stored.take("layer", str),
        input_size=preprocessing.take("input_size", int),
        weights=weights,
    )
    return PartDetector.load(path, backbone=backbone)
