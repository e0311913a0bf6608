"""run_fn on records made by hand: what it writes, which epoch it keeps, and how it fails."""

import contextlib
import csv
import dataclasses
import json
import pathlib
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from fake_records import CLASS_NAMES, SIZE_PX, make_record, parse_record, write_records, write_squares
from tensorboard.compat.proto import event_pb2
from tfx.components.trainer.fn_args_utils import FnArgs

from components import base_model, features, input_pipeline, progress, trainer, training_log, training_state
from components.errors import TrainingError
from components.hosts import Hosts
from components.models import registry
from components.models.encoders import efficientnet_lite
from components.record_store import RecordStore, open_store
from components.trainer import TrainerConfig, Training
from components.training_loop import TrainingLoop
from components.training_state import StateFolder, TrainingState
from pipeline_config import AugmentConfig, ModelConfig, ServingConfig, TrainConfig, TransformConfig, from_json, preset, to_json

CONFIG = TrainerConfig(
    transform=TransformConfig(height_px=SIZE_PX, width_px=SIZE_PX),
    augment=AugmentConfig(),
    model=ModelConfig(filters=4, depth=2, dropout=0.1),
    train=TrainConfig(epochs=2, batch_size=4, learning_rate=5e-3, seed=7, panel_images=3),
    serving=ServingConfig(micro_batch_size=2),
    class_names=CLASS_NAMES,
    palette=((0, 0, 0), (250, 0, 0), (0, 0, 250)),
)


@dataclasses.dataclass(frozen=True)
class Records:
    """Files of 10 records to train and 6 to validate: 3 steps an epoch."""

    train: str
    validation: str


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> Records:
    folder = tmp_path_factory.mktemp("records")
    return Records(write_squares(folder / "train.gz", 10, seed=1), write_squares(folder / "eval.gz", 6, seed=2))


def _fn_args(folder: pathlib.Path, records: Records, config: TrainerConfig = CONFIG) -> FnArgs:
    return FnArgs(
        train_files=[records.train],
        eval_files=[records.validation],
        serving_model_dir=str(folder / "model" / "Format-Serving"),
        model_run_dir=str(folder / "run"),
        custom_config={"trainer": to_json(config), "code_digest": "of no matter", "state_dir": str(folder / "unfinished")},
    )


def _with(**train: Any) -> TrainerConfig:
    return dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, **train))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, records: Records) -> pathlib.Path:
    """The folder of a whole training: `model` and `run` in it, as TFX's artifacts."""
    folder = tmp_path_factory.mktemp("trained")
    trainer.run_fn(_fn_args(folder, records))
    return folder


def test_config_survives_json() -> None:
    assert from_json(TrainerConfig, to_json(CONFIG)) == CONFIG


def test_training_leaves_the_model_its_weights_its_config_and_a_picture(trained: pathlib.Path) -> None:
    model = trained / "model"
    assert (model / "Format-Serving" / "saved_model.pb").is_file()
    assert sorted(path.name for path in (model / "Format-Keras").iterdir()) == ["config.json", "model.weights.h5"]
    assert from_json(TrainerConfig, (model / trainer.CONFIG_FILE).read_text()) == CONFIG
    metadata = json.loads((model / "Format-Serving" / features.METADATA_FILE).read_text())
    assert metadata["class_names"] == list(CONFIG.class_names)
    assert metadata["palette"] == [[0, 0, 0], [250, 0, 0], [0, 0, 250]]
    panel = tf.io.decode_png((trained / "run" / trainer.PICTURE_FILE).read_bytes())
    assert panel.shape == (3 * SIZE_PX, 3 * SIZE_PX, 3)  # Three pictures, and three columns.


def test_panel_shows_picture_and_truth_as_they_are(trained: pathlib.Path, records: Records) -> None:
    panel = tf.io.decode_png((trained / "run" / trainer.PICTURE_FILE).read_bytes()).numpy()
    first = next(tf.data.TFRecordDataset([records.validation], "GZIP").as_numpy_iterator())
    image, label = parse_record(first)
    assert np.array_equal(panel[:SIZE_PX, :SIZE_PX], image)
    colors = {**dict(enumerate(CONFIG.palette)), 255: (224, 224, 192)}
    truth = panel[:SIZE_PX, SIZE_PX : 2 * SIZE_PX]
    for class_id, color in colors.items():
        assert np.array_equal((truth == color).all(-1), label == class_id), class_id


def test_weights_reload_to_the_logits_of_the_saved_model(trained: pathlib.Path) -> None:
    config = from_json(TrainerConfig, (trained / "model" / trainer.CONFIG_FILE).read_text())
    model = registry.build(config.model, len(config.class_names))
    model.load_weights(trained / "model" / trainer.WEIGHTS_FILE)
    images = np.random.default_rng(0).random((2, SIZE_PX, SIZE_PX, 3), np.float32)
    loaded = tf.saved_model.load(str(trained / "model" / "Format-Serving"))
    served = loaded.signatures["logits"](images=tf.constant(images))["logits"]
    assert np.abs(served).max() > 1e-3  # Not equal by being zero.
    np.testing.assert_allclose(served, model(images, training=False), rtol=1e-5, atol=1e-6)


def _events(folder: pathlib.Path) -> list[event_pb2.Event]:
    files = [str(path) for path in sorted(folder.glob("events.out.tfevents.*"))]
    return [event_pb2.Event.FromString(record) for record in tf.data.TFRecordDataset(files).as_numpy_iterator()]


def _scalars(folder: pathlib.Path) -> dict[tuple[int, str], float]:
    return {
        (event.step, value.tag): float(tf.make_ndarray(value.tensor))
        for event in _events(folder)
        for value in event.summary.value
        if value.metadata.plugin_data.plugin_name == "scalars"
    }


def test_tensorboard_has_the_scores_of_each_epoch(trained: pathlib.Path) -> None:
    validation, train = _scalars(trained / "run" / "validation"), _scalars(trained / "run" / "train")
    for epoch in (1, 2):
        assert validation[epoch, "loss"] > 0 and train[epoch, "loss"] > 0
        assert 0 <= train[epoch, "mean_iou"] <= 1
        of_classes = [validation[epoch, f"iou/{name}"] for name in CLASS_NAMES]
        assert validation[epoch, "mean_iou"] == pytest.approx(np.mean(of_classes))  # All three are in the truth.
        assert train[epoch, "learning_rate"] == pytest.approx(5e-3)


def test_table_has_a_row_an_epoch(trained: pathlib.Path) -> None:
    with open(trained / "run" / training_log.HISTORY_FILE, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["epoch"] for row in rows] == ["1", "2"]
    assert {"loss", "mean_iou", "val_loss", "val_mean_iou", "val_iou/background", "learning_rate", "seconds"} <= set(rows[0])


def test_tensorboard_has_a_panel_of_each_epoch(trained: pathlib.Path) -> None:
    steps = []
    for event in _events(trained / "run" / "validation"):
        for value in event.summary.value:
            if value.tag == "image, truth, prediction":
                width, height, *pictures = tf.make_ndarray(value.tensor).tolist()
                assert (int(width), int(height)) == (3 * SIZE_PX, SIZE_PX)
                assert [tf.io.decode_png(picture).shape for picture in pictures] == [(SIZE_PX, 3 * SIZE_PX, 3)] * 3
                steps.append(event.step)
    assert steps == [1, 2]


def test_finished_training_leaves_its_state_until_it_is_published(
    tmp_path: pathlib.Path, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer.run_fn(_fn_args(tmp_path, records))
    arguments = _fn_args(tmp_path, records)
    arguments.serving_model_dir, arguments.model_run_dir = str(tmp_path / "again/Format-Serving"), str(tmp_path / "run-2")
    with monkeypatch.context() as patch:
        patch.setattr(TrainingLoop, "train", lambda *_: pytest.fail("It was trained again."))
        trainer.run_fn(arguments)
    first, again = ((tmp_path / folder / trainer.CONFIG_FILE).read_text() for folder in ("model", "again"))
    assert first == again
    first, again = ((tmp_path / folder / training_log.HISTORY_FILE).read_text() for folder in ("run", "run-2"))
    assert first == again and _scalars(tmp_path / "run/train") == _scalars(tmp_path / "run-2/train")
    training_state.remove_finished(str(tmp_path / "unfinished"))
    assert list((tmp_path / "unfinished").iterdir()) == []


def test_next_training_drops_the_state_of_a_finished_one_and_keeps_that_of_an_interrupted_one(
    tmp_path: pathlib.Path, records: Records
) -> None:
    states = tmp_path / "unfinished"
    for name in ("finished", "interrupted"):
        StateFolder(str(states / name)).save(TrainingState(epoch=1, arrays=[np.ones(1)]))
    StateFolder(str(states / "finished")).finish()
    trainer.run_fn(_fn_args(tmp_path, records, _with(epochs=1)))
    assert sorted(path.name for path in states.iterdir() if len(path.name) < 32) == ["interrupted"]


def _open(file: str, config: TrainerConfig = CONFIG) -> RecordStore:
    return open_store([file], config.transform, len(config.class_names))


@contextlib.contextmanager
def _training(folder: pathlib.Path, records: Records, config: TrainerConfig) -> Iterator[Training]:
    """Yields a training whose state is in the folder, as `run_fn` would go on with it."""
    keras.utils.set_random_seed(config.train.seed)
    with _open(records.train, config) as train, _open(records.validation, config) as validation:
        yield Training(config, train, validation, StateFolder(str(folder / "state")), str(folder / "log"))


def _fit(folder: pathlib.Path, records: Records, config: TrainerConfig) -> TrainingState:
    with _training(folder, records, config) as training:
        return training.run()


def _equal(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_epoch_with_the_best_score_is_kept_and_not_the_last(
    tmp_path: pathlib.Path, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.2, 0.9, 0.1])
    after_each_epoch: list[list[np.ndarray]] = []
    original = TrainingLoop.validate

    def with_other_score(self: TrainingLoop, *arguments: Any) -> tuple[float, np.ndarray]:
        loss, _ = original(self, *arguments)
        after_each_epoch.append(self.weights())
        right = round(next(scores) * 1000)
        return loss, np.diag([right] * 3) + np.roll(np.diag([1000 - right] * 3) // 2, 1, axis=1)

    monkeypatch.setattr(TrainingLoop, "validate", with_other_score)
    with _training(tmp_path, records, _with(epochs=3)) as training:
        state = training.run()
        assert state.best_epoch == 2
        assert _equal(state.best_weights, after_each_epoch[1])
        assert not _equal(state.best_weights, after_each_epoch[2])
        assert _equal(training.loop.weights(), after_each_epoch[2])


def test_training_ends_when_the_score_rises_no_more(
    tmp_path: pathlib.Path, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([3, 5, 4, 5, 9, 9])  # A tie is no rise.
    monkeypatch.setattr(TrainingLoop, "validate", lambda *_: (1.0, np.diag([next(scores), 1, 1]) + np.eye(3, k=1, dtype=int)))
    state = _fit(tmp_path, records, _with(epochs=6, patience=2))
    assert (state.epoch, state.best_epoch) == (4, 2)


def test_validation_comes_as_often_as_said_and_at_the_end(tmp_path: pathlib.Path, records: Records) -> None:
    state = _fit(tmp_path, records, _with(epochs=5, validate_every=2))
    assert [row["epoch"] for row in state.history if "val_mean_iou" in row] == [2, 4, 5]


def test_moving_average_is_what_is_validated_and_kept(tmp_path: pathlib.Path, records: Records) -> None:
    with _training(tmp_path, records, _with(epochs=1, ema_momentum=0.9)) as training:
        state = training.run()
        weights = training.loop.weights()
        with training.loop.averaged():
            averages = training.loop.weights()
    assert _equal(state.best_weights, averages)
    assert not _equal(weights, averages)


def test_batch_statistics_are_averaged_with_the_weights(tmp_path: pathlib.Path, records: Records) -> None:
    model = ModelConfig(filters=2, depth=1, dropout=0.0, normalization="batch")
    config = dataclasses.replace(_with(epochs=1, ema_momentum=0.15), model=model)
    seen: list[np.ndarray] = []
    with _training(tmp_path, records, config) as training:
        mean = next(weight for weight in training.loop.model.non_trainable_weights if "moving_mean" in weight.path)
        batches = input_pipeline.TrainingBatches(training._train, training._input, seed=0).of_epoch(0)
        training.loop.train(batches, lambda step, loss: seen.append(np.array(mean)))
        with training.loop.averaged():
            averaged = np.array(mean)
        assert np.array_equal(mean, seen[2])
    # Old shares of 0, then 1 / (1 + 9), then 2 / (2 + 9), of which the momentum leaves 0.15.
    expected = 0.85 * seen[2] + 0.15 * (0.9 * seen[1] + 0.1 * seen[0])
    np.testing.assert_allclose(averaged, expected, rtol=1e-5)
    assert np.abs(averaged - seen[2]).max() > 1e-4


def test_dropout_rises_while_the_score_does(tmp_path: pathlib.Path, records: Records, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = iter([1, 2, 2, 3])
    monkeypatch.setattr(TrainingLoop, "validate", lambda *_: (1.0, np.diag([next(scores), 1, 1]) + np.eye(3, k=1, dtype=int)))
    config = dataclasses.replace(_with(epochs=4, dropout_rise=0.1), model=ModelConfig(filters=4, depth=2, dropout=0.5))
    state = _fit(tmp_path, records, config)
    assert [row["dropout"] for row in state.history] == pytest.approx([0.5, 0.6, 0.7, 0.7])


def test_model_learns_the_colors(tmp_path: pathlib.Path, records: Records) -> None:
    model = ModelConfig(filters=8, depth=1, dropout=0.0)
    state = _fit(tmp_path, records, dataclasses.replace(_with(epochs=20, learning_rate=1e-2, seed=8), model=model))
    assert len(state.history) == 20
    # Background everywhere scores its share, about 0.81, over three classes: 0.27. It got to 0.95 here.
    assert state.best_score > 0.5


ALL_OF_IT = dict(
    optimizer="adamw",
    weight_decay=0.01,
    schedule="poly",
    warmup_epochs=1,
    ema_momentum=0.9,
    accumulate_steps=2,
    clip_norm=1.0,
    balance_classes=True,
    class_weights="median_frequency",
    loss="cross_entropy + 0.5*dice",
    dropout_rise=0.05,
)
"""Whatever has a state, or draws."""


def _everything(epochs: int) -> TrainerConfig:
    augment = AugmentConfig(flip=True, min_scale=0.7, max_scale=1.4, brightness=0.2, copy_paste=0.5)
    model = dataclasses.replace(CONFIG.model, normalization="batch")
    return dataclasses.replace(_with(epochs=epochs, **ALL_OF_IT), augment=augment, model=model)


@pytest.mark.parametrize("config", [_with(epochs=3), _everything(3)], ids=["plain", "everything"])
def test_same_seed_gives_the_same_weights_and_another_seed_others(
    tmp_path: pathlib.Path, records: Records, config: TrainerConfig
) -> None:
    one, again = (_fit(tmp_path / name, records, config) for name in ("one", "again"))
    other = _fit(tmp_path / "other", records, dataclasses.replace(config, train=dataclasses.replace(config.train, seed=8)))
    assert _equal(one.arrays, again.arrays) and _equal(one.best_weights, again.best_weights)
    assert not _equal(one.arrays, other.arrays)


class _Killed(BaseException):
    pass


def _recipe(epochs: int) -> TrainerConfig:
    """The recipe of voc2007, on small pictures: an encoder, batch statistics, averages."""
    recipe = preset("voc2007")
    augment = dataclasses.replace(recipe.augment, crop_height_px=SIZE_PX, crop_width_px=SIZE_PX)
    train = dataclasses.replace(recipe.train, epochs=epochs, batch_size=4, validate_every=2)
    return dataclasses.replace(CONFIG, augment=augment, model=recipe.model, train=train)


@pytest.mark.parametrize(
    ("config", "epoch"),
    [
        (_everything(3), 1),
        pytest.param(_everything(3), 2, marks=pytest.mark.soak),
        pytest.param(_recipe(3), 1, marks=pytest.mark.soak),
    ],
    ids=["everything-1", "everything-2", "recipe"],
)
def test_interrupted_training_ends_with_the_weights_of_an_unbroken_one(
    tmp_path: pathlib.Path, records: Records, monkeypatch: pytest.MonkeyPatch, config: TrainerConfig, epoch: int
) -> None:
    unbroken = _fit(tmp_path / "unbroken", records, config)
    trained: list[int] = []
    original = TrainingLoop.train

    def dying(self: TrainingLoop, batches: tf.data.Dataset, on_step: Callable[[int, float], None]) -> Any:
        def on_step_or_die(step: int, loss: float) -> None:
            on_step(step, loss)
            if len(trained) == epoch and step == 1:
                raise _Killed

        result = original(self, batches, on_step_or_die)
        trained.append(1)
        return result

    with monkeypatch.context() as patch, pytest.raises(_Killed):
        patch.setattr(TrainingLoop, "train", dying)
        _fit(tmp_path / "broken", records, config)
    assert len(trained) == epoch
    with _training(tmp_path / "broken", records, config) as training:
        assert training.state.epoch == epoch  # Nothing done is done again.
        resumed = training.run()
    assert _equal(unbroken.arrays, resumed.arrays)
    assert _equal(unbroken.best_weights, resumed.best_weights)
    timeless = [[{**row, "seconds": 0} for row in state.history] for state in (unbroken, resumed)]
    assert timeless[0] == timeless[1]
    tables = [(tmp_path / name / "log" / training_log.HISTORY_FILE).read_text().count("\n") for name in ("unbroken", "broken")]
    assert tables == [4, 4]


def test_another_configuration_or_other_data_do_not_go_on(tmp_path: pathlib.Path, records: Records) -> None:
    def identity(config: TrainerConfig, one: str, other: str) -> str:
        with _open(one) as train, _open(other) as validation:
            return trainer.identity(_fn_args(tmp_path, records, config), train, validation)

    first = identity(CONFIG, records.train, records.validation)
    assert identity(CONFIG, records.train, records.validation) == first
    assert identity(_with(epochs=3), records.train, records.validation) != first
    assert identity(CONFIG, records.validation, records.train) != first


def test_a_training_goes_on_elsewhere(tmp_path: pathlib.Path, records: Records) -> None:
    here, there, other = (_fn_args(tmp_path, records) for _ in range(3))
    there.custom_config |= {"state_dir": "/elsewhere", "ai_platform_training_args": {"project": "p"}}
    other.custom_config |= {"code_digest": "of other code"}
    with _open(records.train) as train, _open(records.validation) as validation:
        first, second, third = (trainer.identity(one, train, validation) for one in (here, there, other))
    assert first == second != third


def _written(folder: pathlib.Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file()]


def test_loss_that_explodes_ends_the_run_with_advice_and_no_model(tmp_path: pathlib.Path, records: Records) -> None:
    with pytest.raises(TrainingError, match=r"loss became (nan|inf).*train\.learning_rate=1e\+29 \(it was 1e\+30\)") as raised:
        trainer.run_fn(_fn_args(tmp_path, records, _with(learning_rate=1e30)))
    assert "epoch 1, step 2" in str(raised.value)  # The first step is taken from sound weights.
    assert _written(tmp_path / "model") == []


def test_loss_that_the_last_step_ruins_ends_the_run_too(tmp_path: pathlib.Path, records: Records) -> None:
    # One step only: its own loss is finite, what it leaves behind is not, and only the validation can tell.
    with pytest.raises(TrainingError, match=r"learning_rate"):
        trainer.run_fn(_fn_args(tmp_path, records, _with(learning_rate=1e30, batch_size=10, epochs=1)))
    assert _written(tmp_path / "model") == []


def test_poisoned_weights_end_the_run_at_the_first_step(tmp_path: pathlib.Path, records: Records) -> None:
    with (
        _training(tmp_path, records, CONFIG) as training,
        pytest.raises(TrainingError, match=r"loss became nan in epoch 1, step 1;"),
    ):
        training.loop.model.get_layer("logits").bias.assign([float("nan")] * 3)
        training.run()
    assert _written(tmp_path / "state") == []


@pytest.mark.parametrize("last", [float("nan"), float("inf")])
def test_weights_that_an_epoch_ruined_are_not_kept(
    tmp_path: pathlib.Path, records: Records, monkeypatch: pytest.MonkeyPatch, last: float
) -> None:
    # No validation in this epoch, and its losses were finite: only a look at the weights can tell.
    monkeypatch.setattr(TrainingLoop, "arrays", lambda self: [np.ones(2), np.array([1.0, last])])
    with pytest.raises(TrainingError, match=r"largest weight became (nan|inf) in epoch 1; no model is saved"):
        _fit(tmp_path, records, _with(epochs=4, validate_every=4))
    assert _written(tmp_path / "state") == []


def test_training_without_an_update_is_refused(tmp_path: pathlib.Path, records: Records) -> None:
    with pytest.raises(TrainingError, match=r"batches in all, and one update takes train.accumulate_steps=100 of them"):
        _fit(tmp_path, records, _with(epochs=1, accumulate_steps=100))


@pytest.mark.parametrize(("first", "share"), [("background", 0.5), ("road", 0.0)])
def test_training_pastes_only_on_background(first: str, share: float) -> None:
    config = dataclasses.replace(CONFIG, augment=AugmentConfig(copy_paste=0.5), class_names=(first, "red", "blue"))
    assert trainer.input_config(config, Hosts(strategy=tf.distribute.get_strategy())).augment.copy_paste == share


def test_exhausted_memory_ends_with_advice_in_words() -> None:
    with (
        pytest.raises(TrainingError, match=r"batch of 4\..*train\.batch_size=2 --set train\.accumulate_steps=2"),
        trainer.advice_on_exhaustion(CONFIG.train),
    ):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[4,1024,1024,64]")


def test_full_disk_is_told_from_exhausted_memory() -> None:
    # As tf.io.gfile says it; a write to /dev/full would show it, but a test has no business in /dev.
    error = tf.errors.ResourceExhaustedError(None, None, "/data/unfinished/1a/arrays.npz.partial; No space left on device")
    with (
        pytest.raises(TrainingError, match=r"^The disk is full: /data/unfinished/.*run the same command again"),
        trainer.advice_on_exhaustion(CONFIG.train),
    ):
        raise error


def test_validation_pictures_that_are_all_void_leave_the_first_epoch(tmp_path: pathlib.Path, records: Records) -> None:
    void = make_record(np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8), np.full((SIZE_PX, SIZE_PX), 255, np.uint8), "0.jpg")
    other = dataclasses.replace(records, validation=write_records(tmp_path / "void.gz", [void]))
    state = _fit(tmp_path, other, _with(epochs=2))
    assert (state.epoch, state.best_epoch, state.best_score) == (2, 1, 0)


def test_progress_counts_steps_says_when_it_validates_and_from_where_it_goes_on(
    tmp_path: pathlib.Path, records: Records, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trainer, "REPORT_EVERY_S", 0.0)
    with caplog.at_level("INFO", progress.LOGGER.name):
        _fit(tmp_path, records, _with(epochs=2))
    lines = [re.sub(r"loss .*", "...", record.getMessage()) for record in caplog.records]
    assert lines == [
        "1/6 steps, epoch 1/2",
        "2/6 steps, epoch 1/2",
        "3/6 steps, epoch 1/2",
        "3/6 steps, epoch 1/2, validating 1/2",
        "3/6 steps, epoch 1/2, validating 2/2",
        "1/2 epochs, ...",
        "4/6 steps, epoch 2/2, ...",
        "5/6 steps, epoch 2/2, ...",
        "6/6 steps, epoch 2/2, ...",
        "6/6 steps, epoch 2/2, validating 1/2",
        "6/6 steps, epoch 2/2, validating 2/2",
        "2/2 epochs, ...",
    ]
    assert "best validation mean IoU" in caplog.messages[-1]
    caplog.clear()
    with caplog.at_level("INFO", progress.LOGGER.name):
        _fit(tmp_path, records, _with(epochs=3))
    assert caplog.messages[0] == "2/3 epochs, done by an interrupted run; going on from there"
    assert caplog.messages[1].startswith("7/9 steps, epoch 3/3")
    assert [record.progress.before for record in caplog.records[:2]] == [2, 6]  # Those took this run no time.


@pytest.mark.parametrize("classes", [("object",), ("background", "object")])
def test_training_on_eight_pictures_of_one_class_works(tmp_path: pathlib.Path, classes: tuple[str, ...]) -> None:
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(8):
        label = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
        label[4:12] = len(classes) - 1
        pairs.append(make_record(rng.integers(0, 256, (SIZE_PX, SIZE_PX, 3), np.uint8), label, f"{number}.jpg"))
    few = Records(write_records(tmp_path / "train.gz", pairs), write_records(tmp_path / "eval.gz", pairs[:1]))
    config = dataclasses.replace(CONFIG, class_names=classes, palette=CONFIG.palette[: len(classes)])
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, batch_size=16, **ALL_OF_IT))
    trainer.run_fn(_fn_args(tmp_path, few, config))
    assert (tmp_path / "model" / "Format-Serving" / "saved_model.pb").is_file()


def test_missing_records_are_an_error_that_names_the_pattern(tmp_path: pathlib.Path, records: Records) -> None:
    arguments = _fn_args(tmp_path, records)
    arguments.train_files = [f"{tmp_path}/Split-train/*"]
    with pytest.raises(FileNotFoundError, match=r"Split-train/\*"):
        trainer.run_fn(arguments)


def test_layers_keep_float32_after_training_on_a_gpu_was_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keras.config.dtype_policy()
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [tf.config.PhysicalDevice("GPU:0", "GPU")])
    with trainer.mixed_precision():
        assert keras.config.dtype_policy().name == "mixed_float16"
        model = registry.build(CONFIG.model, 3)
    assert keras.config.dtype_policy() == before
    assert next(layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)).compute_dtype == "float16"
    with pytest.raises(KeyError), trainer.mixed_precision():
        raise KeyError
    assert keras.config.dtype_policy() == before


def test_without_a_gpu_layers_compute_in_float32() -> None:
    with trainer.mixed_precision():
        assert keras.config.dtype_policy().name == "float32"


def test_training_works_as_it_is_compiled_on_a_machine_with_one_gpu(
    tmp_path: pathlib.Path, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where there is one GPU, the step is compiled with XLA, and computed in float16. XLA also runs on a CPU.
    config = dataclasses.replace(_with(epochs=1), model=ModelConfig(filters=2, depth=1, dropout=0.1))
    real = tf.config.list_physical_devices
    with monkeypatch.context() as patch:
        patch.setattr(
            tf.config, "list_physical_devices", lambda kind=None: [*real(kind), tf.config.PhysicalDevice("GPU:0", "GPU")]
        )
        with _training(tmp_path, records, config) as training:
            state = training.run()
    assert state.epoch == 1 and state.best_epoch == 1


TWO_DEVICES = """
    import dataclasses, json, sys
    import numpy as np
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import keras
    from components import dropout, hosts, iou, trainer
    from components.hosts import Hosts
    from components.record_store import open_store
    from components.training_state import StateFolder
    from components.trainer import TrainerConfig
    from pipeline_config import from_json

    config = from_json(TrainerConfig, sys.argv[1])
    folder, records = sys.argv[2], sys.argv[3:]
    rng = np.random.default_rng(0)
    images = rng.random((8, 16, 16, 3)).astype(np.float32)
    labels = rng.integers(0, 3, (8, 16, 16)).astype(np.int32)
    labels[::4, 4:] = 255  # The first device counts fewer pixels than the second one.
    examples = tf.data.Dataset.from_tensor_slices((images, labels))
    one_device, two_devices = tf.distribute.get_strategy(), tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    train, validation = (open_store([file], config.transform, 3) for file in records)
    with train, validation:

        def fit(strategy):
            keras.utils.set_random_seed(config.train.seed)
            loop = trainer.make_loop(config, train, Hosts(strategy=strategy))
            batches = examples.batch(4 // loop.devices)
            measured = [loop.train(batches, lambda step, loss: None) for _ in range(2)]
            measured.append(loop.validate(batches, lambda step, loss: None))
            prediction = np.argmax(loop.model(images, training=False), -1)
            expected = iou.confusion_matrix(labels, prediction, 3)
            return loop, [loss for loss, _ in measured], iou.mean_iou(measured[-1][1]), iou.mean_iou(expected)

        one, *one_result = fit(one_device)
        two, *two_result = fit(two_devices)
        difference = max(float(np.abs(a - b).max()) for a, b in zip(one.weights(), two.weights()))
        # With records that leave one picture for the last batch: neither device may get an empty share. And with all that has
        # a state of its own.
        hosts.local_strategy = lambda: two_devices
        model = dataclasses.replace(config.model, normalization="batch")
        settings = dataclasses.replace(config.train, ema_momentum=0.9, accumulate_steps=2, clip_norm=1.0, weight_decay=0.01)
        config = dataclasses.replace(config, model=model, train=settings)
        keras.utils.set_random_seed(config.train.seed)
        state = trainer.Training(config, train, validation, StateFolder(folder + "/state"), folder + "/log").run()
        # And on from there.
        config = dataclasses.replace(config, train=dataclasses.replace(settings, epochs=2))
        again = trainer.Training(config, train, validation, StateFolder(folder + "/state"), folder + "/log").run()
        keras.utils.set_random_seed(config.train.seed)
        whole = trainer.Training(config, train, validation, StateFolder(folder + "/whole"), folder + "/log").run()
        apart = max(float(np.abs(a - b).max(initial=0)) for a, b in zip(again.arrays, whole.arrays))

        def masks(strategy):
            with strategy.scope():
                model = keras.Sequential([keras.Input((100,)), keras.layers.Dropout(0.5)])
            dropout.reseed(model, 0, 0, strategy)
            drop = tf.function(lambda: strategy.run(lambda: model(tf.ones((1, 100)), training=True)))
            return [mask.numpy().tolist() for mask in strategy.experimental_local_results(drop())]

        drawn = masks(one_device) + masks(two_devices)
    print("RESULT", json.dumps([one_result, two_result, difference, state.best_epoch, again.epoch, apart, drawn]))
"""


@pytest.fixture(scope="module")
def on_two_devices(tmp_path_factory: pytest.TempPathFactory, records: Records) -> tuple[Any, ...]:
    """On one and on two devices: losses, the measured mean IoU and that by NumPy; the largest difference of the weights."""
    settings = {"batch_size": 3, "epochs": 1, "optimizer": "sgd", "learning_rate": 0.1}  # Adam would hide a double gradient.
    config = dataclasses.replace(_with(**settings), model=ModelConfig(filters=2, depth=1, dropout=0.0))
    folder = tmp_path_factory.mktemp("two_devices")
    done = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-c", textwrap.dedent(TWO_DEVICES), to_json(config)),
            *(str(folder), str(records.train), str(records.validation)),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        cwd=pathlib.Path(trainer.__file__).parents[1],
    )
    result = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert done.returncode == 0 and result, done.stderr[-3000:]
    return json.loads(result[0].removeprefix("RESULT "))


def test_metric_on_two_devices_is_that_of_all_their_pictures(
    on_two_devices: tuple[Any, ...],
) -> None:
    _, (_, measured, expected), *_ = on_two_devices
    assert measured == pytest.approx(expected, abs=1e-9)


def test_training_on_two_devices_is_the_training_on_one(
    on_two_devices: tuple[Any, ...],
) -> None:
    (one_losses, one_score, _), (two_losses, two_score, _), difference, best_epoch, again, *_ = on_two_devices
    assert two_losses == pytest.approx(one_losses, rel=1e-4)
    assert two_score == pytest.approx(one_score, abs=0.01)
    assert difference < 1e-4
    assert (best_epoch, again) == (1, 2)


def test_training_on_two_devices_goes_on_as_if_it_had_not_been_interrupted(on_two_devices: tuple[Any, ...]) -> None:
    assert on_two_devices[-2] < 1e-6  # Batch statistics, too, of which each device has its own.


def test_devices_drop_apart_and_the_first_one_as_if_it_were_alone(on_two_devices: tuple[Any, ...]) -> None:
    alone, first, second = on_two_devices[-1]
    assert first == alone and second != alone


@pytest.mark.parametrize("name", ["unet_pretrained", "deeplabv3plus"])
def test_model_on_an_encoder_is_trained_saved_and_served(
    tmp_path: pathlib.Path, records: Records, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    config = dataclasses.replace(_with(epochs=1, learning_rate=1e-3), model=ModelConfig(name=name))
    loads = []
    original = efficientnet_lite.load_pretrained
    monkeypatch.setattr(efficientnet_lite, "load_pretrained", lambda model, name: loads.append(original(model, name)))
    trainer.run_fn(_fn_args(tmp_path, records, config))
    assert len(loads) == 1  # Not again for the best epoch's weights.

    bare = dataclasses.replace(config.model, encoder_weights="none", frozen_batch_norm=False)
    model = registry.build(bare, len(config.class_names))
    model.load_weights(tmp_path / "model" / trainer.WEIGHTS_FILE)
    before, after = (
        {v.path: v.numpy() for v in network.get_layer("encoder").variables}
        for network in (registry.build(config.model, len(config.class_names)), model)
    )
    for path, value in after.items():
        assert np.array_equal(value, before[path]) == ("moving" in path), path

    loaded = tf.saved_model.load(str(tmp_path / "model" / "Format-Serving"))
    images = np.random.default_rng(0).random((2, SIZE_PX, 2 * SIZE_PX, 3), np.float32)
    served = loaded.signatures["logits"](images=tf.constant(images))["logits"]
    np.testing.assert_allclose(served, model(images, training=False), rtol=1e-4, atol=1e-4)
    graph = loaded.signatures["logits"].graph.as_graph_def()
    operations = {node.op for function in graph.library.function for node in function.node_def}
    assert "Conv2D" in operations
    assert "Rsqrt" not in operations  # No batch normalisation is left.
    picture = tf.io.encode_png(np.random.default_rng(0).integers(0, 256, (333, 500, 3), np.uint8))
    answer = loaded.signatures["serving_default"](images=picture[tf.newaxis])
    assert answer["error"].numpy().tolist() == [b""]
    assert tf.io.decode_png(answer["mask"][0]).shape == (333, 500, 1)


# Warm start.


def test_warm_start_begins_with_the_weights_of_the_base_and_their_averages(
    trained: pathlib.Path, records: Records, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = _with(epochs=1, learning_rate=1e-12, ema_momentum=0.9)  # Stays where it begins.
    fn_args = _fn_args(tmp_path, records, config)
    fn_args.base_model = str(trained / "model" / "Format-Serving")
    with caplog.at_level("INFO", progress.LOGGER.name):
        trainer.run_fn(fn_args)
    assert f"0/1 epochs, starting with the weights of {trained / 'model'}" in caplog.text
    models = [registry.build(CONFIG.model, len(CLASS_NAMES)) for _ in range(2)]
    for folder, model in zip((trained, tmp_path), models, strict=True):
        model.load_weights(folder / "model" / trainer.WEIGHTS_FILE)
    for base, now in zip(*(model.trainable_variables for model in models), strict=True):
        np.testing.assert_allclose(now, base, atol=1e-6)
    assert json.loads((tmp_path / "run" / base_model.START_FILE).read_text())["base"] == str(trained / "model")


def test_base_of_other_classes_leaves_a_training_from_fresh_weights(
    trained: pathlib.Path, records: Records, tmp_path: pathlib.Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = dataclasses.replace(_with(epochs=1), class_names=tuple(reversed(CLASS_NAMES)))
    fn_args = _fn_args(tmp_path, records, config)
    fn_args.base_model = str(trained / "model" / "Format-Serving")
    with caplog.at_level("INFO", progress.LOGGER.name):
        trainer.run_fn(fn_args)
    assert "starting with fresh weights: the newest blessed model knows other classes" in caplog.text
    assert (tmp_path / "model" / trainer.WEIGHTS_FILE).is_file()
    assert "other classes" in json.loads((tmp_path / "run" / base_model.START_FILE).read_text())["refusal"]


def test_interrupted_training_goes_on_only_from_the_same_start(records: Records, tmp_path: pathlib.Path) -> None:
    fn_args = _fn_args(tmp_path, records)
    with _open(records.train) as train, _open(records.validation) as validation:
        starts = [base_model.FRESH, base_model.Start("/a", "1"), base_model.Start("/b", "1"), base_model.Start("/a", "2")]
        names = [trainer.identity(fn_args, train, validation, start) for start in starts]
    assert names[1] == names[2] and len(set(names)) == 3  # The weights count, and not where they lie.
