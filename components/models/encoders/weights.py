"""The weights that an encoder begins with, as seen where a pipeline is put together: are they there, and are they the same?"""

import hashlib

from etils import epath

from components.models.encoders import efficientnet_lite
from pipeline_config import ConfigError, ModelConfig


def digest(config: ModelConfig) -> str:
    """Returns what TFX's cache has to see of the weights, beside the configuration: a file's SHA-256, or nothing.

    Of pretrained weights the code knows the digest: ours of EfficientNet-Lite, Keras that of its applications.

    Raises:
        ConfigError: the file is not there.
        ModelError: the package with the weights is not installed.
    """
    if not config.has_encoder or config.encoder_weights == "none":
        return ""
    if config.encoder_weights == "imagenet":
        if config.encoder in efficientnet_lite.VARIANTS:
            # Here, and not after the data was prepared, is the time to complain.
            efficientnet_lite.weights_path(config.encoder)
        return ""
    path = epath.Path(config.encoder_weights)
    if not path.is_file():
        raise ConfigError(
            f"model.encoder_weights is no file: {config.encoder_weights}. Give its path, or set it to imagenet or none."
        )
    return hashlib.sha256(path.read_bytes()).hexdigest()
