"""Every kind of picture becomes the right uint8 array."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from gancli.data.pixels import check_crop, fit, flatten, is_grey, parallel, resize, to_array
from gancli.errors import UsageError


def reopen(image: Image.Image, kind: str = "PNG", **kwargs: object) -> Image.Image:
    """Through a real file, as a user's picture comes."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **kwargs)
    return Image.open(io.BytesIO(buffer.getvalue()))


def ramp(height: int = 16, width: int = 16) -> np.ndarray:
    return (np.arange(height * width) % 256).astype(np.uint8).reshape(height, width)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_divided_by_257_and_never_saturates(kind: str) -> None:
    values = np.array([[0, 128, 129, 257, 511, 32768, 65406, 65535]], np.uint16)
    image = reopen(Image.fromarray(values), kind)
    assert is_grey(image)
    assert to_array(flatten(image)).tolist() == [[[0, 0, 1, 1, 2, 128, 254, 255]]]


def test_sixteen_bit_rgb_keeps_the_high_byte() -> None:
    rgb = np.array([[[0, 257, 65535], [32896, 512, 65280]]], ">u2")
    raw = b"".join(b"\0" + row.tobytes() for row in rgb)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    array = to_array(flatten(Image.open(io.BytesIO(png))))
    assert array[:, 0].T.tolist() == [[0, 1, 255], [128, 2, 255]]


def test_one_bit_and_grey_stay_grey() -> None:
    bits = np.array([[True, False], [False, True]])
    image = reopen(Image.fromarray(bits))
    assert image.mode == "1" and is_grey(image)
    assert to_array(flatten(image)).tolist() == [[[255, 0], [0, 255]]]
    assert np.array_equal(to_array(flatten(reopen(Image.fromarray(ramp()))))[0], ramp())


def test_grey_becomes_rgb_by_repetition_and_rgb_grey_by_luma() -> None:
    grey = flatten(Image.fromarray(ramp()), 3)
    assert all(np.array_equal(channel, ramp()) for channel in to_array(grey))
    colours = np.random.RandomState(0).randint(0, 256, (9, 9, 3), dtype=np.uint8)
    luma = colours @ np.array([0.299, 0.587, 0.114])
    assert np.abs(to_array(flatten(Image.fromarray(colours), 1))[0] - luma).max() <= 0.51


def test_palettes() -> None:
    image = Image.new("P", (3, 1))
    image.putdata([0, 1, 2])
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    assert not is_grey(reopen(image))
    assert to_array(flatten(reopen(image)))[:, 0].T.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255]]
    clear = reopen(image, transparency=1)  # colour 1 is see-through
    assert to_array(flatten(clear))[:, 0].T.tolist() == [[255, 0, 0], [255, 255, 255], [0, 0, 255]]
    image.putpalette([10, 10, 10, 20, 20, 20, 30, 30, 30])
    assert is_grey(reopen(image))
    assert to_array(flatten(reopen(image))).tolist() == [[[10, 20, 30]]]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_alpha_is_composited_on_white(kind: str) -> None:
    rgba = np.array([[[200, 100, 0, 255], [200, 100, 0, 0]]], np.uint8).repeat(8, 0).repeat(8, 1)
    array = to_array(flatten(reopen(Image.fromarray(rgba), kind, **({"lossless": True} if kind == "WEBP" else {}))))
    assert array[:, 0, 0].tolist() == [200, 100, 0] and array[:, 0, 15].tolist() == [255, 255, 255]
    half = to_array(flatten(Image.new("RGBA", (1, 1), (0, 0, 0, 128))))
    assert half[:, 0, 0].tolist() == [127, 127, 127]


def test_grey_with_alpha_stays_grey() -> None:
    image = reopen(Image.merge("LA", (Image.new("L", (2, 2), 40), Image.new("L", (2, 2), 0))))
    assert image.mode == "LA" and is_grey(image)
    assert to_array(flatten(image)).tolist() == [[[255, 255], [255, 255]]]
    keyed = reopen(Image.new("L", (1, 1), 7), transparency=7)
    assert to_array(flatten(keyed)).tolist() == [[[255]]]


def test_cmyk_jpeg_and_first_frame_of_a_gif() -> None:
    red = reopen(Image.new("RGB", (8, 8), (255, 0, 0)).convert("CMYK"), "JPEG", quality=95)
    assert red.mode == "CMYK"
    assert np.abs(to_array(flatten(red))[:, 4, 4].astype(int) - [255, 0, 0]).max() <= 3
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("blue", "white")]
    gif = reopen(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert to_array(flatten(gif))[:, 0, 0].tolist() == [0, 0, 255]


def test_exif_orientation_is_honoured() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it rotated by 270 degrees counter-clockwise
    image = reopen(Image.fromarray(ramp(4, 8)), "PNG", exif=exif)
    assert np.array_equal(to_array(flatten(image))[0], np.rot90(ramp(4, 8), -1))


def test_floats_are_refused_because_their_range_is_unknown() -> None:
    with pytest.raises(ValueError, match="range"):
        flatten(reopen(Image.fromarray(np.array([[0.5]], np.float32)), "TIFF"))
    with pytest.raises(ValueError, match="range"):
        flatten(reopen(Image.fromarray(np.array([[70000]], np.int32)), "TIFF"))


@pytest.mark.parametrize(("crop", "left"), [("center", 100), (4, 100), ("none", 0)])
def test_crop(crop: str | int, left: int) -> None:
    picture = np.full((6, 18), 100, np.uint8)
    picture[:, :6], picture[:, 12:] = 0, 200  # thirds
    array = np.asarray(resize(Image.fromarray(picture), 6, crop))
    assert array.shape == (6, 6) and abs(int(array[3, 0]) - left) <= 12
    assert resize(Image.fromarray(picture), None, "center").size == (18, 6)
    assert resize(Image.fromarray(picture), None, 4).size == (4, 4)


def test_resize_is_antialiased() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))  # one pixel wide: they must average, not alias
    assert np.abs(np.asarray(resize(Image.fromarray(stripes), 16)).astype(int) - 127).max() <= 12


def test_fit_does_for_arrays_what_flatten_and_resize_do_for_files() -> None:
    pixels = np.random.RandomState(1).randint(0, 256, (70, 3, 36, 36), dtype=np.uint8)
    one = to_array(resize(flatten(Image.fromarray(pixels[69].transpose(1, 2, 0)), 1), 8))
    small = fit(pixels, 8, 1)
    assert small.shape == (70, 1, 8, 8) and np.array_equal(small[69], one)
    assert np.array_equal(fit(pixels, None, None), pixels)
    assert fit(pixels, None, None, crop=20).shape == (70, 3, 20, 20)


@pytest.mark.parametrize("crop", ["centre", 0, -3, True, 1.5])
def test_bad_crop(crop: object) -> None:
    with pytest.raises(UsageError, match=r"data.crop=.*center.*none"):
        check_crop(crop)


@pytest.mark.parametrize("workers", [1, 3])
def test_parallel_keeps_order_and_raises(workers: int) -> None:
    assert list(parallel(lambda x: x * x, range(1000), workers, chunk=7)) == [x * x for x in range(1000)]
    with pytest.raises(ZeroDivisionError):
        list(parallel(lambda x: 1 // (x - 50), range(100), workers, chunk=7))
