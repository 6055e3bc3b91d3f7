"""`partscope classify evaluate`: how often a classifier is right, in numbers and in pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from partscope.cli import options
from partscope.cli.classifying import (
    Cache,
    Classifier,
    Work,
    facts,
    load_classifier,
    predict_classes,
    summary,
)
from partscope.cli.exits import list_failures
from partscope.cli.output import Output, check_distinct, check_figures
from partscope.cli.tables import show_notes, skipped_rows

if TYPE_CHECKING:
    from partscope.classification import ClassEvaluation, ClassPredictions, PartClassifier
    from partscope.dataset import PartDataset

#: Decisions of each kind, right and wrong, that are drawn.
_DRAWN = 8


def evaluate(
    model: Classifier,
    data: options.Data,
    format: options.Format = "auto",
    images: options.Images = None,
    split: options.EvaluatedSplit = "test",
    unseen: Annotated[
        str,
        typer.Option(
            "--unseen",
            metavar="raise|wrong",
            help="Stop at an image whose class was not learned, or count it as wrong.",
        ),
    ] = "raise",
    figures: Annotated[
        Path | None,
        typer.Option(
            "--figures",
            metavar="DIR",
            help="Write the confusion matrix and patches of right and wrong decisions here.",
            show_default=False,
        ),
    ] = None,
    weights: options.Weights = None,
    cache: Cache = None,
    on_error: options.OnError = "raise",
    json_out: options.JsonOut = None,
    engine: options.Engine = "local",
    address: options.Address = None,
    workers: options.Workers = None,
    threads: options.Threads = None,
) -> None:
    """Compare a classifier with a data set's class names.

    A run that is stopped is continued by the same command.
    """
    from partscope.classification.result import UNSEEN
    from partscope.engine import use_engine
    from partscope.report.environment import environment_facts

    options.check_on_error(on_error)
    options.checked_choice("--unseen", unseen, UNSEEN)
    check_distinct({"the model": model, "--weights": weights, "--cache": cache, "--json": json_out})
    check_figures(figures)
    output = Output(json_out)
    fitted = load_classifier(model, weights)
    format, data = options.resolved(format, data)
    whole = options.load(format, data, images, on_error)
    dataset = whole.split(split)
    _check_test_labels(fitted, dataset, unseen)
    work = Work(model, cache)
    with work.in_use(), use_engine(engine, address=address, workers=workers, threads=threads):
        predictions = predict_classes(fitted, model, dataset, work, on_error)
        result = fitted.evaluate(dataset, predictions=predictions, unseen=unseen)
        list_failures((*dataset.skipped, *predictions.failures), len(dataset) + len(dataset.skipped), "items")
        notes = list(result.notes)
        seen = len(set(fitted.train_ids_) & set(result.ids))
        if seen:
            notes.append(
                f"{seen} of the {len(result.ids)} images have the names of images that the model learned from."
            )
        _show(output, result, f"{model} on {dataset.name}, {split}: {summary(fitted)}")
        show_notes(output, [note for note in notes if note not in whole.notes])
        if figures is not None:
            for path in _write_figures(fitted, dataset, predictions, result, figures):
                output.line(str(path))
        output.document(
            {
                "rows": [{**facts(fitted), **result.row()}],
                "confusion": {"classes": result.classes, "counts": result.confusion},
                "model": model,
                "data": {"name": dataset.name, "format": format, "split": split, "images": len(dataset)},
                "train_images": len(fitted.train_ids_),
                "skipped": skipped_rows(result.skipped),
                "failures": skipped_rows(predictions.failures),
                "notes": notes,
                "versions": environment_facts(),
            }
        )
    work.remove()


def _check_test_labels(model: PartClassifier, dataset: PartDataset, unseen: str) -> None:
    """Refuse labels that cannot be compared before features are computed, in the words of the evaluation."""
    import numpy as np

    from partscope.classification import ClassPredictions, evaluate_classes

    classes = model.model_.classes
    blank = ClassPredictions(dataset.ids, classes, np.zeros((len(dataset), len(classes))))
    evaluate_classes(blank, dataset, unseen=unseen, draws=1)


def _show(output: Output, result: ClassEvaluation, title: str) -> None:
    """Print the accuracies, and one line per class."""
    from partscope.report.tables import percent, text

    row = result.row()
    low, high = row["accuracy"]["ci95"]
    output.table(
        ["Accuracy", "95 % interval", "Macro", "Top 5", "Images", "Classes"],
        [
            [
                percent(row["accuracy"]["mean"]),
                f"{100 * low:.1f}…{100 * high:.1f}",
                percent(row["accuracy"]["macro"]),
                percent(row["top5"]),
                text(row["images"]),
                text(row["classes"]),
            ]
        ],
        title,
    )
    output.table(
        ["Class", "Images", "Right", "Accuracy", "Predicted", "Precision"],
        [
            [
                name,
                text(one["images"]),
                text(one["correct"]),
                percent(one["accuracy"]),
                text(one["predicted"]),
                percent(one["precision"]),
            ]
            for name, one in row["per_class"].items()
        ],
        "Per class",
    )


def _write_figures(
    model: PartClassifier,
    data: PartDataset,
    predictions: ClassPredictions,
    result: ClassEvaluation,
    folder: Path,
) -> list[Path]:
    """Write `confusion.png`, and `decisions.png` with the surest right and wrong decisions; return their paths."""
    from partscope.figures.canvas import save_figure
    from partscope.figures.classification import Decision, figure_confusion, figure_decisions

    folder.mkdir(exist_ok=True)
    paths = [save_figure(figure_confusion(result.confusion, result.classes), folder / "confusion.png")]
    row_of = {name: i for i, name in enumerate(predictions.ids)}
    score = {name: float(predictions.scores[row_of[name]].max()) for name in result.ids}
    order = sorted(range(len(result.ids)), key=lambda i: -score[result.ids[i]])
    chosen = [i for right in (True, False) for i in [j for j in order if result.correct[j] == right][:_DRAWN]]
    place = {name: i for i, name in enumerate(data.ids)}
    shown = data[[place[result.ids[i]] for i in chosen]]
    features = model.features_
    features.set_params(progress=False)
    places = features.locate(shown)
    boxes = places.boxes if not features.parts_ else places.boxes[:, -len(features.parts_) :]
    decisions = [
        Decision(sample.image, frames, result.truth[i], result.predicted[i], score[result.ids[i]])
        for i, sample, frames in zip(chosen, shown, boxes, strict=True)
    ]
    figure = figure_decisions(decisions, features.parts_ or (features.region,))
    return [*paths, save_figure(figure, folder / "decisions.png")]
