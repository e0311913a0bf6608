"""run_fn on records made by hand: what it writes, which epoch it keeps, and how it fails."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys
import textwrap
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.compat.proto import event_pb2
from fake_records import CLASS_NAMES, SIZE_PX, write_squares
from tfx.components.trainer.fn_args_utils import FnArgs

from components import features, input_pipeline, trainer, training_log
from components.errors import TrainingError
from components.models import registry
from components.models.encoders import efficientnet_lite0
from components.trainer import TrainerConfig
from pipeline_config import ModelConfig, ServingConfig, TrainConfig, TransformConfig, from_json, to_json

CONFIG = TrainerConfig(
    transform=TransformConfig(height_px=SIZE_PX, width_px=SIZE_PX),
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
    first = next(iter(tf.data.TFRecordDataset([records.validation], "GZIP")))
    image, label = input_pipeline.parse_record(first, CONFIG.transform)
    assert np.array_equal(panel[:SIZE_PX, :SIZE_PX], image)
    colors = {**dict(enumerate(CONFIG.palette)), 255: (224, 224, 192)}
    truth = panel[:SIZE_PX, SIZE_PX : 2 * SIZE_PX]
    for class_id, color in colors.items():
        assert np.array_equal((truth == color).all(-1), label.numpy() == class_id), class_id


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


def test_tensorboard_has_the_validation_score_of_each_epoch(trained: pathlib.Path) -> None:
    found = {
        (event.step, value.tag): tf.make_ndarray(value.tensor)
        for event in _events(trained / "run" / "validation")
        for value in event.summary.value
    }
    scores = [found[step, "epoch_mean_iou"] for step in range(2)]
    assert all(0 <= score <= 1 for score in scores)
    assert all(found[step, "epoch_loss"] > 0 for step in range(2))
    train = {value.tag for event in _events(trained / "run" / "train") for value in event.summary.value}
    assert {"epoch_loss", "epoch_mean_iou"} <= train


def test_tensorboard_has_a_panel_of_each_epoch(trained: pathlib.Path) -> None:
    steps = []
    for event in _events(trained / "run" / "panel"):
        for value in event.summary.value:
            assert value.tag == "image, truth, prediction"
            width, height, *pictures = tf.make_ndarray(value.tensor).tolist()
            assert (int(width), int(height)) == (3 * SIZE_PX, SIZE_PX)
            assert [tf.io.decode_png(picture).shape for picture in pictures] == [(SIZE_PX, 3 * SIZE_PX, 3)] * 3
            steps.append(event.step)
    assert steps == [0, 1]


def _fit(folder: pathlib.Path, records: Records, config: TrainerConfig) -> tuple[list[np.ndarray], keras.Model]:
    """Returns the weights that `fit` keeps, and the model as it is after the last epoch."""
    folder.mkdir(exist_ok=True)
    keras.utils.set_random_seed(config.train.seed)
    model = trainer.compile_model(config)
    weights = str(folder / "best.weights.h5")
    trainer.fit(model, config, [records.train], [records.validation], str(folder / "log"), weights)
    best = registry.build(config.model, len(config.class_names))
    best.load_weights(weights)
    return best.get_weights(), model


def _equal(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_epoch_with_the_best_score_is_kept_and_not_the_last(
    tmp_path: pathlib.Path, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = [0.2, 0.9, 0.1]
    after_each_epoch: list[list[np.ndarray]] = []
    original = keras.callbacks.ModelCheckpoint.on_epoch_end

    def with_other_score(self: keras.callbacks.ModelCheckpoint, epoch: int, logs: dict[str, Any]) -> None:
        assert "val_mean_iou" in logs
        after_each_epoch.append(self.model.get_weights())
        original(self, epoch, logs | {"val_mean_iou": scores[epoch]})

    monkeypatch.setattr(keras.callbacks.ModelCheckpoint, "on_epoch_end", with_other_score)
    kept, model = _fit(tmp_path, records, _with(epochs=3))
    assert _equal(kept, after_each_epoch[1])
    assert not _equal(kept, after_each_epoch[2])
    assert _equal(model.get_weights(), after_each_epoch[2])


def test_model_learns_the_colors(tmp_path: pathlib.Path, records: Records) -> None:
    model = ModelConfig(filters=8, depth=1, dropout=0.0)
    _fit(tmp_path, records, dataclasses.replace(_with(epochs=20, learning_rate=1e-2, seed=8), model=model))
    scores = [
        float(tf.make_ndarray(value.tensor))
        for event in _events(tmp_path / "log" / "validation")
        for value in event.summary.value
        if value.tag == "epoch_mean_iou"
    ]
    assert len(scores) == 20
    # Background everywhere scores its share, about 0.81, over three classes: 0.27. It got to 0.95 here.
    assert max(scores) > 0.5


def test_same_seed_gives_the_same_weights_and_another_seed_others(
    trained: pathlib.Path, tmp_path: pathlib.Path, records: Records
) -> None:
    saved = registry.build(CONFIG.model, len(CONFIG.class_names))
    saved.load_weights(trained / "model" / trainer.WEIGHTS_FILE)
    again, _ = _fit(tmp_path / "again", records, CONFIG)
    other, _ = _fit(tmp_path / "other", records, _with(seed=8))
    assert _equal(saved.get_weights(), again)
    assert not _equal(again, other)


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
    model = trainer.compile_model(CONFIG)
    model.get_layer("logits").bias.assign([float("nan")] * 3)
    weights = str(tmp_path / "best.weights.h5")
    with pytest.raises(TrainingError, match=r"loss became nan in epoch 1, step 1;"):
        trainer.fit(model, CONFIG, [records.train], [records.validation], str(tmp_path / "log"), weights)
    assert not os.path.exists(weights)


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
    assert trainer.make_strategy().num_replicas_in_sync == 1


def test_fit_works_as_keras_compiles_it_on_a_machine_with_one_gpu(
    tmp_path: pathlib.Path, records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where Keras sees a GPU and no strategy, it compiles the step with XLA, unless told otherwise. XLA also runs on a CPU.
    config = dataclasses.replace(_with(epochs=1), model=ModelConfig(filters=2, depth=1, dropout=0.1))
    real = tf.config.list_physical_devices
    with monkeypatch.context() as patch:
        patch.setattr(
            tf.config, "list_physical_devices", lambda kind=None: [*real(kind), tf.config.PhysicalDevice("GPU:0", "GPU")]
        )
        model = trainer.compile_model(config)
    weights = str(tmp_path / "best.weights.h5")
    trainer.fit(model, config, [records.train], [records.validation], str(tmp_path / "log"), weights)
    assert os.path.exists(weights)


TWO_DEVICES = """
    import json, sys
    import numpy as np
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import keras
    from components import iou, trainer
    from components.trainer import TrainerConfig
    from pipeline_config import from_json

    config = from_json(TrainerConfig, sys.argv[1])
    rng = np.random.default_rng(0)
    images = rng.random((8, 16, 16, 3)).astype(np.float32)
    labels = rng.integers(0, 3, (8, 16, 16)).astype(np.int32)
    labels[:, 0] = 255  # As many in each picture, so that each device counts as many pixels.
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).batch(4)

    def fit(strategy):
        keras.utils.set_random_seed(config.train.seed)
        with strategy.scope():
            model = trainer.compile_model(config)
            model.optimizer = keras.optimizers.SGD(0.1)  # Adam would hide a gradient of twice the size.
        history = model.fit(batches, epochs=2, validation_data=batches, verbose=0).history
        prediction = np.argmax(model(images, training=False), -1)
        score = iou.mean_iou(iou.confusion_matrix(labels, prediction, 3))
        return model, history, score

    one, one_history, one_score = fit(tf.distribute.get_strategy())
    two, two_history, two_score = fit(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]))
    difference = max(float(np.abs(a - b).max()) for a, b in zip(one.get_weights(), two.get_weights()))
    print("RESULT", json.dumps([one_history, two_history, one_score, two_score, difference]))

    # Through `fit`, with records that leave one picture for the last batch: neither device may get an empty share.
    folder, records = sys.argv[2], sys.argv[3:]
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        keras.utils.set_random_seed(config.train.seed)
        model = trainer.compile_model(config)
    trainer.fit(model, config, records[:1], records[1:], folder + "/log", folder + "/best.weights.h5")
"""


@pytest.fixture(scope="module")
def on_two_devices(
    tmp_path_factory: pytest.TempPathFactory, records: Records
) -> tuple[dict[str, list[float]], dict[str, list[float]], float, float, float]:
    """Histories on one and on two devices, mean IoU after the last epoch, and the largest difference of their weights."""
    config = dataclasses.replace(_with(batch_size=3, epochs=1), model=ModelConfig(filters=2, depth=1, dropout=0.0))
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
    assert (folder / "best.weights.h5").exists()
    return json.loads(result[0].removeprefix("RESULT "))


def test_metric_on_two_devices_is_that_of_all_their_pictures(
    on_two_devices: tuple[dict[str, list[float]], dict[str, list[float]], float, float, float],
) -> None:
    _, two_history, _, two_score, _ = on_two_devices
    assert two_history["val_mean_iou"][-1] == pytest.approx(two_score, abs=1e-6)


def test_training_on_two_devices_is_the_training_on_one(
    on_two_devices: tuple[dict[str, list[float]], dict[str, list[float]], float, float, float],
) -> None:
    one_history, two_history, one_score, two_score, difference = on_two_devices
    assert two_history["loss"] == pytest.approx(one_history["loss"], rel=1e-4)
    assert two_history["val_loss"] == pytest.approx(one_history["val_loss"], rel=1e-4)
    assert two_history["val_mean_iou"] == pytest.approx(one_history["val_mean_iou"], abs=0.01)
    assert two_score == pytest.approx(one_score, abs=0.01)
    assert difference < 1e-4


@pytest.mark.parametrize("name", ["unet_pretrained", "deeplabv3plus"])
def test_model_on_an_encoder_is_trained_saved_and_served(
    tmp_path: pathlib.Path, records: Records, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    config = dataclasses.replace(_with(epochs=1, learning_rate=1e-3), model=ModelConfig(name=name))
    loads = []
    original = efficientnet_lite0.load_pretrained
    monkeypatch.setattr(efficientnet_lite0, "load_pretrained", lambda model: loads.append(original(model)))
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
    picture = tf.io.encode_png(np.random.default_rng(0).integers(0, 256, (333, 500, 3), np.uint8))
    answer = loaded.signatures["serving_default"](images=picture[tf.newaxis])
    assert answer["error"].numpy().tolist() == [b""]
    assert tf.io.decode_png(answer["mask"][0]).shape == (333, 500, 1)
