"""Table 1 of the paper on any data set with boxes: priors, Part Transfer, the channel detector, and the linear detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from partscope.backbones.core import Backbone
from partscope.dataset import PartDataset
from partscope.detectors import LinearDetector, PriorDetector, TransferDetector
from partscope.errors import OptionError
from partscope.evaluation import Evaluation, compare
from partscope.reproduce.channel_rows import Outcome, run_variants
from partscope.reproduce.detector_rows import DETECTOR_ROWS, DetectorRow, run_detectors
from partscope.reproduce.variants import REGIONS, ablation_variants, table1_variants
from partscope.selection import shared_channels

#: Table 1 of the paper, on all 200 classes with DeCAF's network.
PUBLISHED = {
    ("mixture", "BB"): 0.16,
    ("mixture", "Full"): 0.17,
    ("maximum", "BB"): 0.17,
    ("transfer", "BB"): 0.18,
}


#: What may be measured beside the priors and Part Transfer.
METHODS = ("channel", *DETECTOR_ROWS)

#: Rows that are compared with the prior and with the mixture.
BETTER = tuple(name for _, _, *names in DETECTOR_ROWS.values() for name in names if name is not None)


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
    detectors: rows of other detectors, in order.
    """

    train: PartDataset
    test: PartDataset
    backbone: Backbone
    baselines: dict[str, Evaluation]
    outcomes: list[Outcome]
    settings: dict[str, Any]
    ablation: bool
    detectors: list[DetectorRow] = field(default_factory=list)

    @property
    def evaluations(self) -> dict[str, Evaluation]:
        """All evaluations by row name, in the table's order."""
        return {
            **self.baselines,
            **{outcome.variant.name: outcome.evaluation for outcome in self.outcomes},
            **{row.name: row.evaluation for row in self.detectors},
        }

    def document(self) -> dict[str, Any]:
        """Return `rows`, `comparisons` and `settings` as JSON-ready values.

        Each row is an :meth:`Evaluation.row` with `name`, `published` (the paper's figure, on all 200 classes with another
        network) and, for the channel detector, `search`, `channels_compared`, `selected` and `shared`; for the linear
        detector `shrinkage`, `features` and `flips`. Comparisons are paired differences with 95 % intervals; positive means
        that the first named is better.
        """
        rows: list[dict[str, Any]] = [
            {"name": name, **evaluation.row(), "published": _published(name)}
            for name, evaluation in self.baselines.items()
        ]
        rows += [self._row(outcome) for outcome in self.outcomes]
        rows += [_detector_row(row) for row in self.detectors]
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


def measure_table1(
    dataset: PartDataset,
    backbone: Backbone,
    *,
    methods: Sequence[str] = ("channel", "linear"),
    limit: int | None = 200,
    random_state: int = 0,
    search: str = "shortlist",
    shortlist: int = 4,
    ablation: bool = False,
    regions: Sequence[str] | None = None,
    linear: Mapping[str, Any] | None = None,
    folder: str | Path | None = None,
    on_error: str = "raise",
    progress: bool = False,
) -> Table1:
    """Measure the rows of Table 1 or, on request, the ablation.

    Parameters
    ----------
    dataset: with the splits `train` and `test`.
    backbone: network, layer, preprocessing.
    methods: rows beside the priors and Part Transfer: `"channel"` (the paper's), `"channel+arrangement"`,
        `"activation"` (its forward-only form), `"linear"`. The
        ablation is that of the paper's alone.
    limit: training images drawn, stratified by class; None for all.
    random_state: of that draw.
    search, shortlist: as for :class:`~partscope.detectors.channel.ChannelDetector`.
    ablation: measure selection rule, normalisation, colour reduction, cut and centre too, instead of the table.
    regions: rows to measure; by default `image`, `mask` and `crop` where all images have boxes, `image` otherwise.
    linear: options of the linear detector, such as the network by name, whose own settings then hold; by default `backbone`.
    folder: where finished work is kept; a killed run continues with the same call.
    on_error: `"raise"` or `"skip"`.
    progress: show bars on standard error.

    Raises
    ------
    OptionError: a split is missing, or a parameter has an unknown value. Others as :func:`partscope.scan.scan`.
    """
    unknown = [name for name in methods if name not in METHODS]
    if unknown or not methods or len(set(methods)) != len(methods):
        raise OptionError(
            f"methods must be one or more of {', '.join(METHODS)}, not {', '.join(methods) or 'nothing'}."
        )
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
    outcomes = []
    if ablation or "channel" in methods:
        outcomes = run_variants(
            train, test, backbone, variants, search=search, shortlist=shortlist, folder=place, **options
        )
    detectors = []
    if not ablation:
        detectors = run_detectors(
            train,
            test,
            [name for name in methods if name in DETECTOR_ROWS],
            regions,
            options={
                "channel": {"backbone": backbone, "search": search, "shortlist": shortlist},
                "linear": {"backbone": backbone} if linear is None else linear,
            },
            folder=None if place is None else place / "fitted",
            **options,
        )
    settings = {
        "backbone": backbone.describe(),
        "data set": dataset.name,
        "training images": len(train),
        "training images drawn with seed": random_state,
        "test images": len(test),
        "cut": backbone.cut,
        "search": f"shortlist of {shortlist} per part" if search == "shortlist" else search,
        "notes": list(dataset.notes),
    }
    return Table1(train, test, backbone, baselines, outcomes, settings, ablation, detectors)


def _detector_row(row: DetectorRow) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    if isinstance(row.detector, LinearDetector):
        facts = {
            "shrinkage": row.detector.shrinkage_,
            "features": row.detector.statistics_.features,
            "flips": row.detector.flips_used_,
        }
    return {"name": row.name, **row.evaluation.row(), **facts, "published": None}


def _pairs(names: list[str], ablation: bool) -> list[tuple[str, str]]:
    """Which rows to compare: with the prior that knows as much, the mixture with the maximum, or with the ablation's base."""
    if ablation:
        base = "as in the table"
        return [(base, name) for name in names if name != base and not name.startswith("prior")]
    wanted = [("prior in image", "mixture, Full"), ("prior in image", "MaxG, Full")]
    for region in REGIONS.values():
        wanted.append((f"MaxG, {region}", f"mixture, {region}"))
    for better in BETTER:
        wanted.append(("prior in image", f"{better}, Full"))
        wanted += [(f"mixture, {region}", f"{better}, {region}") for region in REGIONS.values()]
    wanted += [(f"linear, {region}", f"linear + arrangement, {region}") for region in REGIONS.values()]
    for region in ("BB as mask", "BB as crop"):
        for name in ("mixture", *BETTER):
            wanted += [("prior in box", f"{name}, {region}"), ("Part Transfer, BB", f"{name}, {region}")]
    wanted.append(("prior in box", "Part Transfer, BB"))
    return [(a, b) for a, b in wanted if a in names and b in names]


def _published(name: str) -> float | None:
    method, _, region = name.partition(", ")
    key = {"MaxG": "maximum", "mixture": "mixture", "Part Transfer": "transfer"}.get(method, "")
    return PUBLISHED.get((key, "Full" if region == "Full" else "BB"))
