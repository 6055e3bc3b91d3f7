"""Frames of a video, read one after the other and searched by `locate`."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from command_line import model_file, run
from partscope.errors import ImageError, MissingExtraError
from partscope.formats import read_predictions_csv
from partscope.video import VideoFrames

Capture = pytest.CaptureFixture[str]


def write_video(path: Path, grey: list[int], size: tuple[int, int] = (64, 48)) -> Path:
    """Write a video whose frames are plain, of these shades."""
    av = pytest.importorskip("av", reason="PyAV is in the extra video")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for shade in grey:
            pixels = np.full((size[1], size[0], 3), shade, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


def test_frames_in_any_order(tmp_path: Path) -> None:
    shades = [0, 60, 120, 180, 240]
    frames = VideoFrames(write_video(tmp_path / "a.mp4", shades))
    assert (len(frames), frames.size) == (5, (64, 48))
    for index in (0, 1, 4, 4, 2, 3, 0):
        picture = frames.read(index)
        assert (picture.size, picture.mode) == ((64, 48), "RGB")
        assert abs(np.asarray(picture).mean() - shades[index]) < 8, index
    with pytest.raises(ImageError, match=r"a\.mp4: there is no frame 5, only 5"):
        frames.read(5)
    frames.close()


def test_what_is_no_video(tmp_path: Path) -> None:
    pytest.importorskip("av", reason="PyAV is in the extra video")
    with pytest.raises(ImageError, match=r"none\.mp4: there is no such video"):
        VideoFrames(tmp_path / "none.mp4")
    for name, content in (("a.mp4", b""), ("b.mp4", b"nonsense" * 100)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ImageError, match=rf"{name}: this is not a readable video"):
            VideoFrames(tmp_path / name)


@pytest.mark.parametrize("share", [0.01, 0.5, 0.8])
def test_a_truncated_video_ends_early_or_is_an_image_error(tmp_path: Path, share: float) -> None:
    whole = write_video(tmp_path / "a.avi", [50] * 20).read_bytes()
    (tmp_path / "b.avi").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ImageError, match=r"b\.avi: "):
        VideoFrames(tmp_path / "b.avi").read(19)


def test_without_pyav(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"partscope\[video\]"):
        VideoFrames(tmp_path / "a.mp4")


def test_locating_in_a_video(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    model = model_file(tiny_cub, "--method", "prior")
    video = write_video(tmp_path / "birds.mp4", [0, 50, 100, 150, 200])
    image = tiny_cub / "images" / "001.Red" / "bird_5.png"
    overlay = tmp_path / "drawn"
    ran = run(
        capsys,
        "locate",
        model,
        image,
        video,
        "--out",
        tmp_path / "o.csv",
        "--every",
        "2",
        "--overlay",
        overlay,
    )
    assert ran.code == 0, ran.err
    located = read_predictions_csv(tmp_path / "o.csv")
    assert located.ids == ("bird_5.png", "birds.mp4#000000", "birds.mp4#000002", "birds.mp4#000004")
    assert (located.points[0] == located.points[1]).all()  # the prior looks at the size alone
    assert (overlay / "birds.mp4#000002.png").exists()
    assert run(capsys, "locate", model, video, "--out", tmp_path / "o.json").code == 0


def test_what_a_video_cannot_have(tiny_cub: Path, tmp_path: Path, capsys: Capture) -> None:
    model = model_file(tiny_cub, "--method", "prior")
    video = write_video(tmp_path / "birds.mp4", [0])
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("image,x,y,width,height\nbirds.mp4,1,1,9,9\n")
    images = tiny_cub / "images"
    out = ("--out", tmp_path / "o.csv")
    assert "frames have no boxes" in run(capsys, "locate", model, video, *out, "--boxes", boxes).error
    assert "--every belongs to videos" in run(capsys, "locate", model, images, *out, "--every", "2").error
    (tmp_path / "more").mkdir()
    other = write_video(tmp_path / "more" / "birds.mp4", [0])
    assert "has the same name" in run(capsys, "locate", model, video, other, *out).error
