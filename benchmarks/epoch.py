"""An epoch of training: the Trainer's loop, fed from its store, beside bare Keras on arrays in memory.

The reference is `model.fit`, and, since the end of its epochs often waits for tf.data's autotuner (see components/untuned.py),
a loop of `train_on_batch`, too.
"""

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable

import keras
import numpy as np

from benchmarks import inputs
from benchmarks.harness import Limit, Row, Way, measure
from components import features, hosts, input_pipeline, profiling, trainer
from components.hosts import Hosts
from components.input_pipeline import InputConfig
from components.models import registry
from components.record_store import RecordStore, open_store
from components.trainer import TrainerConfig
from pipeline_config import AugmentConfig, ModelConfig, ServingConfig, TrainConfig, TransformConfig, voc2007

SIDE_PX = 128
PICTURES = 48
FILTERS = 32
BATCH = 8
OURS = "the Trainer's loop"
NETWORKS = ("unet", "unet_strided")
TRAIN = TrainConfig(batch_size=BATCH, epochs=1000)
TRANSFORM = TransformConfig(height_px=SIDE_PX, width_px=SIDE_PX)
MODEL = ModelConfig(filters=FILTERS, dropout=0.0)
MOST_WAITING_PERCENT = 3
INPUT = InputConfig(transform=TRANSFORM, augment=AugmentConfig(), batch_size=BATCH)
CLASSES = len(features.VOC_CLASSES)


def bare(name: str) -> keras.Model:
    """Returns the same network, compiled by Keras."""
    keras.utils.set_random_seed(0)
    model = registry.build(dataclasses.replace(MODEL, name=name), CLASSES, SIDE_PX, SIDE_PX)
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
        augment: how it is varied.
    """

    def __init__(self, name: str, store: RecordStore, augment: AugmentConfig = INPUT.augment) -> None:
        """Builds it."""
        config = TrainerConfig(
            transform=TRANSFORM,
            augment=augment,
            model=dataclasses.replace(MODEL, name=name),
            train=TRAIN,
            serving=ServingConfig(),
            class_names=features.VOC_CLASSES,
            palette=features.voc_palette()[:CLASSES],
        )
        keras.utils.set_random_seed(0)
        self._loop = trainer.make_loop(config, store, Hosts(strategy=hosts.local_strategy()))
        self._batches = input_pipeline.TrainingBatches(store, dataclasses.replace(INPUT, augment=augment), seed=0)
        self._epoch = 0

    def train(self) -> None:
        """Trains one epoch."""
        self._loop.train(self._batches.of_epoch(self._epoch), lambda step, loss: None)
        self._epoch += 1


def by_batch(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> None:
    """Trains one epoch without tf.data."""
    for start in range(0, len(images), BATCH):
        model.train_on_batch(images[start : start + BATCH], labels[start : start + BATCH])


def time_network(name: str, store: RecordStore, turns: int) -> list[Row | Limit]:
    """Times an epoch of a network."""
    images, labels = arrays(store)
    mine, fitted, stepped = Ours(name, store), bare(name), bare(name)
    runs: dict[str, Callable[[], object]] = {
        OURS: mine.train,
        "model.fit": lambda: fitted.fit(images, labels, BATCH, verbose=0),
        "train_on_batch": lambda: by_batch(stepped, images, labels),
    }
    found = measure([Way(way, run, len(store)) for way, run in runs.items()], turns)
    what = f"epoch of {len(store)}, {name}, {SIDE_PX} px, batches of {BATCH}"
    rows = [Row(what=what, unit="images", ours=found[OURS], reference=found[way], aim=0.97) for way in tuple(runs)[1:]]
    shares = tuple(100 * waiting_share(name, store) for _ in range(turns))
    varied = f"waiting for input, of the steps of {name}, with all variations"
    return [*rows, Limit(what=varied, unit="%", values=shares, most=MOST_WAITING_PERCENT)]


def waiting_share(name: str, store: RecordStore) -> float:
    """Returns the share of the steps of two epochs in which the network waits for pictures, 0..1.

    Raises:
        RuntimeError: no step was timed.
    """
    mine = Ours(name, store, dataclasses.replace(voc2007().augment, crop_height_px=0, crop_width_px=0))
    with tempfile.TemporaryDirectory() as folder, profiling.profiled(folder) as times:
        for _ in range(2):
            mine.train()
    if times.input_share is None:
        raise RuntimeError(f"{name}: no step was timed, since all were compiled")
    return times.input_share


def run(data: pathlib.Path, turns: int) -> list[Row | Limit]:
    """Times an epoch of each network."""
    pictures = inputs.transformed(data, TRANSFORM)[:PICTURES]
    with tempfile.TemporaryDirectory() as folder:
        with open_store([inputs.write_transformed(pictures, folder)], TRANSFORM, CLASSES) as store:
            return [row for name in NETWORKS for row in time_network(name, store, turns)]
