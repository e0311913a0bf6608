"""Transformed records to batches, for training (drawn and varied anew each epoch) and for validation (as they are)."""

import dataclasses

import numpy as np
import tensorflow as tf

from components import augment, pixels
from components.record_store import RecordStore
from components.untuned import untuned
from pipeline_config import AugmentConfig, TransformConfig

_BATCHES_AT_ONCE = 2
"""How many are brought into the network's form at a time: each more would cost a batch's memory."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class InputConfig:
    """The form of the batches.

    Attributes:
        transform: the size that Transform wrote.
        augment: how training pictures are varied.
        batch_size: pictures a batch, over all devices.
        devices: among which a batch is divided, in equal shares, on all hosts together.
        hosts: that have these devices, each as many.
        host: for which the batches are, 0..hosts-1.
        margin_px: what the network wants to see around the pixels that it labels, on each side.
    """

    transform: TransformConfig
    augment: AugmentConfig
    batch_size: int
    devices: int = 1
    hosts: int = 1
    host: int = 0
    margin_px: int = 0

    @property
    def filled_size(self) -> int:
        """The next size of a batch that gives each device as many pictures."""
        return self.share_size * self.devices

    @property
    def share_size(self) -> int:
        """The number of pictures that each device gets of a batch."""
        return -(-self.batch_size // self.devices)

    def of_host(self, values: np.ndarray) -> np.ndarray:
        """Returns this host's part of each filled batch, one after the other: [S, ...] of S / hosts values."""
        batches = values.reshape(-1, self.hosts, self.filled_size // self.hosts, *values.shape[1:])
        return batches[:, self.host].reshape(-1, *values.shape[1:])


@dataclasses.dataclass(frozen=True)
class Plan:
    """What an epoch draws.

    Attributes:
        indices: int64 [S], numbers of records, in the order of their use.
        partners: int64 [S], numbers of the records whose objects may be pasted onto them.
        seeds: int32 [S, 2], of the pictures' variation.
    """

    indices: np.ndarray
    partners: np.ndarray
    seeds: np.ndarray


def plan_epoch(count: int, batch_size: int, seed: int, epoch: int, weights: np.ndarray | None = None) -> Plan:
    """Decides an epoch from (seed, epoch) alone, so that a resumed training draws what an unbroken one would.

    Batches are whole: the last one is filled up from the head of the epoch's order.

    Args:
        count: N, of records.
        batch_size: pictures a batch.
        seed: of the training.
        epoch: from 0.
        weights: float [N], how often each record is drawn, relatively; None: each once.
    """
    size = steps_per_epoch(count, batch_size) * batch_size
    rng = np.random.default_rng((seed, epoch))
    if weights is None:
        indices = np.resize(rng.permutation(count), size)
    else:
        indices = rng.choice(count, size, p=weights / weights.sum())
    partners = rng.integers(0, count, size)
    seeds = rng.integers(0, np.iinfo(np.int32).max, (size, 2), np.int32)
    return Plan(indices.astype(np.int64), partners, seeds)


def steps_per_epoch(count: int, batch_size: int) -> int:
    """Returns the number of batches that hold each of `count` records."""
    return -(-count // batch_size)


def balanced_weights(pixels: np.ndarray) -> np.ndarray:
    """Returns how often to draw each record so that rare classes come more often.

    The repeat factor of LVIS (Gupta et al. 2019, https://arxiv.org/abs/1908.03195): a class in a share f of the pictures wants
    max(1, sqrt(t / f)), with the median of all shares for t, and a picture is drawn as often as its rarest class wants.

    Args:
        pixels: int64 [N, C], of each class in each record.

    Returns:
        float64 [N], at least 1.
    """
    present = pixels > 0  # [N, C]
    share = present.mean(axis=0)
    occurring = share > 0
    threshold = np.median(share[occurring]) if occurring.any() else 1.0
    wanted = np.where(occurring, np.maximum(1.0, np.sqrt(threshold / np.where(occurring, share, 1.0))), 1.0)
    return np.where(present, wanted, 1.0).max(axis=1)


@tf.function(jit_compile=True)
def to_network(pictures: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Takes pixels, int32 [B, H, W], apart: image float32 [B, H, W, 3] in [0, 1], label int32 [B, H, W] of 0..C-1 or 255.

    Images are what `preprocessing.scale_image` returns, to the last bit: XLA multiplies by 1 / 255 instead of dividing, which
    only with more bits makes no difference. As a single pass, it takes less than half of the time.
    """
    levels = tf.bitwise.right_shift(pictures[..., tf.newaxis], [0, 8, 16]) & 255
    return tf.cast(tf.cast(levels, tf.float64) / 255, tf.float32), pixels.planes(pictures)[3]


class TrainingBatches:
    """The training's batches, one epoch after another; what makes them is traced once, and an epoch brings its plan.

    Args:
        store: the records.
        config: form and variation.
        seed: of the training.
        weights: float [N], see `plan_epoch`.
    """

    def __init__(self, store: RecordStore, config: InputConfig, seed: int, weights: np.ndarray | None = None) -> None:
        """Traces."""
        self._store, self._config, self._seed, self._weights = store, config, seed, weights
        self._drawn: tuple[np.ndarray, ...] = ()
        drawn = tf.data.Dataset.range(1).flat_map(self._draw)
        if augment.varies(config.augment):
            pictures = drawn.map(self._vary, tf.data.AUTOTUNE, deterministic=True).batch(config.share_size)
            batches = pictures.map(self._finish, _BATCHES_AT_ONCE, deterministic=True)
        else:
            batches = drawn.batch(config.share_size).map(self._load, _BATCHES_AT_ONCE, deterministic=True)
        shares = steps_per_epoch(len(store), config.filled_size) * config.devices // config.hosts
        self._batches = untuned(batches.apply(tf.data.experimental.assert_cardinality(shares)).prefetch(tf.data.AUTOTUNE))

    def of_epoch(self, epoch: int) -> tf.data.Dataset:
        """Returns an epoch's batches of (image float32 [B, H, W, 3] in [0, 1], label int32 [B, H, W]).

        Where several devices share a batch, there is one for each device of this host, in turn, with what that device gets.

        Args:
            epoch: from 0. What was returned for another epoch gives this one's batches from here on.
        """
        plan = plan_epoch(len(self._store), self._config.filled_size, self._seed, epoch, self._weights)
        self._drawn = tuple(self._config.of_host(values) for values in (plan.indices, plan.partners, plan.seeds))
        return self._batches

    def _draw(self, _: tf.Tensor) -> tf.data.Dataset:
        """Returns this epoch's part of the plan: asked for anew at the beginning of each iteration."""
        index, partner, seeds = tf.numpy_function(lambda: self._drawn, [], (tf.int64, tf.int64, tf.int32))
        index, partner = (tf.ensure_shape(values, [None]) for values in (index, partner))
        return tf.data.Dataset.from_tensor_slices((index, partner, tf.ensure_shape(seeds, [None, 2])))

    def _vary(self, index: tf.Tensor, partner: tf.Tensor, seeds: tf.Tensor) -> tf.Tensor:
        """Returns a picture, varied, as pixels with their margin."""
        store, config = self._store, self._config
        picture = _vary(_read(store, index), config, seeds)
        if not config.augment.copy_paste:
            return picture
        return augment.copy_paste(picture, lambda: _vary(_read(store, partner), config, seeds + 1), config.augment, seeds + 2)

    def _load(self, indices: tf.Tensor, partners: tf.Tensor, seeds: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns a batch of pictures as they are."""
        return self._finish(_mirror(_read(self._store, indices), self._config.margin_px))

    def _finish(self, batch: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return _finish(batch, self._config.margin_px)


def make_validation_batches(store: RecordStore, config: InputConfig) -> tf.data.Dataset:
    """Returns batches of (image float32 [B, H, W, 3] in [0, 1], label int32 [B, H, W]) in the order of the keys, not varied.

    The last batch may be smaller. With a margin, images are mirrored beyond their borders. Where several devices share a batch,
    there is one for each device of this host, in turn, with what that device gets; batches are filled up to equal shares with
    black pictures whose labels are void: the filling counts nowhere.
    """

    def load(indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        batch = _read(store, tf.maximum(indices, 0))
        if config.devices > 1:
            batch = tf.where(indices[:, tf.newaxis, tf.newaxis] < 0, pixels.VOID, batch)
        return _finish(_mirror(batch, config.margin_px), config.margin_px)

    indices = np.arange(len(store))
    if config.devices > 1:
        indices = config.of_host(fill_up(indices, config.batch_size, config.filled_size))
    batches = tf.data.Dataset.from_tensor_slices(indices).batch(config.share_size)
    return untuned(batches.map(load, _BATCHES_AT_ONCE, deterministic=True).prefetch(tf.data.AUTOTUNE))


def _read(store: RecordStore, numbers: tf.Tensor) -> tf.Tensor:
    """Returns pixels, int32 [..., H, W], of the records of these numbers, int64 [...]."""
    found = tf.numpy_function(store.read, [numbers], tf.int32, stateful=False)
    return tf.ensure_shape(found, (*numbers.shape, *store.shape))


def _vary(picture: tf.Tensor, config: InputConfig, seed: tf.Tensor) -> tf.Tensor:
    """Augments a picture; with a margin, it comes back larger by it, mirrored and void beyond the picture's border."""
    margin = config.margin_px
    if not margin:
        return augment.augment(picture, config.augment, seed)
    outside = np.pad(np.zeros(picture.shape, np.int32), margin, constant_values=pixels.VOID)
    crop = dataclasses.replace(
        config.augment,
        crop_height_px=(config.augment.crop_height_px or config.transform.height_px) + 2 * margin,
        crop_width_px=(config.augment.crop_width_px or config.transform.width_px) + 2 * margin,
    )
    return augment.augment(tf.bitwise.bitwise_or(_mirror(picture, margin), outside), crop, seed)


def _mirror(pictures: tf.Tensor, margin_px: int) -> tf.Tensor:
    """Repeats pictures, [..., H, W], beyond their borders, mirrored, as often as need be."""
    if not margin_px:
        return pictures
    rows, columns = (np.pad(np.arange(size), margin_px, "reflect") for size in pictures.shape[-2:])
    return tf.gather(tf.gather(pictures, rows, axis=-2), columns, axis=-1)


def _finish(batch: tf.Tensor, margin_px: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns what the network gets of pixels, int32 [B, H, W], with their margin, which is not labelled."""
    image, label = to_network(batch)
    return image, label[:, margin_px:-margin_px, margin_px:-margin_px] if margin_px else label


def fill_up(indices: np.ndarray, batch_size: int, filled_size: int) -> np.ndarray:
    """Returns batches of numbers of records, filled up with -1, which stands for no record.

    Args:
        indices: int64 [N].
        batch_size: of them a batch.
        filled_size: of a batch afterwards, at least as large.

    Returns:
        int64 [S], all batches one after the other.
    """
    whole = np.full((steps_per_epoch(len(indices), batch_size), filled_size), -1)
    for number, batch in enumerate(whole):
        part = indices[number * batch_size : (number + 1) * batch_size]
        batch[: len(part)] = part
    return whole.reshape(-1)
