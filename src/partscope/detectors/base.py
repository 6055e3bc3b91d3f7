"""`PartDetector`: the interface that every way to find parts shares, and the registry of methods."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from partscope.dataset import PartDataset, Skipped
from partscope.detectors.located import Located, stacked
from partscope.detectors.model_file import Fields, Tensors
from partscope.detectors.queries import Box, Query, check_on_error, make_queries, with_usable_boxes
from partscope.detectors.registry import ByMethod
from partscope.detectors.saving import load_detector, save_detector
from partscope.errors import DatasetError, ImageError, OptionError, PartscopeWarning
from partscope.evaluation import Evaluation, evaluate
from partscope.images import ImageLike
from partscope.predictions import PartPredictions
from partscope.prefetch import prepared
from partscope.prior import StaticPrior
from partscope.progress import track

if TYPE_CHECKING:
    from partscope.backbones.core import Backbone

_Self = TypeVar("_Self", bound="PartDetector")


class PartDetector(BaseEstimator, metaclass=ByMethod):  # type: ignore[misc]  # scikit-learn is not typed
    """Finds the parts of an object in an image, after it has seen images with marked parts.

    Calling this class returns an instance of the class registered for `method`, a scikit-learn estimator whose
    parameters are `options`. A new method is a subclass with `_fit`, `_locate`, `_state` and `_restore`, decorated with
    `register_detector`.

    Parameters
    ----------
    method: `"linear"` (linear combinations of channels in closed form), `"channel"` (the paper's: channels of a network that
        respond to parts), `"prior"` (always the median position), `"transfer"` (the parts of the most similar training
        image) or `"discovered"` (parts that are discovered without marked ones, see :mod:`partscope.discovery`). By default
        `"linear"`, or `"channel"` where an option is named that only the paper's method has.
    options: the parameters of the method's class.

    Attributes
    ----------
    parts_: P part names.
    mirror_: (P,) index of the part that each part becomes in a mirrored image.
    prior_: the static prior of the training images that were used.
    train_ids_: ids of the training images that were used.
    skipped_: training images that were left out with `on_error="skip"`, with the reason.

    Raises
    ------
    OptionError: unknown method, or an option that the method does not have.
    """

    method: ClassVar[str] = ""
    _dispatches: ClassVar[bool] = True

    parts_: tuple[str, ...]
    mirror_: NDArray[np.intp]
    prior_: StaticPrior
    train_ids_: tuple[str, ...]
    skipped_: tuple[Skipped, ...]

    if TYPE_CHECKING:  # what the metaclass makes of a call

        def __init__(self, method: str | None = None, **options: Any) -> None: ...

    # -- what a method defines --------------------------------------------------------------------------------------
    def _fit(self, dataset: PartDataset, *, on_error: str, progress: bool) -> None:
        """Learn from `dataset`; `parts_`, `mirror_` and `prior_` are set. Images left out go to `skipped_`.

        If there are any, `prior_` is learned again without them afterwards.
        """
        raise NotImplementedError

    def _locate(self, image: Image.Image, box: Box | None) -> Located:
        """Locate the parts in an upright RGB image; `box` is inside the image, and None unless `needs_box`."""
        raise NotImplementedError

    def _state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return the learned tensors and JSON-able values, for `_restore` to read from a model file."""
        raise NotImplementedError

    def _restore(self, tensors: Tensors, config: Fields, backbone: Backbone | None) -> None:
        """Take the learned state from a model file; `parts_`, `mirror_`, `prior_` and `train_ids_` are set."""
        raise NotImplementedError

    @property
    def needs_box(self) -> bool:
        """Whether an image can be searched only with the object's bounding box."""
        return getattr(self, "region", "image") != "image"

    def _info(self) -> dict[str, Any]:
        """Return what identifies the detector in a table; None where it does not apply."""
        return {
            "method": self.method,
            "backbone": None,
            "layer": None,
            "input_size": None,
            "centre": None,
            "region": getattr(self, "region", None),
        }

    # -- fit, predict, evaluate -------------------------------------------------------------------------------------
    def fit(self: _Self, dataset: PartDataset, *, on_error: str = "raise", progress: bool = False) -> _Self:
        """Learn from images with marked parts.

        Parameters
        ----------
        dataset: training images; a part that none of them shows is never found.
        on_error: `"raise"` stops at the first bad image, `"skip"` leaves it out and lists it in `skipped_`.
        progress: show a progress bar on standard error.

        Returns
        -------
        The detector itself.

        Raises
        ------
        DatasetError: there is no (readable) image or no visible part, or a box is missing where the method needs it.
        ImageError: an image cannot be read.
        OptionError: a parameter has an unknown value.
        """
        check_on_error(on_error)
        if not isinstance(dataset, PartDataset):
            raise DatasetError(
                f"fit needs a PartDataset, not {type(dataset).__name__}; make one with load_dataset or dataset_from_arrays."
            )
        usable, skipped = with_usable_boxes(dataset, self.needs_box, on_error)
        if not len(usable):
            raise DatasetError(
                f"{dataset.name}: there is no image to learn from; give at least one with its parts."
            )
        seen = np.asarray(usable.visible.any(axis=0))
        if not seen.any():
            raise DatasetError(
                f"{dataset.name}: no part is visible in any training image; check the annotation."
            )
        if not seen.all():
            names = ", ".join(part for part, known in zip(usable.parts, seen, strict=True) if not known)
            warnings.warn(
                f"{dataset.name}: {int((~seen).sum())} of {len(seen)} parts are visible in no training image and will "
                f"never be found: {names}.",
                PartscopeWarning,
                stacklevel=2,
            )
        if hasattr(self, "train_ids_"):
            del self.train_ids_  # a fit that fails halfway leaves an unfitted detector, not a mixture of two
        self.parts_ = usable.parts
        self.mirror_ = usable.mirror
        self.prior_ = StaticPrior.fit(usable)
        self.skipped_ = ()
        self._fit(usable, on_error=on_error, progress=progress)
        self._forget_unread(usable)
        self.skipped_ = skipped + self.skipped_
        left_out = {item.id for item in self.skipped_}
        self.train_ids_ = tuple(name for name in usable.ids if name not in left_out)
        if left_out:
            warnings.warn(
                f"{dataset.name}: {len(left_out)} of {len(dataset)} training images were left out; the first is "
                f"{self.skipped_[0].id} ({self.skipped_[0].reason.rstrip('.')}).",
                PartscopeWarning,
                stacklevel=2,
            )
        return self

    def _forget_unread(self, dataset: PartDataset) -> None:
        """Learn the static prior without the images that `_fit` left out, and say which parts went with them."""
        if not self.skipped_:
            return
        unread = {item.id for item in self.skipped_}
        used = dataset[[i for i, name in enumerate(dataset.ids) if name not in unread]]
        self._check_shown(used)
        lost = np.asarray(dataset.visible.any(axis=0)) & ~np.asarray(used.visible.any(axis=0))
        if lost.any():
            names = ", ".join(part for part, gone in zip(dataset.parts, lost, strict=True) if gone)
            warnings.warn(
                f"{dataset.name}: no training image that could be read shows {names}; these parts will never be found.",
                PartscopeWarning,
                stacklevel=3,
            )
        self.prior_ = StaticPrior.fit(used)

    @staticmethod
    def _check_shown(used: PartDataset) -> None:
        """Raise a DatasetError where the images that could be read show no part; a `_fit` may ask earlier."""
        if not used.visible.any():
            raise DatasetError(
                f"{used.name}: no part is visible in any training image that could be read; mend the others."
            )

    def predict(
        self,
        images: PartDataset | Iterable[ImageLike],
        boxes: ArrayLike | Sequence[Sequence[float] | None] | None = None,
        *,
        on_error: str = "raise",
        progress: bool = False,
    ) -> PartPredictions:
        """Locate the parts in images.

        Parameters
        ----------
        images: a data set (ids and boxes are taken from it), or N paths, PIL images or uint8 arrays; a path is its own
            id, another image has its index.
        boxes: N bounding boxes `(x, y, width, height)` in pixels of the upright image; None or a NaN row where there is
            none. A box that reaches over the image's border is clipped, with a counted warning.
        on_error: `"raise"` stops at the first bad image, `"skip"` lists it in the result's `failures`.
        progress: show a progress bar on standard error.

        Returns
        -------
        Predictions with one row per image, in order, less the failures.

        Raises
        ------
        NotFittedError: the detector has not been fitted.
        ImageError: an image cannot be read.
        DatasetError: a box has no area or lies outside its image, or an image has not the size that its data set states.
        OptionError: a single image instead of a sequence; the number of boxes differs from that of the images; the method
            needs the box (`needs_box`) and there is none.
        """
        check_is_fitted(self, "train_ids_")
        check_on_error(on_error)
        queries = make_queries(images, boxes)
        if self.needs_box and queries and all(query.box is None for query in queries):
            raise self._no_box(queries[0])
        if not self.needs_box and boxes is not None:
            warnings.warn(
                f"the method {self.method!r} with these options searches the whole image: the boxes are not used.",
                PartscopeWarning,
                stacklevel=2,
            )
        rows: list[Located] = []
        ids: list[str] = []
        failures: list[Skipped] = []
        clipped = 0
        network = getattr(self, "backbone_", None)
        opened = prepared(queries, Query.open, "cpu" if network is None else network.device.type)
        with closing(opened):
            for query, take in zip(track(queries, "predict", enabled=progress), opened, strict=True):
                try:
                    image = take()
                    box, overflows = query.clipped_box(image.size) if self.needs_box else (None, False)
                    if self.needs_box and box is None:
                        raise self._no_box(query)
                    located = Located(*self._locate(image, box))  # a plain tuple will do
                except (ImageError, DatasetError, OptionError) as error:
                    if on_error == "raise":
                        raise
                    failures.append(Skipped(query.id, str(error)))
                    continue
                clipped += overflows
                rows.append(located)
                ids.append(query.id)
        if clipped:
            warnings.warn(
                f"{clipped} of {len(queries)} bounding boxes reached over the border of their images and were clipped.",
                PartscopeWarning,
                stacklevel=2,
            )
        return self._assemble(ids, rows, failures)

    def _assemble(self, ids: list[str], rows: list[Located], failures: list[Skipped]) -> PartPredictions:
        if not rows:
            empty = PartPredictions.empty(self.parts_)
            return PartPredictions(
                empty.parts, (), empty.points, empty.found, empty.score, empty.visible, tuple(failures)
            )
        points, found, score, visible = (
            np.array([getattr(row, name) for row in rows]) for name in ("points", "found", "score", "visible")
        )
        found &= self.prior_.visibility > 0  # a part that no training image shows
        points[~found] = np.nan
        score[~found] = 0.0
        return PartPredictions(
            self.parts_,
            tuple(ids),
            points,
            found,
            score,
            visible & found,
            tuple(failures),
            stacked([row.expected_error for row in rows], len(self.parts_)),
            stacked([row.box for row in rows], 4),
        )

    def _no_box(self, query: Query) -> OptionError:
        return OptionError(
            f"{query.label}: the method {self.method!r} with these options searches the bounding box, and this image has "
            "none; give one in boxes, or fit a detector that searches the whole image."
        )

    def evaluate(
        self,
        dataset: PartDataset,
        *,
        predictions: PartPredictions | None = None,
        on_error: str = "raise",
        progress: bool = False,
        **options: Any,
    ) -> Evaluation:
        """Compare predictions with a data set's marked parts.

        A part that is not found is given its prior position: in the box where the method uses the box, else in the image.

        Parameters
        ----------
        dataset: images with marked parts; parts are matched by name.
        predictions: the detector's predictions for it, where they have been computed already.
        on_error, progress: as for :meth:`predict`.
        options: `normaliser`, `random_state` and the like of :func:`partscope.evaluation.evaluate`.

        Raises
        ------
        As :meth:`predict` and :func:`partscope.evaluation.evaluate`.
        """
        check_is_fitted(self, "train_ids_")
        if predictions is None:
            predictions = self.predict(dataset, on_error=on_error, progress=progress)
        fallback = "box" if self.needs_box else "image"
        return evaluate(
            predictions,
            dataset,
            self.prior_,
            **{"fallback": fallback, "info": self._info(), "on_error": on_error, **options},
        )

    # -- model files ------------------------------------------------------------------------------------------------
    def save(self, path: str | Path) -> None:
        """Write the fitted detector to a model file (safetensors and JSON, see :mod:`partscope.detectors.model_file`).

        Raises
        ------
        NotFittedError: the detector has not been fitted.
        PartscopeError: the file cannot be written; what stood there before is still there.
        ModelFileError: a parameter has a value that JSON cannot hold.
        """
        check_is_fitted(self, "train_ids_")
        save_detector(self, path)

    @classmethod
    def load(cls: type[_Self], path: str | Path, backbone: Backbone | None = None) -> _Self:
        """Read a detector from a model file.

        No code in the file is run. A file made with a network of torchvision or timm makes that library fetch the network's
        weights from its hub, which is said beforehand, unless `backbone` is given; one made with `weights` reads that file.

        Parameters
        ----------
        path: a file written by :meth:`save`.
        backbone: the network, where the detector was fitted with a user's own module, which a model file does not hold.

        Raises
        ------
        ModelFileError: the file is missing, damaged, newer, holds another method than this class's, or was made with
            another backbone.
        OptionError: a backbone is given to a method that has none.
        """
        return load_detector(path, cls, backbone)
