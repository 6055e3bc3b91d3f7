"""The channel detector under a spatial model: gradient maps of the selected channels as evidence for the arrangement.

Each part's evidence is the gradient map of the channel that was selected for it, averaged over the cells of a coarse grid.
Unlike discriminants, which are fitted to the images and know them, a selection of one channel out of some dozens hardly
depends on a single image; so the arrangement is learned from the maps of the training images themselves, and none is left
out.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from partscope.arrangement import Arrangement
from partscope.dataset import PartDataset, Sample
from partscope.detectors.queries import Query
from partscope.progress import track
from partscope.scan import BLOCK
from partscope.scan_store import ScanStore
from partscope.views import region_box

if TYPE_CHECKING:
    from partscope.detectors.channel import ChannelDetector

FloatArray = NDArray[np.float64]

#: Rows and columns of the evidence maps, chosen on training images (benchmarks/channel_arrangement.py).
GRID = 20

#: Added to a cell's share before the logarithm, where 1 is the mean over the map: what a cell without gradient has.
FLOOR = 0.01


def gradient_evidence(maps: Tensor, mask: Tensor | None = None, grid: int = GRID) -> NDArray[np.float32]:
    """Return channel maps as evidence: the logarithm of each cell's mean value over that of the whole map.

    Parameters
    ----------
    maps: (C, H, W), not negative: gradients or squared activations.
    mask: (H, W) bool, the pixels that count; the others are no evidence for anything, and a cell without any that counts
        gets the smallest value of its map.
    grid: rows and columns g of the result.

    Returns
    -------
    (C, g, g) float32; 0 everywhere for a map without gradient.
    """
    weight = torch.ones_like(maps[:1]) if mask is None else mask.to(maps)[None]
    share = functional.adaptive_avg_pool2d(weight[None], grid)[0]
    mean = functional.adaptive_avg_pool2d((maps * weight)[None], grid)[0] / share.clamp_min(1e-9)
    inside = share > 0
    level = (mean * share).sum(dim=(1, 2), keepdim=True) / share.sum()
    dead = level <= 0
    values = torch.log(torch.where(dead, 1.0, mean / torch.where(dead, 1.0, level)) + FLOOR)
    values = torch.where(dead, 0.0, values)
    lowest = torch.where(inside, values, torch.inf).amin(dim=(1, 2), keepdim=True)
    return torch.where(inside, values, lowest).cpu().numpy().astype(np.float32)


def selected_channels(detector: ChannelDetector) -> list[int]:
    """Return the channels that some part has selected, ascending."""
    return sorted(set(detector.channels_.values()))


def evidence_of_parts(maps: NDArray[np.float32], detector: ChannelDetector) -> NDArray[np.float32]:
    """Return the evidence of each part, (…, P, g, g), from that of the selected channels, (…, C, g, g); 0 without one."""
    row = {channel: i for i, channel in enumerate(selected_channels(detector))}
    columns = [row.get(detector.channels_.get(part, -1), len(row)) for part in detector.parts_]
    none = np.zeros_like(maps[..., :1, :, :])
    return np.concatenate([maps, none], axis=-3)[..., columns, :, :]


def learn_arrangement(
    detector: ChannelDetector, dataset: PartDataset, *, folder: Path | None = None, progress: bool = False
) -> Arrangement | None:
    """Learn where the parts stand to each other from the images that the channels were selected on.

    Parameters
    ----------
    detector: with its channels selected.
    dataset: readable images; with boxes where the detector needs them.
    folder: where finished blocks of evidence are kept, so that a killed fit can be continued.
    progress: show a bar on standard error.

    Returns
    -------
    The arrangement, or None where there are fewer than two images to learn from.

    Raises
    ------
    ScanError: the folder belongs to something else, or cannot be written. ImageError: an image cannot be read.
    """
    if len(dataset) < 2:
        return None
    frames = np.array([_frame(detector, sample) for sample in dataset])
    shape = (len(selected_channels(detector)), GRID, GRID)
    store = None if folder is None else ScanStore(folder, _manifest(detector, dataset))
    maps: list[NDArray[np.float32]] = []
    starts = range(0, len(dataset), BLOCK)
    for index, start in enumerate(track(starts, f"evidence, blocks of {BLOCK}", enabled=progress)):
        samples = dataset.samples[start : start + BLOCK]
        kept = None if store is None else store.read(index, (len(samples), *shape))
        if kept is None:
            block = [_maps_of(detector, sample) for sample in samples]
            kept = (np.stack(block), ())
            if store is not None:
                store.write(index, kept)
        maps += list(kept[0])
    if store is not None:
        store.tidy()
    points = np.where(dataset.visible[..., None], dataset.points, 0.0) - frames[:, None, :2]
    # A part may lie a little outside a box.
    points = np.clip(points / frames[:, None, 2:], 0.0, 1.0)
    evidence = evidence_of_parts(np.stack(maps), detector)
    boxes = dataset.boxes if detector.region == "image" else None
    return Arrangement.fit(points, dataset.visible, frames[:, 2:], detector.mirror_, evidence, boxes)


def _maps_of(detector: ChannelDetector, sample: Sample) -> NDArray[np.float32]:
    _, maps, seen = detector.part_maps(Query.of(sample).open(), sample.box)
    return gradient_evidence(maps, seen.mask)


def _frame(detector: ChannelDetector, sample: Sample) -> tuple[float, float, float, float]:
    """Return the rectangle of the picture that the maps show, `(x, y, width, height)` in pixels."""
    box = region_box(detector.region, sample.size, sample.box)
    if detector.region == "crop" and box is not None:
        return box
    return (0.0, 0.0, float(sample.size[0]), float(sample.size[1]))


def _manifest(detector: ChannelDetector, dataset: PartDataset) -> dict[str, Any]:
    return {
        "format": 1,
        "data set": dataset.fingerprint(),
        "images": len(dataset),
        "backbone": detector.backbone_.content_hash,
        "evidence": {
            "grid": GRID,
            "floor": FLOOR,
            "region": detector.region,
            "reduction": detector.reduction,
            **({} if detector.maps == "gradient" else {"maps": detector.maps}),
        },
        "channels": selected_channels(detector),
        "images per block": BLOCK,
    }
