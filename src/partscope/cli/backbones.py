"""`partscope backbones`: the networks of the registry, or the layers of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partscope.cli import options
from partscope.cli.output import Output
from partscope.errors import BackboneError, OptionError, PartscopeError, nearest_names

if TYPE_CHECKING:
    from torch import nn

    from partscope.backbones import Preprocessing

_FOOTNOTE = "Also torchvision:<name> and timm:<name>, with weights from their hubs or --weights FILE."


def backbones(
    name: Annotated[
        str | None,
        typer.Argument(metavar="[NAME]", help="List the layers of this network.", show_default=False),
    ] = None,
    input_size: options.InputSize = None,
    weights: options.Weights = None,
    json_out: options.JsonOut = None,
) -> None:
    """List the networks with their default layers, or one network's layers with channels, grid and stride.

    No weights are fetched; with --weights the file is read and checked.
    """
    output = Output(json_out)
    if name is None:
        if input_size is not None or weights is not None:
            raise OptionError("--input-size and --weights belong to one network; name it.")
        _list_networks(output)
    else:
        _list_layers(output, name, input_size, weights)


def _list_networks(output: Output) -> None:
    from partscope.backbones import DEFAULT_BACKBONE, NETWORKS, feature_layers

    entries: list[dict[str, Any]] = []
    for name, entry in NETWORKS.items():
        size, note = entry.preprocessing.input_size, entry.summary
        channels = stride = None
        try:
            network, _ = entry.build()
        except PartscopeError as error:
            note = str(error)
        else:
            channels, rows, _ = dict(feature_layers(network, size))[entry.layer]
            stride = size / rows
        entries.append(
            {
                "name": name,
                "default": name == DEFAULT_BACKBONE,
                "layer": entry.layer,
                "input_size": size,
                "channels": channels,
                "stride": stride,
                "note": note,
            }
        )
    output.document({"backbones": entries, "note": _FOOTNOTE})
    output.table(
        ["Name", "Layer", "Input", "Channels", "Stride", "Note"],
        [
            [
                entry["name"],
                entry["layer"],
                str(entry["input_size"]),
                "–" if entry["channels"] is None else str(entry["channels"]),
                "–" if entry["stride"] is None else f"{entry['stride']:.1f}",
                entry["note"],
            ]
            for entry in entries
        ],
    )
    output.line(_FOOTNOTE)


def _list_layers(output: Output, name: str, input_size: int | None, weights: Path | None) -> None:
    from partscope.backbones import feature_layers, get_backbone

    if weights is not None:
        backbone = get_backbone(name, input_size=input_size, weights=weights)
        network, preprocessing, default = backbone.network, backbone.preprocessing, backbone.layer
        found = f"{weights} (content hash with the default layer: {backbone.content_hash[:12]}…)"
    else:
        network, preprocessing, default = _structure(name)
        if input_size is not None:
            preprocessing = preprocessing.with_size(input_size)
        found = None
    size = preprocessing.input_size
    try:
        layers = feature_layers(network, size)
    except BackboneError as error:
        raise BackboneError(f"{name}: {error}") from error
    entries = [
        {"layer": layer, "channels": channels, "rows": rows, "columns": columns, "stride": size / rows}
        for layer, (channels, rows, columns) in layers
    ]
    output.document(
        {"name": name, "input_size": size, "default_layer": default, "weights": weights, "layers": entries}
    )
    output.table(
        ["Layer", "Channels", "Grid", "Stride"],
        [
            [
                f"{entry['layer']} (default)" if entry["layer"] == default else str(entry["layer"]),
                str(entry["channels"]),
                f"{entry['rows']}×{entry['columns']}",
                f"{entry['stride']:.1f}",
            ]
            for entry in entries
        ],
        f"{name}, input {size}×{size}" + (f", weights {found}" if found else ""),
    )


def _structure(name: str) -> tuple[nn.Module, Preprocessing, str]:
    """Return a network without a need of its weights, its preprocessing, and its default layer."""
    from partscope.backbones import NETWORKS
    from partscope.backbones.hubs import timm_network, torchvision_network
    from partscope.backbones.registry import last_feature_layer

    source, _, hub_name = name.partition(":")
    if name in NETWORKS:
        entry = NETWORKS[name]
        return entry.build()[0], entry.preprocessing, entry.layer
    if source not in ("torchvision", "timm") or not hub_name:
        raise BackboneError(
            f"there is no backbone {name!r}; nearest names: {nearest_names(name, NETWORKS)}; "
            "or torchvision:<name>, timm:<name>."
        )
    make = torchvision_network if source == "torchvision" else timm_network
    network, preprocessing = make(hub_name, pretrained=False)
    return network, preprocessing, last_feature_layer(network, preprocessing.input_size)
