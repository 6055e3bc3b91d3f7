"""The backbone of a detector: from its options, and from a model file."""

from __future__ import annotations

from pathlib import Path

from partscope.backbones import Backbone, get_backbone
from partscope.detectors.model_file import Fields
from partscope.errors import BackboneError, ModelFileError, OptionError
from partscope.places import url_of


def make_backbone(
    backbone: object, layer: str | None, input_size: int | None, weights: str | Path | None
) -> Backbone:
    """Return the backbone that a detector's options ask for.

    Parameters
    ----------
    backbone: a name of the registry, or a Backbone, which brings the other three with it.
    layer, input_size, weights: as for :func:`~partscope.backbones.get_backbone`.

    Raises
    ------
    OptionError: neither a name nor a Backbone, or an option that the Backbone object gives.
    BackboneError: as :func:`~partscope.backbones.get_backbone`.
    """
    if isinstance(backbone, str):
        return get_backbone(backbone, layer=layer, input_size=input_size, weights=weights)
    if not isinstance(backbone, Backbone):
        raise OptionError(
            f"backbone must be a name or a partscope.Backbone, not {type(backbone).__name__}; "
            "wrap a module with Backbone(module, layer, preprocessing)."
        )
    for name, value in (("layer", layer), ("input_size", input_size), ("weights", weights)):
        if value is not None:
            raise OptionError(f"{name} is given by the Backbone object; leave the option {name!r} out.")
    return backbone


def refuse_remote(path: str | Path, weights: str | Path | None) -> None:
    """Refuse to fetch weights from an address because a model file says so: whoever opens it must name the address."""
    url = None if weights is None else url_of(weights)
    if url is not None:
        raise ModelFileError(
            f"{path}: the network's weights lie at {url}, and nothing is fetched because a model file says so; give the "
            f"address with --weights {url}, in Python the network itself."
        )


def restore_backbone(
    config: Fields, option: object, weights: str | Path | None, backbone: Backbone | None
) -> Backbone:
    """Return the backbone that a model was fitted with, as its file's `config` describes it.

    Parameters
    ----------
    config: the method's part of the model file, with an entry `backbone` (:meth:`Backbone.describe`).
    option, weights: the detector's options `backbone` and `weights`.
    backbone: the network, where the caller gives one.

    Raises
    ------
    ModelFileError: an own network is needed and not given, or the backbone has another content hash.
    BackboneError: the backbone cannot be made again.
    """
    stored = Fields(config.path, config.take("backbone", dict))
    wanted, name = stored.take("content_hash", str), stored.take("name", str)
    if backbone is None:
        if not isinstance(option, str):
            raise ModelFileError(
                f"{config.path}: the model was fitted with an own network ({name}), which a model file does not "
                "hold; give it with load(path, backbone=…)."
            )
        refuse_remote(config.path, weights)
        sizes = Fields(config.path, stored.take("preprocessing", dict))
        try:
            # The layer and size that were used, not the defaults of this version.
            backbone = get_backbone(
                option,
                layer=stored.take("layer", str),
                input_size=sizes.take("input_size", int),
                weights=weights,
            )
        except BackboneError as error:
            raise BackboneError(
                f"{config.path}: the model's backbone cannot be made again: {error}"
            ) from error
    if backbone.content_hash != wanted:
        raise ModelFileError(
            f"{config.path}: the model was made with another backbone than {backbone.name} with the layer "
            f"{backbone.layer!r} (content hash {wanted[:12]}…, not {backbone.content_hash[:12]}…: other weights, layer, "
            "input size or preprocessing); load it with the one that it was fitted with."
        )
    return backbone
