"""Trainer: composes data, model and loss, fits, and saves the best epoch."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from components import features, input_pipeline, losses, progress, records, serving
from components.errors import TrainingError
from components.iou_keras import MeanIoU
from components.models import registry
from pipeline_config import ModelConfig, ServingConfig, TrainConfig, TransformConfig, from_json, to_json

WEIGHTS_FILE = "Format-Keras/model.weights.h5"
CONFIG_FILE = "Format-Keras/config.json"
"""Beside the SavedModel in the Model artifact, since Keras 3 cannot reload a SavedModel: for warm starts."""
PICTURE_FILE = "panel.png"
"""In the ModelRun artifact: some validation pictures, their truth, and what the best epoch predicts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """All that a training depends on, beside its records.

    Attributes:
        transform: the records' size.
        model: the architecture.
        train: the fit.
        serving: limits of the exported model.
        class_names: in the order of the ids.
        palette: colour of each class.
    """

    transform: TransformConfig
    model: ModelConfig
    train: TrainConfig
    serving: ServingConfig
    class_names: tuple[str, ...]
    palette: tuple[features.Color, ...]


def run_fn(fn_args: FnArgs) -> None:
    """TFX's entry point: trains and saves what `custom_config["trainer"]` (a `TrainerConfig` as JSON) says.

    Raises:
        TrainingError: the loss became NaN or infinite.
    """
    config = from_json(TrainerConfig, fn_args.custom_config["trainer"])
    keras.utils.set_random_seed(config.train.seed)
    train_files = records.list_files(fn_args.train_files)
    eval_files = records.list_files(fn_args.eval_files)
    strategy = make_strategy()
    with mixed_precision(), strategy.scope():
        model = compile_model(config)
    weights = os.path.join(fn_args.model_run_dir, "best.weights.h5")
    fit(model, config, train_files, eval_files, fn_args.model_run_dir, weights)
    # All weights are in the file now: an encoder need not find its own again.
    bare = dataclasses.replace(config.model, encoder_weights="none", frozen_batch_norm=False)
    network = registry.build(bare, len(config.class_names))
    network.load_weights(weights)
    best = registry.for_whole_pictures(network, config.model)
    write_picture(
        draw_panel(best, panel_pairs(eval_files, config), config.palette), os.path.join(fn_args.model_run_dir, PICTURE_FILE)
    )
    artifact = os.path.dirname(fn_args.serving_model_dir)
    serving.save(best, fn_args.serving_model_dir, config.transform, config.serving, config.class_names, config.palette)
    tf.io.gfile.makedirs(os.path.join(artifact, os.path.dirname(WEIGHTS_FILE)))
    tf.io.gfile.rename(weights, os.path.join(artifact, WEIGHTS_FILE))
    with tf.io.gfile.GFile(os.path.join(artifact, CONFIG_FILE), "w") as file:
        file.write(to_json(config))


def make_strategy() -> tf.distribute.Strategy:
    """Returns one that uses all GPUs of this host, or the default one."""
    return tf.distribute.MirroredStrategy() if len(tf.config.list_physical_devices("GPU")) > 1 else tf.distribute.get_strategy()


@contextlib.contextmanager
def mixed_precision() -> Iterator[None]:
    """Builds layers in float16 with float32 weights where there is a GPU; on a CPU float16 is only slower."""
    before = keras.config.dtype_policy()
    if tf.config.list_physical_devices("GPU"):
        keras.config.set_dtype_policy("mixed_float16")
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def compile_model(config: TrainerConfig) -> keras.Model:
    """Returns the network with loss, optimizer and metric."""
    num_classes = len(config.class_names)
    model = registry.build(config.model, num_classes)
    optimizer = keras.optimizers.Adam(config.train.learning_rate)
    model.compile(optimizer, losses.CrossEntropy(), metrics=[MeanIoU(num_classes)])
    return model


def fit(
    model: keras.Model, config: TrainerConfig, train_files: list[str], eval_files: list[str], log_dir: str, weights: str
) -> None:
    """Fits the model and writes the weights of the epoch with the best validation mean IoU.

    Args:
        model: compiled.
        config: of the training.
        train_files: transformed records to learn from.
        eval_files: transformed records to choose the epoch by.
        log_dir: where TensorBoard's logs go.
        weights: where the weights go, `*.weights.h5`.

    Raises:
        TrainingError: the loss became NaN or infinite.
    """
    size, devices = config.train.batch_size, model.distribute_strategy.num_replicas_in_sync
    train = input_pipeline.make_dataset(train_files, config.transform, size, config.train.seed, devices=devices)
    validation = input_pipeline.make_dataset(eval_files, config.transform, size, devices=devices)
    callbacks = [
        StopOnBadLoss(config.train),
        keras.callbacks.ModelCheckpoint(
            weights, monitor="val_mean_iou", mode="max", save_best_only=True, save_weights_only=True
        ),
        keras.callbacks.TensorBoard(log_dir, write_graph=False),
        Panel(panel_pairs(eval_files, config), os.path.join(log_dir, "panel"), config),
        ReportProgress(config.train.epochs, int(train.cardinality())),
    ]
    model.fit(train, validation_data=validation, epochs=config.train.epochs, callbacks=callbacks, shuffle=False, verbose=0)


class StopOnBadLoss(keras.callbacks.Callback):
    """Ends the run with advice when the loss is no number any more; Keras' own callback ends it in silence."""

    def __init__(self, config: TrainConfig) -> None:
        """Keeps the settings that the advice names."""
        super().__init__()
        self._config = config
        self._epoch = 0

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remembers where we are."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Looks at the loss.

        Raises:
            TrainingError: it is NaN or infinite.
        """
        self._check((logs or {}).get("loss"), "loss", f"epoch {self._epoch + 1}, step {batch + 1}")

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Looks at the validation's loss: the last step may have ruined the weights.

        Raises:
            TrainingError: it is NaN or infinite.
        """
        self._check((logs or {}).get("loss"), "validation loss", f"epoch {self._epoch + 1}")

    def _check(self, loss: float | None, name: str, where: str) -> None:
        if loss is not None and not np.isfinite(loss):
            raise TrainingError(
                f"The {name} became {loss} in {where}; nothing is saved. "
                f"Lower the learning rate: --set train.learning_rate={self._config.learning_rate / 10:g} "
                f"(it was {self._config.learning_rate:g})."
            )


class ReportProgress(keras.callbacks.Callback):
    """Reports steps, and with each epoch the loss and the validation mean IoU."""

    def __init__(self, epochs: int, steps: int) -> None:
        """Takes the numbers of epochs and of steps an epoch."""
        super().__init__()
        self._epochs, self._steps = epochs, steps
        self._epoch, self._last, self._detail = 0, 0.0, ""

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Remembers where we are."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Reports once a second."""
        if time.monotonic() - self._last > 1:
            self._last = time.monotonic()
            where = f"epoch {self._epoch + 1}/{self._epochs}" + (f", {self._detail}" if self._detail else "")
            progress.report(self._epoch * self._steps + batch + 1, self._epochs * self._steps, "steps", where)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Reports the epoch."""
        logs = logs or {}
        self._detail = f"loss {logs['loss']:.3f}, validation mean IoU {logs['val_mean_iou']:.3f}"
        progress.report(epoch + 1, self._epochs, "epochs", self._detail)


def panel_pairs(files: list[str], config: TrainerConfig) -> tf.data.Dataset:
    """Returns the first `panel_images` records as one batch."""
    return input_pipeline.make_dataset(files, config.transform, config.train.panel_images).take(1)


def draw_panel(model: keras.Model, pairs: tf.data.Dataset, palette: Sequence[features.Color]) -> np.ndarray:
    """Draws a row an image: picture, truth, prediction.

    Args:
        model: from pictures to logits of their size.
        pairs: one batch of (image float32 [B, H, W, 3] in [0, 1], label int32 [B, H, W]).
        palette: colour of each class.

    Returns:
        uint8 [B, H, 3 W, 3].
    """
    images, labels = next(iter(pairs))
    prediction = np.argmax(model(images, training=False), axis=-1)
    picture = np.round(np.asarray(images) * 255).astype(np.uint8)
    colors = np.array(features.voc_palette(), np.uint8)  # The last is void's.
    colors[: len(palette)] = palette
    return np.concatenate([picture, colors[np.asarray(labels)], colors[prediction]], axis=2)


def write_picture(panel: np.ndarray, path: str) -> None:
    """Writes a panel, uint8 [B, H, W, 3], as one PNG with its rows below each other."""
    with tf.io.gfile.GFile(path, "wb") as file:
        file.write(tf.io.encode_png(np.concatenate(list(panel))).numpy())


class Panel(keras.callbacks.Callback):
    """Draws a panel to TensorBoard after each epoch."""

    def __init__(self, pairs: tf.data.Dataset, log_dir: str, config: TrainerConfig) -> None:
        """Takes one batch of validation pairs."""
        super().__init__()
        self._pairs = pairs
        self._config = config
        self._writer = tf.summary.create_file_writer(log_dir)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Predicts and draws."""
        model = registry.for_whole_pictures(self.model, self._config.model)
        panel = draw_panel(model, self._pairs, self._config.palette)
        with self._writer.as_default(step=epoch):
            tf.summary.image("image, truth, prediction", panel, max_outputs=len(panel))
            self._writer.flush()
