"""Warm start: a training that begins with the weights of an earlier model."""

import dataclasses
import hashlib
import json
import os
import tempfile

import keras
import numpy as np
import tensorflow as tf

from components.datasets.files import PASSING
from components.models import registry
from pipeline_config import ModelConfig

WEIGHTS_FILE = "Format-Keras/model.weights.h5"
CONFIG_FILE = "Format-Keras/config.json"
"""Beside the SavedModel in the Model artifact, since Keras 3 cannot reload a SavedModel: for warm starts."""
START_FILE = "start.json"
"""In the ModelRun artifact: the `Start` as JSON."""

_SHAPES = ("name", "head", "filters", "depth", "normalization", "upsampling", "encoder")
"""The fields of the model that its weights' shapes depend on."""


@dataclasses.dataclass(frozen=True)
class Start:
    """What a training begins with.

    Attributes:
        base: the Model artifact's folder; empty: fresh weights.
        digest: SHA-256 of its file of weights, in hex; empty: fresh weights.
        refusal: why the base that was given is not begun with; empty if it is, or if none was given.
        weights: the network's, as Keras' `get_weights` has them; empty: fresh ones.
    """

    base: str = ""
    digest: str = ""
    refusal: str = ""
    weights: tuple[np.ndarray, ...] = dataclasses.field(default=(), repr=False, compare=False)

    def __str__(self) -> str:
        """Returns it in words; empty where no base was given."""
        if self.refusal:
            return f"starting with fresh weights: {self.refusal}"
        return f"starting with the weights of {self.base}" if self.base else ""


FRESH = Start()
"""Weights as the architecture draws them, or as its encoder's pretraining left them."""


def find_start(base_model: str | None, model: ModelConfig, class_names: tuple[str, ...]) -> Start:
    """Loads the weights of a base model if they fit. What is missing, damaged or does not fit is no error: it is a refusal.

    Args:
        base_model: folder of its SavedModel, as TFX hands it over; None or empty: there is none.
        model: the architecture that is trained.
        class_names: in the order of the ids.

    Raises:
        OpError, OSError, MemoryError: the files cannot be read now. Fresh weights would hide what may pass, and stay for good.
    """
    if not base_model:
        return FRESH
    folder = os.path.dirname(base_model.rstrip("/"))
    try:
        config, content = (_read(os.path.join(folder, name)) for name in (CONFIG_FILE, WEIGHTS_FILE))
    except tf.errors.NotFoundError as error:
        return _cannot_load(folder, error)
    with tempfile.NamedTemporaryFile(suffix=".weights.h5") as file:  # HDF5 cannot read from a store.
        file.write(content)
        file.flush()
        try:
            if refusal := misfit(json.loads(config), model, class_names):
                return Start(refusal=refusal)
            network = build_bare(model, len(class_names))
            network.load_weights(file.name)
        except Exception as error:  # Keras and HDF5 have many for a damaged file.
            if isinstance(error, MemoryError | tf.errors.OpError) or getattr(error, "errno", None) in PASSING:
                raise
            return _cannot_load(folder, error)
    return Start(folder, hashlib.sha256(content).hexdigest(), weights=tuple(network.get_weights()))


def _cannot_load(folder: str, error: Exception) -> Start:
    return Start(refusal=f"those of {folder} cannot be loaded ({type(error).__name__})")


def misfit(base: dict, model: ModelConfig, class_names: tuple[str, ...]) -> str:
    """Returns why a base model's weights do not fit, in words; empty where they do.

    Args:
        base: its `TrainerConfig` as parsed JSON, perhaps of an older version with other fields.
        model: the architecture that is trained.
        class_names: in the order of the ids.
    """
    if base.get("class_names") != list(class_names):
        return "the newest blessed model knows other classes"
    before, now = base.get("model", {}), dataclasses.asdict(model)
    fields = [name for name in _SHAPES if name != "encoder" or model.has_encoder]
    changed = [f"model.{name} was {before.get(name)}, is {now[name]}" for name in fields if before.get(name) != now[name]]
    return f"the newest blessed model is another network ({'; '.join(changed)})" if changed else ""


def build(config: ModelConfig, num_classes: int, start: Start) -> keras.Model:
    """Builds the network with the weights of its start; what its encoder has learnt elsewhere is then not fetched.

    Args:
        config: of the architecture.
        num_classes: channels of the logits.
        start: from `find_start`.

    Raises:
        ModelError: the encoder's own weights are needed, and not installed.
    """
    if not start.weights:
        return registry.build(config, num_classes)
    model = build_bare(config, num_classes)
    model.set_weights(start.weights)
    if config.has_encoder:
        model.get_layer("encoder").frozen = config.frozen_batch_norm
    return model


def build_bare(config: ModelConfig, num_classes: int) -> keras.Model:
    """Builds the network for weights that come from elsewhere: its encoder need not find its own."""
    return registry.build(dataclasses.replace(config, encoder_weights="none", frozen_batch_norm=False), num_classes)


def write_start(start: Start, folder: str) -> None:
    """Writes what a training began with."""
    facts = {"base": start.base, "digest": start.digest, "refusal": start.refusal}
    tf.io.gfile.makedirs(folder)
    with tf.io.gfile.GFile(os.path.join(folder, START_FILE), "w") as file:
        json.dump(facts, file)


def read_start(folder: str) -> Start:
    """Reads what `write_start` wrote; a training from before there were warm starts began with fresh weights."""
    path = os.path.join(folder, START_FILE)
    return Start(**json.loads(_read(path))) if tf.io.gfile.exists(path) else FRESH


def _read(path: str) -> bytes:
    with tf.io.gfile.GFile(path, "rb") as file:
        return file.read()
