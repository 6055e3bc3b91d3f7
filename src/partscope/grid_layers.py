"""Which layers of a network to combine where the user names none."""

from __future__ import annotations

from torch import nn

from partscope.backbones.core import Backbone, feature_layers

#: The layers to combine in a network, chosen by cross-validation on training images (benchmarks/choose_linear.py).
CHOSEN_LAYERS: dict[str, tuple[str, ...]] = {
    "efficientnet_lite0": ("blocks.4.2.bn2", "blocks.5.3"),
    "squeezenet1_1": ("features.10", "features.12"),
}

#: Of those, the layers that are also looked at around each cell.
CHOSEN_CONTEXT: dict[str, tuple[str, ...]] = {"efficientnet_lite0": ("blocks.5.3",)}

#: Side of the input in pixels for combined layers: a grid of smaller cells places parts more finely than naming needs.
CHOSEN_SIZES: dict[str, int] = {"efficientnet_lite0": 448}

#: A grid of fewer rows is too coarse to be a default.
_LEAST_ROWS = 7

#: A wider layer is none: the statistics grow with the square of the channels.
_MOST_CHANNELS = 2048

#: What is called a layer's output but is no picture of features: weights between tokens, and what only passes values on.
_NO_FEATURES = (nn.Dropout, nn.Softmax, nn.Identity)


def default_layers(backbone: Backbone) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the layers to combine where the user names none, and those of them that are looked at around each cell.

    Those of `CHOSEN_LAYERS` for a network of the registry that stands there; of a vision transformer of timm or torchvision
    the blocks at two thirds and at the end; of another network of theirs, of its two coarsest square grids of at least 7
    rows, the layer with the most channels, at most 2048 (the last of several); of a user's own module the backbone's layer.
    """
    if backbone.name in CHOSEN_LAYERS:
        return CHOSEN_LAYERS[backbone.name], CHOSEN_CONTEXT.get(backbone.name, ())
    blocks = _transformer_blocks(backbone.network)
    if blocks:
        chosen = sorted({max(2 * len(blocks) // 3 - 1, 0), len(blocks) - 1})
        return tuple(blocks[index] for index in chosen), ()
    if ":" not in backbone.name:
        return (backbone.layer,), ()
    widest: dict[int, tuple[int, str]] = {}
    for name, shape in feature_layers(backbone.network, backbone.input_size):
        channels, rows = _square(shape)
        if _is_attention(backbone.network, name) or not rows >= _LEAST_ROWS or channels > _MOST_CHANNELS:
            continue
        if channels >= widest.get(rows, (0, ""))[0]:
            widest[rows] = (channels, name)
    return tuple(widest[rows][1] for rows in sorted(widest)[:2][::-1]) or (backbone.layer,), ()


def _transformer_blocks(network: nn.Module) -> list[str]:
    """Return the names of the blocks of a vision transformer of timm or torchvision; none for another network."""
    if isinstance(getattr(network, "num_prefix_tokens", None), int):
        prefix, blocks = "blocks", getattr(network, "blocks", None)
    else:
        encoder = getattr(network, "encoder", None)
        prefix, blocks = "encoder.layers", getattr(encoder, "layers", None)
    if not isinstance(blocks, (nn.Sequential, nn.ModuleList)):
        return []
    return [f"{prefix}.{name}" for name, _ in blocks.named_children()]


def _square(shape: tuple[int, int, int]) -> tuple[int, int]:
    """Return channels and rows of a square feature map, channels first or last; no rows for another shape."""
    first, middle, last = shape
    if middle == last:
        return first, middle
    return (last, first) if first == middle else (last, 0)


def _is_attention(network: nn.Module, name: str) -> bool:
    """Whether a layer weighs tokens or only passes values on."""
    return "attn" in name or isinstance(network.get_submodule(name), _NO_FEATURES)
