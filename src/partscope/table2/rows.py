"""The rows of Table 2: which there are, and what the paper reports for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from partscope.errors import OptionError

#: How the paper calls the regions: nothing about the box is used, or the box is known.
REGIONS = {"image": "Full", "crop": "BB"}

#: The controls: as many patches of the same size, at places that no detector has chosen.
CONTROLS = {"prior": "prior positions", "grid": "grid", "random": "random positions"}

#: Methods whose parts have rows of their own, whether they are named or not: the control at the parts' median positions, and
#: Part Transfer.
ALWAYS = ("prior", "transfer")

#: What describes a row's images: the network, or one of the systems that the paper compares with.
FEATURES = ("network", "appearance", "deformable")

#: Said wherever published figures stand beside measured ones.
PUBLISHED_ON = (
    "the published figures are those of the paper's Table 2: all 200 classes of CUB-200-2011, with the networks and features "
    "of 2013 and 2014; they are no target for another network or fewer classes"
)

_PUBLISHED = {
    ("image", "estimated", "channel", "network"): 0.6017,
    ("image", "ground_truth", None, "network"): 0.6055,
    ("crop", "estimated", "channel", "network"): 0.6253,
    ("crop", "estimated", "transfer", "appearance"): 0.5784,
    ("crop", "estimated", None, "deformable"): 0.6496,
}

#: Rows of the paper's table that are not measured: name, published figure.
OMITTED = (("BB, POOF", 0.5678), ("BB, Symbiotic", 0.594))


@dataclass(frozen=True)
class RowPlan:
    """One row to be measured.

    Parameters
    ----------
    name: as in the table.
    region: `"image"` or `"crop"`, what the whole and the size of the patches belong to.
    part_source: `"none"`, `"estimated"`, `"ground_truth"`, `"prior"`, `"grid"` or `"random"`.
    detector: the method of the detector, for estimated parts.
    features: `"network"` (last hidden layer), `"appearance"` (gradient histograms and colours, Part Transfer's own) or
        `"deformable"` (network features pooled over the regions of a deformable part model).
    """

    name: str
    region: str
    part_source: str
    detector: str | None = None
    features: str = "network"

    @property
    def published(self) -> float | None:
        """The paper's figure for such a row, on all 200 classes with another network; None where it has none."""
        return _PUBLISHED.get((self.region, self.part_source, self.detector, self.features))


def plan_rows(detectors: Sequence[tuple[str, str]], regions: Sequence[str]) -> list[RowPlan]:
    """Return the rows of the table in order.

    Parameters
    ----------
    detectors: (method, region) of each detector whose parts are used.
    regions: `"image"`, `"crop"` or both.

    Raises
    ------
    OptionError: unknown region, or none.
    """
    unknown = [region for region in regions if region not in REGIONS]
    if unknown or not regions:
        raise OptionError(
            f"regions must be some of {', '.join(REGIONS)}, not {unknown[0] if unknown else 'none'!r}."
        )
    rows: list[RowPlan] = []
    for region, short in REGIONS.items():
        if region not in regions:
            continue
        rows.append(RowPlan(f"{short}, no parts", region, "none"))
        rows += [
            RowPlan(f"{short}, {method}", region, "estimated", method)
            for method, where in detectors
            if where == region
        ]
        rows.append(RowPlan(f"{short}, ground truth", region, "ground_truth"))
        rows += [RowPlan(f"{short}, {label}", region, source) for source, label in CONTROLS.items()]
    if "crop" in regions:
        rows += [
            RowPlan("BB, Part Transfer", "crop", "estimated", "transfer"),
            RowPlan("BB, Part Transfer, own features", "crop", "estimated", "transfer", "appearance"),
            RowPlan("BB, DPD-style pooling", "crop", "estimated", None, "deformable"),
        ]
    return rows


def choose_rows(plans: Sequence[RowPlan], names: Sequence[str] | None) -> list[RowPlan]:
    """Return the rows with these names, in the table's order; all for None.

    Raises
    ------
    OptionError: there is no such row (the names are given), or none is named.
    """
    if names is None:
        return list(plans)
    known = [plan.name for plan in plans]
    for name in names:
        if name not in known:
            raise OptionError(f"there is no row {name!r}; the rows are {'; '.join(known)}.")
    if not names:
        raise OptionError(f"rows is empty; name some of {'; '.join(known)}.")
    return [plan for plan in plans if plan.name in names]


def row_pairs(plans: Sequence[RowPlan], accuracy: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """Return which rows to compare: (what the second is to the first, first, second).

    Each row with estimated parts is compared with the same region's row without parts, with every control, with the most
    accurate control, and with the marked parts; the marked parts with the row without parts and the best control.

    Parameters
    ----------
    plans: the rows.
    accuracy: of the rows by name; those that are missing have not been measured.
    """
    pairs: list[tuple[str, str, str]] = []
    measured = [plan for plan in plans if plan.name in accuracy]
    for region in REGIONS:
        here = [plan for plan in measured if plan.region == region and plan.features == "network"]
        by_source = {plan.part_source: plan.name for plan in here if plan.part_source != "estimated"}
        controls = [by_source[source] for source in CONTROLS if source in by_source]
        best = max(controls, key=lambda name: accuracy[name], default=None)
        for plan in measured:
            if plan.region != region or plan.part_source != "estimated":
                continue
            for source, name in by_source.items():
                pairs.append((source, plan.name, name))
            if best is not None:
                pairs.append(("best control", plan.name, best))
        if "ground_truth" in by_source:
            first = by_source["ground_truth"]
            if "none" in by_source:
                pairs.append(("none", first, by_source["none"]))
            if best is not None:
                pairs.append(("best control", first, best))
    names = {plan.name for plan in measured}
    for other in ("BB, Part Transfer", "BB, Part Transfer, own features", "BB, DPD-style pooling"):
        pairs += [
            ("other system", plan.name, other)
            for plan in measured
            if plan.region == "crop" and plan.features == "network" and plan.part_source == "estimated"
            if other in names and plan.detector != "transfer"
        ]
    return pairs


def omitted_rows() -> list[dict[str, Any]]:
    """Return the rows of the paper's table that are not measured, with their published figures."""
    return [
        {
            "name": name,
            "region": "crop",
            "part_source": None,
            "detector": None,
            "features": None,
            "classifier": None,
            "C": None,
            "accuracy": None,
            "top5": None,
            "images": None,
            "status": "omitted",
            "published": published,
        }
        for name, published in OMITTED
    ]
