"""The channels that a discriminant rests on: the way back from a combination to single channels, as in the paper."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from partscope.errors import OptionError
from partscope.linear.statistics import Statistics


def strongest_channels(
    names: Sequence[tuple[str, int, tuple[float, float]]],
    statistics: Statistics,
    weights: NDArray[np.float32],
    count: int,
) -> list[tuple[str, int, float]]:
    """Return the channels that matter most to one discriminant: layer, channel, and weight times the channel's spread.

    Of a channel that is looked at in several places the magnitudes are summed, and the sign is that at the cell itself.

    Parameters
    ----------
    names: of each of D features the layer, the channel and the offset, see :meth:`FeatureGrids.feature_names`.
    statistics: give each feature's standard deviation over the background.
    weights: (D,).
    count: how many to return at most.

    Raises
    ------
    OptionError: the count is not positive.
    """
    if count < 1:
        raise OptionError(f"the number of channels must be at least 1, not {count}.")
    mean = statistics.total / max(statistics.cells, 1)
    variance = np.diag(statistics.outer) / max(statistics.cells, 1) - mean**2
    effect = weights * np.sqrt(np.maximum(variance, 0))
    strength: dict[tuple[str, int], float] = {}
    sign: dict[tuple[str, int], float] = {}
    for (layer, channel, offset), value in zip(names, effect.tolist(), strict=True):
        strength[layer, channel] = strength.get((layer, channel), 0.0) + abs(value)
        if offset == (0.0, 0.0):
            sign[layer, channel] = -1.0 if value < 0 else 1.0
    order = sorted(strength, key=lambda key: (-strength[key], key))[:count]
    return [(*key, sign[key] * strength[key]) for key in order]
