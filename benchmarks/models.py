"""A served model for the benchmarks: the preset's network with fresh weights, which cost as much time as good ones."""

import dataclasses
import pathlib

import keras

from components import features, serving
from components.models import registry
from components.models.folding import fold_batch_norm
from pipeline_config import PipelineConfig, ServingConfig, TransformConfig, voc2007

CLASSES = features.VOC_CLASSES


def config(side_px: int = 256) -> PipelineConfig:
    """Returns what is served: `voc2007`, whose weights are not fetched, with the network's size given."""
    preset = voc2007()
    return PipelineConfig(
        preset="voc2007",
        transform=TransformConfig(height_px=side_px, width_px=side_px),
        # Frozen or not makes no difference to what is served; without a pretraining there is nothing to be frozen.
        model=dataclasses.replace(preset.model, encoder_weights="none", frozen_batch_norm=False),
    )


def export(folder: pathlib.Path) -> keras.Model:
    """Writes a SavedModel to a new folder, and returns its network."""
    chosen = config()
    keras.utils.set_random_seed(0)
    model = registry.build(chosen.model, len(CLASSES), chosen.transform.height_px, chosen.transform.width_px)
    whole = registry.for_whole_pictures(fold_batch_norm(model), chosen.model)
    serving.save(whole, str(folder), chosen.transform, ServingConfig(), CLASSES, features.voc_palette()[: len(CLASSES)])
    return model
