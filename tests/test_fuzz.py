"""Random damage: whatever it does to a picture, a mask or a list, it ends as an example that all stages take, or with a reason.

A damaged file is reproduced by its seed and its number: `_mutate(np.random.default_rng([seed, number]), ...)`.
"""

import collections
import dataclasses
import io
import os
import pathlib
import re
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from components import features, serving, transform
from components.datasets import builder as builders
from components.datasets import lists
from components.datasets.examples import BadFileError, encode_example, read_pair
from components.datasets.layout import Pair
from components.datasets.spec import DatasetSpec
from components.errors import DataError
from components.masks import to_palette_image
from pipeline_config import ServingConfig, TransformConfig, to_json

# Pillow warns of metadata that it passes over, and of pictures half as large as the limit. A run puts that into its log.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning:PIL"),
    pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning"),
]

SPEC = DatasetSpec(name="fuzz", classes=features.VOC_CLASSES)
HEIGHT, WIDTH = 24, 36
TRANSFORM = TransformConfig(height_px=32, width_px=32)
SECONDS = 20
"""The longest that one pair may take."""


# Good files.


def _pixels() -> np.ndarray:
    """A picture of blobs, uint8 [H, W, 3]."""
    few = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    return np.asarray(PIL.Image.fromarray(few).resize((WIDTH, HEIGHT), PIL.Image.Resampling.BICUBIC))


def _ids() -> np.ndarray:
    """A mask, uint8 [H, W]: all classes of VOC, and void."""
    ids = (np.arange(24, dtype=np.uint8) % 21).reshape(4, 6).repeat(HEIGHT // 4, axis=0).repeat(WIDTH // 6, axis=1)
    ids[:2] = features.IGNORE_LABEL
    return ids


def _encode(image: PIL.Image.Image | np.ndarray, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    (PIL.Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, format=kind, **options)
    return buffer.getvalue()


def _interlaced_png(values: np.ndarray) -> bytes:
    """Encodes uint16 [H, W, 3] as an RGB PNG of 16 bits in Adam7's seven passes, which Pillow cannot write."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    starts = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
    passes = [values[y::step_y, x::step_x].astype(">u2") for y, x, step_y, step_x in starts]
    raw = b"".join(b"\0" + row.tobytes() for rows in passes for row in rows)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, 2, 0, 0, 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")


def _exif(orientation: int) -> PIL.Image.Exif:
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    exif[0x010F] = "A maker of cameras"
    return exif


PICTURE = PIL.Image.fromarray(_pixels())
IMAGES = {
    "jpeg": _encode(PICTURE, "JPEG"),
    "grey jpeg": _encode(PICTURE.convert("L"), "JPEG"),
    "progressive jpeg": _encode(PICTURE, "JPEG", progressive=True),
    "cmyk jpeg": _encode(PICTURE.convert("CMYK"), "JPEG"),
    "jpeg with exif": _encode(PICTURE, "JPEG", exif=_exif(3)),
    "turned jpeg": _encode(PICTURE.transpose(PIL.Image.Transpose.ROTATE_90), "JPEG", exif=_exif(6)),
    "rgb png": _encode(PICTURE, "PNG"),
    "palette png": _encode(PICTURE.quantize(64), "PNG", transparency=3),
    "rgba png": _encode(PICTURE.convert("RGBA"), "PNG"),
    "interlaced png of 16 bits": _interlaced_png(_pixels().astype(np.uint16) * 257),
    "bmp": _encode(PICTURE, "BMP"),
    "gif": _encode(PICTURE.quantize(64), "GIF"),
    "tiff": _encode(PICTURE, "TIFF", compression="tiff_lzw"),
    "webp": _encode(PICTURE, "WEBP"),
}
PALETTE = features.voc_palette()
MASKS = {
    "palette mask": _encode(to_palette_image(_ids(), PALETTE), "PNG"),
    "grey mask": _encode(_ids(), "PNG"),
    "mask in colors": _encode(np.array(PALETTE, np.uint8)[_ids()], "PNG"),
    "mask of 16 bits": _encode(_ids().astype(np.uint16), "PNG"),
    "gif mask": _encode(to_palette_image(_ids(), PALETTE), "GIF", optimize=False),
    "tiff mask": _encode(_ids(), "TIFF", compression="tiff_adobe_deflate"),
    "jpeg mask with exif": _encode(np.zeros_like(_ids()), "JPEG", exif=_exif(3)),
}
LISTS = {
    "list of ids": "".join(f"2007_{number:06d}\r\n" for number in range(40)).encode("utf-8-sig"),
    "list of pairs": "".join(f"train/{number}.png masks/{number}.png\n" for number in range(40)).encode(),
}


# Damage.


def _flip(rng: np.random.Generator, content: bytes, end: int) -> bytes:
    damaged = bytearray(content)
    for place in rng.integers(0, min(end, len(content)), size=rng.integers(1, 21)):
        damaged[place] ^= 1 << rng.integers(8)
    return bytes(damaged)


def _block(rng: np.random.Generator, content: bytes) -> tuple[int, int]:
    start = int(rng.integers(len(content)))
    return start, min(start + int(rng.integers(1, 65)), len(content))


def _zero(rng: np.random.Generator, content: bytes) -> bytes:
    start, end = _block(rng, content)
    return content[:start] + bytes(end - start) + content[end:]


def _double(rng: np.random.Generator, content: bytes) -> bytes:
    start, end = _block(rng, content)
    return content[:end] + content[start:]


def _insert(rng: np.random.Generator, content: bytes) -> bytes:
    start, end = _block(rng, content)
    return content[:start] + rng.bytes(end - start) + content[start:]


DAMAGE: dict[str, Callable[[np.random.Generator, bytes], bytes]] = {
    "flips": lambda rng, content: _flip(rng, content, len(content)),
    "flips at the start": lambda rng, content: _flip(rng, content, 200),
    "cut": lambda rng, content: content[: rng.integers(len(content))],
    "zeros": _zero,
    "block twice": _double,
    "insertion": _insert,
}


def _mend_sums(content: bytes) -> bytes:
    """Makes the sums of a PNG's chunks right again, so that the damage reaches what lies behind them."""
    mended, place = bytearray(content), 8
    while content.startswith(b"\x89PNG\r\n\x1a\n") and place + 12 <= len(content):
        end = place + 8 + int.from_bytes(content[place : place + 4], "big")
        if end + 4 > len(content):
            break
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(content[place + 4 : end]))
        place = end + 4
    return bytes(mended)


@dataclasses.dataclass(frozen=True)
class Mutation:
    """A damaged file.

    Attributes:
        kind: image, mask or list.
        name: of the good file.
        label: what is needed to make it again.
        content: its bytes.
    """

    kind: str
    name: str
    label: str
    content: bytes


def _mutate(rng: np.random.Generator, seed: int, number: int) -> Mutation:
    kind = str(rng.choice(["image", "mask", "list"], p=[0.5, 0.4, 0.1]))
    goods = {"image": IMAGES, "mask": MASKS, "list": LISTS}[kind]
    name, damage = str(rng.choice(list(goods))), str(rng.choice(list(DAMAGE)))
    content = DAMAGE[damage](rng, goods[name])
    if rng.random() < 0.5:
        content = _mend_sums(content)
    return Mutation(kind, name, f"seed {seed}, number {number}: {name}, {damage}", content)


# What becomes of it.


@dataclasses.dataclass
class Example:
    label: str
    serialized: bytes
    image: bytes
    height: int
    width: int


def _read(mutation: Mutation, folder: pathlib.Path, serialize: Callable[[Any], bytes]) -> Example | None:
    """Reads a pair of which one file is damaged; None where it is refused with a reason.

    The good file beside it is the one that fits best, so that it is not the size alone that is refused.
    """
    image = mutation.content if mutation.kind == "image" else IMAGES["rgb png"]
    mask = mutation.content if mutation.kind == "mask" else MASKS["palette mask"]
    pair = Pair("a", str(folder / "a.jpg"), str(folder / "a.png"), folder=os.path.realpath(folder))
    pathlib.Path(pair.image).write_bytes(image)
    pathlib.Path(pair.mask).write_bytes(mask)
    try:
        picture, read = read_pair(pair, SPEC)
    except BadFileError as error:
        assert error.file in (pair.image, pair.mask), mutation.label
        assert not re.search(r"<_io|\[Op:|\{\{|object at 0x|\n", error.reason), (mutation.label, error.reason)
        assert len(error.reason.split()) >= 3 and error.reason.isprintable(), (mutation.label, error.reason)
        return None
    assert set(np.unique(read.ids)) <= {*range(21), 255}, mutation.label
    example = encode_example(pair, picture, read)
    return Example(mutation.label, serialize(example), example["image"], example["image/height"], example["image/width"])


def _read_list(mutation: Mutation, folder: pathlib.Path) -> bool:
    """Reads a damaged list; tells whether it was not refused."""
    path = folder / "list.txt"
    path.write_bytes(mutation.content)
    try:
        if mutation.name == "list of ids":
            paths = lists.read_list(str(path))
        else:
            paths = [one for pair in lists.read_pair_list(str(path)) for one in pair]
    except DataError as error:
        assert str(path) in str(error), mutation.label
        return False
    for one in paths:
        assert os.path.normpath(f"/data/{one}").startswith("/data/") and one.isprintable(), (mutation.label, one)
    return True


def _culprits(examples: Sequence[Example], run: Callable[[Sequence[Example]], None]) -> list[str]:
    """Runs a batch; where it fails, one by one, and returns those at fault."""
    try:
        run(examples)
        return []
    except Exception as error:
        if len(examples) == 1:
            return [f"{examples[0].label}: {type(error).__name__}: {str(error)[:300]}"]
        return [culprit for one in examples for culprit in _culprits([one], run)]


_PARSE = {
    key: tf.io.FixedLenFeature([1], tf.string) for key in (features.IMAGE, features.LABEL, features.FILENAME)
}  # As TFX's Transform hands them over.


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def _transform(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    inputs = tf.io.parse_example(serialized, _PARSE)
    return transform.preprocessing_fn(inputs, {"transform": to_json(TRANSFORM)})


def _run_transform(examples: Sequence[Example]) -> None:
    outputs = _transform(tf.constant([one.serialized for one in examples]))
    for image, label in zip(outputs[features.IMAGE], outputs[features.LABEL], strict=True):
        assert tf.io.parse_tensor(image, tf.uint8).shape == (32, 32, 3)
        assert set(np.unique(tf.io.parse_tensor(label, tf.uint8))) <= {*range(21), 255}


def _run_serving(model: Any, examples: Sequence[Example]) -> None:
    answers = [
        model.signatures["serving_examples"](examples=tf.constant([one.serialized for one in examples])),
        model.signatures["serving_default"](images=tf.constant([one.image for one in examples])),
    ]
    for answer in answers:
        assert [error.decode() for error in answer["error"].numpy()] == [""] * len(examples)
        for mask, one in zip(answer["mask"].numpy(), examples, strict=True):
            assert PIL.Image.open(io.BytesIO(mask)).size == (one.width, one.height)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A SavedModel with a network of one convolution."""
    keras.utils.set_random_seed(0)
    network = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(21, 3, padding="same")])
    folder = str(tmp_path_factory.mktemp("model") / "1")
    serving.save(network, folder, TRANSFORM, ServingConfig(micro_batch_size=8), SPEC.classes, PALETTE)
    return tf.saved_model.load(folder)


@pytest.fixture(scope="module")
def serialize(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Any], bytes]:
    folder = str(tmp_path_factory.mktemp("builder"))
    return builders.make_builder(SPEC, folder, "newest", folder).info.features.serialize_example


@pytest.mark.parametrize("name", IMAGES | MASKS)
def test_undamaged_file_is_an_example_that_all_stages_take(
    name: str, tmp_path: pathlib.Path, model: Any, serialize: Callable[[Any], bytes]
) -> None:
    kind, content = ("image", IMAGES[name]) if name in IMAGES else ("mask", MASKS[name])
    example = _read(Mutation(kind, name, name, content), tmp_path, serialize)
    assert example is not None and (example.height, example.width) == (HEIGHT, WIDTH)
    _run_transform([example])
    _run_serving(model, [example])


@pytest.mark.parametrize(
    ("count", "seed"),
    [
        (300, 0),
        *(pytest.param(2000, seed, marks=[pytest.mark.soak, pytest.mark.timeout(1800)]) for seed in (1, 2, 3)),
    ],
)
def test_damaged_file_is_an_example_that_all_stages_take_or_has_a_reason(
    tmp_path: pathlib.Path, model: Any, serialize: Callable[[Any], bytes], count: int, seed: int
) -> None:
    outcomes: collections.Counter[tuple[str, str]] = collections.Counter()
    examples: list[Example] = []
    slow = []
    for number in range(count):
        mutation = _mutate(np.random.default_rng([seed, number]), seed, number)
        started_s = time.monotonic()
        try:
            found = _read_list(mutation, tmp_path) if mutation.kind == "list" else _read(mutation, tmp_path, serialize)
        except Exception as error:
            raise AssertionError(f"{mutation.label}: {type(error).__name__}: {error}") from error
        if time.monotonic() - started_s > SECONDS:
            slow.append(mutation.label)
        outcomes[mutation.name, "read" if found else "refused"] += 1
        if isinstance(found, Example):
            examples.append(found)
    print(*(f"{name}: {outcome}: {times}" for (name, outcome), times in sorted(outcomes.items())), sep="\n")
    assert slow == []
    culprits = []
    for start in range(0, len(examples), 32):
        batch = examples[start : start + 32]
        culprits += _culprits(batch, _run_transform) + _culprits(batch, lambda some: _run_serving(model, some))
    assert culprits == []
    assert sum(outcomes.values()) == count
    for outcome in ("read", "refused"):
        assert sum(times for (_, one), times in outcomes.items() if one == outcome) > count / 10
