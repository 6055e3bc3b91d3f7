"""Errors that the page answers with a status of their own; every other PartscopeError is a request that makes no sense."""

from __future__ import annotations

from typing import Any

from partscope.errors import PartscopeError


class UnknownPictureError(PartscopeError):
    """There is no such picture in the folder (404)."""


class ConflictError(PartscopeError):
    """Somebody else has changed it meanwhile (409).

    Parameters
    ----------
    message: the sentence.
    current: what stands there now, for the page to take up.
    """

    def __init__(self, message: str, current: dict[str, Any]) -> None:
        super().__init__(message)
        self.current = current


class TooLargeError(PartscopeError):
    """An upload is larger than allowed (413)."""


class BusyError(PartscopeError):
    """A job is running already (409)."""
