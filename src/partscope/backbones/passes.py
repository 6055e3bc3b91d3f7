"""One pass through a network as far as a module, with the network left as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from partscope.errors import BackboneError


class _Reached(BaseException):
    """Ends a forward pass at the wanted module: what lies behind it is neither computed nor able to fail.

    No `Exception`, so that a network's own `except Exception` does not take it for a failure.
    """


def value_at(network: nn.Module, module: str, inputs: Tensor, name: str, before: bool = False) -> Any:
    """Run a network in evaluation mode as far as a module's first call and return the module's output, or its input.

    In-place operations behind the module therefore cannot change the value.

    Parameters
    ----------
    network: its train/eval state is as before afterwards.
    module: name of a submodule.
    inputs: (N, 3, S, S); given to the network as it is, so an in-place operation at its start writes into it.
    name: how messages call the network.
    before: return the module's first positional argument and do not run the module.

    Raises
    ------
    BackboneError: the network fails on the input, or the pass does not reach the module.
    """
    caught: list[Any] = []

    def keep_output(_: nn.Module, args: Any, output: Any) -> None:
        caught.append(output)
        raise _Reached

    def keep_input(_: nn.Module, args: Any) -> None:
        caught.append(args[0] if args else None)
        raise _Reached

    target = network.get_submodule(module)
    handle = (
        target.register_forward_pre_hook(keep_input) if before else target.register_forward_hook(keep_output)
    )
    try:
        with evaluation_mode(network):
            network(inputs)
    except _Reached:
        pass
    except MemoryError:
        raise
    except Exception as error:
        raise BackboneError(
            f"{name}: the network fails on an input of shape {tuple(inputs.shape)} ({error}); "
            "check the input size and the preprocessing."
        ) from error
    finally:
        handle.remove()
    if not caught:
        raise BackboneError(f"{name}: the forward pass does not reach the layer {module!r}; choose another.")
    return caught[0]


@contextmanager
def evaluation_mode(network: nn.Module) -> Iterator[None]:
    """Switch every module to evaluation mode and afterwards back to the state that each one had."""
    training = [module for module in network.modules() if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True


def device_and_dtype(network: nn.Module) -> tuple[torch.device, torch.dtype]:
    """Return device and type of the network's first floating-point parameter or buffer; the CPU and float32 without."""
    # Without a list of all of them, which would take as long as a small layer.
    for tensor in chain(network.parameters(), network.buffers()):
        if tensor.is_floating_point():
            return tensor.device, tensor.dtype
    return torch.device("cpu"), torch.float32


def blank_input(network: nn.Module, side: int) -> Tensor:
    """Return a (1, 3, side, side) input of zeros with the network's dtype, on its device."""
    device, dtype = device_and_dtype(network)
    return torch.zeros(1, 3, side, side, dtype=dtype, device=device)
