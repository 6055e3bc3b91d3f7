"""The choice of C: powers of ten, as far in either direction as held-out images get better."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: Exponents beyond which the search does not go.
LOWEST, HIGHEST = -9, 6
#: The search ends in a direction when so many values in a row were no better than the best before them.
PATIENCE = 2


@dataclass(frozen=True)
class TriedC:
    """One value of C in the cross-validation: `right` of `images` held-out images; fits that did not converge."""

    C: float
    right: int
    images: int
    unconverged: int = 0

    @property
    def accuracy(self) -> float:
        """Share of the held-out images that were classified right."""
        return self.right / self.images


def choose_penalty(measure: Callable[[int], TriedC], first: int) -> tuple[TriedC, tuple[TriedC, ...]]:
    """Return the best value of C, and all that were tried by rising C.

    Upwards from the exponent `first`, where a fit is cheap, and then downwards, if nothing above is better than the first. So
    no value is taken because the list of values ended with it: it has :data:`PATIENCE` values that are no better on both
    sides, up to :data:`LOWEST` and :data:`HIGHEST`. Of equal ones the first tried is taken. The search also ends when no
    held-out image is wrong.

    Parameters
    ----------
    measure: cross-validates an exponent.
    first: LOWEST ≤ first ≤ HIGHEST.
    """
    tried = {first: measure(first)}
    best = first
    for step, last in ((1, HIGHEST), (-1, LOWEST)):
        exponent = first
        while exponent != last and abs(exponent - best) < PATIENCE and tried[best].right < tried[best].images:
            exponent += step
            tried[exponent] = measure(exponent)
            if tried[exponent].right > tried[best].right:
                best = exponent
        if best != first:
            break
    return tried[best], tuple(tried[exponent] for exponent in sorted(tried))
