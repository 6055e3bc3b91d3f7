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
        self._coefficients = np.tile([0.0, 1.0, 0.0], (parts, 1))
        self._mean: FloatArray = np.zeros((images, parts))
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
        constant, slope, level = self._coefficients.T
        value = constant + slope * self._raw(channel) + level * self._mean
        return np.where(self._tally.charges.visible, np.maximum(value, 0.0), 0.0)

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
        tally = self._tally
        live = tally.known & ~self._screening.silent
        complete = np.flatnonzero(tally.complete & live.any(axis=0)).tolist()
        total = np.zeros(self._mean.shape)
        for k in complete:
            total += np.where(live[:, k, None], tally.charges_of(k), 0.0)
        self._mean = total / np.maximum(live[:, complete].sum(axis=1), 1)[:, None]

    def learn(self) -> None:
        """Fit the coefficients to what is known by now."""
        tally, visible = self._tally, self._tally.charges.visible
        live = tally.known & ~self._screening.silent
        looked_at = live.any(axis=0)
        if not looked_at.any():
            return
        parts = visible.shape[1]
        gram, right = np.zeros((parts, 3, 3)), np.zeros((parts, 3))
        for k in np.flatnonzero(looked_at).tolist():
            features = np.stack([np.ones(self._mean.shape), self._raw(k), self._mean], axis=-1)
            features *= (visible & live[:, k, None])[..., None]
            gram += np.einsum("npa,npb->pab", features, features)
            right += np.einsum("npa,np->pa", features, tally.charges_of(k))
        # The smallest solution where the images do not determine the coefficients.
        self._coefficients = np.stack(
            [np.linalg.pinv(g, rcond=1e-10, hermitian=True) @ r for g, r in zip(gram, right, strict=True)]
        )
