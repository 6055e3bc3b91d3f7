"""`Embedder`: a network up to its last hidden layer, from a picture to one vector (protocol §8).

The last hidden layer is the pooled input of the final classifier where a network has one.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from partscope.backbones.content import network_hash
from partscope.backbones.passes import blank_input, device_and_dtype, evaluation_mode, value_at
from partscope.backbones.preprocessing import Preprocessing
from partscope.errors import BackboneError, nearest_names

#: Side in pixels of the input of the embedded networks for embeddings: a patch is small, and 160 px cost half of 224.
EMBEDDING_SIZE = 160

_INPUT, _FLAT = "input", "flat"


@dataclass(frozen=True, eq=False)
class Embedder:
    """A network up to one of its values, and how a picture becomes its input: (N, 3, S, S) in, (N, D) out.

    Parameters
    ----------
    network: any `torch.nn.Module` that takes a (N, 3, S, S) tensor. Its parameters, its `requires_grad` flags and its
        train/eval state are left as they are; during a pass it is switched to evaluation mode and back.
    at: which value is taken. `"NAME:input"` is the first input of the submodule NAME, `"NAME"` its output; a feature map
        (N, K, h, w) is averaged over its rows and columns to (N, K). `"NAME:flat"` is the output with all its values,
        (N, K·h·w), as DeCAF's pool5.
    preprocessing: how a picture becomes the input.
    name: how reports and model files call it; networks of the registry can be made again from it.
    weights: the weights' source, for the record (a file), or None.
    channels_last: run in PyTorch's channels-last memory format, which is several times faster for some networks.

    Raises
    ------
    BackboneError: the network has no such submodule (the nearest names are given).
    """

    network: nn.Module
    at: str
    preprocessing: Preprocessing
    name: str = "own"
    weights: str | None = None
    channels_last: bool = False

    def __post_init__(self) -> None:
        layers = [name for name, _ in self.network.named_modules() if name]
        if self._place[0] not in layers:
            raise BackboneError(
                f"{self.name}: the network has no layer {self._place[0]!r}; nearest names: "
                f"{nearest_names(self._place[0], layers)}."
            )

    # -- what it is ------------------------------------------------------------------------------------------------
    @property
    def _place(self) -> tuple[str, str]:
        """Name of the submodule, and `"input"`, `"flat"` or `""`."""
        module, _, what = self.at.rpartition(":")
        return (module, what) if what in (_INPUT, _FLAT) else (self.at, "")

    @property
    def input_size(self) -> int:
        """Side S of the square input in pixels."""
        return self.preprocessing.input_size

    @property
    def device(self) -> torch.device:
        """Device of the network's first parameter or buffer (the CPU for a network without any)."""
        return device_and_dtype(self.network)[0]

    @cached_property
    def dimension(self) -> int:
        """Number of values D of a vector."""
        return int(self(self.blank_input()).shape[1])

    @property
    def content_hash(self) -> str:
        """SHA-256 over network, value and preprocessing, as :attr:`partscope.backbones.Backbone.content_hash`."""
        return network_hash(self.network, embedding=self.at, preprocessing=self.preprocessing.as_dict())

    @property
    def label(self) -> str:
        """One line for tables: network, value, its number of values, side of the input."""
        module, what = self._place
        return f"{self.name} {module} {what or 'mean'} ({self.dimension:,}) at {self.input_size} px"

    def describe(self) -> dict[str, Any]:
        """Return what the embedder is as JSON-ready values: what a model file keeps."""
        module, what = self._place
        taken = {
            _INPUT: f"the input of {module}",
            _FLAT: f"the output of {module}, flattened",
            "": f"the output of {module}, averaged over rows and columns",
        }
        return {
            "name": self.name,
            "at": self.at,
            "taken": taken[what],
            "dimension": self.dimension,
            "preprocessing": self.preprocessing.as_dict(),
            "weights": self.weights,
            "content_hash": self.content_hash,
        }

    def blank_input(self) -> Tensor:
        """Return a (1, 3, S, S) input of zeros with the network's dtype, on its device."""
        return blank_input(self.network, self.input_size)

    # -- running it ------------------------------------------------------------------------------------------------
    def __call__(self, inputs: Tensor) -> Tensor:
        """Return the vectors (N, D) float32 of N inputs (N, 3, S, S), on the network's device, in inference mode.

        The inputs may lie on another device and have another floating-point type; they are left as they are. A vector
        depends on the other inputs of its batch only by rounding.

        Raises
        ------
        BackboneError: as :meth:`activations`.
        """
        with torch.inference_mode():
            return self.activations(inputs).to(torch.float32)

    def activations(self, inputs: Tensor) -> Tensor:
        """Return the vectors (N, D) in the network's own type, part of the graph where gradients are on.

        Raises
        ------
        BackboneError: the network fails, the value is not reached, or it is neither (N, D) nor a feature map.
        """
        device, dtype = device_and_dtype(self.network)
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        # Always a copy: a network that starts with an in-place operation must not write into the caller's tensor.
        copied = inputs.to(device, dtype, copy=True, memory_format=layout)
        module, what = self._place
        value = value_at(self.network, module, copied, self.name, before=what == _INPUT)
        if (
            not isinstance(value, Tensor)
            or value.ndim not in (2, 4)
            or len(value) != len(inputs)
            or not value.is_floating_point()
        ):
            found = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            raise BackboneError(
                f"{self.name}: {self.at!r} is of {found} where (images, values) or a feature map (images, channels, rows, "
                "columns) is needed; choose the input of the classifier, written 'NAME:input', or a convolutional layer."
            )
        if value.ndim == 2:
            return value
        return value.flatten(1) if what == _FLAT else value.mean(dim=(2, 3))

    def to(self, device: str | torch.device) -> Embedder:
        """Move the network to a device, in place, and return the embedder."""
        self.network.to(device)
        return self


def last_hidden_layer(network: nn.Module, input_size: int) -> str:
    """Return the last hidden layer of any network, as :class:`Embedder` spells it.

    That is the input of the last `nn.Linear` that runs, if this input is (N, D) and no feature map follows (as after the
    linear layers of squeeze-and-excitation): the classifier, also a vision transformer's. Otherwise it is the last
    feature map, averaged over space. One blank input is sent through the network.

    Raises
    ------
    BackboneError: the network fails on such an input, or has neither.
    """
    linear, feature_map = "", ""
    handles = []
    for name, module in network.named_modules():

        def note(module: nn.Module, args: Any, output: Any, name: str = name) -> None:
            nonlocal linear, feature_map
            if isinstance(module, nn.Linear):
                linear = f"{name}:{_INPUT}" if args and args[0].ndim == 2 else ""
            elif name and isinstance(output, Tensor) and output.ndim == 4:
                linear, feature_map = "", name

        handles.append(module.register_forward_hook(note))
    try:
        with torch.inference_mode(), evaluation_mode(network):
            network(blank_input(network, input_size))
    except Exception as error:
        raise BackboneError(
            f"the network fails on an input of {input_size}×{input_size} pixels ({error}); check the input size."
        ) from error
    finally:
        for handle in handles:
            handle.remove()
    if not linear and not feature_map:
        raise BackboneError(
            "the network has neither a linear classifier nor a feature map; say with at=NAME which layer to take."
        )
    return linear or feature_map
