"""Photographs of every kind become upright square RGB, pixel by pixel as expected."""

import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from pipeline.photos import repair as module
from pipeline.photos.repair import CONVERTED, CROPPED, ENLARGED, PADDED, TURNED, DamagedError, repair

RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (16, 16, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_a_plain_photograph_is_left_alone():
    done = repair(encoded(Image.fromarray(RGB)), 16)
    np.testing.assert_array_equal(done.image, RGB)
    assert done.repairs == ()


@pytest.mark.parametrize(("source", "size"), [(128, 64), (100, 32), (300, 128), (1024, 512)])
def test_resizing_is_pillows_lanczos_at_full_decoding(source, size):
    noise = RNG.integers(0, 256, (source // 4, source // 4, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise).resize((source, source)), "JPEG", quality=90)
    whole = Image.open(io.BytesIO(data)).convert("RGB")
    expected = np.asarray(whole.resize((size, size), Image.Resampling.LANCZOS))
    np.testing.assert_array_equal(repair(data, size).image, expected)


# Orientation → what has to be done to the upright picture to get the one that is stored.
STORED = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, -1),
}


@pytest.mark.parametrize("orientation", STORED)
def test_exif_orientation(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    done = repair(encoded(Image.fromarray(np.ascontiguousarray(STORED[orientation](RGB))), exif=exif), 16)
    np.testing.assert_array_equal(done.image, RGB)
    assert done.repairs == (() if orientation == 1 else (TURNED,))


def test_a_rotated_jpeg_is_turned():
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = np.zeros((32, 32, 3), np.uint8)
    upright[:16] = 255  # sky above
    data = encoded(Image.fromarray(np.ascontiguousarray(np.rot90(upright))), "JPEG", quality=95, exif=exif)
    done = repair(data, 32).image
    assert done[:14].min() > 240
    assert done[18:].max() < 15


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_means_nothing(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(repair(encoded(Image.fromarray(RGB), exif=exif), 16).image, RGB)


def test_exif_that_cannot_be_read():
    data = encoded(Image.fromarray(RGB), "JPEG", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff" + bytes(8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert repair(data, 16).image.shape == (16, 16, 3)


def test_greyscale():
    grey = RGB[..., 0]
    done = repair(encoded(Image.fromarray(grey)), 16)
    np.testing.assert_array_equal(done.image, np.stack([grey] * 3, -1))
    assert done.repairs == (CONVERTED,)


def test_black_and_white():
    bits = RGB[..., 0] > 127
    done = repair(encoded(Image.fromarray(bits)), 16).image
    np.testing.assert_array_equal(done, np.stack([bits * np.uint8(255)] * 3, -1))


def test_sixteen_bits_are_scaled_not_clipped():
    deep = RNG.integers(0, 65536, (16, 16), dtype=np.uint16)
    done = repair(encoded(Image.fromarray(deep)), 16).image
    expected = np.floor(deep / 257 + 0.5).astype(np.uint8)
    np.testing.assert_array_equal(done, np.stack([expected] * 3, -1))
    np.testing.assert_array_equal(repair(encoded(Image.fromarray(deep), "TIFF"), 16).image, done)


def test_sixteen_bit_colour():
    deep = RNG.integers(0, 65536, (16, 16, 3), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 16, 2, 0, 0, 0))
    png += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    done = repair(png, 16).image
    assert np.abs(done.astype(int) - np.round(deep / 257)).max() <= 1


def test_alpha_is_laid_on_white():
    alpha = RNG.integers(0, 256, (16, 16), dtype=np.uint8)
    done = repair(encoded(Image.fromarray(np.dstack([RGB, alpha]))), 16)
    share = alpha[..., None] / 255
    expected = RGB * share + 255 * (1 - share)
    assert np.abs(done.image - expected).max() <= 1
    assert done.repairs == (CONVERTED,)


def test_opaque_alpha_changes_nothing():
    opaque = np.dstack([RGB, np.full((16, 16), 255, np.uint8)])
    np.testing.assert_array_equal(repair(encoded(Image.fromarray(opaque)), 16).image, RGB)


def test_grey_with_alpha():
    pair = np.dstack([RGB[..., 0], np.full((16, 16), 255, np.uint8)])
    np.testing.assert_array_equal(repair(encoded(Image.fromarray(pair)), 16).image, np.stack([RGB[..., 0]] * 3, -1))


def test_palette():
    palette = Image.fromarray(RGB).quantize(32)
    done = repair(encoded(palette), 16)
    np.testing.assert_array_equal(done.image, np.asarray(palette.convert("RGB")))
    assert done.repairs == (CONVERTED,)


def test_palette_with_a_transparent_colour():
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([10, 20, 30, 200, 100, 50])
    palette.paste(0, (0, 0, 8, 16))
    done = repair(encoded(palette, transparency=0), 16).image
    assert (done[:, :8] == 255).all()
    assert (done[:, 8:] == (200, 100, 50)).all()


def test_cmyk_jpeg():
    flat = (
        np.array([[(255, 0, 0), (0, 160, 0)], [(30, 60, 200), (250, 250, 250)]], np.uint8).repeat(16, 0).repeat(16, 1)
    )
    data = encoded(Image.fromarray(flat).convert("CMYK"), "JPEG", quality=100, subsampling=0)
    assert Image.open(io.BytesIO(data)).mode == "CMYK"
    done = repair(data, 32)
    assert np.abs(done.image.astype(int) - flat).max() <= 6
    assert done.repairs == (CONVERTED,)


@pytest.mark.parametrize(("width", "height", "left", "top"), [(24, 16, 4, 0), (16, 25, 0, 4), (17, 16, 0, 0)])
def test_the_middle_square_is_cut_out(width, height, left, top):
    wide = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    done = repair(encoded(Image.fromarray(wide)), 16)
    np.testing.assert_array_equal(done.image, wide[top : top + 16, left : left + 16])
    assert done.repairs == (CROPPED,)


@pytest.mark.parametrize(("width", "height", "left", "top"), [(16, 10, 0, 3), (9, 16, 4, 0), (16, 15, 0, 1)])
def test_all_is_kept_between_black_bars(width, height, left, top):
    wide = RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)
    expected = np.zeros((16, 16, 3), np.uint8)
    expected[top : top + height, left : left + width] = wide
    done = repair(encoded(Image.fromarray(wide)), 16, square="pad")
    np.testing.assert_array_equal(done.image, expected)
    assert done.repairs == (PADDED,)


def test_a_small_photograph_is_enlarged_and_said_to_be():
    done = repair(encoded(Image.fromarray(RGB)), 32)
    assert done.image.shape == (32, 32, 3)
    assert done.repairs == (ENLARGED,)


def test_webp_is_read():
    np.testing.assert_array_equal(repair(encoded(Image.fromarray(RGB), "WEBP", lossless=True), 16).image, RGB)


PHOTO = encoded(Image.fromarray(RGB).resize((64, 64)), "JPEG")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a picture",
        PHOTO[: len(PHOTO) // 2],
        PHOTO[:30],
        b"\xff\xd8\xff\xe0" + bytes(500),
        encoded(Image.fromarray(RGB))[:70],
        encoded(Image.fromarray(RGB), "GIF"),
        encoded(Image.fromarray(RGB[..., 0].astype(np.float32)), "TIFF"),
    ],
    ids=["empty", "text", "half", "header", "zeros", "half a PNG", "GIF", "floats"],
)
def test_damaged(data):
    with pytest.raises(DamagedError):
        repair(data, 16)


@pytest.mark.parametrize("side", [9_500, 12_000, 100_000])
def test_a_header_of_too_many_pixels(side):
    png = encoded(Image.fromarray(RGB))
    header = b"IHDR" + struct.pack(">II", side, side) + png[24:29]
    bomb = png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(DamagedError, match=str(module.MAX_PIXELS)):
            repair(bomb, 16)
