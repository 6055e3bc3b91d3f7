"""Preparing ahead: order, errors where they belong, a bounded number of waiting items, and no thread left behind."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest

from partscope.prefetch import ahead, prepared, worker_count


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("partscope-ahead")]


def test_items_come_in_order_whatever_takes_longer() -> None:
    def slow(i: int) -> int:
        time.sleep(0.002 * (5 - i % 5))
        return i * i

    assert [future.result() for future in ahead(range(20), slow, workers=4, depth=6)] == [
        i * i for i in range(20)
    ]
    assert not threads()


def test_an_error_is_raised_at_its_item() -> None:
    def picky(i: int) -> int:
        if i == 2:
            raise ValueError("two")
        return i

    for device in ("cpu", "cuda"):
        calls = list(prepared(range(4), picky, device))
        if device == "cpu":
            assert [call() for k, call in enumerate(calls) if k != 2] == [0, 1, 3]
        with pytest.raises(ValueError, match="two"):
            calls[2]()


@pytest.mark.parametrize("depth", [1, 3])
def test_no_more_than_the_depth_is_ahead(depth: int) -> None:
    begun: list[int] = []

    def note(i: int) -> int:
        begun.append(i)
        return i

    with closing(ahead(range(100), note, workers=2, depth=depth)) as futures:
        for taken, future in enumerate(futures, start=1):
            future.result()
            time.sleep(0.001)
            assert len(begun) <= taken + depth
            if taken == 10:
                break
    assert len(begun) <= 10 + depth
    assert not threads()


def test_on_a_processor_nothing_runs_before_it_is_asked_for() -> None:
    begun: list[int] = []
    calls = prepared([1, 2], lambda i: begun.append(i) or i, "cpu")
    first = next(calls)
    assert begun == []
    assert first() == 1
    assert begun == [1]
    assert not threads()


def test_a_card_has_several_threads() -> None:
    assert worker_count("cpu") == 1
    assert 2 <= worker_count("cuda") <= 8
