"""Addresses of the folder, the pictures, parts and marks."""

from __future__ import annotations

import os
import secrets
from dataclasses import asdict
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from partscope.errors import ImageError
from partscope.symmetry import mirrored_parts
from partscope.version import __version__
from partscope.web import uploads
from partscope.web.answers import MarksIn, NamesIn, PartsIn, revision_of
from partscope.web.project import document
from partscope.web.session import Session


def routes(session: Session) -> APIRouter:
    """Return the addresses, for one session."""
    router = APIRouter(prefix="/api")

    @router.get("/project")
    def project() -> dict[str, Any]:
        sequence, _ = session.changes(0)
        return {
            **session.project.parts.document(),
            "folder": session.without_path(session.folder.root.name),
            "version": __version__,
            "history": session.project.history,
            "job": asdict(session.jobs.progress),
            "learned": session.learner.learned_from,
            "sequence": sequence,
        }

    @router.get("/pictures")
    def pictures() -> dict[str, Any]:
        sequence, _ = session.changes(0)
        return {
            "sequence": sequence,
            "pictures": [session.summary(picture.id) for picture in session.folder],
        }

    @router.get("/changes")
    def changes(since: int = 0) -> dict[str, Any]:
        """What has changed since: for every tab to ask now and then."""
        sequence, ids = session.changes(since)
        return {
            "sequence": sequence,
            "pictures": [session.summary(id) for id in ids if id in session.folder],
            "parts": session.project.parts.revision,
            "job": asdict(session.jobs.progress),
            "history": session.project.history,
            "learned": session.learner.learned_from,
        }

    @router.put("/parts")
    def set_parts(body: PartsIn, request: Request) -> dict[str, Any]:
        parts = [(part.key, part.name) for part in body.parts]
        session.set_parts(parts, body.pairs, revision_of(request))
        return session.project.parts.document()

    @router.post("/parts/guess")
    def guess(body: NamesIn) -> dict[str, Any]:
        """Symmetric pairs that the names tell, as positions."""
        mirror = mirrored_parts(body.names)
        return {"pairs": [[i, int(j)] for i, j in enumerate(mirror) if i < j]}

    @router.get("/pictures/{id}")
    def picture(id: str) -> dict[str, Any]:
        entry = session.summary(id)
        found = session.findings.get(id)
        entry.update(document(session.project.marks(id)), found=None if found is None else found.document())
        try:
            entry["size"] = session.size(id)
        except ImageError as error:
            entry.update(state="bad", size=None, reason=session.without_path(str(error)))
        return entry

    @router.put("/pictures/{id}/marks")
    def set_marks(id: str, body: MarksIn, request: Request) -> dict[str, Any]:
        marks = session.set_marks(id, body.marks, revision_of(request))
        return {**document(marks), "state": session.state(id)}

    @router.get("/pictures/{id}/thumbnail")
    def thumbnail(id: str) -> Response:
        return _jpeg(session, id, session.previews.thumbnail)

    @router.get("/pictures/{id}/preview")
    def preview(id: str) -> Response:
        return _jpeg(session, id, session.previews.preview)

    @router.post("/upload")
    async def upload(request: Request, name: str = "") -> dict[str, Any]:
        """Take one picture, the request's body, into the folder."""
        home = session.folder.root
        temporary = home / f".upload-{secrets.token_hex(8)}"
        size = 0
        try:
            handle = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except OSError as error:
            raise ImageError(f"pictures cannot be put into the folder ({error.strerror}).") from error
        try:
            with os.fdopen(handle, "wb") as file:
                async for piece in request.stream():
                    size += len(piece)
                    uploads.check_size(size)
                    file.write(piece)
            kept = await run_in_threadpool(uploads.keep, temporary, name, home)
        finally:
            temporary.unlink(missing_ok=True)
        new = await run_in_threadpool(session.folder.refresh)
        for id in new:
            session.changed(id)
        return {"name": kept, "new": [session.summary(id) for id in new]}

    return router


def _jpeg(session: Session, id: str, make: Any) -> Response:
    try:
        data = make(id)
    except ImageError as error:
        session.changed(id, session.without_path(str(error)))
        raise
    return Response(data, media_type="image/jpeg", headers={"cache-control": "private, max-age=3600"})
