"""The connection to a Ray cluster: refused in one sentence, within seconds, where it cannot be had."""

from __future__ import annotations

import logging
import os
import socket
import warnings
from typing import Any

from partscope.errors import EngineError, OptionError

#: Seconds until an address counts as unreachable.
_SECONDS = 6.0
#: Ray speaks gRPC, that is HTTP/2 (RFC 9113): to its preface and an empty SETTINGS frame a server answers with its own.
_SETTINGS = 4
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0])


def connect(address: str | None, processors: int = 0) -> bool:
    """Connect this process to Ray; return whether the connection was made here and is to be closed later.

    Parameters
    ----------
    address: as for :class:`partscope.engine.on_ray.RayEngine`.
    processors: that a Ray started here is told to have; 0 for those of the machine.

    Raises
    ------
    EngineError: the cluster cannot be reached, or Ray cannot be started. OptionError: no address.
    """
    import ray

    if ray.is_initialized():
        return False
    # Nothing is reported to Ray's makers, whatever the user's settings for other programs.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is not None:
        _check_reachable(address)
        options["address"] = address
    else:
        # Without it Ray joins the cluster of RAY_ADDRESS, or whichever was started last on this machine.
        options["address"] = "local"
        options["include_dashboard"] = False
        if processors:
            options["num_cpus"] = processors
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            ray.init(**options)
    except Exception as error:
        where = (
            "Ray cannot be started on this machine"
            if address is None
            else f"{address}: this Ray cluster cannot be used"
        )
        reason = next(
            (line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__
        )
        raise EngineError(
            f"{where} ({reason.rstrip('.')}); check it with 'ray status', or leave the address out."
        ) from error
    return True


def room_for(threads: int, gpus: int) -> int:
    """Return how many workers of so many threads and GPUs the living machines of the cluster hold."""
    import ray

    room = 0
    for node in ray.nodes():
        if node["Alive"]:
            has = node["Resources"]
            fits = int(has.get("CPU", 0) // threads)
            room += min(fits, int(has.get("GPU", 0) // gpus)) if gpus else fits
    return room


def _check_reachable(address: str) -> None:
    """Raise an EngineError unless a service of the kind that Ray has answers at the address.

    Ray itself would try for minutes, and its own health check loads all of Ray in another process.
    """
    if address == "auto":
        address = os.environ.get("RAY_ADDRESS", "auto")
    if address == "auto":  # Ray looks among the processes of this machine, which takes no time
        return
    host, port = _host_and_port(address)
    try:
        with socket.create_connection((host, port), timeout=_SECONDS) as link:
            link.sendall(_GREETING)
            answer = link.recv(9, socket.MSG_WAITALL)
    except OSError as error:
        raise _unreachable(address, error.strerror or str(error)) from error
    if len(answer) < 9 or answer[3] != _SETTINGS:
        raise _unreachable(address, "another kind of service answers there")


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdigit() or not 0 < int(port) < 65536 or "/" in host:
        raise OptionError(
            f"the address of a Ray cluster must be auto or host:port of its head, such as 10.0.0.1:6379, not {address!r}."
        )
    return host, int(port)


def _unreachable(address: str, reason: str) -> EngineError:
    return EngineError(
        f"{address}: the Ray cluster cannot be reached ({reason}); check the address, start it with 'ray start', or leave "
        "the address out to use this machine alone."
    )
