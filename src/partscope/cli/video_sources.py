"""Videos among a command's images: each frame, or every Nth, is searched like an image."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from partscope.errors import OptionError

if TYPE_CHECKING:
    from partscope.cli.predicting import Task


def is_video(source: str) -> bool:
    """Return whether a path is a video, by its ending; a folder or a pattern is none."""
    from partscope.video import VIDEO_SUFFIXES

    return Path(source).suffix.lower() in VIDEO_SUFFIXES and os.path.isfile(source)


def video_tasks(sources: Sequence[str], every: int) -> list[Task]:
    """Return the frames of the videos among the sources, called `NAME.mp4#000123` by their number from 0.

    Raises
    ------
    OptionError: two videos have one name, or `every` is given and there is no video.
    ImageError: a video cannot be read.
    MissingExtraError: PyAV is not installed.
    """
    from partscope.cli.predicting import Task
    from partscope.video import VideoFrames

    tasks: list[Task] = []
    names: dict[str, str] = {}
    for source in dict.fromkeys(source for source in sources if is_video(source)):
        path = Path(source).absolute()
        if names.setdefault(path.name, source) != source:
            raise OptionError(
                f"{source}: {names[path.name]} has the same name; rename one, or run the command for each."
            )
        frames = VideoFrames(path)
        tasks += [
            Task(f"{path.name}#{index:06d}", path, None, frames, index)
            for index in range(0, len(frames), every)
        ]
    if every > 1 and not names:
        raise OptionError("--every belongs to videos, and none is given; leave it out.")
    return tasks
