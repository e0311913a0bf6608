"""`vocseg model`: prints an architecture's table, draws its graph."""

import dataclasses
import math
import sys
from typing import TYPE_CHECKING

import rich.console
import rich.table
import rich.text

from components.errors import VocsegError
from pipeline import console
from pipeline.locations import check_writable, write_output
from pipeline_config import ConfigError, ModelConfig, TransformConfig

if TYPE_CHECKING:
    import keras


def describe(config: ModelConfig, transform: TransformConfig, num_classes: int, summary: bool, plot: str | None) -> None:
    """Builds a network with fresh weights, at the size of the training or the nearest that fits, and shows it.

    Args:
        config: the architecture.
        transform: the size.
        num_classes: channels of the logits.
        summary: print the table of its layers.
        plot: where a PNG of the graph goes, or None.

    Raises:
        ConfigError: an architecture that cannot be built.
        VocsegError: the PNG cannot be written.
    """
    if plot is not None:
        if not plot.lower().endswith(".png"):
            raise VocsegError(f"--plot draws a PNG: expected the path of a file that ends in .png; got {plot}.")
        check_writable(plot, "--plot")
    with console.working("building"):
        model = _build(config, transform, num_classes)
        from pipeline import model_plot

        content = model_plot.encode(model_plot.draw(model)) if plot is not None else b""
    if summary:
        _print_table(model)
    if plot is not None:
        write_output(plot, content, "--plot")
        print(f"{model.name}, drawn: {plot}")


def _build(config: ModelConfig, transform: TransformConfig, num_classes: int) -> "keras.Model":
    from components.models import registry

    if num_classes < 2:
        raise ConfigError(f"--classes must be at least 2; got {num_classes}.")
    registry.check(config, num_classes)
    # An encoder's weights change neither table nor graph, and may have to be downloaded.
    bare = dataclasses.replace(config, encoder_weights="none", frozen_batch_norm=False)
    sizes = (config.nearest_size(transform.height_px), config.nearest_size(transform.width_px))
    return registry.build(bare, num_classes, *sizes)


def _print_table(model: "keras.Model") -> None:
    """Prints a row for each use of a layer. Not Keras' own table, which cuts off what 80 columns do not hold."""
    from pipeline import model_graph

    boxes = model_graph.read(model)
    table = rich.table.Table(title=model.name)
    for column in ("layer", "kind", "output", "parameters", "reads"):
        table.add_column(column, justify="right" if column == "parameters" else "left", overflow="fold")
    for box in boxes:
        count = "shared" if box.parameters is None else f"{box.parameters:,}"
        reads = ", ".join(boxes[source].name for source in box.sources)
        table.add_row(*map(rich.text.Text, (box.name, box.kind, box.shape, count, reads)))
    width = None if sys.stdout.isatty() else 10_000  # A table is no wider than it need be; a file has no edge to cut it at.
    out = rich.console.Console(width=width, highlight=False, emoji=False)
    out.print(table)
    learnt = sum(math.prod(variable.shape) for variable in model.trainable_variables)
    out.print(f"{model.count_params():,} parameters, of which {learnt:,} are learnt")
