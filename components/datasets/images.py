"""Pictures of a data set: checked by their header, decoded once, and brought into the form of the contract.

What a picture looks like is decided by TensorFlow's decoder (`components.preprocessing.decode_image`), in the data as in
Transform and serving: grey is repeated on three channels, alpha is dropped, CMYK is multiplied out, of 16 bits the upper 8
stay, and a JPEG is turned as its EXIF tag says. JPEGs and PNGs therefore keep their own bytes. (Pillow, which reads the other
formats, turns a TIFF likewise.)
"""

import dataclasses
import functools
import io
import re
from collections.abc import Callable

import numpy as np
import PIL.Image
import tensorflow as tf

from components import orientation, preprocessing
from components.datasets.raster import DAMAGED, FORMATS, check_size, describe


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture that can be used.

    Attributes:
        encoded: JPEG or PNG.
        pixels: uint8 [H, W, 3], RGB, as the network's input pipeline will decode it.
        kind: format and mode of the file, for instance "JPEG RGB".
    """

    encoded: bytes
    pixels: np.ndarray
    kind: str

    @property
    def lossy(self) -> bool:
        """Whether the file's format may smear values."""
        return self.kind.startswith(("JPEG", "WEBP"))


def read_picture(encoded: bytes) -> Picture:
    """Checks and decodes a picture.

    Args:
        encoded: the file's bytes, in one of `raster.FORMATS`.

    Raises:
        ValueError: not a picture, too large, of more than 16 bits a channel, or damaged.
    """
    try:
        image = PIL.Image.open(io.BytesIO(encoded), formats=FORMATS)
    except DAMAGED as error:
        raise ValueError(f"the image cannot be read: {describe(error)}") from error
    check_size(image, "image")
    kind = f"{image.format} {image.mode}".replace("MPO", "JPEG")  # MPO: a telephone's JPEG with a second picture.
    if image.format not in ("JPEG", "MPO", "PNG"):
        encoded = _to_png(image)
    try:
        return Picture(encoded, _decode(encoded).numpy(), kind)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(f"the image is damaged: {_reason(error)}") from error


def split_sides(picture: Picture, mask_side: str) -> tuple[Picture, np.ndarray]:
    """Divides a picture that holds an image and its mask beside each other.

    Args:
        picture: 2 * W pixels wide.
        mask_side: left or right.

    Returns:
        The image, as a PNG, and the mask's colours, uint8 [H, W, 3].

    Raises:
        ValueError: the width is odd.
    """
    width = picture.pixels.shape[1]
    if width % 2:
        raise ValueError(f"the image is {width} pixels wide; expected two halves of one size")
    halves = picture.pixels[:, : width // 2], picture.pixels[:, width // 2 :]
    mask, image = halves if mask_side == "left" else halves[::-1]
    return Picture(encode_png(image), image, picture.kind), mask


def encode_png(pixels: np.ndarray) -> bytes:
    """Returns uint8 [H, W, 3] as a PNG."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def _decode(encoded: bytes) -> tf.Tensor:
    """Decodes as `preprocessing.decode_image`: most files have no EXIF, and its graph takes twice as long as the decoder."""
    if orientation.EXIF in encoded:
        return _decoder()(encoded)
    return tf.io.decode_image(encoded, channels=3, expand_animations=False)


@functools.cache
def _decoder() -> Callable[[bytes], tf.Tensor]:
    """Returns the decoder as one graph, made once a process."""
    return tf.function(preprocessing.decode_image, input_signature=[tf.TensorSpec([], tf.string)])


def _to_png(image: PIL.Image.Image) -> bytes:
    if image.mode in ("I", "F"):
        raise ValueError(f"the image has mode {image.mode}, 32 bits; expected 8 or 16 bits a channel")
    try:
        if image.mode.startswith("I;16"):  # Pillow would clip at 255; TensorFlow's PNG decoder, too, keeps the upper bits.
            return encode_png(np.repeat((np.asarray(image) >> 8).astype(np.uint8)[..., np.newaxis], 3, axis=2))
        return encode_png(np.asarray(image.convert("RGB")))
    except DAMAGED as error:
        raise ValueError(f"the image is damaged: {describe(error)}") from error


def _reason(error: tf.errors.OpError) -> str:
    """Returns the decoder's words, the last paragraph: of a graph, the place in the code stands before them; else behind."""
    text = re.sub(r"\[\[.*?\]\]|\{\{.*?\}\}|\[Op:.*", " ", error.message, flags=re.DOTALL).strip()
    return " ".join(text.split("\n\n")[-1].split())
