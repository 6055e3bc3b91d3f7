"""The names of CUB's parts, for test files and fixtures."""

from __future__ import annotations

#: CUB's fifteen parts, in its order.
CUB_PARTS = (
    *("back", "beak", "belly", "breast", "crown", "forehead", "left eye", "left leg", "left wing", "nape"),
    *("right eye", "right leg", "right wing", "tail", "throat"),
)
