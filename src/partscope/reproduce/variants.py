"""What the rows of the channel detector compare: those of Table 1, and those of the ablation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from partscope.channel_centres import CentreSpec

NAMES = {"mixture": "mixture", "maximum": "MaxG", "smoothed": "smoothed maximum", "centroid": "centroid"}
REGIONS = {"image": "Full", "mask": "BB as mask", "crop": "BB as crop"}


@dataclass(frozen=True)
class Variant:
    """One row of the channel detector: how a channel becomes a point, and how channels are selected."""

    name: str
    spec: CentreSpec
    rule: str = "squared"
    normalise: str = "box"


def table1_variants(regions: Sequence[str], cut: float) -> list[Variant]:
    """Return the channel detector's rows of Table 1: MaxG and mixture, cut at the quantile `cut`, for each region."""
    return [
        Variant(
            f"{NAMES[centre]}, {REGIONS[region]}",
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
