"""Feature grids: several layers of one network from one forward pass, as grids of cells over the same picture.

A layer's output may be a feature map (N, K, h, w), the same with channels last (N, h, w, K), or the tokens of a vision
transformer (N, T, K), of which the class and register tokens, which come first, are dropped.

A layer may also be looked at in the eight places around a cell, at a distance of `reach`: a linear combination of such
features is a linear filter with 3×3 widely spaced taps, which sees what stands to the left and to the right of a cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from partscope.backbones.core import Backbone
from partscope.backbones.devices import computing
from partscope.backbones.passes import evaluation_mode, value_at
from partscope.errors import BackboneError, OptionError, nearest_names

#: Distance of the places around a cell, as a share of the input's side.
REACH = 0.2

#: The most tokens that a vision transformer may put before its patches, where the network does not say how many.
_MOST_PREFIX_TOKENS = 16


@dataclass(frozen=True, eq=False)
class FeatureGrids:
    """Several layers of one network as grids over its square input.

    Parameters
    ----------
    backbone: network and preprocessing; its own `layer` is not looked at.
    layers: names of submodules; their channels stand in this order.
    context: those of `layers` that are looked at in nine places, the cell and the eight around it, instead of one.
    reach: distance of these places as a share of the input's side.
    scales: sizes at which the network sees the input, relative to it and rounded to multiples of 32 pixels; features are
        averaged over them, on the grids of the input itself. Each costs a pass.

    Raises
    ------
    OptionError: no layer, or one twice; a context that is none of the layers; a reach outside (0, 0.5]; no scale, or one
        outside [0.25, 4].
    BackboneError: a layer does not exist (the nearest names are given).
    """

    backbone: Backbone
    layers: tuple[str, ...]
    context: tuple[str, ...] = ()
    reach: float = REACH
    scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.layers or len(set(self.layers)) != len(self.layers):
            raise OptionError(f"layers must be one or more different names, not {self.layers}.")
        unknown = [layer for layer in self.context if layer not in self.layers]
        if unknown:
            raise OptionError(
                f"the context {unknown[0]!r} is none of the layers {', '.join(self.layers)}; name one of them."
            )
        if not 0 < self.reach <= 0.5:
            raise OptionError(f"reach must lie in (0, 0.5], a share of the input's side, not {self.reach}.")
        if not self.scales or not all(0.25 <= scale <= 4 for scale in self.scales):
            raise OptionError(f"scales must be one or more numbers in [0.25, 4], not {self.scales}.")
        known = [name for name, _ in self.backbone.network.named_modules() if name]
        for layer in self.layers:
            if layer not in known:
                raise BackboneError(
                    f"{self.backbone.name}: the network has no layer {layer!r}; nearest names: "
                    f"{nearest_names(layer, known)}."
                )

    @cached_property
    def _measured(self) -> tuple[list[tuple[int, int, int]], str]:
        """(channels, rows, columns) of every layer, and the layer that is reached last, from one pass of a blank input."""
        order: list[str] = []
        with torch.no_grad(), ExitStack() as stack:
            outputs = _listen(stack, self.backbone, self.layers, order)
            stack.enter_context(evaluation_mode(self.backbone.network))
            # The whole network, since it is not known yet where the last layer lies.
            try:
                self.backbone.network(self.backbone.blank_input())
            except Exception as error:
                if len(outputs) < len(self.layers):
                    raise BackboneError(
                        f"{self.backbone.name}: the network fails on an input of {self.backbone.input_size} pixels "
                        f"({error}); check the input size."
                    ) from error
        for layer in self.layers:
            if layer not in outputs:
                raise BackboneError(
                    f"{self.backbone.name}: the forward pass does not reach the layer {layer!r}; choose another."
                )
        shapes = []
        for layer in self.layers:
            _, channels, rows, columns = self._as_map(layer, outputs[layer], 1).shape
            shapes.append((channels, rows, columns))
        return shapes, order[-1]

    @property
    def shapes(self) -> list[tuple[int, int, int]]:
        """(channels, rows, columns) of every layer."""
        return self._measured[0]

    def places(self, layer: str) -> NDArray[np.float64]:
        """Return where a layer is looked at from a cell: (T, 2) offsets `(x, y)` as shares of the input's side."""
        if layer not in self.context:
            return np.zeros((1, 2))
        steps = np.array([0.0, -self.reach, self.reach])
        return np.array([(x, y) for y in steps for x in steps])

    @property
    def features(self) -> int:
        """Number of features D of a cell: channels times places, over all layers."""
        return sum(
            shape[0] * len(self.places(layer)) for layer, shape in zip(self.layers, self.shapes, strict=True)
        )

    def feature_names(self) -> list[tuple[str, int, tuple[float, float]]]:
        """Return of each feature the layer, the channel, and the offset `(x, y)` at which it is looked at."""
        return [
            (layer, channel, (float(x), float(y)))
            for layer, (channels, _, _) in zip(self.layers, self.shapes, strict=True)
            for x, y in self.places(layer)
            for channel in range(channels)
        ]

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w): rows and columns of the common grid, that of the layer with the most cells."""
        _, rows, columns = max(self.shapes, key=lambda shape: shape[1] * shape[2])
        return rows, columns

    def __call__(self, inputs: Tensor) -> list[Tensor]:
        """Run the network, as far as the last of the layers, and return each layer's map (N, K_l, h_l, w_l).

        Parameters
        ----------
        inputs: (N, 3, S, S).

        Raises
        ------
        BackboneError: the network fails, or an output is not finite or is no grid of features.
        """
        side = inputs.shape[-1]
        sides = [max(32, 32 * round(side * scale / 32)) if scale != 1 else side for scale in self.scales]
        if sides == [side]:
            return self._passed(inputs)
        totals: list[Tensor] = []
        for other in dict.fromkeys(sides):
            maps = self._passed(_resized(inputs, (other, other)))
            own = [_resized(features, (h, w)) for features, (_, h, w) in zip(maps, self.shapes, strict=True)]
            share = sides.count(other) / len(sides)
            totals = (
                [share * f for f in own]
                if not totals
                else [t + share * f for t, f in zip(totals, own, strict=True)]
            )
        return totals

    def _passed(self, inputs: Tensor) -> list[Tensor]:
        """Run the network once, see :meth:`__call__`."""
        backbone = self.backbone
        last = self._measured[1]
        inputs = inputs.to(backbone.device, backbone.dtype)
        if backbone.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), computing(inputs.device, backbone.precision), ExitStack() as stack:
            outputs = _listen(stack, backbone, [layer for layer in self.layers if layer != last], [])
            outputs[last] = value_at(backbone.network, last, inputs.clone(), backbone.name)
            maps = [
                self._as_map(layer, outputs[layer], len(inputs)).to(inputs.dtype) for layer in self.layers
            ]
        for layer, features in zip(self.layers, maps, strict=True):
            if not bool(torch.isfinite(features).all()):
                raise BackboneError(
                    f"{backbone.name}: the layer {layer!r} gives values that are not finite; check the weights and the "
                    "preprocessing."
                )
        return maps

    def sample(self, maps: Sequence[Tensor], points: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return all features at points of one picture, (M, D), each layer bilinearly between its cells' centres.

        Parameters
        ----------
        maps: of each layer (K_l, h_l, w_l).
        points: (M, 2) `(x, y)` as shares of the input's side, in [0, 1]. A place over the border counts as on it.
        """
        columns = []
        for layer, features in zip(self.layers, maps, strict=True):
            places = self._places_on(features, layer, points[None])
            values = functional.grid_sample(
                features.float().expand(len(places), *features.shape),
                places,
                align_corners=False,
                padding_mode="border",
            )
            columns.append(values[:, :, 0].permute(2, 0, 1).reshape(len(points), -1))
        return torch.cat(columns, dim=1).cpu().numpy()

    def cell_centres(self) -> NDArray[np.float64]:
        """Return the centres (h·w, 2) `(x, y)` of the common grid's cells as shares of the input's side, row by row."""
        rows, columns = self.grid
        y, x = np.mgrid[:rows, :columns]
        return np.stack([(x.ravel() + 0.5) / columns, (y.ravel() + 0.5) / rows], axis=1)

    def combine(self, maps: Sequence[Tensor], weights: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return linear combinations of all features on the common grid, (Q, h, w).

        The combinations are taken on each layer's own grid and then interpolated, which is the same, since both steps
        are linear, and much cheaper than to interpolate every channel.

        Parameters
        ----------
        maps: of each layer (K_l, h_l, w_l).
        weights: (D, Q).
        """
        rows, columns = self.grid
        cells = self.cell_centres().reshape(rows, columns, 2)
        total = torch.zeros(weights.shape[1], rows, columns, device=maps[0].device)
        start = 0
        for layer, features in zip(self.layers, maps, strict=True):
            channels, own_rows, own_columns = features.shape
            count = len(self.places(layer))
            chosen = torch.from_numpy(weights[start : start + count * channels]).to(features.device)
            start += count * channels
            chosen = chosen.reshape(count, channels, -1).transpose(1, 2).reshape(-1, channels)
            combined = (chosen @ features.float().reshape(channels, -1)).reshape(
                count, -1, own_rows, own_columns
            )
            if count == 1 and (own_rows, own_columns) == (rows, columns):
                total += combined[0]
                continue
            places = self._places_on(features, layer, cells)
            total += functional.grid_sample(combined, places, align_corners=False, padding_mode="border").sum(
                dim=0
            )
        return total.cpu().numpy()

    def _places_on(self, features: Tensor, layer: str, points: NDArray[np.float64]) -> Tensor:
        """Return where a layer is looked at from points (h, w, 2), in grid_sample's coordinates: (T, h, w, 2).

        In these coordinates −1 and 1 are the outer edges of the first and the last cell.
        """
        places = (points[None] + self.places(layer).reshape(-1, 1, 1, 2)) * 2 - 1
        return torch.from_numpy(places).to(features.device, torch.float32)

    def _as_map(self, layer: str, output: Any, count: int) -> Tensor:
        """Return a layer's output as (N, K, h, w)."""
        if isinstance(output, Tensor) and len(output) == count and output.is_floating_point():
            if output.ndim == 4:
                rows, middle, last = output.shape[1:]
                # The input is square, and so are its grids: of three numbers the two equal ones are rows and columns.
                return output.permute(0, 3, 1, 2) if rows == middle != last else output
            tokens = output.shape[1] if output.ndim == 3 else 0
            prefix = _prefix_tokens(self.backbone.network, tokens)
            if prefix is not None:
                side = math.isqrt(tokens - prefix)
                return output[:, prefix:].transpose(1, 2).reshape(count, -1, side, side)
        what = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise BackboneError(
            f"{self.backbone.name}: the layer {layer!r} is no feature grid: its output is of {what} where a feature map or "
            "the tokens of a square grid of patches are needed; choose a convolutional layer or a transformer's block."
        )


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Return maps (N, K, h, w) at another size."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    return functional.interpolate(maps.float(), size, mode="bilinear", align_corners=False, antialias=True)


def _prefix_tokens(network: nn.Module, tokens: int) -> int | None:
    """Return how many tokens come before those of the patches, or None if the rest makes no square grid."""
    stated = getattr(network, "num_prefix_tokens", None)
    candidates = [stated] if isinstance(stated, int) else range(min(_MOST_PREFIX_TOKENS, tokens - 1) + 1)
    for prefix in candidates:
        if tokens - prefix > 1 and math.isqrt(tokens - prefix) ** 2 == tokens - prefix:
            return prefix
    return None


def _listen(stack: ExitStack, backbone: Backbone, layers: Sequence[str], order: list[str]) -> dict[str, Any]:
    """Note the first output of every layer while the stack lasts; `order` gets the layers as they are called.

    A copy is kept, since an operation behind the layer may change its output in place.
    """
    outputs: dict[str, Any] = {}
    for layer in layers:

        def keep(module: nn.Module, args: Any, output: Any, layer: str = layer) -> None:
            if layer not in outputs:
                outputs[layer] = output.clone() if isinstance(output, Tensor) else output
                order.append(layer)

        handle = backbone.network.get_submodule(layer).register_forward_hook(keep)
        stack.callback(handle.remove)
    return outputs
