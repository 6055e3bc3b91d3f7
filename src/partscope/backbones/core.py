"""`Backbone`: a network, one of its layers, its preprocessing, and a content hash of the three."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from partscope.backbones.preprocessing import Preprocessing
from partscope.errors import BackboneError, nearest_names


class _ReachedLayer(BaseException):
    """Ends a forward pass at the wanted layer: what lies behind it is neither computed nor able to fail.

    No `Exception`, so that a network's own `except Exception` does not take it for a failure.
    """


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

    @property
    def stride(self) -> float:
        """Input pixels per cell of the layer's grid."""
        return self.input_size / self.grid[1]

    @property
    def device(self) -> torch.device:
        """Device of the network's first parameter or buffer (the CPU for a network without any)."""
        return _device_and_dtype(self.network)[0]

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the network's first parameter or buffer that has one."""
        return _device_and_dtype(self.network)[1]

    @property
    def content_hash(self) -> str:
        """SHA-256 over network, layer and preprocessing, the same in every process, on every device and memory format.

        Of the network it covers the names, types and settings (stride, slope, …) of the modules, and every parameter and
        buffer. It is computed anew each time, so that a network trained further is another one; the code of a module's
        `forward` is not covered.
        """
        modules = [
            (name, type(module).__name__, _settings(module)) for name, module in self.network.named_modules()
        ]
        head = {"modules": modules, "layer": self.layer, "preprocessing": self.preprocessing.as_dict()}
        digest = hashlib.sha256(json.dumps(head, sort_keys=True).encode())
        # Buffers by themselves too: those that are not persistent are missing from the state dict.
        tensors = {**self.network.state_dict(), **dict(self.network.named_buffers())}
        for name, tensor in sorted(tensors.items()):
            if not isinstance(tensor, Tensor):
                continue
            value = tensor.detach().cpu().contiguous()
            digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
            digest.update(value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"")
        return digest.hexdigest()

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
        return torch.zeros(1, 3, self.input_size, self.input_size, dtype=self.dtype, device=self.device)

    # -- running it ------------------------------------------------------------------------------------------------
    def activations(self, inputs: Tensor) -> Tensor:
        """Run the network up to the layer and return its output (N, K, h, w), part of the graph where gradients are on.

        The pass ends at the layer's first call. In-place operations behind the layer therefore cannot change the result,
        and those before it act on a copy of `inputs`.

        Raises
        ------
        BackboneError: the layer is not reached, or its output is not a (N, K, h, w) tensor; the message says what it is.
        """
        caught: list[Any] = []

        def keep(module: nn.Module, args: Any, output: Any) -> None:
            caught.append(output)
            raise _ReachedLayer

        if self.channels_last:
            inputs = inputs.contiguous(memory_format=torch.channels_last)
        with _evaluation_mode(self.network), _hooked(self.network.get_submodule(self.layer), keep):
            try:
                # A copy: a network that starts with an in-place operation must not write into the caller's tensor, and
                # autograd forbids it to write into a leaf.
                self.network(inputs.clone())
            except _ReachedLayer:
                pass
            except Exception as error:
                raise BackboneError(
                    f"{self.name}: the network fails on an input of shape {tuple(inputs.shape)} ({error}); "
                    "check the input size and the preprocessing."
                ) from error
        if not caught:
            raise BackboneError(
                f"{self.name}: the forward pass does not reach the layer {self.layer!r}; choose another."
            )
        output = caught[0]
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
        return output

    def to(self, device: str | torch.device) -> Backbone:
        """Move the network to a device, in place, and return the backbone."""
        self.network.to(device)
        return self


def _device_and_dtype(network: nn.Module) -> tuple[torch.device, torch.dtype]:
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.is_floating_point():
            return tensor.device, tensor.dtype
    return torch.device("cpu"), torch.float32


def _settings(module: nn.Module) -> dict[str, Any]:
    """Return the settings that PyTorch declares for a module: two convolutions may differ in their stride alone."""
    settings = {}
    for name in getattr(type(module), "__constants__", ()):
        value = getattr(module, name, None)
        plain = value if isinstance(value, tuple) else (value,)
        # `inplace` changes no value, and backbones run in evaluation mode.
        if name not in ("inplace", "training") and all(isinstance(v, (int, float, str)) for v in plain):
            settings[name] = value
    return settings


@contextmanager
def _evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Switch every module to evaluation mode and afterwards back to the state that each one had."""
    training = [module for module in network.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def _hooked(module: nn.Module, hook: Callable[[nn.Module, Any, Any], None]) -> Iterator[None]:
    handle = module.register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


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
        device, dtype = _device_and_dtype(network)
        with torch.no_grad(), _evaluation_mode(network):
            network(torch.zeros(1, 3, input_size, input_size, device=device, dtype=dtype))
    except Exception as error:
        raise BackboneError(
            f"the network fails on an input of {input_size}×{input_size} pixels ({error}); check the input size."
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    return list(found.items())


def tensors_up_to(backbone: Backbone) -> set[str]:
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
