"""Dropout that rises while it helps, and that draws the same masks again when a training is resumed."""

import itertools
from collections.abc import Sequence

import keras
import numpy as np

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


def reseed(model: keras.Model, seed: int, epoch: int) -> None:
    """Makes what the layers draw depend on nothing but the seed, the epoch, the step in it and the layer's place.

    Args:
        model: whose layers are seeded.
        seed: of the training, not negative.
        epoch: that begins, from 0.
    """
    generators = [generator for layer in model._flatten_layers() for generator in layer._seed_generators]
    for place, generator in enumerate(generators):
        state = np.random.SeedSequence((seed, epoch, place)).generate_state(2)
        generator.state.assign(state.astype(np.int64) >> 1)  # The generators of all backends hold 31 bits.
