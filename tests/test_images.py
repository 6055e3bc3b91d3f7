"""Decoding: every kind of picture to upright 8-bit RGB, every broken one to an `ImageError`."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from partscope.errors import ImageError
from partscope.images import MAX_PIXELS, image_size, load_image

RGB = np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8)
GREY = RGB[..., 0]


def pixels(image: Image.Image) -> np.ndarray[Any, Any]:
    assert image.mode == "RGB"
    return np.asarray(image)


def grey(values: Any) -> np.ndarray[Any, Any]:
    return np.repeat(np.asarray(values, dtype=np.uint8)[..., None], 3, axis=2)


# -- orientation ------------------------------------------------------------------------------------------------------
#: What each EXIF orientation asks a viewer to do with the stored rows and columns.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(tmp_path: Path, orientation: int, suffix: str) -> None:
    file = tmp_path / f"bird.{suffix}"
    exif = Image.Exif()
    exif[0x0112] = orientation
    options: dict[str, Any] = {"webp": {"lossless": True}, "jpg": {"quality": 100, "subsampling": 0}}.get(
        suffix, {}
    )
    Image.fromarray(RGB).save(file, exif=exif, **options)
    upright = UPRIGHT[orientation](RGB)
    decoded = load_image(file)
    assert decoded.size == image_size(file) == (upright.shape[1], upright.shape[0])
    np.testing.assert_allclose(pixels(decoded).astype(int), upright, atol=12 if suffix == "jpg" else 0)
    # Upright is upright: decoding what was decoded changes nothing.
    np.testing.assert_array_equal(pixels(load_image(decoded)), pixels(decoded))


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_orientations_that_do_not_exist_are_ignored(tmp_path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    assert image_size(tmp_path / "a.png") == (6, 4)
    np.testing.assert_array_equal(pixels(load_image(tmp_path / "a.png")), RGB)


# -- colour modes -----------------------------------------------------------------------------------------------------
def alpha() -> np.ndarray[Any, Any]:
    return np.array([[0, 255, 128, 64, 255, 0]] * 4, dtype=np.uint8)


def over_white(colour: np.ndarray[Any, Any], opacity: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    weight = opacity[..., None] / 255
    return colour * weight + 255 * (1 - weight)


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "CMYK", "I;16", "RGB", "YCbCr"])
def test_modes(tmp_path: Path, mode: str, suffix: str) -> None:
    if suffix == "png" and mode in ("CMYK", "YCbCr"):
        pytest.skip("PNG has no such mode")
    rgb = Image.fromarray(RGB)
    expected: np.ndarray[Any, Any] = RGB
    tolerance = 0
    if mode == "L":
        image, expected = Image.fromarray(GREY), grey(GREY)
    elif mode == "1":
        image, expected = Image.fromarray(GREY > 127), grey((GREY > 127) * 255)
    elif mode == "P":
        image = rgb.convert("P", palette=Image.Palette.ADAPTIVE)  # 24 colours fit the palette
    elif mode == "RGBA":
        image, expected, tolerance = Image.fromarray(np.dstack([RGB, alpha()])), over_white(RGB, alpha()), 1
    elif mode == "LA":
        image = Image.merge("LA", [Image.fromarray(GREY), Image.fromarray(alpha())])
        expected, tolerance = over_white(grey(GREY), alpha()), 1
    elif mode == "I;16":
        image, expected = Image.fromarray(GREY.astype(np.uint16) * 257), grey(GREY)
    elif mode in ("CMYK", "YCbCr"):
        image, tolerance = rgb.convert(mode), 4
    else:
        image = rgb
    file = tmp_path / f"bird.{suffix}"
    image.save(file)
    np.testing.assert_allclose(pixels(load_image(file)).astype(float), expected, atol=tolerance)
    np.testing.assert_allclose(pixels(load_image(image)).astype(float), expected, atol=tolerance)
    assert image_size(file) == (6, 4)


@pytest.mark.parametrize("suffix", ["png", "gif"])
def test_palette_with_transparency(tmp_path: Path, suffix: str) -> None:
    image = Image.fromarray(RGB).convert("P", palette=Image.Palette.ADAPTIVE)
    index = int(np.asarray(image)[0, 0])
    image.save(tmp_path / f"a.{suffix}", transparency=index)
    expected = RGB.copy()
    expected[np.asarray(image) == index] = 255
    np.testing.assert_array_equal(pixels(load_image(tmp_path / f"a.{suffix}")), expected)


def test_one_colour_declared_transparent(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "rgb.png", transparency=tuple(int(v) for v in RGB[1, 2]))
    expected = RGB.copy()
    expected[1, 2] = 255
    np.testing.assert_array_equal(pixels(load_image(tmp_path / "rgb.png")), expected)
    Image.fromarray(GREY).save(tmp_path / "grey.png", transparency=int(GREY[1, 2]))
    np.testing.assert_array_equal(pixels(load_image(tmp_path / "grey.png"))[GREY[1, 2] == GREY], 255)


def test_premultiplied_alpha() -> None:
    """Such images come from memory only; no file format stores them."""
    rgba = Image.fromarray(np.dstack([RGB, np.full_like(GREY, 255)]))
    np.testing.assert_array_equal(pixels(load_image(rgba.convert("RGBa"))), RGB)
    la = Image.merge("LA", [Image.fromarray(GREY), Image.new("L", (6, 4), 255)])
    np.testing.assert_array_equal(pixels(load_image(la.convert("La"))), grey(GREY))


def test_cmyk_jpeg(tmp_path: Path) -> None:
    flat = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    Image.fromarray(flat).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    np.testing.assert_allclose(pixels(load_image(tmp_path / "a.jpg")).astype(int), flat, atol=6)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_scaled_by_the_type_not_by_the_image(tmp_path: Path, suffix: str) -> None:
    """A dark 16-bit picture stays dark, even one whose values would fit eight bits."""
    for peak in (255, 4000, 65535):
        values = np.linspace(0, peak, 24).astype(np.uint16).reshape(4, 6)
        Image.fromarray(values).save(tmp_path / f"a.{suffix}")
        expected = grey(np.round(values / 65535 * 255))
        np.testing.assert_array_equal(pixels(load_image(tmp_path / f"a.{suffix}")), expected)


def test_sixteen_bits_of_a_portable_greymap(tmp_path: Path) -> None:
    values = (np.arange(24) * 10).astype(">u2").reshape(4, 6)
    (tmp_path / "a.pgm").write_bytes(b"P5 6 4 65535\n" + values.tobytes())
    np.testing.assert_array_equal(
        pixels(load_image(tmp_path / "a.pgm")), grey(np.round(values / 65535 * 255))
    )


def test_big_endian_sixteen_bits(tmp_path: Path) -> None:
    values = (np.arange(24, dtype=np.uint16) * 2700).reshape(4, 6)
    image = Image.frombytes("I;16B", (6, 4), values.astype(">u2").tobytes())
    np.testing.assert_array_equal(pixels(load_image(image)), grey(np.round(values / 65535 * 255)))


@pytest.mark.parametrize("top", [1.0, 255.0, 65535.0])
def test_floating_point_grey(tmp_path: Path, top: float) -> None:
    values = (np.arange(24, dtype=np.float32) / 23 * top).reshape(4, 6)
    values[0, 1] = np.nan
    Image.fromarray(values).save(tmp_path / "a.tif")
    expected = np.round(np.nan_to_num(values.astype(float)) / top * 255)
    np.testing.assert_allclose(pixels(load_image(tmp_path / "a.tif")), grey(expected), atol=1)


def test_floating_point_without_a_number() -> None:
    nothing = Image.fromarray(np.full((4, 6), np.nan, np.float32))
    assert (pixels(load_image(nothing)) == 0).all()
    infinite = Image.fromarray(np.array([[np.inf, -np.inf, 0.5]], np.float32))
    assert pixels(load_image(infinite))[0, :, 0].tolist()[:2] == [255, 0]


def test_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (6, 4), colour) for colour in ("red", "lime", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert (pixels(load_image(tmp_path / "a.gif")) == (255, 0, 0)).all()


# -- arrays -----------------------------------------------------------------------------------------------------------
def test_arrays() -> None:
    np.testing.assert_array_equal(pixels(load_image(RGB)), RGB)
    np.testing.assert_array_equal(pixels(load_image(GREY)), grey(GREY))
    np.testing.assert_array_equal(pixels(load_image(RGB[::-1, ::2])), RGB[::-1, ::2])


@pytest.mark.parametrize(
    "array", [RGB / 255, RGB.astype(int), np.zeros((4, 6, 4), np.uint8), np.zeros(4, np.uint8), np.zeros((0, 6), np.uint8)]
)  # fmt: skip
def test_arrays_that_are_no_image(array: Any) -> None:
    with pytest.raises(ImageError, match=r"must be uint8 with shape \(height, width\).*, not "):
        load_image(array)


@pytest.mark.parametrize("source", [None, 3, b"bytes", [1, 2]])
def test_things_that_are_no_image(source: Any) -> None:
    with pytest.raises(ImageError, match="an image must be a path, a PIL image or an array"):
        load_image(source)


# -- broken files -----------------------------------------------------------------------------------------------------
def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    data = b"IDAT" + zlib.compress(b"")
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk
        + struct.pack(">I", len(data) - 4)
        + data
        + struct.pack(">I", zlib.crc32(data))
    )


@pytest.mark.parametrize("size", [(MAX_PIXELS + 1, 1), (20_000, 20_000), (100_000, 100_000)])
def test_decompression_bombs_are_refused_by_their_header(tmp_path: Path, size: tuple[int, int]) -> None:
    file = tmp_path / "bomb.png"
    file.write_bytes(png_header(*size))
    for read in (load_image, image_size):
        with pytest.raises(ImageError, match=r"bomb.png: .*pixels.*; reduce the image"):
            read(file)


def test_broken_files(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "folder.jpg").mkdir()
    for name, match in (
        ("empty.jpg", "the file is empty"),
        ("text.jpg", "not a readable image"),
        ("folder.jpg", "this is a folder"),
        ("missing.jpg", "there is no such image"),
        ("text.jpg/a.jpg", "not a readable image"),
        ("nul\0.jpg", "not a readable image"),
        ("x" * 300, "not a readable image"),
    ):
        for read in (load_image, image_size):
            with pytest.raises(ImageError, match=match) as caught:
                read(tmp_path / name)
            assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "tif", "bmp"])
def test_truncated_files_pass_the_header_and_fail_to_decode(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a.{suffix}"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)).save(file)
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    if suffix != "tif":  # whose header stands at the end
        assert image_size(file) == (80, 64)
    with pytest.raises(ImageError, match=rf"a.{suffix}: "):
        load_image(file)


def test_truncated_images_that_are_open_already(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)).save(file)
    file.write_bytes(file.read_bytes()[:3000])
    with Image.open(file) as image, pytest.raises(ImageError, match="damaged or truncated"):
        load_image(image)


def test_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(ImageError, match=r"a.jpg: permission to read the image is denied"):
        load_image(tmp_path / "a.jpg")


@pytest.mark.parametrize("name", ["Mönchsgrasmücke.png", "鳥.png", "a b 'c'.png", "🐦.png"])
def test_names_outside_ascii(tmp_path: Path, name: str) -> None:
    Image.fromarray(RGB).save(tmp_path / name)
    np.testing.assert_array_equal(pixels(load_image(str(tmp_path / name))), RGB)
    assert image_size(tmp_path / name) == (6, 4)


def small_files() -> dict[str, bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {}
    for suffix in ("png", "jpeg", "gif", "tiff", "webp", "bmp", "ico", "ppm"):
        buffer = io.BytesIO()
        Image.fromarray(RGB).save(
            buffer, suffix, **({"exif": exif} if suffix in ("png", "jpeg", "tiff", "webp") else {})
        )
        files[suffix] = buffer.getvalue()
    return files


FILES = small_files()


@settings(max_examples=300)
@given(suffix=st.sampled_from(sorted(FILES)), data=st.data())
def test_damaged_bytes_give_an_image_or_an_image_error(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, data: st.DataObject
) -> None:
    content = bytearray(FILES[suffix])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    del content[data.draw(st.integers(1, len(content))) :]
    file = tmp_path_factory.getbasetemp() / f"damaged.{suffix}"
    file.write_bytes(bytes(content))
    try:
        size = image_size(file)
    except ImageError:
        size = None
    try:
        image = load_image(file)
    except ImageError:
        return
    assert image.mode == "RGB"
    assert image.size == size
