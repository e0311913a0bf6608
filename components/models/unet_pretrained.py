"""A U-Net's decoder (Ronneberger et al. 2015, https://arxiv.org/abs/1505.04597), kept light, on a pretrained encoder."""

import keras
from keras import layers

from components.models.blocks import normalize
from components.models.encoders import registry as encoders
from components.models.upsampling import Upsample
from pipeline_config import ModelConfig


def build(config: ModelConfig, num_classes: int, input_shape: tuple[int | None, int | None, int]) -> keras.Model:
    """Builds it: context from strides 32 and 16, then one 3x3 convolution at strides 8 and 4 each, and bilinear upsampling.

    3,581,365 parameters with efficientnet_lite0 and 21 classes. The decoder normalises over the batch: in groups of 4 to 8
    channels it learnt VOC several times more slowly.

    Args:
        config: uses encoder, encoder_weights, frozen_batch_norm and dropout (behind the context, and before the logits).
        num_classes: channels of the logits.
        input_shape: (H, W, 3); H and W multiples of 32, or None.

    Returns:
        A model from float [B, H, W, 3] in [0, 1] to float32 logits [B, H, W, num_classes].

    Raises:
        ModelError: the encoder's weights are not installed, or not the expected ones.
    """
    inputs = keras.Input(input_shape)
    stride4, stride8, stride16, stride32 = encoders.build(config)(inputs)
    x = layers.Add()([Upsample(2)(_project(stride32, 128)), _project(stride16, 128)])  # [B, H/16, W/16, 128]
    x = _convolve(x, 128)
    x = layers.Dropout(config.dropout)(_convolve(x, 128, dilation=2))
    x = layers.Concatenate()([Upsample(2)(x), _project(stride8, 48)])
    x = _convolve(x, 96)  # [B, H/8, W/8, 96]
    x = layers.Concatenate()([Upsample(2)(x), _project(stride4, 32)])
    x = layers.Dropout(config.dropout)(_convolve(x, 64))  # [B, H/4, W/4, 64]
    x = layers.Conv2D(num_classes, 1, dtype="float32", name="logits")(x)
    logits = Upsample(4, dtype="float32")(x)  # [B, H, W, num_classes]
    return keras.Model(inputs, logits, name="unet_pretrained")


def _project(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    """Brings an encoder's features to the scale of the decoder's: at stride 4 they are twenty times as large, and drown it."""
    return normalize(layers.Conv2D(filters, 1, use_bias=False)(x))


def _convolve(x: keras.KerasTensor, filters: int, dilation: int = 1) -> keras.KerasTensor:
    x = layers.Conv2D(filters, 3, padding="same", dilation_rate=dilation, use_bias=False, kernel_initializer="he_normal")(x)
    return layers.ReLU()(normalize(x))
