"""The SavedModel: encoded pictures in, PNG masks of their own size out; it loads without any of our code."""

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from components import features, preprocessing
from components.untuned import untuned
from pipeline_config import ServingConfig, TransformConfig

_AT_ONCE = 2**24
"""Numbers of enlarged logits that are computed at once: 64 MiB, with scores twice that; 0.8 megapixels of 21 classes."""

_STRIP_ROWS = 64

UNREADABLE = "not a readable picture: expected an undamaged JPEG or PNG within the size limit"


class Server(tf.Module):
    """The signatures over a trained network.

    Args:
        model: from float [B, H, W, 3] in [0, 1] to logits [B, H, W, C], on float32; what `registry.for_whole_pictures` makes of
            a network takes any H and W.
        transform: the network's size; pictures are brought to it as in training.
        serving: limits.
    """

    def __init__(self, model: keras.Model, transform: TransformConfig, serving: ServingConfig) -> None:
        """Tracks the model's variables only: the Keras object itself would drag its optimizer and code along."""
        super().__init__()
        self.weights = [variable.value for variable in model.variables]
        # A function, so that all signatures call one network: with a copy in each, a model loads half as fast.
        self._call = tf.function(lambda images: model(images, training=False))
        self._transform = transform
        self._serving = serving

    def signatures(self) -> dict[str, Any]:
        """Returns what `tf.saved_model.save` takes; `logits` last, whose network for any size would be taken for all."""
        return {
            "serving_default": self.serve_images.get_concrete_function(),
            "serving_rest": self.serve_rest.get_concrete_function(),
            "serving_examples": self.serve_examples.get_concrete_function(),
            "serving_scores": self.serve_scores.get_concrete_function(),
            "logits": self.logits.get_concrete_function(),
        }

    @tf.function(input_signature=[tf.TensorSpec([None, None, None, 3], tf.float32, name="images")])
    def logits(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Float [N, H, W, 3] in [0, 1], of any H and W that the model takes, to `logits` float [N, H, W, C]."""
        return {"logits": self._call(images)}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="images")])
    def serve_rest(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The same as `serve_images`, for JSON: TensorFlow Serving writes base64 only for outputs that end in `_bytes`.

        It is a signature of its own, since REST answers hold every output: beside a `mask` of raw bytes they would be no JSON.
        """
        answer = self.serve_images(images)
        return {"mask_bytes": answer["mask"], "error": answer["error"]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="images")])
    def serve_images(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Encoded pictures, string [N], to `mask`, string [N] (PNG of ids) and `error`, string [N] ("" where good)."""
        return self._masks(images, self._serving.max_megapixels * 1_000_000)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="images")])
    def serve_scores(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """The same with `score`, string [N]: a grey PNG, the probability of each pixel's class, 0..255 for 0..1."""
        found, errors = self._predict(images, self._serving.max_megapixels * 1_000_000, best_classes_with_scores, 2)
        return {"mask": found[0], "score": found[1], "error": errors}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string, name="examples")])
    def serve_examples(self, examples: tf.Tensor) -> dict[str, tf.Tensor]:
        """The same from serialised tf.Examples with an `image`; of any size that ExampleGen lets pass."""
        parsed = tf.io.parse_example(examples, {features.IMAGE: tf.io.FixedLenFeature([], tf.string)})
        return self._masks(parsed[features.IMAGE], features.MAX_PIXELS)

    def _masks(self, images: tf.Tensor, max_pixels: int) -> dict[str, tf.Tensor]:
        found, errors = self._predict(images, max_pixels, lambda *one: [best_classes(*one)])
        return {"mask": found[0], "error": errors}

    def _predict(
        self, images: tf.Tensor, max_pixels: int, read: Callable[..., Sequence[tf.Tensor]], planes: int = 1
    ) -> tuple[list[tf.Tensor], tf.Tensor]:
        """Decodes each picture in a tf.data pipeline that drops the unreadable ones, then fills in the answers by index.

        Args:
            images: string [N].
            max_pixels: larger pictures are unreadable.
            read: from logits float [H, W, C] and the picture's own height and width to its planes, uint8 [height, width] each.
            planes: how many there are.

        Returns:
            A list of planes, string [N] each, PNGs; and the errors, string [N].
        """
        count = tf.shape(images, out_type=tf.int64)[0]
        readable = (
            tf.data.Dataset.from_tensor_slices(images)
            .enumerate()
            .map(lambda index, encoded: self._decode(index, encoded, max_pixels), tf.data.AUTOTUNE, deterministic=True)
            .ignore_errors()
            .batch(self._serving.micro_batch_size)
        )
        found = [tf.fill([count], "") for _ in range(planes)]
        errors = tf.fill([count], UNREADABLE)
        for index, batch, heights, widths in iter(untuned(readable)):
            encoded = self._encode(self._call(preprocessing.scale_image(batch)), heights, widths, read, planes)
            found = [
                tf.tensor_scatter_nd_update(plane, index[:, tf.newaxis], new) for plane, new in zip(found, encoded, strict=True)
            ]
            errors = tf.tensor_scatter_nd_update(errors, index[:, tf.newaxis], tf.zeros_like(encoded[0]))
        return found, errors

    def _decode(self, index: tf.Tensor, encoded: tf.Tensor, max_pixels: int) -> tuple[tf.Tensor, ...]:
        """Returns the index, uint8 [height_px, width_px, 3], and the picture's own height and width."""
        image = preprocessing.decode_image(check_header(encoded, max_pixels))
        shape = tf.shape(image)
        return index, preprocessing.resize_image(image, self._transform), shape[0], shape[1]

    def _encode(
        self,
        logits: tf.Tensor,
        heights: tf.Tensor,
        widths: tf.Tensor,
        read: Callable[..., Sequence[tf.Tensor]],
        planes: int,
    ) -> list[tf.Tensor]:
        """Logits [B, H, W, C] and the pictures' sizes int [B] to each plane's PNGs, string [B], one picture at a time."""

        def encode(number: tf.Tensor) -> list[tf.Tensor]:
            found = read(logits[number], heights[number], widths[number])
            return [tf.io.encode_png(plane[..., tf.newaxis]) for plane in found]

        # By number, for to map the logits themselves would copy them.
        numbers = tf.range(tf.shape(heights)[0])
        return tf.map_fn(encode, numbers, fn_output_signature=[tf.string] * planes, parallel_iterations=1)


def best_classes(logits: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Resizes logits bilinearly to a picture's size and takes the best class of each pixel.

    The same ids as the argmax of `tf.image.resize`, but of large pictures a strip of rows at a time: the logits of a photograph
    of 12 megapixels and 21 classes would take 1 GB.

    Args:
        logits: float32 [H, W, C].
        height: int32 [], of the picture.
        width: int32 [], of the picture.

    Returns:
        uint8 [height, width].
    """
    return _enlarge(logits, height, width, lambda mixed: [_ids(mixed)], 1)[0]


def best_classes_with_scores(logits: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> list[tf.Tensor]:
    """Returns the ids of `best_classes` and their probabilities, both uint8 [height, width]; 255 is a probability of 1."""
    return _enlarge(logits, height, width, decide, 2)


def decide(logits: tf.Tensor) -> list[tf.Tensor]:
    """Takes the best class of each pixel, and its probability by softmax.

    Args:
        logits: float32 [H, W, C].

    Returns:
        Ids, uint8 [H, W], and probabilities, uint8 [H, W], 0..255 for 0..1.
    """
    best = tf.reduce_max(logits, axis=-1, keepdims=True)
    probability = 1.0 / tf.reduce_sum(tf.exp(logits - best), axis=-1)
    return [_ids(logits), tf.cast(tf.round(255.0 * probability), tf.uint8)]


def _ids(logits: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), tf.uint8)


def _enlarge(
    logits: tf.Tensor, height: tf.Tensor, width: tf.Tensor, read: Callable[[tf.Tensor], list[tf.Tensor]], planes: int
) -> list[tf.Tensor]:
    """Resizes logits bilinearly, and reads planes, uint8 [height, width] each, from them.

    At once where that takes little memory: it takes two thirds of the time.
    """
    numbers = tf.cast(height, tf.int64) * tf.cast(width * tf.shape(logits)[-1], tf.int64)
    return tf.cond(
        numbers <= _AT_ONCE,
        lambda: read(tf.image.resize(logits, tf.stack([height, width]))),
        lambda: _by_strips(logits, height, width, read, planes),
    )


def _by_strips(
    logits: tf.Tensor, height: tf.Tensor, width: tf.Tensor, read: Callable[[tf.Tensor], list[tf.Tensor]], planes: int
) -> list[tf.Tensor]:
    """Resizes logits bilinearly, a strip of rows at a time, and reads planes, uint8 [rows, width] each, from each strip."""
    rows_in = tf.shape(logits)[0]
    wide = tf.image.resize(logits, tf.stack([rows_in, width]))  # [H, width, C]
    scale = tf.cast(rows_in, tf.float32) / tf.cast(height, tf.float32)
    position = (tf.range(tf.cast(height, tf.float32)) + 0.5) * scale - 0.5  # Pixel centres, as tf.image.resize has them.
    position = tf.clip_by_value(position, 0.0, tf.cast(rows_in - 1, tf.float32))
    above = tf.cast(position, tf.int32)
    below = tf.minimum(above + 1, rows_in - 1)
    fraction = (position - tf.floor(position))[:, tf.newaxis, tf.newaxis]

    def strip(start: tf.Tensor) -> list[tf.Tensor]:
        rows = tf.minimum(start + tf.range(_STRIP_ROWS), height - 1)  # The last strip repeats the last row; cut off below.
        top, bottom = tf.gather(wide, tf.gather(above, rows)), tf.gather(wide, tf.gather(below, rows))
        return read(top + (bottom - top) * tf.gather(fraction, rows))  # [strip, width, C]

    starts = tf.range(0, height, _STRIP_ROWS)
    strips = tf.map_fn(strip, starts, fn_output_signature=[tf.uint8] * planes, parallel_iterations=1)
    return [tf.reshape(plane, tf.stack([-1, width]))[:height] for plane in strips]


def check_header(encoded: tf.Tensor, limit: int) -> tf.Tensor:
    """Refuses what is neither PNG nor JPEG, and by its header what is too large: a bomb must not be decoded.

    Args:
        encoded: string [], the file's bytes.
        limit: of pixels; no side may be longer than `features.MAX_SIDE_PX`.

    Returns:
        The same bytes; whoever reads them waits for the check.

    Raises:
        tf.errors.InvalidArgumentError: refused.
    """
    png = tf.strings.substr(encoded, 0, 8) == b"\x89PNG\r\n\x1a\n"
    jpeg = tf.strings.substr(encoded, 0, 2) == b"\xff\xd8"

    def png_sides() -> tf.Tensor:
        raw = tf.reshape(tf.io.decode_raw(tf.strings.substr(encoded, 16, 8), tf.uint8), [2, 4])
        return tf.reduce_sum(tf.cast(raw, tf.int64) * tf.constant([1 << 24, 1 << 16, 1 << 8, 1], tf.int64), axis=1)

    def jpeg_sides() -> tf.Tensor:
        return tf.cast(tf.image.extract_jpeg_shape(encoded)[:2], tf.int64)

    sides = tf.case([(png, png_sides), (jpeg, jpeg_sides)], default=lambda: tf.fill([2], tf.constant(2**31, tf.int64)))
    checks = [
        tf.debugging.assert_less_equal(sides, tf.constant(features.MAX_SIDE_PX, tf.int64)),
        tf.debugging.assert_less_equal(tf.reduce_prod(sides), tf.constant(limit, tf.int64)),
    ]
    with tf.control_dependencies(checks):
        return tf.identity(encoded)


def save(
    model: keras.Model,
    directory: str,
    transform: TransformConfig,
    serving: ServingConfig,
    class_names: Sequence[str],
    palette: Sequence[features.Color],
) -> None:
    """Writes the SavedModel and its metadata.

    Args:
        model: the trained network, for whole pictures, as `Server` has it.
        directory: where to; must not exist.
        transform: the network's size.
        serving: limits.
        class_names: in the order of the ids.
        palette: colour of each class, for palette masks and overlays.
    """
    server = Server(model, transform, serving)
    weights = tf.Module()  # The server's methods would be saved beside its signatures, which are the same once more.
    weights.all = server.weights
    tf.saved_model.save(weights, directory, signatures=server.signatures())
    path = os.path.join(directory, features.METADATA_FILE)
    tf.io.gfile.makedirs(os.path.dirname(path))
    metadata = {
        "class_names": list(class_names),
        "palette": [list(color) for color in palette],
        "ignore_label": features.IGNORE_LABEL,
        "height_px": transform.height_px,
        "width_px": transform.width_px,
        "resize_method": transform.resize_method,
        "max_megapixels": serving.max_megapixels,
    }
    with tf.io.gfile.GFile(path, "w") as file:
        file.write(json.dumps(metadata, indent=1))
