"""Arrays from a model file are looked at before anything is computed with them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from partscope.arrangement import Arrangement
from partscope.arrangement.stored import SHAPES

Stored = tuple[dict[str, NDArray[Any]], dict[str, Any]]


@pytest.fixture(scope="module")
def stored() -> Stored:
    """Return the state of an arrangement of three parts, learned from noise, with a box."""
    rng = np.random.default_rng(0)
    points, maps = rng.uniform(0.2, 0.8, (8, 3, 2)), rng.standard_normal((8, 3, 6, 6))
    visible = rng.random((8, 3)) > 0.2
    boxes = np.tile([10.0, 10.0, 70.0, 70.0], (8, 1))
    fitted = Arrangement.fit(points, visible, np.full((8, 2), 100.0), np.arange(3), maps, boxes)
    return fitted.state()


def test_what_was_learned_passes(stored: Stored) -> None:
    assert set(stored[0]) == {*SHAPES, "box"}
    Arrangement.restore(*stored)


@pytest.mark.parametrize("name", [*SHAPES, "box"])
@pytest.mark.parametrize(
    "damage", ["not finite", "huge", "shorter", "flat", "empty", "other type", "missing"]
)
def test_no_damaged_array_passes(stored: Stored, name: str, damage: str) -> None:
    arrays, config = stored
    array = arrays[name]
    whole = array.dtype.kind == "i"
    changed = {
        "not finite": np.full_like(array, -1 if whole else np.nan),
        "huge": np.full_like(array, 1 << 40 if whole else 1e300),
        "shorter": array[:-1],
        "flat": array.reshape(1, -1),
        "empty": array[:0],
        "other type": array.astype(np.float32),
    }
    damaged = {key: value for key, value in arrays.items() if key != name}
    if damage != "missing":
        damaged[name] = changed[damage]
    # The source of an arrangement is looked at in fit alone, a model without a box is one, and any number of sizes will do.
    harmless = {("source", "not finite"), ("box", "missing"), ("sizes", "shorter")}
    if (name, damage) in harmless:
        Arrangement.restore(damaged, config)
        return
    with pytest.raises((KeyError, ValueError), match=name if damage == "missing" else "of the arrangement"):
        Arrangement.restore(damaged, config)


def test_a_spread_of_nothing_is_refused(stored: Stored) -> None:
    arrays, config = stored
    with pytest.raises(ValueError, match="size_spread"):
        Arrangement.restore(arrays, {**config, "size_spread": 0.0})
