"""Feature vectors of many views of many images: decoded once, warped in the background, in full network batches, cached.

While the network computes one batch, threads decode the next images and warp their views; at most a few batches wait. Images go
through in fixed blocks, on the engine that is in use.
"""

from partscope.extraction.blocks import images_per_block
from partscope.extraction.run import extract
from partscope.extraction.views import Extracted, Views

__all__ = ["Extracted", "Views", "extract", "images_per_block"]
