"""Refinement: what remains after the consensus, by kernel ridge regression over what was found in the training images.

Where a part really is, beside the point where its evidence was found, and whether it can be seen at all, depends on how the
object stands and on what it looks like there. Two images are similar if their arrangements are similar and the network's
features at the points found are: with arrangements g and features φ, the kernel is

    k(i, j) = exp(−‖g_i − g_j‖² / b) · (1 + φ_i · φ_j),

a linear regression on the features whose coefficients change with the pose. Training images count twice, as they are and
mirrored, so that what holds for a left part holds, mirrored, for the right one; an image and its mirror image are left out
together, which has a closed form too. Reweighting makes the regression of points minimise distances instead of their
squares. In a first round the visible shares of the consensus describe the pose, in the second the visibilities that the
first has predicted.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partscope.arrangement.decoding import Decoded
from partscope.arrangement.ridge import leave_out, ridge_inverse

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Ridge strengths of the points' regression that are compared by leaving images out.
STRENGTHS = (0.1, 0.25, 0.7, 2.0)
#: That of the visibilities' regression.
VISIBILITY_STRENGTH = 1.0
#: Deviations beyond this many object sizes are cut: they are mistakes of another kind.
LONGEST = 0.5
#: Distance, in object sizes, below which reweighting stops to favour the nearer.
FLOOR = 0.02
#: Fewest images to learn from; most images, evenly spaced, that are learned from, and that choose the strength.
LEAST, MOST, CHOOSING = 4, 1000, 200
#: Weight of the features beside 1 in the kernel: the mean of ‖φ‖².
FEATURE_WEIGHT = 2.0
#: Least visibility that places a part in the description of a pose.
_FAINT = 0.02


@dataclass(frozen=True, eq=False)
class Refinement:
    """A fitted regression; R rows are training images, the second half of them mirrored.

    Parameters
    ----------
    poses: (2, R, 3·P) descriptions of the rows' poses in the two rounds.
    widths: (2,) the b of the two rounds.
    shift: (R, P, 2) coefficients of the deviations, in object sizes.
    visibility: (2, R, P) coefficients of the visibilities in the two rounds.
    base: (P,) shares of visible parts, which the visibilities' regression starts from.
    rows: (R, P·F) float32 features of the rows, standardised; None where there are none.
    centre, scale: (P·F,) what standardises them.
    strength: the ridge strength of the points, for the record; infinite where no shift did better.
    """

    poses: FloatArray
    widths: FloatArray
    shift: FloatArray
    visibility: FloatArray
    base: FloatArray
    rows: NDArray[np.float32] | None
    centre: NDArray[np.float32]
    scale: NDArray[np.float32]
    strength: float

    def __call__(
        self, found: Decoded, features: NDArray[np.floating] | None
    ) -> tuple[FloatArray, FloatArray]:
        """Return the shift (P, 2) of each part's local point, in object sizes, and the vote (P,) for its visibility.

        Parameters
        ----------
        features: (P, F) at the local points; needed if the rows have them.
        """
        alike = np.ones(len(self.shift))
        if self.rows is not None and features is not None:
            own = (features.ravel().astype(np.float32) - self.centre) * self.scale
            alike += self.rows @ own
        local, size = found.local[None], np.array([found.size])
        seen = found.share[None]
        for turn in (0, 1):
            distance = _squared(self.poses[turn], poses(local, size, seen))[:, 0]
            near = np.exp(-distance / self.widths[turn]) * alike
            seen = (self.base + near @ self.visibility[turn])[None]
        return np.einsum("r,rpx->px", near + 1.0, self.shift), seen[0]

    def arrays(self) -> dict[str, FloatArray]:
        """Return what :meth:`restored` needs beside the strength and the features."""
        return {
            "poses": self.poses,
            "widths": self.widths,
            "shift": self.shift,
            "votes": self.visibility,
            "rate": self.base,
        }

    @classmethod
    def restored(
        cls, arrays: Mapping[str, NDArray[Any]], strength: float, features: NDArray[np.floating] | None
    ) -> Refinement:
        """Return a refinement from its arrays and the features that :func:`fit_refinement` was given.

        Raises
        ------
        KeyError: an array is missing.
        ValueError: the features are of another number of images or parts.
        """
        poses, widths, shift, votes, rate = (
            np.asarray(arrays[name]) for name in ("poses", "widths", "shift", "votes", "rate")
        )
        rows, centre, scale = _standardised(
            None if features is None else features[_evenly(len(features), MOST)]
        )
        if rows is not None and features is not None and (len(rows), features.shape[2]) != shift.shape[:2]:
            raise ValueError("the features are of other images or parts than the refinement")
        return cls(poses, widths, shift, votes, rate, rows, centre, scale, strength)


def poses(local: FloatArray, size: FloatArray, seen: FloatArray) -> FloatArray:
    """Describe arrangements: places relative to the visible parts' centre, in object sizes, and visibilities; (N, 3·P).

    Parameters
    ----------
    local: (N, P, 2); size: (N,); seen: (N, P), how surely a part is visible: of a faint one the place counts little.
    """
    weight = np.clip(seen, _FAINT, 1.0)[..., None]
    centre = (local * weight).sum(axis=1, keepdims=True) / weight.sum(axis=1, keepdims=True)
    place = (local - centre) / size[:, None, None] * np.sqrt(weight)
    return np.concatenate([place.reshape(len(place), -1), np.clip(seen, _FAINT, 1.0)], axis=1)


def fit_refinement(
    decoded: Sequence[Decoded],
    deviation: FloatArray,
    visible: BoolArray,
    mirror: NDArray[np.intp],
    features: NDArray[np.floating] | None = None,
) -> tuple[Refinement, FloatArray, FloatArray]:
    """Fit the regression.

    Parameters
    ----------
    decoded: what was found in N training images, each without its own arrangement.
    deviation: (N, P, 2) marked point less local point, in object sizes; anything where not visible.
    visible: (N, P).
    mirror: (P,) the part that each part becomes in a mirrored image.
    features: (N, 2, P, F) at the local points of the image, and of its mirror image in the order of the mirrored parts;
        (N, 1, P, F) where the mirror images are unknown, which are then not learned from; None without features.

    Returns
    -------
    The refinement, and for the training images what it says with them left out: shifts (N, P, 2) and votes (N, P).
    """
    images, parts = visible.shape
    used = _evenly(images, MOST)
    mirrored = features is None or features.shape[1] == 2
    rows, centre, scale = _standardised(None if features is None else features[used])
    local = np.array([found.local for found in decoded])
    size = np.array([found.size for found in decoded])
    share = np.array([found.share for found in decoded])
    deviation = np.clip(np.nan_to_num(deviation), -LONGEST, LONGEST)
    rate = visible.mean(axis=0)
    base = (rate + rate[mirror]) / 2
    truth, target = _doubled(visible, mirror, mirrored, used), _doubled(deviation, mirror, mirrored, used)
    alike = np.ones((len(truth), len(truth))) + (0.0 if rows is None else (rows @ rows.T).astype(np.float64))
    held = np.zeros((2, *truth.shape))
    seen = share[used]
    described, widths, visibility = [], [], []
    count = len(used)
    for turn in (0, 1):
        pose = poses(local[used], size[used], seen)
        if mirrored:
            other = poses(local[used][:, mirror] * (-1.0, 1.0), size[used], seen[:, mirror])
            pose = np.concatenate([pose, other])
        distance = _squared(pose, pose)
        width = float(np.median(distance)) or 1.0
        kernel = np.exp(-distance / width) * alike
        inverse = ridge_inverse(kernel, np.full(len(kernel), VISIBILITY_STRENGTH))
        coefficients = inverse @ (truth - base)
        twin = np.roll(np.arange(len(kernel)), count) if mirrored else np.arange(len(kernel))
        held[turn] = truth - leave_out(inverse, coefficients, twin)
        seen = held[turn, :count]
        described.append(pose)
        widths.append(width)
        visibility.append(coefficients)
    shift, strength, moved = _fit_shift(kernel + 1.0, target, truth > 0.5, count if mirrored else 0)
    fitted = Refinement(
        np.array(described),
        np.array(widths),
        shift,
        np.array(visibility),
        base,
        rows,
        centre,
        scale,
        strength,
    )
    shifts, votes = np.zeros((images, parts, 2)), np.zeros((images, parts))
    shifts[used], votes[used] = moved[:count], held[1, :count]
    rest = np.setdiff1d(np.arange(images), used)
    for index in rest.tolist():  # these were left out anyway
        shifts[index], votes[index] = fitted(decoded[index], None if features is None else features[index, 0])
    return fitted, shifts, votes


def _fit_shift(
    kernel: FloatArray, target: FloatArray, shown: BoolArray, count: int
) -> tuple[FloatArray, float, FloatArray]:
    """Return coefficients (R, P, 2), the chosen strength, and the shifts (R, P, 2) of rows that were left out.

    Parameters
    ----------
    kernel: (R, R); target: (R, P, 2); shown: (R, P), where the target counts.
    count: row r + count is the mirror image of row r; 0 where there are none.
    """
    nothing = np.zeros_like(target), float("inf"), np.zeros_like(target)
    images = len(kernel) - count
    if images < LEAST or not shown.any():
        return nothing
    some = _evenly(images, CHOOSING)
    some = np.concatenate([some, some + count]) if count else some
    small = kernel[np.ix_(some, some)], target[some], shown[some], len(some) // 2 if count else 0
    errors = [_regressed(*small, strength, reweight=False)[1] for strength in STRENGTHS]
    strength = STRENGTHS[int(np.argmin(errors))]
    (coefficients, moved), error = _regressed(kernel, target, shown, count, strength, reweight=True)
    plain = np.linalg.norm(target, axis=2)[shown].sum()
    return (coefficients, strength, moved) if error < plain else nothing


def _regressed(
    kernel: FloatArray, target: FloatArray, shown: BoolArray, count: int, strength: float, *, reweight: bool
) -> tuple[tuple[FloatArray, FloatArray], float]:
    """Return coefficients and left-out shifts of one strength, and the sum of the left-out distances."""
    coefficients, moved = np.zeros_like(target), np.zeros_like(target)
    total = 0.0
    for part in range(target.shape[1]):
        rows = np.flatnonzero(shown[:, part])
        if not len(rows):
            continue
        place = np.full(len(kernel), -1)
        place[rows] = np.arange(len(rows))
        twin = place[(rows + count) % len(kernel)] if count else place[rows]
        twin = np.where(twin < 0, np.arange(len(rows)), twin)
        own, wanted = kernel[np.ix_(rows, rows)], target[rows, part]
        weight = np.ones(len(rows))
        for turn in range(2 if reweight else 1):
            inverse = ridge_inverse(own, strength / weight)
            solved = inverse @ wanted
            left = leave_out(inverse, solved, twin)
            distance = np.linalg.norm(left, axis=1)
            if turn == 0:
                weight = 1 / np.maximum(distance, FLOOR)
                weight /= weight.mean()
        coefficients[rows, part] = solved
        moved[:, part] = kernel[:, rows] @ solved
        moved[rows, part] = wanted - left
        total += float(distance.sum())
    return (coefficients, moved), total


def _evenly(images: int, most: int) -> NDArray[np.intp]:
    """Return the indices of all images, or of `most` evenly spaced ones where there are more."""
    return np.linspace(0, images - 1, min(images, most)).astype(np.intp)


def _doubled(
    values: NDArray[np.generic], mirror: NDArray[np.intp], mirrored: bool, used: NDArray[np.intp]
) -> FloatArray:
    """Return values (N, P) or (N, P, 2) of the images used, followed by those of their mirror images."""
    own = values[used].astype(np.float64)
    if not mirrored:
        return own
    other = own[:, mirror]
    return np.concatenate([own, other * (-1.0, 1.0) if other.ndim == 3 else other])


def _standardised(
    features: NDArray[np.floating] | None,
) -> tuple[NDArray[np.float32] | None, NDArray[np.float32], NDArray[np.float32]]:
    """Return rows (R, P·F) with mean 0, equal spreads and a mean squared length of `FEATURE_WEIGHT`; centre; scale."""
    if features is None or features.shape[-1] == 0:
        return None, np.zeros(0, np.float32), np.zeros(0, np.float32)
    images, sides = features.shape[:2]
    rows = features.transpose(1, 0, 2, 3).reshape(images * sides, -1).astype(np.float32)
    centre = rows.mean(axis=0)
    rows -= centre
    scale = 1 / (rows.std(axis=0) + 1e-3)
    rows *= scale
    length = float(np.einsum("rd,rd->r", rows, rows).mean())
    factor = np.float32(np.sqrt(FEATURE_WEIGHT / length)) if length > 0 else np.float32(0.0)
    rows *= factor
    return rows, centre, scale * factor


def _squared(first: FloatArray, second: FloatArray) -> FloatArray:
    """Return squared distances (A, B) between rows (A, D) and (B, D)."""
    lengths = (first**2).sum(axis=1)[:, None] + (second**2).sum(axis=1)
    return np.asarray(np.maximum(lengths - 2 * first @ second.T, 0.0))
