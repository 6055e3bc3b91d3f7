"""`python -m label_studio_backend MODEL --folder DIR`: start the server."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import uvicorn

from partscope.errors import PartscopeError

from .model import Model
from .pictures import Pictures
from .server import make_app

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def main() -> None:
    """Read the command line and serve; token and password come from the environment, where other users do not see them."""
    parser = argparse.ArgumentParser(prog="label_studio_backend", description=__doc__)
    parser.add_argument("model", type=Path, help="the .partscope file to begin with")
    parser.add_argument("--folder", type=Path, required=True, help="where versions are kept")
    parser.add_argument("--root", type=Path, help="Label Studio's LOCAL_FILES_DOCUMENT_ROOT")
    parser.add_argument("--host", help="Label Studio's address; its token is LABEL_STUDIO_API_KEY")
    parser.add_argument(
        "--bind", default="127.0.0.1", help="other than loopback needs PARTSCOPE_BACKEND_AUTH"
    )
    parser.add_argument("--name", action="append", default=[], help="a further host name of this server")
    parser.add_argument("--port", type=int, default=9090)
    given = parser.parse_args()
    auth = os.environ.get("PARTSCOPE_BACKEND_AUTH")
    if given.bind not in LOOPBACK and (auth is None or ":" not in auth):
        parser.error(
            f"--bind {given.bind} opens the server to others; set PARTSCOPE_BACKEND_AUTH=user:password."
        )
    pictures = Pictures(given.root, given.host, os.environ.get("LABEL_STUDIO_API_KEY"))
    try:
        model = Model(given.model, given.folder, pictures)
    except PartscopeError as error:
        sys.exit(f"error: {error}")
    app = make_app(model, hosts=("127.0.0.1", "localhost", "[::1]", *given.name), auth=auth)
    uvicorn.run(app, host=given.bind, port=given.port, log_level="warning")


if __name__ == "__main__":
    main()
