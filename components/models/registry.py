"""Finds an architecture by name. To add one: `components/models/<name>.py` with `build`, a line here and in `ModelConfig`."""

import importlib
from typing import TYPE_CHECKING

from pipeline_config import ConfigError, ModelConfig

if TYPE_CHECKING:
    import keras

_MODULES = {
    "unet": "components.models.unet",
    "unet_strided": "components.models.unet_strided",
}


def module_of(name: str) -> str:
    """Returns the module that holds the architecture.

    Raises:
        ValueError: no such architecture.
    """
    if name not in _MODULES:
        raise ValueError(f"There is no model {name!r}; there are {', '.join(_MODULES)}.")
    return _MODULES[name]


def check(config: ModelConfig) -> None:
    """Checks what only Keras knows, before any step of a pipeline runs.

    Raises:
        ConfigError: Keras has no activation or initialiser of that name.
    """
    import keras

    for field, find in (("activation", keras.activations.get), ("kernel_initializer", keras.initializers.get)):
        try:
            find(getattr(config, field))
        except ValueError:
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
