"""Left/right pairs of parts, found from their names or given by the user."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from partscope.errors import OptionError, nearest_names

_SIDES = {"left": "right", "right": "left", "l": "r", "r": "l"}
# Split before a capital too, so that `LeftEar` and `earL` read as two words; `leftear` is handled by the prefix rule.
_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])|[^\W_]+")


def mirrored_parts(parts: Sequence[str], pairs: Sequence[tuple[str, str]] | None = None) -> NDArray[np.intp]:
    """Return for each part the index of the part that it becomes in a mirrored image.

    Parameters
    ----------
    parts: P part names. Without `pairs`, a part whose name holds `left`/`right` (or a lone `l`/`r`) is paired with the
        part whose name differs in that word alone: `left ear`, `leftear`, `ear_l`, `L_Ear`, `LeftEar`. Names that read
        alike, such as `left ear` beside `left_ear`, leave the partner open and are not paired.
    pairs: the symmetric pairs, where names do not tell; all other parts map to themselves.

    Returns
    -------
    (P,) integer array, its own inverse; a part without a partner maps to itself.

    Raises
    ------
    OptionError: `pairs` names an unknown part, or a part twice.
    """
    mirror = np.arange(len(parts))
    if pairs is not None:
        index = {name: position for position, name in enumerate(parts)}
        used: set[str] = set()
        for pair in pairs:
            for name in pair:
                if name not in index:
                    raise OptionError(
                        f"the symmetric pair {pair} names the unknown part {name!r}; "
                        f"nearest parts: {nearest_names(name, parts)}."
                    )
                if name in used or pair[0] == pair[1]:
                    raise OptionError(
                        f"the part {name!r} stands in more than one symmetric pair; name it once."
                    )
            used.update(pair)
            left, right = index[pair[0]], index[pair[1]]
            mirror[left], mirror[right] = right, left
        return mirror
    keys = [_canonical(name) for name in parts]
    positions: dict[tuple[str, str], list[int]] = {}
    for i, key in enumerate(keys):
        if key is not None:
            positions.setdefault(key, []).append(i)
    for (side, rest), here in positions.items():
        there = positions.get((_SIDES[side], rest), [])
        if len(here) == len(there) == 1:
            mirror[here[0]] = there[0]
    return mirror


def _canonical(name: str) -> tuple[str, str] | None:
    """Return `(side, rest of the name)` in lower case, or None where the name tells no side."""
    words = [word.lower() for word in _WORDS.findall(name)]
    for i, word in enumerate(words):
        if word in _SIDES:
            side = {"l": "left", "r": "right"}.get(word, word)
            return side, " ".join(words[:i] + words[i + 1 :])
        for side in ("left", "right"):
            if word.startswith(side) and len(word) > len(side):
                return side, " ".join([*words[:i], word[len(side) :], *words[i + 1 :]])
            if word.endswith(side) and len(word) > len(side):
                return side, " ".join([*words[:i], word[: -len(side)], *words[i + 1 :]])
    return None
