"""What `fit` does for a job of a job array."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from partscope.errors import DatasetError, OptionError

if TYPE_CHECKING:
    from partscope.dataset import PartDataset
    from partscope.detectors import PartDetector
    from partscope.engine import Shard, ShardDone


def share_of(detector: PartDetector, text: str) -> Shard:
    """Return the shard that `--shard` names; an OptionError where it names none, or the method has no use for it."""
    from partscope.engine import Shard

    share = Shard.parse(text)
    if detector.method not in ("channel", "linear"):
        raise OptionError(
            f"the method {detector.method!r} does not use --shard; it is fitted in one process."
        )
    if getattr(detector, "arrangement", "none") != "none" and detector.method == "channel":
        raise OptionError(
            "the arrangement of the channel method is learned in one process; fit its shards without --arrangement, and give "
            "it to the last call, without --shard."
        )
    return share


def linear_share(detector: PartDetector, dataset: PartDataset, share: Shard) -> PartDataset:
    """Return the images of a shard, every n-th block, and settle what depends on the number of all of them.

    Raises
    ------
    DatasetError: there are fewer blocks than shards.
    """
    from partscope.detectors.linear_options import flips_of
    from partscope.scan import BLOCK

    mine = share.every(-(-len(dataset) // BLOCK))
    if not mine:
        raise DatasetError(
            f"{dataset.name}: its {len(dataset)} images are too few for {share.count} shards of at least {BLOCK} images; "
            "take fewer."
        )
    flips = {"all": True, "none": False}.get(
        name := flips_of(detector.get_params()["flips"], len(dataset)), name
    )
    detector.set_params(flips=flips)
    rows = [row for index in mine for row in range(index * BLOCK, min((index + 1) * BLOCK, len(dataset)))]
    return dataset[rows]


def what_is_missing(end: ShardDone, folder: Path | None, out: Path) -> str:
    """Return the sentence on how a job array goes on."""
    return (
        f"{folder}: this shard of '{end.step}' is finished, {end.missing} blocks of other shards are still missing; when all "
        f"are finished, run the same command once more, without --shard to write {out}."
    )
