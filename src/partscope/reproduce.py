"""Table 1 of the paper on any data set with boxes: priors, Part Transfer, and the channel detector in its six variants.

One scan of the training images serves all rows that see the same network input (image and mask share theirs; the mixture and
the maximum always do), and one scan of the test images computes the winning channels alone. With a folder both continue
where a killed run stopped.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from partscope.backbones.core import Backbone
from partscope.channel_centres import CentreSpec
from partscope.dataset import PartDataset
from partscope.detectors import PriorDetector, TransferDetector
from partscope.errors import OptionError
from partscope.evaluation import Evaluation, compare, evaluate
from partscope.predictions import PartPredictions
from partscope.prior import StaticPrior
from partscope.scan import Scan, scan
from partscope.selection import Ranking, rank_channels, shared_channels
from partscope.shortlist import SEARCHES, shortlist_channels

#: Table 1 of the paper, on all 200 classes with DeCAF's network.
PUBLISHED = {
    ("mixture", "BB"): 0.16,
    ("mixture", "Full"): 0.17,
    ("maximum", "BB"): 0.17,
    ("transfer", "BB"): 0.18,
}

_NAMES = {"mixture": "mixture", "maximum": "MaxG", "smoothed": "smoothed maximum", "centroid": "centroid"}
_REGIONS = {"image": "Full", "mask": "BB as mask", "crop": "BB as crop"}


@dataclass(frozen=True)
class Variant:
    """One row of the channel detector: how a channel becomes a point, and how channels are selected."""

    name: str
    spec: CentreSpec
    rule: str = "squared"
    normalise: str = "box"


@dataclass(frozen=True, eq=False)
class Outcome:
    """A variant's ranking on the training images, its predictions for the test images and their evaluation."""

    variant: Variant
    ranking: Ranking
    predictions: PartPredictions
    evaluation: Evaluation


@dataclass(frozen=True, eq=False)
class Table1:
    """What :func:`measure_table1` measured.

    Parameters
    ----------
    train, test: the images that were used.
    backbone: network, layer, preprocessing.
    baselines: evaluations of the priors and of Part Transfer, by name.
    outcomes: the channel detector's variants, in order.
    settings: JSON-ready.
    ablation: whether the variants are those of the ablation.
    """

    train: PartDataset
    test: PartDataset
    backbone: Backbone
    baselines: dict[str, Evaluation]
    outcomes: list[Outcome]
    settings: dict[str, Any]
    ablation: bool

    @property
    def evaluations(self) -> dict[str, Evaluation]:
        """All evaluations by row name, in the table's order."""
        return {
            **self.baselines,
            **{outcome.variant.name: outcome.evaluation for outcome in self.outcomes},
        }

    def document(self) -> dict[str, Any]:
        """Return `rows`, `comparisons` and `settings` as JSON-ready values.

        Each row is an :meth:`Evaluation.row` with `name`, `published` (the paper's figure, on all 200 classes with another
        network) and, for the channel detector, `search`, `channels_compared`, `selected` and `shared`. Comparisons are
        paired differences with 95 % intervals; positive means that the first named is better.
        """
        rows: list[dict[str, Any]] = [
            {"name": name, **evaluation.row(), "published": _published(name)}
            for name, evaluation in self.baselines.items()
        ]
        rows += [self._row(outcome) for outcome in self.outcomes]
        evaluations = self.evaluations
        comparisons = [
            {"comparison": f"{b} over {a}", **compare(evaluations[a], evaluations[b]).row()}
            for a, b in _pairs(list(evaluations), self.ablation)
        ]
        return {"rows": rows, "comparisons": comparisons, "settings": self.settings}

    def _row(self, outcome: Outcome) -> dict[str, Any]:
        name, ranking = outcome.variant.name, outcome.ranking
        return {
            "name": name,
            **outcome.evaluation.row(),
            "search": self.settings["search"],
            "channels_compared": len(ranking.channels),
            "selected": dict(zip(ranking.parts, ranking.best.tolist(), strict=True)),
            "shared": {str(channel): list(parts) for channel, parts in shared_channels(ranking).items()},
            "published": None if self.ablation else _published(name),
        }


def table1_variants(regions: Sequence[str], cut: float) -> list[Variant]:
    """Return the channel detector's rows of Table 1: MaxG and mixture, cut at the quantile `cut`, for each region."""
    return [
        Variant(
            f"{_NAMES[centre]}, {_REGIONS[region]}",
            CentreSpec(centre=centre, region=region, quantile=cut),
        )
        for region in regions
        for centre in ("maximum", "mixture")
    ]


def ablation_variants(cut: float) -> list[Variant]:
    """Return what the ablation compares, all without a box: one thing at a time is changed from Eq. 3 with the mixture."""
    base = CentreSpec(quantile=cut)
    quantiles = [quantile for quantile in (0.5, 0.8, 0.9, 0.95, 0.98) if quantile != cut]
    return [
        Variant("as in the table", base),
        Variant("rule: mean", base, rule="mean"),
        Variant("rule: median", base, rule="median"),
        Variant("distances in pixels", base, normalise="none"),
        Variant("distances by image diagonal", base, normalise="image"),
        Variant("colours: sum of absolute values", CentreSpec(quantile=cut, reduction="l1")),
        Variant("colours: maximum", CentreSpec(quantile=cut, reduction="max")),
        *(Variant(f"cut at {quantile}", CentreSpec(quantile=quantile)) for quantile in quantiles),
        Variant("centre: maximum", CentreSpec(centre="maximum", quantile=cut)),
        Variant("centre: smoothed maximum", CentreSpec(centre="smoothed", quantile=cut)),
        Variant("centre: centroid", CentreSpec(centre="centroid", quantile=cut)),
    ]


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
    if search not in SEARCHES:
        raise OptionError(f"search must be one of {', '.join(SEARCHES)}, not {search!r}.")
    prior = StaticPrior.fit(train)
    outcomes: dict[str, Outcome] = {}
    for seen in ("image", "crop"):
        group = [variant for variant in variants if (variant.spec.region == "crop") == (seen == "crop")]
        if not group:
            continue
        place = None if folder is None else folder / seen
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
        specs = list(dict.fromkeys(variant.spec for variant in group))
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
        rankings = {
            variant.name: rank_channels(
                scanned.of(variant.spec)[usable],
                train[usable],
                channels=channels,
                rule=variant.rule,
                normalise=variant.normalise,
            )
            for variant in group
        }
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


def measure_table1(
    dataset: PartDataset,
    backbone: Backbone,
    *,
    limit: int | None = 200,
    random_state: int = 0,
    search: str = "shortlist",
    shortlist: int = 4,
    ablation: bool = False,
    regions: Sequence[str] | None = None,
    folder: str | Path | None = None,
    on_error: str = "raise",
    progress: bool = False,
) -> Table1:
    """Measure the rows of Table 1 or, on request, the ablation.

    Parameters
    ----------
    dataset: with the splits `train` and `test`.
    backbone: network, layer, preprocessing.
    limit: training images drawn, stratified by class; None for all.
    random_state: of that draw.
    search, shortlist: as for :class:`~partscope.detectors.channel.ChannelDetector`.
    ablation: measure selection rule, normalisation, colour reduction, cut and centre too, instead of the table.
    regions: rows to measure; by default `image`, `mask` and `crop` where all images have boxes, `image` otherwise.
    folder: where finished work is kept; a killed run continues with the same call.
    on_error: `"raise"` or `"skip"`.
    progress: show bars on standard error.

    Raises
    ------
    OptionError: a split is missing, or a parameter has an unknown value. Others as :func:`partscope.scan.scan`.
    """
    train, test = dataset.train.limit(limit, random_state), dataset.test
    boxes = not np.isnan(np.concatenate([train.boxes, test.boxes])[:, 0]).any()
    place = None if folder is None else Path(folder)
    if regions is None or ablation:
        regions = ("image", "mask", "crop") if boxes and not ablation else ("image",)
    variants = ablation_variants(backbone.cut) if ablation else table1_variants(regions, backbone.cut)
    options: dict[str, Any] = {"on_error": on_error, "progress": progress}
    baselines: dict[str, Evaluation] = {
        "prior in image": PriorDetector("image")
        .fit(train, on_error=on_error)
        .evaluate(test, on_error=on_error)
    }
    if boxes:
        baselines["prior in box"] = (
            PriorDetector("box").fit(train, on_error=on_error).evaluate(test, on_error=on_error)
        )
        if not ablation:
            baselines["Part Transfer, BB"] = (
                TransferDetector().fit(train, **options).evaluate(test, **options)
            )
    outcomes = run_variants(
        train, test, backbone, variants, search=search, shortlist=shortlist, folder=place, **options
    )
    settings = {
        "backbone": backbone.describe(),
        "data set": dataset.name,
        "training images": len(train),
        "training images drawn with seed": random_state,
        "test images": len(test),
        "cut": backbone.cut,
        "search": search if search == "exhaustive" else f"shortlist of {shortlist} per part",
        "notes": list(dataset.notes),
    }
    return Table1(train, test, backbone, baselines, outcomes, settings, ablation)


def _pairs(names: list[str], ablation: bool) -> list[tuple[str, str]]:
    """Which rows to compare: with the prior that knows as much, the mixture with the maximum, or with the ablation's base."""
    if ablation:
        base = "as in the table"
        return [(base, name) for name in names if name != base and not name.startswith("prior")]
    wanted = [("prior in image", "mixture, Full"), ("prior in image", "MaxG, Full")]
    for region in _REGIONS.values():
        wanted.append((f"MaxG, {region}", f"mixture, {region}"))
    for region in ("BB as mask", "BB as crop"):
        wanted += [("prior in box", f"mixture, {region}"), ("Part Transfer, BB", f"mixture, {region}")]
    wanted.append(("prior in box", "Part Transfer, BB"))
    return [(a, b) for a, b in wanted if a in names and b in names]


def _published(name: str) -> float | None:
    method, _, region = name.partition(", ")
    key = {"MaxG": "maximum", "mixture": "mixture", "Part Transfer": "transfer"}.get(method, "")
    return PUBLISHED.get((key, "Full" if region == "Full" else "BB"))
