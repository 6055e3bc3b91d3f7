"""Starting the server: where it listens, and what it prints."""

from __future__ import annotations

import ipaddress
import secrets
import socket
from collections.abc import Callable

import uvicorn

from partscope.errors import OptionError, PartscopeError
from partscope.web.app import LOCAL, create_app
from partscope.web.session import Session

#: What is listened on where the user names nothing.
HOST, PORT = "127.0.0.1", 8765


def serve(
    session: Session,
    *,
    host: str | None = None,
    port: int = PORT,
    token: str | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Serve the page until it is interrupted.

    Parameters
    ----------
    host: address to listen on; 127.0.0.1, which only this machine reaches, by default. Anything else asks for a token.
    port: 0 takes any free one.
    token: what the browser has to show once; drawn where a host is given and no token.
    say: takes lines for the user: the address first.

    Raises
    ------
    OptionError: no such address, or a token that is too short.
    PartscopeError: the port is taken, or must not be used.
    """
    if token is not None and len(token) < 8:
        raise OptionError("a token must have 8 letters or more; leave --token out to have one drawn.")
    if host is not None and token is None:
        token = secrets.token_urlsafe(16)
    listener = listen(HOST if host is None else host, port)
    actual = listener.getsockname()[1]
    app = create_app(session, hosts=hosts_of(host), token=token, addresses=host is not None)
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=3
    )
    say(f"partscope is at {address(host, actual, token)}")
    if host is not None:
        say(
            "others on your network can reach it; whoever has this address, token included, can see and mark the pictures."
        )
    say("stop it with Ctrl-C; everything is saved as you go.")
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        say("stopped; everything is saved.")  # this is how it is meant to end
    finally:
        listener.close()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens; errors as :func:`serve`."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except (OSError, UnicodeError) as error:
        raise OptionError(
            f"there is no address {host!r} on this machine; leave --host out to listen on {HOST}."
        ) from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise PartscopeError(
            f"port {port} on {host} cannot be used ({(error.strerror or str(error)).lower()}); choose another with --port, or 0 "
            "for any free one."
        ) from error
    return listener


def hosts_of(host: str | None) -> tuple[str, ...]:
    """Return the names that the server answers to."""
    if host is None:
        return LOCAL
    return (*LOCAL, host, socket.gethostname())


def address(host: str | None, port: int, token: str | None) -> str:
    """Return the address to open in a browser."""
    name = HOST if host is None else host
    try:
        unspecified = ipaddress.ip_address(name).is_unspecified
    except ValueError:
        unspecified = False
    if unspecified:
        name = socket.gethostname()
    if ":" in name:
        name = f"[{name}]"
    return f"http://{name}:{port}/" + ("" if token is None else f"?token={token}")
