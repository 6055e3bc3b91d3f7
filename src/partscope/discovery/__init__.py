"""Part discovery: parts from bounding boxes alone, or from images alone, named afterwards from a handful of marked ones."""

from partscope.discovery.detector import PartDiscovery
from partscope.discovery.measure import Measured, measure

__all__ = ["Measured", "PartDiscovery", "measure"]
