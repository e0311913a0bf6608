"""The best, the median and the worst pictures of an evaluation: chosen, found among the records, predicted again, drawn."""

import base64
import dataclasses
import io
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import PIL.Image

from components import features, masks
from components.errors import VocsegError
from components.features import Color

if TYPE_CHECKING:
    from components.evaluation import ImageScore

LONGEST_SIDE_PX = 320
RIGHT, WRONG, VOID = 0, 1, 2
"""The ids of an error map."""

_ERROR_COLORS: tuple[Color, ...] = ((150, 150, 150), (200, 0, 0), (255, 255, 255))
_VOID_COLOR: Color = (255, 255, 255)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Drawn:
    """A picture with its masks.

    Attributes:
        score: what the evaluation says of it.
        size: width and height in pixels, as drawn.
        image: data URI.
        truth: data URI.
        prediction: data URI, or "" where the model refused the picture.
        error_map: data URI, or "".
        wrong: share of the pixels that are not void and are predicted as another class, 0..1; None: not known.
        classes: ids that occur in truth or prediction, without void.
        note: what is to be said of it, or "".
    """

    score: "ImageScore"
    size: tuple[int, int]
    image: str
    truth: str
    prediction: str
    error_map: str
    wrong: float | None
    classes: tuple[int, ...]
    note: str


@dataclasses.dataclass(frozen=True)
class Gallery:
    """All that was drawn: pictures by "best", "median" and "worst", and the colour of each class."""

    groups: dict[str, tuple[Drawn, ...]]
    palette: tuple[Color, ...]


def choose(images: "Iterable[ImageScore]", each: int = 3) -> dict[str, "tuple[ImageScore, ...]"]:
    """Chooses the best, the median and the worst pictures, none of them twice.

    Args:
        images: in any order; those without a score are passed over.
        each: how many at most.

    Returns:
        By "best", "median" and "worst", each from the lowest score to the highest.
    """
    scored = sorted((i for i in images if i.mean_iou is not None), key=lambda i: (i.mean_iou, i.filename))
    low = min(each, -(-len(scored) // 3))
    high = min(each, -(-(len(scored) - low) // 2))
    rest = scored[low : len(scored) - high]
    middle = min(each, len(rest))
    start = (len(rest) - middle) // 2
    return {
        "best": tuple(scored[len(scored) - high :]),
        "median": tuple(rest[start : start + middle]),
        "worst": tuple(scored[:low]),
    }


def error_map(truth: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Compares a mask with its truth, pixel by pixel.

    Args:
        truth: uint8 [H, W], ids, 255 where void.
        prediction: uint8 [H, W], ids.

    Returns:
        uint8 [H, W]: `RIGHT`, `WRONG` or `VOID`.
    """
    compared = np.where(truth == prediction, RIGHT, WRONG)
    return np.where(truth == features.IGNORE_LABEL, VOID, compared).astype(np.uint8)


def wrong_share(errors: np.ndarray) -> float | None:
    """Returns the share of wrong pixels in an error map, void left out, 0..1; None where all is void."""
    counted = np.count_nonzero(errors != VOID)
    return np.count_nonzero(errors == WRONG) / counted if counted else None


def scaled_size(width: int, height: int, longest: int = LONGEST_SIDE_PX) -> tuple[int, int]:
    """Returns width and height with the longest side brought down to a limit; smaller pictures stay."""
    factor = min(1.0, longest / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


def read_pairs(examples: str, split: str, filenames: Iterable[str]) -> dict[str, tuple[bytes, bytes]]:
    """Returns the encoded picture and label of some records, by file name; those that are not there are left out.

    Args:
        examples: the folder of the examples artifact.
        split: one of its splits.
        filenames: of the records wanted.

    Raises:
        FileNotFoundError: the split has no files.
    """
    import tensorflow as tf

    from components import records

    wanted = sorted({name.encode() for name in filenames})
    if not wanted:
        return {}
    keys = {name: tf.io.FixedLenFeature([], tf.string) for name in (features.FILENAME, features.IMAGE, features.LABEL)}
    files = records.list_files([os.path.join(examples, f"Split-{split}", "*")])
    dataset = tf.data.TFRecordDataset(files, compression_type="GZIP").map(
        lambda record: tf.io.parse_single_example(record, keys)
    )
    chosen = dataset.filter(lambda record: tf.reduce_any(record[features.FILENAME] == tf.constant(wanted)))
    found: dict[str, tuple[bytes, bytes]] = {}
    for record in chosen.take(len(wanted)).as_numpy_iterator():
        found[record[features.FILENAME].decode()] = (record[features.IMAGE], record[features.LABEL])
    return found


def draw_all(chosen: Mapping[str, "Sequence[ImageScore]"], examples: str, split: str, trained: str) -> Gallery:
    """Draws the chosen pictures with truth, prediction and errors.

    Args:
        chosen: as `choose` returns them.
        examples: the folder of the examples artifact.
        split: that was evaluated.
        trained: the folder of the SavedModel.

    Raises:
        VocsegError: model or records are gone.
    """
    from components import stores
    from components.prediction import Model

    try:
        pairs = read_pairs(examples, split, (score.filename for group in chosen.values() for score in group))
    except FileNotFoundError as error:
        raise VocsegError(f"The pictures are gone: {error}") from error
    with stores.fetched(trained) as folder:
        model = Model(pathlib.Path(folder))
    answers = dict(zip(pairs, model.predict([encoded for encoded, _ in pairs.values()]), strict=True)) if pairs else {}
    groups = {
        name: tuple(
            draw(score, *pairs[score.filename], *answers[score.filename], model.palette)
            for score in group
            if score.filename in pairs
        )
        for name, group in chosen.items()
    }
    return Gallery(groups, model.palette)


def draw(
    score: "ImageScore", encoded: bytes, label: bytes, mask: np.ndarray | None, error: str, palette: Sequence[Color]
) -> Drawn:
    """Draws one picture.

    Args:
        score: what the evaluation says of it.
        encoded: the picture's file, JPEG or PNG.
        label: PNG of ids.
        mask: the prediction, uint8 [H, W], or None where the model refused the picture.
        error: why it did, or "".
        palette: colour of each class.
    """
    from components import preprocessing
    from components.evaluation import mask_digest

    picture = PIL.Image.fromarray(preprocessing.decode_image(encoded).numpy())
    size = scaled_size(*picture.size)
    ids = np.asarray(PIL.Image.open(io.BytesIO(label)))
    wrong = None if mask is None else wrong_share(error_map(ids, mask))
    truth = _shrink(ids, size)
    prediction = None if mask is None else _shrink(mask, size)
    errors = None if prediction is None else error_map(truth, prediction)
    note = f"The model refused this picture: {error}" if mask is None else ""
    if mask is not None and mask_digest(mask) != score.mask_sha256:
        note = "Predicted anew for this report, and not the same to the pixel as what was measured."
    present = set(np.unique(truth)) | (set() if prediction is None else set(np.unique(prediction)))
    return Drawn(
        score=score,
        size=size,
        image=_jpeg(picture.resize(size, PIL.Image.Resampling.LANCZOS)),
        truth=_png(truth, mask_colors(palette)),
        prediction="" if prediction is None else _png(prediction, mask_colors(palette)),
        error_map="" if errors is None else _png(errors, _ERROR_COLORS),
        wrong=wrong,
        classes=tuple(sorted(int(number) for number in present - {features.IGNORE_LABEL})),
        note=note,
    )


def mask_colors(palette: Sequence[Color]) -> tuple[Color, ...]:
    """Returns 256 colours: the palette's, and white for all other ids, void's among them."""
    return (*palette, *[_VOID_COLOR] * (256 - len(palette)))


def _shrink(mask: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return np.asarray(PIL.Image.fromarray(mask).resize(size, PIL.Image.Resampling.NEAREST))


def _jpeg(image: PIL.Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, format="JPEG", quality=82)
    return _data_uri("image/jpeg", buffer.getvalue())


def _png(mask: np.ndarray, colors: Sequence[Color]) -> str:
    buffer = io.BytesIO()
    masks.to_palette_image(mask, colors).save(buffer, format="PNG", optimize=True)
    return _data_uri("image/png", buffer.getvalue())


def _data_uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
