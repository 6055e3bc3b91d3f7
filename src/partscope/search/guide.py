"""What a charge will probably be, from the forward pass and from the channels that are known already.

It sets the order of a search and sharpens the estimates of a race; what is dropped for good is never decided by it alone.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from partscope.search.screening import Screening
from partscope.search.tally import Tally

FloatArray = NDArray[np.float64]

# Charges of the activations' centroids are kept up to this many values; beyond, they are computed each time.
_VALUES_KEPT = 32_000_000


class Guide:
    """Linear predictions of charges: from the centroid of the channel's activations, and from the image.

    The charge for part p of channel k in image i is predicted from a constant, the charge of the activation's centroid, and
    the mean charge of the complete channels in that image (some images are hard for all channels). Each part has three
    coefficients, fitted by least squares to all known cells.

    Parameters
    ----------
    screening: of the forward pass.
    tally: the state of the search; :meth:`learn` reads it again.
    """

    def __init__(self, screening: Screening, tally: Tally) -> None:
        self._screening = screening
        self._tally = tally
        images, parts = len(screening.silent), len(tally.charges.images)
        #: (P,) charges are not cut off.
        self.cap: FloatArray = np.full(parts, np.inf)
        self._coefficients = _untaught(parts)
        self._mean: FloatArray = np.zeros((images, parts))
        self._complete: list[int] = []
        self._kept: dict[int, FloatArray] = {}
        self._most_kept = _VALUES_KEPT // max(1, images * parts)

    def _raw(self, channel: int) -> FloatArray:
        if channel not in self._kept:
            centres = self._screening.centres[:, channel]
            charge = self._tally.charges.of(np.arange(len(centres)), centres)
            if len(self._kept) >= self._most_kept:
                return charge
            self._kept[channel] = charge
        return self._kept[channel]

    def charges(self, channel: int) -> FloatArray:
        """Return predictions for one channel in all images, (N, P), not negative; 0 where the part is not visible."""
        return self._predicted(channel, self._coefficients, self.cap, self._mean)

    def _predicted(
        self, channel: int, coefficients: FloatArray, cap: FloatArray, mean: FloatArray
    ) -> FloatArray:
        """Predictions (N, P) between 0 and `cap`, by coefficients that :meth:`_fitted` found with the same cap and mean."""
        constant, slope, level = coefficients.T
        value = constant + slope * np.minimum(self._raw(channel), cap) + level * mean
        return np.where(self._tally.charges.visible, np.clip(value, 0.0, cap), 0.0)

    def costs(self) -> FloatArray:
        """Return predicted costs (P, K): known cells count as they are; NaN for a part that is never visible."""
        tally = self._tally
        total = tally.sums.copy()
        for k in range(total.shape[1]):
            total[:, k] += np.where(tally.known[:, k, None], 0.0, self.charges(k)).sum(axis=0)
        images = tally.charges.images
        return np.where(images[:, None] > 0, total / np.maximum(images, 1)[:, None], np.nan)

    def measure_images(self) -> None:
        """Take the complete channels that there are now for the mean charge of each image.

        Not in the middle of a race: which channels are completed there depends on the sample, and in the sample they look
        better than elsewhere.
        """
        live = self._tally.known & ~self._screening.silent
        self._complete = np.flatnonzero(self._tally.complete & live.any(axis=0)).tolist()
        self._mean = self._mean_charge(self.cap)

    def _mean_charge(self, cap: FloatArray) -> FloatArray:
        """(N, P) mean charge, cut off at `cap`, of the channels that were complete when the images were measured."""
        live = ~self._screening.silent[:, self._complete]
        total = np.zeros(self._mean.shape)
        for column, k in enumerate(self._complete):
            total += np.where(live[:, column, None], np.minimum(self._tally.charges_of(k), cap), 0.0)
        mean: FloatArray = total / np.maximum(live.sum(axis=1), 1)[:, None]
        return mean

    def learn(self) -> None:
        """Fit the coefficients to what is known by now."""
        found = self._fitted(self.cap, self._mean)
        if found is not None:
            self._coefficients = found

    def _fitted(self, cap: FloatArray, mean: FloatArray) -> FloatArray | None:
        """Coefficients (P, 3) for charges cut off at `cap`; None where nothing is known."""
        tally, visible = self._tally, self._tally.charges.visible
        live = tally.known & ~self._screening.silent
        looked_at = live.any(axis=0)
        if not looked_at.any():
            return None
        parts = visible.shape[1]
        gram, right = np.zeros((parts, 3, 3)), np.zeros((parts, 3))
        for k in np.flatnonzero(looked_at).tolist():
            features = np.stack([np.ones(mean.shape), np.minimum(self._raw(k), cap), mean], axis=-1)
            features *= (visible & live[:, k, None])[..., None]
            gram += np.einsum("npa,npb->pab", features, features)
            right += np.einsum("npa,np->pa", features, np.minimum(tally.charges_of(k), cap))
        # The smallest solution where the images do not determine the coefficients.
        return np.stack(
            [np.linalg.pinv(g, rcond=1e-10, hermitian=True) @ r for g, r in zip(gram, right, strict=True)]
        )


class Capped:
    """The same predictions for charges that are cut off: fitted anew, to cut charges, from cut features.

    Parameters
    ----------
    guide: with the channels that :meth:`Guide.measure_images` took for its mean.
    cap: (P,) the largest charge of each part.
    """

    def __init__(self, guide: Guide, cap: FloatArray) -> None:
        self.cap = cap
        self._guide = guide
        self._mean = guide._mean_charge(cap)
        found = guide._fitted(cap, self._mean)
        self._coefficients = _untaught(len(cap)) if found is None else found

    def charges(self, channel: int) -> FloatArray:
        """Return predictions for one channel in all images, (N, P), between 0 and the cap; 0 where the part is not visible."""
        return self._guide._predicted(channel, self._coefficients, self.cap, self._mean)


def _untaught(parts: int) -> FloatArray:
    """Coefficients (P, 3) where nothing is known: the charge of the activation's centroid itself."""
    return np.tile([0.0, 1.0, 0.0], (parts, 1))
