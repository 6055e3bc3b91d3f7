"""`partscope classify fit`: learn to tell classes apart from the parts of an object."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partscope.cli import options
from partscope.cli.classifying import Cache, Work, facts, given_or_fitted, summary
from partscope.cli.exits import list_failures
from partscope.cli.output import Output, check_distinct, check_writable
from partscope.cli.sharing import extract_share
from partscope.cli.tables import show_notes, skipped_rows
from partscope.errors import OptionError, PartscopeWarning
from partscope.places import shown

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
    engine: options.Engine = "local",
    address: options.Address = None,
    workers: options.Workers = None,
    threads: options.Threads = None,
    shard: options.Shard = None,
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
    from partscope.engine import Shard, use_engine
    from partscope.report.environment import environment_facts

    options.check_on_error(on_error)
    estimated = part_source(source).needs == "detector"
    given = {"--detector": detector, "--method": method, "--fit-limit": fit_limit}
    for name, value in given.items():
        if value is not None and not estimated:
            raise OptionError(f"the part source {source!r} uses no detector; leave {name} out.")
        if value is not None and detector is not None and name != "--detector":
            raise OptionError(f"--detector names a fitted detector; leave {name} out.")
    share = None if shard is None else Shard.parse(shard)
    if share is not None and estimated and detector is None:
        raise OptionError(
            "--shard distributes finding parts and their features, not the fit of a detector; fit one first with 'partscope "
            "fit', and give it to all jobs with --detector FILE."
        )
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
        weights=options.place_of(weights),
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
    with (
        work.in_use(),
        warnings.catch_warnings(),
        use_engine(engine, address=address, workers=workers, threads=threads),
    ):
        # They are listed one by one below.
        warnings.filterwarnings("ignore", ".* training images were left out", PartscopeWarning)
        work.make()
        file: Path | None = None
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
            if share is None:
                features.set_params(predictions=work.find_parts(searcher, file, drawn, on_error))
        if share is not None:
            extract_share(work, features, file, drawn, share, flips=not no_flips, on_error=on_error)
            output.line(
                f"{work.cache}: the features of shard {share} are finished; when those of all {share.count} are, run the same "
                f"command without --shard to write {out}."
            )
            return
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


def _show_fit(output: Output, model: PartClassifier, drawn: PartDataset, out: Path) -> None:
    features = model.features_
    output.line(f"{shown(out)}: {summary(model)}; {features.embedder_.label}")
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
