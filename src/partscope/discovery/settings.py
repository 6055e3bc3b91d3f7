"""The parameters of part discovery, checked before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from partscope.errors import OptionError

if TYPE_CHECKING:
    from partscope.discovery.detector import PartDiscovery

SUPERVISIONS = ("box", "none")
KINDS = ("combinations", "channels")
REGIONS = ("image", "mask")


def one_of(name: str, value: object, known: Sequence[str]) -> None:
    """Raise an OptionError that names the values there are, unless `value` is one of them."""
    if value not in known:
        raise OptionError(f"{name} must be one of {', '.join(known)}, not {value!r}.")


def check_settings(detector: PartDiscovery) -> None:
    """Raise an OptionError for a parameter with an impossible value; layers and network are checked by their makers."""
    whole = isinstance(detector.parts, (int, np.integer)) and not isinstance(detector.parts, bool)
    if not whole or detector.parts < 1:
        raise OptionError(f"parts must be a positive whole number, not {detector.parts!r}.")
    one_of("supervision", detector.supervision, SUPERVISIONS)
    one_of("by", detector.by, KINDS)
    one_of("region", detector.region, REGIONS)
    if not _is_number(detector.shrinkage) or detector.shrinkage <= 0:
        raise OptionError(f"shrinkage must be a positive number, not {detector.shrinkage!r}.")
    if not _is_number(detector.position) or detector.position < 0:
        raise OptionError(f"position must be a number that is not negative, not {detector.position!r}.")
    if isinstance(detector.memory, bool) or not isinstance(detector.memory, int) or detector.memory < 0:
        raise OptionError(f"memory must be a number of bytes, not {detector.memory!r}.")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and bool(np.isfinite(value))
