"""`partscope serve`: the page in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from partscope.cli import options
from partscope.cli.exits import list_failures
from partscope.cli.models import load_model
from partscope.errors import MissingExtraError, OptionError


def serve(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="The folder of pictures.")] = Path("."),
    model: Annotated[
        Path | None,
        typer.Option(
            "--model",
            metavar="FILE",
            help="A model file of the method linear to begin with.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option("--port", metavar="N", min=0, max=65535, help="Port to listen on; 0 for any free one."),
    ] = 8765,
    host: Annotated[
        str | None,
        typer.Option(
            "--host",
            metavar="ADDRESS",
            help="Address to listen on, for others to reach it, who then need the token; this machine alone by default.",
            show_default=False,
        ),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(
            "--token",
            metavar="TEXT",
            envvar="PARTSCOPE_TOKEN",
            help="What a browser must show; drawn where --host is given.",
            show_default=False,
        ),
    ] = None,
    project: Annotated[
        Path | None,
        typer.Option(
            "--project",
            metavar="DIR",
            help="Folder for marks and what is computed; .partscope in FOLDER by default.",
            show_default=False,
        ),
    ] = None,
    marks: Annotated[
        Path | None,
        typer.Option(
            "--marks",
            metavar="DATA",
            help="An annotated data set whose marks are taken for pictures of FOLDER that have none yet.",
            show_default=False,
        ),
    ] = None,
    format: options.Format = "auto",
    images: options.Images = None,
    weights: options.Weights = None,
) -> None:
    """Mark parts on a few pictures in the browser, find them on the rest, correct, and export.

    The page works without a network. Marks are saved at each change.
    """
    try:
        import fastapi  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(error.name or "fastapi", "web", "the page in the browser") from error
    from partscope.web import Session, import_marks
    from partscope.web import serve as run

    if images is not None and marks is None:
        raise OptionError("--images belongs to --marks, and there is none; leave it out.")
    known = None if marks is None else options.load(format, marks, images, "skip")
    detector = None if model is None else load_model(model, weights)
    session = Session(folder, project, detector)
    try:
        if known is not None:
            print(f"{marks}: {import_marks(session, known).sentence()}", flush=True)
            list_failures(known.skipped, len(known) + len(known.skipped), "annotated pictures")
        run(session, host=host, port=port, token=token, say=lambda text: print(text, flush=True))
    finally:
        session.close()
