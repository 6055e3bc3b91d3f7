"""Addresses of *Why here?* and of the channels' pages."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from partscope.errors import OptionError
from partscope.web.session import Session
from partscope.web.why import Reasons, picture_of


def routes(session: Session) -> APIRouter:
    """Return the addresses, for one session."""
    router = APIRouter(prefix="/api")
    reasons = Reasons(session)

    @router.get("/why/{id}/{key}")
    def why(id: str, key: str) -> dict[str, Any]:
        found = reasons.explanation(id, key)
        x, y = found.point.tolist()
        return {
            "part": found.part,
            "score": found.score,
            "frame": found.frame,
            "point": None if x != x else [x, y],
            "channels": [
                {"layer": one.layer, "channel": one.channel, "strength": one.strength}
                for one in found.channels
            ],
        }

    @router.get("/why/{id}/{key}/evidence.png")
    def evidence(id: str, key: str) -> Response:
        return _png(picture_of(reasons.explanation(id, key).evidence))

    @router.get("/why/{id}/{key}/channel-{index}.png")
    def channel_map(id: str, key: str, index: int) -> Response:
        maps = reasons.explanation(id, key).maps
        if not 0 <= index < len(maps):
            raise OptionError(f"there is no channel number {index} in this list.")
        return _png(picture_of(maps[index], signed=True))

    @router.get("/why/{id}/{key}/ways")
    def ways(id: str, key: str) -> dict[str, Any]:
        return {
            "ways": [
                {"name": way.name, "title": way.title, "note": way.note, "point": way.point}
                for way in reasons.ways(id, key)
            ]
        }

    @router.get("/why/{id}/{key}/way-{name}.png")
    def way_map(id: str, key: str, name: str) -> Response:
        for way in reasons.ways(id, key):
            if way.name == name:
                return _png(picture_of(way.field))
        raise OptionError(f"there is no way {name[:40]!r} to find this part.")

    @router.get("/channels/{layer}/{channel}")
    def channel(layer: str, channel: int) -> dict[str, Any]:
        return reasons.channel(layer, channel)

    return router


def _png(data: bytes) -> Response:
    return Response(data, media_type="image/png", headers={"cache-control": "no-store"})
