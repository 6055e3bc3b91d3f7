"""A task's picture: from the folder of Label Studio's local storage, from the address itself, or from Label Studio's host."""

from __future__ import annotations

import base64
import binascii
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn
from urllib.error import URLError
from urllib.parse import parse_qs, unquote_to_bytes, urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from PIL import Image

from partscope.errors import ImageError
from partscope.images import load_image

#: Seconds until Label Studio must have answered.
TIMEOUT = 20


@dataclass(frozen=True)
class Pictures:
    """Where pictures may come from.

    Parameters
    ----------
    root: the document root of Label Studio's local storage (`LOCAL_FILES_DOCUMENT_ROOT`), or None.
    host: address of Label Studio, such as `http://localhost:8080`, or None; no other host is asked.
    token: the access token sent to it, or None.
    limit: bytes that a picture's file may have.
    """

    root: Path | None = None
    host: str | None = None
    token: str | None = None
    limit: int = 50_000_000

    def read(self, address: object) -> Image.Image:
        """Return the upright picture of a task's address.

        Raises
        ------
        ImageError: the address is of no such place, the file is missing, too large or no picture.
        """
        if not isinstance(address, str) or not address:
            raise ImageError("the task has no image's address as text; check the labelling configuration.")
        short = address if len(address) <= 120 else address[:117] + "…"
        if address.startswith("data:"):
            return self._decoded(self._embedded(address, short), short)
        parts = urlsplit(address)
        if parts.path.endswith("/data/local-files/") and (not parts.netloc or self._own(address)):
            return load_image(self._local(parts.query, short))
        if not parts.scheme and not parts.netloc and self.host is not None and address.startswith("/"):
            address = self.host.rstrip("/") + address
        if not self._own(address):
            raise ImageError(
                f"{short}: only local files, data: addresses and the Label Studio host are read; name the host with --host."
            )
        return self._decoded(self._fetched(address, short), short)

    def _local(self, query: str, short: str) -> Path:
        if self.root is None:
            raise ImageError(f"{short}: no document root was given for local files; name it with --root.")
        wanted = parse_qs(query).get("d", [""])[0]
        root = self.root.resolve()
        try:
            path = (root / wanted).resolve()
        except (OSError, ValueError, RuntimeError):
            path = root
        if "\0" in wanted or not path.is_relative_to(root) or not path.is_file():
            # One answer for both: what lies outside is not even confirmed to exist.
            raise ImageError(f"{short}: there is no such file below the document root; check --root.")
        if path.stat().st_size > self.limit:
            raise ImageError(f"{short}: the file has more than {self.limit} bytes; make it smaller.")
        return path

    def _embedded(self, address: str, short: str) -> bytes:
        head, comma, body = address.partition(",")
        if not comma or len(body) > 2 * self.limit:
            raise ImageError(f"{short}: the data: address has no data or is too large.")
        try:
            raw = unquote_to_bytes(body)
            return base64.b64decode(raw, validate=True) if head.endswith(";base64") else raw
        except binascii.Error as error:
            raise ImageError(f"{short}: the data: address is not base64 ({error}).") from error

    def _own(self, address: str) -> bool:
        if self.host is None:
            return False
        try:
            return _origin(address) == _origin(self.host)
        except ValueError:
            return False

    def _fetched(self, address: str, short: str) -> bytes:
        headers = {} if self.token is None else {"Authorization": f"Token {self.token}"}
        try:
            with build_opener(_Stay).open(Request(address, headers=headers), timeout=TIMEOUT) as answer:
                content = answer.read(self.limit + 1)
        except (URLError, OSError, ValueError) as error:
            raise ImageError(f"{short}: Label Studio did not give the picture ({error}).") from error
        if len(content) > self.limit:
            raise ImageError(f"{short}: the file has more than {self.limit} bytes; make it smaller.")
        return bytes(content)

    def _decoded(self, content: bytes, short: str) -> Image.Image:
        try:
            with Image.open(io.BytesIO(content)) as image:
                return load_image(image)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            if isinstance(error, ImageError):
                raise
            raise ImageError(f"{short}: this is no picture that can be read ({error}).") from error


class _Stay(HTTPRedirectHandler):
    """Refuses redirects: the token goes to Label Studio alone, and it leads nowhere else on the network."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> NoReturn:
        raise URLError(f"it redirects to {newurl}, which is not followed")


def _origin(address: str) -> tuple[str, str, int]:
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise ValueError(address)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]
