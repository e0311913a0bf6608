"""FCN-8s (Long et al. 2015, https://arxiv.org/abs/1411.4038): scores at strides 32, 16 and 8, summed."""

import keras

from components.models import fcn
from pipeline_config import ModelConfig


def build(config: ModelConfig, num_classes: int, input_shape: tuple[int | None, int | None, int]) -> keras.Model:
    """Builds it, as `fcn.build` says; 134,489,759 parameters at the paper's 64 filters and 21 classes.

    Args:
        config: uses filters, dropout, normalization, activation, kernel_initializer and upsampling.
        num_classes: channels of the logits.
        input_shape: (H, W, 3); H and W multiples of 32, or None.

    Returns:
        A model from float [B, H, W, 3] to float32 logits [B, H, W, num_classes].
    """
    return fcn.build(config, num_classes, input_shape, finest_stride=8)
