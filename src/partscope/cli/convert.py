"""`partscope convert`: an annotated data set from one format to another."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from partscope.cli import options
from partscope.cli.exits import INCOMPLETE, OK, list_failures
from partscope.cli.output import Output
from partscope.errors import OptionError, nearest_names


def convert(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="The annotation: a file or folder.", show_default=False)
    ],
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="The file or folder to write.", show_default=False)
    ],
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="Format to write.", show_default=False)],
    format: Annotated[
        str, typer.Option("--from", metavar="FORMAT", help="Format of SOURCE; auto finds it out.")
    ] = "auto",
    images: options.Images = None,
    bring: Annotated[
        str,
        typer.Option(
            "--bring",
            metavar="copy|link|none",
            help="Bring the images to where the new format has them, or leave them where they are.",
        ),
    ] = "none",
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME=VALUE",
            help="An option of either format, such as outside=hidden, parts=A,B, h5=yes; may be repeated.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    on_error: options.OnError = "raise",
    json_out: options.JsonOut = None,
) -> int:
    """Convert an annotated data set to another format, and say what that loses.

    Formats: csv, coco, cub, nabirds, label-studio, label-studio-min, cvat, deeplabcut, 300w, lsp.
    """
    from partscope.formats import READERS, recognise
    from partscope.formats.converting import IMAGES, check_target
    from partscope.formats.converting import convert as run

    options.check_on_error(on_error)
    options.checked_choice("--bring", bring, IMAGES)
    if images is not None and str(images) in IMAGES and not images.exists():
        raise OptionError(
            f"--images names the folder of the images; --bring {images} brings them to the new format."
        )
    check_target(target, to, force)
    output = Output(json_out)
    format, source = recognise(source) if format == "auto" else (format, source)
    if format not in READERS:
        raise OptionError(
            f"there is no annotation format {format!r}; nearest names: {nearest_names(format, READERS)}."
        )
    read, write = _options(option or [], format, to)
    read.update(options.images_option(format, images))
    done = run(
        source,
        target,
        to,
        format=format,
        images=bring,
        force=force,
        on_error=on_error,
        read_options=read,
        write_options=write,
    )
    dataset = done.dataset
    pictures = len({sample.image for sample in dataset})
    output.line(
        f"{target}: {len(dataset)} objects in {pictures} images, {len(dataset.parts)} parts, "
        f"{int(dataset.visible.sum())} of {dataset.visible.size} visible ({format} to {to})"
    )
    for text in done.lost:
        output.line(f"lost: {text}")
    for note in dataset.notes:
        output.line(f"note: {note}")
    if done.images:
        output.line(f"{done.images} images {'copied' if bring == 'copy' else 'linked'}")
    if done.absent:
        output.line(
            f"{done.absent} images are not where {to} looks for them; bring them with --bring copy or link, or name their "
            "folder with --images when reading."
        )
    list_failures(dataset.skipped, len(dataset) + len(dataset.skipped), "items")
    output.document(
        {
            "source": source,
            "target": target,
            "from": format,
            "to": to,
            "objects": len(dataset),
            "images": pictures,
            "parts": dataset.parts,
            "visible": int(dataset.visible.sum()),
            "lost": done.lost,
            "notes": dataset.notes,
            "brought": done.images,
            "absent": done.absent,
            "skipped": [{"id": item.id, "reason": item.reason} for item in dataset.skipped],
        }
    )
    return INCOMPLETE if dataset.skipped else OK


def _options(given: list[str], format: str, to: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the options of the reader and of the writer."""
    from partscope.formats import READERS, WRITERS

    read, write = (
        _parameters(READERS[format], ("path", "on_error")),
        _parameters(WRITERS[to], ("dataset", "path")),
    )
    found: tuple[dict[str, Any], dict[str, Any]] = ({}, {})
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or (name not in read and name not in write):
            known = nearest_names(name, [*read, *write])
            raise OptionError(
                f"--option takes NAME=VALUE, not {text!r}; nearest names for {format} and {to}: {known}."
            )
        for known_options, values in zip((read, write), found, strict=True):
            if name in known_options:
                values[name] = _value(name, value, known_options[name])
    return found


def _parameters(function: Callable[..., Any], own: tuple[str, ...]) -> dict[str, str]:
    return {
        name: str(parameter.annotation)
        for name, parameter in inspect.signature(function).parameters.items()
        if name not in own
    }


def _value(name: str, text: str, annotation: str) -> Any:
    """Return an option's value by its type: yes or no, a whole number, names with commas, pairs A:B with commas, or text."""
    if "bool" in annotation:
        if text not in ("yes", "no"):
            raise OptionError(f"--option {name} must be yes or no, not {text!r}.")
        return text == "yes"
    if "int" in annotation:
        if not text.lstrip("-").isdigit():
            raise OptionError(f"--option {name} must be a whole number, not {text!r}.")
        return int(text)
    if "Sequence" not in annotation:
        return text
    names = options.names_of(text) or []
    return [tuple(entry.split(":", 1)) for entry in names] if "tuple" in annotation else names
