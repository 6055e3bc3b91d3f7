"""What runs on another machine: it makes the worker once, and answers every block with a result or a reason."""

from __future__ import annotations

import pickle
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

import partscope.errors
from partscope.allocator import reuse_freed_memory
from partscope.backward import has_numba
from partscope.engine.blocks import unheard
from partscope.engine.threads import limited_threads
from partscope.errors import EngineError, PartscopeError, PartscopeWarning
from partscope.version import __version__

#: How a block ended: a result; the worker refuses to work at all; a PartscopeError; any other error, tried again.
DONE, REFUSED, ERROR, FAILED = "done", "refused", "error", "failed"

Batch = dict[str, NDArray[Any]]


class BlockWorker:
    """One process of the pool, as Ray Data's `map_batches` wants it: called with batches of one block.

    It raises no error, since Ray would take it for a fault of the machine; every answer says how the block ended.

    Parameters
    ----------
    task: where Ray keeps the driver's version, whether it has Numba, the numbers of threads, and the pickled function that makes the worker.
    """

    def __init__(self, task: Any) -> None:
        import ray

        # As the command line does: page faults cost time, most where several workers run on one machine.
        reuse_freed_memory()
        version, numba, self._threads, self._blas, body = ray.get(task)
        self._answer: tuple[str, Any] | None = None
        self._notes: list[str] = []
        try:
            if version != __version__:
                raise EngineError(
                    f"a worker has partscope {__version__} where this process has {version}; install the same version on "
                    "all machines of the cluster."
                )
            if numba != has_numba():
                raise EngineError(
                    f"a worker has {'no ' if numba else ''}Numba where this process has {'it' if numba else 'none'}, so that "
                    "the last digits of gradients would differ; install the extra partscope[fast] on all machines, or on none."
                )
            with warnings.catch_warnings(record=True) as said, limited_threads(self._threads, self._blas):
                warnings.simplefilter("always", PartscopeWarning)
                self._work = pickle.loads(body)()
            self._notes = _texts(said)
        except Exception as error:
            self._answer = (REFUSED, _described(error))

    def __call__(self, batch: Batch) -> Batch:
        """Compute one block: `index` and the pickled `items` to `index` and the pickled answer."""
        answer = self._answer or self._compute(bytes(batch["items"][0]))
        notes, self._notes = self._notes, []
        data = np.empty(1, dtype=object)
        data[0] = pickle.dumps((*answer, notes), protocol=5)
        return {"index": batch["index"], "answer": data}

    def _compute(self, body: bytes) -> tuple[str, Any]:
        try:
            with warnings.catch_warnings(record=True) as said, limited_threads(self._threads, self._blas):
                warnings.simplefilter("always", PartscopeWarning)
                result = self._work(pickle.loads(body), unheard)
            self._notes += _texts(said)
            return DONE, result
        except PartscopeError as error:
            return ERROR, _described(error)
        except Exception as error:
            return FAILED, f"{type(error).__name__}: {error}"


def _texts(said: list[warnings.WarningMessage]) -> list[str]:
    return [str(one.message) for one in said if issubclass(one.category, PartscopeWarning)]


def _described(error: Exception) -> tuple[str, str]:
    if isinstance(error, PartscopeError):
        return type(error).__name__, str(error)
    reason = f"a worker cannot start ({type(error).__name__}: {error}); mend it and run the same call again."
    return EngineError.__name__, reason


def as_error(described: tuple[str, str]) -> PartscopeError:
    """Return the error that a worker has described: of the same class, with the same sentence."""
    name, text = described
    cls = getattr(partscope.errors, name, PartscopeError)
    error: PartscopeError = cls.__new__(cls)
    error.args = (text,)
    return error
