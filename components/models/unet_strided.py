"""A U-Net that halves by strided convolutions instead of pooling, in the manner of pix2pix generators (Isola et al. 2017)."""

import keras
from keras import layers

from pipeline_config import ModelConfig

_DOWN = (128, 256, 512, 512, 512, 512)
_UP = (512, 512, 512, 512, 256)


def build(config: ModelConfig, num_classes: int, input_shape: tuple[int | None, int | None, int]) -> keras.Model:
    """Builds it: six 3x3 convolutions with stride 2 and LeakyReLU, and transposed convolutions with ReLU over skips.

    26,917,781 parameters at 21 classes.

    Args:
        config: nothing of it is used; the widths are the architecture's.
        num_classes: channels of the logits.
        input_shape: (H, W, 3); H and W multiples of 64, or None.

    Returns:
        A model from float [B, H, W, 3] to float32 logits [B, H, W, num_classes].
    """
    del config
    inputs = keras.Input(input_shape)
    x, skips = inputs, []
    for filters in _DOWN:
        x = layers.Conv2D(filters, 3, strides=2, padding="same")(x)
        x = layers.LeakyReLU()(x)  # [B, H/2 .. H/64, W/2 .. W/64, filters]
        skips.append(x)
    for filters, skip in zip(_UP, reversed(skips[:-1]), strict=True):
        x = layers.Conv2DTranspose(filters, 3, strides=2, padding="same", activation="relu")(x)
        x = layers.Concatenate()([x, skip])  # [B, H/32 .. H/2, W/32 .. W/2, filters + skip's]
    logits = layers.Conv2DTranspose(num_classes, 3, strides=2, padding="same", dtype="float32", name="logits")(x)
    return keras.Model(inputs, logits, name="unet_strided")
