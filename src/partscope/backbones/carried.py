"""A backbone on its way to another process: networks of the registry travel as a description, and are checked on arrival."""

from __future__ import annotations

import dataclasses
from typing import Any

from partscope.backbones.core import Backbone
from partscope.backbones.registry import NETWORKS, get_backbone
from partscope.errors import BackboneError


class CarriedBackbone:
    """Holds a backbone; a pickle of it holds a description, or the network itself where the registry cannot build it.

    Parameters
    ----------
    backbone: in its own process :meth:`open` returns it as it is.
    """

    def __init__(self, backbone: Backbone) -> None:
        self._backbone: Backbone | None = backbone
        self._description: dict[str, Any] = {}

    @property
    def device(self) -> str:
        """The kind of device that the network is on, such as `"cpu"`."""
        return str(self._description["device"] if self._backbone is None else self._backbone.device.type)

    def __getstate__(self) -> dict[str, Any]:
        backbone = self._backbone
        if backbone is None:
            return self._description
        known = backbone.name in NETWORKS or backbone.name.startswith(("torchvision:", "timm:"))
        return {
            **backbone.describe(),
            "device": backbone.device.type,
            "channels_last": backbone.channels_last,
            "cut": backbone.cut,
            "precision": backbone.precision,
            "network": None if known else backbone,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._backbone, self._description = None, state

    def open(self) -> Backbone:
        """Return the backbone, made anew where it has travelled.

        Raises
        ------
        BackboneError: it cannot be made here, or it has another content than the one that was sent (both are named).
        """
        if self._backbone is not None:
            return self._backbone
        sent = self._description
        made: Backbone | None = sent["network"]
        if made is None:
            made = get_backbone(
                sent["name"],
                layer=sent["layer"],
                input_size=sent["preprocessing"]["input_size"],
                weights=sent["weights"],
            )
        if made.content_hash != sent["content_hash"]:
            raise BackboneError(
                f"{sent['name']}: a worker's network has the content hash {made.content_hash[:12]}… where "
                f"{sent['content_hash'][:12]}… was sent (other weights, layer, input size or preprocessing); give all machines "
                "the same weights, or give a network that was changed a name of its own."
            )
        same = {name: sent[name] for name in ("channels_last", "cut", "precision")}
        made = dataclasses.replace(made, **same)
        self._backbone = made.to(sent["device"])
        return self._backbone
