"""What requests bring and how errors are answered: the shapes of the JSON that the page sends."""

from __future__ import annotations

import re
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from partscope.errors import OptionError, PartscopeError
from partscope.web.faults import BusyError, ConflictError, TooLargeError, UnknownPictureError

_STATUS = {UnknownPictureError: 404, ConflictError: 409, BusyError: 409, TooLargeError: 413}


#: A number in a header; int() refuses thousands of digits.
_NUMBER = re.compile("[0-9]{1,18}")


class PartIn(BaseModel):
    """A part: its key, None for a new one, and its name."""

    key: str | None = Field(default=None, max_length=20)
    name: str = Field(max_length=200)


class PartsIn(BaseModel):
    """The list of parts, and pairs as positions in it."""

    parts: list[PartIn] = Field(max_length=500)
    pairs: list[tuple[int, int]] = Field(default=[], max_length=500)


class NamesIn(BaseModel):
    """Names of parts, to guess pairs from."""

    names: list[str] = Field(max_length=500)


class MarksIn(BaseModel):
    """Marks of a picture: `[x, y]` in pixels, or None for a part that is not visible, by the parts' keys."""

    marks: dict[str, tuple[float, float] | None] = Field(max_length=500)


class FindIn(BaseModel):
    """How to find."""

    anew: bool = False


def revision_of(request: Request) -> int:
    """Return the revision that the caller has seen, from the header If-Match; an OptionError where there is none."""
    text = request.headers.get("if-match", "").strip().strip('"')
    if _NUMBER.fullmatch(text) is None:
        raise OptionError("the header If-Match must state the revision that was seen.")
    return int(text)


def add_answers(app: FastAPI, plain: Any) -> None:
    """Answer errors as JSON with one sentence under `error`.

    Parameters
    ----------
    plain: takes paths out of a message.
    """

    def known(request: Request, error: Exception) -> JSONResponse:
        status = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), 422)
        content: dict[str, Any] = {"error": plain(str(error))}
        if isinstance(error, ConflictError):
            content["current"] = error.current
        return JSONResponse(content, status_code=status)

    def malformed(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        first = error.errors()[0]
        where = ".".join(str(step) for step in first["loc"])
        return JSONResponse({"error": f"{where}: {first['msg']}."}, status_code=422)

    def nowhere(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return JSONResponse(
            {"error": f"{error.detail}.".lower()}, status_code=error.status_code, headers=error.headers
        )

    app.add_exception_handler(PartscopeError, known)
    app.add_exception_handler(HTTPException, nowhere)
    app.add_exception_handler(RequestValidationError, malformed)
