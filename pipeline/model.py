"""`vocseg model`: prints an architecture's table, draws its graph."""

import dataclasses
import sys
from typing import TYPE_CHECKING

from components.errors import VocsegError
from pipeline.locations import write_file
from pipeline_config import ConfigError, ModelConfig, TransformConfig

if TYPE_CHECKING:
    import keras


def describe(config: ModelConfig, transform: TransformConfig, num_classes: int, summary: bool, plot: str | None) -> None:
    """Builds a network with fresh weights, at the size of the training or the nearest that fits, and shows it.

    Args:
        config: the architecture.
        transform: the size.
        num_classes: channels of the logits.
        summary: print Keras' table.
        plot: where a PNG of the graph goes, or None.

    Raises:
        ConfigError: an architecture that cannot be built.
        VocsegError: the PNG cannot be written.
    """
    model = _build(config, transform, num_classes)
    if plot is not None:
        _plot(model, plot)
    if summary:
        # A table is as wide as the terminal; a file has no edge.
        model.summary(line_length=None if sys.stdout.isatty() else 120, print_fn=lambda line, **_: print(line))


def _build(config: ModelConfig, transform: TransformConfig, num_classes: int) -> "keras.Model":
    from components.models import registry

    if num_classes < 2:
        raise ConfigError(f"--classes must be at least 2; got {num_classes}.")
    registry.check(config, num_classes)
    # An encoder's weights change neither table nor graph, and may have to be downloaded.
    bare = dataclasses.replace(config, encoder_weights="none", frozen_batch_norm=False)
    sizes = (config.nearest_size(transform.height_px), config.nearest_size(transform.width_px))
    return registry.build(bare, num_classes, *sizes)


def _plot(model: "keras.Model", path: str) -> None:
    from pipeline import model_plot

    content = model_plot.encode(model_plot.draw(model))
    try:
        write_file(path, content)
    except OSError as error:
        raise VocsegError(f"--plot: {path} cannot be written: {error.strerror}. Give another path.") from error
