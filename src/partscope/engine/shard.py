"""A share of a run for one job of a job array: `2/4` is the second of four."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from partscope.errors import OptionError


@dataclass(frozen=True)
class Shard:
    """Number `index` (from 1) of `count` shards; shards are made of whole blocks.

    Raises
    ------
    OptionError: there is no such shard.
    """

    index: int
    count: int

    def __post_init__(self) -> None:
        if self.count < 1 or not 1 <= self.index <= self.count:
            raise OptionError(
                f"there is no shard {self.index}/{self.count}; shards are numbered from 1, as in 1/4, 2/4, 3/4, 4/4."
            )

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Return the shard that `i/n` names; an OptionError where it names none."""
        numbers = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
        if numbers is None:
            raise OptionError(f"a shard must be i/n, such as 1/4, not {text!r}.")
        return cls(int(numbers[1]), int(numbers[2]))

    def __str__(self) -> str:
        return f"{self.index}/{self.count}"

    def every(self, blocks: int) -> list[int]:
        """Return every n-th block, from the i-th: shards are alike even where the images are sorted by class."""
        return list(range(self.index - 1, blocks, self.count))

    def run(self, blocks: int) -> list[int]:
        """Return the i-th of n runs of successive blocks: the shards' results in their order are those of the whole."""
        return list(range(blocks * (self.index - 1) // self.count, blocks * self.index // self.count))

    def name(self, path: Path) -> Path:
        """Return the file of this shard beside the file of the whole: `parts.csv` becomes `parts.shard-2-of-4.csv`."""
        digits = len(str(self.count))  # `of_file` reads it back
        return path.with_name(f"{path.stem}.shard-{self.index:0{digits}d}-of-{self.count}{path.suffix}")

    @classmethod
    def of_file(cls, path: Path) -> tuple[str, Shard] | None:
        """Return the name of the whole and the shard that a file's name states, or None where it is not named as one."""
        parts = re.fullmatch(r"(.*)\.shard-(\d{1,9})-of-(\d{1,9})", path.stem)
        if parts is None or not 1 <= int(parts[2]) <= int(parts[3]):
            return None
        return f"{parts[1]}{path.suffix}", cls(int(parts[2]), int(parts[3]))


class ShardDone(Exception):  # noqa: N818  # not an error: the end of what this job can do
    """The part of this shard is finished, and what follows from it needs the other shards.

    Parameters
    ----------
    step: what was computed.
    missing: blocks of other shards that are not there yet.
    """

    def __init__(self, step: str, missing: int) -> None:
        super().__init__(f"{step}: the shard is finished; {missing} blocks of other shards are still missing")
        self.step = step
        self.missing = missing
