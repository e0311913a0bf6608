"""Builds an encoder by its name, and brings an architecture to its features."""

from typing import Any

import keras

from components.models.encoders import applications, efficientnet_lite
from pipeline_config import ModelConfig


class Encoder(keras.Model):
    """A network that may be told to run as in inference always: its batch statistics stay, its weights still learn.

    An argument `training=False` where the network is called would not do: Keras 3 overwrites it in the graph around it.

    Attributes:
        frozen: whether it was told so.
    """

    frozen = False

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Runs it."""
        return super().call(inputs, training=False if self.frozen else training, mask=mask)


def build(config: ModelConfig, dilated: bool = False) -> Encoder:
    """Builds an encoder.

    Args:
        config: uses encoder, encoder_weights and frozen_batch_norm.
        dilated: keep stride 16 where the encoder can: EfficientNet-Lite can, those of keras.applications cannot.

    Returns:
        A model named "encoder" from float [B, H, W, 3] in [0, 1], H and W multiples of 32, to a list of features at strides
        4, 8, 16 and 32.

    Raises:
        ModelError: the weights are not installed, or not the expected ones.
        ValueError: the file's weights are not those of the encoder.
    """
    if config.encoder in applications.APPLICATIONS:
        network = applications.build(config.encoder, config.encoder_weights)
    else:
        network = efficientnet_lite.build(config.encoder, dilated)
        if config.encoder_weights == "imagenet":
            efficientnet_lite.load_pretrained(network, config.encoder)
        elif config.encoder_weights != "none":
            network.load_weights(config.encoder_weights)
    # One class for both: files of weights name the classes, and must not depend on what is frozen.
    encoder = Encoder(network.input, network.outputs, name="encoder")
    encoder.frozen = config.frozen_batch_norm
    return encoder


def stride_px(config: ModelConfig, dilated: bool = False) -> int:
    """Returns the stride of the encoder's last features."""
    return 16 if dilated and config.encoder in efficientnet_lite.VARIANTS else 32
