"""What describes the images of a row: part features of a network, or one of the systems that the paper compares with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from partscope.backbones import Embedder
from partscope.classification.appearance import PART_TRANSFER_SCALE, appearance_embedder
from partscope.classification.components import LEAST_MEMBERS
from partscope.classification.deformable import DeformableParts
from partscope.classification.part_features import PartFeatures
from partscope.classification.pooling import PooledRegions
from partscope.feature_cache import FeatureCache
from partscope.patches import SCALES
from partscope.predictions import PartPredictions
from partscope.table2.rows import RowPlan
from partscope.table2.searchers import Searcher


@dataclass(frozen=True, eq=False)
class Settings:
    """What all rows share.

    Parameters
    ----------
    embedder: the network of the features.
    scales: λ by region, where not the paper's.
    normalize: of the network's features.
    random_state: of the random patches.
    progress: show bars.
    """

    embedder: Embedder
    scales: Mapping[str, float]
    normalize: str = "l2"
    random_state: int = 0
    progress: bool = False

    def scale(self, region: str) -> float:
        """Return λ of a region."""
        return float(self.scales.get(region, SCALES[region]))

    def network(self, plan: RowPlan) -> Embedder:
        """Return what describes a row's patches."""
        return appearance_embedder() if plan.features == "appearance" else self.embedder

    def label(self, plan: RowPlan) -> str:
        """Return how the table calls a row's features."""
        if plan.features == "appearance":
            return "gradient histograms and colours, χ² map, λ = 1/16"
        if plan.features == "deformable":
            return f"{self.embedder.label}, pooled over deformable parts"
        return self.embedder.label


def make_features(
    plan: RowPlan,
    settings: Settings,
    searcher: Searcher | None,
    predictions: PartPredictions | None,
    cache: FeatureCache,
    images: int,
) -> PartFeatures:
    """Return the unfitted transformer that describes the images of a row.

    Parameters
    ----------
    plan: the row.
    settings: what all rows share.
    searcher, predictions: for estimated parts, the detector and what it found in all images.
    cache: where features are kept.
    images: number of training images.
    """
    if plan.features == "deformable":
        # As many kinds of poses as the images can teach, three as in the published system where they are enough.
        model = DeformableParts()
        model.components = max(1, min(model.components, images // LEAST_MEMBERS))
        return PooledRegions(
            model,
            backbone=settings.embedder,
            normalize=settings.normalize,
            cache=cache,
            progress=settings.progress,
        )
    own = plan.features == "appearance"
    return PartFeatures(
        None if searcher is None else searcher.detector,
        source=plan.part_source,
        backbone=settings.network(plan),
        region=plan.region,
        scale=PART_TRANSFER_SCALE if own else settings.scale(plan.region),
        normalize="none" if own else settings.normalize,
        predictions=predictions,
        cache=cache,
        random_state=settings.random_state,
        progress=settings.progress,
    )
