"""What the linear detector's parameters mean; each function raises an OptionError for a value that has no meaning."""

from __future__ import annotations

from collections.abc import Sequence

from partscope.errors import OptionError
from partscope.linear import SHRINKAGES

ARRANGEMENTS = ("exemplars", "none")

#: Up to this many training images `flips="auto"` passes every mirror image too; beyond it they cost too much, and a few
#: show well enough what mirroring does to features.
FEW_IMAGES = 60


def candidates_of(shrinkage: str | float) -> Sequence[float]:
    """Return the shrinkages to choose from."""
    if shrinkage == "auto":
        return SHRINKAGES
    if isinstance(shrinkage, (int, float)) and 0 < shrinkage < float("inf"):
        return (float(shrinkage),)
    raise OptionError(f"shrinkage must be 'auto' or a positive number, not {shrinkage!r}.")


def flips_of(flips: str | bool, images: int) -> str:
    """Return how mirror images of so many images are learned from, see :mod:`partscope.linear.collection`."""
    if isinstance(flips, bool):
        return "all" if flips else "none"
    if flips == "auto":
        return "all" if images <= FEW_IMAGES else "mapped"
    if flips == "mapped":
        return flips
    raise OptionError(f"flips must be True, False, 'mapped' or 'auto', not {flips!r}.")


def check_arrangement(arrangement: str) -> None:
    """Check the name of a spatial model."""
    if arrangement not in ARRANGEMENTS:
        raise OptionError(f"arrangement must be one of {', '.join(ARRANGEMENTS)}, not {arrangement!r}.")


def check_memory(memory: int) -> None:
    """Check a number of bytes."""
    if isinstance(memory, bool) or not isinstance(memory, int) or memory < 0:
        raise OptionError(f"memory must be a number of bytes, not {memory!r}.")
