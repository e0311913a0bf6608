"""Sizes by the header alone, against Pillow, and what is too large."""

import io
import struct

import PIL.Image
import pytest

from components import picture_size


def _encode(width: int, height: int, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (width, height)).save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "encoded",
    [
        _encode(7, 5, "PNG"),
        _encode(7, 5, "JPEG"),
        _encode(7, 5, "JPEG", progressive=True),
        _encode(7, 5, "JPEG", exif=b"Exif\0\0" + b"\xff\xc0" * 400, comment=b"\xff\xc0\xff\xff" * 9),
        _encode(7, 5, "PNG")[:24],
        b"\xff\xd8\0\0\xff\xff" + _encode(7, 5, "JPEG")[3:],  # Bytes between segments, of which libjpeg only warns.
    ],
)
def test_size_is_that_of_the_header(encoded: bytes) -> None:
    assert picture_size.is_picture(encoded)
    assert picture_size.header_size(encoded) == (5, 7)


@pytest.mark.parametrize(
    "encoded", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"\xff\xd8" + b"\xff" * 99, b"\xff\xd8\xff\xe0\0\0" * 9]
)
def test_what_has_no_header_has_no_size(encoded: bytes) -> None:
    assert picture_size.header_size(encoded) is None
    assert picture_size.refusal(encoded, 1) == ""


def test_size_is_that_which_pillow_reads() -> None:
    for width, height in ((1, 1), (16_385, 3), (640, 480)):
        for kind in ("PNG", "JPEG"):
            encoded = _encode(width, height, kind)
            assert picture_size.header_size(encoded) == PIL.Image.open(io.BytesIO(encoded)).size[::-1]


def test_too_large_a_picture_is_told_so_with_its_size_and_the_limit() -> None:
    bomb = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 8000, 4001)
    assert picture_size.refusal(bomb, 32_008_000) == ""
    assert picture_size.refusal(bomb, 32_000_000) == (
        "too large a picture: 8000 x 4001 pixels; at most 32 megapixels, and 16384 pixels a side, are taken"
    )
    assert "16385 x 3" in picture_size.refusal(_encode(16_385, 3, "PNG"), 32_000_000)


def test_file_of_nothing_but_markers_is_given_up() -> None:
    frame = b"\xff\xc0\x00\x0b\x08\x00\x05\x00\x07\x01"
    assert picture_size.header_size(b"\xff\xd8" + b"\xff\x00" * 50_000 + frame) == (5, 7)
    assert picture_size.header_size(b"\xff\xd8" + b"\xff\x00" * 150_000 + frame) is None
