"""Part-based classification: part features, linear classifiers and their evaluation (protocol §8)."""

from partscope.classification.classifier import PartClassifier
from partscope.classification.files import (
    read_classes_csv,
    read_classes_json,
    write_classes_csv,
    write_classes_json,
)
from partscope.classification.linear import LinearModel, fit_linear
from partscope.classification.part_features import PartFeatures
from partscope.classification.penalty import TriedC
from partscope.classification.result import ClassEvaluation, ClassPredictions, evaluate_classes
from partscope.classification.sources import part_sources, register_source

__all__ = [
    "ClassEvaluation",
    "ClassPredictions",
    "LinearModel",
    "PartClassifier",
    "PartFeatures",
    "TriedC",
    "evaluate_classes",
    "fit_linear",
    "part_sources",
    "read_classes_csv",
    "read_classes_json",
    "register_source",
    "write_classes_csv",
    "write_classes_json",
]
