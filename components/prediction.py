"""A pushed model, and the ways in which it looks at pictures."""

import dataclasses
import io
import json
import pathlib
from collections.abc import Iterator, Sequence

import numpy as np
import PIL.Image
import tensorflow as tf

from components import features, preprocessing, serving
from components.errors import ModelError
from components.served_models import Answer
from components.tiles import Window, blend
from components.views import average_views
from pipeline_config import ServingConfig, TransformConfig

_DECIDE_ROWS = 64


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
        return frozenset(self._signatures)

    def answer(self, encoded: Sequence[bytes]) -> list[tuple[bytes, str]]:
        """Returns for each encoded picture what the SavedModel answers: a grey PNG of ids, or b"" and the error."""
        answer = self._ask("serving_default", encoded)
        return [(mask, error.decode()) for mask, error in zip(answer["mask"], answer["error"], strict=True)]

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
        answer = self._ask(signature, encoded)
        found, errors = answer["mask"], answer["error"]
        for mask, score, error in zip(found, answer.get("score", [b""] * len(found)), errors, strict=True):
            if error:
                yield None, None, error.decode()
            else:
                yield _read_png(mask), _to_scores(_read_png(score)) if score else None, ""

    def _ask(self, signature: str, encoded: Sequence[bytes]) -> dict[str, np.ndarray]:
        """Returns the outputs of a signature that takes encoded pictures, bytes [N] each."""
        answer = self._signatures[signature](images=tf.constant(list(encoded), tf.string))
        return {name: output.numpy() for name, output in answer.items()}

    def predict_by(self, method: Method, encoded: bytes) -> Answer:
        """Returns the answer for an encoded picture that is looked at more thoroughly; of any size that the data may have."""
        try:
            image = preprocessing.decode_image(serving.check_header(tf.constant(encoded), features.MAX_PIXELS))
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
