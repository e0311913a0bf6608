"""Masks for a user's pictures from a pushed model: a palette PNG of each one's own size, an overlay, regions, pixel counts."""

import contextlib
import dataclasses
import io
import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image
import tensorflow as tf

from components import features, masks, preprocessing, serving
from components.errors import ModelError, VocsegError
from components.regions import Region, draw_boxes, find_regions, has_background
from components.tiles import Window, blend
from components.views import average_views
from pipeline_config import ServingConfig, TransformConfig

BATCH_SIZE = 16
"""Pictures that are held at a time."""

BATCH_BYTES = 64 * 2**20
"""Encoded bytes with which a batch ends, whatever its number of pictures."""

MAX_FILE_BYTES = 2**30
"""A larger file is not read: no picture within the size limit needs so many."""

MIN_AREA_SHARE = 0.0005
"""Of a picture: the least area of a region that counts, where none is said."""

_DECIDE_ROWS = 64

Answer = tuple[np.ndarray | None, np.ndarray | None, str]
"""A picture's mask, uint8 [H, W], its scores, float32 [H, W] in [0, 1], and the error: "" or why there is no mask."""


@dataclasses.dataclass(frozen=True)
class Method:
    """How a picture is looked at.

    Attributes:
        tta: at several scales and mirrored, too; see `components.views`.
        tile: at its own resolution, in overlapping tiles of the network's size; see `components.tiles`.
    """

    tta: bool = False
    tile: bool = False


PLAIN = Method()
"""Once, at the network's size: the masks of `serving_default`."""


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What became of one picture.

    Attributes:
        image: its path.
        mask: path of its mask, or None where it could not be read.
        error: the reason, empty where all went well.
        pixels: number of pixels by class name, of the classes that occur.
        overlay: path of its overlay, or None.
        height: of the picture, in pixels; 0 where it could not be read.
        width: of it.
        regions: connected regions, the largest first: of objects, or of all classes of a set without a background.
    """

    image: pathlib.Path
    mask: pathlib.Path | None
    error: str
    pixels: dict[str, int]
    overlay: pathlib.Path | None = None
    height: int = 0
    width: int = 0
    regions: tuple[Region, ...] = ()


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
        self._signatures = self._loaded.signatures

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

    @property
    def transform(self) -> TransformConfig:
        """Returns the network's size, and how pictures get to it; a model that does not say how has the default."""
        names = ("height_px", "width_px", "resize_method")
        return TransformConfig(**{name: self._metadata[name] for name in names if name in self._metadata})

    @property
    def max_pixels(self) -> int:
        """Returns how large a picture may be; a model that does not say has the default."""
        return self._metadata.get("max_megapixels", ServingConfig().max_megapixels) * 1_000_000

    def predict(self, encoded: Sequence[bytes]) -> list[tuple[np.ndarray | None, str]]:
        """Returns for each encoded picture its mask, uint8 [H, W], or None and the error."""
        return [(mask, error) for mask, _, error in self.predict_each(encoded)]

    def predict_each(self, encoded: Sequence[bytes], scored: bool = False) -> Iterator[Answer]:
        """Yields the answers one by one, for they take more memory than the request.

        Args:
            encoded: pictures that pass through the network together.
            scored: with scores; an older model, which has no `serving_scores`, gives None.
        """
        signature = "serving_scores" if scored and "serving_scores" in self._signatures else "serving_default"
        answer: dict[str, Any] = self._signatures[signature](images=tf.constant(list(encoded), tf.string))
        found, errors = answer["mask"].numpy(), answer["error"].numpy()
        scores = answer["score"].numpy() if "score" in answer else [b""] * len(found)
        for mask, score, error in zip(found, scores, errors, strict=True):
            if error:
                yield None, None, error.decode()
            else:
                yield _read_png(mask), _to_scores(_read_png(score)) if score else None, ""

    def predict_by(self, method: Method, encoded: bytes) -> Answer:
        """Returns the answer for an encoded picture that is looked at more thoroughly."""
        try:
            image = preprocessing.decode_image(serving.check_header(tf.constant(encoded), self.max_pixels))
        except tf.errors.InvalidArgumentError:
            return None, None, serving.UNREADABLE
        bands = self._by_tiles(image, method.tta) if method.tile else [self._at_once(image, method.tta)]
        planes = [np.concatenate(plane) for plane in zip(*bands, strict=True)]
        return planes[0], _to_scores(planes[1]), ""

    def _at_once(self, image: tf.Tensor, tta: bool) -> list[np.ndarray]:
        """Returns ids and scores, uint8 [H, W], of a picture that is brought to the network's size."""
        logits = self._see(image, self.transform.height_px, self.transform.width_px, tta)
        return [plane.numpy() for plane in _best_classes(logits, *image.shape[:2])]

    def _by_tiles(self, image: tf.Tensor, tta: bool) -> Iterator[list[np.ndarray]]:
        """Yields bands of ids and scores, uint8 [rows, W], of a picture that is seen as it is."""

        def logits(window: Window) -> np.ndarray:
            tile = image[window]
            return self._see(tile, tile.shape[0], tile.shape[1], tta).numpy()

        height, width = image.shape[0], image.shape[1]
        for band in blend(height, width, self.transform.height_px, self.transform.width_px, logits):
            for top in range(0, len(band), _DECIDE_ROWS):
                yield [plane.numpy() for plane in serving.decide(tf.constant(band[top : top + _DECIDE_ROWS]))]

    def _see(self, image: tf.Tensor, height: int, width: int, tta: bool) -> tf.Tensor:
        """Returns logits, float32 [height, width, C], of a picture, uint8 [H, W, 3]."""
        if tta:
            return average_views(image, height, width, self._logits, self._resize)
        return self._logits(preprocessing.scale_image(self._resize(image, height, width))[tf.newaxis])[0]

    def _logits(self, images: tf.Tensor) -> tf.Tensor:
        return self._signatures["logits"](images=images)["logits"]

    def _resize(self, image: tf.Tensor, height: int, width: int) -> tf.Tensor:
        if tuple(image.shape[:2]) == (height, width):
            return image
        return preprocessing.resize_image(image, dataclasses.replace(self.transform, height_px=height, width_px=width))


_best_classes = tf.function(
    serving.best_classes_with_scores,
    input_signature=[tf.TensorSpec([None, None, None], tf.float32), tf.TensorSpec([], tf.int32), tf.TensorSpec([], tf.int32)],
)


def _read_png(encoded: bytes) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(encoded)))


def _to_scores(levels: np.ndarray) -> np.ndarray:
    """Returns uint8 0..255 as float32 0..1."""
    return levels.astype(np.float32) / np.float32(255)


def output_paths(
    images: Iterable[pathlib.Path], out: pathlib.Path, places: Mapping[pathlib.Path, pathlib.PurePath] | None = None
) -> dict[pathlib.Path, tuple[pathlib.Path, pathlib.Path]]:
    """Returns the paths of mask and overlay for each picture.

    Args:
        images: the pictures.
        out: the folder to write to.
        places: where below it each picture's go, without suffix; by default by its name alone.

    Raises:
        VocsegError: two pictures would get the same mask, or a mask would replace a picture.
    """
    stems = {image: out / (places[image] if places else image.stem) for image in images}
    paths = {image: tuple(stem.with_name(stem.name + end) for end in (".png", "_overlay.png")) for image, stem in stems.items()}
    inputs = {image.resolve() for image in paths}
    taken: dict[pathlib.Path, pathlib.Path] = {}
    for image, outputs in paths.items():
        for path in outputs:
            if path.resolve() in inputs:
                raise VocsegError(f"{path} would replace a picture that is to be read. Give --out another folder.")
            if path in taken:
                raise VocsegError(f"{taken[path]} and {image} would both be written to {path}. Predict them in two runs.")
            taken[path] = image
    return {image: (mask, overlay) for image, (mask, overlay) in paths.items()}


def predict_files(
    model: Model,
    images: Sequence[pathlib.Path],
    out: pathlib.Path,
    places: Mapping[pathlib.Path, pathlib.PurePath] | None = None,
    *,
    method: Method = PLAIN,
    scored: bool = False,
    min_area_px: int | None = None,
) -> Iterator[Prediction]:
    """Writes mask and overlay, with a frame around each region, for each picture, a batch at a time.

    Args:
        model: the model.
        images: the pictures' paths.
        out: the folder to write to; made if missing.
        places: see `output_paths`.
        method: how each picture is looked at.
        scored: regions are to have scores, if the model can tell; it takes a little longer.
        min_area_px: of a region that counts; by default `MIN_AREA_SHARE` of the picture.

    Yields:
        What became of each picture, in order.

    Raises:
        VocsegError: see `output_paths`; or a file cannot be written.
    """
    paths = output_paths(images, out, places)
    _make_folder(out)
    for batch in _batches(images):
        for image, content, (mask, scores, error) in zip(
            batch, batch.values(), _predict_batch(model, list(batch.values()), method, scored), strict=True
        ):
            if mask is None or content is None:
                yield Prediction(image, None, "the file cannot be opened" if content is None else error, {})
                continue
            height, width = mask.shape
            least = max(1, round(MIN_AREA_SHARE * height * width)) if min_area_px is None else min_area_px
            regions = find_regions(mask, scores, has_background(model.class_names), least)
            tinted = masks.overlay(preprocessing.decode_image(content).numpy(), mask, model.palette)
            mask_path, overlay_path = paths[image]
            _make_folder(mask_path.parent)
            _write(masks.to_palette_image(mask, model.palette), mask_path)
            _write(PIL.Image.fromarray(draw_boxes(tinted, regions, model.palette)), overlay_path)
            counts = np.bincount(mask.reshape(-1), minlength=len(model.class_names))
            pixels = {name: int(count) for name, count in zip(model.class_names, counts, strict=True) if count}
            yield Prediction(image, mask_path, "", pixels, overlay_path, height, width, tuple(regions))


def to_record(prediction: Prediction, class_names: Sequence[str]) -> dict[str, Any]:
    """Returns a prediction as it is written as JSON; right and bottom of a box lie just outside."""
    return {
        "image": str(prediction.image),
        "mask": str(prediction.mask) if prediction.mask else None,
        "overlay": str(prediction.overlay) if prediction.overlay else None,
        "height": prediction.height,
        "width": prediction.width,
        "pixels": prediction.pixels,
        "boxes": [
            {
                "class": class_names[region.class_id],
                "left": region.left,
                "top": region.top,
                "right": region.right,
                "bottom": region.bottom,
                "area": region.area_px,
                "mean_score": None if region.mean_score is None else round(region.mean_score, 4),
            }
            for region in prediction.regions
        ],
        "error": prediction.error or None,
    }


def _batches(images: Iterable[pathlib.Path]) -> Iterator[dict[pathlib.Path, bytes | None]]:
    """Yields pictures with their bytes, or None where they cannot be read, until `BATCH_SIZE` or `BATCH_BYTES` is reached."""
    batch: dict[pathlib.Path, bytes | None] = {}
    size = 0
    for image in images:
        batch[image] = content = _read(image)
        size += len(content or b"")
        if len(batch) == BATCH_SIZE or size >= BATCH_BYTES:
            yield batch
            batch, size = {}, 0
    if batch:
        yield batch


def _predict_batch(model: Model, batch: list[bytes | None], method: Method, scored: bool) -> Iterable[Answer]:
    encoded = [content or b"" for content in batch]
    if method != PLAIN:
        return (model.predict_by(method, content) for content in encoded)
    return model.predict_each(encoded, scored)


def _read(path: pathlib.Path) -> bytes | None:
    """Returns a file's bytes; None where it is none, cannot be opened, or has too many."""
    try:
        return path.read_bytes() if path.is_file() and path.stat().st_size <= MAX_FILE_BYTES else None
    except OSError:
        return None


def _make_folder(folder: pathlib.Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VocsegError(f"The folder {folder} cannot be made: {error.strerror}. Give --out another folder.") from error


def _write(image: PIL.Image.Image, path: pathlib.Path) -> None:
    """Writes a PNG beside its place and renames it, so that no half of one is ever seen."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        image.save(partial, format="PNG")
        os.replace(partial, path)
    except OSError as error:
        raise VocsegError(f"{path} cannot be written: {error.strerror or error}. Give --out another folder.") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)  # After an error or an interrupt.
