"""What the linear detector's parameters mean; each function raises an OptionError for a value that has no meaning."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Real

import numpy as np

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
    if _is_number(shrinkage) and 0 < float(shrinkage) < float("inf"):
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


def check_options(arrangement: str, memory: int) -> None:
    """Check the name of a spatial model, and a number of bytes."""
    if arrangement not in ARRANGEMENTS:
        raise OptionError(f"arrangement must be one of {', '.join(ARRANGEMENTS)}, not {arrangement!r}.")
    if isinstance(memory, bool) or not isinstance(memory, (int, np.integer)) or memory < 0:
        raise OptionError(f"memory must be a number of bytes, not {memory!r}.")


def check_grids(
    layers: Sequence[str] | None, context: Sequence[str] | None, reach: float, scales: Sequence[float]
) -> None:
    """Check the types of what defines the grids; their values are checked by the grids themselves."""
    for name, value in (("layers", layers), ("context", context)):
        names = isinstance(value, Sequence) and not isinstance(value, str)
        if value is not None and not (names and all(isinstance(layer, str) for layer in value)):
            raise OptionError(f"{name} must be a list of names of layers, not {value!r}.")
    if layers is not None and not layers:
        raise OptionError("layers must name one or more layers; leave the option out for the default ones.")
    if not _is_number(reach):
        raise OptionError(f"reach must be a number in (0, 0.5], a share of the input's side, not {reach!r}.")
    if not isinstance(scales, Sequence) or not all(_is_number(scale) for scale in scales):
        raise OptionError(f"scales must be a list of numbers in [0.25, 4], not {scales!r}.")


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
