"""How large a picture is by its header, without decoding it: what is refused for its size is told so."""

import struct

from components.features import MAX_SIDE_PX

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8"
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""The markers of JPEG's segments that tell its size."""
_BARE = frozenset({0x00, 0x01, *range(0xD0, 0xDA)})
"""Those that are no segments."""
_MOST_SEGMENTS = 100_000
"""After which a header is given up: a file may be megabytes of markers."""


def is_picture(encoded: bytes) -> bool:
    """Tells whether bytes begin as a PNG or a JPEG does."""
    return encoded.startswith((_PNG, _JPEG))


def header_size(encoded: bytes) -> tuple[int, int] | None:
    """Returns height and width by the header, before a turn that EXIF may ask for; None where there is no such header."""
    if encoded.startswith(_PNG):
        if len(encoded) < 24 or encoded[12:16] != b"IHDR":
            return None
        width, height = struct.unpack_from(">II", encoded, 16)
        return height, width
    return _jpeg_size(encoded) if encoded.startswith(_JPEG) else None


def is_too_large(size: tuple[int, int], max_pixels: int) -> bool:
    """Tells whether a model refuses a picture of this size, as `serving.check_header` does."""
    return size[0] * size[1] > max_pixels or max(size) > MAX_SIDE_PX


def refusal(encoded: bytes, max_pixels: int) -> str:
    """Returns why a picture is too large; "" where it is not, or is none."""
    size = header_size(encoded)
    if size is None or not is_too_large(size, max_pixels):
        return ""
    limit = f"{max_pixels / 1e6:.0f} megapixels, and {MAX_SIDE_PX} pixels a side"
    return f"too large a picture: {size[1]} x {size[0]} pixels; at most {limit}, are taken"


def _jpeg_size(encoded: bytes) -> tuple[int, int] | None:
    """Returns height and width of the first frame; what lies between segments is passed over, as libjpeg does."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        at = encoded.find(b"\xff", at)
        if at < 0 or at + 9 > len(encoded):
            return None
        marker = encoded[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _FRAMES:
            height, width = struct.unpack_from(">HH", encoded, at + 5)
            return height, width
        else:
            at += 2 if marker in _BARE else 2 + struct.unpack_from(">H", encoded, at + 2)[0]
    return None
