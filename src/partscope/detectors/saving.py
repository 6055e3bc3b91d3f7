"""From a fitted detector to a model file and back."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from partscope.detectors.model_file import Fields, Tensors, check_kind, damaged, read_model, write_model
from partscope.detectors.registry import detector_methods, make_detector
from partscope.errors import BackboneError, ModelFileError, OptionError, PartscopeWarning
from partscope.prior import StaticPrior
from partscope.symmetry import mirrored_parts

if TYPE_CHECKING:
    from partscope.backbones.core import Backbone
    from partscope.detectors.base import PartDetector

D = TypeVar("D", bound="PartDetector")


def save_detector(detector: PartDetector, path: str | Path) -> None:
    """Write a fitted detector to a model file; errors as :meth:`PartDetector.save`."""
    write_model(path, *detector_state(detector, path))


def detector_state(
    detector: PartDetector, path: str | Path
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return a fitted detector as a model file's document and tensors; `path` is that file, for messages.

    Raises
    ------
    ModelFileError: a parameter has a value that JSON cannot hold.
    """
    tensors, config = detector._state()
    mirror, parts = detector.mirror_, detector.parts_
    params = detector.get_params(deep=False)
    document = {
        "method": detector.method,
        "params": {name: storable(path, name, value) for name, value in params.items()},
        "parts": list(parts),
        "pairs": [[parts[i], parts[j]] for i, j in enumerate(mirror) if i < j],
        "train_ids": list(detector.train_ids_),
        "config": config,
    }
    stored = {f"prior.{name}": array for name, array in detector.prior_.to_arrays().items()}
    stored.update({f"{detector.method}.{name}": array for name, array in tensors.items()})
    return document, stored


def load_detector(path: str | Path, cls: type[D], backbone: Backbone | None) -> D:
    """Read a detector that is an instance of `cls` from a model file; errors as :meth:`PartDetector.load`."""
    document, tensors = read_model(path)
    check_kind(document, "detector")
    return restore_detector(document, tensors, cls, backbone)


def restore_detector(document: Fields, tensors: Tensors, cls: type[D], backbone: Backbone | None) -> D:
    """Make a fitted detector of what :func:`detector_state` returned; errors as :meth:`PartDetector.load`."""
    detector = _unfitted(document, backbone)
    if not isinstance(detector, cls):
        raise ModelFileError(
            f"{document.path}: the model file holds the method {detector.method!r}, not {cls.method!r}; "
            "load it with PartDetector.load."
        )
    try:
        _restore(detector, document, tensors, backbone)
    except (ModelFileError, BackboneError):
        raise
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        damaged(document.path, f"its entries contradict each other: {error}")
    return detector


def _restore(detector: PartDetector, document: Fields, tensors: Tensors, backbone: Backbone | None) -> None:
    parts = document.take_names("parts")
    pairs = [(left, right) for left, right in document.take("pairs", list)]
    shapes = {"image": (len(parts), 2), "box": (len(parts), 2), "visibility": (len(parts),)}
    prior = {
        name: tensors.take(f"prior.{name}", shape, np.float64, finite=name == "visibility")
        for name, shape in shapes.items()
    }
    detector.parts_ = parts
    detector.mirror_ = mirrored_parts(parts, pairs)
    detector.prior_ = StaticPrior.from_arrays(parts, prior)
    detector.skipped_ = ()
    detector.train_ids_ = document.take_names("train_ids")
    config = Fields(document.path, document.take("config", dict))
    detector._restore(tensors.under(f"{detector.method}."), config, backbone)


def _unfitted(document: Fields, backbone: Backbone | None) -> PartDetector:
    method = document.take("method", str)
    if method not in detector_methods():
        raise ModelFileError(
            f"{document.path}: the model file holds the method {method!r}, which this partscope does not have; the methods "
            f"are {', '.join(detector_methods())}."
        )
    params = document.take("params", dict)
    if backbone is not None:
        if "backbone" not in params:
            raise OptionError(
                f"{document.path}: the method {method!r} uses no backbone; load it without one."
            )
        params = {**params, "backbone": backbone}
    name = params.get("backbone")
    if isinstance(name, str) and not params.get("weights"):
        say_what_is_fetched(document.path, name, "backbone")
    try:
        return make_detector(method, **params)
    except OptionError as error:
        damaged(document.path, str(error))


def say_what_is_fetched(path: Path, name: str, keyword: str) -> None:
    """Warn where opening a model file makes a library fetch a network's weights; `keyword` of `load` prevents it."""
    if name.startswith(("torchvision:", "timm:")):
        warnings.warn(
            f"{path}: the weights of {name} are fetched from the library's hub, unless they are in its cache; give the "
            f"network with load(path, {keyword}=…) (--weights FILE) to prevent that.",
            PartscopeWarning,
            stacklevel=6,
        )


def storable(path: str | Path, name: str, value: Any) -> Any:
    """Return a parameter as JSON can hold it; a backbone object and a random generator become None.

    Neither is needed to predict as before: the backbone is identified by its hash, and every draw has been made.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, (np.random.RandomState, np.random.Generator)) or (
        name == "backbone" and not isinstance(value, str)
    ):
        return None
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise ModelFileError(
            f"{path}: the parameter {name}={value!r} cannot be stored in a model file; use a number, a string or a list."
        ) from error
    return value
