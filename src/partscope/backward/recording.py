"""Reading what autograd recorded of a forward pass: its nodes between the layer and the input, in backward order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

# What custom functions and module hooks leave in the graph; their backward pass is Python code.
_PYTHON: Any = torch.autograd.function.BackwardCFunction

#: A value of the forward pass: the node that made it and which of its outputs it is.
Value = tuple[Any, int]


@dataclass(frozen=True, eq=False)
class Recording:
    """The nodes on the way from a layer back to the input.

    Parameters
    ----------
    nodes: autograd nodes; each stands before all nodes that receive gradients from it.
    start: the layer's output.
    end: the input, the output of its own accumulating node.
    """

    nodes: tuple[Any, ...]
    start: Value
    end: Value

    @property
    def is_float32(self) -> bool:
        """Whether every value on the way is in single precision."""
        types = {metadata.dtype for node in self.nodes for metadata in node._input_metadata}
        return all(kind == torch.float32 for kind in types if kind.is_floating_point or kind.is_complex)

    def receivers(self, node: Any) -> list[Value | None]:
        """For each gradient that a node returns, the value it belongs to; None where it does not lead to the input."""
        known = {id(other) for other in self.nodes} | {id(self.end[0])}
        return [(other, index) if id(other) in known else None for other, index in node.next_functions]


def shape_of(value: Value) -> tuple[int, ...]:
    """Shape that a value had in the forward pass."""
    node, index = value
    return tuple(node._input_metadata[index].shape)


def read_recording(output: Tensor, image: Tensor) -> Recording | None:
    """Return the recording between an input and an output, or None where the output does not depend on the input.

    Raises
    ------
    NotImplementedError: a node's backward pass is Python code (custom functions, hooks), or this release of PyTorch does
        not say the shapes.
    """
    if output.grad_fn is None:
        return None
    leading: dict[int, bool] = {}
    everything: dict[int, Any] = {}
    # Depth first without recursion: deep networks pass Python's limit.
    stack: list[tuple[Any, bool]] = [(output.grad_fn, False)]
    while stack:
        node, finished = stack.pop()
        if finished:
            leading[id(node)] = any(leading.get(id(other), False) for other, _ in node.next_functions)
        elif id(node) not in everything:
            everything[id(node)] = node
            if getattr(node, "variable", None) is image:
                leading[id(node)] = True
                continue
            stack.append((node, True))
            stack.extend((other, False) for other, _ in node.next_functions if other is not None)
    if not leading[id(output.grad_fn)]:
        return None
    waiting = {key: 0 for key, leads in leading.items() if leads}
    for key in waiting:
        for other, _ in everything[key].next_functions:
            if id(other) in waiting:
                waiting[id(other)] += 1
    ready: list[Any] = [output.grad_fn]
    nodes: list[Any] = []
    end = None
    while ready:
        node = ready.pop()
        if getattr(node, "variable", None) is image:
            end = node
            continue
        if isinstance(node, _PYTHON) or not hasattr(node, "_input_metadata"):
            raise NotImplementedError(f"the backward pass of {node.name()}")
        nodes.append(node)
        for other, _ in node.next_functions:
            if id(other) in waiting:
                waiting[id(other)] -= 1
                if not waiting[id(other)]:
                    ready.append(other)
    return Recording(tuple(nodes), (output.grad_fn, output.output_nr), (end, 0))
