"""Channel maps: the gradient of each channel's sum with respect to the input pixels, and the activation itself.

The gradient map of channel k is ∂(Σ_ij a_k,ij)/∂x reduced over the colours: by linearity the sum of the gradients of all the
channel's outputs that the paper adds up (section 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import cast
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from partscope.backbones.core import Backbone
from partscope.backbones.devices import computing
from partscope.backward import Linearised, has_numba, linearise
from partscope.chunking import ChunkTuner, device_clock
from partscope.errors import MissingExtraError, OptionError


def _norm(gradient: Tensor) -> Tensor:
    # torch.linalg.vector_norm over an axis that is not the last takes ten times as long on a CPU.
    first, *others = gradient.unbind(dim=-3)
    total = first.square()
    for colour in others:
        total.addcmul_(colour, colour)
    return total.sqrt_()


#: Colour reductions of a (..., 3, H, W) gradient to (..., H, W): the Euclidean norm (2014), the sum of absolute values (2015),
#: the largest absolute value (Simonyan et al. 2013).
REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "l2": _norm,
    "l1": lambda gradient: gradient.abs().sum(dim=-3),
    "max": lambda gradient: gradient.abs().amax(dim=-3),
}

#: Ways to compute gradients: the linearised network of :mod:`partscope.backward`, at the elements that can have a gradient alone
#: or on whole feature maps, or autograd; `"auto"` is the first of them that can be had and pays.
ENGINES = ("auto", "sparse", "linearised", "autograd")

# Channels per pass on a graphics card, which only a batch fills; autograd on a processor gains nothing from one.
_CHUNK_CUDA, _CHUNK_AUTOGRAD = 32, 1

# Linearising a network takes about as long as a forward pass; fewer channels than this are asked of autograd.
_FEW = 4

# Listing the elements that can have a gradient takes as long as some channels' gradients, and rows hold sixteen channels: for fewer
# than these it does not pay.
_MANY = 12


def gradient_maps(
    backbone: Backbone,
    inputs: Tensor,
    channels: Sequence[int] | None = None,
    *,
    reduction: str = "l2",
    chunk: int | None = None,
    engine: str = "auto",
) -> Tensor:
    """Return the gradient maps of channels for one input, (K, S, S).

    Equals a loop of `torch.autograd.grad(activations[:, k].sum(), inputs)` up to rounding, whatever the chunk size.

    Parameters
    ----------
    backbone: network, layer and preprocessing.
    inputs: (3, S, S), as the backbone's preprocessing returns it.
    channels: the channels wanted, in this order; all by default.
    reduction: `"l2"`, `"l1"` or `"max"` over the three colours.
    chunk: channels per backward pass; chosen per device by default. Memory grows with it.
    engine: `"linearised"` runs backward for a batch of channels at once, see :mod:`partscope.backward`; `"sparse"` does so at
        those elements alone that can have a gradient, on a processor, with the extra `fast`; `"autograd"` is PyTorch's own
        pass; `"auto"` takes the second where it can be had, else the first, unless few channels are wanted or the network
        has operations whose backward pass is Python code.

    Raises
    ------
    OptionError: unknown reduction or engine, a channel out of range, a chunk size below 1; `engine="linearised"` or `"sparse"` and
        the network has operations that it cannot read; `engine="sparse"` in another precision or on a graphics card.
    MissingExtraError: `engine="sparse"` without Numba.
    BackboneError: as :meth:`Backbone.activations`.
    """
    pieces = list(
        iterate_gradient_maps(backbone, inputs, channels, reduction=reduction, chunk=chunk, engine=engine)
    )
    if not pieces:
        return torch.empty(0, *inputs.shape[-2:], dtype=inputs.dtype, device=backbone.device)
    return torch.cat([maps for _, maps in pieces])


def iterate_gradient_maps(
    backbone: Backbone,
    inputs: Tensor,
    channels: Sequence[int] | None = None,
    *,
    reduction: str = "l2",
    chunk: int | None = None,
    engine: str = "auto",
) -> Iterator[tuple[Sequence[int], Tensor]]:
    """Yield `(channels, maps)` chunk by chunk, so that no more than one chunk of maps is in memory.

    Parameters and errors as :func:`gradient_maps`; maps are (len(channels), S, S).
    """
    yield from _pieces(backbone, inputs, channels, _reduction(reduction), chunk, engine)


def input_gradients(
    backbone: Backbone,
    inputs: Tensor,
    channels: Sequence[int] | None = None,
    *,
    chunk: int | None = None,
    engine: str = "auto",
) -> Tensor:
    """Return the gradients themselves, (K, 3, S, S): what :func:`gradient_maps` reduces over the colours.

    Parameters and errors as :func:`gradient_maps`.
    """
    pieces = [
        part for _, part in _pieces(backbone, inputs, channels, lambda gradients: gradients, chunk, engine)
    ]
    if not pieces:
        return torch.empty(0, *inputs.shape, dtype=inputs.dtype, device=backbone.device)
    return torch.cat(pieces)


def _pieces(
    backbone: Backbone,
    inputs: Tensor,
    channels: Sequence[int] | None,
    reduce: Callable[[Tensor], Tensor],
    chunk: int | None,
    engine: str,
) -> Iterator[tuple[Sequence[int], Tensor]]:
    """Yield channels and what `reduce` makes of their gradients, chunk by chunk."""
    with _gradients_on():
        image = inputs.detach().to(backbone.device, backbone.dtype).unsqueeze(0).clone().requires_grad_(True)
        activations = backbone.activations(image)
    wanted = _checked_channels(channels, activations.shape[1])
    if chunk is not None and chunk < 1:
        raise OptionError(f"the chunk size must be at least 1, not {chunk}.")
    network = _linearised(activations, image, len(wanted), engine)
    if activations.device.type == "cuda":
        size = _CHUNK_CUDA
    else:
        size = _CHUNK_AUTOGRAD if network is None else network.chunk

    def compute(part: Sequence[int]) -> Tensor:
        with _gradients_on(), computing(activations.device, backbone.precision):
            gradients = _gradients(activations, image, part) if network is None else network.gradients(part)
            return reduce(gradients.to(image.dtype))

    tuner = _tuner(backbone, activations.device, size if chunk is None else chunk, chunk is not None)
    first = tuner.size
    for piece in tuner.run(wanted, compute):
        if tuner.size < first and tuner is not _TUNERS.get(backbone):
            _FITTING[backbone] = tuner.size
        yield piece


#: What has been found out about the networks on devices that are tuned for.
_TUNERS: WeakKeyDictionary[Backbone, ChunkTuner] = WeakKeyDictionary()
#: Where memory ran short at a fixed size: what did fit, so that it is found out, and said, once.
_FITTING: WeakKeyDictionary[Backbone, int] = WeakKeyDictionary()


def _tuner(backbone: Backbone, device: torch.device, size: int, chosen: bool) -> ChunkTuner:
    if chosen or device.type != "cuda":
        return ChunkTuner(min(size, _FITTING.get(backbone, size)), settled=True)
    if backbone not in _TUNERS:
        _TUNERS[backbone] = ChunkTuner(size // 4, clock=device_clock(device))
    return _TUNERS[backbone]


def activation_maps(backbone: Backbone, inputs: Tensor, channels: Sequence[int] | None = None) -> Tensor:
    """Return the layer's activations of one input, (K, h, w), cut at zero: one forward pass for all channels.

    Parameters and errors as :func:`gradient_maps`. The maps live on the layer's grid; where its cells lie in the input
    is told by :attr:`Backbone.cells`.
    """
    with torch.no_grad():
        image = inputs.to(backbone.device, backbone.dtype).unsqueeze(0)
        activations = backbone.activations(image)[0].clamp_min(0)
    return activations[_checked_channels(channels, activations.shape[0])]


@contextmanager
def _gradients_on() -> Iterator[None]:
    """Turn gradients on whatever mode the caller is in: inference mode is not left by `enable_grad` alone."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def _linearised(activations: Tensor, image: Tensor, wanted: int, engine: str) -> Linearised | None:
    """The linearised network, or None where autograd is to be used."""
    if engine not in ENGINES:
        raise OptionError(f"the engine must be one of {', '.join(ENGINES)}, not {engine!r}.")
    if engine == "autograd" or (engine == "auto" and wanted < _FEW):
        return None
    sparse = engine == "sparse" or (engine == "auto" and wanted >= _MANY)
    sparse = sparse and activations.device.type == "cpu" and activations.dtype == torch.float32
    if engine == "sparse" and not sparse:
        raise OptionError("engine='sparse' works in float32 on a processor; use engine='auto'.")
    if engine == "sparse" and not has_numba():
        raise MissingExtraError("numba", "fast", "engine='sparse'")
    try:
        with _gradients_on():
            return linearise(activations, image, sparse and has_numba(), wanted)
    except NotImplementedError as error:
        if engine != "auto":
            raise OptionError(
                f"the network cannot be linearised: {error} is not known; use engine='auto'."
            ) from error
        return None


def _gradients(activations: Tensor, image: Tensor, channels: Sequence[int]) -> Tensor:
    """Gradients (C, 3, S, S) of the sums of some channels."""
    nothing = image.new_zeros(len(channels), *image.shape[1:])
    if not activations.requires_grad:
        # A layer that does not depend on the input: its gradient is zero, which autograd refuses to say.
        return nothing
    cotangents = activations.new_zeros(len(channels), *activations.shape)
    for row, channel in enumerate(channels):
        cotangents[row, :, channel] = 1
    batched = len(channels) > 1
    (gradients,) = cast(
        "tuple[Tensor | None]",  # None for a layer that depends on parameters alone
        torch.autograd.grad(
            activations,
            image,
            cotangents if batched else cotangents[0],
            retain_graph=True,
            is_grads_batched=batched,
            allow_unused=True,
        ),
    )
    if gradients is None:
        return nothing
    return gradients[:, 0] if batched else gradients


def _reduction(name: str) -> Callable[[Tensor], Tensor]:
    if name not in REDUCTIONS:
        raise OptionError(f"the colour reduction must be one of {', '.join(REDUCTIONS)}, not {name!r}.")
    return REDUCTIONS[name]


def _checked_channels(channels: Sequence[int] | None, count: int) -> list[int]:
    if channels is None:
        return list(range(count))
    wanted = [int(channel) for channel in channels]
    for channel in wanted:
        if not 0 <= channel < count:
            raise OptionError(f"there is no channel {channel}; the layer has {count}, numbered from 0.")
    return wanted
