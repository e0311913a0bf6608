"""Batch normalisation folded into convolutions: the same results, fewer layers."""

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from components.models import registry
from components.models.folding import fold_batch_norm
from pipeline_config import MODELS, ModelConfig

TOLERANCE = 1e-5
"""Of the largest result: what float32 rounds otherwise when it multiplies in another order."""


def _normalisations(model: keras.Model) -> list[layers.Layer]:
    return [layer for layer in model._flatten_layers() if isinstance(layer, layers.BatchNormalization)]


def _shake(model: keras.Model) -> None:
    """Gives each normalisation statistics, factors and offsets of its own: fresh ones are nearly the identity.

    They are near it, too: a hundred layers with others would make a rounding error of the pictures a percent of the results.
    """
    rng = np.random.default_rng(0)
    for layer in _normalisations(model):
        for variable in layer.weights:
            positive = variable.path.endswith(("gamma", "moving_variance"))
            variable.assign(rng.uniform(0.8, 1.2, variable.shape) if positive else rng.normal(0, 0.1, variable.shape))


def _pictures(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).random(shape, np.float32)


def _folds_to(model: keras.Model, left: int, pictures: np.ndarray) -> None:
    """Checks that a model gives the same when so many normalisations are left, and is not changed itself."""
    _shake(model)
    weights = model.get_weights()
    expected = np.asarray(model(pictures, training=False))
    folded = fold_batch_norm(model)
    assert len(_normalisations(folded)) == left
    difference = np.abs(np.asarray(folded(pictures, training=False)) - expected).max()
    assert difference <= TOLERANCE * np.abs(expected).max()
    for before, after in zip(weights, model.get_weights(), strict=True):
        np.testing.assert_array_equal(after, before)


def test_by_hand() -> None:
    inputs = keras.Input((1, 1, 1))
    convolution, normalisation = layers.Conv2D(2, 1), layers.BatchNormalization(epsilon=0)
    model = keras.Model(inputs, normalisation(convolution(inputs)))
    convolution.set_weights([np.array([[[[3.0, 5.0]]]]), np.array([1.0, 0.0])])
    normalisation.set_weights([np.array(values) for values in ([2.0, 1.0], [7.0, 0.0], [4.0, -1.0], [4.0, 0.25])])
    (folded,) = (layer for layer in fold_batch_norm(model).layers if isinstance(layer, layers.Conv2D))
    kernel, bias = folded.get_weights()
    np.testing.assert_array_equal(kernel.reshape(-1), [3, 10])  # 3 * 2 / sqrt(4), 5 * 1 / sqrt(0.25)
    np.testing.assert_array_equal(bias, [4, 2])  # (1 - 4) * 1 + 7, (0 + 1) * 2


@pytest.mark.parametrize("name", MODELS)
def test_every_architecture(name: str) -> None:
    config = ModelConfig(name=name, filters=4, encoder_weights="none", normalization="batch", frozen_batch_norm=False)
    margin = 2 * config.margin_px
    side = config.nearest_size(64)
    _folds_to(registry.build(config, 3), 0, _pictures(2, side + margin, side + margin, 3))


def test_a_head_of_one_channel() -> None:
    config = ModelConfig(name="deeplabv3plus", head="sigmoid", encoder_weights="none", frozen_batch_norm=False)
    _folds_to(registry.build(config, 2), 0, _pictures(1, 64, 64, 3))


@pytest.mark.parametrize("encoder", ["efficientnet_v2_b0", "resnet50"])
def test_encoders(encoder: str) -> None:
    config = ModelConfig(name="unet_pretrained", encoder=encoder, encoder_weights="none", frozen_batch_norm=False)
    _folds_to(registry.build(config, 3), 0, _pictures(1, 64, 96, 3))


def test_depthwise_with_several_results_a_channel() -> None:
    inputs = keras.Input((None, None, 3))
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same", use_bias=True, bias_initializer="random_normal")(inputs)
    _folds_to(keras.Model(inputs, layers.BatchNormalization(scale=False)(x)), 0, _pictures(2, 8, 9, 3))


def test_groups_and_dilation() -> None:
    inputs = keras.Input((None, None, 4))
    x = layers.Conv2D(6, 3, groups=2, dilation_rate=2, padding="same", use_bias=False)(inputs)
    _folds_to(keras.Model(inputs, layers.BatchNormalization(center=False)(x)), 0, _pictures(2, 8, 9, 4))


def test_an_activation_between_keeps_the_normalisation() -> None:
    inputs = keras.Input((None, None, 3))
    x = layers.Conv2D(4, 3, activation="relu")(inputs)
    _folds_to(keras.Model(inputs, layers.BatchNormalization()(x)), 1, _pictures(2, 8, 9, 3))


def test_what_others_see_stays() -> None:
    inputs = keras.Input((None, None, 3))
    seen = layers.Conv2D(4, 1)(inputs)
    total = layers.Add()([seen, layers.BatchNormalization()(seen)])
    _folds_to(keras.Model(inputs, total), 1, _pictures(2, 8, 9, 3))


def test_a_result_of_the_model_stays() -> None:
    inputs = keras.Input((None, None, 3))
    seen = layers.Conv2D(4, 1)(inputs)
    model = keras.Model(inputs, [seen, layers.BatchNormalization()(seen)])
    _shake(model)
    pictures = _pictures(2, 8, 9, 3)
    folded = fold_batch_norm(model)
    assert len(_normalisations(folded)) == 1
    expected, found = model(pictures, training=False), folded(pictures, training=False)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_allclose(np.asarray(other), np.asarray(one), rtol=0, atol=TOLERANCE)


def test_a_convolution_used_twice_stays() -> None:
    inputs = keras.Input((None, None, 3))
    shared = layers.Conv2D(3, 1)
    x = layers.BatchNormalization()(shared(inputs))
    _folds_to(keras.Model(inputs, layers.BatchNormalization()(shared(x))), 2, _pictures(2, 8, 9, 3))


def test_a_normalisation_used_twice_stays() -> None:
    inputs = keras.Input((None, None, 3))
    shared = layers.BatchNormalization()
    x = shared(layers.Conv2D(3, 1)(inputs))
    _folds_to(keras.Model(inputs, shared(layers.Conv2D(3, 1)(x))), 1, _pictures(2, 8, 9, 3))


def test_a_convolution_used_in_a_nested_model_and_outside_stays() -> None:
    inner, inputs = keras.Input((None, None, 3)), keras.Input((None, None, 3))
    shared = layers.Conv2D(3, 1)
    nested = keras.Model(inner, layers.BatchNormalization()(shared(inner)))
    _folds_to(keras.Model(inputs, layers.Add()([nested(inputs), shared(inputs)])), 1, _pictures(2, 8, 9, 3))


def test_a_nested_model_used_twice_stays() -> None:
    inner, inputs = keras.Input((None, None, 3)), keras.Input((None, None, 3))
    nested = keras.Model(inner, layers.BatchNormalization()(layers.Conv2D(3, 1)(inner)))
    _folds_to(keras.Model(inputs, nested(nested(inputs))), 1, _pictures(2, 8, 9, 3))


def test_a_normalisation_of_rows_stays() -> None:
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(8, 1)(inputs)
    _folds_to(keras.Model(inputs, layers.BatchNormalization(axis=1)(x)), 1, _pictures(2, 8, 8, 3))


class _Twice(layers.BatchNormalization):
    """Normalises, and doubles."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Runs it."""
        return 2 * super().call(inputs, training=training, mask=mask)


def test_what_derives_from_a_normalisation_stays() -> None:
    inputs = keras.Input((8, 8, 3))
    _folds_to(keras.Model(inputs, _Twice()(layers.Conv2D(4, 1)(inputs))), 1, _pictures(2, 8, 8, 3))


def test_another_precision_stays() -> None:
    inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(dtype="float16")(layers.Conv2D(4, 1)(inputs))
    _folds_to(keras.Model(inputs, x), 1, _pictures(2, 8, 8, 3))


def test_a_model_that_is_not_functional_stays() -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.convolution, self.normalisation = layers.Conv2D(4, 1), layers.BatchNormalization()

        def call(self, inputs: Any) -> Any:
            return self.normalisation(self.convolution(inputs))

    for model in (Own(), keras.Sequential([layers.Conv2D(4, 1), layers.BatchNormalization()])):
        model(_pictures(2, 8, 8, 3))
        _folds_to(model, 1, _pictures(2, 8, 8, 3))
