"""The fifteen parts as patches of the bird's surface, and where the visible piece of each lies.

A part is a patch, as it is for a person who marks a photograph: the throat seen from the side and from the front is marked at two
different places of the same patch. Its position is the visible pixel of the patch nearest to the mean of its visible
pixels; it is visible where these are at least a stated share of the patch seen face on. Both are counted on the ray-cast
surface, after everything that hides a piece of the bird has been taken away, so they are exact by definition.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partscope.synthetic.anatomy import Anatomy, Organ
from partscope.synthetic.raycast import Surface

#: CUB-200-2011's parts in CUB-200-2011's order; left and right are the bird's own sides.
PARTS: tuple[str, ...] = (
    "back", "beak", "belly", "breast", "crown", "forehead", "left eye", "left leg", "left wing", "nape", "right eye",
    "right leg", "right wing", "tail", "throat",
)  # fmt: skip

# The area of each part's patch seen face on, in squared lengths of the body, of an average species.
_AREAS = np.array(
    [0.12, 0.02, 0.10, 0.08, 0.025, 0.012, 0.005, 0.015, 0.12, 0.02, 0.005, 0.015, 0.12, 0.05, 0.02]
)
#: A part is visible where at least this share of its patch's area shows.
VISIBLE_SHARE = 0.12


def label_parts(surface: Surface, anatomy: Anatomy) -> NDArray[np.int8]:
    """Return for each of the N visible pixels the index of the part whose patch it shows, or -1."""
    organ = anatomy.organ[surface.owner]
    q = surface.local
    labels = np.full(len(organ), -1, dtype=np.int8)
    whole = {
        "beak": Organ.BEAK,
        "left eye": Organ.LEFT_EYE,
        "right eye": Organ.RIGHT_EYE,
        "left wing": Organ.LEFT_WING,
        "right wing": Organ.RIGHT_WING,
        "left leg": Organ.LEFT_LEG,
        "right leg": Organ.RIGHT_LEG,
        "tail": Organ.TAIL,
    }
    for part, which in whole.items():
        labels[organ == which] = PARTS.index(part)
    trunk = np.flatnonzero((organ == Organ.BODY) | (organ == Organ.NECK))
    owner = surface.owner[trunk]
    place = anatomy.place[owner] + anatomy.reach[owner] * q[trunk, 0]
    above = q[trunk, 2] / (np.hypot(q[trunk, 1], q[trunk, 2]) + 1e-9)  # 1 along the back, -1 along the belly
    body = organ[trunk] == Organ.BODY
    for part, patch in (
        ("back", body & (above > 0.55) & (place > 0.26) & (place < 0.68)),
        ("belly", body & (above < -0.15) & (place > 0.16) & (place < 0.46)),
        ("breast", body & (above < -0.10) & (place > 0.52) & (place < 0.84)),
        ("nape", ~body & (above > 0.4) & (place > 0.90)),
        ("throat", ~body & (above < -0.35) & (place > 0.93)),
    ):
        labels[trunk[patch]] = PARTS.index(part)
    head = np.flatnonzero(organ == Organ.HEAD)
    forward, up = q[head, 0], q[head, 2]
    for part, patch in (
        ("crown", (up > 0.70) & (forward > -0.60) & (forward <= 0.45)),
        ("forehead", (up > 0.15) & (forward > 0.45) & (np.abs(q[head, 1]) < 0.65)),
        ("nape", (forward < -0.60) & (up > -0.40)),
        ("throat", (up < -0.45) & (forward > -0.20)),
    ):
        labels[head[patch]] = PARTS.index(part)
    return labels


def locate_parts(
    labels: NDArray[np.int8], pixels: NDArray[np.float64], shown: NDArray[np.bool_], unit: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return positions and visibility of the parts.

    Parameters
    ----------
    labels: (N,) from :func:`label_parts`.
    pixels: (N, 2) positions of the surface's pixels, in the unit of the answer.
    shown: (N,) whether a pixel is really seen: inside the picture and behind no occluder.
    unit: area of one of the pixels, in squared lengths of the bird's body.

    Returns
    -------
    (15, 2) positions, NaN where not visible, and (15,) visibility.
    """
    points = np.full((len(PARTS), 2), np.nan)
    kept = np.flatnonzero(shown & (labels >= 0))
    labels, pixels = labels[kept], pixels[kept]
    for part, area in enumerate(_AREAS):
        here = pixels[labels == part]
        # A patch of fewer than four of the pixels would be a speck that nobody could mark.
        if len(here) < max(4.0, VISIBLE_SHARE * area / unit):
            continue
        points[part] = here[np.argmin(((here - here.mean(axis=0)) ** 2).sum(axis=1))]
    return points, np.isfinite(points).all(axis=1)
