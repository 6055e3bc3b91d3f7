"""A network on its way to another process: those of the registry travel as a description, and are checked on arrival."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Generic, TypeVar

from partscope.backbones.core import Backbone
from partscope.backbones.embedding import Embedder
from partscope.backbones.registry import NETWORKS, get_backbone, get_embedder
from partscope.errors import BackboneError

Network = TypeVar("Network", Backbone, Embedder)


class _Carried(Generic[Network]):
    """Holds a network; a pickle of it holds a description, or the network itself where the registry cannot build it.

    Parameters
    ----------
    network: in its own process :meth:`open` returns it as it is.
    """

    #: Fields that change nothing of the network's content, and so are missing in its description.
    _beside: ClassVar[tuple[str, ...]] = ()

    def __init__(self, network: Network) -> None:
        self._network: Network | None = network
        self._description: dict[str, Any] = {}

    @staticmethod
    def _made(sent: dict[str, Any], **options: Any) -> Network:
        raise NotImplementedError

    @property
    def device(self) -> str:
        """The kind of device that the network is on, such as `"cpu"`."""
        return str(self._description["device"] if self._network is None else self._network.device.type)

    def __getstate__(self) -> dict[str, Any]:
        network = self._network
        if network is None:
            return self._description
        known = network.name in NETWORKS or network.name.startswith(("torchvision:", "timm:"))
        return {
            **network.describe(),
            **{name: getattr(network, name) for name in self._beside},
            "device": network.device.type,
            "network": None if known else network,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._network, self._description = None, state

    def open(self) -> Network:
        """Return the network, made anew where it has travelled.

        Raises
        ------
        BackboneError: it cannot be made here, or it has another content than the one that was sent (both are named).
        """
        if self._network is not None:
            return self._network
        sent = self._description
        made: Network | None = sent["network"]
        if made is None:
            size = sent["preprocessing"]["input_size"]
            made = self._made(sent, input_size=size, weights=sent["weights"])
        if made.content_hash != sent["content_hash"]:
            raise BackboneError(
                f"{sent['name']}: a worker's network has the content hash {made.content_hash[:12]}… where "
                f"{sent['content_hash'][:12]}… was sent (other weights, layer, input size or preprocessing); give all machines "
                "the same weights, or give a network that was changed a name of its own."
            )
        made = dataclasses.replace(made, **{name: sent[name] for name in self._beside})
        self._network = made.to(sent["device"])
        return self._network


class CarriedBackbone(_Carried[Backbone]):
    """Carries a :class:`~partscope.backbones.Backbone`."""

    _beside = ("channels_last", "cut", "precision")

    @staticmethod
    def _made(sent: dict[str, Any], **options: Any) -> Backbone:
        return get_backbone(sent["name"], layer=sent["layer"], **options)


class CarriedEmbedder(_Carried[Embedder]):
    """Carries an :class:`~partscope.backbones.Embedder`."""

    _beside = ("channels_last",)

    @staticmethod
    def _made(sent: dict[str, Any], **options: Any) -> Embedder:
        return get_embedder(sent["name"], at=sent["at"], **options)
