"""A model without TensorFlow: an answer that tells its folder."""

import io
import pathlib
from collections.abc import Iterator

import numpy as np
import PIL.Image

from components.served_models import Answer

UNREADABLE = "not a readable picture"
_MASK = np.array([[1, 1, 1, 0, 0, 0]] * 4, np.uint8)


class FakeModel:
    """Answers a picture that starts as a PNG or a JPEG with class 1 on the left half of 4 x 6 pixels."""

    class_names = ("background", "cat", "dog")
    palette = ((0, 0, 0), (255, 0, 0), (0, 0, 16))
    max_pixels = 100
    signatures = frozenset({"serving_default", "serving_rest", "logits"})

    def __init__(self, folder: pathlib.Path) -> None:
        if (folder / "broken").exists():
            raise ValueError("this one is broken")
        self.folder = folder

    def answer(self, encoded: list[bytes]) -> list[tuple[bytes, str]]:
        buffer = io.BytesIO()
        PIL.Image.fromarray(_MASK).save(buffer, "PNG")
        return [(buffer.getvalue() if _is_good(one) else b"", "" if _is_good(one) else UNREADABLE) for one in encoded]

    def predict_each(self, encoded: list[bytes], scored: bool = False) -> Iterator[Answer]:
        scores = np.full(_MASK.shape, 0.75, np.float32) if scored else None
        for one in encoded:
            yield (_MASK, scores, "") if _is_good(one) else (None, None, UNREADABLE)


def _is_good(encoded: bytes) -> bool:
    return encoded.startswith((b"\x89PNG", b"\xff\xd8")) and b"damaged" not in encoded


def make_version(folder: pathlib.Path, version: str, broken: bool = False) -> pathlib.Path:
    """Writes what looks like a SavedModel."""
    path = folder / version
    path.mkdir(parents=True)
    (path / "saved_model.pb").touch()
    if broken:
        (path / "broken").touch()
    return path
