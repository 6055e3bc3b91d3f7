"""The components of a part model: root and part templates, how they are learned from boxes, and how an image is read.

A component is a root template over the whole object and P part templates that move against it at a quadratic cost
(Felzenszwalb et al. 2010), all of them gradient histograms; parts have twice the root's resolution. See
:mod:`partscope.classification.deformable` for the model and where it differs from the publication.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import zoom
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans

from partscope.classification.facing import common_facing
from partscope.classification.hog_cells import CELL, CellArray, grey_crop, hog_cells, mirror_cells
from partscope.classification.placement import Deformation, distance_transform, responses
from partscope.classification.whitening import Background, Whitening
from partscope.detectors.queries import Box

FloatArray = NDArray[np.float64]

#: The warped box has 8×8 root cells and 16×16 part cells, with what the root's shift and the cells' norms need around it.
_ROOT = 8
_SHIFTS = 3
_SIDE = 2 * _ROOT * CELL
_MARGIN = 4 * CELL
#: Side of a part in part cells: eight of them have 78 % of the box's area, as in the publication's detector (80 %).
_PART = 5
#: Part cells by which a root at shift 0 is right of and below the first described part cell.
_ORIGINS = 2.0 * np.arange(_SHIFTS) + 1.0
#: Squared part cells; the start, the least and the most that a part's position varies by.
_VARIANCE = (1.0, 0.25, 4.0)
LEAST_MEMBERS = 5
_BACKGROUND_SIDE = 256


@dataclass(frozen=True, eq=False)
class Grids:
    """An image's box in cells: root (10, 10, 13) and parts (22, 22, 13), as it is and mirrored."""

    root: tuple[CellArray, CellArray]
    parts: tuple[CellArray, CellArray]

    @classmethod
    def of(cls, image: Image.Image, box: Box) -> Grids:
        """Describe a box `(x, y, width, height)` in pixels of an upright RGB image."""
        fine = hog_cells(grey_crop(image, box, _SIDE, _MARGIN))
        coarse = hog_cells(grey_crop(image, box, _SIDE // 2, _MARGIN // 2))
        return cls((coarse, mirror_cells(coarse)), (fine, mirror_cells(fine)))


@dataclass(frozen=True, eq=False)
class Component:
    """One way in which objects look: a root template, P part templates and where the parts are expected.

    root (8, 8, 13) and parts (P, 5, 5, 13) with bias; deformations in part cells from the root's corner; share: the log of
    the share of training images.
    """

    root: FloatArray
    root_bias: float
    parts: FloatArray
    part_bias: FloatArray
    deformations: tuple[Deformation, ...]
    share: float


@dataclass(frozen=True, eq=False)
class Placement:
    """The best reading of one image: score, component, whether mirrored, root shift and (P, 2) part positions `(x, y)`.

    Positions are in cells of the orientation that was read: of the mirrored image where `mirrored`.
    """

    score: float
    component: int
    mirrored: bool
    shift: tuple[int, int]
    positions: NDArray[np.intp]


def scene_cells(image: Image.Image) -> CellArray:
    """Describe a whole image at 256 pixels of its longer side, for the background's statistics."""
    scale = _BACKGROUND_SIDE / max(image.size)
    size = [max(3, int(side * scale / CELL)) * CELL for side in image.size]
    grey = image.convert("L").convert("F").resize((size[0], size[1]), Image.Resampling.BILINEAR)
    return hog_cells(np.asarray(grey, dtype=np.float64))


def learn_components(
    grids: Sequence[Grids],
    scenes: Sequence[CellArray],
    count: int,
    parts: int,
    rounds: int,
    random_state: int,
) -> tuple[list[Component], list[Placement]]:
    """Learn `count` components of `parts` parts from N objects.

    The objects are first turned to one side, then k-means on whitened root cells finds the components; parts start where a
    root is strongest. In every round all objects are read, and the templates made again from what was read.

    Parameters
    ----------
    grids: N objects. scenes: whole images, for the background. random_state: of k-means.

    Returns
    -------
    The components, with corresponding parts in the same places, and the N readings of the last round, by the components of
    the round before.
    """
    background = Background.measure(scenes, _ROOT - 1)
    spaces = Whitening(background, _ROOT, _ROOT), Whitening(background, _PART, _PART)
    inner = slice(1, 1 + _ROOT)
    boxes = [np.stack([g.root[m][inner, inner] for g in grids]) for m in (0, 1)]
    white = [_unit(spaces[0].whiten(cells)) for cells in boxes]
    flips = common_facing(white[0], white[1])
    turned = np.where(flips[:, None], white[1], white[0])
    member = KMeans(count, n_init=10, random_state=random_state).fit_predict(turned)
    components = []
    for c in range(count):
        chosen = np.flatnonzero(member == c)
        root_mean = np.mean([boxes[int(flips[i])][i] for i in chosen], axis=0)
        corners = _strongest_windows(spaces[0].template(root_mean)[0], parts) + int(_ORIGINS[1])
        # The root lies in the middle, at shift 1.
        start = [Placement(0.0, c, bool(flips[i]), (1, 1), corners) for i in chosen]
        components.append(_component([grids[int(i)] for i in chosen], start, len(grids), spaces, first=True))
    components = _in_common_slots(components, np.bincount(member, minlength=count))
    read: list[Placement] = []
    for _ in range(rounds):
        read = [read_object(components, grid) for grid in grids]
        for c in range(count):
            own = [i for i, placement in enumerate(read) if placement.component == c]
            if len(own) >= LEAST_MEMBERS:  # else the component keeps its templates
                components[c] = _component(
                    [grids[i] for i in own], [read[i] for i in own], len(grids), spaces
                )
    return components, read


def _unit(vectors: FloatArray) -> FloatArray:
    return np.asarray(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12))


def _strongest_windows(root: FloatArray, count: int) -> NDArray[np.intp]:
    """Return the (count, 2) corners `(x, y)` in part cells of the windows where a root's positive weights are strongest.

    As in the original detector: the window with the most energy, the squared positive weights, is taken and its energy
    erased, and again.
    """
    energy = zoom(np.square(np.maximum(root, 0.0)).sum(axis=2), 2, order=1, mode="nearest", grid_mode=True)
    corners = []
    for _ in range(count):
        sums = np.lib.stride_tricks.sliding_window_view(energy, (_PART, _PART)).sum(axis=(2, 3))
        y, x = np.unravel_index(int(sums.argmax()), sums.shape)
        energy[y : y + _PART, x : x + _PART] = 0.0
        corners.append((x, y))
    return np.array(corners, dtype=np.intp)


def _component(
    grids: Sequence[Grids],
    placements: Sequence[Placement],
    total: int,
    spaces: tuple[Whitening, Whitening],
    first: bool = False,
) -> Component:
    """Make a component from its members and where root and parts are in them; at first, how parts stray is not known."""
    roots, windows, offsets = [], [], []
    for grid, placement in zip(grids, placements, strict=True):
        x, y = placement.shift
        roots.append(grid.root[placement.mirrored][y : y + _ROOT, x : x + _ROOT])
        cells = grid.parts[placement.mirrored]
        windows.append([cells[v : v + _PART, u : u + _PART] for u, v in placement.positions])
        offsets.append(placement.positions - _ORIGINS[[x, y]])
    root, root_bias = spaces[0].template(np.mean(roots, axis=0))
    made = [spaces[1].template(mean) for mean in np.mean(windows, axis=0)]
    centre = np.mean(offsets, axis=0)
    start, least, most = _VARIANCE
    spread = np.full(centre.shape, start) if first else np.clip(np.var(offsets, axis=0), least, most)
    return Component(
        root,
        root_bias,
        np.stack([weights for weights, _ in made]),
        np.array([bias for _, bias in made]),
        tuple(
            Deformation((a[0], a[1]), (s[0], s[1]))
            for a, s in zip(centre.tolist(), spread.tolist(), strict=True)
        ),
        float(np.log(len(grids) / total)),
    )


def _in_common_slots(components: Sequence[Component], sizes: NDArray[np.integer]) -> list[Component]:
    """Reorder the parts of every component to correspond, by position in the box, to those of the largest."""
    anchors = [np.array([d.anchor for d in component.deformations]) for component in components]
    reference = anchors[int(np.argmax(sizes))]
    ordered = []
    for component, own in zip(components, anchors, strict=True):
        distances = np.square(reference[:, None] - own[None]).sum(axis=2)
        take = linear_sum_assignment(distances)[1]
        ordered.append(
            dataclasses.replace(
                component,
                parts=component.parts[take],
                part_bias=component.part_bias[take],
                deformations=tuple(component.deformations[i] for i in take),
            )
        )
    return ordered


def read_object(components: Sequence[Component], grids: Grids) -> Placement:
    """Return the reading of an image with the highest score; of equal ones that not mirrored, and the first."""
    best: Placement | None = None
    for mirrored in (False, True):
        # All components at once: cutting the grid into windows is most of the work.
        roots = responses(
            grids.root[mirrored],
            np.stack([component.root for component in components]),
            np.array([component.root_bias for component in components]),
        )
        parts = responses(
            grids.parts[mirrored],
            np.concatenate([component.parts for component in components]),
            np.concatenate([component.part_bias for component in components]),
        )
        parts = parts.reshape(len(components), -1, *parts.shape[1:])
        for c, component in enumerate(components):
            total, placed = roots[c], []
            for score, deformation in zip(parts[c], component.deformations, strict=True):
                value, position = distance_transform(
                    score,
                    deformation.cost(1, score.shape[0], _ORIGINS),
                    deformation.cost(0, score.shape[1], _ORIGINS),
                )
                total = total + value
                placed.append(position)
            y, x = (int(i) for i in np.unravel_index(int(total.argmax()), total.shape))
            reached = float(total[y, x]) + component.share
            if best is None or reached > best.score:
                positions = np.array([position[y, x] for position in placed])
                best = Placement(reached, c, mirrored, (x, y), positions)
    assert best is not None  # there is at least one component
    return best


def part_rectangles(placement: Placement, box: FloatArray, size: FloatArray) -> FloatArray:
    """Return the (P, 4) part rectangles in pixels of the image; one that reaches over the border is moved inside.

    Parameters
    ----------
    box: (4,) the object's, `(x, y, width, height)`. size: (2,) width and height of the image.
    """
    cell = box[2:] / _SIDE * CELL
    # The first described cell is the second of the crop, whose margin is outside the box.
    corners = placement.positions + 1.0 - _MARGIN / CELL
    if placement.mirrored:
        corners[:, 0] = 2 * _ROOT - corners[:, 0] - _PART
    extent = np.minimum(_PART * cell, size)
    start = np.clip(box[:2] + corners * cell, 0.0, size - extent)
    return np.concatenate([start, np.broadcast_to(extent, start.shape)], axis=1)
