"""The channel detector's rows: one scan serves all variants that see the same network input.

Image and mask share theirs, and mixture and maximum always do; one scan of the test images computes the winning channels
alone. With a folder both continue where a killed run stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from partscope.backbones.core import Backbone
from partscope.channel_centres import CentreSpec
from partscope.dataset import PartDataset
from partscope.errors import OptionError
from partscope.evaluation import Evaluation, evaluate
from partscope.predictions import PartPredictions
from partscope.prior import StaticPrior
from partscope.reproduce.variants import Variant
from partscope.scan import Scan, scan
from partscope.search import DROPPING, search_channels
from partscope.selection import Ranking, rank_channels
from partscope.shortlist import SEARCHES, shortlist_channels


@dataclass(frozen=True, eq=False)
class Outcome:
    """A variant's ranking on the training images, its predictions for the test images and their evaluation."""

    variant: Variant
    ranking: Ranking
    predictions: PartPredictions
    evaluation: Evaluation


def run_variants(
    train: PartDataset,
    test: PartDataset,
    backbone: Backbone,
    variants: Sequence[Variant],
    *,
    search: str = "shortlist",
    shortlist: int = 4,
    folder: Path | None = None,
    on_error: str = "raise",
    progress: bool = False,
) -> list[Outcome]:
    """Select channels on the training images and evaluate them on the test images, for several variants at once.

    Parameters
    ----------
    train, test: images with marked parts.
    backbone: network, layer, preprocessing.
    variants: what to compare; those that see the same network input share their passes.
    search, shortlist: as for :class:`~partscope.detectors.channel.ChannelDetector`.
    folder: where finished blocks are kept.
    on_error: as for :func:`partscope.scan.scan`.
    progress: show bars on standard error.

    Raises
    ------
    As :func:`partscope.scan.scan` and :func:`partscope.selection.rank_channels`.
    """
    if search not in (*SEARCHES, *DROPPING):
        raise OptionError(f"search must be one of {', '.join((*SEARCHES, *DROPPING))}, not {search!r}.")
    prior = StaticPrior.fit(train)
    outcomes: dict[str, Outcome] = {}
    for seen in ("image", "crop"):
        group = [variant for variant in variants if (variant.spec.region == "crop") == (seen == "crop")]
        if not group:
            continue
        place = None if folder is None else folder / seen
        specs = list(dict.fromkeys(variant.spec for variant in group))
        rank = _dropping if search in DROPPING else _scanning
        rankings = rank(
            train,
            backbone,
            group,
            specs,
            search,
            shortlist,
            place,
            seen=seen,
            on_error=on_error,
            progress=progress,
        )
        winners = sorted({int(k) for ranking in rankings.values() for k in ranking.best if k >= 0})
        tested = scan(
            test,
            backbone,
            specs,
            channels=winners,
            folder=None if place is None else place / "test",
            on_error=on_error,
            progress=progress,
            description=f"test, {seen}, {len(winners)} channels",
        )
        for variant in group:
            ranking = rankings[variant.name]
            predictions = predictions_of(tested, variant.spec, ranking)
            outcomes[variant.name] = Outcome(
                variant,
                ranking,
                predictions,
                evaluate(
                    predictions,
                    test,
                    prior,
                    fallback="image" if variant.spec.region == "image" else "box",
                    info={
                        "method": "channel",
                        "backbone": backbone.name,
                        "layer": backbone.layer,
                        "input_size": backbone.input_size,
                        "centre": variant.spec.centre,
                        "region": variant.spec.region,
                    },
                    on_error=on_error,
                ),
            )
    return [outcomes[variant.name] for variant in variants]


def _dropping(
    train: PartDataset,
    backbone: Backbone,
    group: Sequence[Variant],
    specs: Sequence[CentreSpec],
    search: str,
    _: int,
    place: Path | None,
    *,
    seen: str,
    on_error: str,
    progress: bool,
) -> dict[str, Ranking]:
    """One search for each variant. With a folder they share what they have looked at."""
    return {
        variant.name: search_channels(
            train,
            backbone,
            variant.spec,
            search,
            shared=specs,
            rule=variant.rule,
            normalise=variant.normalise,
            folder=None if place is None else place / "search",
            on_error=on_error,
            progress=progress,
        ).ranking
        for variant in group
    }


def _scanning(
    train: PartDataset,
    backbone: Backbone,
    group: Sequence[Variant],
    specs: Sequence[CentreSpec],
    search: str,
    shortlist: int,
    place: Path | None,
    *,
    seen: str,
    on_error: str,
    progress: bool,
) -> dict[str, Ranking]:
    """One scan of all channels, or of a shortlist, for all variants."""
    channels = np.arange(backbone.channels)
    if search == "shortlist":
        channels = shortlist_channels(
            train,
            backbone,
            shortlist,
            regions=(seen,),
            folder=None if place is None else place / "shortlist",
            on_error=on_error,
            progress=progress,
        )
    scanned = scan(
        train,
        backbone,
        specs,
        channels=channels.tolist(),
        folder=None if place is None else place / "train",
        on_error=on_error,
        progress=progress,
        description=f"train, {seen}, {len(channels)} channels",
    )
    usable = scanned.succeeded
    return {
        variant.name: rank_channels(
            scanned.of(variant.spec)[usable],
            train[usable],
            channels=channels,
            rule=variant.rule,
            normalise=variant.normalise,
        )
        for variant in group
    }


def predictions_of(tested: Scan, spec: CentreSpec, ranking: Ranking) -> PartPredictions:
    """Return the predictions of a ranking's winners from a scan of (at least) these channels; score 1 where found."""
    usable = tested.succeeded
    centres = tested.of(spec)[usable]
    points = np.full((len(usable), len(ranking.parts), 2), np.nan)
    column = {int(channel): k for k, channel in enumerate(tested.channels)}
    for p, channel in enumerate(ranking.best.tolist()):
        if channel >= 0:
            points[:, p] = centres[:, column[channel]]
    found = np.isfinite(points).all(axis=2)
    return PartPredictions(
        ranking.parts,
        tuple(tested.ids[i] for i in usable),
        points,
        found,
        found.astype(np.float64),
        found,
        tested.failures,
    )
