"""Builds an architecture by its name."""

import importlib
from typing import TYPE_CHECKING

from components.models.names import module_of
from pipeline_config import ConfigError, ModelConfig

if TYPE_CHECKING:
    import keras


def check(config: ModelConfig, num_classes: int) -> None:
    """Checks what only Keras and the data know, before any step of a pipeline runs.

    Raises:
        ConfigError: Keras has no activation or initialiser of that name, or the head does not go with the classes.
    """
    import keras

    if config.head == "sigmoid" and num_classes != 2:
        raise ConfigError(f"model.head=sigmoid is for two classes; the data set has {num_classes}. Use model.head=softmax.")

    tries = {
        "activation": lambda name: keras.activations.get(name)(keras.ops.zeros((1, 1))),
        "kernel_initializer": lambda name: keras.initializers.get(name)((3, 3, 1, 1)),
    }
    for field, attempt in tries.items():
        try:
            attempt(getattr(config, field))
        except Exception:  # Each of Keras' functions has its own for what it cannot do.
            raise ConfigError(
                f"Keras has no {field} {getattr(config, field)!r} (model.{field}); "
                f"the default is {getattr(ModelConfig(), field)}."
            ) from None


def build(config: ModelConfig, num_classes: int, height_px: int | None = None, width_px: int | None = None) -> "keras.Model":
    """Builds an architecture with fresh weights.

    Args:
        config: its name and settings.
        num_classes: channels of the logits.
        height_px: height of the logits, or None for any that fits (`config.fits`).
        width_px: width of the logits, likewise.

    Returns:
        A model from float [B, H + 2 m, W + 2 m, 3] in [0, 1], m being `config.margin_px`, to float32 logits
        [B, H, W, num_classes]. With a sigmoid head the network has one channel z, and the logits are 0 and z: their softmax is
        sigmoid(z), and their cross-entropy the binary one of z.

    Raises:
        ValueError: no such architecture.
    """
    module = importlib.import_module(module_of(config.name))
    input_shape = (*(side and side + 2 * config.margin_px for side in (height_px, width_px)), 3)
    if config.head == "softmax":
        return module.build(config, num_classes, input_shape)
    import keras

    model = module.build(config, 1, input_shape)
    logits = keras.ops.concatenate([keras.ops.zeros_like(model.output), model.output], axis=-1)
    return keras.Model(model.input, logits, name=model.name)


def for_whole_pictures(model: "keras.Model", config: ModelConfig) -> "keras.Model":
    """Returns what answers a picture of any size with logits of its own size.

    Args:
        model: from `build`; its weights are shared.
        config: what it was built from.

    Returns:
        A model from float [B, H, W, 3] in [0, 1] to float32 logits [B, H, W, C]: by tiles where the network has a margin (see
        overlap_tile.py), else at the next size that fits (see any_size.py), which where the picture's own does is the network
        itself.
    """
    from components.models.any_size import AnySize
    from components.models.overlap_tile import OverlapTile

    return (OverlapTile if config.margin_px else AnySize)(model, config)
