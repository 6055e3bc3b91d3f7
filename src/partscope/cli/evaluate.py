"""`partscope evaluate`: the errors of a saved detector, with the static priors beside them."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partscope.cli import options
from partscope.cli.exits import list_failures, resumable
from partscope.cli.locating import Locating, elsewhere
from partscope.cli.models import load_model
from partscope.cli.output import Output, check_distinct, check_figures
from partscope.cli.predicting import Kept, predict_in_blocks, tasks_of
from partscope.cli.tables import show_confidence, show_notes, show_parts, show_results, skipped_rows
from partscope.errors import OptionError

if TYPE_CHECKING:
    from partscope.dataset import PartDataset
    from partscope.detectors import PartDetector
    from partscope.evaluation import Evaluation
    from partscope.metrics import Normaliser


def evaluate(
    model: options.Model,
    data: options.Data,
    format: options.Format = "auto",
    images: options.Images = None,
    split: options.EvaluatedSplit = "test",
    normaliser: Annotated[
        str,
        typer.Option(
            "--normaliser",
            metavar="box|image|pixels|parts:A,B",
            help="What distances are divided by: the box's or the image's diagonal, nothing, or the distance of two parts.",
        ),
    ] = "box",
    sigmas: Annotated[
        str | None,
        typer.Option(
            "--sigmas",
            metavar="S|PART=S,...",
            help="Report OKS, with this standard deviation for every part or for each.",
            show_default=False,
        ),
    ] = None,
    figures: Annotated[
        Path | None,
        typer.Option(
            "--figures",
            metavar="DIR",
            help="Draw the errors, the reliability of the scores, and the error against the share of parts kept here.",
            show_default=False,
        ),
    ] = None,
    weights: options.Weights = None,
    on_error: options.OnError = "raise",
    json_out: options.JsonOut = None,
    engine: options.Engine = "local",
    address: options.Address = None,
    workers: options.Workers = None,
    threads: options.Threads = None,
) -> None:
    """Compare a detector with a data set's marked parts.

    A run that is stopped is continued by the same command.
    """
    from partscope.discovery import PartDiscovery
    from partscope.engine import use_engine
    from partscope.report.environment import environment_facts
    from partscope.report.tables import method_name, number

    options.check_on_error(on_error)
    measure = _normaliser(normaliser)
    check_distinct({"the model": model, "--weights": weights, "--json": json_out})
    check_figures(figures)
    output = Output(json_out)
    detector = load_model(model, weights)
    if isinstance(detector, PartDiscovery):
        detector.check_named()  # before the network has seen a single image
    format, data = options.resolved(format, data)
    whole = options.load(format, data, images, on_error)
    dataset = whole.split(split)
    deviations = None if sigmas is None else _sigmas(sigmas, set(dataset.parts) & set(detector.parts_))
    tasks = tasks_of(dataset)
    kept = Kept(model, model, tasks)
    work = Locating(detector, model, weights, on_error=on_error)
    with (
        resumable(kept.hint),
        use_engine(engine, address=address, workers=workers, threads=threads) as used,
    ):
        predictions = predict_in_blocks(
            *(tasks, lambda i: work.predict(tasks[i]), kept),
            parts=detector.parts_,
            on_error=on_error,
            elsewhere=None if used.name == "local" else elsewhere(work, used),
        )
        list_failures((*dataset.skipped, *predictions.failures), len(dataset) + len(dataset.skipped), "items")
        settings: dict[str, Any] = {"normaliser": measure, "sigmas": deviations, "on_error": on_error}
        result = detector.evaluate(dataset, predictions=predictions, **settings)
        baselines = _baselines(detector, dataset, predictions.ids, settings)
        rows = [result.row(), *(baseline.row() for baseline in baselines)]
        notes = list(result.notes)
        seen = len(set(detector.train_ids_) & set(result.ids))
        if seen:
            notes.append(
                f"{seen} of the {len(result.ids)} images have the names of images that the model learned from."
            )
        show_results(output, rows, f"{model} on {dataset.name}, {split}: {_unit(normaliser)}")
        if deviations is not None:
            values = ", ".join(f"{method_name(row)} {number(row['oks'])}" for row in rows)
            output.line(f"OKS (area of the box): {values}\n")
        show_parts(output, rows[0], "Per part")
        show_confidence(output, rows[0])
        # What the reader noted was said as a warning.
        show_notes(output, [note for note in notes if note not in whole.notes])
        if figures is not None:
            for path in _write_figures(result, baselines, figures, _unit(normaliser)):
                output.line(str(path))
        output.document(
            {
                "rows": rows,
                "model": model,
                "data": {"name": dataset.name, "format": format, "split": split, "images": len(dataset)},
                "normaliser": normaliser,
                "sigmas": deviations,
                "settings": detector.get_params(deep=False),
                "train_images": len(detector.train_ids_),
                "skipped": skipped_rows(result.skipped),
                "failures": skipped_rows(result.failures),
                "notes": notes,
                "versions": environment_facts(),
            }
        )
    kept.remove()


def _write_figures(result: Evaluation, priors: list[Evaluation], folder: Path, unit: str) -> list[Path]:
    """Write `errors.png`, `parts.png`, `reliability.png`, and `kept.png` where the model says how sure it is."""
    from partscope.figures import (
        figure_error_curves,
        figure_part_errors,
        figure_reliability,
        figure_risk_coverage,
        save_figure,
    )
    from partscope.metrics import part_means
    from partscope.report.tables import method_name

    folder.mkdir(exist_ok=True)
    name = method_name(result.row())
    names = [method_name(prior.row()) for prior in priors]
    against = result.prior_errors[result.reference]
    errors = {name: result.errors, **{n: prior.errors for n, prior in zip(names, priors, strict=True)}}
    made = {
        "errors.png": figure_error_curves(errors, baselines=names, unit=unit),
        "parts.png": figure_part_errors(
            result.parts,
            {name: part_means(result.errors)},
            prior=None if against is None else part_means(against),
            intervals={name: result.intervals["parts"].T},
            unit=unit,
        ),
        "reliability.png": figure_reliability({name: result.reliability}),
    }
    if result.risk_coverage is not None:
        made["kept.png"] = figure_risk_coverage({name: result.risk_coverage}, unit=unit)
    return [save_figure(figure, folder / file) for file, figure in made.items()]


def _normaliser(text: str) -> Normaliser:
    if text in ("box", "image", "pixels"):
        return text  # type: ignore[return-value]
    kind, _, names = text.partition(":")
    parts = [name.strip() for name in names.split(",")]
    if kind != "parts" or len(parts) != 2 or not all(parts):
        raise OptionError(
            f"--normaliser must be box, image, pixels or parts:A,B with two part names, not {text!r}."
        )
    return "parts", parts[0], parts[1]


def _sigmas(text: str, parts: Collection[str]) -> dict[str, float]:
    """Return the standard deviation of each part, relative to the square root of the box's area."""
    from partscope.formats.reading import number

    given = text if "=" in text else ",".join(f"{part}={text}" for part in parts)
    sigmas: dict[str, float] = {}
    for entry in given.split(","):
        name, _, value = entry.rpartition("=")
        try:
            sigmas[name.strip()] = number(value)
        except ValueError:
            sigmas[name.strip()] = 0.0
        if sigmas[name.strip()] <= 0:
            raise OptionError(
                f"--sigmas must be a positive number, or PART=NUMBER for each part, with commas, not {entry!r}."
            )
    for name in sorted(sigmas.keys() ^ set(parts)):
        what = "there is none for" if name in parts else "model and data have no part"
        raise OptionError(f"--sigmas must name every part that is evaluated and no other: {what} {name!r}.")
    return sigmas


def _unit(normaliser: str) -> str:
    by = {"box": "the box's diagonal", "image": "the image's diagonal"}
    if normaliser == "pixels":
        return "error in pixels"
    if normaliser in by:
        return f"error divided by {by[normaliser]}"
    first, second = normaliser.partition(":")[2].split(",")
    return f"error divided by the distance between {first.strip()} and {second.strip()}"


def _baselines(
    detector: PartDetector, dataset: PartDataset, ids: tuple[str, ...], settings: dict[str, Any]
) -> list[Evaluation]:
    """Evaluate the prior in the image, and where there are boxes in the box, on the images that the model has."""
    import numpy as np

    from partscope.evaluation import evaluate as compare_with_data
    from partscope.evaluation import prior_predictions
    from partscope.prior import Frame

    predicted = set(ids)
    same = dataset[[i for i, name in enumerate(dataset.ids) if name in predicted]]
    frames: list[Frame] = ["image"]
    if detector.prior_.has_box and np.isfinite(same.boxes).any():
        frames.append("box")
    return [
        compare_with_data(
            prior_predictions(detector.prior_, same, frame),
            same,
            detector.prior_,
            fallback=frame,
            info={"method": "prior", "region": frame},
            **settings,
        )
        for frame in frames
    ]
