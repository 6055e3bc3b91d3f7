"""`partscope channels`: the images that excite a channel most."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from partscope.cli import options
from partscope.cli.exits import INCOMPLETE, OK, list_failures
from partscope.cli.image_sources import NamedImage, find_images
from partscope.cli.output import Output
from partscope.cli.peaks import Peak, channel_peaks, strongest
from partscope.cli.tables import skipped_rows
from partscope.errors import DatasetError, ImageError, OptionError, PartscopeError, PartscopeWarning

if TYPE_CHECKING:
    from partscope.backbones import Backbone
    from partscope.dataset import Skipped


def channels(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="DATA|IMAGES...",
            help="A data set's folder, or images, folders and quoted patterns.",
            show_default=False,
        ),
    ],
    channel: Annotated[
        list[str],
        typer.Option(
            "--channel",
            metavar="K",
            help="Channel number, or several with commas; may be repeated.",
            show_default=False,
        ),
    ],
    top: Annotated[int, typer.Option("--top", metavar="N", min=1, help="Images per channel.")] = 9,
    by: Annotated[
        str, typer.Option("--by", metavar="peak|mean", help="Rank by the largest or the mean activation.")
    ] = "peak",
    backbone: options.Backbone = None,
    layer: options.Layer = None,
    input_size: options.InputSize = None,
    weights: options.Weights = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Read DATA in this format; by default a folder in CUB's layout is recognised.",
            show_default=False,
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            metavar="NAME",
            help="Split of the data set; every image by default.",
            show_default=False,
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            "--limit", metavar="N", help="Draw N images of the data set at random.", show_default=False
        ),
    ] = None,
    seed: options.Seed = 0,
    overlay: Annotated[
        Path | None,
        typer.Option(
            "--overlay",
            metavar="DIR",
            help="Write the images shown, with the peak marked, as DIR/channel-K/RANK.png.",
            show_default=False,
        ),
    ] = None,
    json_out: options.JsonOut = None,
) -> int:
    """Show what excites a channel most: the images with its strongest activations, and where.

    Bad images are listed at the end, and the exit code is 1 then.
    """
    from partscope.backbones import DEFAULT_BACKBONE, get_backbone
    from partscope.report.environment import environment_facts

    wanted = channel_numbers(channel)
    if by not in ("peak", "mean"):
        raise OptionError(f"--by must be peak or mean, not {by!r}.")
    output = Output(json_out)
    if overlay is not None and overlay.exists() and not overlay.is_dir():
        raise OptionError(f"{overlay}: this is a file; give --overlay a folder.")
    images, skipped = _images(sources, format, split, limit, seed, overlay)
    network = get_backbone(backbone or DEFAULT_BACKBONE, layer=layer, input_size=input_size, weights=weights)
    for number in wanted:
        if not 0 <= number < network.channels:
            raise OptionError(
                f"{network.name}: the layer {network.layer!r} has no channel {number}; it has {network.channels}, numbered "
                "from 0."
            )
    peaks, read, failures = _peaks(network, images, wanted)
    entries = [_entry(number, [row[k] for row in peaks], read, by, top) for k, number in enumerate(wanted)]
    if overlay is not None:
        _write_gallery(overlay, entries, {image.name: image.path for image in read})
    failed = (*skipped, *failures)
    output.document(
        {
            "backbone": network.name,
            "layer": network.layer,
            "input_size": network.input_size,
            "by": by,
            "images": len(read),
            "channels": entries,
            "failures": skipped_rows(failed),
            "versions": environment_facts(),
        }
    )
    for entry in entries:
        _show(output, entry, f"{network.name} {network.layer} at {network.input_size} px, {len(read)} images")
    list_failures(failed, len(images) + len(skipped), "images")
    return INCOMPLETE if failed else OK


def channel_numbers(texts: Sequence[str]) -> list[int]:
    """Return the channel numbers of `--channel`, each once, in the order given; an OptionError names what is none."""
    numbers: list[int] = []
    for text in ",".join(texts).split(","):
        if not re.fullmatch(r"\s*\d{1,9}\s*", text, re.ASCII):
            raise OptionError(
                f"--channel must be a number such as 417, or several such as 3,17, not {text!r}."
            )
        numbers.append(int(text))
    return list(dict.fromkeys(numbers))


def _images(
    sources: Sequence[str],
    format: str | None,
    split: str | None,
    limit: int | None,
    seed: int,
    overlay: Path | None,
) -> tuple[list[NamedImage], tuple[Skipped, ...]]:
    from partscope.formats import load_dataset
    from partscope.formats.cub import FOLDER_NAME

    if format is None and len(sources) == 1:
        folder = Path(sources[0])
        if any((place / "images.txt").is_file() for place in (folder, folder / FOLDER_NAME)):
            format = "cub"
    if format is None:
        for value, flag in ((split, "--split"), (limit, "--limit")):
            if value is not None:
                raise OptionError(f"{flag} belongs to a data set, and {sources[0]} is none; leave it out.")
        return find_images(sources, leave_out=overlay), ()
    if len(sources) > 1:
        raise OptionError("--format reads one data set; give its folder alone.")
    dataset = load_dataset(format, sources[0], on_error="skip")
    chosen = dataset.split(split or "all").limit(limit, seed)
    for note in chosen.notes:
        if note not in dataset.notes:  # those have been said as warnings
            warnings.warn(f"{sources[0]}: {note}", PartscopeWarning, stacklevel=2)
    return [NamedImage(sample.id, sample.image) for sample in chosen], chosen.skipped


def _peaks(
    network: Backbone, images: Sequence[NamedImage], wanted: Sequence[int]
) -> tuple[list[list[Peak]], list[NamedImage], list[Skipped]]:
    """Return the peaks of each image that can be read, those images, and the others."""
    from partscope.dataset import Skipped
    from partscope.images import load_image
    from partscope.progress import track

    peaks, read, failures = [], [], []
    for image in track(images, "activations"):
        try:
            peaks.append(channel_peaks(network, load_image(image.path), wanted))
        except (ImageError, DatasetError) as error:
            failures.append(Skipped(image.name, str(error)))
            continue
        read.append(image)
    return peaks, read, failures


def _entry(
    number: int, peaks: Sequence[Peak], images: Sequence[NamedImage], by: str, top: int
) -> dict[str, Any]:
    order = strongest([getattr(peak, by) for peak in peaks], top).tolist()
    return {
        "channel": number,
        "silent_in": sum(peak.place is None for peak in peaks),
        "top": [
            {
                "rank": rank,
                "image": images[i].name,
                "peak": peaks[i].peak,
                "mean": peaks[i].mean,
                "x": None if (place := peaks[i].place) is None else place[0],
                "y": None if place is None else place[1],
            }
            for rank, i in enumerate(order, start=1)
        ],
    }


def _show(output: Output, entry: dict[str, Any], what: str) -> None:
    output.table(
        ["Rank", "Peak", "Mean", "x", "y", "Image"],
        [
            [
                str(one["rank"]),
                f"{one['peak']:.4g}",
                f"{one['mean']:.4g}",
                "–" if one["x"] is None else f"{one['x']:.0f}",
                "–" if one["y"] is None else f"{one['y']:.0f}",
                one["image"],
            ]
            for one in entry["top"]
        ],
        f"Channel {entry['channel']} ({what}; silent in {entry['silent_in']})",
    )


def _write_gallery(folder: Path, entries: Sequence[dict[str, Any]], paths: dict[str, Path]) -> None:
    from partscope.atomic import atomic_path
    from partscope.figures.overlay import draw_parts

    for entry in entries:
        place = folder / f"channel-{entry['channel']}"
        try:
            place.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PartscopeError(
                f"{place}: the folder cannot be made ({error.strerror}); choose another --overlay."
            ) from error
        for one in entry["top"]:
            found = one["x"] is not None
            point = (one["x"], one["y"]) if found else (0.0, 0.0)
            picture = draw_parts(paths[one["image"]], [f"channel {entry['channel']}"], [point], [found])
            with atomic_path(place / f"{one['rank']:03d}.png") as temporary:
                picture.save(temporary, format="PNG")
