"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Argument(metavar="DATA", help="The data set's folder.", show_default=False)]
Model = Annotated[
    Path, typer.Argument(metavar="FILE", help="A model file written by fit.", show_default=False)
]
Format = Annotated[str, typer.Option("--format", metavar="NAME", help="Annotation format of DATA.")]
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
        help="The network's weights: .safetensors, .npz, or .pt without code.",
        show_default=False,
    ),
]
Search = Annotated[
    str | None,
    typer.Option(
        "--search",
        metavar="shortlist|exhaustive",
        help="Gradients for a shortlist of channels (the default), or for all as in the paper.",
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


def check_search(search: str | None, shortlist: int | None) -> None:
    """Raise an OptionError for a length of the shortlist where the search makes none."""
    from partscope.errors import OptionError

    if search == "exhaustive" and shortlist is not None:
        raise OptionError("the exhaustive search does not use --shortlist; leave one of the two out.")
