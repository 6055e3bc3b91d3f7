"""Weights from a file that a user gives: safetensors, `.npz` or `.pt`, never through pickle."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from partscope.errors import BackboneError, PartscopeError
from partscope.places import is_file, local_copy, shown

_ENVELOPES = ("state_dict", "model", "model_state_dict", "state_dict_ema")


def read_weights(path: str | Path) -> dict[str, Tensor]:
    """Read a file of weights into a state dict.

    Parameters
    ----------
    path: a file, or a URL (see :mod:`partscope.places`): `.safetensors`; `.npz` (arrays only); `.pt`, `.pth`, `.bin` or `.tar` through `torch.load(weights_only=True)`,
        where a training checkpoint's `state_dict` or `model` entry is taken and a leading `module.` dropped.

    Raises
    ------
    BackboneError: the file is missing, damaged, of another kind, or holds more than tensors.
    """
    path = Path(path)
    readers: dict[str, Callable[[Path], Mapping[str, Any]]] = {
        ".safetensors": load_file,
        ".npz": _read_npz,
        **dict.fromkeys((".pt", ".pth", ".bin", ".tar"), _read_torch),
    }
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise BackboneError(
            f"{shown(path)}: weights must be a file ending in {', '.join(readers)}, not {path.suffix!r}."
        )
    if not is_file(path):
        raise BackboneError(f"{shown(path)}: there is no such weights file; check the path.")
    try:
        with local_copy(path) as file:
            content = reader(file)
    except (MemoryError, PartscopeError):
        raise
    except pickle.UnpicklingError as error:
        raise BackboneError(
            f"{shown(path)}: the file is damaged, or holds more than tensors and is not unpickled; copy it again, or save the "
            "state dict alone, best as safetensors."
        ) from error
    except Exception as error:  # whatever damaged bytes lead the readers to
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BackboneError(
            f"{shown(path)}: the weights file is damaged or of another kind ({first}); copy it again."
        ) from error
    for key in _ENVELOPES:
        if isinstance(content.get(key), Mapping):
            content = content[key]
            break
    tensors = {
        str(name).removeprefix("module."): value
        for name, value in content.items()
        if isinstance(value, Tensor)
    }
    if not tensors:
        raise BackboneError(f"{shown(path)}: the file holds no tensors; it must be a state dict.")
    return tensors


def load_weights(network: nn.Module, tensors: Mapping[str, Tensor], source: str, needed: set[str]) -> None:
    """Copy tensors into a network; those in `needed` must be there, others (a classifier's, say) may be missing.

    Parameters
    ----------
    network: changed in place.
    tensors: a state dict with the network's own names.
    source: the file, for messages.
    needed: names of the tensors that the chosen layer depends on.

    Raises
    ------
    BackboneError: a needed tensor is missing or has another shape, or a value is not finite.
    """
    own = network.state_dict()
    fitting = {}
    for name, target in own.items():
        required = name in needed and not name.endswith("num_batches_tracked")
        value = tensors.get(name)
        if value is None:
            if required:
                raise BackboneError(
                    f"{source}: the tensor {name!r} is missing; the file holds {len(tensors)} tensors such as "
                    f"{', '.join(repr(key) for key in list(tensors)[:3])} - is it of another network?"
                )
            continue
        if value.shape != target.shape:
            if required:
                raise BackboneError(
                    f"{source}: the tensor {name!r} has shape {tuple(value.shape)} where the network needs "
                    f"{tuple(target.shape)}; is it of another network?"
                )
            continue
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise BackboneError(
                f"{source}: the tensor {name!r} holds values that are not finite; the file is damaged."
            )
        fitting[name] = value
    network.load_state_dict(fitting, strict=False)


def _read_npz(path: Path) -> dict[str, Tensor]:
    with np.load(path, allow_pickle=False) as archive:
        return {name: _native(archive[name]) for name in archive.files}


def _native(array: NDArray[Any]) -> Tensor:
    # PyTorch knows the machine's own byte order alone, and no numpy scalars.
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("=")))


def _read_torch(path: Path) -> Mapping[str, Any]:
    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, Mapping):
        raise ValueError(f"a {type(content).__name__} where a state dict is needed")
    return content
