"""The application: the page's files, its addresses, and the guard in front of them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.middleware.gzip import GZipMiddleware
from starlette.staticfiles import StaticFiles

from partscope.version import __version__
from partscope.web import routes_finding, routes_marking, routes_why
from partscope.web.answers import add_answers
from partscope.web.security import Guard
from partscope.web.session import Session
from partscope.web.uploads import MOST_BYTES

STATIC = Path(__file__).parent / "static"
#: Names that a server on this machine alone answers to.
LOCAL = ("127.0.0.1", "localhost", "::1")


def create_app(
    session: Session,
    *,
    hosts: Iterable[str] = LOCAL,
    token: str | None = None,
    addresses: bool = False,
) -> FastAPI:
    """Return the application for a session.

    Parameters
    ----------
    hosts, token, addresses: see :class:`~partscope.web.security.Guard`.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        session.close()

    app = FastAPI(
        title="partscope",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    for room in (routes_marking, routes_finding, routes_why):
        app.include_router(room.routes(session))
    add_answers(app, session.without_path)

    @app.get("/")
    def page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(GZipMiddleware, minimum_size=2000)
    app.add_middleware(
        Guard, hosts=tuple(hosts), token=token, addresses=addresses, most_upload=MOST_BYTES + (1 << 20)
    )
    return app
