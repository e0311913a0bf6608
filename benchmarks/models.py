"""A served model for the benchmarks: the preset's network with fresh weights, which cost as much time as good ones."""

import dataclasses
import pathlib

import keras
import numpy as np
import tensorflow as tf

from benchmarks import voc
from components import features, preprocessing, serving
from components.models import registry
from components.models.folding import fold_batch_norm
from pipeline_config import PipelineConfig, ServingConfig, TransformConfig, voc2007

CLASSES = features.VOC_CLASSES
_BACKGROUND = 0.73
"""Share of the pixels of VOC 2007 that are no object's."""


def config(side_px: int = 256) -> PipelineConfig:
    """Returns what is served: `voc2007`, whose weights are not fetched, with the network's size given."""
    preset = voc2007()
    return PipelineConfig(
        preset="voc2007",
        transform=TransformConfig(height_px=side_px, width_px=side_px),
        # Frozen or not makes no difference to what is served; without a pretraining there is nothing to be frozen.
        model=dataclasses.replace(preset.model, encoder_weights="none", frozen_batch_norm=False),
    )


def export(folder: pathlib.Path, data: pathlib.Path) -> keras.Model:
    """Writes a SavedModel to a new folder, and returns its network.

    As many pixels are background as in VOC: a fresh network's masks have so many regions that they cost far more than usual.

    Args:
        folder: where to.
        data: holds VOCdevkit/VOC2007.
    """
    chosen = config()
    keras.utils.set_random_seed(0)
    model = registry.build(chosen.model, len(CLASSES), chosen.transform.height_px, chosen.transform.width_px)
    _calm(model, data)
    whole = registry.for_whole_pictures(fold_batch_norm(model), chosen.model)
    serving.save(whole, str(folder), chosen.transform, ServingConfig(), CLASSES, features.voc_palette()[: len(CLASSES)])
    return model


def _calm(model: keras.Model, data: pathlib.Path) -> None:
    """Raises the logit of the background until it wins `_BACKGROUND` of the pixels of some pictures."""
    pictures = [
        preprocessing.load_image(tf.io.read_file(pair.image), config().transform) for pair in voc.pairs(data, "train")[:8]
    ]
    logits = model.predict_on_batch(preprocessing.scale_image(tf.stack(pictures)))  # [8, H, W, C]
    lead = logits[..., 1:].max(-1) - logits[..., 0]
    head = model.get_layer("logits")
    head.bias.assign(head.bias + np.quantile(lead, _BACKGROUND) * (np.arange(len(CLASSES)) == 0))
