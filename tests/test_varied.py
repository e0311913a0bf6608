"""Rows of a contact sheet as training sees them: at Transform's size, and varied by the Trainer's own functions."""

import numpy as np
import pytest
import tensorflow as tf

from components import pixels, preprocessing
from components.augment import augment
from components.datasets import varied
from components.datasets.contact_sheet import Sample
from pipeline_config import AugmentConfig, TransformConfig

TRANSFORM = TransformConfig(height_px=32, width_px=48)
CONFIG = AugmentConfig(crop_height_px=16, crop_width_px=16, flip=True, min_scale=0.7, max_scale=1.5, brightness=0.2)


def _sample(number: int, height: int = 40, width: int = 30) -> Sample:
    rng = np.random.default_rng(number)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    return Sample(f"train/{number}", image, np.full((height, width), number, np.uint8))


def _vary(*samples: Sample | str, config: AugmentConfig = CONFIG, count: int = 2, seed: int = 0) -> list[Sample | str]:
    return list(varied.varier(TRANSFORM, config, count, seed)(samples))


def test_each_pair_is_followed_by_its_variants() -> None:
    rows = _vary(_sample(1), "train/b: cannot be read", _sample(2, 20, 70))
    assert [row if isinstance(row, str) else row.title for row in rows] == [
        *("train/1", "train/1, variant 1", "train/1, variant 2"),
        "train/b: cannot be read",
        *("train/2", "train/2, variant 1", "train/2, variant 2"),
    ]
    shapes = [row.image.shape for row in rows if isinstance(row, Sample)]
    assert shapes == 2 * [(32, 48, 3), (16, 16, 3), (16, 16, 3)]
    assert [row.ids.shape for row in rows if isinstance(row, Sample)] == [shape[:2] for shape in shapes]


def test_pair_is_resized_as_transform_does_and_varied_as_training_does() -> None:
    sample = _sample(1)
    whole, variant = _vary(sample, count=1, seed=5)
    assert np.array_equal(whole.image, preprocessing.resize_image(sample.image, TRANSFORM))
    assert np.array_equal(whole.ids, preprocessing.resize_label(sample.ids, TRANSFORM))
    image, label = pixels.split(augment(pixels.join(whole.image, whole.ids), CONFIG, tf.constant([5, 0], tf.int32)))
    assert np.array_equal(variant.image, image) and np.array_equal(variant.ids, label)


def test_variants_differ_and_are_the_same_again_for_a_seed() -> None:
    pixels = [row.image.tobytes() for row in _vary(_sample(1), _sample(1), count=4)]
    assert len(set(pixels)) == 1 + 8  # The pair itself is there twice.
    assert [row.image.tobytes() for row in _vary(_sample(1), _sample(1), count=4)] == pixels
    assert pixels[1] not in {row.image.tobytes() for row in _vary(_sample(1), count=4, seed=1)}


@pytest.mark.parametrize("seed", [-1, 2**40])
def test_seed_may_be_any_whole_number(seed: int) -> None:
    assert len(_vary(_sample(1), seed=seed)) == 3


def test_objects_of_the_next_pair_are_pasted_and_those_of_the_first_onto_the_last() -> None:
    config = AugmentConfig(copy_paste=1.0)
    rows = _vary(_sample(1), "train/b: cannot be read", _sample(2), _sample(3), config=config, count=1)
    pasted = [np.unique(row.ids).tolist() for row in rows if isinstance(row, Sample)]
    assert pasted == [[1], [2], [2], [3], [3], [1]]


def test_nothing_readable_is_nothing_to_vary() -> None:
    assert _vary("one", "two") == ["one", "two"]
