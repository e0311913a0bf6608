"""Bilinear upsampling: by hand, and against Keras' own, where the size is known and where it is not."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.models.upsampling import Upsample


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
