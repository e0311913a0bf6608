"""EXIF's orientation: as Pillow turns pictures, eagerly and in graphs, and whatever the bytes are."""

import io
import pathlib
import random
import struct
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import PIL.Image
import PIL.ImageOps
import pytest
import tensorflow as tf

from components import features, orientation, predicted_files, prediction, preprocessing, serving
from pipeline_config import ServingConfig, TransformConfig

ORDERS = {"II": "<", "MM": ">"}
TAG, SHORT, LONG, ASCII = 0x0112, 3, 4, 2


def _encode(image: PIL.Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def _picture(height: int = 21, width: int = 34) -> PIL.Image.Image:
    """Returns noise: no two of its turnings are the same."""
    return PIL.Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8))


PLAIN = _encode(_picture())


def _row(order: str, tag: int, kind: int, count: int, value: bytes) -> bytes:
    return struct.pack(order + "HHI", tag, kind, count) + value.ljust(4, b"\0")


def _tiff(order: str = "<", value: int = 6, before: bytes = b"", after: bytes = b"", count: int | None = None) -> bytes:
    """Returns a TIFF file of one directory: rows, that of the tag, rows."""
    rows = before + _row(order, TAG, SHORT, 1, struct.pack(order + "H", value)) + after
    header = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return header + struct.pack(order + "H", len(rows) // 12 if count is None else count) + rows + bytes(4)


def _segment(content: bytes, marker: int = 0xE1) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


def _exif(tiff: bytes) -> bytes:
    return _segment(b"Exif\0\0" + tiff)


def _jpeg(*parts: bytes) -> bytes:
    """Returns the picture with something between SOI and the rest."""
    return PLAIN[:2] + b"".join(parts) + PLAIN[2:]


def _before(marker: bytes, part: bytes) -> bytes:
    """Returns the picture with something before the first such marker."""
    at = PLAIN.index(marker)
    return PLAIN[:at] + part + PLAIN[at:]


def _by_pillow(encoded: bytes) -> int | None:
    """Returns what `PIL.ImageOps.exif_transpose` turns by, or None where it gives up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of broken EXIF.
        try:
            value = PIL.Image.open(io.BytesIO(encoded)).getexif().get(TAG, 1)
        except (OSError, SyntaxError, ValueError, struct.error):
            return None
    return value if value in range(1, 9) else 1


def _read_all(pictures: Sequence[bytes]) -> list[int]:
    """Returns the orientations, read in tf.data."""
    read = tf.data.Dataset.from_tensor_slices(list(pictures)).map(orientation.read_orientation)
    return [int(value) for value in read.as_numpy_iterator()]


def _upright(encoded: bytes) -> np.ndarray:
    """Returns TensorFlow's pixels, turned by Pillow: decoders differ by a level or two."""
    decoded = PIL.Image.fromarray(tf.io.decode_image(encoded, channels=3, expand_animations=False).numpy())
    decoded.getexif()[TAG] = _by_pillow(encoded)
    return np.asarray(PIL.ImageOps.exif_transpose(decoded))


def _tagged(value: int, order: str, image: PIL.Image.Image | None = None) -> bytes:
    """Returns a JPEG whose EXIF Pillow has written."""
    exif = PIL.Image.Exif()
    exif.endian = order
    exif[0x010E] = "a description of more than four bytes"
    exif[TAG] = value
    exif[0x0131] = "software"
    return _encode(image or _picture(), exif=exif)


TURNED = {f"{name} {value}": _tagged(value, order) for name, order in ORDERS.items() for value in range(1, 9)}
TURNED |= {
    f"{name} {value} by hand": _jpeg(_exif(_tiff(order, value))) for name, order in ORDERS.items() for value in range(1, 9)
}
TURNED |= {f"grey {value}": _tagged(value, "<", _picture().convert("L")) for value in range(1, 9)}
TURNED |= {f"cmyk {value}": _tagged(value, ">", _picture().convert("CMYK")) for value in range(1, 9)}


def _eager(encoded: bytes) -> tf.Tensor:
    return preprocessing.decode_image(tf.constant(encoded))


_graph = tf.function(preprocessing.decode_image, input_signature=[tf.TensorSpec([], tf.string)])


def _mapped(encoded: bytes) -> tf.Tensor:
    return next(iter(tf.data.Dataset.from_tensors(encoded).map(preprocessing.decode_image)))


@pytest.mark.parametrize(
    "decode", [_eager, lambda encoded: _graph(tf.constant(encoded)), _mapped], ids=["eager", "graph", "data"]
)
@pytest.mark.parametrize("name", TURNED)
def test_picture_is_turned_as_pillow_turns_it(name: str, decode: Callable[[bytes], tf.Tensor]) -> None:
    encoded = TURNED[name]
    value = next(int(word) for word in name.split() if word.isdigit())
    assert _by_pillow(encoded) == value
    decoded = decode(encoded)
    assert decoded.dtype == tf.uint8
    assert decoded.shape == ((34, 21, 3) if value > 4 else (21, 34, 3))
    assert np.array_equal(decoded, _upright(encoded))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, [[1, 2, 3], [4, 5, 6]]),
        (2, [[3, 2, 1], [6, 5, 4]]),
        (3, [[6, 5, 4], [3, 2, 1]]),
        (4, [[4, 5, 6], [1, 2, 3]]),
        (5, [[1, 4], [2, 5], [3, 6]]),
        (6, [[4, 1], [5, 2], [6, 3]]),  # The camera was turned left: row 0 is the right side of the scene.
        (7, [[6, 3], [5, 2], [4, 1]]),
        (8, [[3, 6], [2, 5], [1, 4]]),
    ],
)
def test_six_pixels_go_where_the_standard_says(value: int, expected: list[list[int]]) -> None:
    image = tf.constant([[1, 2, 3], [4, 5, 6]], tf.uint8)[..., tf.newaxis] * tf.constant([1, 10, 20], tf.uint8)
    turned = orientation.apply_orientation(image, tf.constant(value))
    assert turned[..., 0].numpy().tolist() == expected
    assert turned[..., 2].numpy().tolist() == (20 * np.array(expected)).tolist()


def test_turned_pictures_of_one_shape_have_an_unknown_one_in_the_graph() -> None:
    concrete = _graph.get_concrete_function()
    assert concrete.output_shapes.as_list() == [None, None, 3]


def test_png_with_an_orientation_is_left_alone() -> None:
    exif = PIL.Image.Exif()
    exif[TAG] = 6
    encoded = _encode(_picture(), "PNG", exif=exif)
    assert b"eXIf" in encoded and _by_pillow(encoded) == 6
    assert orientation.read_orientation(tf.constant(encoded)) == 1
    assert np.array_equal(_eager(encoded), _picture())


@pytest.mark.parametrize("kind", ["BMP", "GIF"])
def test_other_formats_are_left_alone_whatever_is_in_them(kind: str) -> None:
    encoded = _encode(_picture(), kind) + TURNED["II 6"]
    assert orientation.read_orientation(tf.constant(encoded)) == 1


THUMBNAIL = _tiff("<")[8:]  # A directory with the tag.
FAR = _row("<", 0x010E, ASCII, 2**32 - 1, struct.pack("<I", 8))
EMPTY = _segment(b"", 0xE5)
SPLIT = _tiff(">", 8, before=_row(">", 0x010E, ASCII, 4, b"abc"))
STRANGE = {
    "no EXIF": (PLAIN, 1),
    "empty EXIF": (_jpeg(_exif(b"")), 1),
    "behind APP0": (_before(b"\xff\xdb", _exif(_tiff())), 6),
    "behind the frame header": (_before(b"\xff\xc4", _exif(_tiff())), 6),
    "right before the pixels": (_before(b"\xff\xda", _exif(_tiff())), 6),
    "behind the pixels": (PLAIN + _exif(_tiff()), 1),
    "behind a colour profile": (_jpeg(_segment(b"ICC_PROFILE\0\1\1" + bytes(3000), 0xE2), _exif(_tiff())), 6),
    "behind XMP": (_jpeg(_segment(b"http://ns.adobe.com/xap/1.0/\0<x/>"), _exif(_tiff())), 6),
    "behind a comment that speaks of EXIF": (_jpeg(_segment(b"Exif\0\0" + _tiff("<", 3), 0xFE), _exif(_tiff())), 6),
    "in APP2": (_jpeg(_segment(b"Exif\0\0" + _tiff(), 0xE2)), 1),
    "behind fill bytes": (_jpeg(b"\xff" * 700, _exif(_tiff())), 6),
    "behind junk": (_jpeg(EMPTY, b"\0junk\xff\0more" * 200, _exif(_tiff())), 6),
    **{f"behind {size} bytes of junk": (_jpeg(EMPTY, bytes(size), _exif(_tiff())), 6) for size in range(509, 514)},
    "behind junk that is like an end": (_jpeg(EMPTY, b"\0\xd9" * 600, _exif(_tiff())), 6),
    "behind junk that is like EXIF": (_jpeg(EMPTY, b"\0" + _exif(_tiff("<", 3))[1:], bytes(600), _exif(_tiff())), 6),
    "behind markers without a length": (_jpeg(b"\xff\xd0\xff\xd7", _exif(_tiff())), 6),
    "behind a segment of length 0": (_jpeg(b"\xff\xe5\0\0", _exif(_tiff())), 6),
    "name not whole": (_jpeg(_segment(b"Exif\0" + _tiff()), _segment(b"Exif\0\0", 0xFE)), 1),
    "name alone, then junk": (_jpeg(b"\xff\xe1\0\6Exif\0\0", _tiff()), 1),
    "name twice": (_jpeg(_exif(b"Exif\0\0" + _tiff())), 6),
    "second EXIF continues the first": (_jpeg(_exif(SPLIT[:27]), _exif(SPLIT[27:])), 8),
    "second EXIF of its own is not looked at": (_jpeg(_exif(_tiff("<", 6)), _exif(_tiff("<", 3))), 6),
    "second EXIF behind an empty one": (_jpeg(_exif(b""), _exif(_tiff())), 6),
    "swapped magic, big": (_jpeg(_exif(b"MM*\0" + _tiff(">")[4:])), 6),
    "swapped magic, little": (_jpeg(_exif(b"II\0*" + _tiff("<")[4:])), 6),
    "wrong magic": (_jpeg(_exif(b"II*\1" + _tiff()[4:])), 1),
    "mixed byte order": (_jpeg(_exif(b"MI*\0" + _tiff()[4:])), 1),
    "directory elsewhere": (_jpeg(_exif(_tiff()[:4] + struct.pack("<I", 108) + bytes(100) + _tiff()[8:])), 6),
    "directory at the end": (_jpeg(_exif(_tiff()[:4] + struct.pack("<I", 8))), 1),
    "directory outside": (_jpeg(_exif(_tiff()[:4] + struct.pack("<I", 2**32 - 1) + _tiff()[8:])), 1),
    "directory upon the header": (_jpeg(_exif(_tiff()[:4] + bytes(4) + _tiff()[8:])), 1),
    "directory that is its own successor": (_jpeg(_exif(_tiff()[:-4] + struct.pack("<I", 8))), 6),
    "no rows": (_jpeg(_exif(_tiff(count=0))), 1),
    "65535 rows, of which one is there": (_jpeg(_exif(_tiff(count=65535))), 6),
    "tag in the thumbnail only": (_jpeg(_exif(b"II*\0\x08\0\0\0\0\0" + struct.pack("<I", 14) + THUMBNAIL)), 1),
    "tag in the directory of the camera only": (
        _jpeg(_exif(b"II*\0\x08\0\0\0\1\0" + _row("<", 0x8769, LONG, 1, struct.pack("<I", 26)) + bytes(4) + THUMBNAIL)),
        1,
    ),
    "giant count before": (_jpeg(_exif(_tiff(before=FAR))), 1),
    "giant count behind": (_jpeg(_exif(_tiff(after=FAR))), 6),
    "offset outside before": (_jpeg(_exif(_tiff(before=_row("<", 0x010E, ASCII, 5, b"\xff" * 4)))), 1),
    "offset at the last byte before": (_jpeg(_exif(_tiff(before=_row("<", 0x010E, ASCII, 5, struct.pack("<I", 33))))), 6),
    "offset one byte too far before": (_jpeg(_exif(_tiff(before=_row("<", 0x010E, ASCII, 5, struct.pack("<I", 34))))), 1),
    "unknown type before": (_jpeg(_exif(_tiff(before=_row("<", 0x010E, 99, 2**32 - 1, b"\xff" * 4)))), 6),
    "tag twice": (_jpeg(_exif(_tiff("<", 6, after=_row("<", TAG, SHORT, 1, b"\3")))), 3),
    "tag again, of an unknown type": (_jpeg(_exif(_tiff("<", 6, after=_row("<", TAG, 99, 1, b"\3")))), 6),
    "tag again, of no values": (_jpeg(_exif(_tiff("<", 6, after=_row("<", TAG, SHORT, 0, b"\3")))), 6),
    "tag is text": (_jpeg(_exif(_tiff("<", 6, after=_row("<", TAG, ASCII, 2, b"6")))), 1),
    "0": (_jpeg(_exif(_tiff("<", 0))), 1),
    "9": (_jpeg(_exif(_tiff("<", 9))), 1),
    "65535": (_jpeg(_exif(_tiff("<", 65535))), 1),
    "6 in the other byte": (_jpeg(_exif(_tiff("<", 6 << 8))), 1),
}


@pytest.mark.parametrize("name", STRANGE)
def test_strange_exif_is_understood_as_pillow_does(name: str) -> None:
    encoded, expected = STRANGE[name]
    assert _by_pillow(encoded) in (expected, None)  # None: it raises. Where it does, pictures are left alone here.
    assert orientation.read_orientation(tf.constant(encoded)) == expected
    assert _read_all([encoded]) == [expected]


@pytest.mark.parametrize(
    ("encoded", "by_pillow"),
    [
        pytest.param(_jpeg(_exif(_tiff("<", 1, after=_row("<", TAG, LONG, 1, b"\6")))), 6, id="LONG"),
        pytest.param(_jpeg(_exif(_tiff("<", 1, after=_row("<", TAG, SHORT, 2, b"\6")))), 6, id="two values"),
        pytest.param(_jpeg(_segment(b'http://ns.adobe.com/xap/1.0/\0tiff:Orientation="6"')), 6, id="XMP"),
        pytest.param(_jpeg(*[_segment(bytes(65_000), 0xE2)] * 5, _exif(_tiff())), 6, id="beyond 256 KiB"),
        pytest.param(_jpeg(*[_segment(b"", 0xE2)] * 1000, _exif(_tiff())), 6, id="beyond 1000 segments"),
        pytest.param(_jpeg(b"\xff\x01", _exif(_tiff())), None, id="behind TEM"),
    ],
)
def test_where_pillow_differs(encoded: bytes, by_pillow: int | None) -> None:
    assert _by_pillow(encoded) == by_pillow
    assert orientation.read_orientation(tf.constant(encoded)) == (6 if by_pillow is None else 1)
    assert tf.io.decode_image(encoded).shape == (21, 34, 3)


@pytest.mark.parametrize("order", ORDERS)
def test_picture_cut_off_anywhere_has_some_orientation(order: str) -> None:
    encoded = TURNED[f"{order} 6"]
    tiff_end = encoded.index(b"Exif") + struct.unpack(">H", encoded[encoded.index(b"Exif") - 2 :][:2])[0] - 2
    read = _read_all([encoded[:length] for length in range(len(encoded))])
    # Of a segment that is not there to its end nothing is taken.
    assert read == [1] * tiff_end + [6] * (len(encoded) - tiff_end)
    assert [orientation.read_orientation(tf.constant(encoded[:length])).numpy() for length in range(40)] == [1] * 40


@pytest.mark.parametrize("order", ORDERS)
def test_exif_cut_off_anywhere_is_understood_as_pillow_does(order: str) -> None:
    tiff = _tiff(ORDERS[order], 6, before=_row(ORDERS[order], 0x0100, SHORT, 1, b""))
    pictures = [_jpeg(_exif(tiff[:length])) for length in range(len(tiff) + 1)]
    read = _read_all(pictures)
    assert all(value == (_by_pillow(picture) or 1) for value, picture in zip(read, pictures, strict=True))
    assert set(read) == {1, 6}


def test_flipped_bits_are_understood_as_pillow_does() -> None:
    rng = random.Random(0)
    pictures = []
    for number in range(500):
        flipped = bytearray(TURNED[f"{('II', 'MM')[number % 2]} {2 + number % 7}"])
        start = flipped.index(b"Exif") - 4
        stop = start + 2 + struct.unpack(">H", flipped[start + 2 : start + 4])[0]
        for _ in range(rng.choice([1, 1, 2, 8])):
            flipped[rng.randrange(start, stop)] ^= 1 << rng.randrange(8)
        pictures.append(bytes(flipped))
    read = _read_all(pictures)
    assert set(read) == set(range(1, 9))
    by_pillow = [_by_pillow(picture) for picture in pictures]
    assert sum(value is None for value in by_pillow) < 150
    differ = [number for number, (one, other) in enumerate(zip(read, by_pillow, strict=True)) if other not in (one, None)]
    assert differ == []


def test_garbage_has_some_orientation() -> None:
    rng = random.Random(1)
    openings = [b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xe1", *(_jpeg(_exif(_tiff(order)))[:20] for order in ORDERS.values())]
    garbage = [rng.choice(openings) + rng.randbytes(rng.randrange(80)) + b"Exif\0\0" for _ in range(500)]
    garbage += [rng.randbytes(rng.randrange(40)) for _ in range(100)]
    assert set(_read_all(garbage)) <= set(range(1, 9))


@pytest.mark.parametrize(
    "filling",
    [b"\xff", b"\xff\0", b"\0", b"\xff\xd0", b"\xff\xe1\0\0", b"\xff\xe1\0\x08Exif\0\0", b"\xff\xe2\0\2", b"Exif\0\0"],
    ids=repr,
)
def test_hostile_file_is_done_with_soon(filling: bytes) -> None:
    encoded = b"\xff\xd8\xff" + filling * (2**20 // len(filling)) + b"Exif\0\0"
    assert _read_all([encoded, encoded[: 2**18 - 6] + b"Exif\0\0"] * 5) == [1] * 10


@pytest.mark.parametrize("encoded", [b"", b"\xff", b"\xff\xd8", b"\xff\xd8\xff", b"\xff\xd8\xff\xe1", b"Exif\0\0", b"text"])
def test_what_is_no_picture_is_upright(encoded: bytes) -> None:
    assert orientation.read_orientation(tf.constant(encoded)) == 1
    assert _read_all([encoded]) == [1]


NAMES = ("background", "red", "green", "blue")


def _color_model() -> keras.Model:
    """Returns a network whose class is red, green or blue where that channel exceeds one half, else background."""
    inputs = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(4, 1)
    model = keras.Model(inputs, layer(inputs))
    kernel = np.zeros((1, 1, 3, 4), np.float32)
    kernel[0, 0, :, 1:] = np.eye(3)
    layer.set_weights([kernel, np.array([0.5, 0, 0, 0], np.float32)])
    return model


def _thirds() -> PIL.Image.Image:
    """Returns red, green and blue side by side, above them black."""
    pixels = np.zeros((32, 48, 3), np.uint8)
    for channel in range(3):
        pixels[16:, 16 * channel : 16 * (channel + 1), channel] = 250
    return PIL.Image.fromarray(pixels)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> prediction.Model:
    folder = tmp_path_factory.mktemp("orientation") / "1"
    transform = TransformConfig(height_px=24, width_px=24)
    serving.save(_color_model(), str(folder), transform, ServingConfig(), NAMES, features.voc_palette(len(NAMES)))
    return prediction.Model(folder)


def test_served_mask_is_that_of_the_turned_picture(model: prediction.Model) -> None:
    pictures = [_tagged(value, "<", _thirds()) for value in range(1, 9)]
    for value, (mask, error) in enumerate(model.predict(pictures), start=1):
        assert error == "" and mask is not None
        turned = PIL.Image.fromarray(_upright(pictures[value - 1]))
        assert mask.shape == (turned.height, turned.width) == ((48, 32) if value > 4 else (32, 48))
        # The same picture, stored upright.
        assert np.array_equal(mask, model.predict([_encode(turned, "PNG")])[0][0])
        assert (
            mask[[4, 4, -5, -5], [4, -5, 4, -5]].tolist()
            == {
                1: [0, 0, 1, 3],
                2: [0, 0, 3, 1],
                3: [3, 1, 0, 0],
                4: [1, 3, 0, 0],
                5: [0, 1, 0, 3],
                6: [1, 0, 3, 0],
                7: [3, 0, 1, 0],
                8: [0, 3, 0, 1],
            }[value]
        )


def test_overlay_lies_on_the_turned_picture(model: prediction.Model, tmp_path: pathlib.Path) -> None:
    (tmp_path / "a.jpg").write_bytes(_tagged(6, "<", _thirds()))
    (found,) = predicted_files.predict_files(
        model, {tmp_path / "a.jpg": (tmp_path / "out/a.png", tmp_path / "out/a_overlay.jpeg")}
    )
    assert found.error == ""
    mask, overlay = (np.asarray(PIL.Image.open(tmp_path / "out" / name)) for name in ("a.png", "a_overlay.jpeg"))
    assert (mask.shape, overlay.shape) == ((48, 32), (48, 32, 3))
    assert overlay[24, 28].max() < 10  # Black, on the right now.
    red, green, blue = overlay[24, 5].tolist()
    assert green > 150 and max(red, blue) < 10  # (250 + 128) / 2
