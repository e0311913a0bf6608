"""The recipe in PyTorch: the same network, the same input, the same steps. Most of it only where PyTorch is installed."""

import json
import pathlib
import subprocess
import sys
from typing import Any

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

import pipeline_config
from benchmarks import pytorch_recipe
from components import augment, features, losses, optimizer, pixels, preprocessing
from components.models import registry
from components.training_loop import TrainingLoop
from pipeline_config import AugmentConfig, ModelConfig, TrainConfig, TransformConfig

SETTINGS = {
    "model.name": "unet_pretrained",
    "model.dropout": "0",
    "train.optimizer": "adamw",
    "train.weight_decay": "0.01",
    "train.schedule": "poly",
    "train.warmup_epochs": "1",
    "train.encoder_rate_factor": "0.2",
    "train.ema_momentum": "0.9",
    "train.epochs": "2",
    "augment.flip": "true",
    "augment.min_scale": "0.5",
    "augment.max_scale": "2",
    "augment.brightness": "0.2",
}
FLAGS = [f"--set={name}={value}" for name, value in SETTINGS.items()]

READ = """transform.height_px transform.width_px augment.crop_height_px augment.crop_width_px augment.flip augment.min_scale
augment.max_scale augment.rotation_deg augment.brightness augment.contrast augment.saturation augment.hue augment.copy_paste
model.encoder model.dropout train.epochs
train.batch_size train.seed train.learning_rate train.encoder_rate_factor train.schedule train.poly_power train.warmup_epochs
train.weight_decay train.clip_norm train.ema_momentum train.validate_every""".split()
OF_NO_MEANING = """model.filters model.depth model.normalization model.upsampling model.activation
model.kernel_initializer train.momentum train.panel_images""".split()


@pytest.fixture(scope="module")
def torch() -> Any:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed: benchmarks/README.md says how")
    pytorch_recipe.import_libraries()
    return torch


def _run(*arguments: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-X", "importtime", pytorch_recipe.__file__, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


# The command line.


def test_help_comes_without_heavy_imports(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = _run("--help")
    assert done.returncode == 0
    assert "--data" in done.stdout
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in done.stderr.splitlines()}
    assert "pipeline_config" in imported
    assert not imported & {"torch", "numpy", "PIL", "tensorflow", "keras"}


def test_missing_torch_is_said(mini_voc: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(SystemExit, match=r"torch.*benchmarks/README.md says how to install it"):
        pytorch_recipe.main([f"--data={mini_voc}", *FLAGS])


def test_missing_folder_is_said(tmp_path: pathlib.Path) -> None:
    with pytest.raises(SystemExit, match=r"--data .*/nowhere: there is no such folder"):
        pytorch_recipe.main([f"--data={tmp_path}/nowhere", *FLAGS])
    with pytest.raises(SystemExit, match=r"there is no folder VOCdevkit/VOC2007 below it"):
        pytorch_recipe.main([f"--data={tmp_path}", *FLAGS])


def test_two_sets_below_a_folder_are_said(tmp_path: pathlib.Path) -> None:
    for name in ("one", "two/deep"):
        (tmp_path / name / "VOCdevkit/VOC2007").mkdir(parents=True)
    assert pytorch_recipe.find_voc(tmp_path / "two") == tmp_path / "two/deep/VOCdevkit/VOC2007"
    with pytest.raises(SystemExit, match=r"there are 2: .*/one/.*, .*/two/deep/.*\. Name the folder around one of them"):
        pytorch_recipe.find_voc(tmp_path)


def test_mistaken_settings_are_said() -> None:
    for flag, message in (
        ("--set=train.epochs", r"--set takes FIELD=VALUE; got 'train.epochs'"),
        ("--set=train.epoch=1", r"There is no field 'train.epoch'.* Did you mean train.epochs"),
        ("--preset=voc", r"There is no preset 'voc'"),
        ("--set=model.encoder=resnet50", r"model.encoder is resnet50 .* only efficientnet_lite0, .*lite1, .*lite2 here"),
        ("--set=train.loss=dice", r"train.loss is dice in this recipe, and there is only cross_entropy here"),
    ):
        with pytest.raises(SystemExit, match=message):
            pytorch_recipe.main(["--data=/nowhere", *FLAGS, flag])


def test_every_setting_is_read_or_fixed_or_of_no_meaning() -> None:
    stages = ("transform.", "augment.", "model.", "train.")
    known = {name for name in pipeline_config.fields(pipeline_config.voc2007()) if name.startswith(stages)}
    assert known == {*READ, *OF_NO_MEANING, *pytorch_recipe.ONLY}
    source = pathlib.Path(pytorch_recipe.__file__).read_text()
    assert [name for name in READ if f".{name.partition('.')[2]}" not in source] == []


# Numbers.


@pytest.mark.parametrize("schedule", ["constant", "poly", "cosine"])
def test_rates_are_those_of_the_optimizer(schedule: str) -> None:
    train = TrainConfig(schedule=schedule, epochs=4, warmup_epochs=1, learning_rate=0.1)
    for step in range(4 * 5):
        expected = float(optimizer.learning_rate_at(step, train, 5))
        assert pytorch_recipe.rate_at(step, train, 5) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("encoder", pytorch_recipe.ENCODERS)
def test_network_is_that_of_keras(torch: Any, encoder: str) -> None:
    model = registry.build(ModelConfig(name="unet_pretrained", encoder=encoder), 21)
    network = pytorch_recipe.build_network(encoder, dropout=0.5)
    pytorch_recipe.load_pretrained(network, encoder)
    statistics = [value for name, value in network.named_buffers() if name.split(".")[-1] in ("running_mean", "running_var")]
    assert sum(value.numel() for value in [*network.parameters(), *statistics]) == model.count_params()

    _copy_decoder(model, network["decoder"], torch)
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3), np.uint8)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    scaled = preprocessing.scale_image(images)
    with torch.no_grad():
        found = [*pytorch_recipe.encode(network["encoder"], pixels), pytorch_recipe.predict(network, pixels)]
    for output, expected in zip(found, [*model.get_layer("encoder")(scaled), model(scaled)], strict=True):
        np.testing.assert_allclose(output.permute(0, 2, 3, 1), expected, atol=1e-3)


def _copy_decoder(model: keras.Model, decoder: Any, torch: Any) -> None:
    """Copies the kernels, which their shape and dilation tell apart; the rest is ones and zeros in both."""
    kernels = {
        (tuple(layer.weight.shape), layer.dilation): layer.weight
        for layer in decoder.modules()
        if isinstance(layer, torch.nn.Conv2d)
    }
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D):
            kernel = np.array(layer.kernel).transpose(3, 2, 0, 1)
            kernels.pop((kernel.shape, layer.dilation_rate)).data = torch.from_numpy(kernel.copy())
    assert not kernels


def test_updates_are_those_of_the_pipeline(torch: Any) -> None:
    """The loss, the frozen statistics, the clipping, rates and decay of both parts, and the averages."""
    config = pipeline_config.override(pipeline_config.voc2007(), SETTINGS | {"train.epochs": "4", "train.clip_norm": "1"})
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (2, 192, 192, 3), np.uint8)
    labels = np.kron(rng.choice([0, 1, 2, 255], (2, 6, 6)), np.ones((32, 32), int))

    keras.utils.set_random_seed(0)
    model = registry.build(config.model, 21)
    pixels, ids = torch.from_numpy(images).permute(0, 3, 1, 2).float(), torch.from_numpy(labels)
    training = pytorch_recipe.Training(config, (pixels, ids))
    for network in (training._network, training.average):
        _copy_decoder(model, network["decoder"], torch)
    rule = optimizer.make_optimizer(config.train, 1, model.get_layer("encoder").trainable_variables)
    loop = TrainingLoop(model, losses.make_loss(config.train), rule, tf.distribute.get_strategy(), config.train.ema_momentum)

    expected: list[float] = []
    batches = tf.data.Dataset.from_tensors((preprocessing.scale_image(images), labels)).repeat(4)
    loop.train(batches, lambda step, loss: expected.append(loss))
    found = [training._update(pixels, ids, step) for step in range(4)]
    assert found == pytest.approx(expected, rel=1e-2)
    assert found[-1] < 0.9 * found[0]
    with loop.averaged():
        logits = model(preprocessing.scale_image(images)).numpy()
    with torch.no_grad():
        difference = pytorch_recipe.predict(training.average, pixels).permute(0, 2, 3, 1).numpy() - logits
    # PyTorch keeps the variance of n - 1 of n numbers, and Adam's first updates magnify rounding: by the seed, 3 to 6 %.
    assert np.abs(difference).mean() < 0.05 * np.abs(logits).mean(), np.abs(difference).mean() / np.abs(logits).mean()


def test_pictures_are_those_of_the_pipeline(torch: Any, mini_voc: pathlib.Path) -> None:
    config, voc = TransformConfig(height_px=64, width_px=96), mini_voc / "VOCdevkit/VOC2007"
    keys = pytorch_recipe.list_keys(voc, "train", 4)
    images, labels = pytorch_recipe.read_split(voc, keys, config)
    for key, image, label in zip(keys, images, labels, strict=True):
        with PIL.Image.open(voc / f"JPEGImages/{key}.jpg") as file:  # The two decoders of JPEG differ by a level or so.
            expected = preprocessing.resize_image(tf.constant(np.array(file)), config)
        np.testing.assert_allclose(image.permute(1, 2, 0).numpy().astype(int), expected, atol=1)
        with PIL.Image.open(voc / f"SegmentationClass/{key}.png") as mask:
            np.testing.assert_array_equal(label, preprocessing.resize_label(tf.constant(np.array(mask)), config))


class _Drawn:
    """A generator whose numbers are known before."""

    def __init__(self, *draws: float) -> None:
        self._draws = iter(draws)

    def random(self, shape: Any) -> np.ndarray:
        values = np.empty(shape)
        values.reshape(-1)[:] = [next(self._draws) for _ in range(values.size)]
        return values

    def uniform(self, low: float, high: float, shape: Any) -> np.ndarray:
        return low + (high - low) * self.random(shape)


@pytest.mark.parametrize("scale", [0.1, 0.9], ids=["shrunk", "enlarged"])
def test_augmentation_is_that_of_the_pipeline(torch: Any, monkeypatch: pytest.MonkeyPatch, scale: float) -> None:
    config = AugmentConfig(
        crop_height_px=40,
        crop_width_px=56,
        flip=True,
        min_scale=0.5,
        max_scale=2.0,
        rotation_deg=20.0,
        brightness=0.1,
        contrast=0.3,
        saturation=0.4,
        hue=0.1,
    )
    drawn = {"scale": scale, "angle": 0.7, "flip": 0.3, "left": 0.2, "top": 0.6}
    drawn |= {"brightness": 0.8, "contrast": 0.1, "saturation": 0.9, "hue": 0.6}
    monkeypatch.setattr(augment, "_draw", lambda seed: {name: tf.constant(draw) for name, draw in drawn.items()})
    rng = np.random.default_rng(0)
    image = np.kron(rng.integers(0, 256, (6, 8, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    label = np.kron(rng.integers(0, 21, (6, 8)), np.ones((8, 8))).astype(np.uint8)
    expected_image, expected_label = pixels.split(augment.augment(pixels.join(image, label), config, tf.constant([0, 0])))
    images, labels = pytorch_recipe.augment(
        torch.from_numpy(image).permute(2, 0, 1)[None], torch.from_numpy(label)[None], config, _Drawn(*drawn.values())
    )
    differing = np.abs(images[0].permute(1, 2, 0).numpy() - expected_image.numpy().astype(np.float32)).max(-1) > 1
    assert np.mean(differing) < 0.005  # Where a place is between two pixels by a rounding error.
    assert np.mean(labels[0].numpy() != expected_label.numpy()) < 0.005
    assert (features.IGNORE_LABEL in labels) == (scale < 0.5)


def test_pasting_is_that_of_the_pipeline(torch: Any) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 40, 56, 3), np.uint8)
    labels = np.kron(rng.choice([0, 0, 3, 5, 255], (4, 5, 7)), np.ones((8, 8))).astype(np.uint8)
    pixels, ids = torch.from_numpy(images).permute(0, 3, 1, 2), torch.from_numpy(labels)
    chosen = torch.tensor([True, False])
    found_images, found_labels = pytorch_recipe.copy_paste(pixels[:2], ids[:2], pixels[2:], ids[2:], chosen)
    seed = tf.constant([0, 0])
    own, other = (pixels.join(images[number], labels[number]) for number in (0, 2))
    expected = pixels.split(augment.copy_paste(own, lambda: other, AugmentConfig(copy_paste=1.0), seed))
    np.testing.assert_array_equal(found_images[0].permute(1, 2, 0), expected[0])
    np.testing.assert_array_equal(found_labels[0], expected[1])
    assert 0 < np.mean(found_labels[0].numpy() != labels[0]) < 1
    np.testing.assert_array_equal(found_images[1].permute(1, 2, 0), images[1])
    np.testing.assert_array_equal(found_labels[1], labels[1])


# A run.


def test_run_ends_with_its_numbers(torch: Any, mini_voc: pathlib.Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--set=transform.height_px=64", "--set=transform.width_px=64"]
    pytorch_recipe.main([f"--data={mini_voc}", *FLAGS, *size, "--limit=10"])
    *progress, last = capsys.readouterr().out.splitlines()
    assert [line.partition(" epochs")[0] for line in progress] == ["1/2", "2/2"]
    numbers = json.loads(last)
    assert 0 <= numbers["mean_iou"] <= 1
    assert 0 <= numbers["validation_mean_iou"] <= 1
    assert numbers["best_epoch"] in (1, 2)
    assert 0 < numbers["seconds_per_step"] * 2 * 2 < numbers["seconds"]
