"""The detectors whose parts Table 2 uses: given, or fitted to training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from partscope.dataset import PartDataset
from partscope.detectors import PartDetector, detector_class
from partscope.errors import OptionError
from partscope.table2.rows import ALWAYS
from partscope.table2.work import WorkFolder, detector_hash


@dataclass(frozen=True, eq=False)
class Searcher:
    """A fitted detector for one region's rows.

    Parameters
    ----------
    method: its method.
    region: `"image"` or `"crop"`, the rows that use it.
    detector: fitted.
    given: it was not fitted here.
    folds: (images, detector) for each fold of the images that it was fitted to, where their parts are found by a detector
        that has not seen them; empty without cross-fitting.
    """

    method: str
    region: str
    detector: PartDetector
    given: bool = False
    folds: tuple[tuple[PartDataset, PartDetector], ...] = ()

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the detector's model file."""
        return detector_hash(self.detector)

    def finders(self, train: PartDataset) -> list[tuple[PartDataset, PartDetector, str]]:
        """Return who finds the parts of which training images: (images, detector, its hash), each image once."""
        found = [(images, detector, detector_hash(detector)) for images, detector in self.folds]
        seen = {name for images, _, _ in found for name in images.ids}
        rest = train[[i for i, name in enumerate(train.ids) if name not in seen]] if seen else train
        return [(rest, self.detector, self.content_hash), *found] if len(rest) else found

    def record(self, error: float | None) -> dict[str, Any]:
        """Return what the detector is, JSON-ready; `error` is its normalised error on the test images (see Table 1)."""
        return {
            "method": self.method,
            "rows": self.region,
            "given": self.given,
            **{k: v for k, v in self.detector._info().items() if k != "method"},
            "training images": len(self.detector.train_ids_),
            "cross-fitted in": len(self.folds),
            "error": error,
        }


def plan_searchers(
    detectors: tuple[PartDetector | None, PartDetector | None],
    methods: Sequence[str],
    regions: Sequence[str],
) -> list[tuple[str, str]]:
    """Return (method, region) of the detectors for the regions, Part Transfer among those of the box; nothing is fitted.

    A given detector takes the place of a fitted one of its method in its region; other methods are fitted beside it. The
    methods :data:`~partscope.table2.rows.ALWAYS` have their rows anyway, so naming them adds none.

    Raises
    ------
    OptionError: unknown method, or one named twice.
    """
    for method in methods:
        detector_class(method)
    if len(set(methods)) != len(methods):
        raise OptionError(f"a method is named twice: {', '.join(methods)}.")
    found: list[tuple[str, str]] = []
    for region, given in zip(("image", "crop"), detectors, strict=True):
        if region not in regions:
            continue
        names = [method for method in methods if method not in ALWAYS and _can_search(method, region)]
        if given is not None:
            names = [given.method, *(method for method in names if method != given.method)]
        found += [(method, region) for method in names]
    if "crop" in regions and ("transfer", "crop") not in found:
        found.append(("transfer", "crop"))
    return found


def find_searchers(
    work: WorkFolder,
    train: PartDataset,
    wanted: Sequence[tuple[str, str]],
    *,
    detectors: tuple[PartDetector | None, PartDetector | None],
    box_region: str,
    limit: int | None,
    cross_fit: int,
    options: Mapping[str, Any],
    random_state: int,
    progress: bool,
) -> list[Searcher]:
    """Return the detectors `wanted`, (method, region) each: the given ones, and the others fitted.

    Raises
    ------
    OptionError: an unknown way to search the box; `cross_fit` is 1, negative, or more than there are images.
    """
    if box_region not in ("crop", "mask"):
        raise OptionError(f"box_region must be 'crop' or 'mask', not {box_region!r}.")
    given = {
        (one.method, region): one
        for region, one in zip(("image", "crop"), detectors, strict=True)
        if one is not None
    }
    found = []
    for method, region in wanted:
        if (method, region) in given:
            found.append(Searcher(method, region, given[method, region], given=True))
            continue
        # Part Transfer learns nothing, and copies from all.
        copies = method == "transfer"
        view = box_region if region == "crop" and not copies else region
        fitted = work.fitted(
            method,
            view,
            train,
            limit=None if copies else limit,
            random_state=random_state,
            options={} if copies else options,
            progress=progress,
        )
        folds = (
            []
            if copies or not cross_fit
            else _folds(train.limit(limit, random_state), cross_fit, random_state)
        )
        beside = tuple(
            (
                held,
                work.fitted(
                    method,
                    view,
                    rest,
                    limit=None,
                    random_state=random_state,
                    options=options,
                    progress=progress,
                ),
            )
            for held, rest in folds
        )
        found.append(Searcher(method, region, fitted, folds=beside))
    return found


def _folds(drawn: PartDataset, count: int, random_state: int) -> list[tuple[PartDataset, PartDataset]]:
    """Return (held-out images, the others) of each fold; every class is spread over the folds as evenly as it goes."""
    if not 2 <= count <= len(drawn):
        raise OptionError(
            f"cross_fit must be 0, or a number of folds from 2 to the {len(drawn)} images that detectors are fitted to, not {count}."
        )
    rng = np.random.default_rng(random_state)
    shuffled = rng.permutation(len(drawn))
    order = shuffled[np.argsort(np.array(drawn.labels)[shuffled], kind="stable")]
    fold = np.empty(len(drawn), dtype=np.intp)
    fold[order] = np.arange(len(drawn)) % count
    return [
        (drawn[np.flatnonzero(fold == k).tolist()], drawn[np.flatnonzero(fold != k).tolist()])
        for k in range(count)
    ]


def _can_search(method: str, region: str) -> bool:
    """Whether a method can search the region: all that have the option can, others search what they always do."""
    cls = detector_class(method)
    if "region" in cls._get_param_names():
        return True
    return bool(cls().needs_box) == (region == "crop")
