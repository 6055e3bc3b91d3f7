"""`partscope fit`: learn a detector from marked images and save it."""

from __future__ import annotations

import inspect
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partscope.cli import options, sharing
from partscope.cli.exits import go_on, list_failures, resumable
from partscope.cli.fitted import fitted_document, show_fitted
from partscope.cli.output import Output, check_distinct, check_writable
from partscope.cli.tables import show_notes
from partscope.errors import OptionError, PartscopeWarning
from partscope.places import files_in, remove, remove_empty_folder

if TYPE_CHECKING:
    from partscope.detectors import PartDetector

_PANEL = "Options of --method channel"
_LINEAR = "Options of --method linear"

#: Folders of what the channel detector's fit keeps as it goes.
_SCANS = (
    "shortlist",
    *(f"screening-{region}" for region in ("image", "mask", "crop")),
    "centres",
    "evidence",
)


def fit(
    data: options.Data,
    out: options.ModelOut,
    format: options.Format = "auto",
    images: options.Images = None,
    split: options.FitSplit = "train",
    limit: options.Limit = None,
    seed: options.Seed = 0,
    method: Annotated[
        str | None,
        typer.Option(
            "--method",
            metavar="linear|channel|prior|transfer",
            help="How parts are found; linear by default, and channel (the paper's) with an option that only it has.",
            show_default=False,
        ),
    ] = None,
    backbone: options.Backbone = None,
    layer: options.Layer = None,
    input_size: options.InputSize = None,
    weights: options.Weights = None,
    centre: Annotated[
        str | None,
        typer.Option(
            "--centre",
            metavar="mixture|maximum|smoothed|centroid",
            help="From a channel's map to a point; by default mixture for gradients, centroid for activations.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None,
    maps: Annotated[
        str | None,
        typer.Option(
            "--maps",
            metavar="gradient|activation|upsampled",
            help="The paper's gradients (the default), or the layer's activations: one forward pass for all channels.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            "--region",
            metavar="image|mask|crop",
            help="Search the image (the default), the map inside the box, or the cropped box; for prior: image or box.",
            show_default=False,
        ),
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            "--rule",
            metavar="squared|mean|median",
            help="What a part's channel minimises; squared (Eq. 3) by default.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None,
    normalise: Annotated[
        str | None,
        typer.Option(
            "--normalise",
            metavar="box|image|none",
            help="What distances are divided by in selection; box by default.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None,
    reduction: Annotated[
        str | None,
        typer.Option(
            "--reduction",
            metavar="l2|l1|max",
            help="From a gradient's three colours to one number; l2 by default.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None,
    quantile: Annotated[
        float | None,
        typer.Option(
            "--quantile",
            metavar="Q",
            help="Cut of the map for mixture and centroid; by default the network's for gradients, none for activations.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None,
    sigma: Annotated[
        float | None,
        typer.Option(
            "--sigma",
            metavar="PX",
            help="Of the smoothed maximum; 3 by default.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None,
    search: options.Search = None,
    shortlist: options.Shortlist = None,
    delta: options.Delta = None,
    top: options.Top = None,
    scan_folder: Annotated[
        Path | None,
        typer.Option(
            "--scan-folder",
            metavar="DIR",
            help="Keep the channels' centres here; FILE.scan by default, removed when FILE is written.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = None,
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers",
            metavar="NAMES",
            help="Layers whose channels are combined, separated by commas; by default the network's.",
            rich_help_panel=_LINEAR,
            show_default=False,
        ),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(
            "--context",
            metavar="NAMES",
            help="Those of the layers that are also looked at around each cell.",
            rich_help_panel=_LINEAR,
            show_default=False,
        ),
    ] = None,
    scales: Annotated[
        str | None,
        typer.Option(
            "--scales",
            metavar="NUMBERS",
            help="Sizes of the input that features are averaged over, relative to it: 0.75,1. Each costs a pass.",
            rich_help_panel=_LINEAR,
            show_default=False,
        ),
    ] = None,
    shrinkage: Annotated[
        str | None,
        typer.Option(
            "--shrinkage",
            metavar="auto|λ",
            help="Of the covariance; auto (the default) leaves images out to choose it.",
            rich_help_panel=_LINEAR,
            show_default=False,
        ),
    ] = None,
    flips: Annotated[
        str | None,
        typer.Option(
            "--flips",
            metavar="auto|yes|mapped|no",
            help="Learn from mirror images: each passed (yes), or one in eight, which stands for all (mapped); auto (the "
            "default) takes yes for up to 60 images.",
            rich_help_panel=_LINEAR,
            show_default=False,
        ),
    ] = None,
    arrangement: Annotated[
        str | None,
        typer.Option(
            "--arrangement",
            metavar="exemplars|none",
            help="Place all parts together, or each for itself; for linear exemplars by default, for channel none as in the paper.",
            show_default=False,
        ),
    ] = None,
    on_error: options.OnError = "raise",
    json_out: options.JsonOut = None,
    engine: options.Engine = "local",
    address: options.Address = None,
    workers: options.Workers = None,
    threads: options.Threads = None,
    shard: options.Shard = None,
) -> None:
    """Learn to find parts from images with marked parts, and save the detector.

    A run that is stopped is continued by the same command.
    """
    from partscope.engine import ShardDone, use_engine

    options.check_on_error(on_error)
    given: dict[str, Any] = {
        "backbone": backbone,
        "layer": layer,
        "input_size": input_size,
        "weights": options.place_of(weights),
        "centre": centre,
        "maps": maps,
        "region": region,
        "rule": rule,
        "normalise": normalise,
        "reduction": reduction,
        "quantile": quantile,
        "sigma": sigma,
        "search": search,
        "shortlist": shortlist,
        "delta": delta,
        "top": top,
        "scan_folder": scan_folder,
        "layers": _listed(layers),
        "context": _listed(context),
        "scales": None if scales is None else _scales(scales),
        "shrinkage": None if shrinkage is None else _shrinkage(shrinkage),
        "flips": None if flips is None else _flips(flips),
        "arrangement": arrangement,
    }
    detector = unfitted(method, {name: value for name, value in given.items() if value is not None})
    check_writable(out)
    check_distinct({"--weights": weights, "--out": out, "--json": json_out})
    output = Output(json_out)
    folder = None
    if "scan_folder" in detector.get_params(deep=False):
        folder = scan_folder or out.with_name(f"{out.name}.scan")
        detector.set_params(scan_folder=folder)
    whole = options.load(format, data, images, on_error)
    part = options.learning_split(whole, split)
    drawn = part.limit(limit, seed)
    notes = options.limit_notes(limit, len(drawn))  # before a shard takes its share
    share = None if shard is None else sharing.share_of(detector, shard)
    if share is not None and folder is None:
        drawn, out = sharing.linear_share(detector, drawn, share), share.name(out)
    with (
        resumable(lambda: _hint(folder)),
        warnings.catch_warnings(),
        use_engine(engine, address=address, workers=workers, threads=threads, shard=share),
    ):
        # They are listed one by one below.
        warnings.filterwarnings("ignore", ".* training images were left out", PartscopeWarning)
        try:
            detector.fit(drawn, on_error=on_error, progress=True)
        except ShardDone as end:
            output.line(sharing.what_is_missing(end, folder, out))
            return
        if folder is not None:
            detector.set_params(scan_folder=None)  # a place of this run, not a property of the detector
        detector.save(out)
    if folder is not None and scan_folder is None and share is None:  # another shard may be reading it
        remove_scan(folder)
    skipped = (*drawn.skipped, *detector.skipped_)
    list_failures(skipped, len(part) + len(part.skipped), "items")
    show_fitted(output, detector, drawn, out)
    # What the reader noted has been said as a warning.
    show_notes(output, [*(note for note in drawn.notes if note not in whole.notes), *notes])
    output.document(fitted_document(detector, drawn, out, [*drawn.notes, *notes], limit, seed, split))


def unfitted(method: str | None, given: dict[str, Any]) -> PartDetector:
    """Return the detector of `method` with the options given; one that it would not use is an OptionError.

    Parameters
    ----------
    method: a registered method; None for the default, see :func:`partscope.detectors.default_method`.
    given: values by parameter name.
    """
    from partscope.detectors import default_method, detector_class

    method = default_method(given) if method is None else method
    cls = detector_class(method)
    known = list(inspect.signature(cls.__init__).parameters)[1:]
    for name in given:
        if name not in known:
            here = [option for option in known if option in inspect.signature(fit).parameters]
            has = f"its options are {', '.join(map(_flag, here))}" if here else "it has no options"
            raise OptionError(f"the method {method!r} does not use {_flag(name)}; {has}.")
    options.check_search(given.get("search"), given.get("shortlist"), given.get("delta"), given.get("top"))
    detector = cls(**given)
    if "centre" in known:
        # The other fields are given so that a wrong one is refused before the data is read.
        spec = detector._spec(0.5)
        for name in {"quantile", "sigma"} & set(given) - set(spec.options):
            raise OptionError(f"the centre {spec.centre!r} does not use {_flag(name)}; leave it out.")
        for name in sorted({"search", "shortlist", "delta", "top", "reduction"} & set(given)):
            if spec.maps != "gradient":
                raise OptionError(
                    f"activations of all channels come from one pass, so --maps {spec.maps} does not use {_flag(name)}; "
                    "leave it out."
                )
    return detector


def _listed(names: str | None) -> list[str] | None:
    return None if names is None else [name.strip() for name in names.split(",") if name.strip()]


def _scales(value: str) -> list[float]:
    try:
        return [float(number) for number in value.split(",")]
    except ValueError:
        raise OptionError(f"--scales must be numbers separated by commas, not {value!r}.") from None


def _shrinkage(value: str) -> str | float:
    if value == "auto":
        return value
    try:
        return float(value)
    except ValueError:
        raise OptionError(f"--shrinkage must be auto or a positive number, not {value!r}.") from None


def _flips(value: str) -> str | bool:
    known: dict[str, str | bool] = {"auto": "auto", "yes": True, "mapped": "mapped", "no": False}
    if value not in known:
        raise OptionError(f"--flips must be one of {', '.join(known)}, not {value!r}.")
    return known[value]


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _scan_files(folder: Path) -> list[Path]:
    kinds = ("block-*.safetensors", "cells-*.safetensors")
    return [file for part in _SCANS for kind in kinds for file in files_in(folder / part, kind)]


def _hint(folder: Path | None) -> str:
    return go_on(folder, folder is not None and bool(_scan_files(folder)))


def remove_scan(folder: Path) -> None:
    """Remove what the scans wrote, and the folders that are empty then: never anything of the user's."""
    from partscope.scan_store import MANIFEST

    for file in [*_scan_files(folder), *(folder / part / MANIFEST for part in _SCANS)]:
        remove(file)
    for place in (*(folder / part for part in _SCANS), folder):
        remove_empty_folder(place)
