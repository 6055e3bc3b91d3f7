"""The searches as a whole: over any table of centres, and over the images of a data set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from partscope.backbones.core import Backbone
from partscope.channel_centres import CentreSpec
from partscope.dataset import PartDataset
from partscope.engine import current_engine, current_shard
from partscope.errors import DatasetError, OptionError
from partscope.search.bounded import bounded_search
from partscope.search.ceiling import fewest_maps
from partscope.search.cells import Cells
from partscope.search.charges import Charges
from partscope.search.guide import Guide
from partscope.search.network import NetworkCells
from partscope.search.racing import looks, race
from partscope.search.result import Found, Search
from partscope.search.screening import Screening, screen
from partscope.search.tally import Tally
from partscope.selection import NORMALISERS, RULES, Ranking, rank_channels, ranking_order

#: Searches that drop channels as they go; :data:`partscope.shortlist.SEARCHES` look at a fixed set.
DROPPING = ("bounded", "racing")


def check_search(
    method: str, *, rule: str, normalise: str = "box", top: int = 1, delta: float = 0.05
) -> None:
    """Raise an OptionError for a search that there is not, or that cannot be made with these options."""
    for what, value, known in (
        ("search", method, DROPPING),
        ("rule", rule, RULES),
        ("normalise", normalise, NORMALISERS),
    ):
        if value not in known:
            raise OptionError(f"{what} must be one of {', '.join(known)}, not {value!r}.")
    if top < 1:
        raise OptionError(
            f"at least the best channel of each part is searched, so top must be 1 or more, not {top}."
        )
    if not 0 < delta < 1:
        raise OptionError(f"the risk delta must lie between 0 and 1, not {delta}.")
    if method == "racing" and rule == "median":
        raise OptionError("racing compares means and cannot use the rule 'median'; use search='bounded'.")


def search_cells(
    cells: Cells,
    dataset: PartDataset,
    screening: Screening,
    method: str,
    *,
    rule: str = "squared",
    normalise: str = "box",
    top: int = 1,
    delta: float = 0.05,
) -> tuple[Ranking, Search]:
    """Search a table of centres.

    Parameters
    ----------
    cells: the table, (N, K).
    dataset: its N images.
    screening: of the same images.
    method: `"bounded"`: the `top` best channels of every part and their costs are those of an exhaustive search.
        `"racing"`: they are, but for a risk of `delta`.
    rule, normalise: as for :func:`partscope.selection.rank_channels`; `racing` cannot use the median.
    top: channels per part.
    delta: of racing.

    Raises
    ------
    OptionError: an option has an unknown value or does not fit the search.
    DatasetError: the table is of another number of images.
    """
    check_search(method, rule=rule, normalise=normalise, top=top, delta=delta)
    images, channels = cells.shape
    if len(dataset) != images or screening.silent.shape != (images, channels):
        raise DatasetError(
            f"the table has {images} images and {channels} channels, the data set {len(dataset)} images and the screening "
            f"{screening.silent.shape}; give those of the same images."
        )
    charges = Charges(dataset, rule, normalise)
    tally = Tally(cells, charges, screening.silent, min(top, channels))
    guide = Guide(screening, tally)
    compared = bounded_search(tally, guide) if method == "bounded" else race(tally, guide, delta)
    search = Search(
        method=method,
        images=images,
        channels=channels,
        top=tally.top,
        silent=int(screening.silent.sum()),
        maps=tally.maps,
        forwards=tally.forwards + images,
        checks=int(screening.silent.any(axis=1).sum()),
        fewest=fewest_maps(tally),
        delta=delta if method == "racing" else None,
        compared=compared if method == "racing" else 0,
        looks=len(looks(images)) if method == "racing" else 0,
    )
    return _ranking(tally, dataset, rule, normalise), search


def search_channels(
    dataset: PartDataset,
    backbone: Backbone,
    spec: CentreSpec,
    method: str,
    *,
    shared: Sequence[CentreSpec] = (),
    rule: str = "squared",
    normalise: str = "box",
    top: int = 1,
    delta: float = 0.05,
    folder: str | Path | None = None,
    on_error: str = "raise",
    progress: bool = False,
) -> Found:
    """Search all channels of a layer on the images of a data set.

    Parameters
    ----------
    dataset: images with marked parts.
    backbone: network, layer, preprocessing.
    spec: how a channel becomes a point, from gradients.
    method, rule, normalise, top, delta: as for :func:`search_cells`.
    shared: further ways to a point that other searches in the same folder will ask for; they share the passes.
    folder: where screening (`screening-REGION`) and centres (`centres`) are kept, so that a killed search can be continued; the
        centres of an exhaustive scan there are used.
    on_error: of images that cannot be read, `"raise"` or `"skip"`.
    progress: show bars on standard error.

    Raises
    ------
    OptionError: an option has an unknown value or does not fit the search, or `spec` is of activations.
    DatasetError: no image can be read. Others as :func:`partscope.scan.scan`.
    """
    check_search(method, rule=rule, normalise=normalise, top=top, delta=delta)
    if current_shard() is not None or current_engine().name != "local":
        raise OptionError(
            f"the search {method!r} decides in every round what to look at next and runs in one process; use "
            "search='exhaustive' or 'shortlist' with other engines and with shards."
        )
    if spec.maps != "gradient":
        raise OptionError(
            f"maps {spec.maps!r} of all channels cost one pass; search='exhaustive' takes them all."
        )
    place = None if folder is None else Path(folder)
    screening = screen(
        dataset,
        backbone,
        spec.region,
        folder=None if place is None else place / f"screening-{spec.region}",
        on_error=on_error,
        progress=progress,
    )
    failed = {item.id for item in screening.failures}
    usable = np.array([i for i, sample in enumerate(dataset) if sample.id not in failed], dtype=np.int64)
    if not len(usable):
        first = f"; the first: {screening.failures[0].reason}" if screening.failures else ""
        raise DatasetError(f"{dataset.name}: not one training image could be read{first}")
    cells = NetworkCells(
        dataset,
        usable,
        backbone,
        tuple(dict.fromkeys((*shared, spec))),
        spec,
        folder=None if place is None else place / "centres",
        progress=progress,
    )
    ranking, search = search_cells(
        cells,
        dataset[usable],
        Screening(screening.centres[usable], screening.silent[usable]),
        method,
        rule=rule,
        normalise=normalise,
        top=top,
        delta=delta,
    )
    return Found(ranking, search, screening.failures, cells.computed)


def _ranking(tally: Tally, dataset: PartDataset, rule: str, normalise: str) -> Ranking:
    """Costs of complete channels by the same function, on the same table, as an exhaustive search's."""
    whole = rank_channels(tally.centres, dataset, rule=rule, normalise=normalise)
    complete = tally.complete
    cost = np.where(complete, whole.cost, tally.bounds())
    absent = np.isnan(tally.centres[..., 0]) & tally.known
    missing = tally.charges.visible.astype(np.int64).T @ absent.astype(np.int64)
    order = ranking_order(cost, whole.channels, complete)
    return Ranking(
        whole.parts, whole.channels, cost, order, missing, whole.images, None if complete.all() else complete
    )
