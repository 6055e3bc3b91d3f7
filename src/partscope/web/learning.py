"""Keeping the detector in step with the marks: statistics are added and taken away.

Only when there are many more pictures than at the last whole fit are they gathered anew, from features that are kept: the
held-out evidence, from which the spatial model learns, then comes from discriminants of as many pictures as there are now.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partscope.dataset import PartDataset, Sample
from partscope.detectors import LinearDetector, PartDetector
from partscope.errors import OptionError, PartscopeWarning
from partscope.prior import StaticPrior
from partscope.web.features import FeatureStore, FolderDetector

#: Groups of the cross-validation.
FOLDS = 5
#: So many times the pictures of the last whole fit bring about another one, up to so many pictures.
GROWN, MOST_ANEW = 1.5, 300


class Learner:
    """The detector, and which marks it has learned from.

    Parameters
    ----------
    store: the pictures' features.
    options: parameters of :class:`~partscope.detectors.LinearDetector`.
    model: a fitted linear detector to begin with.

    Raises
    ------
    OptionError: the model is of another method, or searches a box.
    """

    def __init__(
        self, store: FeatureStore, options: dict[str, Any] | None = None, model: PartDetector | None = None
    ) -> None:
        self._store = store
        self._options = options or {}
        self.detector: FolderDetector | None = None
        self._learned: dict[str, Sample] = {}
        self._at_fit = 0
        if model is not None:
            if not isinstance(model, LinearDetector) or model.region != "image":
                raise OptionError(
                    "the page works with linear detectors that search the whole image; fit one with 'partscope fit "
                    "--method linear --region image'."
                )
            self.detector = FolderDetector.from_fitted(model, store)

    @property
    def learned_from(self) -> int:
        """Number of pictures that the detector has learned from."""
        return 0 if self.detector is None else len(self.detector.train_ids_)

    def fits(self, dataset: PartDataset) -> bool:
        """Return whether the detector has the parts and pairs of a data set."""
        detector = self.detector
        if detector is None or set(detector.parts_) != set(dataset.parts):
            return False
        return bool(np.array_equal(dataset.with_parts(detector.parts_).mirror, detector.mirror_))

    def update(self, dataset: PartDataset, *, anew: bool = False) -> str:
        """Learn what the marks say now.

        Where the detector knows some of the pictures, those that were corrected or taken away are subtracted from its
        statistics, and those that are new are added.

        Parameters
        ----------
        dataset: the completely marked pictures.
        anew: fit a new detector, which also chooses its shrinkage anew.

        Returns
        -------
        A sentence that says what was done.

        Raises
        ------
        DatasetError, ImageError, OptionError: as :meth:`LinearDetector.fit`.
        """
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore", PartscopeWarning
            )  # the page says itself how few pictures there are
            if anew or not self.fits(dataset) or self._has_grown(len(dataset)):
                return self._fit(dataset)
            return self._change(dataset)

    def _has_grown(self, pictures: int) -> bool:
        """Return whether a whole fit is due; never of a model that has learned from pictures of elsewhere."""
        own = len(self._learned) == self.learned_from
        return own and GROWN * self._at_fit <= pictures <= MOST_ANEW

    def _fit(self, dataset: PartDataset) -> str:
        detector = FolderDetector.with_store(self._store, **self._options)
        detector.fit(dataset, on_error="skip")
        self.detector, self._at_fit = detector, len(detector.train_ids_)
        self._learned = {sample.id: sample for sample in dataset if sample.id in set(detector.train_ids_)}
        return f"learned from {_pictures(len(detector.train_ids_))}"

    def _change(self, dataset: PartDataset) -> str:
        assert self.detector is not None
        now = {sample.id: sample for sample in dataset.with_parts(self.detector.parts_)}
        gone = [s for id, s in self._learned.items() if id not in now or not same_marks(s, now[id])]
        left = {id: s for id, s in self._learned.items() if id not in {s.id for s in gone}}
        new = [sample for id, sample in now.items() if id not in left]
        if gone and not len(self.detector.train_ids_) - len(gone):
            return self._fit(dataset)
        detector = copy.copy(self.detector)  # its learned attributes are replaced, never changed in place
        if gone:
            detector.forget(self._dataset(dataset, gone))
        if new:
            detector.partial_fit(self._dataset(dataset, new), on_error="skip")
        self.detector = detector
        known = set(detector.train_ids_)
        self._learned = {**left, **{sample.id: sample for sample in new if sample.id in known}}
        if not gone and not new:
            return f"nothing new was marked: {_pictures(len(known))} as before"
        return f"added {_pictures(len(new))}, took {len(gone)} away; learned from {len(known)} in all"

    def _dataset(self, like: PartDataset, samples: Sequence[Sample]) -> PartDataset:
        """Return samples, whose parts stand in the detector's order, as a data set."""
        assert self.detector is not None
        mirror, parts = self.detector.mirror_, self.detector.parts_
        pairs = tuple((parts[i], parts[int(j)]) for i, j in enumerate(mirror) if i < j)
        return PartDataset(parts, tuple(samples), like.name, pairs)

    # -- how good it is ---------------------------------------------------------------------------------------------
    def cross_validated(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
        """Yield, group by group of the learned pictures, their errors where the detector has forgotten the group.

        The group is subtracted from the statistics; the shrinkage stays, so the errors are very slightly too small.

        Yields
        ------
        Errors of the detector and of the static prior, (M, P) each: distance divided by the diagonal of the picture; NaN
        where the part is not visible, or the other pictures never show it. A part that is not found counts with its prior
        position.
        """
        detector = self.detector
        samples = list(self._learned.values())
        folds = min(FOLDS, len(samples))
        if detector is None or folds < 2 or len(detector.train_ids_) < 2:
            return
        for fold in range(folds):
            group = samples[fold::folds]
            if len(group) == len(detector.train_ids_):
                continue
            data = self._dataset(PartDataset(detector.parts_, tuple(group)), group)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", PartscopeWarning)
                other = copy.copy(detector).forget(data)
                found = other.predict(data, on_error="skip")
            kept = data[[data.ids.index(name) for name in found.ids]]
            prior = StaticPrior.fit(other.record_.as_dataset(detector.parts_, detector.mirror_))
            static = prior.positions(kept.sizes)
            points = np.where(found.found[..., None], found.points, static)
            length = np.linalg.norm(kept.sizes, axis=1)[:, None]
            take = kept.visible & np.isfinite(static).all(axis=2)
            errors, usual = (np.linalg.norm(at - kept.points, axis=2) / length for at in (points, static))
            yield np.where(take, errors, np.nan), np.where(take, usual, np.nan)

    # -- across restarts --------------------------------------------------------------------------------------------
    def save(self, path: Path) -> None:
        """Write the detector to a model file."""
        if self.detector is not None:
            self.detector.save(path)

    def resume(self, path: Path, paths: dict[str, Path]) -> None:
        """Take up the detector that was saved.

        Parameters
        ----------
        paths: the folder's picture files by name; pictures that are gone stay learned from.
        """
        fitted = LinearDetector.load(path)
        self.detector = FolderDetector.from_fitted(fitted, self._store)
        self._at_fit = self.learned_from
        known = self.detector.record_.as_dataset(fitted.parts_, fitted.mirror_)
        self._learned = {s.id: replace(s, image=paths[s.id]) for s in known if s.id in paths}


def same_marks(one: Sample, other: Sample) -> bool:
    """Return whether two samples have the same parts at the same places in a picture of the same size."""
    return (
        one.size == other.size
        and bool(np.array_equal(one.visible, other.visible))
        and bool(np.array_equal(one.points, other.points, equal_nan=True))
    )


def _pictures(count: int) -> str:
    return f"{count} picture{'' if count == 1 else 's'}"
