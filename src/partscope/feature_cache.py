"""A file of feature vectors by key: what was computed once is not computed again, also after a kill.

The file is an SQLite database with a rollback journal, not a write-ahead log: it stays one file that can be moved and copied,
it works on network disks, and one commit per batch of a network is too rare for a log to pay. Several processes may use
the same file at the same time; a writer waits for another.
"""

from __future__ import annotations

import sqlite3
import threading
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from partscope.errors import PartscopeError, PartscopeWarning

FloatVector = NDArray[np.float32]

#: How SQLite files tell whose they are ("part" in ASCII), and which version of the table below they hold.
_APPLICATION, _VERSION = 0x70617274, 1

_TABLE = "CREATE TABLE vectors (key BLOB PRIMARY KEY, value BLOB NOT NULL, crc32 INTEGER NOT NULL)"

#: Seconds to wait for another process that writes.
_PATIENCE = 60.0
#: Keys per question; SQLite limits the number of its parameters.
_AT_ONCE = 500

_KEEP = "what was stored is kept, and the same call continues from there"
_REMEDIES = {
    "not a database": "it is no feature cache; choose another file",
    "malformed": "it is damaged; delete it, the features will be computed again",
    "full": f"the disk is full; free some space, {_KEEP}",
    "readonly": "it may not be written; choose a file in a folder that you may write to",
    "unable to open": "it cannot be opened or made; choose a file in a folder that you may write to",
    "locked": "another process has been writing to it for a minute; wait for it or choose another file",
}


class FeatureCache:
    """Feature vectors in a file, by key. One object may be used by several threads.

    Parameters
    ----------
    path: made if it is not there, with its folder. `:memory:` is no special name.

    Raises
    ------
    PartscopeError: the file is no feature cache, damaged, of a newer version, or cannot be opened; nothing is overwritten.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PartscopeError(
                f"{self.path}: the feature cache's folder cannot be made ({error.strerror}); choose another file."
            ) from error
        with self._explained():
            # Path objects are opened as files; autocommit, so that transactions are begun where they are written.
            self._connection = sqlite3.connect(
                self.path.absolute(), timeout=_PATIENCE, isolation_level=None, check_same_thread=False
            )
        try:
            with self._explained():
                self._open()
        except BaseException:
            self._connection.close()
            raise

    def _open(self) -> None:
        application, version, tables = self._state()
        if not application and not version and not tables:
            with self._transaction():
                # Another process may have been faster.
                if not self._state()[2]:
                    self._connection.execute(_TABLE)
                    self._connection.execute(f"PRAGMA application_id = {_APPLICATION}")
                    self._connection.execute(f"PRAGMA user_version = {_VERSION}")
            application, version, tables = self._state()
        if application != _APPLICATION:
            raise PartscopeError(
                f"{self.path}: this is a database of something else, not a feature cache; choose another file."
            )
        if version > _VERSION:
            raise PartscopeError(
                f"{self.path}: the feature cache was made by a newer version of partscope; update partscope or choose "
                "another file."
            )
        if not tables:
            raise PartscopeError(f"{self.path}: the feature cache {_REMEDIES['malformed']}.")

    def _state(self) -> tuple[int, int, int]:
        """Return application id, version and number of tables."""
        ask = self._connection.execute
        return (
            int(ask("PRAGMA application_id").fetchone()[0]),
            int(ask("PRAGMA user_version").fetchone()[0]),
            int(ask("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]),
        )

    def get_many(self, keys: Sequence[bytes], dimension: int) -> dict[bytes, FloatVector]:
        """Return the stored vectors (D,) of those keys that have one.

        Parameters
        ----------
        keys: any number of keys.
        dimension: D; a vector of another length, or one whose checksum does not fit, is left out with a warning.

        Raises
        ------
        PartscopeError: the file is damaged or cannot be read.
        """
        found: dict[bytes, FloatVector] = {}
        wrong = 0
        with self._lock, self._explained():
            for start in range(0, len(keys), _AT_ONCE):
                some = keys[start : start + _AT_ONCE]
                marks = ",".join("?" * len(some))
                rows = self._connection.execute(
                    f"SELECT key, value, crc32 FROM vectors WHERE key IN ({marks})", tuple(some)
                ).fetchall()
                for key, value, checksum in rows:
                    if (
                        not isinstance(value, bytes)
                        or len(value) != 4 * dimension
                        or zlib.crc32(value) != checksum
                    ):
                        wrong += 1
                        continue
                    found[bytes(key)] = np.frombuffer(value, dtype="<f4").astype(np.float32)
        if wrong:
            warnings.warn(
                f"{self.path}: {wrong} stored {'vector is' if wrong == 1 else 'vectors are'} damaged or not of "
                f"{dimension} values and {'is' if wrong == 1 else 'are'} computed again.",
                PartscopeWarning,
                stacklevel=2,
            )
        return found

    def put_many(self, vectors: Mapping[bytes, FloatVector]) -> None:
        """Store vectors (D,), all of them or none; a key that is there already gets the new vector.

        Raises
        ------
        PartscopeError: the disk is full, or the file is damaged or may not be written.
        """
        rows = []
        for key, vector in vectors.items():
            value = np.ascontiguousarray(vector, dtype="<f4").tobytes()
            rows.append((key, value, zlib.crc32(value)))
        if not rows:
            return
        with self._lock, self._explained(), self._transaction():
            self._connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?)", rows)

    def __len__(self) -> int:
        """Return the number of stored vectors."""
        with self._lock, self._explained():
            return int(self._connection.execute("SELECT count(*) FROM vectors").fetchone()[0])

    def close(self) -> None:
        """Close the file; nothing that was put is lost without it."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> FeatureCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # Immediate: the right to write is waited for here, and cannot be lost to another process later.
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # A full disk has rolled back already.
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            # Python 3.10 does not show SQLite's error codes; its messages have been the same for decades.
            known = (remedy for part, remedy in _REMEDIES.items() if part in str(error))
            remedy = next(known, f"SQLite says: {error}; choose another file")
            raise PartscopeError(f"{self.path}: the feature cache cannot be used: {remedy}.") from error
