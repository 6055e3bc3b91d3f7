"""One job at a time in a thread of its own, which says how far it is and can be cancelled."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, replace

from partscope.errors import PartscopeError
from partscope.web.faults import BusyError


class CancelledError(Exception):
    """The job was cancelled."""


@dataclass(frozen=True)
class Progress:
    """Where a job stands.

    Parameters
    ----------
    number: counts the jobs, from 1; 0 where there was none.
    state: `"none"`, `"running"`, `"done"`, `"cancelled"` or `"failed"`.
    what: the present step, or what became of the job, as a sentence.
    done, total: of the step; total 0 where it is not known.
    seconds: since the job began, or how long it took.
    first: seconds until it gave its first result, or None.
    """

    number: int = 0
    state: str = "none"
    what: str = ""
    done: int = 0
    total: int = 0
    seconds: float = 0.0
    first: float | None = None


class Jobs:
    """Runs jobs in the background."""

    def __init__(self, changed: Callable[[], None] = lambda: None) -> None:
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._progress = Progress()
        self._began = 0.0
        self._changed = changed

    @property
    def progress(self) -> Progress:
        """Where the present job, or else the last one, stands."""
        progress = self._progress
        if progress.state != "running":
            return progress
        return replace(progress, seconds=time.monotonic() - self._began)

    def start(self, job: Callable[[], str], what: str) -> int:
        """Run `job`, which returns a sentence on its result, and return the job's number.

        Raises
        ------
        BusyError: another job is running.
        """
        with self._lock:
            if self._progress.state == "running":
                raise BusyError("the last search is still running; wait for it, or cancel it first.")
            self._stop.clear()
            self._began = time.monotonic()
            number = self._progress.number + 1
            self._progress = Progress(number, "running", what)
            self._thread = threading.Thread(target=self._run, args=(job,), name="partscope-job", daemon=True)
            self._thread.start()
            return number

    def cancel(self, wait: float = 0.0) -> None:
        """Ask the job to stop, and wait so many seconds for it."""
        self._stop.set()
        if self._thread is not None and wait:
            self._thread.join(wait)

    def check(self) -> None:
        """To be called by the job now and then: raises CancelledError where it is to stop."""
        if self._stop.is_set():
            raise CancelledError

    def step(self, what: str, done: int = 0, total: int = 0) -> None:
        """To be called by the job: say where it stands."""
        self.check()
        self._progress = replace(self._progress, what=what, done=done, total=total)
        self._changed()

    def advance(self) -> None:
        """To be called by the job: one more is done of the present step."""
        self.step(self._progress.what, self._progress.done + 1, self._progress.total)

    def first_result(self) -> None:
        """To be called by the job: note the time of its first result."""
        if self._progress.first is None:
            self._progress = replace(self._progress, first=time.monotonic() - self._began)

    def _run(self, job: Callable[[], str]) -> None:
        try:
            state, what = "done", job()
        except CancelledError:
            state, what = "cancelled", "cancelled; what was found so far stays"
        except PartscopeError as error:
            state, what = "failed", str(error)
        except BaseException as error:
            traceback.print_exc()
            state, what = (
                "failed",
                f"a fault of partscope's own ({type(error).__name__}: {error}); please report it.",
            )
        seconds = time.monotonic() - self._began
        self._progress = replace(self._progress, state=state, what=what, seconds=seconds)
        self._changed()
