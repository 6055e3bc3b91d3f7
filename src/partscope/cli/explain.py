"""`partscope explain`: the channels that a detector's parts rest on, and what each adds in one image."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partscope.cli import options
from partscope.cli.models import load_model
from partscope.cli.output import Output, check_distinct, check_writable
from partscope.errors import OptionError
from partscope.places import shown

if TYPE_CHECKING:
    from partscope.detectors import PartDetector
    from partscope.explanation import PartChannel

#: Channels per part: in the table, and as columns of the figure.
LISTED, DRAWN = 10, 4
#: Parts that are drawn where none is named.
ROWS = 4


def explain(
    model: options.Model,
    image: Annotated[
        Path | None,
        typer.Argument(metavar="[IMAGE]", help="An image to draw them in.", show_default=False),
    ] = None,
    part: Annotated[
        str | None,
        typer.Option(
            "--part",
            metavar="NAMES",
            help="Parts, separated by commas; by default all are listed, and the first four drawn.",
            show_default=False,
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(
            "--top", metavar="N", min=1, help="Channels per part; 10, or 4 in a figure.", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FIGURE", help="The figure to write: .png, .svg or .pdf.", show_default=False
        ),
    ] = None,
    box: Annotated[
        str | None,
        typer.Option(
            "--box",
            metavar="X,Y,W,H",
            help="The object's box in pixels; a model that searches the box needs it.",
            show_default=False,
        ),
    ] = None,
    weights: options.Weights = None,
    json_out: options.JsonOut = None,
) -> None:
    """List the channels that each part rests on; with an image, draw its evidence and what each channel adds to it.

    For the methods channel and linear.
    """
    from partscope.explanation import strongest_channels

    if (image is None) != (out is None):
        raise OptionError("a figure needs both IMAGE and --out FIGURE; give both, or neither for the list.")
    if image is None and box is not None:
        raise OptionError("--box belongs to an image, and none is given; leave it out.")
    corners = None if box is None else _box(box)
    check_distinct({"FILE": model, "IMAGE": image, "--out": out, "--json": json_out, "--weights": weights})
    if out is not None:
        _check_figure(out)
    output = Output(json_out)
    detector = load_model(model, weights)
    parts = detector.parts_ if part is None else _parts(part, detector)
    count = top or LISTED
    rows = {name: strongest_channels(detector, name, count) for name in parts}
    figure = None
    if image is not None and out is not None:
        figure = _draw(detector, image, corners, parts[:ROWS] if part is None else parts, top or DRAWN, out)
    output.document(
        {
            "model": model,
            **detector._info(),
            "parts": {
                name: [_record(rank, one) for rank, one in enumerate(found, 1)]
                for name, found in rows.items()
            },
            "figure": figure,
        }
    )
    _show(output, rows, str(model))
    if out is not None:
        output.line(f"{shown(out)}: {image}")


def _parts(text: str, detector: PartDetector) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise OptionError(f"--part names no part; the parts are {', '.join(detector.parts_)}.")
    return names


def _box(text: str) -> tuple[float, float, float, float]:
    try:
        x, y, width, height = (float(value) for value in text.split(","))
    except ValueError:
        raise OptionError(f"--box must be four numbers X,Y,W,H in pixels, not {text!r}.") from None
    return x, y, width, height


def _check_figure(out: Path) -> None:
    if out.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise OptionError(f"{out}: a figure ends in .png, .svg or .pdf; name it so.")
    check_writable(out)


def _record(rank: int, one: PartChannel) -> dict[str, Any]:
    worth = (
        {"strength": one.strength}
        if one.strength is not None
        else {"cost": one.cost, "complete": one.complete}
    )
    return {"rank": rank, "layer": one.layer, "channel": one.channel, **worth}


def _draw(
    detector: PartDetector,
    image: Path,
    box: tuple[float, float, float, float] | None,
    parts: tuple[str, ...],
    count: int,
    out: Path,
) -> dict[str, Any]:
    from partscope.explanation import explain as explanation_of
    from partscope.explanation import strongest_channels
    from partscope.figures import figure_evidence, save_figure
    from partscope.images import load_image

    picture = load_image(image)
    shown = [name for name in parts if strongest_channels(detector, name, 1)]
    explained = [explanation_of(detector, picture, name, box, count=count) for name in shown or parts]
    save_figure(figure_evidence(picture, explained), out)
    points = {one.part: {"x": one.point[0], "y": one.point[1], "score": one.score} for one in explained}
    return {"file": out, "image": image, "parts": points}


def _show(output: Output, rows: dict[str, tuple[PartChannel, ...]], title: str) -> None:
    linear = any(one.strength is not None for found in rows.values() for one in found)
    cells = [
        [
            part,
            str(rank),
            one.layer,
            str(one.channel),
            f"{one.strength:+.3f}".replace("-", "−")
            if one.strength is not None
            else f"{'' if one.complete else '≥ '}{one.cost:.4g}",
        ]
        for part, found in rows.items()
        for rank, one in enumerate(found, 1)
    ]
    output.table(["Part", "Rank", "Layer", "Channel", "Strength" if linear else "Cost"], cells, title)
    for part, found in rows.items():
        if not found:
            output.line(f"{part}: no training image shows it")
    if linear:
        output.line(
            "strength: weight times the channel's standard deviation in the background; its sign is that of the weight."
        )
