"""Who may ask: the right host name, the page itself and nobody else's, a token where the server is open to others.

A server on 127.0.0.1 can be reached by every page that the user has open, so a request has to show that it comes from our
own: its Host header must name this server (a foreign name that resolves to 127.0.0.1 does not), browsers' own headers must
not say that another site sent it, and what changes anything carries a header that other sites cannot send unasked.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
from collections.abc import Iterable
from http.cookies import SimpleCookie
from urllib.parse import parse_qs

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: The header that the page sends with everything that changes something.
OWN_HEADER = "x-partscope"
COOKIE = "partscope_token"
#: A host name or address and a port, and nothing that some reader takes for a user or a path.
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
_LENGTH = re.compile("[0-9]{1,18}")
_SAFE = ("GET", "HEAD", "OPTIONS")
_HEADERS = {
    "content-security-policy": (
        "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}


class Guard:
    """ASGI middleware that lets through what may come in, and adds the security headers to what goes out.

    Parameters
    ----------
    app: the application.
    hosts: names under which the server may be asked; any IP address too where `addresses`.
    token: the token that is asked for, or None.
    addresses: whether a Host header may be any IP address, which no foreign page can make a name resolve to.
    most_bytes: of a request's body.
    """

    def __init__(
        self,
        app: ASGIApp,
        hosts: Iterable[str],
        token: str | None = None,
        *,
        addresses: bool = False,
        most_bytes: int = 1 << 20,
        most_upload: int = 64 << 20,
    ) -> None:
        self._app = app
        self._hosts = {host.lower() for host in hosts}
        self._token = token
        self._addresses = addresses
        self._most_bytes = most_bytes
        self._most_upload = most_upload

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or hand it on."""
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._app(scope, receive, send)
            return  # there are no web sockets here

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("cache-control", "no-store")
            await send(message)

        refusal = self._refusal(scope)
        await (refusal or self._app)(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        path, method = scope["path"], scope["method"]
        host = headers.get("host", "")
        if not self._is_ours(host):
            return _refuse(
                421,
                f"this server does not answer to the name {host[:80]!r}; use the address that it printed.",
            )
        site, origin = headers.get("sec-fetch-site"), headers.get("origin")
        # Following a link to the page is fine; loading anything of it from another site is not.
        opening = method == "GET" and path == "/" and headers.get("sec-fetch-mode", "navigate") == "navigate"
        if site not in (None, "same-origin", "none") and not opening:
            return _refuse(403, "requests from other sites are refused.")
        if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
            return _refuse(403, "requests from other sites are refused.")
        if method not in _SAFE and headers.get(OWN_HEADER) != "1":
            return _refuse(
                403, f"the header {OWN_HEADER}: 1 is missing from a request that changes something."
            )
        if self._token is not None:
            refusal = self._token_refusal(scope, headers)
            if refusal is not None:
                return refusal
        return self._size_refusal(headers, path, method)

    def _is_ours(self, host: str) -> bool:
        match = _HOST.fullmatch(host)
        if match is None:
            return False
        name = match[1].strip("[]")
        if name.lower() in self._hosts:
            return True
        if not self._addresses:
            return False
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _token_refusal(self, scope: Scope, headers: Headers) -> Response | None:
        assert self._token is not None
        cookie = SimpleCookie(headers.get("cookie", ""))
        given = cookie[COOKIE].value if COOKIE in cookie else ""
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if _equal(given, self._token) or _equal(bearer, self._token):
            return None
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and scope["method"] == "GET" and _equal(asked, self._token):
            # Without the token in the address, where a screenshot or the history would keep it.
            answer = RedirectResponse("/", status_code=303)
            answer.set_cookie(COOKIE, self._token, httponly=True, samesite="strict", path="/")
            return answer
        return _refuse(401, "the token is missing or wrong; open the address that 'partscope serve' printed.")

    def _size_refusal(self, headers: Headers, path: str, method: str) -> Response | None:
        if method in _SAFE:
            return None
        limit = self._most_upload if path.startswith("/api/upload") else self._most_bytes
        length = headers.get("content-length")
        if length is None:
            return _refuse(411, "the length of the request is not stated.")
        if _LENGTH.fullmatch(length) is None or int(length) > limit:
            return _refuse(413, f"the request is larger than the {limit >> 20} MB that are taken.")
        return None


def _equal(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "replace"), other.encode())


def _refuse(status: int, text: str) -> JSONResponse:
    return JSONResponse({"error": text}, status_code=status)
