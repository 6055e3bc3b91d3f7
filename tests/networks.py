"""Tiny networks with fixed weights, and a record of everything in a network that a pass must leave alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from partscope.backbones import Backbone, Preprocessing

SIDE = 16


def seeded(network: nn.Module, seed: int = 0) -> nn.Module:
    """Fill parameters and floating-point buffers with fixed values; variances stay positive."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                values = torch.randn(tensor.shape, generator=generator, dtype=torch.float64) * 0.4
                tensor.copy_(values.abs() + 0.5 if name.endswith("running_var") else values)
    return network


def awkward_network(seed: int = 0) -> nn.Sequential:
    """An in-place operation first, in the middle and behind; batch norm, dropout and pooling."""
    network = nn.Sequential(
        nn.ReLU(inplace=True),
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 5, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(5 * (SIDE // 2) ** 2, 4),
    )
    seeded(network, seed)
    return network


def backbone_of(network: nn.Module, layer: str, side: int = SIDE, **options: Any) -> Backbone:
    return Backbone(network, layer, Preprocessing(side), **options)


def picture(seed: int = 0, side: int = SIDE, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(3, side, side, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(
        dtype
    )


def everything(network: nn.Module) -> dict[str, Any]:
    """Values, gradients and flags of all tensors, and state and hooks of all modules, comparable with `==`."""
    state: dict[str, Any] = {
        f"tensor {name}": (tensor.detach().clone().flatten().tolist(), str(tensor.dtype), tuple(tensor.shape))
        for name, tensor in network.state_dict().items()
    }
    for name, parameter in network.named_parameters():
        grad = None if parameter.grad is None else parameter.grad.flatten().tolist()
        state[f"parameter {name}"] = (parameter.requires_grad, grad)
    for name, module in network.named_modules():
        hooks = {key: len(value) for key, value in vars(module).items() if key.endswith("_hooks")}
        state[f"module {name}"] = (module.training, hooks)
    return state
