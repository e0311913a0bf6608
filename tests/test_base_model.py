"""Which weights a training begins with."""

import dataclasses
import errno
import hashlib
import json
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import base_model
from components.base_model import FRESH, Start, build, find_start, misfit
from components.models import registry
from pipeline_config import ModelConfig

CLASSES = ("ground", "leaf", "stone")
MODEL = ModelConfig(filters=4, depth=2)


def _write(folder: pathlib.Path, model: ModelConfig = MODEL, classes: tuple[str, ...] = CLASSES) -> str:
    """Writes what the Trainer leaves for a warm start, and returns what TFX hands over as base model."""
    (folder / "Format-Keras").mkdir(parents=True)
    network = registry.build(model, len(classes))
    network.save_weights(folder / base_model.WEIGHTS_FILE)
    facts = {"model": dataclasses.asdict(model), "class_names": classes, "of a later version": 1}
    (folder / base_model.CONFIG_FILE).write_text(json.dumps(facts))
    return str(folder / "Format-Serving")


def test_network_begins_with_the_weights_of_the_base(tmp_path: pathlib.Path) -> None:
    start = find_start(_write(tmp_path), MODEL, CLASSES)
    assert (start.base, start.refusal) == (str(tmp_path), "")
    assert start.digest == hashlib.sha256((tmp_path / base_model.WEIGHTS_FILE).read_bytes()).hexdigest()
    assert str(start) == f"starting with the weights of {tmp_path}"
    images = np.random.default_rng(0).random((1, 16, 16, 3), np.float32)
    wanted = registry.build(MODEL, 3)
    wanted.load_weights(tmp_path / base_model.WEIGHTS_FILE)
    other = dataclasses.replace(MODEL, dropout=0.0, activation="relu")
    assert np.array_equal(build(other, 3, start)(images), wanted(images))
    assert not np.array_equal(build(other, 3, FRESH)(images), wanted(images))


def test_without_a_base_nothing_is_said() -> None:
    assert find_start(None, MODEL, CLASSES) == find_start("", MODEL, CLASSES) == FRESH
    assert str(FRESH) == ""


@pytest.mark.parametrize(
    ("change", "classes", "words"),
    [
        ({"filters": 8}, CLASSES, "model.filters was 4, is 8"),
        ({"depth": 3}, CLASSES, "model.depth was 2, is 3"),
        ({"name": "unet_strided"}, CLASSES, "model.name was unet, is unet_strided"),
        ({"normalization": "batch"}, CLASSES, "model.normalization was none, is batch"),
        ({}, ("ground", "stone", "leaf"), "other classes"),
        ({}, ("ground", "leaf"), "other classes"),
    ],
)
def test_base_that_does_not_fit_leaves_fresh_weights_and_says_why(
    tmp_path: pathlib.Path, change: dict, classes: tuple[str, ...], words: str
) -> None:
    start = find_start(_write(tmp_path), dataclasses.replace(MODEL, **change), classes)
    assert (start.base, start.digest, start.weights) == ("", "", ())
    assert words in start.refusal and str(start).startswith("starting with fresh weights: ")


def test_settings_that_shape_no_weights_are_no_obstacle() -> None:
    base = {"model": dataclasses.asdict(MODEL), "class_names": list(CLASSES)}
    changed = dataclasses.replace(
        MODEL, dropout=0.1, activation="gelu", kernel_initializer="glorot_uniform", encoder="resnet50"
    )
    assert misfit(base, changed, CLASSES) == ""
    on_encoder = ModelConfig(name="deeplabv3plus")
    base["model"] = dataclasses.asdict(on_encoder)
    assert misfit(base, dataclasses.replace(on_encoder, encoder_weights="x.h5"), CLASSES) == ""
    assert "model.encoder was" in misfit(base, dataclasses.replace(on_encoder, encoder="mobilenet_v2"), CLASSES)


@pytest.mark.parametrize("name", [base_model.WEIGHTS_FILE, base_model.CONFIG_FILE])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_damaged_base_leaves_fresh_weights_and_says_so(tmp_path: pathlib.Path, name: str, damage: str) -> None:
    base, path = _write(tmp_path), tmp_path / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        path.unlink()
    start = find_start(base, MODEL, CLASSES)
    assert start.weights == () and f"those of {tmp_path} cannot be loaded" in str(start)


@pytest.mark.parametrize("where", ["read", "load"])
@pytest.mark.parametrize("error", [tf.errors.UnavailableError(None, None, "x"), OSError(errno.ESTALE, "x"), MemoryError()])
def test_base_that_cannot_be_read_now_is_no_reason_for_fresh_weights(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, where: str, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    if where == "read":
        monkeypatch.setattr(base_model, "_read", fail)
    else:
        monkeypatch.setattr(keras.Model, "load_weights", fail)
    with pytest.raises(type(error)):
        find_start(_write(tmp_path), MODEL, CLASSES)


def test_encoder_of_a_warm_start_fetches_no_weights_and_stays_frozen(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components.models.encoders import efficientnet_lite

    config = ModelConfig(name="unet_pretrained", encoder_weights="none", frozen_batch_norm=False)
    start = find_start(_write(tmp_path, config), dataclasses.replace(config, encoder_weights="imagenet"), CLASSES)

    def refuse(*_: object) -> None:
        raise AssertionError("weights are fetched")

    monkeypatch.setattr(efficientnet_lite, "load_pretrained", refuse)
    frozen = ModelConfig(name="unet_pretrained")
    model = build(frozen, 3, start)
    assert model.get_layer("encoder").frozen
    images = np.random.default_rng(0).random((2, 32, 32, 3), np.float32)
    moving = [weight for weight in model.get_layer("encoder").non_trainable_weights if "moving" in weight.path]
    before = [np.array(weight) for weight in moving]
    model(images, training=True)
    assert moving and all(np.array_equal(old, new) for old, new in zip(before, moving, strict=True))
    with pytest.raises(AssertionError, match="weights are fetched"):
        build(frozen, 3, FRESH)


def test_start_is_written_and_read(tmp_path: pathlib.Path) -> None:
    start = Start("/models/1", "abc")
    base_model.write_start(start, str(tmp_path / "run"))
    assert base_model.read_start(str(tmp_path / "run")) == start
    assert base_model.read_start(str(tmp_path)) == FRESH
