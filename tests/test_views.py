"""Averages over scales and mirror images, of networks whose answers can be said beforehand."""

import numpy as np
import tensorflow as tf

from components.views import average_views

IMAGE = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)


def _resize(image: tf.Tensor, height: int, width: int) -> tf.Tensor:
    return tf.cast(tf.round(tf.image.resize(image, (height, width))), tf.uint8)


def _color(images: tf.Tensor) -> tf.Tensor:
    """Answers each pixel with its own channels."""
    return images


def _left_half(images: tf.Tensor) -> tf.Tensor:
    """Says class 1 in the left half, whatever is in the picture: odds of 1 : 3, and 3 : 1 in the right half."""
    count, height, width = images.shape[:3]
    left = tf.cast(tf.range(width) < width // 2, tf.float32) * np.log(9.0) - np.log(3.0)
    row = tf.stack([tf.zeros_like(left), left], axis=-1)
    return tf.broadcast_to(row, (count, height, width, 2))


def test_one_view_that_looks_the_same_from_both_sides_is_the_softmax_of_the_network() -> None:
    found = average_views(tf.constant(IMAGE), 12, 20, _color, _resize, scales=(1.0,))
    np.testing.assert_allclose(np.exp(found), tf.nn.softmax(IMAGE / np.float32(255)), atol=1e-6)


def test_answer_to_the_mirror_image_is_mirrored_back() -> None:
    found = np.exp(average_views(tf.constant(IMAGE), 12, 20, _left_half, _resize, scales=(1.0,)))
    # As it is, the left half has (1/4, 3/4) and the right half (3/4, 1/4); mirrored back, it is the other way round.
    np.testing.assert_allclose(found, np.full((12, 20, 2), 0.5), atol=1e-6)


def test_network_that_follows_the_picture_is_not_changed_by_mirroring() -> None:
    marked = np.zeros((4, 8, 3), np.uint8)
    marked[:, :4, 1] = 255  # Green in the left half: class 1 there, from both sides.
    found = average_views(tf.constant(marked), 4, 8, lambda images: 9 * images[..., :2], _resize, scales=(1.0,))
    assert np.argmax(found, axis=-1).tolist() == [[1, 1, 1, 1, 0, 0, 0, 0]] * 4


def test_network_looks_at_each_scale_once_with_both_sides() -> None:
    seen = []

    def logits(images: tf.Tensor) -> tf.Tensor:
        seen.append(tuple(images.shape))
        return images

    average_views(tf.constant(IMAGE), 12, 18, logits, _resize)
    assert seen == [(2, 9, 14, 3), (2, 12, 18, 3), (2, 15, 22, 3)]  # 13.5 and 22.5: to the even one.


def test_probabilities_are_averaged_not_logits() -> None:
    def logits(images: tf.Tensor) -> tf.Tensor:
        # Odds of 1 : 1 at the small scale, of 1 : 99 at the large one.
        return tf.zeros((*images.shape[:3], 2)) + (tf.constant([0.0, np.log(99)]) if images.shape[1] > 2 else 0.0)

    found = np.exp(average_views(tf.constant(IMAGE), 2, 2, logits, _resize, scales=(1.0, 2.0)))
    np.testing.assert_allclose(found, np.full((2, 2, 2), 1) * [0.255, 0.745], atol=1e-6)  # (0.5 + 0.99) / 2


def test_class_that_no_view_thinks_possible_stays_a_number() -> None:
    found = average_views(tf.constant(IMAGE), 3, 3, lambda images: images[..., :2] * 0 + [0.0, 1000.0], _resize)
    assert np.isfinite(found).all()


def test_picture_of_one_pixel_has_views_of_one_pixel() -> None:
    assert average_views(tf.constant(IMAGE[:1, :1]), 1, 1, _color, _resize).shape == (1, 1, 3)
