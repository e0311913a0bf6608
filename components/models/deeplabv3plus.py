"""DeepLabv3+ (Chen et al. 2018, https://arxiv.org/abs/1802.02611): atrous spatial pyramid pooling, and a light decoder."""

import keras
from keras import layers, ops

from components.models.blocks import normalize
from components.models.encoders import registry as encoders
from components.models.upsampling import Upsample
from pipeline_config import ModelConfig

_FILTERS = 256
_RATES = (6, 12, 18)
"""Dilations at stride 16; at stride 32 half of them look at the same distance."""


def build(config: ModelConfig, num_classes: int, input_shape: tuple[int | None, int | None, int]) -> keras.Model:
    """Builds it: the pyramid on the encoder's last features, upsampled, joined with those at stride 4.

    The pyramid stands at stride 16 on EfficientNet-Lite, whose last stages are dilated for it, and at stride 32, with halved
    rates, on the encoders of keras.applications, which cannot be dilated. 3,912,869 parameters with efficientnet_lite0 and 21
    classes.

    Args:
        config: uses encoder, encoder_weights, frozen_batch_norm and dropout (behind the last convolution of the pyramid).
        num_classes: channels of the logits.
        input_shape: (H, W, 3); H and W multiples of 32, or None.

    Returns:
        A model from float [B, H, W, 3] in [0, 1] to float32 logits [B, H, W, num_classes].

    Raises:
        ModelError: the encoder's weights are not installed, or not the expected ones.
    """
    stride = encoders.stride_px(config, dilated=True)
    inputs = keras.Input(input_shape)
    stride4, _, _, last = encoders.build(config, dilated=True)(inputs)
    x = _pyramid(last, [rate * 16 // stride for rate in _RATES])
    x = layers.Dropout(config.dropout)(_convolve(x, _FILTERS))  # [B, H/stride, W/stride, 256]
    x = Upsample(stride // 4)(x)
    x = layers.Concatenate()([x, _convolve(stride4, 48)])  # [B, H/4, W/4, 256 + 48]
    x = _separable(_separable(x))  # [B, H/4, W/4, 256]
    x = layers.Conv2D(num_classes, 1, dtype="float32", name="logits")(x)
    logits = Upsample(4, dtype="float32")(x)  # [B, H, W, num_classes]
    return keras.Model(inputs, logits, name="deeplabv3plus")


def _pyramid(x: keras.KerasTensor, rates: list[int]) -> keras.KerasTensor:
    """Returns [B, h, w, 5 * 256]: a 1x1 convolution, three atrous ones, and the whole picture's mean, everywhere the same."""
    pooled = layers.GlobalAveragePooling2D(keepdims=True)(x)
    pooled = layers.Conv2D(_FILTERS, 1, activation="relu")(pooled)  # [B, 1, 1, 256]: too few numbers for statistics.
    branches = [_convolve(x, _FILTERS), *(_separable(x, rate) for rate in rates)]
    return layers.Concatenate()([*branches, pooled + ops.zeros_like(branches[0])])


def _convolve(x: keras.KerasTensor, filters: int) -> keras.KerasTensor:
    return _activate(layers.Conv2D(filters, 1, use_bias=False, kernel_initializer="he_normal")(x))


def _separable(x: keras.KerasTensor, rate: int = 1) -> keras.KerasTensor:
    """The paper's atrous separable convolution: 3x3 in each channel, then 1x1 across them."""
    x = layers.DepthwiseConv2D(3, padding="same", dilation_rate=rate, use_bias=False)(x)
    return _convolve(_activate(x), _FILTERS)


def _activate(x: keras.KerasTensor) -> keras.KerasTensor:
    return layers.ReLU()(normalize(x))
