"""From a pair of files to an example of `components.features`, or to a reason why not: the dead-letter output."""

import dataclasses
import math
import posixpath
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
import numpy as np

from components import features, masks, progress
from components.datasets import files, images, mask_reader
from components.datasets.fingerprints import fingerprint
from components.datasets.layout import Pair
from components.datasets.raster import Raster
from components.datasets.spec import DatasetSpec
from components.errors import DataError


@dataclasses.dataclass(frozen=True)
class Quarantined:
    """A pair that is not used: the dead-letter record of the data's way in.

    Attributes:
        split: the builder's name of the split that lists it.
        key: the image id.
        file: the file at fault.
        reason: what is wrong with it, in words.
        cause: "bad", or "leak" where it was taken out of train because another split has it too, as the description allows.
    """

    split: str
    key: str
    file: str
    reason: str
    cause: str = "bad"

    def __str__(self) -> str:
        """Returns one line for an error's list."""
        return files.printable(f"{self.split}/{self.key}: {self.file}: {self.reason}")


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a report counts of an example.

    Attributes:
        split: the builder's name.
        height_px: of the picture.
        width_px: of the picture.
        image_kind: format and mode of the picture's file, for instance "JPEG RGB".
        mask_kind: how its mask is kept and read, for instance "palette as ids".
        pixels: int64 [256]: pixels by id; the last is void.
    """

    split: str
    height_px: int
    width_px: int
    image_kind: str
    mask_kind: str
    pixels: np.ndarray


class BadFileError(Exception):
    """A pair cannot be used; the file at fault, and why, in words."""

    def __init__(self, file: str, reason: str) -> None:
        """Keeps both."""
        super().__init__(file, reason)
        self.file = file
        self.reason = reason


def read_pair(pair: Pair, spec: DatasetSpec) -> tuple[images.Picture, mask_reader.Mask]:
    """Reads, checks and decodes both files of a pair.

    Args:
        pair: where they are.
        spec: the data set.

    Returns:
        The picture, and its mask of the same size.

    Raises:
        BadFileError: with the file at fault and the reason.
    """
    if pair.problem:
        raise BadFileError(pair.image, pair.problem)
    if _printable(pair.key) != pair.key:
        raise BadFileError(pair.image, "its name is not UTF-8, as that of an example must be; rename it and its mask")
    encoded = _read(pair.image, pair.folder, "image")
    try:
        picture = images.read_picture(encoded)
        if spec.layout.mask_side:
            picture, colors = images.split_sides(picture, spec.layout.mask_side)
    except ValueError as error:
        raise BadFileError(pair.image, str(error)) from error
    try:
        if spec.layout.mask_side:
            mask = mask_reader.read_raster(Raster(colors, "half of the picture", lossy=picture.lossy), spec)
        else:
            mask = mask_reader.decode_mask(_read(pair.mask, pair.folder, "mask"), spec)
        _check_sizes(picture, mask.ids)
    except ValueError as error:
        raise BadFileError(pair.mask, str(error)) from error
    return picture, mask


def _check_sizes(picture: images.Picture, ids: np.ndarray) -> None:
    (height, width), size = picture.pixels.shape[:2], ids.shape
    if size != (height, width):
        turned = size == (width, height)
        hint = "; is one of them turned? A JPEG counts as turned by its EXIF tag" if turned else ""
        raise ValueError(f"the mask has {size[1]}x{size[0]} pixels, its image {width}x{height}{hint}")


def _read(path: str, folder: str, what: str) -> bytes:
    if folder and not files.stays_inside(path, folder):
        raise BadFileError(path, f"the {what} is a link that leaves the data folder {folder}")
    try:
        return files.read_bytes(path)
    except FileNotFoundError as error:
        raise BadFileError(path, f"the {what} does not exist") from error
    except OSError as error:
        files.raise_passing(error)  # Were it quarantined, what a disk or a network got over a minute later would stay left out.
        raise BadFileError(path, f"the {what} cannot be read: {error.strerror or error}") from error


def _printable(name: str) -> str:
    """Returns a file's name with escapes for bytes that are not UTF-8: Linux allows them, a terminal or a record does not."""
    return name.encode(errors="surrogateescape").decode(errors="backslashreplace")


def encode_example(pair: Pair, picture: images.Picture, mask: mask_reader.Mask) -> dict[str, Any]:
    """Builds the example of a pair, as the builder's features encode it; see `components.features` for its keys.

    Args:
        pair: where it comes from.
        picture: the picture.
        mask: its mask.
    """
    height, width = mask.ids.shape
    classes = np.flatnonzero(mask.pixels)
    return {
        features.IMAGE: picture.encoded,
        features.FILENAME: pair.key + posixpath.splitext(pair.image)[1],
        features.HEIGHT: height,
        features.WIDTH: width,
        features.LABEL: masks.encode_ids(mask.ids),
        features.CLASSES: classes[classes != features.IGNORE_LABEL].astype(np.int64),
        features.VOID_FRACTION: np.float32(mask.pixels[features.IGNORE_LABEL] / mask.ids.size),
    }


@dataclasses.dataclass
class _EncodeExample(beam.DoFn):
    spec: DatasetSpec
    total: int

    def setup(self) -> None:
        self._done = 0

    def process(self, listed: tuple[str, Pair]) -> Iterator[Any]:
        split, pair = listed
        beam.metrics.Metrics.counter("vocseg", "listed").inc()
        try:
            picture, mask = read_pair(pair, self.spec)
            yield split, (pair.key, encode_example(pair, picture, mask))
            beam.metrics.Metrics.counter("vocseg", "examples").inc()
            told = fingerprint(split, pair.key, pair.image, picture.pixels)
            yield beam.pvalue.TaggedOutput("fingerprints", told)
            yield beam.pvalue.TaggedOutput("facts", _facts(split, pair, picture, mask))
        except BadFileError as error:
            key, file = _printable(pair.key), _printable(error.file)
            yield beam.pvalue.TaggedOutput("quarantined", Quarantined(split, key, file, error.reason))
            beam.metrics.Metrics.counter("vocseg", "quarantined").inc()
        self._done += 1
        if self._done % 10 == 0 or self._done == self.total:
            progress.report(self._done, self.total, "pairs")


def _facts(split: str, pair: Pair, picture: images.Picture, mask: mask_reader.Mask) -> Facts:
    kind, ending = picture.kind, posixpath.splitext(pair.image)[1].lower()
    if ending not in _ENDINGS[kind.split()[0]]:
        kind += f" named {ending}"
    height, width = mask.ids.shape
    return Facts(split, height, width, kind, f"{mask.kind} as {mask.reading}", mask.pixels)


_ENDINGS = {
    "JPEG": (".jpg", ".jpeg"),
    "PNG": (".png",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
"""What files of each of `raster.FORMATS` are called; said where one is not."""


@dataclasses.dataclass
class EncodeExamples(beam.PTransform):
    """Reads, checks and encodes pairs, of all splits at once: each transform costs a runner time, and workers wait at its end.

    PCollection[(split, Pair)] -> {"examples": PCollection[(split, (key, example))], "quarantined": PCollection[Quarantined],
    "fingerprints": PCollection[Fingerprint], "facts": PCollection[Facts]}; a pair is in `examples` or in `quarantined`,
    and each example has one fingerprint and one `Facts`.

    Attributes:
        spec: the data set.
        total: how many pairs are listed, for the progress.
    """

    spec: DatasetSpec
    total: int

    def __post_init__(self) -> None:
        """Lets Beam name the transform."""
        super().__init__()

    @beam.typehints.no_annotations
    def expand(self, pairs: beam.PCollection) -> dict[str, beam.PCollection]:
        """Spreads the pairs over the workers; from there on an example stays where it was read."""
        encode = beam.ParDo(_EncodeExample(self.spec, self.total))
        tags = ("quarantined", "fingerprints", "facts")
        outputs = pairs | "Spread" >> beam.Reshuffle() | "Encode" >> encode.with_outputs(*tags, main="examples")
        return {name: outputs[name] for name in ("examples", *tags)}


def check_quarantine(quarantined: Sequence[Quarantined], listed: int, max_fraction: float, limit: int = 20) -> None:
    """Fails where too many pairs are bad.

    Args:
        quarantined: the pairs that are not used; those that were taken out as leaks are borne.
        listed: how many pairs are listed in all.
        max_fraction: share of bad pairs that is borne, 0..1.
        limit: how many of them the message names.

    Raises:
        DataError: names them, with the remedy.
    """
    bad = [record for record in quarantined if record.cause == "bad"]
    if not bad or len(bad) / listed <= max_fraction:
        return
    enough = math.ceil(1000 * len(bad) / listed) / 1000
    shown = sorted(map(str, bad))[:limit]
    rest = [f"... and {len(bad) - limit} more"] if len(bad) > limit else []
    raise DataError(
        "\n  ".join(
            [
                f"{len(bad)} of {listed} listed pairs cannot be used "
                f"(allowed: {max_fraction:.2%}, data.max_quarantined_fraction):",
                *shown,
                *rest,
            ]
        )
        + "\nMend the files, take them off the lists, or, in a pipeline, "
        + f"allow the share: --set data.max_quarantined_fraction={enough:g}"
    )
