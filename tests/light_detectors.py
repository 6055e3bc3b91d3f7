"""Detectors that need no network."""

from __future__ import annotations

from partscope.detectors import PriorDetector, TransferDetector

#: One per way of using the box.
LIGHT = [PriorDetector(), PriorDetector("box"), TransferDetector()]
