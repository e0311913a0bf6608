"""A mask's pixels as its file keeps them, whatever they mean."""

import dataclasses
import functools
import io
import re
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageFile

from components import features

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
"""What is opened as a picture: Pillow knows more, and would start a PostScript interpreter for one of them."""

DAMAGED = (
    *(OSError, EOFError, SyntaxError, ValueError, TypeError, AttributeError, LookupError, ArithmeticError, RuntimeError),
    *(struct.error, zlib.error, PIL.Image.DecompressionBombError),
)
"""What Pillow raises on a damaged file: its readers trust the metadata, also behind the pixels."""

_TURNS = {
    2: PIL.Image.Transpose.FLIP_LEFT_RIGHT,
    3: PIL.Image.Transpose.ROTATE_180,
    4: PIL.Image.Transpose.FLIP_TOP_BOTTOM,
    5: PIL.Image.Transpose.TRANSPOSE,
    6: PIL.Image.Transpose.ROTATE_270,
    7: PIL.Image.Transpose.TRANSVERSE,
    8: PIL.Image.Transpose.ROTATE_90,
}
"""What turns a JPEG upright, by its EXIF orientation."""


@dataclasses.dataclass(frozen=True)
class Raster:
    """A mask's pixels as they are stored.

    Attributes:
        values: uint8 or uint16 [H, W] (indices or grey values), or uint8 [H, W, 3] (colours).
        kind: in words, for instance "palette", "grey", "grey of 1 bit", "RGBA".
        palette: uint8 [256, 3], of a palette picture; colours that it does not define are (0, 0, 0).
        lossy: whether its format smears values.
    """

    values: np.ndarray
    kind: str
    palette: np.ndarray | None = None
    lossy: bool = False


def open_raster(encoded: bytes) -> Raster:
    """Decodes a mask's file without interpreting it.

    Raises:
        ValueError: not a picture, truncated, or a mode that holds neither ids nor colours.
    """
    try:
        file = PIL.Image.open(io.BytesIO(encoded), formats=FORMATS)
    except DAMAGED as error:
        raise ValueError(f"the mask cannot be read: {describe(error)}") from error
    check_size(file, "mask")
    raw = _raw_mode(file)
    try:
        if file.format != "MPO" and getattr(file, "n_frames", 1) > 1:
            raise ValueError(f"it holds {file.n_frames} pictures; expected one")  # type: ignore[attr-defined]
        file.load()
    except DAMAGED as error:
        raise ValueError(f"the mask cannot be read: {describe(error)}") from error
    image = _upright(file, encoded)
    lossy = _is_lossy(file, encoded)
    if image.mode == "P":
        palette = np.zeros((256, 3), np.uint8)
        found = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        palette[: len(found)] = found
        return Raster(np.asarray(image), "palette", palette)
    if image.mode in ("L", "LA"):
        return Raster(*_unscaled(np.asarray(image.getchannel(0)), raw), lossy=lossy)
    if image.mode == "1":
        return Raster(np.asarray(image).astype(np.uint8), "grey of 1 bit")
    if image.mode.startswith("I;16"):
        return Raster(np.asarray(image).astype(np.uint16), "grey of 16 bits")
    if ";16" in raw:  # Pillow keeps the upper bits, in which small ids are 0.
        raise ValueError("the mask has 16 bits a channel, and more channels than one; expected 8 bits, or one grey channel")
    if image.mode in ("RGB", "RGBA"):
        return Raster(np.asarray(image)[..., :3], image.mode, lossy=lossy)
    raise ValueError(f"the mask has mode {image.mode}; expected a palette (P), grey (1, L, I;16) or colours (RGB, RGBA)")


def _raw_mode(file: PIL.Image.Image) -> str:
    """Returns how the pixels are stored in a file that is not loaded yet, in Pillow's words: "L;4" for grey of 4 bits."""
    args = file.tile[0].args if isinstance(file, PIL.ImageFile.ImageFile) and file.tile else ""
    first = args[0] if isinstance(args, tuple) and args else args
    return first if isinstance(first, str) else ""


def _upright(image: PIL.Image.Image, encoded: bytes) -> PIL.Image.Image:
    """Turns a JPEG as its picture is turned."""
    if image.format not in ("JPEG", "MPO") or b"Exif" not in encoded:
        return image
    turn = _TURNS.get(int(_read_orientation()(encoded)))
    return image if turn is None else image.transpose(turn)


@functools.cache
def _read_orientation() -> Callable[[bytes], Any]:
    """Returns the reader of pictures' orientations as one graph, made once a process; only such masks need TensorFlow."""
    import tensorflow as tf

    from components import orientation

    return tf.function(orientation.read_orientation, input_signature=[tf.TensorSpec([], tf.string)])


def _is_lossy(image: PIL.Image.Image, encoded: bytes) -> bool:
    if image.format == "WEBP":
        chunk = re.search(rb"VP8[ L]", encoded)
        return chunk is None or chunk.group() == b"VP8 "
    return image.format in ("JPEG", "MPO") or image.info.get("compression") in ("jpeg", "tiff_jpeg", "webp")  # Of TIFF.


def _unscaled(values: np.ndarray, raw: str) -> tuple[np.ndarray, str]:
    """Undoes what Pillow does to grey of 2 or 4 bits: it spreads the values over 0..255."""
    if not raw.startswith(("L;2", "L;4")):
        return values, "grey"
    bits = int(raw[2])
    return values // (255 // (2**bits - 1)), f"grey of {bits} bits"


def check_size(image: PIL.Image.Image, what: str) -> None:
    """Refuses by its header what is too large: it must not be decoded.

    Raises:
        ValueError: more than `features.MAX_PIXELS`, or a side longer than `features.MAX_SIDE_PX`.
    """
    width, height = image.size
    if width * height > features.MAX_PIXELS:
        raise ValueError(f"the {what} has {width}x{height} pixels, more than {features.MAX_PIXELS}")
    if max(width, height) > features.MAX_SIDE_PX:
        raise ValueError(f"the {what} has {width}x{height} pixels; a side may have {features.MAX_SIDE_PX}")


def describe(error: Exception) -> str:
    """Returns a reader's error in one line, without the address of the buffer that it read from."""
    text = str(error).split("<_io")[0].strip() or type(error).__name__
    return " ".join(text.split())
