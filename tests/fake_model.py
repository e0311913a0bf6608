"""A model without TensorFlow: an answer that tells its folder."""

import io
import pathlib

import numpy as np
import PIL.Image

UNREADABLE = "not a readable picture"


class FakeModel:
    """Answers a picture that starts as a PNG or a JPEG with class 1 on the left half of 4 x 6 pixels."""

    class_names = ("background", "cat", "dog")
    palette = ((0, 0, 0), (255, 0, 0), (0, 0, 16))
    signatures = frozenset({"serving_default", "serving_rest", "logits"})

    def __init__(self, folder: pathlib.Path) -> None:
        if (folder / "broken").exists():
            raise ValueError("this one is broken")
        self.folder = folder

    def answer(self, encoded: list[bytes]) -> list[tuple[bytes, str]]:
        mask = np.zeros((4, 6), np.uint8)
        mask[:, :3] = 1
        buffer = io.BytesIO()
        PIL.Image.fromarray(mask).save(buffer, "PNG")
        good = [picture.startswith((b"\x89PNG", b"\xff\xd8")) and b"damaged" not in picture for picture in encoded]
        return [(buffer.getvalue(), "") if fine else (b"", UNREADABLE) for fine in good]


def make_version(folder: pathlib.Path, version: str, broken: bool = False) -> pathlib.Path:
    """Writes what looks like a SavedModel."""
    path = folder / version
    path.mkdir(parents=True)
    (path / "saved_model.pb").touch()
    if broken:
        (path / "broken").touch()
    return path
