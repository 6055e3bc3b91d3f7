"""Engines by name, and the one that is in use."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol

from partscope.engine.blocks import Advance, Block, Item, MakeWorker, Result, unheard
from partscope.engine.local import LocalEngine
from partscope.engine.on_ray import RayEngine
from partscope.engine.shard import Shard
from partscope.errors import OptionError, nearest_names


class Engine(Protocol):
    """Goes through blocks of work; a context manager, that holds its workers and its number of threads."""

    name: str

    def __enter__(self) -> Engine:
        """Take the engine into use."""

    def __exit__(self, *error: object) -> None:
        """Let go of what the engine holds."""

    def map_blocks(
        self,
        make_worker: MakeWorker[Item, Result],
        blocks: Sequence[Block[Item]],
        advance: Advance = unheard,
    ) -> Iterator[tuple[int, Result]]:
        """Yield `(index, result)` of each block as it is finished, in any order.

        Parameters
        ----------
        make_worker: called once per worker; a PartscopeError in it stops the run.
        blocks: the work.
        advance: told how many items have been finished.

        Raises
        ------
        EngineError: blocks failed; the others have been yielded before. A PartscopeError of a worker is raised at once.
        """


ENGINES: dict[str, type[LocalEngine] | type[RayEngine]] = {"local": LocalEngine, "ray": RayEngine}

_engine: ContextVar[Engine | None] = ContextVar("partscope engine", default=None)
_shard: ContextVar[Shard | None] = ContextVar("partscope shard", default=None)


def make_engine(
    name: str = "local",
    *,
    address: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
) -> LocalEngine | RayEngine:
    """Return an engine by name, not yet in use.

    Parameters
    ----------
    name: `"local"` or `"ray"`.
    address: of a Ray cluster, `"auto"` or `host:port`; by default Ray is started on this machine.
    workers: how many processes load the network; by default as many as the cluster has processors for.
    threads: of each worker, and of this process; see :mod:`partscope.engine.threads`.

    Raises
    ------
    OptionError: there is no such engine, or it does not use an option. MissingExtraError: Ray is not installed.
    """
    if name not in ENGINES:
        raise OptionError(f"there is no engine {name!r}; choose one of {nearest_names(name, ENGINES)}.")
    return ENGINES[name](address=address, workers=workers, threads=threads)


def current_engine() -> Engine:
    """Return the engine of the surrounding :func:`use_engine`, a local one outside of any."""
    return _engine.get() or LocalEngine()


def current_shard() -> Shard | None:
    """Return the shard of the surrounding :func:`use_engine`, or None."""
    return _shard.get()


@contextmanager
def use_engine(
    name: str = "local",
    *,
    address: str | None = None,
    workers: int | None = None,
    threads: int | None = None,
    shard: Shard | str | None = None,
) -> Iterator[Engine]:
    """Let everything inside the block that goes through images do so on an engine.

    >>> with partscope.use_engine("ray", address="auto"):  # doctest: +SKIP
    ...     detector.fit(birds.train)

    Parameters
    ----------
    name, address, workers, threads: as for :func:`make_engine`.
    shard: the share of the run that this process takes, such as `"2/4"`; a scan then ends with a
        :class:`~partscope.engine.ShardDone` where it needs the others'.

    Raises
    ------
    As :func:`make_engine`. OptionError: there is no such shard.
    """
    share = Shard.parse(shard) if isinstance(shard, str) else shard
    with make_engine(name, address=address, workers=workers, threads=threads) as engine:
        in_use, taken = _engine.set(engine), _shard.set(share)
        try:
            yield engine
        finally:
            _engine.reset(in_use)
            _shard.reset(taken)
