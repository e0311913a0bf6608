"""Masks for a user's pictures from a pushed model: a palette PNG of each one's own size, an overlay, and pixel counts."""

import dataclasses
import io
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import PIL.Image
import tensorflow as tf

from components import features, masks, preprocessing
from components.errors import ModelError, VocsegError

BATCH_SIZE = 16
"""Pictures that are held at a time."""


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What became of one picture.

    Attributes:
        image: its path.
        mask: path of its mask, or None where it could not be read.
        error: the reason, empty where all went well.
        pixels: number of pixels by class name, of the classes that occur.
    """

    image: pathlib.Path
    mask: pathlib.Path | None
    error: str
    pixels: dict[str, int]


class Model:
    """A SavedModel with its metadata.

    Args:
        folder: of a version.

    Raises:
        ModelError: there is no such model in it.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        """Loads it."""
        metadata = folder / features.METADATA_FILE
        for path in (folder / "saved_model.pb", metadata):
            if not path.is_file():
                raise ModelError(f"{folder} is no model of vocseg: there is no {path}. Give --model the folder of a version.")
        try:
            self._metadata = json.loads(metadata.read_text())
            self._loaded = tf.saved_model.load(str(folder))
        except (OSError, ValueError, tf.errors.OpError) as error:
            raise ModelError(f"{folder} cannot be loaded: {error}. Push or copy the model again.") from error
        self._serve = self._loaded.signatures["serving_default"]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Returns the names in the order of the ids."""
        return tuple(self._metadata["class_names"])

    @property
    def signatures(self) -> frozenset[str]:
        """Returns the names of those that the SavedModel has."""
        return frozenset(self._loaded.signatures)

    def answer(self, encoded: Sequence[bytes]) -> list[tuple[bytes, str]]:
        """Returns for each encoded picture what the SavedModel answers: a grey PNG of ids, or b"" and the error."""
        images = tf.constant(list(encoded), tf.string, [len(encoded)])  # A shape, for there may be none.
        answer: dict[str, Any] = self._loaded.signatures["serving_default"](images=images)
        pairs = zip(answer["mask"].numpy(), answer["error"].numpy(), strict=True)
        return [(mask, error.decode()) for mask, error in pairs]

    @property
    def palette(self) -> tuple[features.Color, ...]:
        """Returns the colour of each class, (red, green, blue) in 0..255."""
        return tuple(tuple(color) for color in self._metadata["palette"])

    def predict(self, encoded: Sequence[bytes]) -> list[tuple[np.ndarray | None, str]]:
        """Returns for each encoded picture its mask, uint8 [H, W], or None and the error."""
        answer: dict[str, Any] = self._serve(images=tf.constant(list(encoded), tf.string))
        return [
            (None, error.decode()) if error else (np.asarray(PIL.Image.open(io.BytesIO(mask))), "")
            for mask, error in zip(answer["mask"].numpy(), answer["error"].numpy(), strict=True)
        ]


def output_paths(images: Iterable[pathlib.Path], out: pathlib.Path) -> dict[pathlib.Path, tuple[pathlib.Path, pathlib.Path]]:
    """Returns the paths of mask and overlay for each picture.

    Raises:
        VocsegError: two pictures would get the same mask, or a mask would replace a picture.
    """
    paths = {image: (out / f"{image.stem}.png", out / f"{image.stem}_overlay.png") for image in images}
    inputs = {image.resolve() for image in paths}
    taken: dict[pathlib.Path, pathlib.Path] = {}
    for image, outputs in paths.items():
        for path in outputs:
            if path.resolve() in inputs:
                raise VocsegError(f"{path} would replace a picture that is to be read. Give --out another folder.")
            if path in taken:
                raise VocsegError(f"{taken[path]} and {image} would both be written to {path}. Predict them in two runs.")
            taken[path] = image
    return paths


def predict_files(model: Model, images: Sequence[pathlib.Path], out: pathlib.Path) -> Iterator[Prediction]:
    """Writes mask and overlay for each picture, a batch at a time.

    Args:
        model: the model.
        images: the pictures' paths.
        out: the folder to write to; made if missing.

    Yields:
        What became of each picture, in order.

    Raises:
        VocsegError: see `output_paths`.
    """
    paths = output_paths(images, out)
    out.mkdir(parents=True, exist_ok=True)
    for start in range(0, len(images), BATCH_SIZE):
        batch = images[start : start + BATCH_SIZE]
        encoded = [_read(image) for image in batch]
        answers = model.predict([content or b"" for content in encoded])
        for image, content, (mask, error) in zip(batch, encoded, answers, strict=True):
            if mask is None or content is None:
                yield Prediction(image, None, "the file cannot be opened" if content is None else error, {})
                continue
            picture = preprocessing.decode_image(content).numpy()
            mask_path, overlay_path = paths[image]
            _write(masks.to_palette_image(mask, model.palette), mask_path)
            _write(PIL.Image.fromarray(masks.overlay(picture, mask, model.palette)), overlay_path)
            counts = np.bincount(mask.reshape(-1), minlength=len(model.class_names))
            pixels = {name: int(count) for name, count in zip(model.class_names, counts, strict=True) if count}
            yield Prediction(image, mask_path, "", pixels)


def _read(path: pathlib.Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _write(image: PIL.Image.Image, path: pathlib.Path) -> None:
    """Writes a PNG beside its place and renames it, so that no half of one is ever seen."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        image.save(partial, format="PNG")
        os.replace(partial, path)
    except OSError as error:
        raise VocsegError(f"{path} cannot be written: {error.strerror or error}. Give --out another folder.") from error
