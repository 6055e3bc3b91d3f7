"""Where networks run, and how precisely.

A device is chosen for the process, not kept in a detector: model files and content hashes are the same wherever a network runs.
Networks that are made by name move once, when they are made; a network of the user's own stays where the user has put it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from partscope.errors import OptionError

#: `float32`; `tf32`: the same with products of 10-bit mantissas, on graphics cards that can; `bfloat16`: autocast, where sums of
#: products are taken in 8 bits of mantissa. Parameters stay as they are.
PRECISIONS = ("float32", "tf32", "bfloat16")


def choose_device(name: str = "auto") -> torch.device:
    """Return a device that this machine has.

    Parameters
    ----------
    name: `"auto"` (the first CUDA card, the processor without one), `"cpu"`, `"cuda"`, `"cuda:1"`, or `"mps"`, which must be asked
        for because nothing has been measured on it.

    Raises
    ------
    OptionError: there is no such device, or not on this machine.
    """
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    if not re.fullmatch(r"cpu|mps|cuda(:\d{1,3})?", name):
        raise OptionError(f"there is no device {name!r}; choose auto, cpu, cuda, cuda:1 or mps.")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not count:
            raise OptionError(
                f"the device {name!r} is not to be had: PyTorch finds no CUDA card here; take cpu, or install a PyTorch with "
                "CUDA and its driver."
            )
        if (device.index or 0) >= count:
            raise OptionError(
                f"the device {name!r} is not to be had: there are {count} cards, numbered from 0; choose one of them."
            )
        return torch.device("cuda", device.index or 0)
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise OptionError("the device 'mps' is not to be had: this is no Mac with Metal; take cpu.")
    return device


@dataclass(frozen=True)
class Compute:
    """Device of networks that are made by name, and the precision of their passes.

    Raises
    ------
    OptionError: as :func:`choose_device`; an unknown precision, or `tf32` on a device without it.
    """

    device: str = "auto"
    precision: str = "float32"

    def __post_init__(self) -> None:
        device = choose_device(self.device)
        if self.precision not in PRECISIONS:
            raise OptionError(
                f"the precision must be one of {', '.join(PRECISIONS)}, not {self.precision!r}."
            )
        if self.precision == "tf32" and device.type != "cuda":
            raise OptionError(
                f"the precision 'tf32' is one of CUDA cards, and the device is {device.type}; take float32 or bfloat16."
            )


_current = Compute()


def compute_settings() -> Compute:
    """Return what holds for this process."""
    return _current


def set_compute(device: str = "auto", precision: str = "float32") -> Compute:
    """Choose device and precision for every network that is made from now on; return what held before.

    Raises
    ------
    OptionError: as :class:`Compute`.
    """
    global _current
    before, _current = _current, Compute(device, precision)
    return before


@contextmanager
def computing(device: torch.device, precision: str) -> Iterator[None]:
    """Run passes on a device at a precision; settings of PyTorch are as before afterwards.

    In `float32` PyTorch's own setting for convolutions, which allows TF32 on cards that have it, is turned off: centres are
    then the same as on a processor up to rounding.
    """
    if precision == "bfloat16":
        with torch.autocast(device.type, torch.bfloat16):
            yield
        return
    if device.type != "cuda":
        yield
        return
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32 = cudnn.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32 = before
