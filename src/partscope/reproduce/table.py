"""Table 1 of the paper on any data set with boxes: priors, Part Transfer, and the channel detector in its six variants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from partscope.backbones.core import Backbone
from partscope.dataset import PartDataset
from partscope.detectors import PriorDetector, TransferDetector
from partscope.evaluation import Evaluation, compare
from partscope.reproduce.channel_rows import Outcome, run_variants
from partscope.reproduce.variants import REGIONS, ablation_variants, table1_variants
from partscope.selection import shared_channels

#: Table 1 of the paper, on all 200 classes with DeCAF's network.
PUBLISHED = {
    ("mixture", "BB"): 0.16,
    ("mixture", "Full"): 0.17,
    ("maximum", "BB"): 0.17,
    ("transfer", "BB"): 0.18,
}


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
    for region in REGIONS.values():
        wanted.append((f"MaxG, {region}", f"mixture, {region}"))
    for region in ("BB as mask", "BB as crop"):
        wanted += [("prior in box", f"mixture, {region}"), ("Part Transfer, BB", f"mixture, {region}")]
    wanted.append(("prior in box", "Part Transfer, BB"))
    return [(a, b) for a, b in wanted if a in names and b in names]


def _published(name: str) -> float | None:
    method, _, region = name.partition(", ")
    key = {"MaxG": "maximum", "mixture": "mixture", "Part Transfer": "transfer"}.get(method, "")
    return PUBLISHED.get((key, "Full" if region == "Full" else "BB"))
