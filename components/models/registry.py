"""Builds an architecture by its name."""

import importlib
from typing import TYPE_CHECKING

from components.models.names import module_of
from pipeline_config import ConfigError, ModelConfig

if TYPE_CHECKING:
    import keras


def check(config: ModelConfig) -> None:
    """Checks what only Keras knows, before any step of a pipeline runs.

    Raises:
        ConfigError: Keras has no activation or initialiser of that name.
    """
    import keras

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
        height_px: height of the input, or None for any multiple of `config.stride_px`.
        width_px: width of the input, likewise.

    Returns:
        A model from float [B, H, W, 3] in [0, 1] to float32 logits [B, H, W, num_classes].

    Raises:
        ValueError: no such architecture.
    """
    return importlib.import_module(module_of(config.name)).build(config, num_classes, (height_px, width_px, 3))
