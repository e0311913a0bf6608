"""Masks in every encoding and every file that holds one, read as ids; what could mean something else is refused."""

import dataclasses
import io
import pathlib
import re
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import PIL.Image
import pytest

from components import features
from components.datasets import images, mask_reader, raster
from components.datasets.mask_reader import decode_mask
from components.datasets.spec import DatasetSpec, MaskEncoding
from components.features import Color

VOC = features.voc_palette()
IDS = np.array([[0, 1, 15], [20, 255, 0]], np.uint8)
IDS_ONLY = np.array([[0, 1, 2], [2, 1, 0]], np.uint8)
BLACK, RED, BLUE, GREY, WHITE = (0, 0, 0), (250, 50, 50), (40, 90, 250), (128, 128, 128), (255, 255, 255)
COLORS = (BLACK, RED, BLUE)


def _spec(classes: int = 21, colors: tuple[Color, ...] = (), **mask: Any) -> DatasetSpec:
    names = tuple(f"class_{index}" for index in range(classes))
    return DatasetSpec(name="some", classes=names, colors=colors, mask=MaskEncoding(**mask))


def _read(encoded: bytes, spec: DatasetSpec) -> list[list[int]]:
    return decode_mask(encoded, spec).ids.tolist()


def _encode(pixels: np.ndarray | PIL.Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    image = pixels if isinstance(pixels, PIL.Image.Image) else PIL.Image.fromarray(pixels)
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def _palette_image(ids: np.ndarray, palette: tuple[Color, ...] = VOC) -> PIL.Image.Image:
    """Returns a palette picture, without the code under test."""
    image = PIL.Image.frombytes("P", (ids.shape[1], ids.shape[0]), ids.tobytes())
    image.putpalette([channel for color in palette for channel in color])
    return image


def _in_colors(ids: np.ndarray, colors: tuple[Color, ...] = VOC) -> np.ndarray:
    return np.array(colors, np.uint8)[ids]


def _three(ids: np.ndarray) -> np.ndarray:
    return np.stack([ids] * 3, axis=-1)


def _with_alpha(pixels: np.ndarray, alpha: int) -> np.ndarray:
    return np.dstack([pixels, np.full(pixels.shape[:2], alpha, np.uint8)])


def _blocks(ids: np.ndarray) -> np.ndarray:
    """Makes a block of 16 x 16 of each pixel, which a JPEG keeps apart even with halved chroma."""
    return ids.repeat(16, axis=0).repeat(16, axis=1)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _raw_png(
    width: int, height: int, bits: int, color_type: int, rows: bytes, before: bytes = b"", behind: bytes = b""
) -> bytes:
    """Returns a PNG of any bit depth: each row starts with its filter byte 0; chunks before and behind the pixels."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0))
    data = _chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + header + before + data + behind + _chunk(b"IEND", b"")


def _raw_tiff(width: int, bits: int, data: bytes, samples: int = 1) -> bytes:
    """Returns a TIFF of one row, uncompressed: grey, or RGB of three samples a pixel."""
    tags = {256: width, 257: 1, 258: bits, 259: 1, 262: 1 if samples == 1 else 2, 273: 0, 277: samples, 278: 1, 279: len(data)}
    start = 8 + 2 + 12 * len(tags) + 4
    if samples == 3:  # The bits of each sample do not fit into the row.
        data = struct.pack("<HHH", bits, bits, bits) + data
        tags[273] = start + 6
    else:
        tags[273] = start
    rows = b""
    for tag, value in tags.items():
        count, shown = (samples, start) if tag == 258 and samples == 3 else (1, value)
        rows += struct.pack("<HHII", tag, 3 if tag in (258, 259, 262, 277) else 4, count, shown)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + rows + bytes(4) + data


# Every kind of file that holds ids.

ID_FILES = {
    "palette": _encode(_palette_image(IDS)),
    "palette GIF": _encode(_palette_image(IDS), "GIF", optimize=False),
    "palette BMP": _encode(_palette_image(IDS), "BMP"),
    "palette TIFF": _encode(_palette_image(IDS), "TIFF"),
    "palette with a transparent index": _encode(_palette_image(IDS), transparency=1),
    "palette with alpha for each index": _encode(_palette_image(IDS), transparency=bytes(range(256))),
    "palette of one color": _encode(_palette_image(IDS, (WHITE,) * 256)),
    "grey": _encode(IDS),
    "grey BMP": _encode(IDS, "BMP"),
    "grey TIFF": _encode(IDS, "TIFF", compression="tiff_lzw"),
    "grey with alpha": _encode(np.dstack([IDS, np.array([[0, 128, 255], [0, 1, 2]], np.uint8)])),
    "grey of 16 bits": _encode(IDS.astype(np.uint16)),
    "grey of 16 bits, TIFF": _encode(IDS.astype(np.uint16), "TIFF"),
    "r=g=b": _encode(_three(IDS)),
    "r=g=b BMP": _encode(_three(IDS), "BMP"),
    "r=g=b TIFF": _encode(_three(IDS), "TIFF"),
    "r=g=b with alpha": _encode(_with_alpha(_three(IDS), 0)),
    "r=g=b, WebP without loss": _encode(_three(IDS), "WEBP", lossless=True),
}


@pytest.mark.parametrize("encoding", ["ids", "auto", "red"])
@pytest.mark.parametrize("encoded", ID_FILES.values(), ids=ID_FILES)
def test_ids_come_back_from_every_kind_of_file(encoded: bytes, encoding: str) -> None:
    mask = decode_mask(encoded, _spec(encoding=encoding))
    assert mask.ids.tolist() == [[0, 1, 15], [20, 255, 0]]
    assert mask.ids.dtype == np.uint8


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("palette", "palette"),
        ("palette with a transparent index", "palette"),
        ("grey", "grey"),
        ("grey with alpha", "grey"),
        ("grey of 16 bits", "grey of 16 bits"),
        ("r=g=b", "RGB with r=g=b"),
        ("r=g=b with alpha", "RGBA with r=g=b"),
    ],
)
def test_kind_says_how_the_file_keeps_its_ids(name: str, kind: str) -> None:
    assert decode_mask(ID_FILES[name], _spec()).kind == kind


@pytest.mark.parametrize("encoding", ["ids", "auto", "red"])
@pytest.mark.parametrize(
    ("encoded", "expected", "kind"),
    [
        # Indices 1, 0, 1, 0, 0, 1, 0, 1 in one byte, 0xA5; 1, 2 in four bits each, 0x12; 1, 2 in two bits each, 0x60.
        pytest.param(_raw_png(8, 1, 1, 0, b"\0\xa5"), [1, 0, 1, 0, 0, 1, 0, 1], "grey of 1 bit", id="grey of 1 bit"),
        pytest.param(_raw_png(2, 1, 2, 0, b"\0\x60"), [1, 2], "grey of 2 bits", id="grey of 2 bits"),
        pytest.param(_raw_png(2, 1, 4, 0, b"\0\x12"), [1, 2], "grey of 4 bits", id="grey of 4 bits"),
        pytest.param(_raw_png(2, 1, 4, 0, b"\0\xf0"), [15, 0], "grey of 4 bits", id="grey of 4 bits, largest"),
        pytest.param(_raw_png(8, 1, 1, 3, b"\0\xa5", _chunk(b"PLTE", bytes(6))), [1, 0, 1, 0, 0, 1, 0, 1], "palette", id="P1"),
        pytest.param(_raw_png(2, 1, 4, 3, b"\0\x12", _chunk(b"PLTE", bytes(48))), [1, 2], "palette", id="P4"),
        pytest.param(_raw_tiff(2, 2, b"\x60"), [1, 2], "grey of 2 bits", id="TIFF of 2 bits"),
        pytest.param(_raw_tiff(2, 4, b"\x12"), [1, 2], "grey of 4 bits", id="TIFF of 4 bits"),
        pytest.param(_encode(PIL.Image.new("1", (2, 1), 1), "TIFF", compression="group4"), [1, 1], "grey of 1 bit", id="fax"),
    ],
)
def test_ids_of_few_bits_are_not_spread_over_a_byte(encoded: bytes, expected: list[int], kind: str, encoding: str) -> None:
    # A palette of black alone: by its colours all were class 0, so "auto" is told.
    mask = decode_mask(encoded, _spec(encoding="ids" if encoding == "auto" and kind == "palette" else encoding))
    assert (mask.ids.tolist(), mask.kind) == ([expected], kind)


def test_palette_shorter_than_its_indices_still_gives_ids() -> None:
    # Two colours, but index 2 occurs; PNG forbids it, and writers do it.
    encoded = _raw_png(3, 1, 8, 3, b"\0\0\1\2", _chunk(b"PLTE", bytes([0, 0, 0, 128, 0, 0])))
    assert _read(encoded, _spec(encoding="ids")) == [[0, 1, 2]]


def test_palette_shorter_than_256_is_not_ambiguous() -> None:
    assert _read(_encode(_palette_image(IDS_ONLY, VOC[:3])), _spec()) == IDS_ONLY.tolist()


@pytest.mark.parametrize("samples", [1, 3], ids=["grey with alpha", "RGB"])
def test_colors_of_16_bits_are_refused_for_their_upper_bits_would_all_be_class_0(samples: int) -> None:
    pixel = b"\0\1" * (2 if samples == 1 else 3)
    with pytest.raises(ValueError, match=r"the mask has 16 bits a channel.*expected 8 bits, or one grey channel"):
        decode_mask(_raw_png(1, 1, 16, 4 if samples == 1 else 2, b"\0" + pixel), _spec(encoding="ids"))


def test_tiff_colors_of_16_bits_are_refused() -> None:
    with pytest.raises(ValueError, match="the mask has 16 bits a channel"):
        decode_mask(_raw_tiff(1, 16, b"\1\0" * 3, samples=3), _spec(encoding="ids"))


def test_tiff_colors_of_8_bits_are_read() -> None:
    assert _read(_raw_tiff(2, 8, bytes([*RED, *BLUE]), samples=3), _spec(3, COLORS)) == [[1, 2]]


@pytest.mark.parametrize(
    ("image", "kind", "mode"),
    [
        (PIL.Image.new("CMYK", (3, 2)), "JPEG", "CMYK"),
        (PIL.Image.new("F", (3, 2)), "TIFF", "F"),
        (PIL.Image.new("I", (3, 2)), "TIFF", "I"),
    ],
)
def test_mode_that_holds_neither_ids_nor_colors_is_refused_by_name(image: PIL.Image.Image, kind: str, mode: str) -> None:
    with pytest.raises(ValueError, match=f"the mask has mode {mode}; expected "):
        decode_mask(_encode(image, kind), _spec())


# Void, strange ids, rest.


@pytest.mark.parametrize("wrap", [_palette_image, _in_colors])
def test_pixels_are_counted_by_id(wrap: Any) -> None:
    mask = decode_mask(_encode(wrap(IDS)), _spec(colors=VOC[:21], void_colors=(VOC[255],)))
    assert {index: count for index, count in enumerate(mask.pixels.tolist()) if count} == {0: 2, 1: 1, 15: 1, 20: 1, 255: 1}


@pytest.mark.parametrize("pixels", [IDS_ONLY, _three(IDS_ONLY), IDS_ONLY.astype(np.uint16)], ids=["grey", "r=g=b", "16 bits"])
def test_void_ids_may_be_several_and_other_than_255(pixels: np.ndarray) -> None:
    values = pixels.copy()
    values[0, 2], values[1, 0] = 11, 200
    assert _read(_encode(values), _spec(11, void_ids=(11, 200), encoding="ids")) == [[0, 1, 255], [255, 1, 0]]


def test_void_id_of_16_bits() -> None:
    values = np.array([[0, 65535, 1]], np.uint16)
    assert _read(_encode(values), _spec(3, void_ids=(65535,))) == [[0, 255, 1]]


def test_255_is_strange_where_void_is_another_id() -> None:
    message = r"^1 pixels have an id outside 0\.\.10 and 11 \(void\), first 255 at x=1, y=0$"
    with pytest.raises(ValueError, match=message):
        decode_mask(_encode(np.array([[11, 255]], np.uint8)), _spec(11, void_ids=(11,)))


def test_255_is_strange_where_nothing_is_void() -> None:
    with pytest.raises(ValueError, match=r"^2 pixels have an id outside 0\.\.2, first 255 at x=1, y=0$"):
        decode_mask(_encode(np.array([[0, 255], [255, 1]], np.uint8)), _spec(3, void_ids=()))


def test_several_void_ids_are_all_named() -> None:
    with pytest.raises(ValueError, match=r"outside 0\.\.2 and 7 and 9 \(void\), first 8 at x=0, y=0"):
        decode_mask(_encode(np.array([[8]], np.uint8)), _spec(3, void_ids=(7, 9)))


@pytest.mark.parametrize("encoding", ["ids", "red", "auto"])
@pytest.mark.parametrize(
    "wrap", [lambda a: a, _three, lambda a: a.astype(np.uint16), _palette_image], ids="L RGB I;16 P".split()
)
def test_first_strange_id_is_that_of_the_first_row_not_the_first_column(wrap: Any, encoding: str) -> None:
    # In reading order 254 at (2, 0) comes before 21 at (0, 1).
    ids = np.array([[0, 1, 254], [21, 255, 254]], np.uint8)
    message = r"^3 pixels have an id outside 0\.\.20 and 255 \(void\), first 254 at x=2, y=0$"
    with pytest.raises(ValueError, match=message):
        decode_mask(_encode(wrap(ids)), _spec(encoding=encoding))


def test_id_beyond_a_byte_is_named_in_full() -> None:
    with pytest.raises(ValueError, match=r"1 pixels .* first 256 at x=1, y=0"):
        decode_mask(_encode(np.array([[0, 256]], np.uint16)), _spec(255))


@pytest.mark.parametrize(("rest", "expected"), [("void", 255), ("class_0", 0), ("class_2", 2)])
@pytest.mark.parametrize("encoding", ["ids", "auto", "red"])
def test_rest_takes_the_ids_of_no_class(rest: str, expected: int, encoding: str) -> None:
    ids = np.array([[0, 1, 2], [3, 254, 255]], np.uint8)
    spec = _spec(3, encoding=encoding, rest=rest)
    assert _read(_encode(ids), spec) == [[0, 1, 2], [expected, expected, 255]]


@pytest.mark.parametrize(("rest", "expected"), [("void", 255), ("class_1", 1)])
@pytest.mark.parametrize("encoding", ["colors", "auto"])
def test_rest_takes_the_colors_of_no_class(rest: str, expected: int, encoding: str) -> None:
    pixels = np.array([[BLACK, RED, BLUE], [(1, 2, 3), VOC[255], (250, 50, 51)]], np.uint8)
    assert _read(_encode(pixels), _spec(3, COLORS, encoding=encoding, rest=rest)) == [[0, 1, 2], [expected, 255, expected]]


def test_255_classes_use_every_id_but_void() -> None:
    ids = np.arange(256, dtype=np.uint8).reshape(2, 128)
    for pixels in (ids, _palette_image(ids), _in_colors(ids)):
        assert _read(_encode(pixels), _spec(255)) == ids.tolist()


# Colours.


@pytest.mark.parametrize("encoding", ["colors", "auto"])
@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "WEBP"])
def test_colors_of_voc_are_looked_up_with_void(kind: str, encoding: str) -> None:
    encoded = _encode(_in_colors(IDS), kind, **({"lossless": True} if kind == "WEBP" else {}))
    mask = decode_mask(encoded, _spec(encoding=encoding))
    assert (mask.ids.tolist(), mask.ids.dtype, mask.kind) == ([[0, 1, 15], [20, 255, 0]], np.uint8, "RGB")


@pytest.mark.parametrize("encoding", ["colors", "auto"])
@pytest.mark.parametrize("alpha", [255, 128, 0])
def test_colors_count_whatever_their_alpha(alpha: int, encoding: str) -> None:
    mask = decode_mask(_encode(_with_alpha(_in_colors(IDS), alpha)), _spec(encoding=encoding))
    assert (mask.ids.tolist(), mask.kind) == (IDS.tolist(), "RGBA")


def test_colors_are_looked_up_through_a_palette() -> None:
    # Index 0 is blue, 1 black, 2 red: by colours 2, 0, 1.
    image = _palette_image(np.array([[0, 1, 2]], np.uint8), (BLUE, BLACK, RED))
    assert _read(_encode(image), _spec(3, COLORS, encoding="colors")) == [[2, 0, 1]]
    assert _read(_encode(image), _spec(3, COLORS, encoding="ids")) == [[0, 1, 2]]


def test_grey_classes_are_looked_up_in_a_grey_file() -> None:
    encoded = _encode(np.array([[0, 128, 255]], np.uint8))
    assert _read(encoded, _spec(3, (WHITE, BLACK, GREY), encoding="colors")) == [[1, 2, 0]]


@pytest.mark.parametrize("encoding", ["colors", "auto"])
def test_grey_and_white_are_colors_in_a_colored_mask(encoding: str) -> None:
    pixels = np.array([[WHITE, GREY, RED], [BLACK, RED, WHITE]], np.uint8)
    assert _read(_encode(pixels), _spec(4, (BLACK, WHITE, GREY, RED), encoding=encoding)) == [[1, 2, 3], [0, 3, 1]]


def test_grey_class_colors_without_any_other_are_no_ids() -> None:
    # 128 and 200 are ids of no class, so that only their colours fit.
    pixels = np.array([[(128,) * 3, (200,) * 3]], np.uint8)
    mask = decode_mask(_encode(pixels), _spec(3, (BLACK, (200, 200, 200), GREY)))
    assert (mask.ids.tolist(), mask.kind) == ([[2, 1]], "RGB with r=g=b")


def test_colors_in_a_16_bit_file_are_refused() -> None:
    with pytest.raises(ValueError, match="the mask is grey of 16 bits; expected colours"):
        decode_mask(_encode(IDS.astype(np.uint16)), _spec(encoding="colors"))


def test_void_colors_may_be_several() -> None:
    pixels = np.array([[RED, (1, 1, 1), (2, 2, 2)]], np.uint8)
    spec = _spec(3, COLORS, encoding="colors", void_colors=((1, 1, 1), (2, 2, 2)))
    assert _read(_encode(pixels), spec) == [[1, 255, 255]]


def test_colors_are_not_told_apart_by_a_sum_that_wraps() -> None:
    # Summed in uint8, (128, 128, 128) is 384 - 256 = 128 like (128, 0, 0), and (0, 64, 0) is 64 like (64, 0, 0).
    pixels = np.array([[(128, 128, 128), (0, 64, 0), (64, 0, 0)]], np.uint8)
    assert _read(_encode(pixels), _spec()) == [[7, 16, 8]]


@pytest.mark.parametrize("encoding", ["colors", "auto"])
@pytest.mark.parametrize("wrap", [lambda a: a, lambda a: _with_alpha(a, 0)], ids=["RGB", "RGBA"])
def test_strange_colors_are_counted_and_the_first_is_located(wrap: Any, encoding: str) -> None:
    pixels = _in_colors(IDS_ONLY, COLORS)
    pixels[0, 2] = (9, 8, 7)  # In reading order before (0, 1).
    pixels[1, 0] = (1, 2, 3)
    with pytest.raises(ValueError, match=r"^2 pixels have a colour that no class has, first \(9, 8, 7\) at x=2, y=0$"):
        decode_mask(_encode(wrap(pixels)), _spec(3, COLORS, encoding=encoding))


def test_strange_color_of_a_palette_or_of_grey_is_named_as_a_color() -> None:
    image = _palette_image(np.array([[0, 1]], np.uint8), (BLACK, (9, 8, 7)))
    with pytest.raises(ValueError, match=r"^1 pixels have a colour that no class has, first \(9, 8, 7\) at x=1, y=0$"):
        decode_mask(_encode(image), _spec(3, COLORS, encoding="colors"))
    with pytest.raises(ValueError, match=r"first \(7, 7, 7\) at x=1, y=0$"):
        decode_mask(_encode(np.array([[0, 7]], np.uint8)), _spec(3, COLORS, encoding="colors"))


def test_color_of_an_index_beyond_the_classes_is_strange() -> None:
    with pytest.raises(ValueError, match="a colour that no class has"):
        decode_mask(_encode(np.array([[VOC[21], VOC[1]]], np.uint8)), _spec())


def test_ids_asked_of_a_colored_mask_point_at_the_other_encoding() -> None:
    pixels = np.array([[BLACK, BLACK, BLACK], [BLACK, RED, BLUE]], np.uint8)
    with pytest.raises(ValueError, match=r'in colour, first \(250, 50, 50\) at x=1, y=1; .*mask.encoding = "colors"'):
        decode_mask(_encode(pixels), _spec(3, COLORS, encoding="ids"))


# Tolerance. Distances from black: (3, 4, 0) has 5, (1, 1, 1) the root of 3.


@pytest.mark.parametrize(
    ("color", "tolerance", "near"),
    [
        ((3, 4, 0), 5.0, True),
        ((3, 4, 0), 4.99, False),
        ((3, 4, 1), 5.0, False),  # The root of 26.
        ((1, 1, 1), 1.7321, True),
        ((1, 1, 1), 1.7320, False),
        ((0, 0, 1), 1.0, True),
        ((0, 0, 1), 0.0, False),
        ((0, 0, 0), 0.0, True),
    ],
)
def test_color_at_the_tolerance_is_near_and_beyond_is_strange(color: Color, tolerance: float, near: bool) -> None:
    spec = _spec(2, (BLACK, WHITE), encoding="colors", color_tolerance=tolerance, rest="void")
    assert _read(_encode(np.array([[color]], np.uint8)), spec) == [[0 if near else 255]]


def test_nearest_color_wins_also_where_it_is_voids() -> None:
    # (90, 0, 0) is 10 from void's (100, 0, 0), 90 from black and 110 from (200, 0, 0);
    # (40, 0, 0) is 40 from black and 60 from void.
    colors, void = (BLACK, (200, 0, 0)), ((100, 0, 0),)
    spec = _spec(2, colors, encoding="colors", color_tolerance=442, void_colors=void)
    pixels = np.array([[(90, 0, 0), (40, 0, 0), (151, 0, 0)]], np.uint8)
    assert _read(_encode(pixels), spec) == [[255, 0, 1]]


def test_tie_is_decided_alike_whatever_the_order_of_the_classes() -> None:
    # (5, 0, 0) is 5 from both. The darker colour has it: by its code, not by the id.
    pixels = _encode(np.array([[(5, 0, 0)]], np.uint8))
    both = ((0, 0, 0), (10, 0, 0))
    assert _read(pixels, _spec(2, both, encoding="colors", color_tolerance=5)) == [[0]]
    assert _read(pixels, _spec(2, both[::-1], encoding="colors", color_tolerance=5)) == [[1]]


def test_exact_color_is_exact_with_a_tolerance_too() -> None:
    close = ((10, 10, 10), (11, 10, 10), (10, 11, 10))
    pixels = np.array([close], np.uint8)
    assert _read(_encode(pixels), _spec(3, close, encoding="colors", color_tolerance=442)) == [[0, 1, 2]]


def test_largest_distance_does_not_overflow() -> None:
    # Black and white are the root of 3 * 255^2 = 441.67 apart.
    pixels = _encode(np.array([[WHITE]], np.uint8))
    spec = _spec(2, (BLACK, (0, 0, 1)), encoding="colors", color_tolerance=442, void_colors=())
    assert _read(pixels, spec) == [[1]]  # (0, 0, 1) is nearer: 3 * 255^2 - 509 against 3 * 255^2.
    far = dataclasses.replace(spec, mask=dataclasses.replace(spec.mask, color_tolerance=441.0))
    with pytest.raises(ValueError, match="a colour that no class has"):
        decode_mask(pixels, far)


@pytest.mark.parametrize("encoding", ["colors", "auto"])
@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_smeared_colors_come_back_by_a_tolerance(kind: str, encoding: str) -> None:
    pixels = _in_colors(_blocks(IDS_ONLY), COLORS)
    encoded = _encode(pixels, kind, quality=90)
    assert not np.array_equal(np.asarray(PIL.Image.open(io.BytesIO(encoded))), pixels)
    with pytest.raises(ValueError, match=r"colour that no class has.*lossy format smears colours: mask\.color_tolerance"):
        decode_mask(encoded, _spec(3, COLORS, encoding=encoding))
    mask = decode_mask(encoded, _spec(3, COLORS, encoding=encoding, color_tolerance=442))
    wrong = mask.ids != _blocks(IDS_ONLY)
    assert wrong.mean() < 0.02  # Nothing but edges.
    assert not wrong.reshape(2, 16, 3, 16)[:, 4:12, :, 4:12].any()


# Red.


@pytest.mark.parametrize("encoding", ["red", "auto"])
def test_red_channel_holds_ids(encoding: str) -> None:
    pixels = np.stack([IDS, np.zeros_like(IDS), np.zeros_like(IDS)], axis=-1)
    # 255 in red is void here, as an id; (255, 0, 0) is no colour of VOC.
    mask = decode_mask(_encode(pixels), _spec(encoding=encoding))
    assert (mask.ids.tolist(), mask.kind) == ([[0, 1, 15], [20, 255, 0]], "RGB")
    assert _read(_encode(_with_alpha(pixels, 0)), _spec(encoding=encoding)) == IDS.tolist()


def test_green_and_blue_do_not_count_where_red_is_said() -> None:
    pixels = np.stack([IDS, 255 - IDS, IDS // 2], axis=-1)
    assert _read(_encode(pixels), _spec(encoding="red")) == IDS.tolist()
    with pytest.raises(ValueError, match="a colour that no class has"):
        decode_mask(_encode(pixels), _spec())  # Nobody would guess that.


# Binary.


@pytest.mark.parametrize(
    "pixels",
    [
        np.array([[0, 255, 0]], np.uint8),
        np.array([[0, 1, 0]], np.uint8),
        np.array([[0, 7, 0]], np.uint8),
        np.array([[0, 65535, 0]], np.uint16),
        np.array([[0, 300, 0]], np.uint16),
        np.array([[BLACK, (0, 0, 9), BLACK]], np.uint8),
        _with_alpha(np.array([[BLACK, WHITE, BLACK]], np.uint8), 0),
        np.array([[False, True, False]]),
        _palette_image(np.array([[0, 9, 0]], np.uint8)),
    ],
    ids="255 1 7 65535 300 color RGBA bit P".split(),
)
def test_binary_is_0_and_one_other(pixels: Any) -> None:
    assert _read(_encode(pixels), _spec(2, encoding="binary")) == [[0, 1, 0]]


def test_binary_of_one_value_everywhere() -> None:
    assert _read(_encode(np.zeros((1, 2), np.uint8)), _spec(2, encoding="binary")) == [[0, 0]]
    assert _read(_encode(np.full((1, 2), 255, np.uint8)), _spec(2, encoding="binary")) == [[1, 1]]


def test_binary_with_a_third_value_lists_the_values() -> None:
    with pytest.raises(ValueError, match=r"the mask has the values 0, 1, 255; expected 0 and one other \(binary\)"):
        decode_mask(_encode(np.array([[0, 255, 1]], np.uint8)), _spec(2, encoding="binary"))
    with pytest.raises(ValueError, match=r"the mask has the values 0, 1, 2, 3, 4, 5, 6, 7, \.\.\.; expected"):
        decode_mask(_encode(np.arange(9, dtype=np.uint8)[np.newaxis]), _spec(2, encoding="binary"))


@pytest.mark.parametrize(
    ("mode", "kind", "encoding"),
    [
        ("L", "JPEG", "binary"),
        ("L", "JPEG", "auto"),
        ("RGB", "JPEG", "binary"),
        ("RGB", "JPEG", "auto"),
        ("RGB", "WEBP", "binary"),  # It makes colours of grey, so that it is not guessed.
    ],
)
def test_smeared_black_and_white_is_divided_in_the_middle(mode: str, kind: str, encoding: str) -> None:
    ids = np.zeros((20, 20), np.uint8)
    ids[5:14, 3:17] = 1  # Across the 8 x 8 blocks.
    image = PIL.Image.fromarray(255 * ids).convert(mode)
    encoded = _encode(image, kind, quality=60)
    assert len(np.unique(PIL.Image.open(io.BytesIO(encoded)).convert("L"))) > 2
    assert _read(encoded, _spec(2, encoding=encoding)) == ids.tolist()


@pytest.mark.parametrize("encoding", ["binary", "auto"])
def test_lossless_webp_of_0_and_1_is_not_all_background(encoding: str) -> None:
    ids = np.array([[0, 1, 1]], np.uint8)
    assert _read(_encode(_three(ids), "WEBP", lossless=True), _spec(2, encoding=encoding)) == [[0, 1, 1]]


def test_jpeg_too_dark_to_be_black_and_white_is_refused_not_all_background() -> None:
    ids = np.zeros((20, 20), np.uint8)
    ids[5:14, 3:17] = 40
    with pytest.raises(ValueError, match=r"the mask has the values 0, .*; expected 0 and one other \(binary\)"):
        decode_mask(_encode(ids, "JPEG", quality=80), _spec(2, encoding="binary"))


@pytest.mark.parametrize("encoding", ["binary", "auto"])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_black_jpeg_is_all_background(mode: str, encoding: str) -> None:
    assert _read(_encode(PIL.Image.new(mode, (3, 2)), "JPEG"), _spec(2, encoding=encoding)) == [[0] * 3] * 2


# Auto: two readings.


@pytest.mark.parametrize(
    "pixels",
    [
        np.array([[0, 255]], np.uint8),
        np.array([[(0, 0, 0), (255, 255, 255)]], np.uint8),
        _palette_image(np.array([[0, 255]], np.uint8), (BLACK,) * 255 + (WHITE,)),
    ],
    ids=["grey", "r=g=b", "palette with a white end"],
)
def test_black_and_white_with_two_classes_shows_both_readings(pixels: Any) -> None:
    with pytest.raises(ValueError, match="can be read in two ways") as error:
        decode_mask(_encode(pixels), _spec(2))
    assert '"ids" gives class_0 50.0%, void 50.0%; "binary" gives class_0 50.0%, class_1 50.0%' in str(error.value)
    assert "mask.encoding = " in str(error.value)


@pytest.mark.parametrize(("encoding", "expected"), [("ids", [[0, 255]]), ("binary", [[0, 1]])])
def test_black_and_white_is_read_as_it_is_said(encoding: str, expected: list[list[int]]) -> None:
    assert _read(_encode(np.array([[0, 255]], np.uint8)), _spec(2, encoding=encoding)) == expected


def test_black_and_white_is_clear_where_255_is_not_void() -> None:
    assert _read(_encode(np.array([[0, 255]], np.uint8)), _spec(2, void_ids=())) == [[0, 1]]


def test_black_and_white_is_ids_with_three_classes() -> None:
    assert _read(_encode(np.array([[0, 255]], np.uint8)), _spec(3)) == [[0, 255]]


def test_white_class_in_r_g_b_shows_void_and_the_class() -> None:
    with pytest.raises(ValueError, match=r'"ids" gives .*void 50\.0%; "colors" gives class_0 50\.0%, class_1 50\.0%'):
        decode_mask(_encode(np.array([[BLACK, WHITE]], np.uint8)), _spec(3, (BLACK, WHITE, RED)))


@pytest.mark.parametrize("value", [2, 7, 128, 254])
def test_one_strange_id_is_not_taken_for_the_second_class(value: int) -> None:
    # Cityscapes' road is 7: with 0 and 7 in a mask it may well be meant, with 0 and 3 it is not; so it has to be said.
    with pytest.raises(ValueError, match=rf"1 pixels have an id outside 0\.\.1 and 255 \(void\), first {value} at x=1, y=0"):
        decode_mask(_encode(np.array([[0, value]], np.uint8)), _spec(2))
    assert _read(_encode(np.array([[0, value]], np.uint8)), _spec(2, rest="void")) == [[0, 255]]


@pytest.mark.parametrize("wrap", [lambda a: a, _three, _palette_image, lambda a: a.astype(bool)], ids="L RGB P 1".split())
def test_0_and_1_are_ids_with_two_classes(wrap: Any) -> None:
    assert _read(_encode(wrap(np.array([[0, 1], [1, 0]], np.uint8))), _spec(2)) == [[0, 1], [1, 0]]


@pytest.mark.parametrize("wrap", [lambda a: a, _three, _palette_image, lambda a: a.astype(np.uint16)], ids="L RGB P 16".split())
@pytest.mark.parametrize("classes", [2, 21])
def test_mask_of_background_alone_is_clear(wrap: Any, classes: int) -> None:
    assert _read(_encode(wrap(np.zeros((2, 3), np.uint8))), _spec(classes)) == [[0] * 3] * 2


@pytest.mark.parametrize("wrap", [lambda a: a, _three, _palette_image], ids="L RGB P".split())
def test_mask_of_void_alone_is_void(wrap: Any) -> None:
    assert _read(_encode(wrap(np.full((2, 3), 255, np.uint8))), _spec(21)) == [[255] * 3] * 2


def test_black_mask_where_black_is_void_by_color_shows_both() -> None:
    # Of CamVid's masks, say: as ids it is the first class, as colours void.
    spec = _spec(2, (RED, BLUE), void_colors=(BLACK,))
    with pytest.raises(ValueError, match=r'"ids" gives class_0 100\.0%; "colors" gives void 100\.0%'):
        decode_mask(_encode(np.zeros((2, 3, 3), np.uint8)), spec)


def test_pure_red_shows_class_and_void_in_the_red_channel() -> None:
    pixels = np.array([[BLACK, (255, 0, 0)]], np.uint8)
    with pytest.raises(ValueError, match=r'"colors" gives class_0 50\.0%, class_1 50\.0%; "red" gives class_0 50\.0%, void'):
        decode_mask(_encode(pixels), _spec(2, (BLACK, (255, 0, 0))))


def _quantized(how: str) -> PIL.Image.Image:
    image = PIL.Image.fromarray(_in_colors(np.array([[0, 1, 2], [2, 1, 1], [1, 1, 1]], np.uint8), COLORS))
    if how == "adaptive":
        return image.convert("P", palette=PIL.Image.Palette.ADAPTIVE)
    return image.quantize(8, method=PIL.Image.Quantize[how])


@pytest.mark.parametrize("how", ["adaptive", "MEDIANCUT", "MAXCOVERAGE", "FASTOCTREE"])
def test_quantized_mask_is_read_right_or_shown_twice_never_by_its_accidental_indices(how: str) -> None:
    image = _quantized(how)
    expected = [[0, 1, 2], [2, 1, 1], [1, 1, 1]]
    assert np.asarray(image).tolist() != expected  # The indices are not the ids.
    assert np.asarray(image.convert("RGB")).tolist() == _in_colors(np.array(expected), COLORS).tolist()
    with pytest.raises(ValueError, match=r'two ways: "ids" gives .*; "colors" gives class_1 66\.7%'):
        decode_mask(_encode(image), _spec(3, COLORS))
    assert _read(_encode(image), _spec(3, COLORS, encoding="colors")) == expected


def test_quantized_mask_with_colors_of_no_class_is_not_read_by_its_indices_though_rest_would_take_some() -> None:
    # Indices: (9, 9, 9) is 0, red 1, blue 2, black 3: as ids the last is strange, as colours the first.
    image = _palette_image(np.array([[0, 1, 2, 3]], np.uint8), ((9, 9, 9), BLUE, RED, BLACK))
    with pytest.raises(ValueError, match='two ways: "ids" gives .*; "colors" gives '):
        decode_mask(_encode(image), _spec(3, COLORS, rest="void"))
    assert _read(_encode(image), _spec(3, COLORS, rest="void", encoding="colors")) == [[255, 2, 1, 0]]


def test_quantized_mask_whose_indices_are_no_ids_is_read_by_its_colors() -> None:
    image = _palette_image(np.array([[200, 201, 202]], np.uint8), (WHITE,) * 200 + (BLUE, BLACK, RED))
    assert _read(_encode(image), _spec(3, COLORS)) == [[2, 0, 1]]


def test_gif_that_pillow_has_renumbered_is_shown_twice() -> None:
    encoded = _encode(_palette_image(IDS), "GIF")  # Pillow leaves out what does not occur: 0, 1, 15, 20, 255 are 0 to 4.
    assert np.asarray(PIL.Image.open(io.BytesIO(encoded))).tolist() == [[0, 1, 2], [3, 4, 0]]
    with pytest.raises(ValueError, match='two ways: "ids" gives .*class_2 .*; "colors" gives .*class_15'):
        decode_mask(encoded, _spec())
    assert _read(encoded, _spec(encoding="colors")) == IDS.tolist()


def test_web_palette_with_dithering_is_refused() -> None:
    image = PIL.Image.fromarray(_in_colors(IDS_ONLY, COLORS)).convert("P")
    with pytest.raises(ValueError, match=r"pixels have an id outside 0\.\.2"):
        decode_mask(_encode(image), _spec(3, COLORS))


@pytest.mark.parametrize("classes", [2, 3, 21, 255])
def test_palette_of_voc_is_never_ambiguous(classes: int) -> None:
    rng = np.random.default_rng(classes)
    for present in ([0, 255], [1, 255], [255], list(range(min(classes, 255))), [0]):
        ids = rng.choice(np.array([i for i in present if i < classes or i == 255], np.uint8), (4, 5))
        assert _read(_encode(_palette_image(ids)), _spec(classes)) == ids.tolist()
        assert _read(_encode(_palette_image(ids)), _spec(classes, void_colors=())) == ids.tolist()


def test_palette_of_ones_own_is_read_by_its_indices() -> None:
    image = _palette_image(IDS_ONLY, ((9, 9, 9), WHITE, (200, 100, 0)))
    assert _read(_encode(image), _spec(3)) == IDS_ONLY.tolist()
    assert _read(_encode(image), _spec(3, COLORS)) == IDS_ONLY.tolist()


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_ids_in_a_jpeg_are_not_guessed_for_the_smeared_ones_are_ids_too(mode: str) -> None:
    ids = np.array([[0, 15, 3], [20, 0, 7]], np.uint8).repeat(5, axis=0).repeat(5, axis=1)
    encoded = _encode(PIL.Image.fromarray(ids).convert(mode), "JPEG", quality=95)
    assert (np.asarray(PIL.Image.open(io.BytesIO(encoded)).convert("L")) != ids).any()
    with pytest.raises(ValueError, match="a lossy format smears colours"):
        decode_mask(encoded, _spec(255, colors=((0, 0, 0), *((255, 255, i) for i in range(254)))))


# Damage.


@pytest.mark.parametrize(
    "encoded", [b"", b"background\n", b"<html>404</html>", bytes(100)], ids=["empty", "text", "html", "zeros"]
)
def test_file_that_is_no_picture_is_refused_without_an_address(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="^the mask cannot be read: cannot identify image file$"):
        decode_mask(encoded, _spec())


def _postscript() -> bytes:
    return b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 3 2\n%%EndComments\nshowpage\n"


def _ppm() -> bytes:
    return b"P5 3 2 255\n" + IDS.tobytes()


@pytest.mark.parametrize(
    "encoded", [_postscript(), _ppm(), _encode(_three(IDS), "ICO", sizes=[(3, 2)])], ids=["EPS", "PPM", "ICO"]
)
def test_formats_that_are_not_listed_are_not_opened(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="the mask cannot be read: cannot identify image file"):
        decode_mask(encoded, _spec())


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize(
    ("encoded", "spec"),
    [
        pytest.param(ID_FILES["palette"], _spec(), id="PNG"),
        pytest.param(ID_FILES["palette GIF"], _spec(), id="GIF"),
        pytest.param(ID_FILES["palette BMP"], _spec(), id="BMP"),
        pytest.param(ID_FILES["grey TIFF"], _spec(), id="TIFF"),
        pytest.param(ID_FILES["r=g=b, WebP without loss"], _spec(), id="WebP"),
        pytest.param(_encode(_blocks(255 * (IDS_ONLY > 0).astype(np.uint8)), "JPEG"), _spec(2), id="JPEG"),
    ],
)
def test_mask_cut_at_any_byte_is_refused_in_one_line_or_whole(encoded: bytes, spec: DatasetSpec) -> None:
    whole = _read(encoded, spec)
    refused = 0
    for length in range(len(encoded)):
        try:
            assert _read(encoded[:length], spec) == whole, length
        except ValueError as error:
            assert re.match(r"the mask cannot be read: .", str(error)), length
            assert "\n" not in str(error) and "0x" not in str(error)
            refused += 1
    assert refused > len(encoded) / 4  # Some formats put what is not needed at their end.


def test_png_cut_within_its_pixels_is_refused() -> None:
    encoded = ID_FILES["palette"]
    for length in range(encoded.index(b"IDAT") + 4):
        with pytest.raises(ValueError, match="the mask cannot be read"):
            decode_mask(encoded[:length], _spec())


@pytest.mark.parametrize(("kind", "body"), [(b"gAMA", b""), (b"cHRM", b"abcde"), (b"iCCP", b"name\0"), (b"tRNS", b"")])
def test_broken_metadata_behind_the_pixels_is_refused_or_passed_over_not_thrown(kind: bytes, body: bytes) -> None:
    # Pillow trusts such chunks, and raises struct.error or IndexError: a whole run would end for one bad file.
    for color_type in (0, 2, 3):
        palette = _chunk(b"PLTE", bytes(768)) if color_type == 3 else b""
        row = b"\0\1\2" if color_type != 2 else b"\0\1\1\1\2\2\2"
        encoded = _raw_png(2, 1, 8, color_type, row, palette, behind=_chunk(kind, body))
        try:
            assert _read(encoded, _spec(encoding="ids")) == [[1, 2]]
        except ValueError as error:
            assert str(error).startswith("the mask cannot be read: ")


def test_broken_metadata_is_refused_with_the_readers_reason() -> None:
    encoded = _raw_png(2, 1, 8, 0, b"\0\1\2", behind=_chunk(b"gAMA", b""))
    with pytest.raises(ValueError, match="^the mask cannot be read: .*at least 4 bytes"):
        decode_mask(encoded, _spec())


@pytest.mark.filterwarnings("ignore::UserWarning:PIL", "ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("name", ["palette", "palette GIF", "palette BMP", "palette TIFF", "r=g=b, WebP without loss", "JPEG"])
def test_damaged_mask_is_refused_or_read_never_anything_else(name: str) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112], exif[0x010F], exif[0x011A] = 6, "maker", 72.5
    encoded = _encode(_three(IDS), "JPEG", exif=exif) if name == "JPEG" else ID_FILES[name]
    rng = np.random.default_rng(0)
    spec = _spec(rest="void")
    for _ in range(200):
        damaged = bytearray(encoded)
        for place in rng.integers(0, min(len(encoded), 300), size=rng.integers(1, 5)):
            damaged[place] = rng.integers(256)
        try:
            mask = decode_mask(bytes(damaged), spec)
        except ValueError as error:
            assert type(error) is ValueError
            assert str(error).startswith("the mask ")
        else:
            assert mask.ids.dtype == np.uint8 and mask.ids.ndim == 2 and mask.ids.size > 0


def _huge(name: str, width: int, height: int) -> bytes:
    """Returns a small file whose header claims a size."""
    if name == "PNG":
        return _raw_png(width, height, 8, 3, b"\0", _chunk(b"PLTE", bytes(768)))
    if name == "GIF":
        return b"GIF89a" + struct.pack("<HH", width, height) + ID_FILES["palette GIF"][10:]
    if name == "BMP":
        return ID_FILES["palette BMP"][:18] + struct.pack("<ii", width, height) + ID_FILES["palette BMP"][26:]
    encoded = bytearray(_encode(_three(IDS), "JPEG"))
    start = encoded.index(b"\xff\xc0") + 5
    encoded[start : start + 4] = struct.pack(">HH", height, width)
    return bytes(encoded)


@pytest.mark.parametrize(("name", "width", "height"), [("PNG", 60000, 60000), ("JPEG", 65535, 65535), ("BMP", 60000, 50000)])
def test_bomb_is_refused_by_its_header(name: str, width: int, height: int) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=rf"the mask cannot be read: .*{width * height} pixels"):
            decode_mask(_huge(name, width, height), _spec())
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(("width", "height"), [(16385, 2), (3, 16385), (20000, 4000)])
@pytest.mark.parametrize("name", ["PNG", "GIF", "BMP", "JPEG"])
def test_side_that_is_too_long_is_refused_by_its_header(name: str, width: int, height: int) -> None:
    with pytest.raises(ValueError, match=rf"^the mask has {width}x{height} pixels; a side may have 16384$"):
        decode_mask(_huge(name, width, height), _spec())


def test_longest_side_is_read() -> None:
    assert decode_mask(_encode(np.zeros((1, 16384), np.uint8)), _spec()).ids.shape == (1, 16384)


def test_reason_is_one_line_without_the_buffers_address() -> None:
    error = OSError("cannot identify\n image file <_io.BytesIO object at 0x7f>")
    assert raster.describe(error) == "cannot identify image file"
    assert raster.describe(OSError()) == "OSError"


# Orientation.


def _exif(orientation: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_jpeg_mask_is_turned_as_its_picture_is(orientation: int, mode: str) -> None:
    ids = _blocks(np.array([[0, 1, 1], [1, 0, 0]], np.uint8))
    encoded = _encode(PIL.Image.fromarray(255 * ids).convert(mode), "JPEG", exif=_exif(orientation))
    picture = images.read_picture(encoded).pixels
    assert picture.shape[:2] == ((48, 32) if orientation > 4 else (32, 48))
    mask = decode_mask(encoded, _spec(2, encoding="binary")).ids
    np.testing.assert_array_equal(mask, picture[..., 0] >= 128)
    assert (mask.tolist() == ids.tolist()) == (orientation == 1)


def test_jpeg_mask_is_turned_though_the_rest_of_its_exif_is_broken() -> None:
    # Pillow's exif_transpose writes the other tags anew, and fails where one has a value of another type than it should.
    body = b"MM\0*\0\0\0\x08\0\2" + struct.pack(">HHII", 0x0112, 3, 1, 6 << 16) + struct.pack(">HHIf", 0x010F, 11, 1, 1.5)
    segment = b"Exif\0\0" + body + bytes(4)
    plain = _encode(_blocks(np.array([[0, 255]], np.uint8)), "JPEG")
    encoded = plain[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + plain[2:]
    assert decode_mask(encoded, _spec(2, encoding="binary")).ids.shape == (32, 16)


def test_png_mask_is_not_turned() -> None:
    assert _read(_encode(IDS, exif=_exif(6)), _spec()) == IDS.tolist()


# Everything together.


def _random_spec(rng: np.random.Generator) -> tuple[DatasetSpec, np.ndarray]:
    """Returns a spec of random classes, colours and void, and ids of all of them."""
    classes = int(rng.choice([2, 3, 12, 64, 255]))
    codes = rng.choice(1 << 24, classes + 2, replace=False)
    colors = [(int(code) >> 16, int(code) >> 8 & 255, int(code) & 255) for code in codes]
    void_id = int(rng.choice([255, classes, 65535]))
    spec = _spec(classes, tuple(colors[:classes]), void_ids=(void_id,), void_colors=tuple(colors[classes:]))
    shape = rng.integers(1, 9, size=2)
    return spec, np.where(rng.random(shape) < 0.1, 255, rng.integers(classes, size=shape)).astype(np.uint8)


def _write_all(ids: np.ndarray, spec: DatasetSpec, rng: np.random.Generator) -> dict[tuple[str, str], bytes]:
    """Returns the mask in every kind of file that can hold it, by encoding and kind."""
    (void_id,) = spec.mask.void_ids
    stored = np.where(ids == 255, void_id, ids.astype(np.int64))
    colors = np.array([*spec.palette, spec.mask.void_colors[int(rng.integers(2))]], np.uint8)
    looks = colors[np.minimum(ids, len(spec.classes))]
    found = {
        ("ids", "16 bits"): _encode(stored.astype(np.uint16)),
        ("colors", "RGB"): _encode(looks),
        ("colors", "RGBA"): _encode(_with_alpha(looks, int(rng.integers(256)))),
        ("colors", "BMP"): _encode(looks, "BMP"),
        ("colors", "TIFF"): _encode(looks, "TIFF"),
        ("colors", "WebP"): _encode(looks, "WEBP", lossless=True),
    }
    # A palette in an order of its own: only the colours tell.
    places = rng.permutation(256)[: len(colors)]
    shuffled = np.zeros((256, 3), np.uint8)
    shuffled[places] = colors
    image = _palette_image(places[np.minimum(ids, len(spec.classes))].astype(np.uint8), tuple(map(tuple, shuffled.tolist())))
    found["colors", "P"] = _encode(image)
    found["colors", "GIF"] = _encode(image, "GIF")
    if stored.max() < 256:
        small = stored.astype(np.uint8)
        noise = rng.integers(0, 256, (*ids.shape, 2)).astype(np.uint8)
        found |= {
            ("ids", "L"): _encode(small),
            ("ids", "LA"): _encode(np.dstack([small, noise[..., 0]])),
            ("ids", "P"): _encode(_palette_image(small)),
            ("ids", "GIF"): _encode(_palette_image(small), "GIF", optimize=False),
            ("ids", "RGB"): _encode(_three(small)),
            ("ids", "RGBA"): _encode(_with_alpha(_three(small), 7)),
            ("red", "RGB"): _encode(np.dstack([small, noise])),
            ("red", "L"): _encode(small),
        }
    for bits in (1, 2, 4):
        if stored.max() < 2**bits:
            rows = b"".join(b"\0" + _pack(row, bits) for row in stored.tolist())
            found["ids", f"{bits} bits"] = _raw_png(ids.shape[1], ids.shape[0], bits, 0, rows)
    if len(spec.classes) == 2 and not (ids == 255).any():
        found["binary", "L"] = _encode(ids * np.uint8(rng.integers(1, 256)))
        found["binary", "1"] = _encode(ids.astype(bool))
    return found


def _pack(row: list[int], bits: int) -> bytes:
    text = "".join(f"{value:0{bits}b}" for value in row)
    return bytes(int(text[start : start + 8].ljust(8, "0"), 2) for start in range(0, len(text), 8))


def test_mask_comes_back_from_every_kind_of_file_that_can_hold_it() -> None:
    kinds, ambiguous = set(), set()
    for seed in range(200):
        rng = np.random.default_rng(seed)
        spec, ids = _random_spec(rng)
        for (encoding, kind), encoded in _write_all(ids, spec, rng).items():
            said = dataclasses.replace(spec, mask=dataclasses.replace(spec.mask, encoding=encoding))
            assert _read(encoded, said) == ids.tolist(), (seed, encoding, kind)
            kinds.add((encoding, kind))
            if encoding in ("binary", "red"):
                continue  # With any second value, and with noise in green and blue: nobody would guess them.
            try:  # "auto" may refuse what nobody could tell, but it must not answer otherwise.
                assert _read(encoded, spec) == ids.tolist(), (seed, encoding, kind)
            except ValueError as error:
                assert "can be read in two ways" in str(error), (seed, encoding, kind)
                ambiguous.add((encoding, kind))
    assert len(kinds) == 21
    assert ambiguous == {("colors", "P"), ("colors", "GIF")}  # Palettes in an order of their own.


def test_all_masks_of_voc_equal_their_indices(shared_data: pathlib.Path) -> None:
    paths = sorted((shared_data / "voc2007").glob("VOCdevkit/VOC2007/SegmentationClass/*.png"))
    assert len(paths) == 632
    spec = _spec(21)
    for path in paths:
        mask = decode_mask(path.read_bytes(), spec)
        with PIL.Image.open(path) as image:
            assert image.mode == "P"
            np.testing.assert_array_equal(mask.ids, np.asarray(image), err_msg=path.name)
        assert mask.kind == "palette"


@pytest.mark.parametrize("encoding", ["ids", "red"])
def test_ids_in_a_lossy_format_are_refused_for_what_is_smeared_is_another_id(encoding: str) -> None:
    ids = np.zeros((16, 16), np.uint8)
    ids[4:12, 4:12] = 15
    with pytest.raises(ValueError, match=r"in a lossy format, which smears ids; keep masks as PNG"):
        decode_mask(_encode(ids, "JPEG", quality=90), _spec(encoding=encoding))


def test_tiff_that_is_compressed_as_jpeg_counts_as_lossy() -> None:
    encoded = _encode(_three(np.full((16, 16), 7, np.uint8)), "TIFF", compression="jpeg")
    assert raster.open_raster(encoded).lossy
    assert not raster.open_raster(_encode(_three(np.full((16, 16), 7, np.uint8)), "TIFF")).lossy


@pytest.mark.parametrize("kind", ["TIFF", "GIF", "PNG"])
def test_mask_of_several_pictures_is_refused(kind: str) -> None:
    pages = [PIL.Image.fromarray(np.full((4, 6), value, np.uint8)) for value in (0, 1, 2)]
    encoded = _encode(pages[0], kind, save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match=r"it holds 3 pictures; expected one"):
        decode_mask(encoded, _spec())


def test_photograph_is_no_binary_mask_because_its_format_is_lossy() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (32, 32), dtype=np.uint8)
    picture = np.asarray(PIL.Image.fromarray(picture).resize((128, 128)))
    with pytest.raises(ValueError, match=r"\d+ pixels are neither black nor white, first \d+ at x=\d+, y=\d+ \(binary\)"):
        decode_mask(_encode(picture, "JPEG", quality=90), _spec(2, encoding="binary"))


def test_black_and_white_that_a_jpeg_smeared_is_a_binary_mask() -> None:
    white = np.zeros((64, 64), np.uint8)
    white[16:48, 20:50] = 255
    read = decode_mask(_encode(white, "JPEG", quality=60), _spec(2, encoding="binary"))
    assert (read.ids == (white > 0)).mean() > 0.99
    assert (read.kind, read.reading) == ("grey", "binary")


def test_mask_read_by_its_values_is_the_one_read_by_its_pixels() -> None:
    pictures = [
        _palette_image(IDS),
        _palette_image(IDS_ONLY, COLORS),
        *map(PIL.Image.fromarray, (IDS, IDS_ONLY, 255 * (IDS_ONLY > 0).astype(np.uint8), IDS_ONLY > 0, IDS_ONLY + 70)),
        PIL.Image.fromarray(_with_alpha(IDS_ONLY, 255)),
    ]
    specs = [_spec(classes, colors, encoding=one) for one in ("auto", "ids", "red") for classes, colors in ((21, ()), (3, ()))]
    specs += [_spec(3, COLORS, encoding=one) for one in ("auto", "colors")]
    specs += [_spec(3, COLORS, encoding="colors", rest="class_0"), _spec(2, encoding="binary"), _spec(2)]
    read = refused = 0
    for opened in (raster.open_raster(_encode(picture)) for picture in pictures):
        for spec in specs:
            try:
                expected = mask_reader._read_pixels(opened, spec)
            except ValueError as error:
                with pytest.raises(ValueError, match=f"^{re.escape(str(error))}$"):
                    mask_reader.read_raster(opened, spec)
                refused += 1
                continue
            found = mask_reader.read_raster(opened, spec)
            assert np.array_equal(found.ids, expected.ids)
            assert (found.kind, found.reading) == (expected.kind, expected.reading)
            assert found.pixels.tolist() == np.bincount(expected.ids.ravel(), minlength=256).tolist()
            read += 1
    assert min(read, refused) > 20
