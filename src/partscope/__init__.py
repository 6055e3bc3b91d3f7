"""Turn any pretrained CNN into a part detector.

>>> from partscope import PartDetector, load_dataset
>>> birds = load_dataset("cub", "CUB_200_2011")
>>> detector = PartDetector().fit(birds.train)
>>> found = detector.predict(["robin.jpg"])

Names are imported when they are first used, so that `import partscope` and `partscope --help` need not wait for torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from partscope.version import __version__

if TYPE_CHECKING:
    from partscope.allocator import reuse_freed_memory
    from partscope.backbones import Backbone, Embedder, Preprocessing, get_backbone, get_embedder
    from partscope.classification import ClassPredictions, PartClassifier, PartFeatures
    from partscope.dataset import PartDataset, Sample, Skipped, dataset_from_arrays
    from partscope.detectors import (
        ChannelDetector,
        PartDetector,
        PriorDetector,
        TransferDetector,
        register_detector,
    )
    from partscope.discovery import PartDiscovery
    from partscope.engine import use_engine
    from partscope.errors import PartscopeError, PartscopeWarning
    from partscope.evaluation import Evaluation, compare, evaluate
    from partscope.formats import convert, load_dataset, save_dataset
    from partscope.images import load_image
    from partscope.patches import patch_boxes
    from partscope.predictions import PartPredictions
    from partscope.prior import StaticPrior

__all__ = [
    "Backbone",
    "ChannelDetector",
    "ClassPredictions",
    "Embedder",
    "Evaluation",
    "PartClassifier",
    "PartDataset",
    "PartDetector",
    "PartDiscovery",
    "PartFeatures",
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
    "convert",
    "dataset_from_arrays",
    "evaluate",
    "get_backbone",
    "get_embedder",
    "load_dataset",
    "load_image",
    "patch_boxes",
    "register_detector",
    "reuse_freed_memory",
    "save_dataset",
    "use_engine",
]

_HOMES = {
    "allocator": ("reuse_freed_memory",),
    "backbones": ("Backbone", "Embedder", "Preprocessing", "get_backbone", "get_embedder"),
    "classification": ("ClassPredictions", "PartClassifier", "PartFeatures"),
    "dataset": ("PartDataset", "Sample", "Skipped", "dataset_from_arrays"),
    "detectors": (
        "ChannelDetector",
        "PartDetector",
        "PriorDetector",
        "TransferDetector",
        "register_detector",
    ),
    "discovery": ("PartDiscovery",),
    "errors": ("PartscopeError", "PartscopeWarning"),
    "engine": ("use_engine",),
    "evaluation": ("Evaluation", "compare", "evaluate"),
    "formats": ("convert", "load_dataset", "save_dataset"),
    "images": ("load_image",),
    "patches": ("patch_boxes",),
    "predictions": ("PartPredictions",),
    "prior": ("StaticPrior",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
