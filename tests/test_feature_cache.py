"""The cache's file: what was put is got, by several processes; whatever is wrong with the file is said."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from partscope.errors import PartscopeError, PartscopeWarning
from partscope.feature_cache import FeatureCache


def vectors(count: int, start: int = 0, dimension: int = 7) -> dict[bytes, np.ndarray]:
    rng = np.random.default_rng(start)
    return {b"key %d" % i: rng.random(dimension, dtype=np.float32) for i in range(start, start + count)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "cache.sqlite"


def test_what_was_put_is_got(file: Path) -> None:
    put = vectors(1200)
    with FeatureCache(file) as cache:
        cache.put_many(put)
        cache.put_many({})
    with FeatureCache(str(file)) as cache:
        assert len(cache) == 1200
        got = cache.get_many([*put, b"another"], 7)
        assert got.keys() == put.keys()
        assert all(np.array_equal(got[key], put[key]) and got[key].dtype == np.float32 for key in put)
        cache.put_many({b"key 3": np.zeros(7, dtype=np.float32)})
        assert not cache.get_many([b"key 3"], 7)[b"key 3"].any()
        assert cache.get_many([], 7) == {}


def test_the_cache_is_one_file(file: Path) -> None:
    with FeatureCache(file) as cache:
        cache.put_many(vectors(5))
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_vectors_of_another_size_or_damaged_are_left_out_with_a_warning(file: Path) -> None:
    with FeatureCache(file) as cache:
        cache.put_many({**vectors(3), b"short": np.zeros(6, dtype=np.float32)})
        connection = sqlite3.connect(file)
        connection.execute("UPDATE vectors SET value = zeroblob(28) WHERE key = ?", (b"key 1",))
        connection.execute("UPDATE vectors SET value = 'a text' WHERE key = ?", (b"key 2",))
        connection.commit()
        connection.close()
        with pytest.warns(
            PartscopeWarning, match=r"cache.sqlite: 3 stored vectors are damaged or not of 7 values"
        ):
            got = cache.get_many([*vectors(3), b"short"], 7)
        assert list(got) == [b"key 0"]


def test_processes_and_threads_write_at_the_same_time(file: Path) -> None:
    script = """
import sys, numpy as np
from partscope.feature_cache import FeatureCache
start = int(sys.argv[2])
with FeatureCache(sys.argv[1]) as cache:
    for i in range(start, start + 40):
        cache.put_many({b"key %d" % i: np.full(7, i, dtype=np.float32)})
"""
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(file), str(start)], stderr=subprocess.PIPE, text=True
        )
        for start in (1000, 2000)
    ]
    with FeatureCache(file) as cache:
        threads = [threading.Thread(target=cache.put_many, args=(vectors(20, i * 100),)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for run in runs:
            assert run.wait() == 0, run.communicate()[1]
        assert len(cache) == 160


# -- files that cannot serve --------------------------------------------------------------------------------------------------
def test_a_file_of_another_kind_is_refused_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("no database, " * 100)
    with pytest.raises(PartscopeError, match=r"notes.txt.*no feature cache; choose another file"):
        FeatureCache(file)
    assert file.read_text().startswith("no database")


def test_another_database_is_refused_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "mails.sqlite"
    connection = sqlite3.connect(file)
    connection.execute("CREATE TABLE mails (text)")
    connection.commit()
    before = file.read_bytes()
    with pytest.raises(PartscopeError, match=r"mails.sqlite: this is a database of something else"):
        FeatureCache(file)
    assert file.read_bytes() == before


def test_a_newer_version_is_refused(file: Path) -> None:
    FeatureCache(file).close()
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(PartscopeError, match="newer version of partscope"):
        FeatureCache(file)


def test_an_empty_file_becomes_a_cache(tmp_path: Path) -> None:
    file = tmp_path / "empty"
    file.touch()
    with FeatureCache(file) as cache:
        cache.put_many(vectors(1))
        assert len(cache) == 1


def test_damage_is_named_with_the_remedy(file: Path) -> None:
    with FeatureCache(file) as cache:
        cache.put_many(vectors(400))
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    file.write_bytes(content)
    with (
        pytest.raises(PartscopeError, match=r"cache.sqlite: .* damaged; delete it"),
        FeatureCache(file) as cache,
    ):
        cache.get_many(list(vectors(400)), 7)
    file.write_bytes(content[:6000])
    with (
        pytest.raises(PartscopeError, match=r"cache.sqlite: .* damaged; delete it"),
        FeatureCache(file) as cache,
    ):
        cache.get_many(list(vectors(400)), 7)


def test_a_full_disk_keeps_what_was_stored(file: Path) -> None:
    with FeatureCache(file) as cache:
        cache.put_many(vectors(10))
        pages = cache._connection.execute("PRAGMA page_count").fetchone()[0]
        cache._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
        with pytest.raises(PartscopeError, match=r"cache.sqlite: .*disk is full; free some space.*continues"):
            cache.put_many(vectors(4000, 100))
        assert len(cache) == 10
        cache._connection.execute("PRAGMA max_page_count = 100000")
        cache.put_many(vectors(4000, 100))
        assert len(cache) == 4010


def test_a_cache_that_may_not_be_written_is_read(file: Path) -> None:
    with FeatureCache(file) as cache:
        cache.put_many(vectors(3))
        # What a read-only folder does, also for a user who may write everywhere.
        cache._connection.execute("PRAGMA query_only = ON")
        assert len(cache.get_many(list(vectors(3)), 7)) == 3
        with pytest.raises(
            PartscopeError, match=r"cache.sqlite: .* may not be written; choose a file in a folder"
        ):
            cache.put_many(vectors(1, 9))


def test_places_where_no_file_can_be_made(tmp_path: Path) -> None:
    with pytest.raises(PartscopeError, match="cannot be opened or made; choose a file"):
        FeatureCache(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(PartscopeError, match="folder cannot be made"):
        FeatureCache(tmp_path / "file" / "cache.sqlite")
