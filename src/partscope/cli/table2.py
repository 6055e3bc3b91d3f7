"""`partscope reproduce table2`: the paper's Table 2, do parts help to tell classes apart, on a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from partscope.cli import options
from partscope.cli.exits import go_on, list_failures, resumable
from partscope.cli.output import Output, check_distinct
from partscope.cli.tables import show_notes

Row = Mapping[str, Any]


def table2(
    data: options.Data,
    format: options.Format = "auto",
    images: options.Images = None,
    detector: Annotated[
        Path | None,
        typer.Option(
            "--detector",
            metavar="FILE",
            help="A model file written by fit that searches the image; one is fitted by default.",
            show_default=False,
        ),
    ] = None,
    box_detector: Annotated[
        Path | None,
        typer.Option(
            "--box-detector",
            metavar="FILE",
            help="The same for the rows with the box.",
            show_default=False,
        ),
    ] = None,
    fit_limit: Annotated[
        int,
        typer.Option(
            "--fit-limit",
            metavar="N",
            help="Training images, stratified by class, that a detector is fitted to.",
        ),
    ] = 200,
    cross_fit: Annotated[
        int,
        typer.Option(
            "--cross-fit",
            metavar="K",
            min=0,
            help="Find the parts of a detector's own training images by detectors fitted to the other folds of K; 0: by itself.",
        ),
    ] = 0,
    methods: Annotated[
        str, typer.Option("--methods", metavar="NAMES", help="Detectors to fit, separated by commas.")
    ] = "channel",
    regions: Annotated[
        str | None,
        typer.Option(
            "--regions",
            metavar="image,crop",
            help="Rows without and with the box; both by default, where all images have boxes.",
            show_default=False,
        ),
    ] = None,
    rows: Annotated[
        list[str] | None,
        typer.Option(
            "--rows",
            metavar="NAME",
            help="Measure this row alone, such as 'Full, channel'; may be given several times; all by default.",
            show_default=False,
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            "--backbone",
            metavar="NAME",
            help="Network of the features, see 'partscope backbones'; efficientnet_lite0 by default.",
            show_default=False,
        ),
    ] = None,
    input_size: Annotated[
        int | None,
        typer.Option(
            "--input-size",
            metavar="S",
            help="Side of its input in pixels; 160 by default.",
            show_default=False,
        ),
    ] = None,
    weights: options.Weights = None,
    normalize: options.Normalize = "l2",
    classifier: options.LinearClassifier = "svm",
    seed: Annotated[
        int,
        typer.Option(
            "--seed", metavar="N", min=0, help="Seed of the draw, the random patches and the folds."
        ),
    ] = 0,
    folder: options.Folder = None,
    on_error: options.OnError = "raise",
    json_out: options.JsonOut = None,
) -> None:
    """Measure Table 2 of the paper: the same classifier without parts, with estimated and marked parts, and controls.

    All images of the split test are used. A run that is stopped is continued by the same command.
    """
    from partscope.backbones import DEFAULT_BACKBONE
    from partscope.classification.linear import CLASSIFIERS
    from partscope.classification.slots import NORMALISATIONS
    from partscope.detectors import PartDetector
    from partscope.report.environment import environment_facts
    from partscope.table2 import measure_table2

    options.check_on_error(on_error)
    check_distinct({"--detector": detector, "--box-detector": box_detector, "--json": json_out})
    kind = options.checked_choice("--classifier", classifier, CLASSIFIERS)
    options.checked_choice("--normalize", normalize, NORMALISATIONS)
    output = Output(json_out)
    searching = [None if file is None else PartDetector.load(file) for file in (detector, box_detector)]
    dataset = options.load(format, data, images, on_error)
    network = backbone or DEFAULT_BACKBONE
    size = "" if input_size is None else f"-{input_size}"
    place = folder or Path(f"partscope-table2-{network.replace(':', '-').replace('/', '-')}{size}")
    with resumable(lambda: go_on(place, any(place.rglob("*.json")) or any(place.rglob("*.sqlite")))):
        table = measure_table2(
            dataset,
            detector=searching[0],
            box_detector=searching[1],
            methods=options.names_of(methods) or [],
            regions=options.names_of(regions),
            rows=rows or None,
            fit_limit=fit_limit,
            cross_fit=cross_fit,
            backbone=network,
            input_size=input_size,
            weights=weights,
            classifier=kind,
            normalize=normalize,
            folder=place,
            on_error=on_error,
            progress=True,
            random_state=seed,
        )
        document = table.document()
        failures = [{"id": item.id, "reason": item.reason} for item in table.failures]
        output.document({**document, "failures": failures, "versions": environment_facts()})
    settings = document["settings"]
    show_rows(
        output,
        document["rows"],
        f"Table 2 on {dataset.name}: {settings['features']['label']}, {settings['classifier']}, "
        f"{settings['training images']} training images and their mirror images, {settings['classes']} classes",
    )
    show_differences(output, document["comparisons"])
    show_notes(output, settings["notes"])
    list_failures(table.failures, len(dataset) + len(dataset.skipped), "items")
    output.line(f"finished work is kept in {place}; remove it when you no longer need it")


def show_rows(output: Output, rows: Sequence[Row], title: str) -> None:
    """Print one line per row; a row that is not measured shows the paper's figure alone."""
    from partscope.report.tables import percent, text

    cells = []
    for row in rows:
        accuracy = row["accuracy"] or {"mean": None, "macro": None, "ci95": (None, None)}
        cells.append(
            [
                row["name"],
                percent(accuracy["mean"]),
                _interval(accuracy["ci95"]),
                percent(accuracy["macro"]),
                percent(row["top5"]),
                text(row["C"]),
                text(row["images"]),
                percent(row["published"]),
                row["status"],
            ]
        )
    headers = [
        "Row", "Accuracy", "95 %\ninterval", "Macro", "Top 5", "C", "Images", "Paper,\n200 classes", "Status",
    ]  # fmt: skip
    output.table(headers, cells, title)


def show_differences(output: Output, comparisons: Sequence[Row]) -> None:
    """Print paired differences in percentage points, each once; positive means that the first row is more accurate."""
    best = {one["comparison"] for one in comparisons if one["kind"] == "best control"}
    # The best control is among the controls.
    once = {one["comparison"]: one for one in comparisons}
    cells = [
        [
            f"{name}{' (the best control)' if name in best else ''}",
            _points(one["difference"]),
            "…".join(_points(value) for value in one["ci95"]),
            f"{one['only_first']}",
            f"{one['only_second']}",
            f"{one['p']:.2g}",
        ]
        for name, one in once.items()
    ]
    if cells:
        output.table(
            [
                "Comparison",
                "Points",
                "95 % interval",
                "Only the\nfirst right",
                "Only the\nsecond right",
                "McNemar's\np",
            ],
            cells,
            "Paired differences on the same test images; positive: the first is more accurate",
        )


def _points(value: float) -> str:
    return f"{100 * value:+.1f}".replace("-", "−")


def _interval(bounds: Sequence[float | None]) -> str:
    low, high = bounds
    return "–" if low is None or high is None else f"{100 * low:.1f}…{100 * high:.1f}"
