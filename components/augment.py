"""Training pictures varied, image and mask together: a pure function of picture and seed, alike eagerly and in tf.data.

Scale, rotation, crop and mirroring are one affine map from the crop's pixels to the picture's, by which each of the two is
sampled once: the cost is that of the crop, and image and mask cannot drift apart. Nothing is smoothed before a picture is
shrunk, so that fine texture aliases a little at scales below 0.7. Brightness, contrast, saturation and hue are one affine map
of the colours. XLA compiles all of it to a single pass over the crop, six times as fast as TensorFlow's operations one by one.

Pictures come and go as `components/pixels.py` has them. XLA would pack and unpack them anew for each of a pixel's neighbours,
and each of its colours, if it were asked to: that took half of the time.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import tensorflow as tf

from components import features, pixels
from pipeline_config import AugmentConfig

Draws = dict[str, tf.Tensor]
"""A number, float32 [] in [0, 1), for each choice. One setting's draw does not depend on whether another one is on."""

_CHOICES = ("scale", "angle", "top", "left", "flip", "brightness", "contrast", "saturation", "hue")

_BORDER_PX = 4
"""How far from an object void still counts as its border, and is pasted with it."""


def moves(config: AugmentConfig) -> bool:
    """Whether the geometry changes: crop, flip, scale or rotation."""
    crops = config.crop_height_px > 0 or config.crop_width_px > 0
    scales = (config.min_scale, config.max_scale) != (1, 1)
    return crops or config.flip or scales or config.rotation_deg > 0


def distorts(config: AugmentConfig) -> bool:
    """Whether colours change."""
    return max(config.brightness, config.contrast, config.saturation, config.hue) > 0


def varies(config: AugmentConfig) -> bool:
    """Whether anything changes."""
    return moves(config) or distorts(config) or config.copy_paste > 0


def for_classes(config: AugmentConfig, class_names: Sequence[str]) -> AugmentConfig:
    """Returns the settings, without `copy_paste` where the first class is not called background: all would be objects."""
    return config if class_names[0].lower() == "background" else dataclasses.replace(config, copy_paste=0.0)


def augment(picture: tf.Tensor, config: AugmentConfig, seed: tf.Tensor) -> tf.Tensor:
    """Varies a picture and its mask; `copy_paste`, which needs a second pair, is a step of its own.

    Args:
        picture: pixels, int32 [H, W].
        config: what is varied, and how far; the crop's size.
        seed: int32 [2]; decides all.

    Returns:
        Pixels, int32 [crop_height_px, crop_width_px], where they lie outside of the picture of the picture's mean colour, and
        void. Where nothing is configured, the picture itself.
    """
    if not (moves(config) or distorts(config)):
        return picture
    return _compiled(config)(picture, _draw(seed))


@functools.cache
def _compiled(config: AugmentConfig) -> Callable[..., tf.Tensor]:
    """Returns `_vary` with these settings; made once, since each new one would be compiled anew."""
    return tf.function(functools.partial(_vary, config=config), jit_compile=True)


def _vary(picture: tf.Tensor, draws: Draws, config: AugmentConfig) -> tf.Tensor:
    mean = _mean_color(picture)
    *levels, ids = pixels.planes(picture)
    channels = [tf.cast(level, tf.float32) for level in levels]
    if moves(config):
        size = tf.shape(picture)
        height, width = config.crop_height_px or size[0], config.crop_width_px or size[1]
        to_source = _map_crop(tf.cast(size, tf.float32), tf.cast([height, width], tf.float32), config, draws)
        channels, ids = _sample(picture, mean, *_source(to_source, height, width))
    if distorts(config):
        channels = _distort(channels, mean, config, draws)
    levels = [tf.cast(tf.clip_by_value(tf.round(channel), 0.0, 255.0), tf.int32) for channel in channels]
    return pixels.from_planes([*levels, ids])


def _draw(seed: tf.Tensor) -> Draws:
    """Makes all choices, whichever are configured."""
    draws = tf.unstack(tf.random.stateless_uniform([len(_CHOICES)], seed))
    return dict(zip(_CHOICES, draws, strict=True))


def _mean_color(picture: tf.Tensor) -> tf.Tensor:
    """Returns the mean of pixels, rounded, as float32 [3]; summed as integers, so that no order of adding matters."""
    count = tf.size(picture, tf.int64)
    ones = tf.ones_like(picture[0])
    rows = [tf.linalg.matvec(plane, ones) for plane in pixels.planes(picture)[:3]]  # XLA multiplies faster than it sums.
    total = tf.stack([tf.reduce_sum(tf.cast(row, tf.int64)) for row in rows])
    return tf.cast((2 * total + count) // (2 * count), tf.float32)


def _map_crop(size: tf.Tensor, crop: tf.Tensor, config: AugmentConfig, draws: Draws) -> tf.Tensor:
    """Draws the map from the crop's pixels to the picture's.

    Around the crop's centre it mirrors, turns and scales; the centre goes to where the crop was drawn. Scales are drawn evenly
    in their logarithm: halves as often as doubles.

    Args:
        size: float32 [2], height and width of the picture.
        crop: float32 [2], those of the crop.
        config: how far.
        draws: the choices.

    Returns:
        float32 [6]: a, b, c, d, e, f, where pixel (x, y) of the crop is (ax + by + c, dx + ey + f) of the picture.
    """
    scale = config.min_scale * tf.pow(config.max_scale / config.min_scale, draws["scale"])
    angle = math.radians(config.rotation_deg) * _to_either_side(draws["angle"])
    mirror = tf.where(draws["flip"] < 0.5, -1.0, 1.0) if config.flip else 1.0
    cosine, sine = tf.cos(angle) / scale, tf.sin(angle) / scale
    a, b, d, e = mirror * cosine, -sine, mirror * sine, cosine
    y, x = tf.unstack((crop - 1) / 2)
    source_y, source_x = tf.unstack(_draw_centre(tf.round(size * scale), crop, draws) / scale - 0.5)
    return tf.stack([a, b, source_x - a * x - b * y, d, e, source_y - d * x - e * y])


def _draw_centre(size: tf.Tensor, crop: tf.Tensor, draws: Draws) -> tf.Tensor:
    """Draws a crop that lies inside the picture, or has the picture inside itself: a whole number of pixels from its edge.

    Args:
        size: float32 [2], height and width of the scaled picture, whole.
        crop: float32 [2], those of the crop, whole.
        draws: the choices.

    Returns:
        float32 [2], row and column of the crop's centre in the scaled picture, whose top left corner is (0, 0).
    """
    room = size - crop
    chosen = tf.floor(tf.stack([draws["top"], draws["left"]]) * (tf.abs(room) + 1))
    return tf.sign(room) * chosen + crop / 2


def _source(to_source: tf.Tensor, height: tf.Tensor, width: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns row and column in the picture, float32 [height, width] each, of the crop's pixels."""
    a, b, c, d, e, f = tf.unstack(to_source)
    y, x = tf.range(height)[:, tf.newaxis], tf.range(width)[tf.newaxis]
    y, x = tf.cast(y, tf.float32), tf.cast(x, tf.float32)
    return d * x + e * y + f, a * x + b * y + c


def _sample(picture: tf.Tensor, mean: tf.Tensor, row: tf.Tensor, column: tf.Tensor) -> tuple[list[tf.Tensor], tf.Tensor]:
    """Samples a picture between its pixels and a mask at the nearest one.

    Args:
        picture: pixels, int32 [H, W].
        mean: float32 [3], the colour of what lies outside.
        row: float32 [crop height, crop width], where in the picture.
        column: likewise.

    Returns:
        The channels, float32 [crop height, crop width] each, and the ids, int32 [crop height, crop width].
    """
    height, width = tf.unstack(tf.shape(picture))
    last_row, last_column = tf.cast(height - 1, tf.float32), tf.cast(width - 1, tf.float32)
    flat = tf.reshape(picture, [-1])

    def at(row: tf.Tensor, column: tf.Tensor) -> tf.Tensor:
        return tf.gather(flat, tf.cast(row, tf.int32) * width + tf.cast(column, tf.int32))

    near_row, near_column = tf.floor(row + 0.5), tf.floor(column + 0.5)
    inside = (near_row >= 0) & (near_row <= last_row) & (near_column >= 0) & (near_column <= last_column)
    row, column = tf.clip_by_value(row, 0.0, last_row), tf.clip_by_value(column, 0.0, last_column)
    top, left = tf.floor(row), tf.floor(column)
    bottom, right = tf.minimum(top + 1, last_row), tf.minimum(left + 1, last_column)
    down, across = row - top, column - left
    corners = at(top, left), at(top, right), at(bottom, left), at(bottom, right)
    channels = []
    for value, corner in zip(tf.unstack(mean), zip(*map(pixels.planes, corners), strict=True), strict=False):
        top_left, top_right, bottom_left, bottom_right = (tf.cast(one, tf.float32) for one in corner)
        upper = (1 - across) * top_left + across * top_right
        lower = (1 - across) * bottom_left + across * bottom_right
        channels.append(tf.where(inside, (1 - down) * upper + down * lower, value))
    # What is nearest is one of the corners; what is outside has no id.
    upper_id, lower_id = (tf.where(near_column <= left, *pair) for pair in (corners[:2], corners[2:]))
    ids = pixels.planes(tf.where(near_row <= top, upper_id, lower_id))[3]
    return channels, tf.where(inside, ids, features.IGNORE_LABEL)


def _distort(channels: list[tf.Tensor], mean: tf.Tensor, config: AugmentConfig, draws: Draws) -> list[tf.Tensor]:
    """Changes brightness, contrast, saturation and hue.

    Grey is where the channels are equal. The contrast's factor acts on the distance from the picture's mean; the saturation's
    on that from the grey of equal brightness, around which the hue turns. So grey stays grey, and a third of a turn takes red
    to green.

    Args:
        channels: red, green and blue, float32 [H, W] each, 0..255.
        mean: float32 [3], the picture's.
        config: how far.
        draws: the choices.

    Returns:
        Likewise, not yet clipped.
    """
    shift = 255 * config.brightness * _to_either_side(draws["brightness"])
    contrast = 1 + config.contrast * _to_either_side(draws["contrast"])
    saturation = 1 + config.saturation * _to_either_side(draws["saturation"])
    turn = 2 * math.pi * config.hue * _to_either_side(draws["hue"])

    grey = tf.fill([3, 3], 1 / 3)
    across = tf.constant([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    matrix = grey + saturation * (tf.cos(turn) * (tf.eye(3) - grey) + tf.sin(turn) * across)  # Rodrigues, around (1, 1, 1).
    base = tf.linalg.matvec(matrix, mean) + shift
    away = [channel - mean[number] for number, channel in enumerate(channels)]
    return [
        base[to] + contrast * tf.add_n([matrix[to, number] * channel for number, channel in enumerate(away)]) for to in range(3)
    ]


def _to_either_side(draw: tf.Tensor) -> tf.Tensor:
    """Returns a draw of [0, 1) as one of [-1, 1)."""
    return 2 * draw - 1


def copy_paste(picture: tf.Tensor, other: Callable[[], tf.Tensor], config: AugmentConfig, seed: tf.Tensor) -> tf.Tensor:
    """Pastes the objects of another picture, after both are augmented; class 0 is the background.

    Objects are what is neither background nor void; void close to them, as on their border, is pasted with them and stays void
    (Ghiasi et al. 2021, "Simple Copy-Paste", without their smoothing).

    Args:
        picture: pixels, int32 [H, W].
        other: returns the other pair, likewise; asked only where something is pasted.
        config: the share of the pictures onto which something is pasted.
        seed: int32 [2]; decides whether it is. The same may be given to `augment`.

    Returns:
        Pixels, int32 [H, W].
    """
    draw = tf.random.stateless_uniform([], tf.random.experimental.stateless_fold_in(seed, 1))
    return tf.cond(draw < config.copy_paste, lambda: _paste(picture, other()), lambda: picture)


@tf.function(jit_compile=True)
def _paste(own: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    return tf.where(_objects_with_border(pixels.planes(others)[3]), others, own)


def _objects_with_border(label: tf.Tensor) -> tf.Tensor:
    """Returns bool [H, W]: what is an object in ids, int32 [H, W], or void within `_BORDER_PX` of one."""
    void = label == features.IGNORE_LABEL
    objects = ~void & (label != 0)
    near = objects
    for axis in range(2):
        near = functools.reduce(tf.logical_or, _shifted(near, axis))
    return objects | (void & near)


def _shifted(values: tf.Tensor, axis: int) -> list[tf.Tensor]:
    """Returns bool [H, W] as it is and moved by 1.._BORDER_PX to either side along an axis; beyond the border is false."""
    reach = [[0, 0], [0, 0]]
    reach[axis] = [_BORDER_PX, _BORDER_PX]
    padded = tf.pad(values, reach)
    size = tf.shape(values)
    return [tf.slice(padded, [by * (1 - axis), by * axis], size) for by in range(2 * _BORDER_PX + 1)]
