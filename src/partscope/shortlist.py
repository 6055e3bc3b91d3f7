"""A forward-only shortlist of channels: which of them are worth a gradient per image.

The centroid of a channel's squared activations costs one forward pass for *all* channels. Each part keeps the channels that
Eq. 3 ranks best on these centres, and the gradient scan runs over the union alone. The result is not guaranteed to hold the
exhaustive search's winner; tables say which search was used, and benchmarks/results hold the two side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from partscope.backbones.core import Backbone
from partscope.channel_centres import CentreSpec
from partscope.dataset import PartDataset
from partscope.errors import OptionError
from partscope.scan import scan
from partscope.selection import rank_channels

SEARCHES = ("shortlist", "exhaustive")


def shortlist_channels(
    dataset: PartDataset,
    backbone: Backbone,
    per_part: int,
    *,
    regions: Sequence[str] = ("image",),
    rule: str = "squared",
    normalise: str = "box",
    folder: str | Path | None = None,
    on_error: str = "raise",
    progress: bool = False,
) -> NDArray[np.int64]:
    """Return the channels worth a gradient, ascending: for each part and region the `per_part` best by activation centres.

    Parameters
    ----------
    dataset: images with marked parts.
    backbone: network, layer, preprocessing.
    per_part: channels to keep for each part.
    regions: the regions that will be searched, see :mod:`partscope.views`.
    rule, normalise: of the ranking, as for :func:`partscope.selection.rank_channels`.
    folder, on_error, progress: of the scan, as for :func:`partscope.scan.scan`.

    Raises
    ------
    OptionError: `per_part` is not positive. Others as :func:`partscope.scan.scan`.
    """
    if per_part < 1:
        raise OptionError(f"the shortlist must keep at least 1 channel per part, not {per_part}.")
    specs = [
        CentreSpec(centre="centroid", region=region, quantile=0.0, maps="activation") for region in regions
    ]
    scanned = scan(
        dataset,
        backbone,
        specs,
        folder=folder,
        on_error=on_error,
        progress=progress,
        description="shortlist",
    )
    usable = scanned.succeeded
    kept: set[int] = set()
    for spec in specs:
        ranking = rank_channels(scanned.of(spec)[usable], dataset[usable], rule=rule, normalise=normalise)
        shown = ranking.images > 0
        kept.update(ranking.channels[ranking.order[shown, :per_part]].ravel().tolist())
    return np.array(sorted(kept), dtype=np.int64)
