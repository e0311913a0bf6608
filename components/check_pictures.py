"""The pictures that ServingCheck asks a model about: some that the Evaluator scored, and variants of them."""

import dataclasses
import io
from collections.abc import Iterator, Sequence

import numpy as np
import PIL.Image
import tensorflow as tf

from components import features, preprocessing
from components.evaluation import Evaluation

MAX_PICTURES = 8


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """A picture to be answered.

    Attributes:
        name: in words.
        encoded: the file's bytes.
        height: in pixels, of the mask; 0 where an error is the right answer.
        width: in pixels, of the mask; 0 likewise.
        mask_sha256: what the Evaluator noted of its mask, or "" where it has not seen the picture.
        mean_iou: what it noted of its score; None likewise, and where all of it is void.
        label: PNG of ids, of a picture that it has seen.
    """

    name: str
    encoded: bytes
    height: int = 0
    width: int = 0
    mask_sha256: str = ""
    mean_iou: float | None = None
    label: bytes = b""


def read_pictures(evaluation: Evaluation, files: Sequence[str], max_pixels: int) -> list[Picture]:
    """Returns up to `MAX_PICTURES` of the pictures that the Evaluator scored, from the worst to the best, as they are.

    The records are read twice, once for the sizes: what is held are the bytes of the chosen.

    Args:
        evaluation: names pictures, and has the digests of their masks.
        files: TFRecords of the evaluated split.
        max_pixels: larger pictures are passed over: `serving_default` refuses them.
    """
    measured = [image for image in evaluation.images if image.mean_iou is not None]
    scores = {image.filename: image for image in measured or evaluation.images}  # All void only where there is nothing else.
    sizes = {name: size for name, size, _, _ in _read(files) if name in scores}
    fitting = [name for name in scores if name in sizes and sizes[name][0] * sizes[name][1] <= max_pixels]
    if not fitting:
        return []
    chosen = [fitting[index] for index in np.unique(np.linspace(0, len(fitting) - 1, MAX_PICTURES).round().astype(int))]
    found = {
        name: Picture(
            name=name,
            encoded=encoded,
            height=height,
            width=width,
            mask_sha256=scores[name].mask_sha256,
            mean_iou=scores[name].mean_iou,
            label=label,
        )
        for name, (height, width), encoded, label in _read(files)
        if name in chosen
    }
    return [found[name] for name in chosen]


def _read(files: Sequence[str]) -> Iterator[tuple[str, tuple[int, int], bytes, bytes]]:
    """Yields each record's file name, height and width, picture and label."""
    for serialized in tf.data.TFRecordDataset(list(files), compression_type="GZIP").as_numpy_iterator():
        feature = tf.train.Example.FromString(serialized).features.feature
        height, width = (feature[key].int64_list.value[0] for key in (features.HEIGHT, features.WIDTH))
        yield (
            feature[features.FILENAME].bytes_list.value[0].decode(),
            (height, width),
            feature[features.IMAGE].bytes_list.value[0],
            feature[features.LABEL].bytes_list.value[0],
        )


def with_variants(pictures: Sequence[Picture]) -> list[Picture]:
    """Adds a PNG, a grey JPEG, one of another size and a damaged one, made of the pictures; the damaged one in the middle.

    Args:
        pictures: at least one.
    """

    def made(index: int, what: str, mode: str, scale: float, kind: str) -> Picture:
        source = pictures[index % len(pictures)]
        image = PIL.Image.fromarray(preprocessing.decode_image(tf.constant(source.encoded)).numpy()).convert(mode)
        width, height = (max(1, round(side * scale)) for side in image.size)
        buffer = io.BytesIO()
        image.resize((width, height)).save(buffer, kind)
        return Picture(name=f"{source.name} {what}", encoded=buffer.getvalue(), height=height, width=width)

    # A file of a camera may hold a second picture behind the first: half of it can be a whole one.
    whole = made(0, "cut in half", "RGB", 1, "JPEG")
    damaged = Picture(name=whole.name, encoded=whole.encoded[: len(whole.encoded) // 2])
    variants = [
        made(0, "as PNG", "RGB", 1, "PNG"),
        made(1, "as grey JPEG", "L", 1, "JPEG"),
        made(2, "at two thirds of its size", "RGB", 2 / 3, "JPEG"),
    ]
    half = len(pictures) // 2
    return [*pictures[:half], variants[0], damaged, *pictures[half:], *variants[1:]]
