"""Bounded search: Eq. 3's sums only grow, so a channel whose partial sum exceeds the best complete sum cannot win.

A race finds the probable winners and completes them, which sets the limits. Then every other channel is looked at in the
images in which it will probably be charged most, until its sums exceed the limits of all parts. This proves the answer: what
the race and the guide get wrong costs time and changes nothing.
"""

from __future__ import annotations

from partscope.search.exclusion import exclude
from partscope.search.guide import Guide
from partscope.search.racing import find_champions, race
from partscope.search.tally import Tally

#: Risk of the race that finds the probable winners; the answer does not depend on it.
RISK = 0.2


def bounded_search(tally: Tally, guide: Guide) -> int:
    """Make the `top` best channels of every part complete and exclude all others; returns the race's comparisons."""
    compared = 0
    if tally.charges.rule == "median":
        find_champions(tally, guide)
    else:
        compared = race(tally, guide, RISK)
    exclude(tally, guide)
    return compared
