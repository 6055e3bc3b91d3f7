"""Part-based classification: part features, linear classifiers and their evaluation (protocol §8)."""

from partscope.classification.files import (
    read_classes_csv,
    read_classes_json,
    write_classes_csv,
    write_classes_json,
)
from partscope.classification.linear import LinearModel, TriedC, fit_linear
from partscope.classification.result import ClassEvaluation, ClassPredictions, evaluate_classes

__all__ = [
    "ClassEvaluation",
    "ClassPredictions",
    "LinearModel",
    "TriedC",
    "evaluate_classes",
    "fit_linear",
    "read_classes_csv",
    "read_classes_json",
    "write_classes_csv",
    "write_classes_json",
]
