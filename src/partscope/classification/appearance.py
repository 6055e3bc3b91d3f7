"""Part Transfer's own features: gradient and colour histograms with a χ² feature map (Göring et al., CVPR 2014; protocol §7).

They come as an :class:`~partscope.backbones.Embedder` around a module without weights, so that everything that takes a
network's features takes these too, patches, cache, mirror images and missing parts included:

    PartFeatures(TransferDetector(), region="crop", scale=PART_TRANSFER_SCALE, backbone=appearance_embedder())

followed by a linear SVM. Part Transfer finds every training image as its own nearest neighbour, so that the parts learned
from are the marked ones, as in the publication.

What the publication has and we have not, and what stands in its place:

- Bags of visual words of OpponentSIFT, whose codebook cannot be had: histograms of gradients on a grid (HOG). Both count
  gradient orientations in cells; HOG keeps where in the patch they are.
- Colour names by the learned table of van de Weijer et al. (2009), which is no part of any library we use: joint
  histograms of CIELAB colours in 2×2 parts of the patch.
- Global features over the bird's segmentation (GrabCut): over the box.

The χ² map is the publication's, in the sampled form of Vedaldi and Zisserman (2012); λ = 1/16 of the box's area, too.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.color import rgb2lab
from skimage.feature import hog
from sklearn.kernel_approximation import AdditiveChi2Sampler
from torch import Tensor, nn

from partscope.backbones import Embedder
from partscope.backbones.preprocessing import Preprocessing

FloatArray = NDArray[np.float32]

#: λ of Part Transfer: a patch has this share of the box's area (protocol §7).
PART_TRANSFER_SCALE = 1 / 16

#: Side in pixels to which a patch is warped.
_SIDE = 64
_BLOCK = 2
_ORIENTATIONS = 9
#: Bounds of L*, a* and b*; what lies outside counts as the last bin. Few natural colours do.
_LAB_RANGES = ((0.0, 100.0), (-40.0, 60.0), (-40.0, 80.0))


def gradient_histograms(pixels: NDArray[np.uint8], cell: int) -> FloatArray:
    """Describe an RGB patch (S, S, 3) by HOG with cells of `cell` pixels, blocks of 2×2 cells and 9 orientations.

    Of the three colours the one with the strongest gradient counts. Every block is divided by its sum, and all by their
    number: the result sums to 1, or less where the patch is flat.
    """
    values = hog(
        pixels,
        orientations=_ORIENTATIONS,
        pixels_per_cell=(cell, cell),
        cells_per_block=(_BLOCK, _BLOCK),
        block_norm="L1",
        channel_axis=-1,
    )
    blocks = (len(pixels) // cell - _BLOCK + 1) ** 2
    return np.asarray(values / blocks, dtype=np.float32)


def colour_histograms(pixels: NDArray[np.uint8], bins: tuple[int, int, int], cells: int) -> FloatArray:
    """Describe an RGB patch (S, S, 3) by joint histograms of its CIELAB colours in cells × cells parts; they sum to 1.

    Parameters
    ----------
    bins: number of bins of L*, a* and b*, of equal width.
    cells: rows and columns of parts; S must be a multiple.
    """
    lab = rgb2lab(pixels)
    index = np.zeros(lab.shape[:2], dtype=np.intp)
    for axis, (count, (low, high)) in enumerate(zip(bins, _LAB_RANGES, strict=True)):
        step = ((lab[..., axis] - low) * (count / (high - low))).astype(np.intp)
        index = index * count + np.clip(step, 0, count - 1)
    side = len(pixels) // cells
    place = np.arange(len(pixels)) // side
    index += (place[:, None] * cells + place[None, :]) * int(np.prod(bins))
    counts = np.bincount(index.ravel(), minlength=cells**2 * int(np.prod(bins)))
    return np.asarray(counts / index.size, dtype=np.float32)


class AppearanceHistograms(nn.Module):
    """Patches (N, 3, S, S) with values 0 to 255 to their gradient and colour histograms (N, D), computed on the CPU.

    Parameters
    ----------
    cell: side of a HOG cell in pixels.
    lightness, green_red, blue_yellow: bins of L*, a* and b*.
    colour_cells: rows and columns of parts with a colour histogram each.
    """

    # What the content hash covers, and with it the key of the feature cache; `version` changes when `forward` does.
    __constants__ = ("cell", "lightness", "green_red", "blue_yellow", "colour_cells", "version")
    version = 1

    def __init__(
        self,
        cell: int = 16,
        lightness: int = 4,
        green_red: int = 6,
        blue_yellow: int = 6,
        colour_cells: int = 2,
    ) -> None:
        super().__init__()
        self.cell = cell
        self.lightness = lightness
        self.green_red = green_red
        self.blue_yellow = blue_yellow
        self.colour_cells = colour_cells

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the histograms (N, D)."""
        images = inputs.detach().permute(0, 2, 3, 1).cpu().numpy()
        bins = (self.lightness, self.green_red, self.blue_yellow)
        rows = [
            np.concatenate(
                [
                    gradient_histograms(pixels, self.cell),
                    colour_histograms(pixels, bins, self.colour_cells),
                ]
            )
            for pixels in np.rint(images).astype(np.uint8)
        ]
        return torch.from_numpy(np.stack(rows)).to(inputs.device, inputs.dtype)


class ChiSquareMap(nn.Module):
    """Histograms (N, D) to (N, (2s − 1)·D) whose inner products approximate the additive χ² kernel Σ 2xy / (x + y).

    Zeros stay zeros. `steps` s is the number of samples of scikit-learn's `AdditiveChi2Sampler`.
    """

    __constants__ = ("steps",)

    def __init__(self, steps: int = 2) -> None:
        super().__init__()
        self.steps = steps

    def forward(self, histograms: Tensor) -> Tensor:
        """Return the mapped histograms."""
        values = histograms.detach().cpu().numpy()
        mapped = AdditiveChi2Sampler(sample_steps=self.steps).fit_transform(values)
        return torch.from_numpy(np.asarray(mapped)).to(histograms.device, histograms.dtype)


def appearance_embedder(histograms: AppearanceHistograms | None = None) -> Embedder:
    """Return Part Transfer's gradient and colour features with their χ² map, in the form of a network's features.

    Parameters
    ----------
    histograms: what is counted; the default's settings were chosen on training images (`docs/baselines.md`).
    """
    network = nn.Sequential()
    network.add_module("histograms", AppearanceHistograms() if histograms is None else histograms)
    network.add_module("chi2", ChiSquareMap())
    # Pixels as they are: a factor of 1, nothing subtracted.
    preprocessing = Preprocessing(_SIDE, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0), scale=1.0)
    return Embedder(network, "chi2", preprocessing, name="gradient and colour histograms")
