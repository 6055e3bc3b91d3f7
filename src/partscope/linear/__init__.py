"""Linear part detectors in closed form: sufficient statistics, discriminants, the choice of shrinkage, evidence maps."""

from partscope.linear.discriminant import Discriminants, solve
from partscope.linear.evidence import decode, presence
from partscope.linear.shrinkage import SHRINKAGES, ShrinkageChoice, choose_shrinkage
from partscope.linear.statistics import Statistics

__all__ = [
    "SHRINKAGES",
    "Discriminants",
    "ShrinkageChoice",
    "Statistics",
    "choose_shrinkage",
    "decode",
    "presence",
    "solve",
]
