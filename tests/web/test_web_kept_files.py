"""Files that can be made again: the limit holds, whatever comes."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from partscope.web.kept_files import KeptFiles

KEYS = [f"{i:08x}" for i in range(5)]


@settings(max_examples=25)
@given(
    st.lists(st.tuples(st.sampled_from(KEYS), st.integers(0, 40), st.booleans()), max_size=20),
    st.integers(0, 90),
    st.booleans(),
)
def test_the_limit_holds_and_what_is_kept_is_returned(
    steps: list[tuple[str, int, bool]], limit: int, oldest_goes: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        kept = KeptFiles(Path(folder), limit, oldest_goes=oldest_goes)
        last: dict[str, bytes] = {}
        for number, (key, size, read) in enumerate(steps):
            if read:
                assert kept.get(key) in (None, last.get(key))
                continue
            data = bytes([number]) * size
            if kept.put(key, data):
                last[key] = data
                assert kept.get(key) == data
            elif kept.get(key) is None:
                last.pop(key, None)
            sizes = [path.stat().st_size for path in Path(folder).iterdir()]
            assert sum(sizes) == kept.total <= limit
        again = KeptFiles(Path(folder), limit, oldest_goes=oldest_goes)
        assert (again.total, len(again)) == (kept.total, len(kept))


def test_who_makes_room(tmp_path: Path) -> None:
    a, b, c = KEYS[:3]
    newest = KeptFiles(tmp_path / "newest", 20, oldest_goes=True)
    first = KeptFiles(tmp_path / "first", 20, oldest_goes=False)
    for kept in (newest, first):
        kept.put(a, b"a" * 10)
        kept.put(b, b"b" * 10)
        kept.get(a)
        kept.put(c, b"c" * 10)
    assert [newest.get(key) is not None for key in (a, b, c)] == [True, False, True]
    assert [first.get(key) is not None for key in (a, b, c)] == [True, True, False]
