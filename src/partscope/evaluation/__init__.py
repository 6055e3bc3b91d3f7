"""Predictions against a data set: the rows that every table of partscope shows.

:func:`evaluate` matches images by id and parts by name, charges what was not found by a stated rule, and returns an
:class:`Evaluation`; :func:`compare` gives the paired difference of two of them. :func:`prior_predictions` turns the static
prior into predictions, so that the baseline goes through the same code.
"""

from partscope.evaluation.comparison import Comparison, compare
from partscope.evaluation.result import INFO_KEYS, Evaluation
from partscope.evaluation.scoring import evaluate
from partscope.prior import prior_predictions

__all__ = ["INFO_KEYS", "Comparison", "Evaluation", "compare", "evaluate", "prior_predictions"]
