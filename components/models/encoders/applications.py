"""Encoders from keras.applications; their ImageNet weights are downloaded, and kept in Keras' cache folder."""

import dataclasses
from collections.abc import Callable

import keras
from keras import layers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Application:
    """Where a network of keras.applications has its features, and what it expects.

    Attributes:
        network: builds it.
        features: names of the last layers at strides 4, 8, 16 and 32.
        scale: factor that brings [0, 1] to what the network was trained on.
        offset: added to that; a number, or one a channel.
        reverse: its channels are BGR.
    """

    network: Callable[..., keras.Model]
    features: tuple[str, str, str, str]
    scale: float
    offset: float | tuple[float, float, float] = 0.0
    reverse: bool = False


APPLICATIONS = {
    # Sandler et al. 2018, https://arxiv.org/abs/1801.04381
    "mobilenet_v2": Application(
        network=keras.applications.MobileNetV2,
        features=("block_2_add", "block_5_add", "block_12_add", "block_16_project_BN"),
        scale=2.0,
        offset=-1.0,
    ),
    # Tan and Le 2021, https://arxiv.org/abs/2104.00298. Not EfficientNetB0: with weights="imagenet" Keras gives that
    # another graph (a second scaling), so that its weights do not go with one that was built without them.
    "efficientnet_v2_b0": Application(
        network=keras.applications.EfficientNetV2B0,
        features=("block2b_add", "block3b_add", "block5e_add", "block6h_add"),
        scale=255.0,
    ),
    # He et al. 2015, https://arxiv.org/abs/1512.03385; its weights are Caffe's: BGR in 0..255, less the mean.
    "resnet50": Application(
        network=keras.applications.ResNet50,
        features=("conv2_block3_out", "conv3_block4_out", "conv4_block6_out", "conv5_block3_out"),
        scale=255.0,
        offset=(-103.939, -116.779, -123.68),
        reverse=True,
    ),
}
_TRAINED_SIZE_PX = 224


def build(name: str, weights: str) -> keras.Model:
    """Builds the encoder.

    Args:
        name: one of `APPLICATIONS`.
        weights: "imagenet", "none", or the path of a file that `load_weights` of the application without its top takes.

    Returns:
        A model from float [B, H, W, 3] in [0, 1], H and W multiples of 32, to features at strides 4, 8, 16 and 32.

    Raises:
        ValueError: the file's weights are not those of the application.
    """
    application = APPLICATIONS[name]
    network = application.network(include_top=False, weights=None, input_shape=(None, None, 3))
    if weights == "imagenet":
        # By way of the trained size: Keras picks the file by it, and warns where there is none.
        size = (_TRAINED_SIZE_PX, _TRAINED_SIZE_PX, 3)
        network.set_weights(application.network(include_top=False, weights="imagenet", input_shape=size).get_weights())
    elif weights != "none":
        network.load_weights(weights)
    trunk = keras.Model(network.input, [network.get_layer(layer).output for layer in application.features], name="trunk")
    inputs = keras.Input((None, None, 3))
    x = inputs[..., ::-1] if application.reverse else inputs
    x = layers.Rescaling(application.scale, application.offset, dtype="float32")(x)
    return keras.Model(inputs, trunk(x), name=name)
