"""The part of the backward pass that Numba compiles: gradients at those elements alone that can have one, and convolutions of whole
feature maps with fewer multiplications (:mod:`partscope.backward.compiled.winograd`).

Nothing here is imported unless it is asked for: the core works without the extra `fast`. See
:mod:`partscope.backward.compiled.sparse`.
"""
