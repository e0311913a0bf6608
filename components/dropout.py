"""Dropout that rises while it helps, and that draws the same masks again when a training is resumed."""

import itertools
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

_HIGHEST_RATE = 0.9


def next_rate(rate: float, history: Sequence[float], rise: float) -> float:
    """Returns the next epoch's dropout rate: higher, until the score has once not risen.

    Args:
        rate: of the epoch that ended, 0..1.
        history: mean IoU of all validations so far, the oldest first.
        rise: what is added an epoch, up to 0.9.
    """
    if any(later <= earlier for earlier, later in itertools.pairwise(history)):
        return rate
    return max(rate, min(round(rate + rise, 6), _HIGHEST_RATE))


def layers(model: keras.Model) -> list[keras.layers.Dropout]:
    """Returns the layers that drop something, those of nested models too, in an order that a rebuilt model repeats."""
    return [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Dropout) and hasattr(layer, "seed_generator")
    ]


def set_rate(model: keras.Model, rate: float) -> bool:
    """Sets the rate of all dropout.

    Layers built with rate 0 stay at 0, for they have no source of randomness; those that drop whole branches by a
    `noise_shape` (stochastic depth) keep their rate.

    Args:
        model: whose layers are changed.
        rate: 0..1.

    Returns:
        Whether any rate changed; then a compiled step is to be traced anew, for the old trace holds the old rate.
    """
    changed = [layer for layer in layers(model) if layer.noise_shape is None and layer.rate != rate]
    for layer in changed:
        layer.rate = rate
    return bool(changed)


def reseed(
    model: keras.Model, seed: int, epoch: int, strategy: tf.distribute.Strategy | None = None, first_device: int = 0
) -> None:
    """Makes what the layers draw depend on nothing but the seed, the epoch, the step in it, the layer's place and the device.

    Args:
        model: whose layers are seeded.
        seed: of the training, not negative.
        epoch: that begins, from 0.
        strategy: by which several devices have the model; None: one has it.
        first_device: number of this host's first device among those of all hosts; the very first draws as one alone would.
    """
    strategy = strategy or tf.distribute.get_strategy()
    generators = [generator for layer in model._flatten_layers() for generator in layer._seed_generators]
    for place, generator in enumerate(generators):
        for device, copy in enumerate(strategy.experimental_local_results(generator.state.value), start=first_device):
            state = np.random.SeedSequence((seed, epoch, place), spawn_key=(device,) if device else ()).generate_state(2)
            copy.assign(tf.cast(state.astype(np.int64) >> 1, copy.dtype))  # The generators of all backends hold 31 bits.
