"""How a camera was held, by a JPEG's EXIF, in TensorFlow's own operations: `tf.io.decode_image` does not look at it."""

import tensorflow as tf

_HEAD_BYTES = 1 << 18
_WINDOW_BYTES = 512
_MAX_SEGMENTS = 1000
"""A hostile file could have ten thousands; real ones have some ten, and up to 255 more with a large colour profile."""

EXIF = b"Exif\0\0"
"""What EXIF begins with: a file without it is upright."""

_APP1, _SOI, _EOI, _SOS = 0xE1, 0xD8, 0xD9, 0xDA
_TEM, _RST0 = 0x01, 0xD0

_TIFF_HEADERS = (b"MM\0*", b"II*\0", b"MM*\0", b"II\0*", b"MM\0+")
"""The two that are valid, and three more that Pillow takes for them."""
_ORIENTATION = 0x0112
_SHORT = 3
_UNIT_BYTES = (0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8, 0)
"""Bytes a value by TIFF type, 0 where there is no such type; the last one stands for all above."""


def read_orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Reads the EXIF orientation of a JPEG; nothing in a file makes it fail.

    It answers as `PIL.ImageOps.exif_transpose` does, apart from this: the tag must be one SHORT, as the standard says, XMP does
    not stand in for it, and what lies behind the first 256 KiB or 1000 segments is not seen.

    Args:
        encoded: string [], any file's bytes.

    Returns:
        int32 [], 1..8; 1, upright, where it is no JPEG, or has no such tag, or a broken one.
    """
    head = tf.strings.substr(encoded, 0, _HEAD_BYTES)
    jpeg = tf.strings.substr(head, 0, 3) == b"\xff\xd8\xff"
    # Most files have no EXIF, and a search for its name costs a tenth of a walk.
    without = tf.strings.regex_replace(head, r"Exif\x00\x00", "")
    names = (tf.strings.length(head) - tf.strings.length(without)) // len(EXIF)
    return tf.cond(jpeg & (names > 0), lambda: _tiff_orientation(_read_exif(head, names)), lambda: tf.constant(1))


def apply_orientation(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns a picture upright.

    Args:
        image: uint8 [H, W, 3], as it is stored.
        orientation: int32 [], EXIF's 1..8.

    Returns:
        uint8 [H, W, 3], or [W, H, 3] for 5..8, which lie on their side.
    """

    def turned() -> tf.Tensor:
        upright = tf.cond(orientation > 4, lambda: tf.transpose(image, [1, 0, 2]), lambda: image)
        # The four repeat on the transposed picture; tf.reverse, since a slice [::-1] takes ten times as long.
        mirrors = [
            lambda: upright,
            lambda: tf.reverse(upright, [1]),
            lambda: tf.reverse(upright, [0, 1]),
            lambda: tf.reverse(upright, [0]),
        ]
        return tf.switch_case((orientation - 1) % 4, mirrors)

    return tf.cond(orientation > 1, turned, lambda: image)


def _read_exif(head: tf.Tensor, names: tf.Tensor) -> tf.Tensor:
    """Walks a JPEG's segments up to its pixels, or until it has met all that can be EXIF.

    EXIF of more than 64 KB is in several segments, one continuing the other. Markers that decoders refuse need no rule here.

    Args:
        head: string [], the file's first bytes.
        names: int32 [], how often the name of EXIF occurs in them.

    Returns:
        The TIFF file of the EXIF, string [], empty where there is none.
    """
    end = tf.strings.length(head)

    def step(position: tf.Tensor, left: tf.Tensor, exif: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        # Fill bytes and junk before a marker are passed over, as decoders do.
        window = _bytes(head, position, _WINDOW_BYTES)
        starts = (window[:-1] == 0xFF) & (window[1:] != 0xFF) & (window[1:] != 0)
        gap = tf.argmax(tf.cast(starts, tf.int8), output_type=tf.int32)
        start = position + gap
        marker = tf.cast(_bytes(head, start, 4), tf.int32)
        kind = tf.where(starts[gap], marker[1], 0)  # 0: the window has none.
        length = tf.maximum(256 * marker[2] + marker[3], 2)
        bare = (kind == _TEM) | ((kind >= _RST0) & (kind <= _SOI))  # A marker without a length.
        following = tf.where(kind > 0, start + 2 + tf.where(bare, 0, length), position + _WINDOW_BYTES - 1)
        over = (kind == _EOI) | (kind == _SOS) | (following > end)
        body = start + 4 + len(EXIF)
        name = tf.strings.substr(head, tf.minimum(start + 4, end), len(EXIF))
        found = (kind == _APP1) & (name == EXIF) & (body <= following) & ~over
        part = tf.strings.substr(head, tf.where(found, body, 0), tf.where(found, following - body, 0))
        return tf.where(over, end, following), left - tf.cast(found, tf.int32), exif + part

    def unfinished(position: tf.Tensor, left: tf.Tensor, exif: tf.Tensor) -> tf.Tensor:
        return (position < end) & (left > 0)

    first = (tf.constant(2), names, tf.constant(b""))  # Behind the SOI.
    return tf.while_loop(unfinished, step, first, maximum_iterations=_MAX_SEGMENTS)[2]


def _tiff_orientation(exif: tf.Tensor) -> tf.Tensor:
    """Returns the orientation, int32 [] in 1..8, by the first directory of a TIFF file, string []; 1 where it has none."""
    exif = tf.strings.regex_replace(exif, r"\A(Exif\x00\x00)+", "")  # Pillow passes over such repetitions.
    little = tf.strings.substr(exif, 0, 1) == b"I"
    rows = _first_directory(exif, little)
    tag, kind, count, offset = (_number(rows[:, a:b], little) for a, b in ((0, 2), (2, 4), (4, 8), (8, 12)))
    size = count * tf.gather(tf.constant(_UNIT_BYTES, tf.int64), tf.minimum(kind, len(_UNIT_BYTES) - 1))
    # Values of up to four bytes stand in the row itself, others elsewhere; a row that points outside ends the table.
    outside = (size > 4) & (offset + size > tf.cast(tf.strings.length(exif), tf.int64))
    readable = (tf.cumsum(tf.cast(outside, tf.int32)) == 0) & (size > 0)
    value = _number(rows[:, 8:10], little)
    value = tf.where((kind == _SHORT) & (count == 1) & (value >= 1) & (value <= 8), value, 1)
    found = tf.boolean_mask(tf.cast(value, tf.int32), readable & (tag == _ORIENTATION))
    return tf.concat([[1], found], axis=0)[-1]  # The last one counts.


def _first_directory(exif: tf.Tensor, little: tf.Tensor) -> tf.Tensor:
    """Returns the rows of a TIFF file's first directory, uint8 [N, 12]; of one cut short what is there, maybe none."""
    end = tf.strings.length(exif)
    valid = tf.reduce_any(tf.strings.substr(exif, 0, 4) == tf.constant(_TIFF_HEADERS)) & (end >= 8)
    offset = tf.cast(tf.minimum(_number(_bytes(exif, 4, 4), little), tf.cast(end, tf.int64)), tf.int32)
    start = tf.where(valid, offset, end)
    count = tf.cast(_number(_bytes(exif, start, 2), little), tf.int32)
    table = tf.strings.substr(exif, tf.minimum(start + 2, end), 12 * count)
    whole = tf.strings.length(table) // 12
    return tf.reshape(tf.io.decode_raw(tf.strings.substr(table, 0, 12 * whole), tf.uint8), [whole, 12])


def _bytes(text: tf.Tensor, start: tf.Tensor, count: int) -> tf.Tensor:
    """Returns bytes of a string [], uint8 [count]; zeros behind its end."""
    part = tf.strings.substr(text, tf.minimum(start, tf.strings.length(text)), count)
    return tf.io.decode_raw(part, tf.uint8, fixed_length=count)


def _number(raw: tf.Tensor, little: tf.Tensor) -> tf.Tensor:
    """Returns unsigned numbers, uint8 [..., n] in either byte order, as int64 [...]."""
    ordered = tf.cast(tf.where(little, tf.reverse(raw, [-1]), raw), tf.int64)
    weights = [256**power for power in reversed(range(raw.shape[-1]))]
    return tf.reduce_sum(ordered * weights, axis=-1)
