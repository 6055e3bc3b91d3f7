"""`PartClassifier`: part features and a linear classifier, from images to class names (the paper, section 3)."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.utils.validation import check_is_fitted

from partscope.backbones import Backbone, Embedder
from partscope.classification.labels import check_classes, labels_of
from partscope.classification.linear import CLASSIFIERS, LinearModel, fit_linear
from partscope.classification.part_features import PartFeatures
from partscope.classification.result import ClassEvaluation, ClassPredictions, evaluate_classes
from partscope.classification.saving import load_classifier, save_classifier
from partscope.classification.scenes import ImagesLike
from partscope.dataset import PartDataset, Skipped
from partscope.detectors import PartDetector
from partscope.errors import DatasetError, OptionError, PartscopeWarning
from partscope.predictions import PartPredictions


class PartClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is not typed
    """Tells the class of an object from features of its parts (the paper, section 3; protocol, section 8).

    Parameters
    ----------
    features: an unfitted :class:`PartFeatures`; by default the paper's pipeline with the linear detector, fitted to the
        training images, and patches at the parts that it finds.
    classifier: `"logistic"` (L2-regularised logistic regression) or `"svm"` (linear, one against the rest).
    C: strength of the classifier; by default chosen by cross-validation inside the training images.
    flips: learn from the mirror images too; parts are mirrored, not detected again.
    random_state: seed of the cross-validation's folds and of the solver.

    Attributes
    ----------
    features_: the fitted features.
    model_: the linear model, see :class:`~partscope.classification.linear.LinearModel`.
    classes_: (K,) class names, in order.
    train_ids_: ids of the training images that were used.
    skipped_: training images that were left out with `on_error="skip"`, with the reason.
    """

    features_: PartFeatures
    model_: LinearModel
    classes_: NDArray[Any]
    train_ids_: tuple[str, ...]
    skipped_: tuple[Skipped, ...]

    def __init__(
        self,
        features: PartFeatures | None = None,
        *,
        classifier: str = "logistic",
        C: float | None = None,
        flips: bool = True,
        random_state: int = 0,
    ) -> None:
        self.features = features
        self.classifier = classifier
        self.C = C
        self.flips = flips
        self.random_state = random_state

    # -- fit --------------------------------------------------------------------------------------------------------
    def fit(
        self, X: ImagesLike, y: Sequence[Any] | ArrayLike | None = None, *, on_error: str = "raise"
    ) -> PartClassifier:
        """Learn from training images.

        Parameters
        ----------
        X: a data set, samples or images, as for :class:`PartFeatures`.
        y: N class names; by default the labels of the data set or the samples.
        on_error: `"raise"` stops at the first bad image, `"skip"` leaves it out and lists it in `skipped_`.

        Returns
        -------
        The classifier itself.

        Raises
        ------
        DatasetError: labels are missing, a class has fewer than two images, or there is one class only.
        ImageError: an image cannot be read.
        OptionError: a parameter has an unknown value.
        """
        if self.classifier not in CLASSIFIERS:
            raise OptionError(f"classifier must be one of {', '.join(CLASSIFIERS)}, not {self.classifier!r}.")
        labels = labels_of(X, y)
        check_classes(labels)  # before hours are spent on features
        if hasattr(self, "model_"):
            del self.model_  # a fit that fails halfway leaves an unfitted classifier, not a mixture of two
        features = PartFeatures(PartDetector()) if self.features is None else self.features
        if not isinstance(features, PartFeatures):
            raise OptionError(
                f"features must be a PartFeatures, not {type(features).__name__}; for another transformer use "
                "sklearn.pipeline.make_pipeline."
            )
        self.features_ = clone(features).fit(X, on_error=on_error)
        places = self.features_.locate(X, on_error=on_error)
        found = self.features_.rows(places, on_error=on_error)
        table, kept = found.features, found.kept
        if not len(kept):
            raise DatasetError(
                f"not one of the {len(labels)} training images could be read; the first: {found.failures[0].reason}"
            )
        lost = sorted({str(name) for name in labels} - {str(name) for name in labels[kept]})
        if lost:
            raise DatasetError(
                f"no training image of the class {lost[0]!r} could be read; mend its images, or leave the class out."
            )
        groups = np.arange(len(kept))
        flipped = np.zeros(len(kept), dtype=np.bool_)
        if self.flips:
            mirrored = self.features_.rows(places, mirrored=True, on_error=on_error)
            table = np.concatenate([table, mirrored.features])
            groups, flipped = np.tile(groups, 2), np.repeat([False, True], len(kept))
        model = fit_linear(
            table,
            [str(name) for name in labels[kept][groups]],
            classifier=self.classifier,
            C=self.C,
            groups=groups,
            mirrored=flipped,
            random_state=self.random_state,
        )
        # The model's names are text; predictions have the type and order of the labels, as scikit-learn has it.
        self.classes_ = np.unique(labels)
        order = [model.classes.index(str(value)) for value in self.classes_.tolist()]
        self.model_ = dataclasses.replace(
            model,
            classes=tuple(model.classes[k] for k in order),
            coef=model.coef[order],
            intercept=model.intercept[order],
        )
        failed = {item.id for item in found.failures}
        self.train_ids_ = tuple(name for name in places.scenes.ids if name not in failed)
        self.skipped_ = found.failures
        if self.skipped_:
            warnings.warn(
                f"{len(self.skipped_)} of {len(labels)} training images were left out; the first is {self.skipped_[0].id} "
                f"({self.skipped_[0].reason.rstrip('.')}).",
                PartscopeWarning,
                stacklevel=2,
            )
        return self

    # -- predict ----------------------------------------------------------------------------------------------------
    def decision_function(self, X: ImagesLike) -> NDArray[np.float64]:
        """Return the scores (N, K) of N images; with two classes (N,), positive for the second, as scikit-learn has it."""
        check_is_fitted(self, "model_")
        scores = self.model_.decision_function(self.features_.transform(X))
        return np.asarray(scores[:, 1] - scores[:, 0] if len(self.classes_) == 2 else scores)

    def predict(self, X: ImagesLike) -> NDArray[Any]:
        """Return the class names (N,) of N images; errors as :meth:`PartFeatures.transform`."""
        check_is_fitted(self, "model_")
        return np.asarray(
            self.classes_[self.model_.decision_function(self.features_.transform(X)).argmax(axis=1)]
        )

    def predict_classes(
        self,
        X: ImagesLike,
        boxes: ArrayLike | Sequence[Sequence[float] | None] | None = None,
        *,
        parts: PartPredictions | None = None,
        on_error: str = "raise",
    ) -> ClassPredictions:
        """Return class names and scores with the images' names.

        Parameters
        ----------
        X: a data set, samples or images.
        boxes: N bounding boxes `(x, y, width, height)` in pixels, None or a NaN row where there is none.
        parts: what the detector has found already, by the images' names.
        on_error: `"raise"` stops at the first bad image, `"skip"` lists it in the result's `failures`.
        """
        check_is_fitted(self, "model_")
        places = self.features_.locate(X, boxes, predictions=parts, on_error=on_error)
        found = self.features_.rows(places, on_error=on_error)
        row = {int(kept): i for i, kept in enumerate(places.kept)}
        ids = tuple(places.scenes.ids[row[int(kept)]] for kept in found.kept)
        # In the blocks of the features: a product's sums may be rounded by the number of its rows.
        ends = np.flatnonzero(np.diff(found.kept // self.features_.images_per_block)) + 1
        scores = [self.model_.decision_function(rows) for rows in np.split(found.features, ends)]
        return ClassPredictions(ids, self.model_.classes, np.concatenate(scores), found.failures)

    def evaluate(
        self,
        dataset: PartDataset,
        *,
        predictions: ClassPredictions | None = None,
        on_error: str = "raise",
        **options: Any,
    ) -> ClassEvaluation:
        """Compare predicted classes with a data set's labels.

        Parameters
        ----------
        dataset: images with class names.
        predictions: the classifier's predictions for it, where they have been computed already.
        on_error: as :meth:`predict_classes`.
        options: `unseen`, `random_state` and the like of :func:`partscope.classification.result.evaluate_classes`.

        Raises
        ------
        DatasetError: labels are missing, or an image's class was not among the training images.
        """
        check_is_fitted(self, "model_")
        if predictions is None:
            predictions = self.predict_classes(dataset, on_error=on_error)
        return evaluate_classes(predictions, dataset, **options)

    def __sklearn_is_fitted__(self) -> bool:
        """Whether `fit` has been called."""
        return hasattr(self, "model_")

    # -- model files ------------------------------------------------------------------------------------------------
    def save(self, path: str | Path) -> None:
        """Write the fitted classifier, its detector included, to one model file (safetensors and JSON).

        Raises
        ------
        NotFittedError: the classifier has not been fitted.
        PartscopeError: the file cannot be written; what stood there before is still there.
        ModelFileError: a parameter or class name has a value that JSON cannot hold.
        """
        check_is_fitted(self, "model_")
        save_classifier(self, path)

    @classmethod
    def load(
        cls, path: str | Path, *, embedder: Embedder | None = None, backbone: Backbone | None = None
    ) -> PartClassifier:
        """Read a classifier from a model file.

        No code in the file is run. A file made with a network of torchvision or timm makes that library fetch the network's
        weights from its hub, which is said beforehand, unless the network is given; one made with `weights` reads that file.

        Parameters
        ----------
        path: a file written by :meth:`save`.
        embedder: the network of the features, where it is a user's own module or its weights have been moved.
        backbone: the network of the detector, likewise.

        Raises
        ------
        ModelFileError: the file is missing, damaged, newer, holds no classifier, or was made with another network.
        """
        return load_classifier(path, cls, embedder, backbone)
