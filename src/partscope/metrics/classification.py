"""Metrics of classification over N images, of which each has one true and one predicted class.

Classes are compared for equality, so they may be numbers or names. *Micro* is the mean over images, *macro* the mean over
classes; the two differ where classes have different numbers of images.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix

from partscope.errors import DatasetError, OptionError
from partscope.metrics.bootstrap import DRAWS, bootstrap_interval

BoolArray = NDArray[np.bool_]


class ClassCount(NamedTuple):
    """One class in the ground truth: its images, how many were classified right, and how often it was predicted."""

    images: int
    correct: int
    predicted: int

    @property
    def recall(self) -> float:
        """Share of the class's images that were classified right; NaN without images."""
        return self.correct / self.images if self.images else float("nan")

    @property
    def precision(self) -> float:
        """Share of the predictions of this class that were right; NaN without a prediction."""
        return self.correct / self.predicted if self.predicted else float("nan")


class McNemar(NamedTuple):
    """McNemar's test of two classifiers on the same images.

    Parameters
    ----------
    b: images that only the first classifier has right.
    c: images that only the second has right.
    p: two-sided p-value of the exact test; 1 where the two are never apart.
    """

    b: int
    c: int
    p: float


def accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return the share of images whose class is right (micro accuracy).

    Raises
    ------
    DatasetError: shapes differ, or there is no image.
    """
    true, guess = _pairs(truth, predicted)
    return float((true == guess).mean())


def macro_accuracy(truth: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean recall over the classes that occur in the ground truth.

    Raises
    ------
    DatasetError: shapes differ, or there is no image.
    """
    true, guess = _pairs(truth, predicted)
    _, index, counts = np.unique(true, return_inverse=True, return_counts=True)
    return float((np.bincount(index, weights=true == guess) / counts).mean())


def in_top(truth: ArrayLike, scores: ArrayLike, k: int) -> BoolArray:
    """Return for each image whether its true class is among the `k` with the highest score.

    Of equal scores the class with the smaller number comes first, as in `argmax`, so that k = 1 is the predicted class.

    Parameters
    ----------
    truth: (N,) column of the true class in `scores`; −1 for a class that has none, which is never among the top.
    scores: (N, K), higher is more likely.
    k: a positive number; from K on, every class with a column is among the top.

    Raises
    ------
    OptionError: `k` is not positive.
    DatasetError: shapes do not fit, or a class has a number outside −1 … K − 1.
    """
    true, values = np.asarray(truth, dtype=np.intp), np.asarray(scores, dtype=np.float64)
    if k < 1:
        raise OptionError(f"k must be positive, not {k}.")
    if true.ndim != 1 or values.ndim != 2 or len(true) != len(values):
        raise DatasetError(
            f"true classes (N,) and scores (N, K) do not fit: they have the shapes {true.shape} and {values.shape}."
        )
    if len(true) and not (true.min() >= -1 and true.max() < values.shape[1]):
        raise DatasetError(
            f"the true classes lie in {true.min()} … {true.max()}, but there are {values.shape[1]} columns of scores."
        )
    known = true >= 0
    own = values[np.arange(len(true)), np.maximum(true, 0)][:, None]
    earlier = np.arange(values.shape[1]) < true[:, None]
    ahead = ((values > own) | ((values == own) & earlier)).sum(axis=1)
    return np.asarray(known & (ahead < k))


def top_k(truth: ArrayLike, scores: ArrayLike, k: int = 5) -> float:
    """Return the share of images whose true class is among the `k` with the highest score; see :func:`in_top`.

    Raises
    ------
    OptionError, DatasetError: as :func:`in_top`, or there is no image.
    """
    right = in_top(truth, scores, k)
    if not len(right):
        raise DatasetError("there is no image, so there is no accuracy; give at least one.")
    return float(right.mean())


def per_class(truth: ArrayLike, predicted: ArrayLike, classes: Sequence[Any]) -> list[ClassCount]:
    """Return the counts of each of `classes`, in their order.

    Raises
    ------
    DatasetError: shapes differ, there is no image, or a class occurs that is not in `classes`.
    """
    table = confusion(truth, predicted, classes)
    images, columns, right = table.sum(axis=1), table.sum(axis=0), np.diag(table)
    rows = zip(images.tolist(), right.tolist(), columns.tolist(), strict=True)
    return [ClassCount(*row) for row in rows]


def confusion(truth: ArrayLike, predicted: ArrayLike, classes: Sequence[Any]) -> NDArray[np.int64]:
    """Return the (K, K) numbers of images by true class (row) and predicted class (column), in the order of `classes`.

    Raises
    ------
    DatasetError: shapes differ, there is no image, or a class occurs that is not in `classes`.
    """
    true, guess = _pairs(truth, predicted)
    known = set(classes)
    for value in (*true.tolist(), *guess.tolist()):
        if value not in known:
            raise DatasetError(
                f"the class {value!r} is not among the {len(known)} classes of the table; add it."
            )
    table = confusion_matrix(true, guess, labels=np.asarray(classes))
    return np.asarray(table, dtype=np.int64)


def accuracy_interval(
    correct: ArrayLike, level: float = 0.95, draws: int = DRAWS, random_state: int = 0
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the micro accuracy over images, from (N,) bool.

    Raises
    ------
    DatasetError: `correct` is not (N,), or there is no image.
    OptionError: as :func:`partscope.metrics.bootstrap.percentile_interval`.
    """
    right = np.asarray(correct, dtype=np.bool_)
    if right.ndim != 1 or not len(right):
        raise DatasetError(f"an interval needs one value per image, (N,) with N > 0, not {right.shape}.")
    return bootstrap_interval(right[:, None].astype(np.float64), level, draws, random_state)


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike) -> McNemar:
    """Return the exact McNemar test: does one of two classifiers get more of the same images right than the other?

    Only images that exactly one of them has right tell the two apart. Under the null hypothesis each of these b + c
    images is as likely to be the first's as the second's, so b follows a binomial distribution with ½.

    Parameters
    ----------
    correct_a, correct_b: (N,) bool, in the same order of the images.

    Raises
    ------
    DatasetError: the two are not (N,) of one length.
    """
    first, second = np.asarray(correct_a, dtype=np.bool_), np.asarray(correct_b, dtype=np.bool_)
    if first.ndim != 1 or first.shape != second.shape:
        raise DatasetError(
            f"McNemar's test compares two classifiers on the same images, not {first.shape} with {second.shape}."
        )
    b, c = int((first & ~second).sum()), int((second & ~first).sum())
    p = float(binomtest(b, b + c, 0.5).pvalue) if b + c else 1.0
    return McNemar(b, c, p)


def _pairs(truth: ArrayLike, predicted: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    true, guess = np.asarray(truth), np.asarray(predicted)
    if true.ndim != 1 or true.shape != guess.shape:
        raise DatasetError(
            f"true and predicted classes must be (N,) of one length, not {true.shape} and {guess.shape}."
        )
    if not len(true):
        raise DatasetError("there is no image, so there is no accuracy; give at least one.")
    return true, guess
