"""Arguments and options that several commands share."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from partscope.dataset import PartDataset

Choice = TypeVar("Choice", bound=str)

Data = Annotated[
    Path, typer.Argument(metavar="DATA", help="The data set's folder or file.", show_default=False)
]
Model = Annotated[
    Path, typer.Argument(metavar="FILE", help="A model file written by fit.", show_default=False)
]
ModelOut = Annotated[
    Path, typer.Option("--out", metavar="FILE", help="The model file to write.", show_default=False)
]
FitSplit = Annotated[
    str, typer.Option("--split", metavar="NAME", help="Split to learn from; all for every image.")
]
EvaluatedSplit = Annotated[
    str, typer.Option("--split", metavar="NAME", help="Split to evaluate; all for every image.")
]
Limit = Annotated[
    int | None,
    typer.Option(
        "--limit", metavar="N", help="Draw N images at random, stratified by class.", show_default=False
    ),
]
Format = Annotated[
    str,
    typer.Option("--format", metavar="NAME", help="Annotation format of DATA; auto finds it out."),
]
Images = Annotated[
    Path | None,
    typer.Option(
        "--images",
        metavar="DIR",
        help="Folder of the images that the annotation names; by default where the format has them, such as beside it.",
        show_default=False,
    ),
]
Seed = Annotated[int, typer.Option("--seed", metavar="N", min=0, help="Seed of the draw of --limit.")]
Backbone = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        metavar="NAME",
        help="Network, see 'partscope backbones'; efficientnet_lite0 by default.",
        show_default=False,
    ),
]
Layer = Annotated[
    str | None,
    typer.Option("--layer", metavar="NAME", help="Layer; the network's default.", show_default=False),
]
InputSize = Annotated[
    int | None,
    typer.Option(
        "--input-size",
        metavar="S",
        help="Side of the network's input in pixels; the network's default.",
        show_default=False,
    ),
]
Weights = Annotated[
    Path | None,
    typer.Option(
        "--weights",
        metavar="FILE",
        help="The network's weights, a file or a URL: .safetensors, .npz, or .pt without code.",
        show_default=False,
    ),
]
Search = Annotated[
    str | None,
    typer.Option(
        "--search",
        metavar="shortlist|exhaustive|bounded|racing",
        help="Gradients for a shortlist of channels (the default), or for all as in the paper; bounded finds what exhaustive "
        "does with a fraction of them, racing too but for a risk.",
        show_default=False,
    ),
]
Shortlist = Annotated[
    int | None,
    typer.Option(
        "--shortlist",
        metavar="N",
        help="Channels per part on the shortlist; 4 by default.",
        show_default=False,
    ),
]
Delta = Annotated[
    float | None,
    typer.Option(
        "--delta",
        metavar="P",
        help="Risk of racing that a part's best channel is lost; 0.05 by default.",
        show_default=False,
    ),
]
Top = Annotated[
    int | None,
    typer.Option(
        "--top",
        metavar="M",
        help="Channels per part whose costs bounded and racing complete; 1 by default.",
        show_default=False,
    ),
]
Folder = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        metavar="DIR",
        help="Keep finished work here; by default a folder named after the run, in the current one.",
        show_default=False,
    ),
]
LinearClassifier = Annotated[
    str, typer.Option("--classifier", metavar="svm|logistic", help="The linear classifier.")
]
Normalize = Annotated[
    str,
    typer.Option(
        "--normalize",
        metavar="l2|none",
        help="Scale the features of the whole and of each patch to length 1, or leave them as they are.",
    ),
]
Engine = Annotated[
    str,
    typer.Option(
        "--engine", metavar="local|ray", help="Compute in this process, or on the machines of a Ray cluster."
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="auto|HOST:PORT",
        help="The Ray cluster; by default Ray is started on this machine.",
        show_default=False,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        help="Processes on the cluster; by default as many as it has room for.",
        show_default=False,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        help="Threads of each process; the same number gives the same bytes on every engine.",
        show_default=False,
    ),
]
Shard = Annotated[
    str | None,
    typer.Option(
        "--shard",
        metavar="I/N",
        help="Do the I-th of N shares of the work, for job arrays.",
        show_default=False,
    ),
]
OnError = Annotated[
    str,
    typer.Option(
        "--on-error",
        metavar="raise|skip",
        help="Stop at the first bad item, or leave bad items out and list them.",
    ),
]
JsonOut = Annotated[
    str | None,
    typer.Option(
        "--json", metavar="OUT", help="Write the results as JSON; - for standard output.", show_default=False
    ),
]


def check_on_error(value: str) -> str:
    """Return `raise` or `skip`; an OptionError names another value before any work is done."""
    from partscope.errors import OptionError

    if value not in ("raise", "skip"):
        raise OptionError(f"--on-error must be raise or skip, not {value!r}.")
    return value


def place_of(file: Path | None) -> str | None:
    """Return how a model file records a file that it needs: a whole path, or a URL."""
    from partscope.places import url_of

    return None if file is None else url_of(file) or str(file.resolve())


def resolved(format: str, data: Path) -> tuple[str, Path]:
    """Return the format's name and the file or folder to read, found out where the format is `auto`."""
    from partscope.formats import recognise

    return recognise(data) if format == "auto" else (format, data)


def load(format: str, data: Path, images: Path | None, on_error: str) -> PartDataset:
    """Read a data set, its images from the folder that `--images` names where it is given.

    Raises
    ------
    OptionError: there is no such folder, or the format keeps its images in its own.
    PartscopeError: as :func:`partscope.formats.load_dataset`.
    """
    from partscope.formats import load_dataset

    format, data = resolved(format, data)
    return load_dataset(format, data, on_error=on_error, **images_option(format, images))


def images_option(format: str, images: Path | None) -> dict[str, Path]:
    """Return `--images` as an option of the format's reader, or none where it is not given; errors as :func:`load`."""
    import inspect

    from partscope.errors import OptionError
    from partscope.formats import READERS

    if images is None or format not in READERS:  # the reader says that there is no such format
        return {}
    if "images" not in inspect.signature(READERS[format]).parameters:
        raise OptionError(
            f"--images: the format {format!r} has its images in its own folder; leave --images out."
        )
    if not images.is_dir():
        raise OptionError(f"--images {images}: there is no such folder; check the path.")
    return {"images": images}


def learning_split(dataset: PartDataset, split: str) -> PartDataset:
    """Return the split to learn from: all images, with a warning, where the format knows no splits and none was asked for."""
    from partscope.errors import PartscopeWarning

    if split != "train" or any(sample.split is not None for sample in dataset):
        return dataset.split(split)
    warnings.warn(
        f"{dataset.name}: the annotation names no splits, so all {len(dataset)} images are learned from; --split all says the "
        "same without this warning.",
        PartscopeWarning,
        stacklevel=2,
    )
    return dataset


def check_search(
    search: str | None, shortlist: int | None, delta: float | None = None, top: int | None = None
) -> None:
    """Raise an OptionError for an option that the search does not use."""
    from partscope.errors import OptionError

    uses = {"exhaustive": (), "bounded": ("--top",), "racing": ("--top", "--delta")}.get(
        search or "shortlist", ("--shortlist",)
    )
    for flag, value in (("--shortlist", shortlist), ("--delta", delta), ("--top", top)):
        if value is not None and flag not in uses:
            raise OptionError(
                f"the {search or 'shortlist'} search does not use {flag}; leave one of the two out."
            )


def limit_notes(limit: int | None, drawn: int) -> list[str]:
    """Return what is to be said of a --limit that a split of `drawn` images does not reach."""
    if limit is None or limit <= drawn:
        return []
    return [f"--limit {limit} is more than the split has: all {drawn} images were used."]


def names_of(text: str | None) -> list[str] | None:
    """Return the names of a list separated by commas, or None."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def checked_choice(flag: str, value: str, known: Iterable[Choice]) -> Choice:
    """Return the one of `known` that `value` is; an OptionError names the option and what it may be."""
    from partscope.errors import OptionError

    names = tuple(known)
    for name in names:
        if name == value:
            return name
    raise OptionError(f"{flag} must be one of {', '.join(names)}, not {value!r}.")
