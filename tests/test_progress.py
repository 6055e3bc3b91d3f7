from __future__ import annotations

import io

import pytest
from rich.console import Console

from partscope.progress import track


def terminal() -> tuple[io.StringIO, Console]:
    stream = io.StringIO()
    return stream, Console(file=stream, force_terminal=True, width=100)


def test_items_come_through_in_order_and_the_bar_counts_them() -> None:
    stream, console = terminal()
    assert list(track(range(5), "scan", console=console)) == [0, 1, 2, 3, 4]
    assert "scan" in stream.getvalue()
    assert "5/5" in stream.getvalue()
    assert "left" in stream.getvalue()


def test_items_of_an_earlier_run_count_as_done() -> None:
    stream, console = terminal()
    list(track([1, 2], "scan", done=3, console=console))
    assert "5/5" in stream.getvalue()


@pytest.mark.parametrize("enabled", [True, False])
def test_silent_without_a_terminal_or_when_switched_off(enabled: bool) -> None:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=not enabled)
    assert list(track(iter("ab"), "scan", enabled=enabled, console=console)) == ["a", "b"]
    assert stream.getvalue() == ""


def test_nothing_is_written_by_default_under_test(capfd: pytest.CaptureFixture[str]) -> None:
    assert list(track([1], "scan")) == [1]
    assert capfd.readouterr() == ("", "")


def test_an_error_in_the_loop_ends_the_bar() -> None:
    _, console = terminal()

    def loop() -> None:
        for _ in track(range(3), "scan", console=console):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        loop()
    assert list(track([1], "scan", console=console)) == [1]
