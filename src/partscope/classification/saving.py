"""From a fitted classifier to a model file and back: one file with its detector inside, nothing in it can run code.

The document's keys beside those of :mod:`partscope.detectors.model_file`: `kind` ("classifier"), `features` and
`classifier` (parameters), `parts`, `marked`, `mirror`, `prior_parts`, `classes`, `model` (how C was chosen), `embedder` (what describes the network of the
features, with its content hash), `train_ids`, and `detector` (the detector's own document, or null).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from partscope.backbones import Backbone, Embedder, get_embedder
from partscope.classification.linear import CLASSIFIERS, LinearModel
from partscope.classification.part_features import PartFeatures
from partscope.classification.penalty import TriedC
from partscope.classification.sources import Known, part_source
from partscope.detectors import PartDetector
from partscope.detectors.model_file import Fields, Tensors, check_kind, damaged, read_model, write_model
from partscope.detectors.networks import refuse_remote
from partscope.detectors.saving import detector_state, restore_detector, say_what_is_fetched, storable
from partscope.errors import BackboneError, ModelFileError, OptionError
from partscope.prior import StaticPrior

if TYPE_CHECKING:
    from partscope.classification.classifier import PartClassifier

C = TypeVar("C", bound="PartClassifier")

#: Parameters of the features that are not kept as they are: what they led to is, or they belong to one run.
KEPT_APART = frozenset({"detector", "backbone", "weights", "predictions", "cache", "progress", "scale"})


def save_classifier(classifier: PartClassifier, path: str | Path) -> None:
    """Write a fitted classifier to a model file; errors as :meth:`PartClassifier.save`."""
    features, model = classifier.features_, classifier.model_
    if type(features) is not PartFeatures:
        raise ModelFileError(
            f"{path}: a classifier around {type(features).__name__} cannot be saved, only one around PartFeatures; fit it again "
            "where it is needed (with cache=FILE its features are kept), or fit one around PartFeatures."
        )
    known = features._known
    if part_source(features.source).needs == "detector" and features.detector_ is None:
        raise ModelFileError(
            f"{path}: the classifier was fitted to predictions without their detector, so the file could describe no other "
            "image; give PartFeatures the fitted detector too."
        )
    params = features.get_params(deep=False)
    tensors: dict[str, NDArray[Any]] = {
        "linear.coef": np.asarray(model.coef, dtype=np.float64),
        "linear.intercept": np.asarray(model.intercept, dtype=np.float64),
    }
    if known.prior is not None:
        tensors.update({f"prior.{name}": array for name, array in known.prior.to_arrays().items()})
    nested = None
    if features.detector_ is not None:
        nested, arrays = detector_state(features.detector_, path)
        tensors.update({f"detector.{name}": array for name, array in arrays.items()})
    document = {
        "kind": "classifier",
        "features": {
            name: storable(path, name, value) for name, value in params.items() if name not in KEPT_APART
        },
        "scale": features.scale_,
        "backbone": features.backbone if isinstance(features.backbone, str) else None,
        "embedder": features.embedder_.describe(),
        "parts": list(known.parts),
        "marked": None if known.marked is None else list(known.marked),
        "mirror": None if known.mirror is None else known.mirror.tolist(),
        "prior_parts": None if known.prior is None else list(known.prior.parts),
        "detector": nested,
        "classifier": {
            name: storable(path, name, value)
            for name, value in classifier.get_params(deep=False).items()
            if name != "features"
        },
        "model": model.record(),
        "classes": [_class_name(path, value) for value in classifier.classes_.tolist()],
        "train_ids": list(classifier.train_ids_),
    }
    write_model(path, document, tensors)


def load_classifier(
    path: str | Path, cls: type[C], embedder: Embedder | None, backbone: Backbone | None
) -> C:
    """Read a classifier from a model file; errors as :meth:`PartClassifier.load`."""
    document, tensors = read_model(path)
    check_kind(document, "classifier")
    try:
        return _restored(document, tensors, cls, embedder, backbone)
    except (ModelFileError, BackboneError):
        raise
    except OptionError as error:
        if backbone is not None:  # the detector has none
            raise
        damaged(document.path, str(error))
    except (KeyError, IndexError, TypeError, ValueError, OverflowError) as error:
        damaged(document.path, f"its entries contradict each other: {error}")


def _restored(
    document: Fields, tensors: Tensors, cls: type[C], embedder: Embedder | None, backbone: Backbone | None
) -> C:
    path = document.path
    network = _embedder(document, embedder)
    detector = None
    if document.take("detector", object) is not None:
        nested = Fields(path, document.take("detector", dict))
        detector = restore_detector(nested, tensors.under("detector."), PartDetector, backbone)
    elif backbone is not None:
        raise OptionError(f"{path}: the classifier holds no detector; load it without a backbone.")
    features = _features(document, tensors, network, detector, embedder)
    params = document.take("classifier", dict)
    classifier = cls(features, **params)
    classes = document.take("classes", list)
    if len(classes) < 2 or not all(type(value) in (str, int) for value in classes):
        damaged(path, "its entry 'classes' is not a list of at least two names")
    if len(set(classes)) != len(classes):
        damaged(path, "its entry 'classes' holds a name twice")
    width = len(features.slots_.names) * network.dimension
    classifier.features_ = features
    classifier.classes_ = np.array(classes)
    fitted = Fields(path, document.take("model", dict))
    if fitted.take("classifier", str) not in CLASSIFIERS:
        damaged(path, f"its classifier {fitted['classifier']!r} is unknown")
    classifier.model_ = LinearModel(
        classes=tuple(str(value) for value in classes),
        coef=tensors.take("linear.coef", (len(classes), width), np.float64),
        intercept=tensors.take("linear.intercept", (len(classes),), np.float64),
        classifier=fitted["classifier"],
        C=fitted.take("C", float),
        folds=fitted.take("folds", int),
        tried=tuple(_tried(Fields(path, one)) for one in fitted.take("tried", list)),
        converged=fitted.take("converged", bool),
    )
    classifier.train_ids_ = document.take_names("train_ids")
    classifier.skipped_ = ()
    return classifier


def _tried(row: Fields) -> TriedC:
    images = row.take("images", int)
    right = round(row.take("accuracy", float) * images)
    return TriedC(row.take("C", float), right, images, row.take("unconverged", int))


def _features(
    document: Fields,
    tensors: Tensors,
    network: Embedder,
    detector: PartDetector | None,
    embedder: Embedder | None,
) -> PartFeatures:
    path = document.path
    params = document.take("features", dict)
    if not KEPT_APART.isdisjoint(params):
        damaged(path, "its entry 'features' holds a parameter that is not kept")
    scale = document.take("scale", float)
    stored = document.take("backbone", object)
    if isinstance(stored, str) and embedder is None:
        network_params = {"backbone": stored, "input_size": network.input_size, "weights": network.weights}
    else:
        network_params = {"backbone": network, "input_size": None, "weights": None}
    features = PartFeatures(detector, **{**params, **network_params, "scale": scale})
    features.check_parameters()
    source = part_source(features.source)
    parts = document.take_names("parts")
    if (source.needs == "") != (not parts) or len(set(parts)) != len(parts):
        damaged(path, f"its entry 'parts' does not suit the part source {features.source!r}")
    if source.needs == "detector" and detector is None:
        damaged(path, "its detector is missing")
    if detector is not None and not set(parts) <= set(detector.parts_):
        damaged(path, "it names parts that its detector does not have")
    known = Known(
        parts,
        _mirror(document, len(parts)),
        features.region,
        None if document.take("marked", object) is None else document.take_names("marked"),
        detector,
        prior=_prior(document, tensors) if source.needs == "prior" else None,
        random_state=features.random_state,
    )
    features._take(known, network, scale)
    return features


def _embedder(document: Fields, given: Embedder | None) -> Embedder:
    stored = Fields(document.path, document.take("embedder", dict))
    wanted, name = stored.take("content_hash", str), document.take("backbone", object)
    embedder = given
    if embedder is None:
        if not isinstance(name, str):
            raise ModelFileError(
                f"{document.path}: the classifier was fitted with features of an own network "
                f"({stored.take('name', str)}), which a model file does not hold; give it with load(path, embedder=…)."
            )
        sizes = Fields(document.path, stored.take("preprocessing", dict))
        weights = stored.take("weights", object)
        refuse_remote(document.path, weights if isinstance(weights, str) else None)
        if weights is None:
            say_what_is_fetched(document.path, name, "embedder")
        try:
            # The value and size that were used, not the defaults of this version.
            embedder = get_embedder(
                name,
                input_size=sizes.take("input_size", int),
                weights=None if weights is None else stored.take("weights", str),
                at=stored.take("at", str),
            )
        except BackboneError as error:
            raise BackboneError(
                f"{document.path}: the network of the features cannot be made again: {error}"
            ) from error
    if embedder.content_hash != wanted:
        raise ModelFileError(
            f"{document.path}: the classifier was made with features of another network than {embedder.name} at "
            f"{embedder.at!r} (content hash {wanted[:12]}…, not {embedder.content_hash[:12]}…: other weights, layer, input "
            "size or preprocessing); load it with the one that it was fitted with."
        )
    return embedder


def _mirror(document: Fields, count: int) -> NDArray[np.intp] | None:
    if document.take("mirror", object) is None:
        return None
    values = document.take("mirror", list)
    if sorted(values) != list(range(count)) or any(values[values[i]] != i for i in range(count)):
        damaged(document.path, "its entry 'mirror' is not a pairing of the parts")
    return np.array(values, dtype=np.intp)


def _prior(document: Fields, tensors: Tensors) -> StaticPrior:
    parts = document.take_names("prior_parts")
    shapes = {"image": (len(parts), 2), "box": (len(parts), 2), "visibility": (len(parts),)}
    arrays = {
        name: tensors.take(f"prior.{name}", shape, np.float64, finite=name == "visibility")
        for name, shape in shapes.items()
    }
    return StaticPrior.from_arrays(parts, arrays)


def _class_name(path: str | Path, value: object) -> str | int:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ModelFileError(
            f"{path}: the class {value!r} cannot be stored in a model file; name classes by strings or whole numbers."
        )
    return value
