"""Masks in every encoding that users keep them in, read as ids; what holds no ids is refused."""

import io
import struct
import zlib

import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from components import features, masks

PALETTE = features.voc_palette(21)
IDS = np.array([[0, 1, 15], [20, 255, 0]], np.uint8)
COLORS = np.array([features.voc_palette()[i] for i in IDS.ravel()], np.uint8).reshape(2, 3, 3)


def _encode(image: PIL.Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind)
    return buffer.getvalue()


def _palette_png(ids: np.ndarray = IDS) -> bytes:
    """Returns a palette PNG as VOC's own masks are, without the code under test."""
    image = PIL.Image.frombytes("P", (ids.shape[1], ids.shape[0]), ids.tobytes())
    image.putpalette([channel for color in features.voc_palette() for channel in color])
    return _encode(image)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _raw_png(width: int, height: int, bits: int, color_type: int, rows: bytes, palette: bytes = b"") -> bytes:
    """Returns a PNG of any bit depth: each row starts with its filter byte 0."""
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color_type, 0, 0, 0))
    colors = _chunk(b"PLTE", palette) if palette else b""
    return b"\x89PNG\r\n\x1a\n" + header + colors + _chunk(b"IDAT", zlib.compress(rows)) + _chunk(b"IEND", b"")


def test_palette_mask_gives_its_indices_where_tensorflow_gives_luminance() -> None:
    encoded = _palette_png()
    # The well-known mistake: 0.299 * 128 = 38 for id 1, and so on; nothing of it is an id.
    luminance = tf.io.decode_png(encoded, channels=1)[..., 0].numpy()
    assert luminance.tolist() == [[0, 38, 147], [52, 220, 0]]
    assert masks.decode_mask(encoded, PALETTE).tolist() == IDS.tolist()


def test_decoded_mask_is_uint8_of_height_by_width() -> None:
    mask = masks.decode_mask(_palette_png(), PALETTE)
    assert (mask.dtype, mask.shape) == (np.uint8, (2, 3))


def test_every_index_of_a_palette_comes_back_even_those_that_are_no_class() -> None:
    ids = np.arange(256, dtype=np.uint8).reshape(8, 32)
    np.testing.assert_array_equal(masks.decode_mask(_palette_png(ids), PALETTE), ids)


def test_palette_colors_do_not_matter_only_indices() -> None:
    image = PIL.Image.frombytes("P", (3, 2), IDS.tobytes())
    image.putpalette([7] * 768)
    np.testing.assert_array_equal(masks.decode_mask(_encode(image), PALETTE), IDS)


def test_palette_of_fewer_bits_gives_its_indices() -> None:
    # Indices 1, 0, 1, 0, 0, 1, 0, 1 in one byte, 0xA5; and 1, 2 in four bits each, 0x12.
    assert masks.decode_mask(_raw_png(8, 1, 1, 3, b"\0\xa5", bytes(6)), PALETTE).tolist() == [[1, 0, 1, 0, 0, 1, 0, 1]]
    assert masks.decode_mask(_raw_png(2, 1, 4, 3, b"\0\x12", bytes(48)), PALETTE).tolist() == [[1, 2]]


def test_palette_with_transparency_gives_its_indices() -> None:
    image = PIL.Image.open(io.BytesIO(_palette_png()))
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", transparency=0)
    np.testing.assert_array_equal(masks.decode_mask(buffer.getvalue(), PALETTE), IDS)


def test_grey_mask_gives_its_values() -> None:
    np.testing.assert_array_equal(masks.decode_mask(_encode(PIL.Image.fromarray(IDS)), PALETTE), IDS)


@pytest.mark.parametrize(("bits", "row"), [(4, b"\0\x12"), (2, b"\0\x60")], ids=["4 bits", "2 bits"])
def test_grey_mask_of_fewer_bits_is_not_silently_scaled(bits: int, row: bytes) -> None:
    # The file holds 1 and 2. Decoders stretch them over 0..255: by 17 for 4 bits, which turns id 1
    # (aeroplane) into 17 (sheep), by 85 for 2 bits. Refusing it is fine, its values are fine, other ids are not.
    try:
        mask = masks.decode_mask(_raw_png(2, 1, bits, 0, row), PALETTE)
    except ValueError:
        return
    assert mask.tolist() == [[1, 2]]


def test_rgb_mask_is_looked_up_with_void() -> None:
    encoded = _encode(PIL.Image.fromarray(COLORS))
    assert masks.decode_mask(encoded, PALETTE).tolist() == [[0, 1, 15], [20, 255, 0]]


def test_rgb_lookup_knows_every_class() -> None:
    colors = np.array([PALETTE], np.uint8)  # [1, 21, 3]
    assert masks.decode_mask(_encode(PIL.Image.fromarray(colors)), PALETTE).tolist() == [list(range(21))]


def test_rgb_lookup_uses_the_colors_it_is_given() -> None:
    colors = np.array([[(9, 9, 9), (1, 2, 3), (224, 224, 192)]], np.uint8)
    assert masks.decode_mask(_encode(PIL.Image.fromarray(colors)), ((1, 2, 3), (9, 9, 9))).tolist() == [[1, 0, 255]]


def test_rgb_lookup_is_not_by_a_sum_that_wraps() -> None:
    # Summed in uint8, (128, 128, 128) is 384 - 256 = 128 like (128, 0, 0), and (0, 64, 0) is 64 like (64, 0, 0).
    colors = np.array([[(128, 128, 128), (0, 64, 0), (64, 0, 0)]], np.uint8)
    assert masks.decode_mask(_encode(PIL.Image.fromarray(colors)), PALETTE).tolist() == [[7, 16, 8]]


@pytest.mark.parametrize("alpha", [255, 128, 0])
def test_rgba_mask_is_looked_up_whatever_its_alpha(alpha: int) -> None:
    rgba = np.concatenate([COLORS, np.full((2, 3, 1), alpha, np.uint8)], axis=-1)
    np.testing.assert_array_equal(masks.decode_mask(_encode(PIL.Image.fromarray(rgba)), PALETTE), IDS)


def test_unknown_color_is_an_error_with_count_and_first_place() -> None:
    colors = COLORS.copy()
    colors[0, 2] = colors[1, 0] = (1, 2, 3)
    with pytest.raises(ValueError, match=r"2 pixels have a colour that no class has, first \(1, 2, 3\) at x=2, y=0"):
        masks.decode_mask(_encode(PIL.Image.fromarray(colors)), PALETTE)


def test_white_is_not_silently_anything() -> None:
    # The chapter that this project descends from maps (255, 255, 255) to an id of its own; VOC has no such colour.
    colors = COLORS.copy()
    colors[1, 1] = 255
    with pytest.raises(ValueError, match=r"1 pixels .* first \(255, 255, 255\) at x=1, y=1"):
        masks.decode_mask(_encode(PIL.Image.fromarray(colors)), PALETTE)


def test_color_of_an_index_beyond_the_classes_is_unknown() -> None:
    colors = np.array([[features.voc_palette()[21]]], np.uint8)
    with pytest.raises(ValueError, match="a colour that no class has"):
        masks.decode_mask(_encode(PIL.Image.fromarray(colors)), PALETTE)


@pytest.mark.parametrize(
    ("encoded", "mode"),
    [
        pytest.param(_raw_png(8, 1, 1, 0, b"\0\xa5"), "1", id="1 bit"),
        pytest.param(_raw_png(1, 1, 16, 0, b"\0\0\x01"), "I;16", id="16 bits"),
        pytest.param(_raw_png(1, 1, 8, 4, b"\0\x01\xff"), "LA", id="grey with alpha"),
        pytest.param(_encode(PIL.Image.new("F", (1, 1)), "TIFF"), "F", id="float"),
        pytest.param(_encode(PIL.Image.new("CMYK", (1, 1)), "JPEG"), "CMYK", id="CMYK"),
    ],
)
def test_mode_that_holds_no_ids_is_refused_by_name(encoded: bytes, mode: str) -> None:
    with pytest.raises(ValueError, match=f"the mask has mode {mode}; expected "):
        masks.decode_mask(encoded, PALETTE)


def test_every_truncation_of_a_mask_is_refused_in_one_line() -> None:
    encoded = _palette_png()
    end = encoded.index(b"IDAT") + 4  # What is cut after the data (checksum, IEND) loses no pixel.
    for length in range(end):
        with pytest.raises(ValueError, match=r"the mask cannot be read: .") as error:
            masks.decode_mask(encoded[:length], PALETTE)
        assert "\n" not in str(error.value)
    for length in range(end, len(encoded)):
        try:
            np.testing.assert_array_equal(masks.decode_mask(encoded[:length], PALETTE), IDS)
        except ValueError as error:
            assert str(error).startswith("the mask cannot be read: ")


@pytest.mark.parametrize(
    "encoded", [b"", b"background\n", b"<html>404</html>", bytes(100)], ids=["empty", "text", "html", "zeros"]
)
def test_file_that_is_no_picture_is_refused_without_an_address(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="the mask cannot be read: cannot identify image file") as error:
        masks.decode_mask(encoded, PALETTE)
    assert "0x" not in str(error.value)
    assert "BytesIO" not in str(error.value)


def test_decompression_bomb_is_refused_by_its_header() -> None:
    bomb = _raw_png(60_000, 60_000, 8, 3, b"\0", bytes(768))
    with pytest.raises(ValueError, match=r"the mask cannot be read: .*3600000000 pixels"):
        masks.decode_mask(bomb, PALETTE)


def test_damaged_mask_is_either_refused_with_a_reason_or_read_never_anything_else() -> None:
    encoded = _palette_png()
    rng = np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(encoded)
        for place in rng.integers(0, len(encoded), size=rng.integers(1, 4)):
            damaged[place] = rng.integers(256)
        try:
            mask = masks.decode_mask(bytes(damaged), PALETTE)
        except ValueError as error:
            assert type(error) is ValueError
        else:
            assert mask.dtype == np.uint8


def test_ids_within_the_classes_and_void_pass() -> None:
    masks.check_ids(IDS, 21)


def test_ids_out_of_range_are_counted_and_the_first_is_located() -> None:
    mask = np.array([[0, 1, 2], [21, 254, 255]], np.uint8)
    with pytest.raises(ValueError, match=r"2 pixels have an id outside 0\.\.20 and 255 \(void\), first 21 at x=0, y=1"):
        masks.check_ids(mask, 21)


def test_range_of_ids_follows_the_number_of_classes() -> None:
    mask = np.array([[0, 1, 2]], np.uint8)
    masks.check_ids(mask, 3)
    with pytest.raises(ValueError, match=r"1 pixels have an id outside 0\.\.1 .* first 2 at x=2, y=0"):
        masks.check_ids(mask, 2)


def test_encoded_ids_are_the_same_for_tensorflow_and_pillow() -> None:
    encoded = masks.encode_ids(IDS)
    assert tf.io.decode_png(encoded, channels=1)[..., 0].numpy().tolist() == [[0, 1, 15], [20, 255, 0]]
    assert np.asarray(PIL.Image.open(io.BytesIO(encoded))).tolist() == [[0, 1, 15], [20, 255, 0]]


def test_encoded_ids_keep_all_256_values() -> None:
    ids = np.arange(256, dtype=np.uint8).reshape(16, 16)
    np.testing.assert_array_equal(tf.io.decode_png(masks.encode_ids(ids), channels=1)[..., 0].numpy(), ids)


def test_encoding_the_same_ids_gives_the_same_bytes() -> None:
    assert masks.encode_ids(IDS) == masks.encode_ids(IDS.copy())


def test_palette_image_has_ids_as_indices_and_colors_of_the_palette() -> None:
    image = masks.to_palette_image(IDS, features.voc_palette())
    assert (image.mode, image.size) == ("P", (3, 2))
    np.testing.assert_array_equal(np.asarray(image), IDS)
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), COLORS)


def test_palette_image_saved_as_png_reads_back_as_ids() -> None:
    encoded = _encode(masks.to_palette_image(IDS, features.voc_palette()))
    np.testing.assert_array_equal(masks.decode_mask(encoded, PALETTE), IDS)


def test_reason_is_one_line_without_the_buffers_address() -> None:
    error = OSError("cannot identify\n image file <_io.BytesIO object at 0x7f>")
    assert masks.describe(error) == "cannot identify image file"
    assert masks.describe(OSError()) == "OSError"
