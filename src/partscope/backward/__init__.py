"""The backward pass of one recorded forward pass, for many channels at a time.

Autograd answers for one channel at a time. What it recorded of a forward pass (masks of activations, indices of pooling,
weights) is the same for every channel, though: here it is read once and turned into a *linearised* network, which then
runs backward on batches of channels, as an ordinary forward pass would run on batches of images.

With Numba the linearised network visits only elements that can have a gradient, :mod:`partscope.backward.compiled.sparse`, and
convolutions that meet all of them need fewer multiplications, :mod:`partscope.backward.compiled.winograd`.

The result equals autograd's up to rounding, for any network: an operation without a rule here is asked for its own backward
pass. Custom autograd functions and backward hooks of modules are left to autograd as a whole; hooks that a network's code
puts on single tensors during the forward pass cannot be seen, and are not run.
"""

from __future__ import annotations

from partscope.backward.availability import has_numba
from partscope.backward.linearised import Linearised, linearise

__all__ = ["Linearised", "has_numba", "linearise"]
