"""How the channel detector's `fit` comes to its ranking: a scan of all channels or of a shortlist, or a search that drops them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from partscope.backbones import Backbone
from partscope.channel_centres import CentreSpec
from partscope.dataset import PartDataset
from partscope.errors import DatasetError
from partscope.scan import scan
from partscope.search import DROPPING, Found, check_search, search_channels
from partscope.selection import rank_channels
from partscope.shortlist import SEARCHES, shortlist_channels

if TYPE_CHECKING:
    from partscope.detectors.channel import ChannelDetector

#: What `search` of the channel detector may be.
CHANNEL_SEARCHES = (*SEARCHES, *DROPPING)


def check_channel_search(detector: ChannelDetector) -> None:
    """Raise an OptionError for parameters of a search that do not go together."""
    if detector.search in DROPPING and detector.maps == "gradient":
        check_search(
            detector.search,
            rule=detector.rule,
            normalise=detector.normalise,
            top=detector.top,
            delta=detector.delta,
        )


def rank_training_channels(
    detector: ChannelDetector,
    dataset: PartDataset,
    backbone: Backbone,
    spec: CentreSpec,
    *,
    folder: Path | None,
    on_error: str,
    progress: bool,
) -> Found:
    """Rank the channels of the backbone on training images as the detector's parameters say.

    Parameters
    ----------
    detector: with valid parameters; not changed.
    dataset: training images.
    spec: how a channel becomes a point.
    folder: where finished work is kept.
    on_error, progress: as for :func:`partscope.scan.scan`.

    Returns
    -------
    The ranking, with counts where channels were dropped.

    Raises
    ------
    As :func:`partscope.scan.scan`; DatasetError where no image can be read.
    """
    if detector.search in DROPPING and detector.maps == "gradient":
        return search_channels(
            dataset,
            backbone,
            spec,
            detector.search,
            rule=detector.rule,
            normalise=detector.normalise,
            top=detector.top,
            delta=detector.delta,
            folder=folder,
            on_error=on_error,
            progress=progress,
        )
    candidates = np.arange(backbone.channels)
    if detector.search == "shortlist" and detector.maps == "gradient":
        candidates = shortlist_channels(
            dataset,
            backbone,
            detector.shortlist,
            regions=(detector.region,),
            rule=detector.rule,
            normalise=detector.normalise,
            folder=None if folder is None else folder / "shortlist",
            on_error=on_error,
            progress=progress,
        )
    scanned = scan(
        dataset,
        backbone,
        [spec],
        channels=candidates.tolist(),
        folder=None if folder is None else folder / "centres",
        on_error=on_error,
        progress=progress,
        description=f"{'gradients' if detector.maps == 'gradient' else 'activations'} of {len(candidates)} channels",
    )
    usable = scanned.succeeded
    if not len(usable):
        raise DatasetError(
            f"{dataset.name}: not one training image could be read; the first: {scanned.failures[0].reason}"
        )
    detector._check_shown(dataset[usable])
    ranking = rank_channels(
        scanned.of(spec)[usable],
        dataset[usable],
        channels=candidates,
        rule=detector.rule,
        normalise=detector.normalise,
    )
    return Found(ranking, None, scanned.failures)
