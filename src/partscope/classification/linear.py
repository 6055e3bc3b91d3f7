"""Linear classifiers of far more features than images, with C chosen by cross-validation inside the training data.

The classifiers are scikit-learn's: `LinearSVC` (one class against the rest, squared hinge, L2) for `"svm"`, the paper's
choice, and multinomial `LogisticRegression` (L2, lbfgs) for `"logistic"`, the choice of its successor (protocol §8).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.svm import LinearSVC

from partscope.classification.labels import check_classes, checked_labels
from partscope.classification.penalty import TriedC, choose_penalty
from partscope.classification.rotation import ALL_EQUAL, rotated
from partscope.errors import DatasetError, OptionError, PartscopeWarning

FloatArray = NDArray[np.float64]
Classifier: TypeAlias = Literal["svm", "logistic"]

CLASSIFIERS: tuple[Classifier, ...] = get_args(Classifier)
#: Powers of ten where the search for C·v begins, with v the mean squared distance of the training rows from their mean.
FIRST: dict[Classifier, int] = {"svm": -3, "logistic": -2}
FOLDS = 5
_MOST_ITERATIONS = {"svm": 2000, "logistic": 1000}


@dataclass(frozen=True, eq=False)
class LinearModel:
    """A fitted linear classifier: class k has the score `features @ coef[k] + intercept[k]`.

    Parameters
    ----------
    classes: K class names (or numbers), sorted.
    coef: (K, F) float64. Two classes have one row each, too, of opposite sign.
    intercept: (K,) float64.
    classifier: `"svm"` or `"logistic"`. The softmax of logistic scores are the model's probabilities.
    C: the inverse strength of the penalty, as scikit-learn defines it.
    folds: folds of the cross-validation, 0 if C was given.
    tried: the cross-validation's table by rising C, empty if C was given.
    converged: the final fit came to its end.
    """

    classes: tuple[Any, ...]
    coef: FloatArray
    intercept: FloatArray
    classifier: Classifier
    C: float
    folds: int = 0
    tried: tuple[TriedC, ...] = ()
    converged: bool = True

    def decision_function(self, features: ArrayLike) -> FloatArray:
        """Return the (N, K) scores of (N, F) features.

        Raises
        ------
        DatasetError: another number of features than in training, or a feature that is not finite.
        """
        return np.asarray(checked_features(features, self.coef.shape[1]) @ self.coef.T + self.intercept)

    def predict(self, features: ArrayLike) -> NDArray[Any]:
        """Return the (N,) classes with the highest score."""
        return np.asarray(np.asarray(self.classes)[self.decision_function(features).argmax(axis=1)])

    def record(self) -> dict[str, Any]:
        """Return how C was chosen, ready for JSON: `classifier, C, folds, tried, converged`."""
        tried = [
            {"C": one.C, "accuracy": one.accuracy, "images": one.images, "unconverged": one.unconverged}
            for one in self.tried
        ]
        return {
            "classifier": self.classifier,
            "C": self.C,
            "folds": self.folds,
            "tried": tried,
            "converged": self.converged,
        }


def fit_linear(
    features: ArrayLike,
    labels: Sequence[Any] | NDArray[Any],
    *,
    classifier: str = "svm",
    C: float | None = None,
    groups: ArrayLike | None = None,
    mirrored: ArrayLike | None = None,
    random_state: int = 0,
) -> LinearModel:
    """Fit a linear classifier; the same data and seed give the same model.

    Parameters
    ----------
    features: (N, F), float32 or float64; they are used as they are, neither centred nor scaled.
    labels: N class names (or numbers).
    classifier: `"svm"` or `"logistic"`.
    C: the inverse strength of the penalty; by default chosen by stratified cross-validation over the groups, with as many
        folds as the smallest class has groups and at most five. The values tried are powers of ten over the mean squared
        distance of the rows from their mean (itself rounded to a power of ten): from 10^-3 for the SVM and 10^-2 for
        logistic regression upwards until two in a row bring no gain, and then, if the first was the best, downwards in the
        same way. The value with the most held-out images right is taken, of equal ones the first tried; it has neighbours
        that are no better on both sides, unless no held-out image is wrong.
    groups: N names; rows of one group are never on both sides of a fold: an image and its mirror image. By default every
        row is a group.
    mirrored: (N,) bool, rows that train but are never scored when they are held out, because a test set has no mirror
        images. By default all rows of a group but its first.
    random_state: seed of the folds and of the SVM's solver.

    Raises
    ------
    DatasetError: shapes do not fit; a label is missing; there is one class only; a class has fewer than two training
        images (groups); a group has two classes; a feature is not finite; all rows are equal.
    OptionError: unknown classifier, or C is not a positive finite number.

    Warns
    -----
    PartscopeWarning: once, with their number, if fits did not converge.
    """
    kind = next((name for name in CLASSIFIERS if name == classifier), None)
    if kind is None:
        raise OptionError(f"classifier must be one of {', '.join(CLASSIFIERS)}, not {classifier!r}.")
    if C is not None and not (math.isfinite(C) and C > 0):
        raise OptionError(f"C must be a positive finite number, not {C}; leave it out to have it chosen.")
    rows = checked_features(features)
    names = checked_labels(labels, len(rows))
    group = np.arange(len(rows)) if groups is None else np.asarray(groups)
    if group.shape != names.shape:
        raise DatasetError(f"groups must have shape {names.shape}, one value per row, not {group.shape}.")
    _, first, group = np.unique(group, return_index=True, return_inverse=True)
    firsts = np.isin(np.arange(len(rows)), first)
    scored = firsts if mirrored is None else ~np.asarray(mirrored, dtype=bool)
    if scored.shape != names.shape:
        raise DatasetError(f"mirrored must have shape {names.shape}, one value per row, not {scored.shape}.")
    classes, target = np.unique(names, return_inverse=True)
    mixed = np.flatnonzero(target != target[first][group])
    if len(mixed):
        one, other = names[[mixed[0], first[group[mixed[0]]]]].tolist()
        raise DatasetError(
            f"rows {first[group[mixed[0]]]} and {mixed[0]} are one group but have the classes {other!r} and {one!r}; "
            "a group is an image with its mirror image and has one class."
        )
    unscored = np.setdiff1d(target, target[scored])
    if len(unscored):
        raise DatasetError(
            f"the class {classes[unscored[0]].item()!r} has mirror images only; give its training images as well."
        )
    folds = min(FOLDS, check_classes(names[first][np.unique(group[scored])]))
    if (rows == rows[0]).all():
        raise DatasetError(ALL_EQUAL)
    centre = rows.mean(axis=0, dtype=np.float64)
    coordinates, basis = rotated(rows, centre if kind == "logistic" else np.zeros_like(centre))
    spread = float(((coordinates - coordinates.mean(axis=0)) ** 2).sum(axis=1).mean())
    problem = _Problem(kind, coordinates, target, rows.shape[1], spread, random_state)
    tried: tuple[TriedC, ...] = ()
    if C is None:
        best, tried = _cross_validate(problem, group, scored, folds)
        C = best.C
    else:
        folds = 0
    (direction, intercept), converged = problem.fit(C, np.arange(len(rows)))
    failed = sum(one.unconverged for one in tried) + (not converged)
    if failed:
        which = "the final fit among them" if not converged else "the final fit is not among them"
        warnings.warn(
            f"{failed} of {len(tried) * folds + 1} fits of the {kind} classifier did not converge, {which}; "
            "give a smaller C, or scale the features.",
            PartscopeWarning,
            stacklevel=2,
        )
    coef = direction if basis is None else basis.turned_back(direction)
    if kind == "logistic":
        intercept = intercept - coef @ centre
    if len(classes) == 2:
        # The softmax of ±d/2 is the logistic function of d.
        sides = np.array([-1.0, 1.0]) / (2 if kind == "logistic" else 1)
        coef, intercept = sides[:, None] * coef, sides * intercept
    return LinearModel(tuple(classes.tolist()), coef, intercept, kind, float(C), folds, tried, converged)


@dataclass(frozen=True, eq=False)
class _Problem:
    """What the folds share: coordinates (N, r), class numbers (N,), and how many features F these stand for."""

    classifier: Classifier
    coordinates: FloatArray
    target: NDArray[np.intp]
    features: int
    spread: float
    random_state: int

    def fit(self, C: float, train: NDArray[np.intp]) -> tuple[tuple[FloatArray, FloatArray], bool]:
        """Return ((K or 1, r) coefficients, (K or 1,) intercepts) of the rows `train`, and whether the fit converged."""
        rows, target = self.coordinates[train], self.target[train]
        most = _MOST_ITERATIONS[self.classifier]
        scale = 1.0
        if self.classifier == "svm":
            # The dual is the faster one where "auto" would take it for the features themselves.
            dual = True if len(rows) < self.features else "auto"
            model = LinearSVC(C=C, dual=dual, max_iter=most, random_state=self.random_state)
        else:
            # lbfgs stops at a gradient of fixed size, so the coordinates get unit spread; C absorbs it exactly, and
            # the intercept has no penalty.
            scale = math.sqrt(self.spread)
            rows = rows / scale
            model = LogisticRegression(C=C * self.spread, tol=1e-5, max_iter=most)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model.fit(rows, target)
        failed = any(issubclass(one.category, ConvergenceWarning) for one in caught)
        for one in caught:
            if not issubclass(one.category, ConvergenceWarning):
                warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        intercept = np.atleast_1d(np.asarray(model.intercept_, dtype=np.float64))
        return (np.asarray(model.coef_, dtype=np.float64) / scale, intercept), not failed


def _cross_validate(
    problem: _Problem, group: NDArray[np.intp], scored: NDArray[np.bool_], folds: int
) -> tuple[TriedC, tuple[TriedC, ...]]:
    """Return the best value of C, and the table of those tried by rising C."""
    splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=problem.random_state)
    parts = list(splitter.split(problem.target, problem.target, group))
    unit = -round(math.log10(problem.spread))

    def one(exponent: int) -> TriedC:
        C = float(f"1e{exponent + unit}")
        right = images = unconverged = 0
        for train, held in parts:
            (coef, intercept), converged = problem.fit(C, train)
            asked = held[scored[held]]
            scores = problem.coordinates[asked] @ coef.T + intercept
            guess = (scores[:, 0] > 0).astype(np.intp) if scores.shape[1] == 1 else scores.argmax(axis=1)
            right += int((guess == problem.target[asked]).sum())
            images += len(asked)
            unconverged += not converged
        return TriedC(C, right, images, unconverged)

    return choose_penalty(one, FIRST[problem.classifier])


def checked_features(features: ArrayLike, wanted: int | None = None) -> NDArray[np.floating[Any]]:
    """Return features as a finite (N, F) array of float32 or float64.

    Raises
    ------
    DatasetError: another shape, not `wanted` features, no row, or a value that is not finite.
    """
    rows = np.asarray(features)
    rows = rows if rows.dtype in (np.float32, np.float64) else rows.astype(np.float64)
    if rows.ndim != 2 or rows.shape[1] == 0:
        raise DatasetError(f"features must have shape (N, F) with F > 0, not {rows.shape}.")
    if wanted is not None and rows.shape[1] != wanted:
        raise DatasetError(
            f"there are {rows.shape[1]} features where the classifier has {wanted}; extract them in the same way."
        )
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        row = int((~finite).argmax())
        column = int((~np.isfinite(rows[row])).argmax())
        raise DatasetError(
            f"feature {column} of row {row} is {rows[row, column]}; features must be finite, a missing part is zeros."
        )
    return rows
