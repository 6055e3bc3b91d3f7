"""`partscope classify fit` and `predict`: class names from the parts of an object."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partscope.cli import options
from partscope.cli.classifying import (
    Cache,
    Classifier,
    Work,
    facts,
    given_or_fitted,
    load_classifier,
    predict_classes,
    summary,
)
from partscope.cli.exits import INCOMPLETE, OK, list_failures
from partscope.cli.image_sources import find_images
from partscope.cli.output import Output, check_distinct, check_writable
from partscope.cli.predicting import with_boxes
from partscope.cli.tables import show_notes, skipped_rows
from partscope.errors import OptionError, PartscopeWarning

if TYPE_CHECKING:
    from partscope.classification import PartClassifier
    from partscope.dataset import PartDataset


def fit(
    data: options.Data,
    out: options.ModelOut,
    format: options.Format = "auto",
    images: options.Images = None,
    split: options.FitSplit = "train",
    limit: options.Limit = None,
    seed: Annotated[
        int,
        typer.Option("--seed", metavar="N", min=0, help="Seed of the draws, the folds and random patches."),
    ] = 0,
    source: Annotated[
        str,
        typer.Option(
            "--source",
            metavar="estimated|ground_truth|none|prior|grid|random",
            help="Where the patches are.",
        ),
    ] = "estimated",
    detector: Annotated[
        Path | None,
        typer.Option(
            "--detector",
            metavar="FILE",
            help="A detector written by fit; by default one is fitted with --method.",
            show_default=False,
        ),
    ] = None,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="linear|channel|prior|transfer",
            help="The detector to fit; linear by default.",
            show_default=False,
        ),
    ] = None,
    fit_limit: Annotated[
        int | None,
        typer.Option(
            "--fit-limit",
            metavar="N",
            help="Training images, stratified by class, that the detector is fitted to; 200 by default.",
            show_default=False,
        ),
    ] = None,
    region: Annotated[
        str,
        typer.Option(
            "--region",
            metavar="image|crop",
            help="Describe the whole image, or the bounding box, and patches of it.",
        ),
    ] = "image",
    scale: Annotated[
        float | None,
        typer.Option(
            "--scale",
            metavar="λ",
            help="A patch's area as a share of the image's (1/9 by default) or the box's (1/4).",
            show_default=False,
        ),
    ] = None,
    parts: Annotated[
        str | None,
        typer.Option(
            "--parts", metavar="A,B", help="Names of the parts to use; all by default.", show_default=False
        ),
    ] = None,
    pool_pairs: Annotated[
        bool, typer.Option("--pool-pairs", help="Left and right part share features by their maximum.")
    ] = False,
    normalize: options.Normalize = "l2",
    classifier: options.LinearClassifier = "logistic",
    C: Annotated[
        float | None,
        typer.Option(
            "--C",
            metavar="C",
            help="Its inverse strength of the penalty; by cross-validation by default.",
            show_default=False,
        ),
    ] = None,
    no_flips: Annotated[
        bool, typer.Option("--no-flips", help="Do not learn from the mirror images too.")
    ] = False,
    backbone: options.Backbone = None,
    input_size: options.InputSize = None,
    weights: options.Weights = None,
    cache: Cache = None,
    on_error: options.OnError = "raise",
    json_out: options.JsonOut = None,
) -> None:
    """Learn to tell classes apart from images with class names, and save the classifier with its detector.

    The network options are those of the features. A run that is stopped is continued by the same command.
    """
    from partscope.backbones import DEFAULT_BACKBONE
    from partscope.classification import PartClassifier, PartFeatures
    from partscope.classification.knowledge import learn
    from partscope.classification.labels import check_classes, labels_of
    from partscope.classification.linear import CLASSIFIERS
    from partscope.classification.slots import NORMALISATIONS
    from partscope.classification.sources import part_source
    from partscope.detectors import default_method
    from partscope.report.environment import environment_facts

    options.check_on_error(on_error)
    estimated = part_source(source).needs == "detector"
    given = {"--detector": detector, "--method": method, "--fit-limit": fit_limit}
    for name, value in given.items():
        if value is not None and not estimated:
            raise OptionError(f"the part source {source!r} uses no detector; leave {name} out.")
        if value is not None and detector is not None and name != "--detector":
            raise OptionError(f"--detector names a fitted detector; leave {name} out.")
    options.checked_choice("--classifier", classifier, CLASSIFIERS)
    options.checked_choice("--normalize", normalize, NORMALISATIONS)
    check_writable(out)
    files = {"--detector": detector, "--weights": weights, "--out": out, "--cache": cache, "--json": json_out}
    check_distinct(files)
    output = Output(json_out)
    whole = options.load(format, data, images, on_error)
    part = options.learning_split(whole, split)
    drawn = part.limit(limit, seed)
    check_classes(labels_of(drawn, None))
    work = Work(out, cache)
    features = PartFeatures(
        source=source,
        backbone=backbone or DEFAULT_BACKBONE,
        input_size=input_size,
        weights=None if weights is None else str(weights.resolve()),
        region=region,
        scale=scale,
        parts=options.names_of(parts),
        pool_pairs=pool_pairs,
        normalize=normalize,
        cache=work.cache,
        random_state=seed,
        progress=True,
    )
    features.check_parameters()
    with work.in_use(), warnings.catch_warnings():
        # They are listed one by one below.
        warnings.filterwarnings("ignore", ".* training images were left out", PartscopeWarning)
        work.make()
        if estimated:
            searcher, file = given_or_fitted(
                work,
                drawn,
                detector,
                method=method or default_method(()),
                region=region,
                limit=200 if fit_limit is None else fit_limit,
                seed=seed,
                on_error=on_error,
            )
            features.set_params(detector=searcher)
            # Before all images are searched: the part set, and whether the detector suits the region.
            learn(drawn, source=source, region=region, detector=searcher, parts=features.parts)
            features.set_params(predictions=work.find_parts(searcher, file, drawn, on_error))
        model = PartClassifier(
            features, classifier=classifier, C=C, flips=not no_flips, random_state=seed
        ).fit(drawn, on_error=on_error)
        model.save(out)
    work.remove()
    list_failures((*drawn.skipped, *model.skipped_), len(part) + len(part.skipped), "items")
    _show_fit(output, model, drawn, out)
    notes = options.limit_notes(limit, len(drawn))
    # What the reader noted has been said as a warning.
    show_notes(output, [*(note for note in drawn.notes if note not in whole.notes), *notes])
    output.document(
        {
            **facts(model),
            "model": out,
            "data": {"name": drawn.name, "split": split, "limit": limit, "seed": seed},
            "images": len(model.train_ids_),
            "train_ids": model.train_ids_,
            "choice": model.model_.record(),
            "skipped": skipped_rows((*drawn.skipped, *model.skipped_)),
            "notes": [*drawn.notes, *notes],
            "versions": environment_facts(),
        }
    )


def predict(
    model: Classifier,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE|DIR|GLOB...",
            help="Images, folders of images, or quoted patterns.",
            show_default=False,
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", metavar="OUT", help="Classes and scores: .csv or .json.", show_default=False),
    ],
    boxes: Annotated[
        Path | None,
        typer.Option(
            "--boxes",
            metavar="BOXES",
            help="Bounding boxes: a CSV with image,x,y,width,height, or COCO. A model of the box needs them.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[
        int, typer.Option("--top", metavar="K", min=1, help="Classes to print for each image, best first.")
    ] = 5,
    weights: options.Weights = None,
    cache: Cache = None,
) -> int:
    """Tell the classes of images, and write them with the scores of all classes.

    Bad images are listed at the end, and the exit code is 1 then. A run that is stopped is continued by the same command.
    """
    from partscope.classification import write_classes_csv, write_classes_json

    if out.suffix.lower() not in (".csv", ".json"):
        raise OptionError(f"{out}: the results are written as .csv or .json; give --out such an ending.")
    check_distinct(
        {"the model": model, "--weights": weights, "--boxes": boxes, "--out": out, "--cache": cache}
    )
    check_writable(out)
    found = find_images(images)
    fitted = load_classifier(model, weights)
    if fitted.features_.source == "ground_truth":
        raise OptionError(
            f"{model}: this classifier takes marked parts, which images alone do not have; use it with "
            "'partscope classify evaluate', or fit one with --source estimated."
        )
    if fitted.features_.needs_box and boxes is None:
        raise OptionError(
            f"{model}: this classifier describes the object's bounding box; give the boxes of the images with --boxes BOXES."
        )
    tasks = with_boxes(found, boxes)
    work = Work(out, cache)
    with work.in_use():
        result = predict_classes(fitted, model, tasks, work, "skip")
        (write_classes_csv if out.suffix.lower() == ".csv" else write_classes_json)(result, out)
    work.remove()
    output = Output()
    best = result.top(top)
    output.table(
        ["Image", *(f"{k + 1}." for k in range(min(top, len(result.classes))))],
        [
            [name, *(f"{label} ({score:.2f})" for label, score in row)]
            for name, row in zip(result.ids, best, strict=True)
        ],
    )
    output.line(f"{out}: classes of {len(result)} of {len(tasks)} images")
    list_failures(result.failures, len(tasks), "images")
    return INCOMPLETE if result.failures else OK


def _show_fit(output: Output, model: PartClassifier, drawn: PartDataset, out: Path) -> None:
    features = model.features_
    output.line(f"{out}: {summary(model)}; {features.embedder_.label}")
    output.line(
        f"{len(model.train_ids_)} images of {drawn.name}{' and their mirror images' if model.flips else ''}, "
        f"{len(model.classes_)} classes, {len(features.slots_.names)} × {features.embedder_.dimension} features"
    )
    rows: Sequence[Any] = model.model_.tried
    if rows:
        output.line()
        output.table(
            ["C", "Right", "Of", "Accuracy"],
            [[f"{row.C:g}", str(row.right), str(row.images), f"{100 * row.accuracy:.1f} %"] for row in rows],
            f"{model.model_.folds}-fold cross-validation among the training images; C = {model.model_.C:g} was taken",
        )
