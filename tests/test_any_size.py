"""Whole pictures: each architecture answers any size, at no cost where the size fits, eagerly, in graphs and compiled."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from components.models import any_size, registry
from components.models.any_size import AnySize
from pipeline_config import MODELS, ModelConfig

CONFIGS = {
    name: ModelConfig(name=name, filters=2, depth=2, dropout=0.0, encoder_weights="none", frozen_batch_norm=False)
    for name in MODELS
}
PADDED = [name for name, config in CONFIGS.items() if not config.margin_px]


def _pictures(height_px: int, width_px: int, count: int = 2) -> np.ndarray:
    return np.random.default_rng(height_px * width_px).random((count, height_px, width_px, 3), np.float32)


def _network(name: str) -> keras.Model:
    """Returns one whose logits are not all zero at first, as those of an FCN are."""
    keras.utils.set_random_seed(0)
    network = registry.build(CONFIGS[name], 3)
    rng = np.random.default_rng(0)
    for variable in network.trainable_variables:
        if not np.any(variable.numpy()):
            variable.assign(rng.normal(0, 0.1, variable.shape))
    return network


def _traced(model: keras.Model, shape: tuple[int | None, ...], **options: bool) -> tf.types.experimental.GenericFunction:
    signature = [tf.TensorSpec([*shape, 3], tf.float32)]
    return tf.function(lambda images: model(images, training=False), input_signature=signature, **options)


def _operations(function: tf.types.experimental.GenericFunction) -> list[str]:
    return sorted(operation.type for operation in function.get_concrete_function().graph.get_operations())


@pytest.mark.parametrize("name", MODELS)
def test_any_size_is_answered(name: str) -> None:
    network = _network(name)
    model = registry.for_whole_pictures(network, CONFIGS[name])
    answer = _traced(model, (None, None, None))
    for size in ((33, 50), (1, 1), (333, 500)):
        pictures = _pictures(*size, count=1)
        logits = answer(pictures)
        assert (logits.dtype, tuple(logits.shape)) == (tf.float32, (1, *size, 3))
        assert np.isfinite(logits).all() and np.any(logits)
    assert [v.path for v in model.variables] == [v.path for v in network.variables]


@pytest.mark.parametrize("name", PADDED)
def test_size_that_does_not_fit_is_mirrored_and_cropped(name: str) -> None:
    network = _network(name)
    pictures = _pictures(49, 33)
    stride = CONFIGS[name].stride_px
    height, width = (-(-size // stride) * stride for size in (49, 33))
    expected = np.asarray(network(np.pad(pictures, ((0, 0), (0, height - 49), (0, width - 33), (0, 0)), mode="reflect")))
    for function in (AnySize(network, CONFIGS[name]), _traced(AnySize(network, CONFIGS[name]), (None, None, None))):
        np.testing.assert_allclose(function(pictures), expected[:, :49, :33], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", PADDED)
def test_size_that_fits_is_the_network_itself(name: str) -> None:
    network = _network(name)
    model = AnySize(network, CONFIGS[name])
    pictures = _pictures(64, 128, count=1)
    np.testing.assert_array_equal(model(pictures), network(pictures))
    np.testing.assert_array_equal(_traced(model, (None, None, None))(pictures), _traced(network, (None, None, None))(pictures))
    assert _operations(_traced(model, (1, 64, 128))) == _operations(_traced(network, (1, 64, 128)))


@pytest.mark.parametrize("name", MODELS)
def test_any_known_size_can_be_compiled(name: str) -> None:
    network = _network(name)
    model = registry.for_whole_pictures(network, CONFIGS[name])
    pictures = _pictures(33, 50)
    compiled = _traced(model, (2, 33, 50), jit_compile=True)
    np.testing.assert_allclose(compiled(pictures), model(pictures), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (4, [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]),
        (2, [0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]),
        (1, [0] * 12),
    ],
)
def test_mirror_repeats_where_the_picture_is_smaller_than_what_is_asked_for(size: int, expected: list[int]) -> None:
    assert np.asarray(any_size.mirror(keras.ops.arange(-4, 8), size)).tolist() == expected


@pytest.mark.parametrize("name", MODELS)
def test_next_size_fits_and_none_is_before_it(name: str) -> None:
    config = CONFIGS[name]
    for size in range(1, 140):
        found = any_size.next_size(size, config)
        assert found == next(other for other in range(size, 999) if config.fits(other))
        assert int(any_size.next_size(tf.constant(size), config)) == found
