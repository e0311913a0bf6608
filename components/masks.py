"""Masks: from the encodings in which users keep them to class ids, and back to a palette PNG."""

import functools
import io
from collections.abc import Sequence

import numpy as np
import PIL.Image

from components import features

Color = tuple[int, int, int]

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP")
"""What is opened as a picture: Pillow knows more, and would start a PostScript interpreter for one of them."""


def decode_mask(encoded: bytes, palette: Sequence[Color]) -> np.ndarray:
    """Reads a mask's class ids.

    A palette PNG gives its *indices*, a grey picture its values, an RGB or RGBA picture is looked up in the colour table.

    Args:
        encoded: the file's bytes.
        palette: colour of each class, (red, green, blue) in 0..255; the colour of void is `features.voc_palette()[255]`.

    Returns:
        uint8 [H, W]: 0..255, not yet checked against the classes (see `check_ids`).

    Raises:
        ValueError: not a picture, truncated, a mode that holds no ids, or a colour that is not in the table.
    """
    try:
        image = PIL.Image.open(io.BytesIO(encoded), formats=FORMATS)
        packed = image.tile[0].args if image.tile else ""
        image.load()
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise ValueError(f"the mask cannot be read: {describe(error)}") from error
    if image.mode == "L" and isinstance(packed, str) and packed.startswith("L;"):
        raise ValueError(f"the mask is grey with {packed[2:]} bits, which readers scale; expected 8 bits, or a palette")
    if image.mode in ("P", "L"):
        return np.asarray(image)
    if image.mode in ("RGB", "RGBA"):
        return _ids_of_colors(np.asarray(image)[..., :3], tuple(palette))
    raise ValueError(f"the mask has mode {image.mode}; expected palette (P), grey (L) or colour (RGB, RGBA) of 8 bits")


def describe(error: Exception) -> str:
    """Returns a reader's error in one line, without the address of the buffer that it read from."""
    text = str(error).split("<_io")[0].strip() or type(error).__name__
    return " ".join(text.split())


@functools.lru_cache(maxsize=8)
def _color_table(palette: tuple[Color, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Returns sorted colour codes, int32 [C + 1], and the id of each, uint8 [C + 1]."""
    colors = np.array([*palette, features.voc_palette()[features.IGNORE_LABEL]], np.int32)
    ids = np.array([*range(len(palette)), features.IGNORE_LABEL], np.uint8)
    codes = _codes(colors)
    order = np.argsort(codes)
    return codes[order], ids[order]


def _codes(colors: np.ndarray) -> np.ndarray:
    """Packs colours [..., 3] into int32: uint8 arithmetic would wrap."""
    wide = colors.astype(np.int32)
    return (wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]


def _ids_of_colors(colors: np.ndarray, palette: tuple[Color, ...]) -> np.ndarray:
    codes, ids = _color_table(palette)
    wanted = _codes(colors)
    position = np.searchsorted(codes, wanted).clip(max=len(codes) - 1)
    strange = codes[position] != wanted
    if strange.any():
        y, x = np.argwhere(strange)[0]
        color = tuple(int(v) for v in colors[y, x])
        raise ValueError(f"{strange.sum()} pixels have a colour that no class has, first {color} at x={x}, y={y}")
    return ids[position]


def check_ids(mask: np.ndarray, num_classes: int) -> None:
    """Checks that a mask holds class ids only.

    Args:
        mask: uint8 [H, W].
        num_classes: ids 0..num_classes-1 and 255 (void) are allowed.

    Raises:
        ValueError: other ids occur; the message has their count, the first one and where it is.
    """
    strange = (mask >= num_classes) & (mask != features.IGNORE_LABEL)
    if strange.any():
        y, x = np.argwhere(strange)[0]
        raise ValueError(
            f"{strange.sum()} pixels have an id outside 0..{num_classes - 1} and 255 (void), first {mask[y, x]} at x={x}, y={y}"
        )


def encode_ids(mask: np.ndarray) -> bytes:
    """Returns uint8 ids [H, W] as a grey PNG, which every decoder reads back as ids."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(mask).save(buffer, format="PNG")
    return buffer.getvalue()


def to_palette_image(mask: np.ndarray, palette: Sequence[Color]) -> PIL.Image.Image:
    """Returns uint8 ids [H, W] as a picture of mode P: indices are the ids, colours those of the palette."""
    image = PIL.Image.fromarray(mask).convert("L")
    image.putpalette([channel for color in palette for channel in color])
    return image
