"""Overlays, gradient maps, rankings and error curves. Drawing charts needs matplotlib (extra `plot`); overlays do not."""

from __future__ import annotations

from partscope.figures.overlay import draw_parts

__all__ = ["draw_parts"]
