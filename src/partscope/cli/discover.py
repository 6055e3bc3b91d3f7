"""`partscope discover`: parts from boxes alone, or from images alone, and names for them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partscope.cli import options
from partscope.cli.exits import list_failures
from partscope.cli.output import Output, check_distinct, check_writable
from partscope.cli.tables import show_notes, skipped_rows
from partscope.errors import OptionError, PartscopeWarning
from partscope.places import shown

if TYPE_CHECKING:
    from partscope.dataset import PartDataset
    from partscope.discovery import PartDiscovery


def discover(
    data: options.Data,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The model file to write.", show_default=False)
    ],
    parts: Annotated[int, typer.Option("--parts", metavar="K", help="Number of parts to discover.")] = 8,
    supervision: Annotated[
        str,
        typer.Option(
            "--supervision", metavar="box|none", help="Learn from bounding boxes, or from images alone."
        ),
    ] = "box",
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="combinations|channels",
            help="A part is a combination of channels, or one channel.",
        ),
    ] = "combinations",
    name_from: Annotated[
        int | None,
        typer.Option(
            "--name-from",
            metavar="N",
            help="Name the parts from N images of the split with marked parts, drawn as by --limit.",
            show_default=False,
        ),
    ] = None,
    format: options.Format = "auto",
    images: options.Images = None,
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="Split to learn from; all for every image.")
    ] = "train",
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="N", help="Draw N images at random, stratified by class.", show_default=False
        ),
    ] = None,
    seed: options.Seed = 0,
    backbone: options.Backbone = None,
    layers: Annotated[
        str | None,
        typer.Option(
            "--layers",
            metavar="A,B",
            help="Layers to combine; by default the network's, as for the method linear.",
            show_default=False,
        ),
    ] = None,
    input_size: options.InputSize = None,
    weights: options.Weights = None,
    region: Annotated[
        str,
        typer.Option(
            "--region", metavar="image|mask", help="Where parts are looked for later: the image, or the box."
        ),
    ] = "image",
    on_error: options.OnError = "raise",
    json_out: options.JsonOut = None,
) -> None:
    """Discover parts in images without marked parts, and save them as a detector."""
    from partscope.discovery import PartDiscovery

    options.check_on_error(on_error)
    if name_from is not None and name_from < 1:
        raise OptionError(f"--name-from must be a positive number of images, not {name_from}.")
    check_writable(out)
    check_distinct({"--weights": weights, "--out": out, "--json": json_out})
    given = {
        "backbone": backbone,
        "layers": None if layers is None else [name.strip() for name in layers.split(",")],
        "input_size": input_size,
        "weights": options.place_of(weights),
    }
    detector = PartDiscovery(
        parts=parts,
        supervision=supervision,
        by=by,
        region=region,
        random_state=seed,
        **{name: value for name, value in given.items() if value is not None},  # type: ignore[arg-type]
    )
    output = Output(json_out)
    whole = options.load(format, data, images, on_error)
    part = options.learning_split(whole, split)
    drawn = part.limit(limit, seed)
    marked = None if name_from is None else part.limit(name_from, seed)
    with warnings.catch_warnings():
        # They are listed one by one below.
        warnings.filterwarnings("ignore", ".* training images were left out", PartscopeWarning)
        detector.fit(drawn, on_error=on_error, progress=True)
        if marked is not None:
            detector = detector.name_parts(marked, on_error=on_error, progress=True)
    detector.save(out)
    skipped = tuple(dict.fromkeys((*drawn.skipped, *detector.skipped_)))
    list_failures(skipped, len(part) + len(part.skipped), "items")
    notes = [note for note in drawn.notes if note not in whole.notes]
    for option, wanted, used in (("--limit", limit, drawn), ("--name-from", name_from, marked)):
        if wanted is not None and used is not None and wanted > len(used):
            notes.append(f"{option} {wanted} is more than the split has: all {len(used)} images were used.")
    rows = _rows(detector)
    _show(output, detector, rows, marked, drawn, out)
    show_notes(output, notes)
    output.document(_document(detector, rows, marked, drawn, out, notes, skipped_rows(skipped)))


def _rows(detector: PartDiscovery) -> list[dict[str, Any]]:
    """Return of each discovered part `part, rate, spread`, and with channels `layer, channel`."""
    rows: list[dict[str, Any]] = []
    for k, (rate, spread) in enumerate(zip(detector.rate_.tolist(), detector.spread_.tolist(), strict=True)):
        row = {"part": f"part {k + 1}", "rate": rate, "spread": spread}
        if detector.part_channels_ is not None:
            row["layer"], row["channel"] = detector.part_channels_[k]
        rows.append(row)
    return rows


def _show(
    output: Output,
    detector: PartDiscovery,
    rows: list[dict[str, Any]],
    marked: PartDataset | None,
    drawn: PartDataset,
    out: Path,
) -> None:
    from partscope.report.tables import number, percent

    info = detector._info()
    learned = "boxes" if detector.supervision == "box" else "images alone"
    output.line(
        f"{shown(out)}: {len(rows)} parts by {detector.by} of {info['backbone']} {info['layer']} at {info['input_size']} px, from "
        f"the {learned} of {len(detector.discovered_ids_)} images of {drawn.name}"
    )
    output.line()
    headers = ["Part", "Images", "Spread", *(["Layer", "Channel"] if "channel" in rows[0] else [])]
    cells = [
        [row["part"], percent(row["rate"]), number(row["spread"]), *map(str, list(row.values())[3:])]
        for row in rows
    ]
    output.table(headers, cells)
    output.line(
        "Images: share in which some of the object is this part's; spread: distance from its mean place, in half extents of "
        "the object."
    )
    if marked is not None:
        output.line(f"named from {len(marked)} marked images: {', '.join(detector.parts_)}")


def _document(
    detector: PartDiscovery,
    rows: list[dict[str, Any]],
    marked: PartDataset | None,
    drawn: PartDataset,
    out: Path,
    notes: list[str],
    skipped: list[dict[str, Any]],
) -> dict[str, Any]:
    from partscope.report.environment import environment_facts

    return {
        "model": out,
        **detector._info(),
        "parts": detector.parts_,
        "discovered": rows,
        "images": len(detector.discovered_ids_),
        "data": {"name": drawn.name},
        "discovered_ids": detector.discovered_ids_,
        "named_from": None if marked is None else marked.ids,
        "skipped": skipped,
        "settings": detector.get_params(deep=False),
        "notes": notes,
        "versions": environment_facts(),
    }
