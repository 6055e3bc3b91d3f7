"""Detectors: one module per way to find parts, all with the interface of :class:`PartDetector`."""

from partscope.detectors.base import PartDetector
from partscope.detectors.channel import ChannelDetector
from partscope.detectors.linear import LinearDetector
from partscope.detectors.prior import PriorDetector
from partscope.detectors.registry import default_method, detector_class, detector_methods, register_detector
from partscope.detectors.transfer import TransferDetector

__all__ = [
    "ChannelDetector",
    "LinearDetector",
    "PartDetector",
    "PriorDetector",
    "TransferDetector",
    "default_method",
    "detector_class",
    "detector_methods",
    "register_detector",
]
