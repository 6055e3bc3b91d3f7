"""The backward pass of one recorded forward pass, for many channels at a time.

Autograd answers for one channel at a time. What it recorded of a forward pass (masks of activations, indices of pooling,
weights) is the same for every channel, though: here it is read once and turned into a *linearised* network, which then
runs backward on batches of channels, as an ordinary forward pass would run on batches of images.

With Numba the linearised network visits only elements that can have a gradient: :mod:`partscope.backward.compiled.sparse`.

The result equals autograd's up to rounding, for any network: an operation without a rule here is asked for its own backward
pass. Custom autograd functions and backward hooks of modules are left to autograd as a whole; hooks that a network's code
puts on single tensors during the forward pass cannot be seen, and are not run.
"""

from __future__ import annotations

from functools import cache

from partscope.backward.linearised import Linearised, linearise

__all__ = ["Linearised", "can_be_sparse", "linearise"]


@cache
def can_be_sparse() -> bool:
    """Return whether Numba is there, the extra `fast`, for :mod:`partscope.backward.compiled.sparse`."""
    try:
        import numba

        import partscope.backward.compiled.sparse  # noqa: F401
    except (ImportError, OSError):  # also a Numba that does not get on with NumPy, or lacks its libraries
        return False
    return not numba.config.DISABLE_JIT
