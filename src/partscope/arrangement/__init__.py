"""The spatial model of the arrangement: from evidence maps of parts to points, visibility and expected error.

    held-out maps + annotation ─▶ Arrangement.fit ─▶ .infer(maps, size) ─▶ Arranged

`likelihood` makes maps comparable, `shapes` holds the training arrangements, `consensus` finds which of them agree with an
image, `decoding` and `refinement` turn that into points, `doubt` says how sure they are, `boxes` predicts the object's box.
"""

from partscope.arrangement.model import Arranged, Arrangement

__all__ = ["Arranged", "Arrangement"]
