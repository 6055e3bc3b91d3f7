"""The registry: from a name to a :class:`Backbone`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from partscope.backbones.caffenet import CAFFENET_PREPROCESSING, caffenet
from partscope.backbones.core import Backbone, feature_layers, tensors_up_to
from partscope.backbones.embedded import (
    EFFICIENTNET_LITE0_PREPROCESSING,
    SQUEEZENET1_1_PREPROCESSING,
    efficientnet_lite0,
    squeezenet,
)
from partscope.backbones.hubs import timm_network, torchvision_network
from partscope.backbones.preprocessing import Preprocessing
from partscope.backbones.weights import load_weights, read_weights
from partscope.errors import BackboneError, nearest_names

#: The network that every command uses unless told otherwise.
DEFAULT_BACKBONE = "efficientnet_lite0"

Built = tuple[nn.Module, "dict[str, Tensor] | None"]


@dataclass(frozen=True)
class NetworkEntry:
    """A network that the registry can build.

    Parameters
    ----------
    build: returns the network and its weights as a state dict; None where the user's file must give them.
    layer: default layer.
    preprocessing: default preprocessing, with the default input size.
    summary: one line for listings.
    channels_last: memory format, see :class:`Backbone`.
    cut: default quantile of the centres; 0.9 is the paper's group's (protocol §2), another one was chosen on training images.
    """

    build: Callable[[], Built]
    layer: str
    preprocessing: Preprocessing
    summary: str
    channels_last: bool = False
    cut: float = 0.9


NETWORKS: dict[str, NetworkEntry] = {
    "efficientnet_lite0": NetworkEntry(
        efficientnet_lite0,
        "blocks.6.0.bn2",
        EFFICIENTNET_LITE0_PREPROCESSING,
        "EfficientNet-Lite0, embedded; the default",
        channels_last=True,
    ),
    "squeezenet1_1": NetworkEntry(
        squeezenet,
        "features.12",
        SQUEEZENET1_1_PREPROCESSING,
        "SqueezeNet 1.1, embedded through the extra `squeezenet`",
        channels_last=True,
        cut=0.95,
    ),
    "caffenet": NetworkEntry(
        lambda: (caffenet(), None),
        "pool5",
        CAFFENET_PREPROCESSING,
        "BVLC CaffeNet, the paper's network; weights=FILE is needed",
        channels_last=True,
    ),
}


def get_backbone(
    name: str = DEFAULT_BACKBONE,
    *,
    layer: str | None = None,
    input_size: int | None = None,
    weights: str | Path | None = None,
) -> Backbone:
    """Build a backbone by name.

    Parameters
    ----------
    name: `efficientnet_lite0`, `squeezenet1_1`, `caffenet`, `torchvision:<name>` or `timm:<name>`.
    layer: name of a layer whose output is a feature map; the entry's default, or for torchvision and timm the last
        feature map of the network.
    input_size: side of the square input in pixels; the network's own by default.
    weights: a file (see :func:`partscope.backbones.weights.read_weights`); by default the embedded weights, or those of
        torchvision's or timm's hub, which need a network connection.

    Raises
    ------
    BackboneError: unknown network or layer (nearest names are given), weights missing or not fitting.
    """
    source, _, hub_name = name.partition(":")
    file = None if weights is None else Path(weights)
    if name in NETWORKS:
        entry = NETWORKS[name]
        preprocessing, default_layer = entry.preprocessing, entry.layer
        channels_last, cut = entry.channels_last, entry.cut
        network, tensors = entry.build()
        origin = f"the embedded weights of {name}"
        if tensors is None and file is None:
            raise BackboneError(
                f"{name}: no weights come with this network; give a file with weights=FILE (--weights FILE)."
            )
    elif source in ("torchvision", "timm") and hub_name:
        make = torchvision_network if source == "torchvision" else timm_network
        network, preprocessing = make(hub_name, pretrained=file is None)
        default_layer, channels_last, cut, tensors, origin = "", False, 0.9, None, name
    else:
        raise BackboneError(
            f"there is no backbone {name!r}; nearest names: {nearest_names(name, NETWORKS)}; "
            "or torchvision:<name>, timm:<name>."
        )
    if input_size is not None:
        preprocessing = preprocessing.with_size(input_size)
    if file is not None:
        tensors, origin = read_weights(file), str(file)
    chosen = layer or default_layer or last_feature_layer(network, preprocessing.input_size)
    source_file = None if file is None else str(file.resolve())
    backbone = Backbone(network, chosen, preprocessing, name, source_file, channels_last, cut)
    if tensors is not None:
        load_weights(network, tensors, origin, tensors_up_to(backbone))
    network.eval().requires_grad_(False)
    if channels_last:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,unused-ignore]
    return backbone


def last_feature_layer(network: nn.Module, input_size: int) -> str:
    """Return the last layer whose output is a feature map of more than 3×3 cells: the default where none is stated."""
    layers = [
        name for name, (_, rows, columns) in feature_layers(network, input_size) if min(rows, columns) > 3
    ]
    if not layers:
        raise BackboneError("the network has no layer with a feature map; it cannot serve as a backbone.")
    return layers[-1]
