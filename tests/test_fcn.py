"""The fully convolutional networks: the paper's sizes, what is summed, and each way up."""

import dataclasses
import importlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import losses
from components.models import names, registry
from components.models.unpooling import MaxUnpool
from pipeline_config import ModelConfig, TrainConfig

NAMES = pytest.mark.parametrize("name", ["fcn32s", "fcn16s", "fcn8s"])
WAYS = pytest.mark.parametrize("upsampling", ["transposed", "resize", "unpool"])
STRIDES = {"fcn32s": (32,), "fcn16s": (32, 16), "fcn8s": (32, 16, 8)}

VGG16_CONVOLUTIONS = 14_714_688
"""Of its 13 convolutions: 9 x inputs x outputs + outputs each, from 3 channels over 64, 128, 256 and 512 to 512."""
FC6 = 7 * 7 * 512 * 4096 + 4096
FC7 = 4096 * 4096 + 4096


def _tiny(name: str, upsampling: str) -> ModelConfig:
    return ModelConfig(name=name, filters=2, dropout=0.0, upsampling=upsampling)


@NAMES
def test_parameters_are_those_of_the_papers_layers(name: str) -> None:
    with keras.StatelessScope(initialize_variables=False):  # Half a gigabyte of weights each.
        count = registry.build(ModelConfig(name=name, filters=64), 21).count_params()
    keras.utils.clear_session()  # Else Keras would make room for them when it next can.
    widths = {32: 4096, 16: 512, 8: 256}
    scores = sum(widths[stride] * 21 + 21 for stride in STRIDES[name])
    # Kernels without biases: 4 where two maps are summed, and 64, 32 or 16 to the input's size.
    kernels = (4,) * (len(STRIDES[name]) - 1) + (2 * STRIDES[name][-1],)
    up = sum(size * size * 21 * 21 for size in kernels)
    assert count == VGG16_CONVOLUTIONS + FC6 + FC7 + scores + up
    assert f"{count:,}" in importlib.import_module(names.module_of(name)).build.__doc__


@NAMES
def test_scores_stand_at_the_strides_of_the_name(name: str) -> None:
    model = registry.build(_tiny(name, "transposed"), 5, 64, 96)
    scores = [
        layer.output.shape[1:]
        for layer in model.layers
        if type(layer) is keras.layers.Conv2D and layer.kernel_size == (1, 1) and layer.filters == 5
    ]
    assert scores == [(64 // stride, 96 // stride, 5) for stride in STRIDES[name]]
    kinds = [type(layer).__name__ for layer in model.layers]
    assert kinds.count("Add") == len(STRIDES[name]) - 1
    assert kinds.count("MaxPooling2D") == 5 and kinds.count("Dropout") == 2


@NAMES
@WAYS
def test_answers_in_the_size_of_its_input(name: str, upsampling: str) -> None:
    images = np.random.default_rng(0).random((2, 64, 96, 3), np.float32)
    keras.utils.set_random_seed(0)
    fixed = registry.build(_tiny(name, upsampling), 3, 64, 96)
    assert fixed.output_shape == (None, 64, 96, 3)
    free = registry.build(_tiny(name, upsampling), 3)
    assert free.output_shape == (None, None, None, 3)
    free.set_weights(fixed.get_weights())
    signature = [tf.TensorSpec([None, None, None, 3], tf.float32)]
    logits = tf.function(lambda images: free(images, training=False), input_signature=signature)(images)
    np.testing.assert_allclose(logits, fixed(images), rtol=1e-4, atol=1e-5)


@WAYS
def test_scores_are_zero_at_first_and_every_weight_learns(upsampling: str) -> None:
    keras.utils.set_random_seed(0)
    images = np.random.default_rng(0).random((2, 64, 64, 3), np.float32)
    labels = np.zeros((2, 64, 64), np.int32)
    labels[:, 20:50, 10:40] = 1
    images[..., 0] += labels
    config = ModelConfig(name="fcn8s", filters=4, dropout=0.0, upsampling=upsampling, activation="gelu")
    model = registry.build(config, 3)
    assert not np.any(model(images))
    model.compile(keras.optimizers.Adam(1e-3), losses.make_loss(TrainConfig()))
    before = [variable.numpy() for variable in model.trainable_variables]
    for _ in range(8):
        model.train_on_batch(images, labels)
    still = [v.path for v, old in zip(model.trainable_variables, before, strict=True) if np.array_equal(v.numpy(), old)]
    assert still == []
    model.reset_metrics()
    assert model.test_on_batch(images, labels, return_dict=True)["loss"] < np.log(3)


@pytest.mark.parametrize(("normalization", "zero"), [("none", True), ("batch", False), ("group", False)])
def test_scores_of_unpooled_features_are_zero_at_first_only_without_normalisation(normalization: str, zero: bool) -> None:
    config = dataclasses.replace(_tiny("fcn8s", "unpool"), normalization=normalization)
    assert np.any(registry.build(config, 3).get_layer("logits").kernel) != zero


def test_resized_scores_are_bilinear_at_first() -> None:
    """Both ways begin as the same function, but towards the border, where one mixes zeros in and the other repeats it."""
    images = np.random.default_rng(0).random((1, 192, 192, 3), np.float32)
    answers = []
    for upsampling in ("transposed", "resize"):
        keras.utils.set_random_seed(0)
        model = registry.build(_tiny("fcn8s", upsampling), 3)
        for layer in model.layers:
            if type(layer) is keras.layers.Conv2D and layer.kernel_size == (1, 1) and layer.filters == 3:
                layer.kernel.assign(np.linspace(-1, 1, layer.kernel.numpy().size).reshape(layer.kernel.shape))
        answers.append(np.asarray(model(images))[0, 64:-64, 64:-64])
    assert answers[0].std() > 0.01
    np.testing.assert_allclose(answers[0], answers[1], rtol=1e-3, atol=1e-4)


def test_unpooling_puts_values_where_the_maxima_were() -> None:
    pooled = np.array(
        [
            [1, 5, 2, 2],
            [3, 4, 2, 2],  # In the window on the right all are equal: the first counts.
            [-1, -2, 0, 0],
            [-3, -1, 0, 7],  # On the left -1 stands twice: the upper one counts.
        ],
        np.float32,
    ).reshape(1, 4, 4, 1)
    values = np.array([[10, 20], [30, 40]], np.float32).reshape(1, 2, 2, 1)
    expected = [[0, 10, 20, 0], [0, 0, 0, 0], [30, 0, 0, 0], [0, 0, 0, 40]]
    assert np.asarray(MaxUnpool()(values, pooled))[0, ..., 0].tolist() == expected


def test_unpooling_undoes_pooling_in_each_channel() -> None:
    x = np.random.default_rng(0).normal(size=(2, 6, 8, 5)).astype(np.float32)
    pooled = keras.layers.MaxPooling2D()(x)
    restored = np.asarray(MaxUnpool()(pooled, x))
    assert np.array_equal(restored[restored != 0], x[restored != 0])
    assert (restored != 0).sum() == pooled.numpy().size
    assert np.array_equal(keras.layers.MaxPooling2D()(np.where(restored == 0, -9, restored)), pooled)
