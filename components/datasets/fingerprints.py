"""What tells a picture, however it was encoded, and what it looks like."""

import collections
import dataclasses
import hashlib
from collections.abc import Hashable, Iterable
from typing import TypeVar

import imagehash
import numpy as np
import PIL.Image

from components.datasets.files import printable
from components.datasets.spec import SPLITS

Picture = tuple[str, str, str]
"""The builder's name of the split, the example's key and the file's path."""

_REDUCED_PX = 64
"""Least short side of the copy that is hashed: its 32x32 pixels need no more, and a third of the time is enough."""

_FLAT = 2.0
"""Standard deviation of grey, 0..255, below which a picture is flat: its hash is noise, or that of every black picture. The
flattest of VOC 2007, an aeroplane in a blue sky, has 5."""


@dataclasses.dataclass(frozen=True)
class Fingerprint:
    """What tells a picture.

    Attributes:
        split: the builder's name of the split: train, validation or test.
        key: the example's id.
        file: path of the picture.
        pixels: 16 bytes, a digest of shape and decoded pixels: equal where the pixels are, however they were encoded.
        look: perceptual hash, 0..2**64-1: few bits differ where pictures look alike; None for a flat picture, which has none.
    """

    split: str
    key: str
    file: str
    pixels: bytes
    look: int | None

    @property
    def picture(self) -> Picture:
        """Split, key and file."""
        return self.split, self.key, self.file


def order(picture: Picture) -> tuple[int, str, str]:
    """Returns what to sort pictures by: train, validation, test, then their keys."""
    split, key, file = picture
    return SPLITS.index(split), key, file


def name_of(picture: Picture) -> str:
    """Returns a picture for a line of text: `train/a (a.jpg)`."""
    split, key, file = picture
    return printable(f"{split}/{key} ({file})")


def fingerprint(split: str, key: str, file: str, image: np.ndarray) -> Fingerprint:
    """Returns what tells a picture.

    The look is the hash of the lowest frequencies that the library imagehash calls phash: against brightness and size it is
    the steadier one of phash and dhash.

    Args:
        split: the builder's name of the split.
        key: the example's id.
        file: path of the picture.
        image: uint8 [H, W, 3], RGB, 0..255, as decoded.

    Raises:
        ValueError: the image has another layout or dtype.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[-1] != 3:
        raise ValueError(f"expected uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")
    digest = hashlib.sha1(str(image.shape).encode(), usedforsecurity=False)  # Processors have it; BLAKE2 takes twice as long.
    digest.update(np.ascontiguousarray(image).data)
    return Fingerprint(split, key, file, digest.digest()[:16], _look(image))


def _look(image: np.ndarray) -> int | None:
    picture = PIL.Image.fromarray(image)
    grey = picture.reduce(max(1, min(picture.size) // _REDUCED_PX)).convert("L")
    if np.asarray(grey).std() < _FLAT:
        return None
    return int.from_bytes(np.packbits(imagehash.phash(grey).hash).tobytes(), "big")


_K = TypeVar("_K", bound=Hashable)

_V = TypeVar("_V")


def grouped(items: Iterable[tuple[_K, _V]]) -> dict[_K, list[_V]]:
    """Does in memory what beam.GroupByKey does."""
    groups = collections.defaultdict(list)
    for key, value in items:
        groups[key].append(value)
    return groups
