"""Addresses of *Find parts* and of the files that leave the page."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Response

from partscope.web.answers import FindIn
from partscope.web.exporting import export, exports
from partscope.web.session import Session


def routes(session: Session) -> APIRouter:
    """Return the addresses, for one session."""
    router = APIRouter(prefix="/api")

    @router.post("/find")
    def find(body: FindIn) -> dict[str, Any]:
        session.find(anew=body.anew)
        return asdict(session.jobs.progress)

    @router.post("/find/cancel")
    def cancel() -> dict[str, Any]:
        session.jobs.cancel()
        return asdict(session.jobs.progress)

    @router.get("/exports")
    def offered() -> dict[str, Any]:
        return {"exports": [asdict(one) for one in exports(session)]}

    @router.get("/exports/{name}")
    def download(name: str) -> Response:
        one = export(session, name)
        return Response(
            one.data,
            media_type="application/octet-stream",
            headers={
                "content-disposition": f"attachment; filename*=UTF-8''{quote(one.file, errors='replace')}",
                "x-partscope-lost": json.dumps(one.lost),  # in ASCII
            },
        )

    return router
