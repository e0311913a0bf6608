"""Pairs as training sees them: at the network's size, and varied, by the functions that Transform and the Trainer use.

Without what `unet_original` sees beyond the pixels that it labels.
"""

import functools
from collections.abc import Iterable, Iterator

import tensorflow as tf

from components import pixels, preprocessing
from components.augment import augment, copy_paste
from components.datasets.contact_sheet import Sample, Vary
from pipeline_config import AugmentConfig, TransformConfig


def varier(transform: TransformConfig, config: AugmentConfig, count: int, seed: int) -> Vary:
    """Returns what makes of each pair of a contact sheet a row at Transform's size, and rows of its variants.

    Args:
        transform: the size.
        config: what is varied.
        count: variants of each pair.
        seed: of all of them.
    """
    return functools.partial(_vary, transform=transform, config=config, count=count, seed=seed % (1 << 31))


def _vary(
    samples: Iterable[Sample | str], transform: TransformConfig, config: AugmentConfig, count: int, seed: int
) -> Iterator[Sample | str]:
    rows = [one if isinstance(one, str) else _resize(one, transform) for one in samples]
    pairs = [row for row in rows if isinstance(row, Sample)]
    index = 0
    for row in rows:
        yield row
        if isinstance(row, Sample):
            other = pairs[(index + 1) % len(pairs)]  # Whose objects are pasted, where that is configured.
            for number in range(count):
                yield vary_once(row, other, config, (seed, index * count + number), f"{row.title}, variant {number + 1}")
            index += 1


def _resize(sample: Sample, config: TransformConfig) -> Sample:
    with tf.device("CPU"):
        image = preprocessing.resize_image(sample.image, config).numpy()
        return Sample(sample.title, image, preprocessing.resize_label(tf.constant(sample.ids), config).numpy())


def vary_once(sample: Sample, other: Sample, config: AugmentConfig, seed: tuple[int, int], title: str) -> Sample:
    """Varies a pair, as training does: on the CPU, whatever else there is.

    Args:
        sample: the pair.
        other: another one of its size, whose objects may be pasted, varied by a seed of its own.
        config: what is varied.
        seed: decides all.
        title: of the new row.
    """
    with tf.device("CPU"):
        picture, pasted = (pixels.join(tf.constant(one.image), tf.constant(one.ids)) for one in (sample, other))
        own = tf.constant(seed, tf.int32)
        of_other = tf.random.experimental.stateless_fold_in(own, 2)
        varied = augment(picture, config, own)
        image, ids = pixels.split(copy_paste(varied, lambda: augment(pasted, config, of_other), config, own))
    return Sample(title, image.numpy(), ids.numpy())
