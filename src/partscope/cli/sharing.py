"""What commands do for a job of a job array."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from partscope.errors import DatasetError, OptionError, PartscopeError
from partscope.places import shown

if TYPE_CHECKING:
    from partscope.classification import PartFeatures
    from partscope.cli.classifying import Work
    from partscope.dataset import PartDataset
    from partscope.detectors import PartDetector
    from partscope.engine import Shard, ShardDone

Item = TypeVar("Item")


def run_of(images: Sequence[Item], share: Shard, block: int) -> list[Item]:
    """Return a shard's images, a run of successive blocks, so that the shards' results in their order are the whole's."""
    mine = share.run(-(-len(images) // block))
    if not mine:
        raise OptionError(
            f"the {len(images)} images are too few for {share.count} shards of at least {block} images; take fewer."
        )
    return list(images[mine[0] * block : (mine[-1] + 1) * block])


def extract_share(
    work: Work,
    features: PartFeatures,
    file: Path | None,
    images: PartDataset,
    share: Shard,
    *,
    flips: bool,
    on_error: str,
) -> None:
    """Find the parts and compute the features of a shard's images, every n-th block, into what all jobs share.

    Parameters
    ----------
    work: the folder of the run, with the cache.
    features: not yet fitted, with the detector of `file`, if it needs one.
    images: those of all shards.
    flips: whether the mirror images are wanted too.

    Raises
    ------
    OptionError: there are fewer blocks than shards. PartscopeError: nothing can be kept.
    """
    features.fit(images, on_error=on_error)
    if work.cache is None:
        raise PartscopeError(
            f"{work.folder}: the jobs' features meet in this folder, which cannot be made; give another place with --cache FILE."
        )
    size = features.images_per_block
    blocks = share.every(-(-len(images) // size))
    if not blocks:
        raise OptionError(
            f"{images.name}: its {len(images)} images are too few for {share.count} shards of at least {size} images; take "
            "fewer."
        )
    rows = [row for index in blocks for row in range(index * size, min((index + 1) * size, len(images)))]
    parts = None
    if features.detector_ is not None and file is not None:
        parts = work.find_parts(features.detector_, file, images, on_error, rows, share.index)
    places = features.locate(images[rows], predictions=parts, on_error=on_error)
    for mirrored in (False, True)[: 1 + flips]:
        features.rows(places, mirrored=mirrored, on_error=on_error)


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
        f"{shown(folder or out)}: this shard of '{end.step}' is finished, {end.missing} blocks of other shards are still missing; "
        f"when all are finished, run the same command once more, without --shard to write {shown(out)}."
    )
