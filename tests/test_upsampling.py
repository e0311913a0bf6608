"""Bilinear upsampling: by hand, and against Keras' own, where the size is known and where it is not."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.models.upsampling import Upsample, bilinear_kernel, identity_kernel


def _known(layer: Upsample, x: np.ndarray) -> np.ndarray:
    return np.asarray(layer(x))


def _unknown(layer: Upsample, x: np.ndarray) -> np.ndarray:
    """As in the served model's signature of logits."""
    return tf.function(lambda x: layer(x), input_signature=[tf.TensorSpec([None, None, None, x.shape[3]])])(x).numpy()


WAYS = pytest.mark.parametrize("upsample", [_known, _unknown])


@WAYS
def test_row_of_two_pixels_by_hand(upsample: Callable[..., np.ndarray]) -> None:
    row = np.array([0.0, 8.0], np.float32).reshape(1, 1, 2, 1)
    # Centres of the halves lie at -0.25, 0.25, 0.75 and 1.25 pixels; beyond the border it is repeated.
    assert upsample(Upsample(2), row).tolist() == [[[[0.0], [2.0], [6.0], [8.0]]] * 2]


@WAYS
@pytest.mark.parametrize("factor", [1, 2, 3, 4, 8])
@pytest.mark.parametrize(("height_px", "width_px"), [(5, 7), (1, 3), (1, 1)])
def test_same_as_keras(upsample: Callable[..., np.ndarray], factor: int, height_px: int, width_px: int) -> None:
    x = np.random.default_rng(0).normal(0, 1, (2, height_px, width_px, 3)).astype(np.float32)
    expected = keras.layers.UpSampling2D(factor, interpolation="bilinear")(x)
    np.testing.assert_allclose(upsample(Upsample(factor), x), expected, rtol=0, atol=1e-5)


def test_unknown_sides_stay_unknown() -> None:
    assert Upsample(4)(keras.Input((None, 6, 3))).shape == (None, None, 24, 3)


def test_network_with_it_can_be_cloned() -> None:
    inputs = keras.Input((None, None, 3))
    model = keras.Model(inputs, Upsample(3, dtype="float32", name="up")(inputs))
    copy = keras.models.clone_model(model)
    x = np.random.default_rng(0).random((1, 2, 3, 3), np.float32)
    np.testing.assert_array_equal(copy(x), model(x))
    layer = copy.get_layer("up")
    assert (layer.factor, layer.dtype) == (3, "float32") and layer is not model.get_layer("up")


@pytest.mark.parametrize("factor", [2, 8, 16, 32])
def test_transposed_convolution_begins_as_bilinear_upsampling(factor: int) -> None:
    layer = keras.layers.Conv2DTranspose(
        2, 2 * factor, strides=factor, padding="same", use_bias=False, kernel_initializer=bilinear_kernel
    )
    rows, columns = np.mgrid[:5, :6].astype(np.float32)
    ramp = np.stack([rows, 10 * columns], axis=-1)[np.newaxis]  # [1, 5, 6, 2]
    # A ramp stays one, with pixel centres at (y + 0.5) / factor - 0.5; within half a pixel of the border there is less to mix.
    y, x = ((np.arange(side * factor) + 0.5) / factor - 0.5 for side in (5, 6))
    expected = np.stack(np.broadcast_arrays(y[:, None], 10 * x), axis=-1)
    border = factor // 2
    inside = np.s_[border:-border, border:-border]
    np.testing.assert_allclose(np.asarray(layer(ramp))[0][inside], expected[inside], atol=1e-4)
    np.testing.assert_allclose(np.asarray(layer(ramp))[0][inside], np.asarray(Upsample(factor)(ramp))[0][inside], atol=1e-4)


def test_bilinear_kernel_by_hand() -> None:
    kernel = np.asarray(bilinear_kernel((4, 4, 2, 2), "float32"))
    # Distances of four pixels from the middle 1.5, 0.5, 0.5, 1.5, of the hat's half-width 2: 1/4, 3/4, 3/4, 1/4.
    hat = np.array([0.25, 0.75, 0.75, 0.25])
    np.testing.assert_array_equal(kernel[..., 0, 0], hat[:, None] * hat)
    np.testing.assert_array_equal(kernel[..., 1, 1], kernel[..., 0, 0])
    assert not kernel[..., 0, 1].any() and not kernel[..., 1, 0].any()


def test_identity_kernel_changes_nothing() -> None:
    layer = keras.layers.Conv2D(3, 3, padding="same", kernel_initializer=identity_kernel)
    x = np.random.default_rng(0).random((1, 4, 5, 3), np.float32)
    np.testing.assert_allclose(layer(x), x, atol=1e-6)


def test_gradient_in_float16_compiles_as_a_gpu_would() -> None:
    # XLA's gradient of a resize in float16 is float32, and then it cannot be joined to what comes before it.
    layers = [keras.layers.BatchNormalization(), keras.layers.ReLU(), Upsample(2)]
    for layer in layers:
        layer.dtype_policy = keras.DTypePolicy("mixed_float16")
    x = tf.constant(np.random.default_rng(0).random((1, 4, 4, 2)), tf.float16)

    @tf.function(jit_compile=True)
    def gradient(x: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = x
            for layer in layers:
                y = layer(y)
            loss = tf.reduce_sum(tf.square(y))
        return tape.gradient(loss, x)

    found = gradient(x)
    assert found.dtype == tf.float16
    assert np.isfinite(found).all() and np.abs(found).max() > 0
