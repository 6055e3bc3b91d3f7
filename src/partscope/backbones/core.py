"""`Backbone`: a network, one of its layers, its preprocessing, and a content hash of the three."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from partscope.backbones.content import network_hash
from partscope.backbones.devices import computing
from partscope.backbones.geometry import CellGeometry, cell_step
from partscope.backbones.passes import blank_input, device_and_dtype, evaluation_mode, value_at
from partscope.backbones.preprocessing import Preprocessing
from partscope.errors import BackboneError, nearest_names


@dataclass(frozen=True, eq=False)
class Backbone:
    """A network, one of its layers, and how a picture becomes its input.

    Parameters
    ----------
    network: any `torch.nn.Module` that takes a (N, 3, S, S) tensor. Its parameters, its `requires_grad` flags and its
        train/eval state are left as they are; during a pass it is switched to evaluation mode and back.
    layer: name of a submodule (as in `network.named_modules()`) whose output is a (N, K, h, w) feature map.
    preprocessing: how a picture becomes the input.
    name: how reports and model files call it; networks of the registry can be made again from it.
    weights: the weights' source, for the record (a file, a hub's tag), or None.
    channels_last: run in PyTorch's channels-last memory format, which is several times faster for some networks.
    cut: the quantile at which centres cut the network's gradient maps unless told otherwise; it changes no map.
    precision: of the passes, see :mod:`partscope.backbones.devices`; no part of what the backbone is, so not hashed.

    Raises
    ------
    BackboneError: the network has no such layer (the nearest names are given), or the layer's output is no feature map.
    """

    network: nn.Module
    layer: str
    preprocessing: Preprocessing
    name: str = "own"
    weights: str | None = None
    channels_last: bool = False
    cut: float = 0.9
    precision: str = "float32"

    def __post_init__(self) -> None:
        layers = dict(self.network.named_modules())
        if not self.layer or self.layer not in layers:
            known = [name for name in layers if name]
            raise BackboneError(
                f"{self.name}: the network has no layer {self.layer!r}; nearest names: {nearest_names(self.layer, known)}."
            )

    # -- what it is ------------------------------------------------------------------------------------------------
    @property
    def input_size(self) -> int:
        """Side S of the square input in pixels."""
        return self.preprocessing.input_size

    @cached_property
    def grid(self) -> tuple[int, int, int]:
        """(K, h, w): channels, rows and columns of the layer's output for one input."""
        with torch.no_grad():
            _, channels, rows, columns = self.activations(self.blank_input()).shape
        return channels, rows, columns

    @property
    def channels(self) -> int:
        """Number of channels K of the layer."""
        return self.grid[0]

    @cached_property
    def cells(self) -> CellGeometry:
        """Where the cells of the layer's grid lie in the input, see :mod:`partscope.backbones.geometry`."""
        _, rows, columns = self.grid
        step = cell_step(self.activations, self.blank_input())
        return CellGeometry.centred(self.input_size, (rows, columns), step)

    @property
    def stride(self) -> float:
        """Input pixels per cell of the layer's grid."""
        return self.input_size / self.grid[1]

    @property
    def device(self) -> torch.device:
        """Device of the network's first parameter or buffer (the CPU for a network without any)."""
        return device_and_dtype(self.network)[0]

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the network's first parameter or buffer that has one."""
        return device_and_dtype(self.network)[1]

    @property
    def content_hash(self) -> str:
        """SHA-256 over network, layer and preprocessing, the same in every process, on every device and memory format.

        Of the network it covers the names, types and settings (stride, slope, …) of the modules, and every parameter and
        buffer. It is computed anew each time, so that a network trained further is another one; the code of a module's
        `forward` is not covered.
        """
        return network_hash(self.network, layer=self.layer, preprocessing=self.preprocessing.as_dict())

    def describe(self) -> dict[str, Any]:
        """Return name, layer, preprocessing, weights and content hash as JSON-ready values: what a model file keeps."""
        return {
            "name": self.name,
            "layer": self.layer,
            "preprocessing": self.preprocessing.as_dict(),
            "weights": self.weights,
            "content_hash": self.content_hash,
        }

    def blank_input(self) -> Tensor:
        """Return a (1, 3, S, S) input of zeros with the network's dtype, on its device."""
        return blank_input(self.network, self.input_size)

    # -- running it ------------------------------------------------------------------------------------------------
    def activations(self, inputs: Tensor) -> Tensor:
        """Run the network up to the layer and return its output (N, K, h, w), part of the graph where gradients are on.

        The pass ends at the layer's first call. In-place operations behind the layer therefore cannot change the result,
        and those before it act on a copy of `inputs`.

        Raises
        ------
        BackboneError: the layer is not reached, or its output is not a (N, K, h, w) tensor; the message says what it is.
        """
        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        # A copy: a network that starts with an in-place operation must not write into the caller's tensor, and autograd
        # forbids it to write into a leaf.
        with computing(inputs.device, self.precision):
            output = value_at(self.network, self.layer, inputs.clone(), self.name)
        if (
            not isinstance(output, Tensor)
            or output.ndim != 4
            or len(output) != len(inputs)
            or not output.is_floating_point()
        ):
            what = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
            raise BackboneError(
                f"{self.name}: the layer {self.layer!r} is no feature map: its output is of {what} where "
                "(images, channels, rows, columns) is needed; choose a convolutional layer."
            )
        # Autocast leaves half the mantissa behind; what follows is computed as it always is.
        return output.to(inputs.dtype)

    def to(self, device: str | torch.device) -> Backbone:
        """Move the network to a device, in place, and return the backbone."""
        self.network.to(device)
        return self


def feature_layers(network: nn.Module, input_size: int) -> list[tuple[str, tuple[int, int, int]]]:
    """List the layers of a network whose output is a feature map: name and (channels, rows, columns), in call order.

    Parameters
    ----------
    network: as in :class:`Backbone`; one blank input is sent through it.
    input_size: side of the square input in pixels.

    Raises
    ------
    BackboneError: the network fails on such an input.
    """
    found: dict[str, tuple[int, int, int]] = {}
    handles = []
    for name, module in network.named_modules():
        if not name:
            continue

        def note(module: nn.Module, args: Any, output: Any, name: str = name) -> None:
            if isinstance(output, Tensor) and output.ndim == 4 and name not in found:
                found[name] = (int(output.shape[1]), int(output.shape[2]), int(output.shape[3]))

        handles.append(module.register_forward_hook(note))
    try:
        with torch.no_grad(), evaluation_mode(network):
            network(blank_input(network, input_size))
    except Exception as error:
        raise BackboneError(
            f"the network fails on an input of {input_size}×{input_size} pixels ({error}); check the input size."
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return list(found.items())


class Runnable(Protocol):
    """A network and one of its values, as :class:`Backbone` is."""

    @property
    def network(self) -> nn.Module:
        """The network."""

    def blank_input(self) -> Tensor:
        """Return a (1, 3, S, S) input of zeros."""

    def activations(self, inputs: Tensor) -> Tensor:
        """Run the network as far as the value and return it, as part of the graph."""


def tensors_up_to(backbone: Runnable) -> set[str]:
    """Return the names of the parameters and buffers that the backbone's layer depends on, or may depend on.

    These are the own tensors of every module that runs, wholly or in part, before the layer has its output, and the
    parameters in the output's graph: attention reads those of its projection without calling it.
    """
    needed: set[str] = set()
    handles = []
    for name, module in backbone.network.named_modules():

        def note(module: nn.Module, args: Any, name: str = name) -> None:
            own = (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
            needed.update(f"{name}.{key}" if name else key for key, _ in own)

        handles.append(module.register_forward_pre_hook(note))
    parameters = [value for value in backbone.network.parameters() if value.is_floating_point()]
    frozen = [value for value in parameters if not value.requires_grad]
    try:
        with torch.inference_mode(False), torch.enable_grad():
            for value in frozen:
                value.requires_grad_(True)
            reached = _leaves(backbone.activations(backbone.blank_input()))
        needed.update(name for name, value in backbone.network.named_parameters() if id(value) in reached)
    finally:
        for value in frozen:
            value.requires_grad_(False)
        for handle in handles:
            handle.remove()
    return needed


def _leaves(output: Tensor) -> set[int]:
    """Return the ids of the tensors at the leaves of a graph."""
    leaves: set[int] = set()
    seen: set[Any] = set()
    waiting = [output.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            leaves.add(id(node.variable))
        waiting.extend(following for following, _ in node.next_functions)
    return leaves
