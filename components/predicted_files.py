"""Masks for a user's pictures, written to disk: a palette PNG of each one's own size, a JPEG overlay, regions, pixel counts."""

import concurrent.futures
import contextlib
import dataclasses
import itertools
import os
import pathlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import PIL.Image

from components import features, masks, picture_size, preprocessing
from components.errors import VocsegError
from components.prediction import PLAIN, Method, Model
from components.regions import Region, draw_boxes, find_regions, has_background, to_box
from components.served_models import Answer

BATCH_SIZE = 16
"""Pictures that pass through the model together; while it is at some, those before and behind them are held, too."""

BATCH_BYTES = 64 * 2**20
"""Encoded bytes with which a batch ends, whatever its number of pictures."""

MAX_FILE_BYTES = 2**30
"""A larger file is not read: no picture within the size limit needs so many."""

_Batch = dict[pathlib.Path, bytes | None]
"""Pictures with their bytes, None where they cannot be read."""

_MASK_FORMAT = {"format": "PNG", "compress_type": zlib.Z_RLE}
"""Runs are all that there is to compress, as `masks.encode_ids` has it."""

OVERLAY_END = "_overlay.jpeg"
"""Not .jpg: a second `predict *.jpg` would take the overlays that lie there for pictures."""

_OVERLAY_FORMAT = {"format": "JPEG", "quality": 95, "subsampling": 0}
"""To be looked at: off by 0.8 levels on average where VOC's are, in 1.1 ms and 98 kB. As PNG it takes 14 ms and 288 kB."""

Outputs = tuple[pathlib.Path, pathlib.Path]
"""The paths of a picture's mask and of its overlay."""


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


def output_paths(
    images: Iterable[pathlib.Path], out: pathlib.Path, places: Mapping[pathlib.Path, pathlib.PurePath] | None = None
) -> dict[pathlib.Path, Outputs]:
    """Returns the paths of mask and overlay for each picture.

    Args:
        images: the pictures.
        out: the folder to write to.
        places: where below it each picture's go, without suffix; by default by its name alone.

    Raises:
        VocsegError: two pictures would get the same mask, or a mask would replace a picture.
    """
    stems = {image: out / (places[image] if places else image.stem) for image in images}
    paths = {image: tuple(stem.with_name(stem.name + end) for end in (".png", OVERLAY_END)) for image, stem in stems.items()}
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
    outputs: Mapping[pathlib.Path, Outputs],
    *,
    method: Method = PLAIN,
    scored: bool = False,
    min_area_px: int | None = None,
) -> Iterator[Prediction]:
    """Writes mask and overlay, with a frame around each region, for each picture, a batch behind the model.

    Args:
        model: the model.
        outputs: for each picture where its mask and its overlay go, as `output_paths` has it; folders are made if missing.
        method: how each picture is looked at.
        scored: regions are to have scores, if the model can tell; it takes a little longer.
        min_area_px: of a region that counts; by default `regions.MIN_AREA_SHARE` of the picture.

    Yields:
        What became of each picture, in order.

    Raises:
        VocsegError: a file cannot be written.
    """
    max_pixels = model.max_pixels if method == PLAIN else features.MAX_PIXELS
    size = BATCH_SIZE if method == PLAIN else 1  # Other methods take pictures one by one.
    asked = _ask_ahead(_batches(outputs, size), lambda contents: _predict_batch(model, contents, method, scored))
    for batch, answers in asked:
        for image, content, (mask, scores, error) in zip(batch, batch.values(), answers, strict=True):
            if mask is None or content is None:
                why = _UNREAD if content is None else picture_size.refusal(content, max_pixels) or error
                yield Prediction(image, None, why, {})
                continue
            height, width = mask.shape
            background = has_background(model.class_names)
            regions = find_regions(mask, scores, background, min_area_px)
            tinted = masks.overlay(preprocessing.decode_image(content).numpy(), mask, model.palette, background)
            mask_path, overlay_path = outputs[image]
            _make_folder(mask_path.parent)
            _write(masks.to_palette_image(mask, model.palette), mask_path, _MASK_FORMAT)
            _write(PIL.Image.fromarray(draw_boxes(tinted, regions, model.palette)), overlay_path, _OVERLAY_FORMAT)
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
        "boxes": [to_box(region, class_names) for region in prediction.regions],
        "error": prediction.error or None,
    }


def _batches(images: Iterable[pathlib.Path], most: int) -> Iterator[_Batch]:
    """Yields that many pictures, or fewer that reach `BATCH_BYTES`."""
    batch: _Batch = {}
    size = 0
    for image in images:
        batch[image] = content = _read(image)
        size += len(content or b"")
        if len(batch) == most or size >= BATCH_BYTES:
            yield batch
            batch, size = {}, 0
    if batch:
        yield batch


def _ask_ahead(
    batches: Iterable[_Batch], ask: Callable[[list[bytes | None]], Iterator[Answer]]
) -> Iterator[tuple[_Batch, Iterator[Answer]]]:
    """Yields batches with their answers, while the model is at the next one: what is done with answers takes as long."""

    def first_of(batch: _Batch) -> tuple[_Batch, Iterator[Answer]]:
        answers = ask(list(batch.values()))
        return batch, itertools.chain([next(answers)], answers)  # The first one takes the model; the others are there then.

    pool = concurrent.futures.ThreadPoolExecutor(1)
    waiting = None
    try:
        for batch in batches:
            asked = pool.submit(first_of, batch)
            if waiting:
                yield waiting.result()
            waiting = asked
        if waiting:
            yield waiting.result()
    finally:
        pool.shutdown(cancel_futures=True)  # After an error or an interrupt, the next batch is not begun.


def _predict_batch(model: Model, batch: list[bytes | None], method: Method, scored: bool) -> Iterator[Answer]:
    encoded = [content or b"" for content in batch]
    if method != PLAIN:
        return (model.predict_by(method, content) for content in encoded)
    return model.predict_each(encoded, scored)


_UNREAD = f"the file cannot be opened, or has more than {MAX_FILE_BYTES / 2**30:g} GiB"


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


def _write(image: PIL.Image.Image, path: pathlib.Path, options: Mapping[str, Any]) -> None:
    """Writes a picture beside its place and renames it, so that no half of one is ever seen."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        image.save(partial, **options)
        os.replace(partial, path)
    except OSError as error:
        raise VocsegError(f"{path} cannot be written: {error.strerror or error}. Give --out another folder.") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)  # After an error or an interrupt.
