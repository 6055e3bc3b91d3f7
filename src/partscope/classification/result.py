"""`ClassPredictions`, the scores of classes in images, and `ClassEvaluation`, how right they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from partscope import metrics
from partscope.dataset import PartDataset, Skipped
from partscope.errors import DatasetError, OptionError
from partscope.evaluation.matching import common_images
from partscope.metrics.bootstrap import DRAWS

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

UNSEEN = ("raise", "wrong")


@dataclass(frozen=True, eq=False)
class ClassPredictions:
    """Scores of K classes in N images; immutable, the scores are copied.

    Parameters
    ----------
    ids: N names of the images.
    classes: K class names, each once.
    scores: (N, K) float64, finite; the class with the highest is predicted, of equal ones the first. What they measure
        depends on the classifier: they order the classes of one image.
    failures: images that could not be read and have no row here, with the reason.

    Raises
    ------
    DatasetError: shapes do not fit, a class or image comes twice, there is no class, or a score is not finite.
    """

    ids: tuple[str, ...]
    classes: tuple[str, ...]
    scores: FloatArray
    failures: tuple[Skipped, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", tuple(self.ids))
        object.__setattr__(self, "classes", tuple(str(name) for name in self.classes))
        object.__setattr__(self, "failures", tuple(self.failures))
        scores = np.array(self.scores, dtype=np.float64)
        shape = (len(self.ids), len(self.classes))
        if not self.classes:
            raise DatasetError("predictions: there is no class; give at least one.")
        if scores.shape != shape:
            raise DatasetError(f"predictions: scores must have shape {shape}, not {scores.shape}.")
        for what, names in (("class", self.classes), ("image", self.ids)):
            if len(set(names)) != len(names):
                twice = next(name for name in names if names.count(name) > 1)
                raise DatasetError(
                    f"predictions: the {what} {twice!r} occurs more than once; names must be unique."
                )
        finite = np.isfinite(scores).all(axis=1)
        if not finite.all():
            raise DatasetError(
                f"predictions: a score of {self.ids[int((~finite).argmax())]} is not finite; check its features."
            )
        scores.setflags(write=False)
        object.__setattr__(self, "scores", scores)

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def labels(self) -> tuple[str, ...]:
        """The N predicted class names."""
        return tuple(self.classes[k] for k in self.scores.argmax(axis=1))

    def top(self, k: int = 5) -> list[list[tuple[str, float]]]:
        """Return for each image the `k` classes with the highest score as (name, score), the highest first.

        Raises
        ------
        OptionError: `k` is not positive.
        """
        if k < 1:
            raise OptionError(f"k must be positive, not {k}.")
        order = np.argsort(-self.scores, axis=1, kind="stable")[:, :k]
        return [
            [(self.classes[c], float(row[c])) for c in best]
            for row, best in zip(self.scores, order.tolist(), strict=True)
        ]

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield one record per image: `image, class, scores`, the scores by class name."""
        for name, label, row in zip(self.ids, self.labels, self.scores.tolist(), strict=True):
            yield {"image": name, "class": label, "scores": dict(zip(self.classes, row, strict=True))}


@dataclass(frozen=True, eq=False, repr=False)
class ClassEvaluation:
    """Predicted classes against the true ones, in N images.

    Parameters
    ----------
    classes: K class names of the classifier, followed by those that occur in the data only (`unseen="wrong"`).
    ids: N image ids, in the data set's order.
    truth, predicted: N class names.
    in_top5: (N,) bool, the true class is among the five with the highest score.
    ci95: 95 % percentile bootstrap interval of the accuracy, over images.
    unseen: images whose class the classifier does not know; they count as wrong.
    notes: counted remarks; skipped, failures: images left out, with the reason.
    """

    classes: tuple[str, ...]
    ids: tuple[str, ...]
    truth: tuple[str, ...]
    predicted: tuple[str, ...]
    in_top5: BoolArray
    ci95: tuple[float, float]
    unseen: int = 0
    notes: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    failures: tuple[Skipped, ...] = ()

    @property
    def correct(self) -> BoolArray:
        """(N,) bool, the predicted class is the true one: what McNemar's test takes."""
        return np.asarray(np.asarray(self.truth) == np.asarray(self.predicted))

    @property
    def accuracy(self) -> float:
        """Share of the images whose class is right (micro): the headline."""
        return metrics.accuracy(self.truth, self.predicted)

    @property
    def macro(self) -> float:
        """Mean recall over the classes that occur in the data."""
        return metrics.macro_accuracy(self.truth, self.predicted)

    @property
    def top5(self) -> float:
        """Share of the images whose class is among the five with the highest score."""
        return float(self.in_top5.mean())

    @property
    def per_class(self) -> dict[str, metrics.ClassCount]:
        """Counts by class name, in the order of `classes`."""
        return dict(
            zip(self.classes, metrics.per_class(self.truth, self.predicted, self.classes), strict=True)
        )

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(K, K) numbers of images by true class (row) and predicted class (column)."""
        return metrics.confusion(self.truth, self.predicted, self.classes)

    def row(self) -> dict[str, Any]:
        """Return the row of a table, ready for JSON; None where a class has no image or no prediction to divide by.

        `accuracy` (`mean`, `macro`, `ci95`), `top5`, `images`, `classes` (that occur in the data or the classifier),
        `per_class` (`images`, `correct`, `predicted`, `accuracy`, `precision`), `unseen`, `skipped`, `failures`, `notes`.
        """
        return {
            "accuracy": {"mean": self.accuracy, "macro": self.macro, "ci95": list(self.ci95)},
            "top5": self.top5,
            "images": len(self.ids),
            "classes": len(self.classes),
            "per_class": {
                name: {
                    **count._asdict(),
                    "accuracy": count.recall if count.images else None,
                    "precision": count.precision if count.predicted else None,
                }
                for name, count in self.per_class.items()
            },
            "unseen": self.unseen,
            "skipped": len(self.skipped),
            "failures": len(self.failures),
            "notes": list(self.notes),
        }

    def __repr__(self) -> str:
        low, high = self.ci95
        return (
            f"ClassEvaluation({len(self.ids)} images, {len(self.classes)} classes, accuracy {self.accuracy:.1%} "
            f"[{low:.1%}, {high:.1%}], macro {self.macro:.1%}, top 5 {self.top5:.1%})"
        )


def evaluate_classes(
    predictions: ClassPredictions,
    truth: PartDataset | Sequence[str | None],
    *,
    unseen: str = "raise",
    draws: int = DRAWS,
    random_state: int = 0,
) -> ClassEvaluation:
    """Compare predicted classes with the true ones.

    Parameters
    ----------
    predictions: scores of K classes.
    truth: a data set with labels, whose images match by id (those that only one side has are left out and counted in
        `notes`), or one label per predicted image.
    unseen: what to do with images of a class that the classifier does not know: `"raise"`, or count them `"wrong"`.
    draws, random_state: of the bootstrap interval over images.

    Raises
    ------
    DatasetError: no image is on both sides, a label is missing, or a class is unknown and `unseen="raise"`.
    OptionError: `unseen` has another value.
    """
    if unseen not in UNSEEN:
        raise OptionError(f"unseen must be one of {', '.join(UNSEEN)}, not {unseen!r}.")
    skipped: tuple[Skipped, ...] = ()
    notes: list[str] = []
    if isinstance(truth, PartDataset):
        rows, taken, notes = common_images(predictions, truth)
        labels = [truth.samples[i].label for i in rows]
        skipped = truth.skipped
    else:
        labels, taken = list(truth), list(range(len(predictions)))
        if len(labels) != len(predictions):
            raise DatasetError(f"there are {len(labels)} labels for {len(predictions)} predicted images.")
        if not labels:
            raise DatasetError("no image was predicted, so there is nothing to evaluate.")
        if predictions.failures:
            notes = [f"images that could not be read, left out: {len(predictions.failures)}"]
    ids = tuple(predictions.ids[i] for i in taken)
    true = _labels(ids, labels)
    number_of = {name: k for k, name in enumerate(predictions.classes)}
    numbers = np.array([number_of.get(name, -1) for name in true])
    strange = tuple(sorted({name for name in true if name not in number_of}))
    lost = int((numbers < 0).sum())
    if strange:
        shown = ", ".join(map(repr, strange[:5])) + (
            f" and {len(strange) - 5} more" if len(strange) > 5 else ""
        )
        if unseen == "raise":
            raise DatasetError(
                f"{ids[int((numbers < 0).argmax())]}: the classifier was not trained on the class of {lost} images ({shown}); "
                'leave them out, train on these classes, or count them with unseen="wrong".'
            )
        notes.append(f"images of classes without training images, counted as wrong: {lost} ({shown})")
    names = predictions.labels
    predicted = tuple(names[i] for i in taken)
    right = np.asarray(true) == np.asarray(predicted)
    return ClassEvaluation(
        (*predictions.classes, *strange),
        ids,
        true,
        predicted,
        metrics.in_top(numbers, predictions.scores[taken], 5),
        metrics.accuracy_interval(right, draws=draws, random_state=random_state),
        lost,
        tuple(notes),
        skipped,
        predictions.failures,
    )


def _labels(ids: Sequence[str], labels: Sequence[str | None]) -> tuple[str, ...]:
    names = []
    for name, label in zip(ids, labels, strict=True):
        if label is None or not str(label).strip():
            count = sum(one is None or not str(one).strip() for one in labels)
            raise DatasetError(
                f"{name}: the image has no class ({count} of {len(labels)} images); label it or leave it out."
            )
        names.append(str(label))
    return tuple(names)
