"""The architectures by name. To add one: write `components/models/<name>.py` with `build`, a line here and in `ModelConfig`."""

_MODULES = {
    "unet": "components.models.unet",
    "unet_strided": "components.models.unet_strided",
    "unet_pretrained": "components.models.unet_pretrained",
    "deeplabv3plus": "components.models.deeplabv3plus",
}


def module_of(name: str) -> str:
    """Returns the module that holds the architecture.

    Raises:
        ValueError: no such architecture.
    """
    if name not in _MODULES:
        raise ValueError(f"There is no model {name!r}; there are {', '.join(_MODULES)}.")
    return _MODULES[name]
