"""Frames of a video as pictures, one after the other: needs PyAV, the extra `video`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from partscope.errors import ImageError, MissingExtraError
from partscope.images import MAX_PIXELS

#: Files with these endings are taken for videos.
VIDEO_SUFFIXES = frozenset(
    (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp")
)


class VideoFrames:
    """The frames of a video's first video stream, numbered from 0, upright.

    They are decoded in order; to read one that lies before the last one starts from the beginning, so that every number
    always means the same frame. Seeking is not used: in many files it is not exact.

    Parameters
    ----------
    path: the file.

    Raises
    ------
    ImageError: the file is missing, no video, or its frames have more than `MAX_PIXELS` pixels.
    MissingExtraError: PyAV is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            import av
        except ImportError as error:
            raise MissingExtraError("av", "video", "Reading a video") from error
        self.path = Path(path)
        self._av = av
        self._next = 0
        self._frames: Iterator[Any] = iter(())
        self._container: Any = None
        self._last: Image.Image | None = None
        self._start()
        self._count = self._packets()
        self._start()
        self._size: tuple[int, int] | None = None

    def __len__(self) -> int:
        """The number of frames, as the file's packets tell it; a damaged one may hold fewer."""
        return self._count

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the upright frames in pixels."""
        if self._size is None:
            self._size = self.read(0).size if self._last is None else self._last.size
        return self._size

    def read(self, index: int) -> Image.Image:
        """Return a frame as an upright RGB picture.

        Raises
        ------
        ImageError: there is no such frame, or it cannot be decoded.
        """
        if self._last is not None and index == self._next - 1:
            return self._last
        if index < self._next:
            self._start()
        try:
            while True:
                frame = next(self._frames)
                self._next += 1
                if self._next > index:
                    break
            turn = getattr(frame, "rotation", 0)
            picture: Image.Image = frame.to_image()
        except StopIteration:
            raise ImageError(
                f"{self.path}: there is no frame {index}, only {self._next}; check the number."
            ) from None
        except (self._av.FFmpegError, OSError, ValueError) as error:
            raise ImageError(
                f"{self.path}: frame {index} cannot be decoded ({error}); convert the video."
            ) from error
        self._last = picture.rotate(turn, expand=True) if turn else picture
        return self._last

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
            self._container = None

    def _start(self) -> None:
        self.close()
        if not self.path.is_file():
            raise ImageError(f"{self.path}: there is no such video; check the path.")
        try:
            self._container = self._av.open(str(self.path))
            stream = self._container.streams.video[0]
        except (self._av.FFmpegError, OSError, ValueError, IndexError) as error:
            raise ImageError(f"{self.path}: this is not a readable video ({error}); convert it.") from error
        if stream.width * stream.height > MAX_PIXELS:
            raise ImageError(
                f"{self.path}: the frames have {stream.width}×{stream.height} pixels, more than the {MAX_PIXELS:,} that are "
                "decoded; reduce the video."
            )
        self._frames, self._next, self._last = self._container.decode(stream), 0, None

    def _packets(self) -> int:
        try:
            stream = self._container.streams.video[0]
            return sum(packet.size > 0 for packet in self._container.demux(stream))
        except (self._av.FFmpegError, OSError, ValueError) as error:
            raise ImageError(f"{self.path}: the video is damaged ({error}); convert it.") from error
