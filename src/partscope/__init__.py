"""Turn any pretrained CNN into a part detector.

>>> from partscope import PartDetector, load_dataset
>>> birds = load_dataset("cub", "CUB_200_2011")
>>> detector = PartDetector(backbone="efficientnet_lite0").fit(birds.train)
>>> found = detector.predict(["robin.jpg"])
"""

from partscope.backbones import Backbone, Preprocessing, get_backbone
from partscope.dataset import PartDataset, Sample, Skipped, dataset_from_arrays
from partscope.detectors import (
    ChannelDetector,
    PartDetector,
    PriorDetector,
    TransferDetector,
    register_detector,
)
from partscope.errors import PartscopeError, PartscopeWarning
from partscope.evaluation import Evaluation, compare, evaluate
from partscope.formats import load_dataset
from partscope.images import load_image
from partscope.predictions import PartPredictions
from partscope.prior import StaticPrior
from partscope.version import __version__

__all__ = [
    "Backbone",
    "ChannelDetector",
    "Evaluation",
    "PartDataset",
    "PartDetector",
    "PartPredictions",
    "PartscopeError",
    "PartscopeWarning",
    "Preprocessing",
    "PriorDetector",
    "Sample",
    "Skipped",
    "StaticPrior",
    "TransferDetector",
    "__version__",
    "compare",
    "dataset_from_arrays",
    "evaluate",
    "get_backbone",
    "load_dataset",
    "load_image",
    "register_detector",
]
