"""An epoch of training: the Trainer's loop, fed from its store, beside a bare `model.fit` on arrays in memory."""

import pathlib
import tempfile

import keras
import numpy as np

from benchmarks import inputs
from benchmarks.harness import Row, Way, measure
from components import features, hosts, input_pipeline, trainer
from components.hosts import Hosts
from components.input_pipeline import InputConfig
from components.models import registry
from components.record_store import RecordStore, open_store
from components.trainer import TrainerConfig
from pipeline_config import AugmentConfig, ModelConfig, ServingConfig, TrainConfig, TransformConfig

SIDE_PX = 128
PICTURES = 32
FILTERS = 32
BATCH = 8
NETWORKS = ("unet", "unet_strided")
TRAIN = TrainConfig(batch_size=BATCH, epochs=1000)
TRANSFORM = TransformConfig(height_px=SIDE_PX, width_px=SIDE_PX)
INPUT = InputConfig(transform=TRANSFORM, augment=AugmentConfig(), batch_size=BATCH)
CLASSES = len(features.VOC_CLASSES)


def bare(name: str) -> keras.Model:
    """Returns the same network, compiled by Keras."""
    keras.utils.set_random_seed(0)
    model = registry.build(ModelConfig(name=name, filters=FILTERS), CLASSES, SIDE_PX, SIDE_PX)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=features.IGNORE_LABEL)
    model.compile(keras.optimizers.Adam(TRAIN.learning_rate), loss, jit_compile=False)
    return model


def arrays(store: RecordStore) -> tuple[np.ndarray, np.ndarray]:
    """Returns all pictures, float32 [N, H, W, 3] in [0, 1], and labels, int32 [N, H, W]."""
    batches = [[part.numpy() for part in batch] for batch in input_pipeline.make_validation_batches(store, INPUT)]
    images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return images, labels


class Ours:
    """The Trainer's loop.

    Args:
        name: of the network.
        store: what it learns from.
    """

    def __init__(self, name: str, store: RecordStore) -> None:
        """Builds it."""
        config = TrainerConfig(
            transform=TRANSFORM,
            augment=AugmentConfig(),
            model=ModelConfig(name=name, filters=FILTERS),
            train=TRAIN,
            serving=ServingConfig(),
            class_names=features.VOC_CLASSES,
            palette=features.voc_palette()[:CLASSES],
        )
        keras.utils.set_random_seed(0)
        self._loop = trainer.make_loop(config, store, Hosts(strategy=hosts.local_strategy()))
        self._store, self._epoch = store, 0

    def train(self) -> None:
        """Trains one epoch."""
        batches = input_pipeline.make_training_batches(self._store, INPUT, seed=0, epoch=self._epoch)
        self._epoch += 1
        self._loop.train(batches, lambda step, loss: None)


def run(data: pathlib.Path, turns: int) -> list[Row]:
    """Times an epoch of each network."""
    rows = []
    pictures = inputs.transformed(data, TRANSFORM)[:PICTURES]
    with tempfile.TemporaryDirectory() as folder, open_store([inputs.write_transformed(pictures, folder)], CLASSES) as store:
        images, labels = arrays(store)
        for name in NETWORKS:
            mine, theirs = Ours(name, store), bare(name)
            ways = [
                Way("the Trainer's loop", mine.train, len(store)),
                Way("model.fit in memory", lambda theirs=theirs: theirs.fit(images, labels, BATCH, verbose=0), len(store)),
            ]
            found = measure(ways, turns)
            rows.append(
                Row(
                    what=f"epoch, {name}, {FILTERS} filters, {SIDE_PX} px",
                    unit="images",
                    ours=found["the Trainer's loop"],
                    reference=found["model.fit in memory"],
                    aim=0.97,
                )
            )
    return rows
