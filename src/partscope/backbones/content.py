"""The content hash: which network this is, by what it computes and not by its name."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import Tensor, nn


def network_hash(network: nn.Module, **facts: Any) -> str:
    """Return the SHA-256 over a network and what is taken from it, the same in every process, on every device and memory format.

    Of the network it covers the names, types and settings (stride, slope, …) of the modules, and every parameter and
    buffer; the code of a module's `forward` is not covered.

    Parameters
    ----------
    network: any module.
    facts: JSON-ready values that belong to its identity, such as the layer and the preprocessing.
    """
    modules = [(name, type(module).__name__, _settings(module)) for name, module in network.named_modules()]
    digest = hashlib.sha256(json.dumps({"modules": modules, **facts}, sort_keys=True).encode())
    # Buffers by themselves too: those that are not persistent are missing from the state dict.
    tensors = {**network.state_dict(), **dict(network.named_buffers())}
    for name, tensor in sorted(tensors.items()):
        if not isinstance(tensor, Tensor):
            continue
        value = tensor.detach().cpu().contiguous()
        digest.update(f"{name}{tuple(value.shape)}{value.dtype}".encode())
        digest.update(value.flatten().view(torch.uint8).numpy().tobytes() if value.numel() else b"")
    return digest.hexdigest()


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
