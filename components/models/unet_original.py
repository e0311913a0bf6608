"""The U-Net as published: valid convolutions and cropped skips (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597)."""

import keras
from keras import layers

from components.models.blocks import convolve
from pipeline_config import ModelConfig


def build(config: ModelConfig, num_classes: int, input_shape: tuple[int | None, int | None, int]) -> keras.Model:
    """Builds it: its logits are `config.margin_px` smaller than its input on each side; at depth 4, 572 become 388.

    31,031,810 parameters at the paper's 64 filters and depth 4, with 2 classes. Whole pictures go through
    `registry.for_whole_pictures`. The paper's weighting of the loss at borders is not part of the network.

    Args:
        config: uses filters, depth, dropout (at the two deepest levels, the end of the contracting path), normalization,
            activation and kernel_initializer.
        num_classes: channels of the logits.
        input_shape: (H + 2 m, W + 2 m, 3), where m is `config.margin_px` and `config.fits` holds for H and W; or None.

    Returns:
        A model from float [B, H + 2 m, W + 2 m, 3] to float32 logits [B, H, W, num_classes].
    """
    inputs = keras.Input(input_shape)
    x, skips = inputs, []
    for level in range(config.depth):
        x = _block(x, config, level)  # [B, h, w, filters * 2^level]
        x = layers.Dropout(config.dropout)(x) if level == config.depth - 1 else x
        skips.append(x)
        x = layers.MaxPooling2D()(x)  # [B, h/2, w/2, filters * 2^level]
    x = layers.Dropout(config.dropout)(_block(x, config, config.depth))
    for level in reversed(range(config.depth)):
        filters = config.filters * 2**level
        x = layers.Conv2DTranspose(filters, 2, strides=2, kernel_initializer=config.kernel_initializer)(x)
        skip = layers.Cropping2D(_crop_px(config.depth - level))(skips[level])
        x = _block(layers.Concatenate()([skip, x]), config, level)  # [B, 2h - 4, 2w - 4, filters * 2^level]
    logits = layers.Conv2D(num_classes, 1, dtype="float32", name="logits")(x)  # [B, H, W, num_classes]
    return keras.Model(inputs, logits, name="unet_original")


def _block(x: keras.KerasTensor, config: ModelConfig, level: int) -> keras.KerasTensor:
    """Two 3x3 convolutions, each of which eats a pixel on each side."""
    filters = config.filters * 2**level
    return convolve(convolve(x, config, filters, padding="valid"), config, filters, padding="valid")


def _crop_px(poolings: int) -> int:
    """Returns by how much a skip is larger, on each side, than what comes up to it from `poolings` levels below.

    One level below, 4 pixels: the bottom's two convolutions eat 2, which upsampling doubles. A level more doubles what the
    level below has eaten by then, and its skip's crop with it, and adds the 4 pixels of its own blocks, down and up, doubled:
    c(1) = 4, c(p + 1) = 2 c(p) + 8, which is 12 * 2^(p - 1) - 8.
    """
    return 12 * 2 ** (poolings - 1) - 8
