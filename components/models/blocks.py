"""The step that most architectures are made of: a convolution, perhaps a normalisation, and an activation."""

import math

import keras
from keras import layers

from pipeline_config import ModelConfig

_GROUPS = 16


def convolve(
    x: keras.KerasTensor, config: ModelConfig, filters: int, size: int = 3, padding: str = "same"
) -> keras.KerasTensor:
    """Returns a convolution of x, normalised and activated.

    Args:
        x: [B, H, W, C].
        config: uses normalization, activation and kernel_initializer.
        filters: channels of the result.
        size: of the kernel.
        padding: same or valid.

    Returns:
        [B, H, W, filters], or with valid padding [B, H - size + 1, W - size + 1, filters].
    """
    plain = config.normalization == "none"
    x = layers.Conv2D(
        filters,
        size,
        padding=padding,
        use_bias=plain,  # A normalisation has its own.
        activation=config.activation if plain else None,
        kernel_initializer=config.kernel_initializer,
    )(x)
    return x if plain else layers.Activation(config.activation)(normalize(x, config.normalization))


def normalize(x: keras.KerasTensor, kind: str = "batch") -> keras.KerasTensor:
    """Batch: Ioffe and Szegedy 2015, https://arxiv.org/abs/1502.03167; group: Wu and He 2018, https://arxiv.org/abs/1803.08494.

    The batch's statistics move by a tenth a step: epochs of a few hundred pictures are short. As many groups as divide the
    channels, 16 at most.
    """
    if kind == "batch":
        return layers.BatchNormalization(momentum=0.9)(x)
    return layers.GroupNormalization(math.gcd(_GROUPS, x.shape[-1]))(x)
