"""What one forward pass an image says about all channels: where they are active, and which of them have no gradient at all.

A channel whose activation is the same in every cell of its grid is *silent* as a rule: a rectifier cut it to zero everywhere, or
everything that it is computed from was cut to zero, and then its gradient is zero too and it has no centre. That is not taken
on trust: one backward pass of a weighted sum of all these channels shows whether their gradient is zero, for all at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from partscope.backbones.core import Backbone
from partscope.backbones.devices import computing
from partscope.centres import find_centres
from partscope.channel_centres import CentreSpec
from partscope.channel_maps import ChannelMaps
from partscope.dataset import PartDataset, Sample, Skipped
from partscope.errors import DatasetError, ImageError
from partscope.progress import track
from partscope.scan import BLOCK, open_annotated, scan_manifest, warn_of_clipping
from partscope.scan_store import ScanStore
from partscope.views import needs_box, region_box, view


@dataclass(frozen=True, eq=False)
class Screening:
    """What is known of N images and K channels before the first gradient.

    Parameters
    ----------
    centres: (N, K, 2) float32, centroids of the squared activations in image pixels, NaN without one. They guide a search and
        decide nothing.
    silent: (N, K) cells whose gradient is known to be zero, so that they are known to have no centre.
    failures: images that could not be read, with the reason; their rows say nothing.
    """

    centres: NDArray[np.float32]
    silent: NDArray[np.bool_]
    failures: tuple[Skipped, ...] = ()


def silent_channels(backbone: Backbone, inputs: Tensor) -> tuple[Tensor, NDArray[np.bool_]]:
    """Return the layer's activations of one input, (K, h, w), and which channels are known to have no gradient, (K,).

    Costs a forward pass, and a backward pass if any channel is the same everywhere.

    Parameters
    ----------
    inputs: (3, S, S), as the backbone's preprocessing returns it.

    Raises
    ------
    BackboneError: as :meth:`Backbone.activations`.
    """
    with torch.inference_mode(False), torch.enable_grad():
        image = inputs.detach().to(backbone.device, backbone.dtype).unsqueeze(0).clone().requires_grad_(True)
        activations = backbone.activations(image)[0]
        values = activations.detach().flatten(1)
        even = (values == values[:, :1]).all(dim=1)
        if even.any() and activations.requires_grad:
            # Unequal weights: gradients that are not zero shall not cancel by symmetry.
            weights = torch.linspace(1, 2, len(even), dtype=values.dtype, device=values.device)
            with computing(activations.device, backbone.precision):
                total = (activations.sum(dim=(1, 2)) * weights)[even].sum()
                (gradient,) = torch.autograd.grad(total, image, allow_unused=True)
            if gradient is not None and bool((gradient != 0).any()):
                even = torch.zeros_like(even)
    return activations.detach(), even.cpu().numpy()


def screen(
    dataset: PartDataset,
    backbone: Backbone,
    region: str = "image",
    *,
    folder: str | Path | None = None,
    on_error: str = "raise",
    progress: bool = False,
) -> Screening:
    """Look at every image once, forward.

    Parameters
    ----------
    dataset: N images.
    backbone: network, layer, preprocessing.
    region: what of them is searched, see :mod:`partscope.views`.
    folder: where finished blocks of images are kept; in memory alone by default.
    on_error: `"raise"` stops at the first bad image, `"skip"` lists it.
    progress: show a bar on standard error.

    Raises
    ------
    ScanError, ImageError, DatasetError, BackboneError: as :func:`partscope.scan.scan`.
    """
    if needs_box(region):
        warn_of_clipping(dataset)
    store = None
    if folder is not None:
        spec = CentreSpec(centre="centroid", region=region, quantile=0.0, maps="activation")
        manifest = scan_manifest(dataset, backbone, [spec], np.arange(backbone.channels), BLOCK)
        store = ScanStore(folder, {**manifest, "silent channels": True})
    blocks: list[NDArray[np.float32]] = []
    failures: list[Skipped] = []
    starts = range(0, len(dataset), BLOCK)
    for index, start in enumerate(track(starts, f"screening, blocks of {BLOCK}", enabled=progress)):
        samples = dataset.samples[start : start + BLOCK]
        known = None if store is None else store.read(index, (len(samples), 2, backbone.channels, 2))
        if known is None or known[1]:
            known = _block(samples, backbone, region, on_error)
            if store is not None:
                store.write(index, known)
        blocks.append(known[0])
        failures += known[1]
    if store is not None:
        store.tidy()
    found = np.concatenate([np.empty((0, 2, backbone.channels, 2), dtype=np.float32), *blocks])
    return Screening(found[:, 0], found[:, 1, :, 0] == 1, tuple(failures))


def _block(
    samples: tuple[Sample, ...], backbone: Backbone, region: str, on_error: str
) -> tuple[NDArray[np.float32], tuple[Skipped, ...]]:
    rows, failures = [], []
    for sample in samples:
        try:
            rows.append(_row(sample, backbone, region))
        except (ImageError, DatasetError) as error:
            if on_error == "raise":
                raise
            rows.append(np.full((2, backbone.channels, 2), np.nan, dtype=np.float32))
            failures.append(Skipped(sample.id, str(error)))
    return np.stack(rows), tuple(failures)


def _row(sample: Sample, backbone: Backbone, region: str) -> NDArray[np.float32]:
    """Centroids, and flags in the same shape: (2, K, 2)."""
    image = open_annotated(sample)
    try:
        seen = view(backbone.preprocessing, image, region, sample.box)
    except DatasetError as error:
        raise DatasetError(f"{sample.image}: {error}") from error
    activations, silent = silent_channels(backbone, seen.inputs)
    maps = ChannelMaps(activations.clamp_min(0).square(), backbone.cells)
    mask = maps.mask(seen, region_box(region, image.size, sample.box)) if region == "mask" else None
    found = find_centres(maps.maps, "centroid", mask, quantile=0.0)
    centres = maps.to_image(found.points, seen).numpy()
    return np.stack([centres, np.repeat(silent[:, None], 2, axis=1)]).astype(np.float32)
