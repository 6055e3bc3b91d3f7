"""The part of the backward pass that Numba compiles: gradients at those elements alone that can have one.

Nothing here is imported unless it is asked for: the core works without the extra `fast`. See
:mod:`partscope.backward.compiled.sparse`.
"""
