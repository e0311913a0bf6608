"""A picture and its mask as one tensor, and apart again."""

import numpy as np
import tensorflow as tf

from components import pixels

RNG = np.random.default_rng(0)
IMAGE, LABEL = RNG.integers(0, 256, (2, 5, 7, 3), np.uint8), RNG.integers(0, 256, (2, 5, 7), np.uint8)


def test_what_is_joined_is_split_as_it_was() -> None:
    joined = pixels.join(IMAGE, LABEL)
    assert joined.dtype == tf.int32 and joined.shape == (2, 5, 7)
    image, label = pixels.split(joined)
    assert image.dtype == label.dtype == tf.uint8
    assert np.array_equal(image, IMAGE) and np.array_equal(label, LABEL)


def test_planes_are_red_green_blue_and_id() -> None:
    joined = pixels.join(IMAGE, LABEL)
    planes = pixels.planes(joined)
    assert np.array_equal(tf.stack(planes, -1), np.concatenate([IMAGE, LABEL[..., np.newaxis]], -1))
    assert np.array_equal(pixels.from_planes(planes), joined)


def test_void_is_black_and_counts_nowhere() -> None:
    image, label = pixels.split(tf.fill([1, 1], pixels.VOID))
    assert image.numpy().tolist() == [[[0, 0, 0]]] and label.numpy().tolist() == [[255]]
