"""Part-based classification: part features, linear classifiers and their evaluation (protocol §8)."""

from partscope.classification.linear import LinearModel, TriedC, fit_linear

__all__ = ["LinearModel", "TriedC", "fit_linear"]
