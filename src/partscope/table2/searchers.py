"""The detectors whose parts Table 2 uses: given, or fitted to training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from partscope.dataset import PartDataset
from partscope.detectors import PartDetector, detector_class
from partscope.errors import OptionError
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
    """

    method: str
    region: str
    detector: PartDetector
    given: bool = False

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 of the detector's model file."""
        return detector_hash(self.detector)

    def record(self, error: float | None) -> dict[str, Any]:
        """Return what the detector is, JSON-ready; `error` is its normalised error on the test images (see Table 1)."""
        return {
            "method": self.method,
            "rows": self.region,
            "given": self.given,
            **{k: v for k, v in self.detector._info().items() if k != "method"},
            "training images": len(self.detector.train_ids_),
            "error": error,
        }


def find_searchers(
    work: WorkFolder,
    train: PartDataset,
    *,
    detectors: tuple[PartDetector | None, PartDetector | None],
    methods: Sequence[str],
    regions: Sequence[str],
    box_region: str,
    limit: int | None,
    options: Mapping[str, Any],
    random_state: int,
    progress: bool,
) -> list[Searcher]:
    """Return the detectors for the regions, Part Transfer among those of the box.

    A given detector takes the place of a fitted one of its method in its region; other methods are fitted beside it.

    Raises
    ------
    OptionError: unknown method, a method that is a row of its own, or an unknown way to search the box.
    """
    if box_region not in ("crop", "mask"):
        raise OptionError(f"box_region must be 'crop' or 'mask', not {box_region!r}.")
    for method in methods:
        detector_class(method)
        if method in ("prior", "transfer"):
            raise OptionError(f"the method {method!r} has rows of its own in the table; leave it out.")
    if len(set(methods)) != len(methods):
        raise OptionError(f"a method is named twice: {', '.join(methods)}.")
    found: list[Searcher] = []
    for region, given in zip(("image", "crop"), detectors, strict=True):
        if region not in regions:
            continue
        if given is not None:
            found.append(Searcher(given.method, region, given, given=True))
        for method in methods:
            if (given is not None and given.method == method) or not _can_search(method, region):
                continue
            view = "image" if region == "image" else box_region
            fitted = work.fitted(
                method,
                view,
                train,
                limit=limit,
                random_state=random_state,
                options=options,
                progress=progress,
            )
            found.append(Searcher(method, region, fitted))
    if "crop" in regions:
        transfer = work.fitted(
            "transfer",
            "crop",
            train,
            limit=None,
            random_state=random_state,
            options={},
            progress=progress,
        )
        found.append(Searcher("transfer", "crop", transfer))
    return found


def _can_search(method: str, region: str) -> bool:
    """Whether a method can search the region: all that have the option can, others search what they always do."""
    cls = detector_class(method)
    if "region" in cls._get_param_names():
        return True
    return bool(cls().needs_box) == (region == "crop")
