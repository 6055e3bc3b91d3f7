"""Networks of torchvision and timm, with weights from their hubs."""

from __future__ import annotations

from http.client import HTTPException
from typing import Any

import timm
import timm.data
import torchvision.models
from torch import nn

from partscope.backbones.preprocessing import Preprocessing
from partscope.errors import BackboneError, nearest_names


def torchvision_network(name: str, *, pretrained: bool) -> tuple[nn.Module, Preprocessing]:
    """Build a torchvision classification network and the preprocessing of its default weights.

    Raises
    ------
    BackboneError: unknown name, or the weights cannot be downloaded.
    """
    known = torchvision.models.list_models(module=torchvision.models)
    if name not in known:
        raise BackboneError(
            f"torchvision has no network {name!r}; nearest names: {nearest_names(name, known)}."
        )
    weights = torchvision.models.get_model_weights(name).DEFAULT
    transforms = weights.transforms()
    preprocessing = Preprocessing(
        input_size=int(transforms.crop_size[0]), mean=tuple(transforms.mean), std=tuple(transforms.std)
    )
    try:
        network = torchvision.models.get_model(name, weights=weights if pretrained else None)
    except (OSError, RuntimeError, HTTPException) as error:
        raise _no_download(f"torchvision:{name}", error) from error
    return network, preprocessing


def timm_network(name: str, *, pretrained: bool) -> tuple[nn.Module, Preprocessing]:
    """Build a timm network and the preprocessing of its pretrained configuration.

    Raises
    ------
    BackboneError: unknown name, or the weights cannot be downloaded.
    """
    if not timm.is_model(name):
        raise BackboneError(
            f"timm has no network {name!r}; nearest names: {nearest_names(name, timm.list_models())}."
        )
    try:
        network = timm.create_model(name, pretrained=pretrained)
    except Exception as error:  # the hub client raises errors of several packages' own
        raise _no_download(f"timm:{name}", error) from error
    config: dict[str, Any] = timm.data.resolve_model_data_config(network)  # type: ignore[attr-defined,no-untyped-call,unused-ignore]
    preprocessing = Preprocessing(
        input_size=int(config["input_size"][-1]),
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation="bicubic" if config["interpolation"] == "bicubic" else "bilinear",
    )
    return network, preprocessing


def _no_download(name: str, error: Exception) -> BackboneError:
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    return BackboneError(
        f"{name}: the pretrained weights could not be fetched ({first}); check the connection, or give a file with "
        "weights=FILE (--weights FILE)."
    )
