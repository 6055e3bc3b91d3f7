"""The engine `ray`: blocks go through an actor pool of Ray Data, in which every worker loads the network once.

Ray holds back new blocks while results wait to be taken, and replaces nothing by itself here: a block that was lost with its
worker is given to the next round, so that a machine that dies costs its unfinished blocks and no others.
"""

from __future__ import annotations

import logging
import pickle
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import torch

from partscope.backward import has_numba
from partscope.engine.blocks import Advance, Block, Item, MakeWorker, Result, unheard
from partscope.engine.cluster import connect, room_for
from partscope.engine.ray_worker import DONE, FAILED, BlockWorker, as_error
from partscope.engine.threads import HeldThreads, blas_threads, checked_count
from partscope.errors import EngineError, MissingExtraError, PartscopeWarning
from partscope.version import __version__

#: How often a block is tried, and how many rounds may end without a single finished block.
ATTEMPTS = 3
#: Blocks that are handed to Ray at once: their descriptions lie in this process's memory.
WAVE = 1000
#: Failed blocks that a message names.
_NAMED = 5


class RayEngine(HeldThreads):
    """Computes blocks on the machines of a Ray cluster.

    Parameters
    ----------
    address: `"auto"` (the cluster that this machine belongs to) or `host:port` of its head; None starts Ray on this machine
        alone, for as long as the engine is in use. Where the process is connected already, that connection is used.
    workers: processes that load the network; by default as many as the cluster has processors for.
    threads: of each worker, which takes as many processors, and of this process; by default PyTorch's number here.

    Raises
    ------
    MissingExtraError: Ray is not installed. OptionError: a number below 1.
    """

    name = "ray"

    def __init__(
        self, address: str | None = None, workers: int | None = None, threads: int | None = None
    ) -> None:
        try:
            import ray
            import ray.data  # noqa: F401
        except ImportError as error:
            raise MissingExtraError("ray", "ray", "The engine ray") from error
        self.address = address
        self.workers = checked_count("the number of workers", workers)
        super().__init__(threads)
        self._connected = self._owned = False

    def __enter__(self) -> RayEngine:
        self.hold()
        return self

    def __exit__(self, *error: object) -> None:
        self.release()
        if self._owned:
            import ray

            ray.shutdown()
        self._connected = self._owned = False

    def map_blocks(
        self,
        make_worker: MakeWorker[Item, Result],
        blocks: Sequence[Block[Item]],
        advance: Advance = unheard,
    ) -> Iterator[tuple[int, Result]]:
        """Yield `(index, result)` of each block as it is finished; a block that fails is tried three times.

        Raises
        ------
        EngineError: the cluster cannot be reached or used, a worker has another version or Numba where this process has none, or blocks failed three times
            (after all others have been yielded). A PartscopeError of a worker is raised at once.
        """
        if not blocks:
            return
        import ray

        threads = self.threads or torch.get_num_threads()
        if not self._connected:
            self._owned = connect(self.address, (self.workers or 0) * threads)
            self._connected = True
        body = ray.cloudpickle.dumps(make_worker)
        task = ray.put((__version__, has_numba(), threads, blas_threads(), body))
        gpus = 1 if getattr(make_worker, "device", "cpu") == "cuda" else 0
        attempts: Counter[int] = Counter()
        reasons: dict[int, str] = {}
        said: set[str] = set()
        waiting = list(blocks)
        barren = 0
        while waiting:
            # A worker that dies can take blocks along that wait for it: who may have killed one is tried last alone.
            dying = [b for b in waiting if attempts[b.index] == ATTEMPTS - 1 and b.index not in reasons]
            tried = dying[:1] if len(dying) == len(waiting) else _without(waiting, dying)[:WAVE]
            wave = {block.index: block for block in tried}
            rest = [block for block in waiting if block.index not in wave]
            finished: set[int] = set()
            broken = ""
            answers = _answers(task, list(wave.values()), self._pool(threads, gpus), threads, gpus)
            try:
                for index, (how, value, notes) in answers:
                    for note in notes:
                        if note not in said:
                            said.add(note)
                            warnings.warn(note, PartscopeWarning, stacklevel=2)
                    if how == DONE:
                        finished.add(index)
                        advance(len(wave[index].items))
                        yield index, value
                    elif how == FAILED:
                        reasons[index] = value
                    else:
                        raise as_error(value)
            except (ray.exceptions.RayError, ConnectionError, OSError) as error:
                # The round as a whole broke, of which no block is guilty.
                broken = _first_line(error)
            barren = 0 if finished else barren + 1
            left = [block for index, block in wave.items() if index not in finished]
            if not broken:
                attempts.update(block.index for block in left)
            elif barren == ATTEMPTS:
                raise EngineError(
                    f"the cluster finished no block in {ATTEMPTS} rounds ({broken}); mend it and run the same call again."
                )
            waiting = [block for block in left if attempts[block.index] < ATTEMPTS] + rest
        lost = [block for block in blocks if attempts[block.index] >= ATTEMPTS]
        if lost:
            named = "; ".join(
                f"{block.label}: {reasons.get(block.index, 'its worker died')}" for block in lost[:_NAMED]
            )
            more = "" if len(lost) <= _NAMED else f"; and {len(lost) - _NAMED} more"
            raise EngineError(
                f"{len(lost)} of {len(blocks)} blocks failed {ATTEMPTS} times ({named}{more}); the others are finished: mend "
                "the cause and run the same call again."
            )

    def _pool(self, threads: int, gpus: int) -> int:
        """Return the number of workers: what is asked for, as far as the cluster, as it is now, has room."""
        room = room_for(threads, gpus)
        if not room:
            raise EngineError(
                f"no machine of the cluster has {threads} processors"
                + (" and a GPU" if gpus else "")
                + " for a worker; give fewer threads with --threads, or add machines."
            )
        if self.workers is not None and self.workers > room:
            warnings.warn(
                f"the cluster has room for {room} workers of {threads} threads, fewer than the {self.workers} asked for.",
                PartscopeWarning,
                stacklevel=3,
            )
        return min(room, self.workers or room)


def _without(blocks: Sequence[Block[Item]], others: Sequence[Block[Item]]) -> list[Block[Item]]:
    left_out = {block.index for block in others}
    return [block for block in blocks if block.index not in left_out]


def _answers(
    task: Any, blocks: Sequence[Block[Any]], workers: int, threads: int, gpus: int
) -> Iterator[tuple[int, tuple[str, Any, list[str]]]]:
    """Yield `(index, answer)` of the blocks that a pool has answered; those that died with their worker are missing."""
    import ray

    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    context = ray.data.DataContext.get_current()
    settings = {
        "enable_progress_bars": False,
        "print_on_execution_start": False,
        "max_errored_blocks": -1,  # a block that died with its worker is tried in the next round
    }
    before = {name: getattr(context, name) for name in settings}
    for name, value in settings.items():
        setattr(context, name, value)
    try:
        with warnings.catch_warnings():
            # `max_restarts` has no other way in; pyproject.toml bounds Ray's version by it.
            warnings.simplefilter("ignore", DeprecationWarning)
            warnings.simplefilter(
                "ignore", getattr(ray.util.annotations, "RayDeprecationWarning", DeprecationWarning)
            )
            # One of Ray's blocks for each of ours, or a worker's death would cost all that share one.
            work = ray.data.from_items(
                [
                    {"index": block.index, "items": pickle.dumps(tuple(block.items), protocol=5)}
                    for block in blocks
                ],
                override_num_blocks=len(blocks),
            ).map_batches(
                BlockWorker,
                fn_constructor_args=(task,),
                compute=ray.data.ActorPoolStrategy(
                    size=min(workers, len(blocks)), max_tasks_in_flight_per_actor=1
                ),
                batch_size=1,
                batch_format="numpy",
                num_cpus=threads,
                num_gpus=gpus,
                # Restarted workers would wait for a machine that may never come back.
                max_restarts=0,
            )
    finally:
        for name, value in before.items():
            setattr(context, name, value)
    for batch in work.iter_batches(batch_size=1, batch_format="numpy", prefetch_batches=1):
        yield int(batch["index"][0]), pickle.loads(bytes(batch["answer"][0]))


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0] if lines else 'no reason given'}"[:300]
