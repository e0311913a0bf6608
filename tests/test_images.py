"""Pictures of every kind that people have, as the network will see them; what is damaged or too large is refused."""

import io
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import PIL.Image
import pytest

from components import preprocessing
from components.datasets import images
from components.datasets.images import read_picture, split_sides

PIXELS = np.array([[[0, 50, 100], [7, 8, 9], [255, 254, 253]], [[10, 20, 30], [200, 0, 0], [1, 2, 3]]], np.uint8)
GREY = np.array([[0, 7, 255], [128, 1, 200]], np.uint8)
GREY_16 = np.array([[0, 256, 65535], [255, 32768, 0x1234]], np.uint16)
UPPER_BITS = [[0, 1, 255], [0, 128, 0x12]]
"""Of `GREY_16`."""


def _encode(pixels: np.ndarray | PIL.Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    image = pixels if isinstance(pixels, PIL.Image.Image) else PIL.Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def _photo(height: int = 20, width: int = 30) -> PIL.Image.Image:
    return PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8))


def _three(grey: np.ndarray | list[list[int]]) -> list[list[list[int]]]:
    return np.stack([np.asarray(grey)] * 3, axis=-1).tolist()


def _with_alpha(pixels: np.ndarray) -> np.ndarray:
    return np.dstack([pixels, np.array([[0, 128, 255], [255, 0, 3]], np.uint8)])


def _in_palette() -> PIL.Image.Image:
    """Returns `PIXELS` with a palette."""
    image = PIL.Image.frombytes("P", (3, 2), bytes(range(6)))
    image.putpalette(PIXELS.tobytes())
    return image


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _raw_png(width: int, height: int, bits: int, color_type: int, rows: bytes, behind: bytes = b"") -> bytes:
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + _chunk(b"IDAT", zlib.compress(rows)) + behind + _chunk(b"IEND", b"")


def _exif(orientation: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return exif


def _decode(encoded: bytes) -> np.ndarray:
    return preprocessing.decode_image(encoded).numpy()


RGB_16 = _raw_png(2, 1, 16, 2, b"\0" + bytes([1, 99, 2, 99, 3, 99, 255, 0, 0, 255, 128, 1]))

OWN_BYTES = {
    "JPEG RGB": [
        _encode(_photo(), "JPEG"),
        _encode(_photo(), "JPEG", progressive=True),
        _encode(_photo(), "JPEG", quality=100, subsampling=0, exif=_exif(1), icc_profile=b"x" * 100) + b"trailing",
        _encode(_photo(), "JPEG", exif=_exif(6)),
        _encode(_photo(), "MPO", save_all=True, append_images=[_photo(20, 30).rotate(180)]),
    ],
    "JPEG L": [_encode(_photo().convert("L"), "JPEG")],
    "JPEG CMYK": [_encode(_photo().convert("CMYK"), "JPEG")],
    "PNG RGB": [_encode(PIXELS), RGB_16],
    "PNG L": [_encode(GREY), _raw_png(2, 1, 4, 0, b"\0\x12")],
    "PNG LA": [_encode(_with_alpha(GREY))],
    "PNG RGBA": [_encode(_with_alpha(PIXELS))],
    "PNG P": [_encode(_in_palette()), _encode(_in_palette(), transparency=bytes([0, 5, 255]))],
    "PNG I;16": [_encode(GREY_16)],
    "PNG 1": [_encode(GREY > 100)],
}


@pytest.mark.parametrize(("kind", "encoded"), [(kind, encoded) for kind, some in OWN_BYTES.items() for encoded in some])
def test_jpeg_and_png_keep_their_own_bytes_and_say_their_kind(kind: str, encoded: bytes) -> None:
    picture = read_picture(encoded)
    assert picture.kind == kind
    assert picture.encoded is encoded
    assert picture.pixels.dtype == np.uint8
    np.testing.assert_array_equal(picture.pixels, _decode(encoded))


# What the pixels are, by hand.


@pytest.mark.parametrize(
    ("encoded", "expected"),
    [
        pytest.param(_encode(PIXELS), PIXELS.tolist(), id="PNG"),
        pytest.param(_encode(GREY), _three(GREY), id="grey"),
        pytest.param(_encode(_with_alpha(GREY)), _three(GREY), id="grey with alpha"),
        pytest.param(_encode(_with_alpha(PIXELS)), PIXELS.tolist(), id="alpha is dropped, not laid over black"),
        pytest.param(_encode(_in_palette()), PIXELS.tolist(), id="palette"),
        pytest.param(_encode(_in_palette(), transparency=1), PIXELS.tolist(), id="palette with a transparent index"),
        pytest.param(_encode(GREY > 100), _three([[0, 0, 255], [255, 0, 255]]), id="1 bit"),
        pytest.param(_raw_png(2, 1, 4, 0, b"\0\x12"), _three([[17, 34]]), id="4 bits are spread"),
        pytest.param(_encode(GREY_16), _three(UPPER_BITS), id="16 bits"),
        pytest.param(RGB_16, [[[1, 2, 3], [255, 0, 128]]], id="colours of 16 bits"),
        pytest.param(_encode(PIXELS, "BMP"), PIXELS.tolist(), id="BMP"),
        pytest.param(_encode(_in_palette(), "BMP"), PIXELS.tolist(), id="palette BMP"),
        pytest.param(_encode(_in_palette(), "GIF"), PIXELS.tolist(), id="GIF"),
        pytest.param(_encode(PIXELS, "TIFF"), PIXELS.tolist(), id="TIFF"),
        pytest.param(_encode(PIXELS, "TIFF", compression="tiff_lzw"), PIXELS.tolist(), id="TIFF, LZW"),
        pytest.param(_encode(GREY, "TIFF"), _three(GREY), id="grey TIFF"),
        pytest.param(_encode(_with_alpha(PIXELS), "TIFF"), PIXELS.tolist(), id="TIFF with alpha"),
        pytest.param(_encode(GREY_16, "TIFF"), _three(UPPER_BITS), id="TIFF of 16 bits, as PNG"),
        pytest.param(_encode(PIL.Image.fromarray(GREY_16.astype(">u2")), "TIFF"), _three(UPPER_BITS), id="TIFF, big-endian"),
        pytest.param(_encode(GREY > 100, "TIFF"), _three([[0, 0, 255], [255, 0, 255]]), id="TIFF of 1 bit"),
        pytest.param(_encode(PIXELS, "WEBP", lossless=True), PIXELS.tolist(), id="WebP"),
        pytest.param(_encode(_with_alpha(PIXELS), "WEBP", lossless=True, exact=True), PIXELS.tolist(), id="WebP with alpha"),
    ],
)
def test_pixels_are_rgb_whatever_the_file(encoded: bytes, expected: list[Any]) -> None:
    picture = read_picture(encoded)
    assert picture.pixels.tolist() == expected
    assert picture.pixels.dtype == np.uint8


@pytest.mark.parametrize(
    ("kind", "encoded"),
    [
        ("BMP RGB", _encode(PIXELS, "BMP")),
        ("GIF P", _encode(_in_palette(), "GIF")),
        ("TIFF L", _encode(GREY, "TIFF")),
        ("TIFF I;16", _encode(GREY_16, "TIFF")),
        ("WEBP RGB", _encode(_photo(), "WEBP")),
        ("WEBP RGBA", _encode(_with_alpha(PIXELS), "WEBP")),
    ],
)
def test_other_formats_become_png_of_the_same_pixels(kind: str, encoded: bytes) -> None:
    picture = read_picture(encoded)
    assert picture.kind == kind
    with PIL.Image.open(io.BytesIO(picture.encoded)) as image:
        assert (image.format, image.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.asarray(image), picture.pixels)
    np.testing.assert_array_equal(_decode(picture.encoded), picture.pixels)
    assert read_picture(encoded).encoded == picture.encoded  # The same bytes each time.


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_jpeg_is_turned_as_its_exif_says(orientation: int, mode: str) -> None:
    plain = np.asarray(PIL.Image.open(io.BytesIO(_encode(_photo().convert(mode), "JPEG"))).convert("RGB"))
    turned = {
        1: plain,
        2: plain[:, ::-1],
        3: plain[::-1, ::-1],
        4: plain[::-1],
        5: plain.transpose(1, 0, 2),
        6: np.rot90(plain, -1),
        7: plain[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(plain),
    }[orientation]
    encoded = _encode(_photo().convert(mode), "JPEG", exif=_exif(orientation))
    picture = read_picture(encoded)
    assert picture.pixels.shape == ((20, 30, 3) if orientation < 5 else (30, 20, 3))
    # Two decoders of JPEG may differ by little; turned otherwise, noise differs by 85 on average.
    assert np.abs(picture.pixels.astype(int) - turned).mean() < 2
    assert picture.encoded is encoded


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_other_formats_are_not_turned(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    assert read_picture(_encode(PIXELS, kind, exif=_exif(6), **options)).pixels.tolist() == PIXELS.tolist()


@pytest.mark.parametrize("pixels", [GREY, GREY_16 // 256 * 256], ids=["8 bits", "16 bits"])
def test_tiff_is_turned_as_pillow_turns_it_once(pixels: np.ndarray) -> None:
    upper = pixels if pixels.dtype == np.uint8 else (pixels >> 8).astype(np.uint8)
    picture = read_picture(_encode(pixels, "TIFF", tiffinfo={0x0112: 6}))
    assert picture.pixels[..., 0].tolist() == np.rot90(upper, -1).tolist()
    assert _decode(picture.encoded).tolist() == picture.pixels.tolist()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "TIFF", "WEBP"])
def test_first_frame_of_several_counts(kind: str) -> None:
    frames = [PIL.Image.new("RGB", (4, 2), color) for color in ((255, 0, 0), (0, 0, 255), (0, 255, 0))]
    options = {"lossless": True} if kind == "WEBP" else {}
    encoded = _encode(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    with PIL.Image.open(io.BytesIO(encoded)) as image:
        assert image.n_frames == 3
    assert read_picture(encoded).pixels.tolist() == [[[255, 0, 0]] * 4] * 2


def test_first_picture_of_a_telephones_jpeg_counts() -> None:
    frames = [PIL.Image.new("RGB", (16, 16), color) for color in ((250, 0, 0), (0, 0, 250))]
    encoded = _encode(frames[0], "MPO", save_all=True, append_images=frames[1:])
    with PIL.Image.open(io.BytesIO(encoded)) as image:
        assert (image.format, image.n_frames) == ("MPO", 2)
    red, _, blue = read_picture(encoded).pixels.reshape(-1, 3).mean(axis=0)
    assert red > 240 and blue < 10


def test_picture_of_one_pixel() -> None:
    assert read_picture(_encode(np.array([[[1, 2, 3]]], np.uint8))).pixels.tolist() == [[[1, 2, 3]]]


# Damage.


@pytest.mark.parametrize(
    "encoded", [b"", b"a photograph\n", b"<html></html>", bytes(100)], ids=["empty", "text", "html", "zeros"]
)
def test_file_that_is_no_picture_is_refused_without_an_address(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="^the image cannot be read: cannot identify image file$"):
        read_picture(encoded)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_tiff_of_32_bits_is_refused(mode: str) -> None:
    with pytest.raises(ValueError, match=f"^the image has mode {mode}, 32 bits; expected 8 or 16 bits a channel$"):
        read_picture(_encode(PIL.Image.new(mode, (3, 2)), "TIFF"))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(_encode(PIXELS), id="PNG"),
        pytest.param(_encode(PIXELS, "JPEG"), id="JPEG"),
        pytest.param(_encode(PIXELS, "JPEG", progressive=True, exif=_exif(6)), id="progressive JPEG"),
        pytest.param(_encode(_in_palette(), "GIF"), id="GIF"),
        pytest.param(_encode(PIXELS, "BMP"), id="BMP"),
        pytest.param(_encode(PIXELS, "TIFF"), id="TIFF"),
        pytest.param(_encode(PIXELS, "WEBP", lossless=True), id="WebP"),
    ],
)
def test_picture_cut_at_any_byte_is_refused_in_one_line_or_whole(encoded: bytes) -> None:
    whole = read_picture(encoded).pixels
    refused = 0
    for length in range(len(encoded)):
        try:
            np.testing.assert_array_equal(read_picture(encoded[:length]).pixels, whole)
        except ValueError as error:
            message = str(error)
            assert message.startswith(("the image cannot be read: ", "the image is damaged: ")), message
            assert not any(part in message for part in ("\n", "0x", "{{", "[Op", "[[", "<_io")), message
            refused += 1
    assert refused > len(encoded) / 4  # Some formats put what is not needed at their end.


@pytest.mark.parametrize(("kind", "reason"), [("JPEG", "Invalid JPEG data"), ("PNG", "Invalid PNG data")])
def test_picture_cut_within_its_pixels_gives_the_decoders_reason_and_nothing_of_our_code(kind: str, reason: str) -> None:
    encoded = _encode(_photo(40, 60), kind)
    with pytest.raises(ValueError, match=f"^the image is damaged: .*{reason}") as error:
        read_picture(encoded[:-200])
    assert len(str(error.value)) < 100
    assert not any(part in str(error.value) for part in ("Graph execution", "Detected", ".py", "name:", "\n", "[", "{"))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(("kind", "mode"), [("PNG", "RGB"), ("JPEG", "RGB"), ("GIF", "P"), ("BMP", "RGB"), ("TIFF", "RGB")])
def test_damaged_picture_is_refused_or_read_never_anything_else(kind: str, mode: str) -> None:
    encoded = _encode(PIL.Image.fromarray(PIXELS).convert(mode), kind, **({"exif": _exif(6)} if kind == "JPEG" else {}))
    rng = np.random.default_rng(0)
    for _ in range(200):
        damaged = bytearray(encoded)
        for place in rng.integers(0, min(len(encoded), 300), size=rng.integers(1, 5)):
            damaged[place] = rng.integers(256)
        try:
            picture = read_picture(bytes(damaged))
        except ValueError as error:
            assert type(error) is ValueError
            assert str(error).startswith("the image ")
        else:
            assert picture.pixels.ndim == 3 and picture.pixels.shape[2] == 3 and picture.pixels.size > 0


def test_tiff_whose_tag_has_a_value_of_another_type_is_refused_not_thrown() -> None:
    # The place of the pixels as a float: Pillow raises TypeError.
    encoded = bytearray(_encode(PIXELS, "TIFF"))
    start = encoded.index(struct.pack("<HHI", 273, 4, 1))
    encoded[start + 2 : start + 12] = struct.pack("<HIf", 11, 1, 3.0)
    with pytest.raises(ValueError, match="^the image is damaged: 'float' object"):
        read_picture(bytes(encoded))


def _huge(kind: str, width: int, height: int) -> bytes:
    """Returns a small file whose header claims a size."""
    if kind == "PNG":
        return _raw_png(width, height, 8, 2, b"\0")
    encoded = bytearray(_encode(PIXELS, kind))
    if kind == "BMP":
        encoded[18:26] = struct.pack("<ii", width, height)
        return bytes(encoded)
    start = encoded.index(b"\xff\xc0") + 5
    encoded[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(encoded)


@pytest.mark.parametrize(("kind", "width", "height"), [("PNG", 60000, 60000), ("JPEG", 65535, 65535), ("BMP", 60000, 50000)])
def test_bomb_is_refused_by_its_header(kind: str, width: int, height: int) -> None:
    read_picture(_encode(PIXELS))  # The decoder is made, which takes memory of its own.
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf"^the image cannot be read: .*{width * height} pixels"):
            read_picture(_huge(kind, width, height))
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("width", "height"), [(16385, 2), (3, 16385), (20000, 4000)])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_side_that_is_too_long_is_refused_by_its_header(kind: str, width: int, height: int) -> None:
    with pytest.raises(ValueError, match=rf"^the image has {width}x{height} pixels; a side may have 16384$"):
        read_picture(_huge(kind, width, height))


def test_longest_side_is_read() -> None:
    assert read_picture(_encode(np.zeros((1, 16384), np.uint8))).pixels.shape == (1, 16384, 3)


# Sides.


def test_sides_are_divided_with_exact_values() -> None:
    both = np.concatenate([PIXELS, PIXELS[::-1]], axis=1)
    picture = read_picture(_encode(both, "BMP"))
    image, mask = split_sides(picture, "right")
    assert (image.pixels.tolist(), mask.tolist()) == (PIXELS.tolist(), PIXELS[::-1].tolist())
    image, mask = split_sides(picture, "left")
    assert (image.pixels.tolist(), mask.tolist()) == (PIXELS[::-1].tolist(), PIXELS.tolist())
    assert image.kind == "BMP RGB"
    assert (mask.dtype, image.pixels.dtype) == (np.uint8, np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_half_that_is_the_image_is_encoded_without_loss(kind: str) -> None:
    picture = read_picture(_encode(_photo(), kind))
    image, _ = split_sides(picture, "right")
    assert image.encoded.startswith(b"\x89PNG")
    np.testing.assert_array_equal(_decode(image.encoded), picture.pixels[:, :15])


def test_sides_of_a_turned_jpeg_are_those_of_the_turned_picture() -> None:
    # Stored 8 wide and 32 high, above white and below black; turned by 90 degrees to the right, black is on the left.
    stored = np.zeros((32, 8, 3), np.uint8)
    stored[:16] = 255
    image, mask = split_sides(read_picture(_encode(stored, "JPEG", exif=_exif(6))), "left")
    assert image.pixels.shape == mask.shape == (8, 16, 3)
    assert image.pixels.min() > 250 and mask.max() < 5


@pytest.mark.parametrize("width", [1, 3])
def test_odd_width_has_no_two_halves(width: int) -> None:
    picture = read_picture(_encode(PIXELS[:, :width]))
    with pytest.raises(ValueError, match=f"^the image is {width} pixels wide; expected two halves of one size$"):
        split_sides(picture, "left")


def test_png_that_is_written_is_the_pixels() -> None:
    part = np.ascontiguousarray(PIXELS.repeat(2, axis=1))[:, ::2]  # Not contiguous.
    assert _decode(images.encode_png(part)).tolist() == PIXELS.tolist()
