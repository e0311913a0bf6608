"""Trainer: composes data, model and loss, fits, and saves the best epoch."""

import contextlib
import dataclasses
import hashlib
import os
import tempfile
import time
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from components import (
    augment,
    base_model,
    dropout,
    features,
    hosts,
    input_pipeline,
    iou,
    losses,
    optimizer,
    panel,
    progress,
    records,
    serving,
    training_job,
    training_log,
)
from components.base_model import CONFIG_FILE, FRESH, WEIGHTS_FILE, Start
from components.errors import TrainingError
from components.hosts import Hosts
from components.input_pipeline import InputConfig
from components.models import registry
from components.models.folding import fold_batch_norm
from components.record_store import RecordStore, open_store
from components.training_loop import Measured, TrainingLoop
from components.training_state import StateFolder, TrainingState, decode, encode, remove_finished
from pipeline_config import AugmentConfig, ModelConfig, ServingConfig, TrainConfig, TransformConfig, from_json, to_json

REPORT_EVERY_S = 1.0
_PLACES = ("state_dir", "ai_platform_")
"""In `custom_config`: where a training keeps its state and, for Vertex AI, where it runs. They are no part of what it is."""
PICTURE_FILE = "panel.png"
"""In the ModelRun artifact: some validation pictures, their truth, and what the best epoch predicts."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainerConfig:
    """All that a training depends on, beside its records.

    Attributes:
        transform: the records' size.
        augment: how training pictures are varied.
        model: the architecture.
        train: the fit.
        serving: limits of the exported model.
        class_names: in the order of the ids.
        palette: colour of each class.
    """

    transform: TransformConfig
    augment: AugmentConfig
    model: ModelConfig
    train: TrainConfig
    serving: ServingConfig
    class_names: tuple[str, ...]
    palette: tuple[features.Color, ...]


def run_fn(fn_args: FnArgs) -> None:
    """TFX's entry point: trains and saves what `custom_config` says.

    It has the `TrainerConfig` as JSON under "trainer", and under "state_dir" a folder where an unfinished training is kept: the
    same training (data, code, configuration) goes on from its last epoch when it is run again. The state of one that ended
    stays until `remove_finished` is called, or until another training begins.

    Several hosts that `TF_CONFIG` names train together; all of them run this function, and the chief reads and writes for all.

    Raises:
        TrainingError: the loss became NaN or infinite, memory or the disk ran out, or the hosts cannot train together.
    """
    config = from_json(TrainerConfig, fn_args.custom_config["trainer"])
    training_job.check(fn_args.custom_config, config.model.name)
    team = hosts.join(os.environ.get("TF_CONFIG"))
    keras.utils.set_random_seed(config.train.seed)
    with hosts.advice_on_loss(team):
        team.check_same(_digest(_settings(fn_args)))  # Hosts that differ would wait for one another, each for something else.
        _train(config, fn_args, team)


def _train(config: TrainerConfig, fn_args: FnArgs, team: Hosts) -> None:
    num_classes = len(config.class_names)
    with (
        open_store(records.list_files(fn_args.train_files), config.transform, num_classes) as train,
        open_store(records.list_files(fn_args.eval_files), config.transform, num_classes) as validation,
        tempfile.TemporaryDirectory(prefix="vocseg-log-") as scratch_log,
    ):
        start = base_model.find_start(fn_args.base_model, config.model, config.class_names)
        states, name = fn_args.custom_config["state_dir"], identity(fn_args, train, validation, start, team.count)
        team.check_same(name)
        if team.is_chief:
            remove_finished(states, keep=name)
        folder = StateFolder(os.path.join(states, name))
        log_dir = fn_args.model_run_dir if team.is_chief else scratch_log
        with advice_on_exhaustion(config.train):
            state = Training(config, train, validation, folder, log_dir, start, team).run()
            if team.is_chief:
                pictures = next(iter(input_pipeline.make_validation_batches(validation, panel_config(config))))
                _export(config, best_model(config, state), pictures, fn_args)
                base_model.write_start(start, fn_args.model_run_dir)
                folder.finish()
        team.wait()  # TFX looks for the model on every host.


def _export(config: TrainerConfig, best: keras.Model, pictures: tuple[tf.Tensor, tf.Tensor], fn_args: FnArgs) -> None:
    """Writes the SavedModel, beside it what a warm start needs, and a picture of what the network does."""
    whole = registry.for_whole_pictures(fold_batch_norm(best), config.model)
    drawn = panel.draw_panel(whole, pictures, config.palette)
    panel.write_picture(drawn, os.path.join(fn_args.model_run_dir, PICTURE_FILE))
    artifact = os.path.dirname(fn_args.serving_model_dir)
    serving.save(whole, fn_args.serving_model_dir, config.transform, config.serving, config.class_names, config.palette)
    tf.io.gfile.makedirs(os.path.join(artifact, os.path.dirname(WEIGHTS_FILE)))
    best.save_weights(os.path.join(artifact, WEIGHTS_FILE))
    with tf.io.gfile.GFile(os.path.join(artifact, CONFIG_FILE), "w") as file:
        file.write(to_json(config))


def identity(fn_args: FnArgs, train: RecordStore, validation: RecordStore, start: Start = FRESH, host_count: int = 1) -> str:
    """Returns a digest of data, code, configuration, start and devices: what must be the same for a training to go on.

    Of the devices it has kinds and number, not which host has them: both change what a batch adds up to, in its last digits.
    """
    devices = [device.device_type for device in tf.config.list_logical_devices()] * host_count
    start_digest = [start.digest] if start.digest else []
    return _digest([_settings(fn_args), train.digest, validation.digest, devices, *start_digest])


def _settings(fn_args: FnArgs) -> list[tuple[str, str]]:
    return sorted((name, str(value)) for name, value in fn_args.custom_config.items() if not name.startswith(_PLACES))


def _digest(facts: list) -> str:
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:32]


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


@contextlib.contextmanager
def advice_on_exhaustion(config: TrainConfig) -> Iterator[None]:
    """Says in words what to do when a device's memory is exhausted, or a disk.

    Raises:
        TrainingError: it was.
    """
    try:
        yield
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        if any(text in str(error) for text in ("No space left on device", "Disk quota exceeded")):
            raise TrainingError(
                f"The disk is full: {error}. Make room and run the same command again: training goes on from its last epoch."
            ) from error
        halves = (
            f"Halve it, and add up the gradients of two: --set train.batch_size={config.batch_size // 2} "
            f"--set train.accumulate_steps={config.accumulate_steps * 2}; or train"
        )
        advice = halves if config.batch_size > 1 else "Train"
        raise TrainingError(
            f"Memory ran out at a batch of {config.batch_size}. {advice} on smaller crops: "
            "--set augment.crop_height_px=... --set augment.crop_width_px=..."
        ) from error


def input_config(config: TrainerConfig, team: Hosts) -> InputConfig:
    """Returns the form of the batches that all devices share, as this host sees it."""
    return InputConfig(
        transform=config.transform,
        augment=augment.for_classes(config.augment, config.class_names),
        batch_size=config.train.batch_size,
        devices=team.strategy.num_replicas_in_sync,
        hosts=team.count,
        host=team.index,
        margin_px=config.model.margin_px,
    )


def panel_config(config: TrainerConfig) -> InputConfig:
    """Returns the form of the few pictures that are drawn."""
    return InputConfig(transform=config.transform, augment=AugmentConfig(), batch_size=config.train.panel_images)


def best_model(config: TrainerConfig, state: TrainingState) -> keras.Model:
    """Returns the network with the weights of the best epoch, on float32."""
    model = base_model.build_bare(config.model, len(config.class_names))  # All weights are in the state.
    model.set_weights(state.best_weights)
    return model


def make_loop(config: TrainerConfig, store: RecordStore, team: Hosts, start: Start = FRESH) -> TrainingLoop:
    """Returns the network with loss and optimizer, on all devices of all hosts.

    Raises:
        TrainingError: there is not one update in the whole training.
    """
    train = config.train
    weights = losses.median_frequency_weights(store.pixels) if train.class_weights == "median_frequency" else None
    with mixed_precision(), team.strategy.scope():
        model = base_model.build(config.model, len(config.class_names), start)
        encoder = model.get_layer("encoder").trainable_variables if config.model.has_encoder else ()
        steps = input_pipeline.steps_per_epoch(len(store), input_config(config, team).filled_size)
        if steps * train.epochs < train.accumulate_steps:
            raise TrainingError(
                f"There are {steps * train.epochs} batches in all, and one update takes train.accumulate_steps="
                f"{train.accumulate_steps} of them: nothing would be learnt. Set fewer, or more epochs."
            )
        rule = optimizer.make_optimizer(train, steps, encoder)
        if keras.config.dtype_policy().name == "mixed_float16":
            rule = keras.optimizers.LossScaleOptimizer(rule)
        loss = losses.make_loss(train, None if weights is None else weights.tolist())
        return TrainingLoop(model, loss, rule, team.strategy, train.ema_momentum)


class Training:
    """A training that can be interrupted after any epoch.

    Args:
        config: of the training.
        train: records to learn from.
        validation: records to choose the epoch by.
        folder: where its state is kept.
        log_dir: where the table and TensorBoard's logs go.
        start: what the weights are before the first epoch.
        team: the hosts that train; None: this one alone. The chief reads and writes the state for all.
    """

    def __init__(
        self,
        config: TrainerConfig,
        train: RecordStore,
        validation: RecordStore,
        folder: StateFolder,
        log_dir: str,
        start: Start = FRESH,
        team: Hosts | None = None,
    ) -> None:
        """Builds the network, or brings it to where an interrupted training was."""
        self.config, self._train, self._validation, self._folder = config, train, validation, folder
        self._log_dir = log_dir
        self._team = team or Hosts(strategy=hosts.local_strategy())
        self.loop = make_loop(config, train, self._team, start)
        self._input = input_config(config, self._team)
        weights = input_pipeline.balanced_weights(train.pixels) if config.train.balance_classes else None
        self._batches = input_pipeline.TrainingBatches(train, self._input, config.train.seed, weights)
        self.state = self._load() or TrainingState(dropout=config.model.dropout)
        self._whole = registry.for_whole_pictures(self.loop.model, config.model)
        self._detail = ""
        self._reported = 0.0
        self._resumed_at = self.state.epoch
        if self._resumed_at:
            self.loop.restore(self.state.arrays)
            text = "done by an interrupted run; going on from there"
            progress.report(self._resumed_at, config.train.epochs, "epochs", text, at_once=True, before=self._resumed_at)
        elif str(start):
            progress.report(0, config.train.epochs, "epochs", str(start), at_once=True)

    def _load(self) -> TrainingState | None:
        """Returns the chief's newest state: another host may not see the folder, or see an older one there."""
        own = self._folder.load() if self._team.is_chief else None
        return decode(self._team.broadcast(encode(own))) if self._team.count > 1 else own

    def run(self) -> TrainingState:
        """Trains what epochs are left.

        Returns:
            The state at the end.

        Raises:
            TrainingError: the loss became NaN or infinite.
        """
        config, state = self.config.train, self.state
        board = training_log.TensorBoardLog(self._log_dir)
        if state.history:  # Of the epochs before an interruption.
            training_log.write_history(state.history, self._log_dir)
        for row in state.history:
            board.write(row)
        validated = input_pipeline.make_validation_batches(self._validation, self._input)
        pictures = next(iter(input_pipeline.make_validation_batches(self._validation, panel_config(self.config))))
        while state.epoch < config.epochs and not is_stalled(state, config):
            started = time.monotonic()
            trained = self._train_epoch()
            state.epoch += 1
            measured = None
            if state.epoch % config.validate_every == 0 or state.epoch == config.epochs:
                with self.loop.averaged():
                    measured = self._validate(validated)
                    board.draw(panel.draw_panel(self._whole, pictures, self.config.palette), state.epoch)
            row = self._log(time.monotonic() - started, trained, measured)
            board.write(row)
            training_log.write_history(state.history, self._log_dir)
            scores = [row["val_mean_iou"] for row in state.history if "val_mean_iou" in row]
            if config.dropout_rise:
                state.dropout = dropout.next_rate(state.dropout, scores, config.dropout_rise)
            state.arrays = self.loop.arrays()
            # The last step may have ruined them, and the state before is dropped.
            largest = np.max([np.abs(array).max(initial=0) for array in state.arrays])  # NaN if any is.
            self._check(float(largest), "largest weight", f"epoch {state.epoch}")
            if self._team.is_chief:
                self._folder.save(state)
        return state

    def _train_epoch(self) -> Measured:
        config, epoch = self.config.train, self.state.epoch
        if config.dropout_rise and dropout.set_rate(self.loop.model, self.state.dropout):
            self.loop.retrace()
        first_device = self._team.index * self.loop.devices // self._team.count
        dropout.reseed(self.loop.model, config.seed, epoch, self._team.strategy, first_device)
        steps = input_pipeline.steps_per_epoch(len(self._train), self._input.filled_size)

        def on_step(step: int, loss: float) -> None:
            self._check(loss, "loss", f"epoch {epoch + 1}, step {step + 1}")
            self._report(epoch * steps + step + 1, steps, f"epoch {epoch + 1}/{config.epochs}", self._detail)

        return self.loop.train(self._batches.of_epoch(epoch), on_step)

    def _report(self, done: int, steps: int, *details: str) -> None:
        """Counts the steps of all epochs, of which each has as many; says so once in a while."""
        if time.monotonic() - self._reported < REPORT_EVERY_S:
            return
        self._reported = time.monotonic()
        total, before = self.config.train.epochs * steps, self._resumed_at * steps
        progress.report(done, total, "steps", ", ".join(filter(None, details)), before=before)

    def _validate(self, batches: tf.data.Dataset) -> Measured:
        """Measures, and keeps the weights if they are the best so far."""
        state, epochs = self.state, self.config.train.epochs
        steps = input_pipeline.steps_per_epoch(len(self._train), self._input.filled_size)
        count = input_pipeline.steps_per_epoch(len(self._validation), self._input.batch_size)

        def on_step(step: int, loss: float) -> None:
            self._report(state.epoch * steps, steps, f"epoch {state.epoch}/{epochs}", f"validating {step + 1}/{count}")

        measured = self.loop.validate(batches, on_step)
        self._check(measured[0], "validation loss", f"epoch {state.epoch}")
        score = float(np.nan_to_num(iou.mean_iou(measured[1])))  # No number where all is void.
        if score > state.best_score:
            state.best_score, state.best_epoch, state.best_weights = score, state.epoch, self.loop.weights()
        return measured

    def _log(self, seconds: float, trained: Measured, measured: Measured | None) -> dict[str, float]:
        state = self.state
        rate = float(self.loop.optimizer.learning_rate)
        dropped = state.dropout if self.config.train.dropout_rise else None
        row = training_log.make_row(state.epoch, rate, dropped, seconds, trained, measured, self.config.class_names)
        state.history.append(row)
        self._detail = f"loss {trained[0]:.3f}"
        if state.best_epoch:
            self._detail += f", best validation mean IoU {state.best_score:.3f} (epoch {state.best_epoch})"
        progress.report(state.epoch, self.config.train.epochs, "epochs", self._detail, before=self._resumed_at)
        return row

    def _check(self, value: float, name: str, where: str) -> None:
        """Looks at a loss; that of the validation too: the last step may have ruined the weights."""
        if not np.isfinite(value):
            rate = self.config.train.learning_rate
            raise TrainingError(
                f"The {name} became {value} in {where}; no model is saved. "
                f"Lower the learning rate: --set train.learning_rate={rate / 10:g} (it was {rate:g})."
            )


def is_stalled(state: TrainingState, config: TrainConfig) -> bool:
    """Tells whether the last `patience` validations brought no better mean IoU than one before them."""
    since = sum("val_mean_iou" in row for row in state.history[state.best_epoch :])
    return 0 < config.patience <= since
