"""A served model for the benchmarks: the preset's network with fresh weights, which cost as much time as good ones."""

import pathlib

import keras

from components import features, serving
from components.models import registry
from pipeline_config import ModelConfig, PipelineConfig, ServingConfig, TransformConfig, voc2007

CLASSES = features.VOC_CLASSES


def config(side_px: int = 256) -> PipelineConfig:
    """Returns what is served: `voc2007`, whose weights are not fetched, with the network's size given."""
    preset = voc2007()
    return PipelineConfig(
        preset="voc2007",
        transform=TransformConfig(height_px=side_px, width_px=side_px),
        model=ModelConfig(name=preset.model.name, encoder=preset.model.encoder, encoder_weights="none"),
    )


def export(folder: pathlib.Path) -> keras.Model:
    """Writes a SavedModel to a new folder, and returns its network."""
    chosen = config()
    keras.utils.set_random_seed(0)
    model = registry.build(chosen.model, len(CLASSES), chosen.transform.height_px, chosen.transform.width_px)
    whole = registry.for_whole_pictures(model, chosen.model)
    serving.save(whole, str(folder), chosen.transform, ServingConfig(), CLASSES, features.voc_palette()[: len(CLASSES)])
    return model
