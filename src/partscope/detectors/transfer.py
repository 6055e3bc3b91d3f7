"""`TransferDetector`: the parts of the most similar training image (nonparametric part transfer, CVPR 2014).

Protocol, section 7: the box is warped to 128×128 pixels and described by HOG with 16-pixel cells; the nearest neighbour
among the training images and their mirror images gives its parts, in coordinates relative to the box.

The protocol leaves HOG's blocks open. Blocks of 2×2 cells, scaled by their L2 norm, with 9 orientations are the common form,
and no other was clearly better in cross-validation over training images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.feature import hog

from partscope.dataset import PartDataset, Skipped
from partscope.detectors.base import PartDetector
from partscope.detectors.located import Located
from partscope.detectors.model_file import Fields, Tensors
from partscope.detectors.queries import Box, Query
from partscope.detectors.registry import register_detector
from partscope.errors import DatasetError, ImageError, ModelFileError
from partscope.progress import track

if TYPE_CHECKING:
    from partscope.backbones.core import Backbone

FloatArray = NDArray[np.float32]

_SIDE = 128
_CELL = 16
_BLOCK = 2
_ORIENTATIONS = 9
_NORM = "L2"
_BLOCKS = (_SIDE // _CELL - _BLOCK + 1) ** 2

#: D, the length of a descriptor: 7×7 blocks of 2×2 cells with 9 orientations each.
LENGTH = _BLOCKS * _BLOCK**2 * _ORIENTATIONS

_SETTINGS = {"side": _SIDE, "cell": _CELL, "block": _BLOCK, "orientations": _ORIENTATIONS, "norm": _NORM}


def grey_crop(image: Image.Image, box: Box) -> NDArray[np.float64]:
    """Warp a box `(x, y, width, height)` in pixels, inside an upright RGB image, to (128, 128) grey values 0 to 255."""
    x, y, width, height = box
    corners = (x, y, min(x + width, image.width), min(y + height, image.height))
    crop = image.resize((_SIDE, _SIDE), Image.Resampling.BILINEAR, corners)
    # In 64-bit floats: the gradients of a mirrored crop are then exactly the mirrored gradients.
    return np.asarray(crop.convert("L"), dtype=np.float64)


def descriptor(grey: NDArray[np.float64]) -> FloatArray:
    """Describe a (128, 128) grey image by HOG: (D,) float32, every block of the L2 norm 1, or 0 where the image is flat."""
    values = hog(
        np.ascontiguousarray(grey),
        orientations=_ORIENTATIONS,
        pixels_per_cell=(_CELL, _CELL),
        cells_per_block=(_BLOCK, _BLOCK),
        block_norm=_NORM,
    )
    return np.asarray(values, dtype=np.float32)


@register_detector("transfer")
class TransferDetector(PartDetector):
    """Copies the parts of the training image whose box looks most alike, mirrored or not; needs the box.

    Instead of keeping the mirror image of every training image, the query is mirrored too: the distance between a query
    and a mirrored training image is that between the mirrored query and the training image. Half the memory, and the
    mirrored query gets exactly the mirrored answer. A tie goes to the training image that comes first, and to the one that
    is not mirrored.

    A part is found, and believed visible, where it is visible in the neighbour. `score` is the same for all parts found in
    an image: 1 - d²/(2B) for the Euclidean distance d and B = 49 blocks of unit length, which is the mean cosine similarity
    of the blocks of query and neighbour.

    Attributes
    ----------
    features_: (N, D) float32 descriptors of the training images.
    positions_: (N, P, 2) float64 part positions relative to the box, 0 to 1; NaN where not visible.
    """

    features_: FloatArray
    positions_: NDArray[np.float64]

    def __init__(self) -> None:
        pass

    @property
    def needs_box(self) -> bool:
        """True: the descriptor is that of the box."""
        return True

    def _info(self) -> dict[str, Any]:
        return {**super()._info(), "region": "crop"}

    def _fit(self, dataset: PartDataset, *, on_error: str, progress: bool) -> None:
        features: list[FloatArray] = []
        positions: list[NDArray[np.float64]] = []
        skipped: list[Skipped] = []
        for sample in track(dataset.samples, "fit", enabled=progress):
            if sample.box is None:  # the base class has left such samples out
                raise DatasetError(f"{sample.id}: the sample has no bounding box, which this method needs.")
            try:
                image = Query.of(sample).open()
            except (ImageError, DatasetError) as error:
                if on_error == "raise":
                    raise
                skipped.append(Skipped(sample.id, str(error)))
                continue
            features.append(descriptor(grey_crop(image, sample.box)))
            positions.append((sample.points - sample.box[:2]) / sample.box[2:])
        if not features:
            raise DatasetError(
                f"{dataset.name}: none of the {len(dataset)} training images could be read; the first: {skipped[0].reason}"
            )
        self.features_ = np.array(features)
        self.positions_ = np.array(positions)
        self.skipped_ = tuple(skipped)

    def nearest(self, image: Image.Image, box: Box) -> tuple[int, bool, float]:
        """Return the nearest training image's index, whether it is mirrored, and the distance of the descriptors.

        Parameters
        ----------
        image: upright RGB image.
        box: `(x, y, width, height)` in pixels, inside the image.
        """
        # The differences themselves rather than |a|² - 2ab + |b|²: an equal image has the distance 0, and ties are ties.
        grey = grey_crop(image, box)
        queries = (descriptor(grey), descriptor(grey[:, ::-1]))
        squares = np.stack([np.square(self.features_ - query).sum(axis=1) for query in queries], axis=1)
        index, mirrored = divmod(int(squares.argmin()), 2)
        return index, bool(mirrored), float(np.sqrt(squares[index, mirrored]))

    def _locate(self, image: Image.Image, box: Box | None) -> Located:
        assert box is not None  # the base class has seen to it
        index, mirrored, distance = self.nearest(image, box)
        relative = self.positions_[index]
        if mirrored:
            relative = np.array([1.0, 0.0]) + relative[self.mirror_] * np.array([-1.0, 1.0])
        points = np.asarray(box[:2]) + relative * np.asarray(box[2:])
        found = np.isfinite(points).all(axis=1)
        score = np.full(len(points), np.clip(1.0 - distance**2 / (2 * _BLOCKS), 0.0, 1.0))
        return Located(points, found, score, found.copy())

    def _state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        return {"features": self.features_, "positions": self.positions_}, {"hog": _SETTINGS}

    def _restore(self, tensors: Tensors, config: Fields, backbone: Backbone | None) -> None:
        if config.take("hog", dict) != _SETTINGS:
            raise ModelFileError(
                f"{config.path}: the model file was made with other HOG settings ({config['hog']}) than this version's "
                f"({_SETTINGS}); fit it again."
            )
        count = len(self.train_ids_)
        self.features_ = tensors.take("features", (count, LENGTH), np.float32)
        self.positions_ = tensors.take("positions", (count, len(self.parts_), 2), np.float64, finite=False)
        if not count:
            raise ModelFileError(f"{config.path}: the model file holds no training image; fit it again.")
