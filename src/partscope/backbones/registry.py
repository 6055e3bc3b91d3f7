"""The registry: from a name to a :class:`Backbone` or an :class:`Embedder`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from partscope.backbones.caffenet import CAFFENET_PREPROCESSING, caffenet
from partscope.backbones.core import Backbone, feature_layers, tensors_up_to
from partscope.backbones.devices import choose_device, compute_settings
from partscope.backbones.embedded import (
    EFFICIENTNET_LITE0_PREPROCESSING,
    SQUEEZENET1_1_PREPROCESSING,
    efficientnet_lite0,
    squeezenet,
)
from partscope.backbones.embedding import EMBEDDING_SIZE, Embedder, last_hidden_layer
from partscope.backbones.hubs import timm_network, torchvision_network
from partscope.backbones.preprocessing import Preprocessing
from partscope.backbones.weights import load_weights, read_weights
from partscope.errors import BackboneError, nearest_names
from partscope.places import shown, url_of

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
    embedding: last hidden layer (protocol §8), as :class:`Embedder` spells it; None for the rule of torchvision's and timm's.
    embedding_size: default side of the input for embeddings in pixels.
    cut: default quantile of the centres; 0.9 is the paper's group's (protocol §2), another one was chosen on training images.
    """

    build: Callable[[], Built]
    layer: str
    preprocessing: Preprocessing
    summary: str
    embedding: str | None = None
    embedding_size: int = EMBEDDING_SIZE
    channels_last: bool = False
    cut: float = 0.9


NETWORKS: dict[str, NetworkEntry] = {
    "efficientnet_lite0": NetworkEntry(
        efficientnet_lite0,
        "blocks.6.0.bn2",
        EFFICIENTNET_LITE0_PREPROCESSING,
        "EfficientNet-Lite0, embedded; the default",
        embedding="classifier:input",
        channels_last=True,
    ),
    "squeezenet1_1": NetworkEntry(
        squeezenet,
        "features.12",
        SQUEEZENET1_1_PREPROCESSING,
        "SqueezeNet 1.1, embedded through the extra `squeezenet`",
        embedding="features.12",
        channels_last=True,
        cut=0.95,
    ),
    "caffenet": NetworkEntry(
        lambda: (caffenet(), None),
        "pool5",
        CAFFENET_PREPROCESSING,
        "BVLC CaffeNet, the paper's network; weights=FILE is needed",
        # The file has no fully connected layers.
        embedding="pool5",
        embedding_size=CAFFENET_PREPROCESSING.input_size,
        channels_last=True,
    ),
}


def get_backbone(
    name: str = DEFAULT_BACKBONE,
    *,
    layer: str | None = None,
    input_size: int | None = None,
    weights: str | Path | None = None,
    device: str | None = None,
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
    device: as for :func:`partscope.backbones.devices.choose_device`; by default that of
        :func:`partscope.backbones.devices.set_compute`, which is chosen automatically.

    Raises
    ------
    BackboneError: unknown network or layer (nearest names are given), weights missing or not fitting.
    """
    settings = compute_settings()
    place = choose_device(settings.device if device is None else device)
    made = _make(name, weights)
    entry = NETWORKS.get(name)
    preprocessing = made.preprocessing if input_size is None else made.preprocessing.with_size(input_size)
    chosen = layer or (entry.layer if entry else last_feature_layer(made.network, preprocessing.input_size))
    channels_last, cut = (entry.channels_last, entry.cut) if entry else (False, 0.9)
    backbone = Backbone(
        made.network, chosen, preprocessing, name, made.file, channels_last, cut, settings.precision
    )
    _finish(made, backbone, channels_last)
    return backbone.to(place)


def get_embedder(
    name: str = DEFAULT_BACKBONE,
    *,
    input_size: int | None = None,
    weights: str | Path | None = None,
    at: str | None = None,
) -> Embedder:
    """Build an embedder by name: the network up to its last hidden layer (protocol §8).

    Parameters
    ----------
    name: as in :func:`get_backbone`.
    input_size: side of the square input in pixels; by default 160 (:data:`EMBEDDING_SIZE`) for the embedded networks and
        the network's own for all others, of which some, such as vision transformers, take no other.
    weights: as in :func:`get_backbone`.
    at: which value is taken, as :class:`Embedder` spells it. By default the pooled input of the classifier of
        EfficientNet-Lite0 (1,280 values), the mean of SqueezeNet's fire9 (512), the mean of CaffeNet's pool5 (256; all its
        9,216 values are `"pool5:flat"`), and for torchvision and timm :func:`last_hidden_layer`.

    Raises
    ------
    BackboneError: unknown network or layer (nearest names are given), weights missing or not fitting.
    """
    made = _make(name, weights)
    entry = NETWORKS.get(name)
    own_side = entry.embedding_size if entry else made.preprocessing.input_size
    preprocessing = made.preprocessing.with_size(own_side if input_size is None else input_size)
    stated = at or (entry.embedding if entry else None)
    chosen = stated or last_hidden_layer(made.network, preprocessing.input_size)
    channels_last = entry is not None and entry.channels_last
    embedder = Embedder(made.network, chosen, preprocessing, name, made.file, channels_last)
    _finish(made, embedder, channels_last)
    return embedder.to(choose_device(compute_settings().device))


@dataclass(frozen=True)
class _Made:
    """A network as built: its own preprocessing, tensors still to be loaded with their origin, the user's file."""

    network: nn.Module
    preprocessing: Preprocessing
    tensors: Mapping[str, Tensor] | None
    origin: str
    file: str | None


def _make(name: str, weights: str | Path | None) -> _Made:
    source, _, hub_name = name.partition(":")
    file = None if weights is None else Path(weights)
    if name in NETWORKS:
        preprocessing = NETWORKS[name].preprocessing
        network, tensors = NETWORKS[name].build()
        origin = f"the embedded weights of {name}"
        if tensors is None and file is None:
            raise BackboneError(
                f"{name}: no weights come with this network; give a file with weights=FILE (--weights FILE)."
            )
    elif source in ("torchvision", "timm") and hub_name:
        make = torchvision_network if source == "torchvision" else timm_network
        network, preprocessing = make(hub_name, pretrained=file is None)
        tensors, origin = None, name
    else:
        raise BackboneError(
            f"there is no backbone {name!r}; nearest names: {nearest_names(name, NETWORKS)}; "
            "or torchvision:<name>, timm:<name>."
        )
    if file is not None:
        tensors, origin = read_weights(file), shown(file)
    used = None if file is None else url_of(file) or str(file.resolve())
    return _Made(network, preprocessing, tensors, origin, used)


def _finish(made: _Made, backbone: Backbone | Embedder, channels_last: bool) -> None:
    """Load the tensors, of which those that the backbone depends on must be there, and make the network ready to run."""
    if made.tensors is not None:
        load_weights(made.network, made.tensors, made.origin, tensors_up_to(backbone))
    made.network.eval().requires_grad_(False)
    if channels_last:
        made.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,unused-ignore]


def last_feature_layer(network: nn.Module, input_size: int) -> str:
    """Return the last layer whose output is a feature map of more than 3×3 cells: the default where none is stated."""
    layers = [
        name for name, (_, rows, columns) in feature_layers(network, input_size) if min(rows, columns) > 3
    ]
    if not layers:
        raise BackboneError("the network has no layer with a feature map; it cannot serve as a backbone.")
    return layers[-1]
