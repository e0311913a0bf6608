"""Finds an architecture by name. To add one: write `components/models/<name>.py` with `build`, and a line here."""

import importlib
from typing import TYPE_CHECKING

from pipeline_config import ModelConfig

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
