"""The detectors whose parts Table 2 uses: given, or fitted to training images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

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
    options: Mapping[str, Any],
    random_state: int,
    progress: bool,
) -> list[Searcher]:
    """Return the detectors `wanted`, (method, region) each: the given ones, and the others fitted.

    Raises
    ------
    OptionError: an unknown way to search the box.
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
        fitted = work.fitted(
            method,
            box_region if region == "crop" and not copies else region,
            train,
            limit=None if copies else limit,
            random_state=random_state,
            options={} if copies else options,
            progress=progress,
        )
        found.append(Searcher(method, region, fitted))
    return found


def _can_search(method: str, region: str) -> bool:
    """Whether a method can search the region: all that have the option can, others search what they always do."""
    cls = detector_class(method)
    if "region" in cls._get_param_names():
        return True
    return bool(cls().needs_box) == (region == "crop")
