"""Fully convolutional networks (Long et al. 2015, https://arxiv.org/abs/1411.4038): what fcn32s, fcn16s and fcn8s share."""

from collections.abc import Sequence

import keras
from keras import layers

from components.models.blocks import convolve
from components.models.unpooling import MaxUnpool
from components.models.upsampling import Upsample, bilinear_kernel, identity_kernel
from pipeline_config import ModelConfig

_CONVOLUTIONS = (2, 2, 3, 3, 3)
"""Of VGG16's blocks (Simonyan and Zisserman 2015, https://arxiv.org/abs/1409.1556); the widths double up to the fourth."""


def build(
    config: ModelConfig, num_classes: int, input_shape: tuple[int | None, int | None, int], finest_stride: int
) -> keras.Model:
    """Builds one: VGG16 from scratch, score maps at strides from 32 to the finest, summed from the coarsest on.

    The convolutions pad; the paper pads the picture by 100 pixels and crops the scores instead. With upsampling=unpool, score
    maps have the width of the features whose pooling they undo, as in DeconvNet and SegNet (see unpooling.py), are convolved
    twice after each unpooling, which leaves holes, and become classes at the last, at the input's size. That learns more
    slowly than the other ways, and needs more filters.

    Args:
        config: uses filters (64 in the paper), dropout, normalization, activation, kernel_initializer and upsampling.
        num_classes: channels of the logits.
        input_shape: (H, W, 3); H and W multiples of 32, or None.
        finest_stride: 32, 16 or 8, of the finest features that are scored.

    Returns:
        A model from float [B, H, W, 3] to float32 logits [B, H, W, num_classes].
    """
    inputs = keras.Input(input_shape)
    features = _backbone(inputs, config)
    head = _unpool if config.upsampling == "unpool" else _upsample
    logits = head(_classifier(features[-1][1], config), features, config, num_classes, finest_stride)
    return keras.Model(inputs, logits, name=f"fcn{finest_stride}s")


_Features = Sequence[tuple[keras.KerasTensor, keras.KerasTensor]]
"""Of each block: before its pooling [B, 2h, 2w, C], and after it [B, h, w, C]."""


def _backbone(x: keras.KerasTensor, config: ModelConfig) -> _Features:
    """Returns the features of five blocks, down to stride 32."""
    features = []
    for block, count in enumerate(_CONVOLUTIONS):
        for _ in range(count):
            x = convolve(x, config, config.filters * min(2**block, 8))
        features.append((x, layers.MaxPooling2D()(x)))
        x = features[-1][1]  # [B, H/2^(block+1), W/2^(block+1), filters .. 8 filters]
    return features


def _classifier(x: keras.KerasTensor, config: ModelConfig) -> keras.KerasTensor:
    """VGG16's two fully connected layers, fc6 and fc7, as convolutions; 4096 wide at 64 filters."""
    for size in (7, 1):
        x = layers.Dropout(config.dropout)(convolve(x, config, 64 * config.filters, size))
    return x  # [B, H/32, W/32, 64 filters]


def _upsample(
    x: keras.KerasTensor, features: _Features, config: ModelConfig, num_classes: int, finest_stride: int
) -> keras.KerasTensor:
    """Scores classes at each stride, and brings the sum to the next finer one; the finest at once to the input's size."""
    x, stride = _score(num_classes)(x), 32
    while stride > finest_stride:
        stride //= 2
        skip = _score(num_classes)(features[_block_at(stride)][1])
        x = layers.Add()([_enlarge(x, 2, config), skip])  # [B, H/stride, W/stride, num_classes]
    return _enlarge(x, stride, config, dtype="float32", name="logits")  # [B, H, W, num_classes]


def _score(num_classes: int) -> layers.Layer:
    """Zero at first, as in the paper."""
    return layers.Conv2D(num_classes, 1, kernel_initializer="zeros")


def _enlarge(x: keras.KerasTensor, factor: int, config: ModelConfig, **options: str) -> keras.KerasTensor:
    """Bilinear upsampling at first, which learns; [B, h, w, C] to [B, factor h, factor w, C]."""
    channels = x.shape[-1]
    if config.upsampling == "resize":
        x = Upsample(factor, dtype=options.get("dtype"))(x)
        return layers.Conv2D(channels, 3, padding="same", kernel_initializer=identity_kernel, **options)(x)
    return layers.Conv2DTranspose(
        channels,
        2 * factor,
        strides=factor,
        padding="same",
        use_bias=False,
        kernel_initializer=bilinear_kernel,
        **options,
    )(x)


def _unpool(
    x: keras.KerasTensor, features: _Features, config: ModelConfig, num_classes: int, finest_stride: int
) -> keras.KerasTensor:
    """Undoes pooling by pooling, adding the pooled features of strides 16 and 8 where they are asked for."""
    x = layers.Conv2D(features[-1][0].shape[-1], 1, kernel_initializer=config.kernel_initializer)(x)
    for block in reversed(range(len(features))):
        before = features[block][0]
        x = MaxUnpool()(x, before)  # [B, H/2^block, W/2^block, C]
        x = convolve(x, config, before.shape[-1])
        x = convolve(x, config, features[max(block - 1, 0)][0].shape[-1])  # As wide as the next pooling's features.
        if 2**block >= finest_stride:
            pooled = features[block - 1][1]
            x = layers.Add()([x, layers.Conv2D(pooled.shape[-1], 1, kernel_initializer=config.kernel_initializer)(pooled)])
    # Behind normalised features, which cannot grow, scores that are zero at first learn each class's share and little else.
    initializer = "zeros" if config.normalization == "none" else "glorot_uniform"
    return layers.Conv2D(num_classes, 1, kernel_initializer=initializer, dtype="float32", name="logits")(x)


def _block_at(stride: int) -> int:
    """Returns the block whose pooled features stand at a stride: the first at 2."""
    return stride.bit_length() - 2
