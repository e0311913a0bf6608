"""From a pair of files to an example of `components.features`, or to a reason why not."""

import dataclasses
import io
import math
import os
import re
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import PIL.Image
import tensorflow as tf
from etils import epath

from components import features, masks, progress
from components.datasets.voc import Pair
from components.errors import DataError


@dataclasses.dataclass(frozen=True)
class Quarantined:
    """A pair that cannot be used: the dead-letter record of the data's way in.

    Attributes:
        split: the builder's name of the split that lists it.
        key: the image id.
        file: the file at fault.
        reason: what is wrong with it, in words.
    """

    split: str
    key: str
    file: str
    reason: str

    def __str__(self) -> str:
        """Returns one line for an error's list."""
        return f"{self.split}/{self.key}: {self.file}: {self.reason}"


class _BadFileError(Exception):
    def __init__(self, file: str, reason: str) -> None:
        super().__init__(file, reason)
        self.file = file
        self.reason = reason


def _tf_reason(error: tf.errors.OpError) -> str:
    return " ".join(re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", " ", error.message).split())


def encode_image(encoded: bytes) -> tuple[bytes, int, int]:
    """Checks a picture and brings it into the form of the contract.

    Args:
        encoded: the file's bytes, in one of `masks.FORMATS`.

    Returns:
        Its own bytes if it is an RGB JPEG, else an RGB PNG of it; height and width in pixels.

    Raises:
        ValueError: not a picture, too large, or damaged. TensorFlow's decoder has the last word, since it is the one that
            Transform and serving use.
    """
    try:
        image = PIL.Image.open(io.BytesIO(encoded), formats=masks.FORMATS)
        width, height = image.size
        if width * height > features.MAX_PIXELS:
            raise ValueError(f"the image has {width}x{height} pixels, more than {features.MAX_PIXELS}")
        if max(width, height) > features.MAX_SIDE_PX:
            raise ValueError(f"the image has {width}x{height} pixels; a side may have {features.MAX_SIDE_PX}")
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"the image has mode {image.mode}; expected 8 bits a channel")
        if image.format not in ("JPEG", "MPO") or image.mode != "RGB":  # MPO: a telephone's JPEG with a second picture.
            buffer = io.BytesIO()
            image.convert("RGB").save(buffer, format="PNG")
            encoded = buffer.getvalue()
    except (OSError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise ValueError(f"the image cannot be read: {masks.describe(error)}") from error
    try:
        tf.io.decode_image(encoded, channels=3, expand_animations=False)
    except tf.errors.InvalidArgumentError as error:
        raise ValueError(f"the image is damaged: {_tf_reason(error)}") from error
    return encoded, height, width


def encode_example(pair: Pair, palette: Sequence[masks.Color], image: bytes, mask: bytes) -> dict[str, Any]:
    """Builds the example of a pair; see `components.features` for its keys.

    Args:
        pair: where the bytes come from.
        palette: colour of each class, in the order of their ids; its length is the number of classes.
        image: the picture's bytes.
        mask: the mask's bytes.

    Returns:
        What the builder's features encode.

    Raises:
        _BadFileError: with the file at fault and the reason.
    """
    try:
        encoded, height, width = encode_image(image)
    except ValueError as error:
        raise _BadFileError(pair.image, str(error)) from error
    try:
        ids = masks.decode_mask(mask, palette)
        masks.check_ids(ids, len(palette))
        if ids.shape != (height, width):
            raise ValueError(f"the mask has {ids.shape[1]}x{ids.shape[0]} pixels, its image {width}x{height}")
    except ValueError as error:
        raise _BadFileError(pair.mask, str(error)) from error
    classes = np.unique(ids)
    return {
        features.IMAGE: encoded,
        features.FILENAME: os.path.basename(pair.image),
        features.HEIGHT: height,
        features.WIDTH: width,
        features.LABEL: masks.encode_ids(ids),
        features.CLASSES: classes[classes != features.IGNORE_LABEL].astype(np.int64),
        features.VOID_FRACTION: np.float32((ids == features.IGNORE_LABEL).mean()),
    }


def _read(path: str, what: str) -> bytes:
    try:
        return epath.Path(path).read_bytes()
    except FileNotFoundError as error:
        raise _BadFileError(path, f"the {what} does not exist") from error
    except OSError as error:
        raise _BadFileError(path, f"the {what} cannot be read: {error.strerror}") from error


@dataclasses.dataclass
class _EncodeExample(beam.DoFn):
    split: str
    palette: tuple[masks.Color, ...]
    total: int

    def setup(self) -> None:
        self._done = 0

    def process(self, pair: Pair) -> Iterator[Any]:
        try:
            image, mask = _read(pair.image, "image"), _read(pair.mask, "mask")
            yield pair.key, encode_example(pair, self.palette, image, mask)
            beam.metrics.Metrics.counter("vocseg", "examples").inc()
        except _BadFileError as error:
            yield beam.pvalue.TaggedOutput("quarantined", Quarantined(self.split, pair.key, error.file, error.reason))
            beam.metrics.Metrics.counter("vocseg", "quarantined").inc()
        self._done += 1
        if self._done % 10 == 0 or self._done == self.total:
            progress.report(self._done, self.total, f"{self.split} pairs")


@dataclasses.dataclass
class EncodeExamples(beam.PTransform):
    """PCollection[Pair] -> {"examples": PCollection[(key, example)], "quarantined": PCollection[Quarantined]}.

    Attributes:
        split: the builder's name of the split.
        palette: colour of each class, in the order of their ids.
        total: how many pairs the split lists, for the progress.
    """

    split: str
    palette: tuple[masks.Color, ...]
    total: int

    def __post_init__(self) -> None:
        """Lets Beam name the transform."""
        super().__init__()

    @beam.typehints.no_annotations
    def expand(self, pairs: beam.PCollection) -> dict[str, beam.PCollection]:
        """Reads, checks and encodes each pair."""
        encode = beam.ParDo(_EncodeExample(self.split, self.palette, self.total))
        outputs = pairs | "Spread" >> beam.Reshuffle() | "Encode" >> encode.with_outputs("quarantined", main="examples")
        return {"examples": outputs.examples, "quarantined": outputs.quarantined}


def check_quarantine(quarantined: Sequence[Quarantined], listed: int, max_fraction: float, limit: int = 20) -> None:
    """Fails where too many pairs are bad.

    Args:
        quarantined: the bad pairs.
        listed: how many pairs the lists name in all.
        max_fraction: share of bad pairs that is borne, 0..1.
        limit: how many of them the message names.

    Raises:
        DataError: names them, with the remedy.
    """
    if not quarantined or len(quarantined) / listed <= max_fraction:
        return
    enough = math.ceil(1000 * len(quarantined) / listed) / 1000
    shown = sorted(map(str, quarantined))[:limit]
    rest = [f"... and {len(quarantined) - limit} more"] if len(quarantined) > limit else []
    raise DataError(
        "\n  ".join(
            [
                f"{len(quarantined)} of {listed} listed pairs cannot be used "
                f"(allowed: {max_fraction:.2%}, data.max_quarantined_fraction):",
                *shown,
                *rest,
            ]
        )
        + "\nMend the files, take them off the lists, or, in a pipeline, "
        + f"allow the share: --set data.max_quarantined_fraction={enough:g}"
    )
