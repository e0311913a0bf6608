"""The rule of the rate, that `fit` obeys it, and masks that come again."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from components import dropout

ONES = np.ones((64, 1000), np.float32)


def test_rate_rises_while_the_score_rises() -> None:
    rate, rates = 0.5, []
    for epoch in range(6):
        rate = dropout.next_rate(rate, [0.1 * n for n in range(epoch + 1)], 0.1)
        rates.append(rate)
    assert rates == [0.6, 0.7, 0.8, 0.9, 0.9, 0.9]


@pytest.mark.parametrize("history", [[0.2, 0.2], [0.2, 0.1], [0.1, 0.3, 0.2, 0.4]])
def test_rate_stays_once_the_score_has_not_risen(history: list[float]) -> None:
    assert dropout.next_rate(0.6, history, 0.1) == 0.6


def test_rate_above_the_highest_is_not_lowered() -> None:
    assert dropout.next_rate(0.95, [], 0.1) == 0.95


def test_rate_without_a_rise_stays() -> None:
    assert dropout.next_rate(0.3, [0.1, 0.2], 0.0) == 0.3


class Inside(keras.Model):
    """A network in another one, as encoders are."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        return super().call(inputs, training=training, mask=mask)


def _model(inner_rate: float = 0.5, outer_rate: float = 0.5, noise_shape: tuple[Any, ...] | None = None) -> keras.Model:
    """Returns a model with two outputs: what a nested dropout leaves of its input, and what another one does."""
    inside, inputs = keras.Input((1000,)), keras.Input((1000,))
    inner = Inside(inside, keras.layers.Dropout(inner_rate, noise_shape=noise_shape)(inside), name="inner")
    return keras.Model(inputs, [inner(inputs), keras.layers.Dropout(outer_rate)(inputs)])


def _dropped(y_true: Any, y_pred: Any) -> Any:
    return keras.ops.mean(keras.ops.cast(y_pred == 0, "float32"))


def _no_loss(y_true: Any, y_pred: Any) -> Any:
    return keras.ops.mean(0 * y_pred)


def _fit(model: keras.Model, on_epoch_begin: Callable[[int, Any], None], **options: Any) -> list[list[float]]:
    """Returns the share of zeros of both outputs, a row an epoch of two steps."""
    model.compile("sgd", [_no_loss] * 2, metrics=[[_dropped], [_dropped]], **options)
    callback = keras.callbacks.LambdaCallback(on_epoch_begin=on_epoch_begin)
    history = model.fit(ONES, [ONES, ONES], epochs=3, batch_size=32, verbose=0, callbacks=[callback]).history
    return np.transpose([values for name, values in history.items() if name.endswith("_dropped")]).tolist()


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.filterwarnings("ignore:The model does not have any trainable weights")
def test_fit_obeys_a_rate_that_changes_between_epochs(jit_compile: bool) -> None:
    model = _model()
    rates = [0.5, 0.7, 0.9]

    def set_rate(epoch: int, logs: Any) -> None:
        if dropout.set_rate(model, rates[epoch]):
            model.make_train_function(force=True)

    shares = _fit(model, set_rate, jit_compile=jit_compile)
    # 64,000 draws an epoch have a standard deviation below 0.002.
    np.testing.assert_allclose(shares, [[rate, rate] for rate in rates], atol=0.01)


def test_change_of_a_rate_is_told_once() -> None:
    model = _model()
    assert dropout.set_rate(model, 0.6)
    assert not dropout.set_rate(model, 0.6)


def test_stochastic_depth_and_dropout_that_was_left_out_keep_their_rates() -> None:
    model = _model(inner_rate=0.2, outer_rate=0.0, noise_shape=(None, 1))
    dropout.set_rate(model, 0.6)
    outputs = [np.array(output) for output in model(ONES, training=True)]
    assert set(np.unique(outputs[0])) <= {0, np.float32(1.25)}
    np.testing.assert_array_equal(outputs[1], ONES)


def test_model_that_is_not_compiled_takes_the_rate_too() -> None:
    model = _model()
    dropout.set_rate(model, 0.9)
    assert float(_dropped(None, model(ONES, training=True)[0])) == pytest.approx(0.9, abs=0.01)


def _masks(model: keras.Model, seed: int, epoch: int, steps: int = 2) -> list[np.ndarray]:
    dropout.reseed(model, seed, epoch)
    return [np.array(output) for _ in range(steps) for output in model(ONES, training=True)]


def test_rebuilt_model_draws_the_masks_of_an_epoch_again() -> None:
    first = _masks(_model(), seed=7, epoch=3)
    keras.utils.clear_session()
    keras.utils.set_random_seed(99)
    model = _model()
    model(ONES, training=True)  # Whatever was drawn before.
    for one, other in zip(first, _masks(model, seed=7, epoch=3), strict=True):
        np.testing.assert_array_equal(one, other)


def test_masks_differ_between_steps_layers_epochs_and_seeds() -> None:
    model = _model()
    masks = [mask for seed, epoch in [(7, 3), (7, 4), (8, 3), (2**32 - 1, 0)] for mask in _masks(model, seed, epoch)]
    assert len({mask.tobytes() for mask in masks}) == len(masks) == 16


def test_model_without_dropout_needs_no_seed() -> None:
    inputs = keras.Input((3,))
    model = keras.Model(inputs, keras.layers.Dense(1)(inputs))
    dropout.reseed(model, 0, 0)
    dropout.set_rate(model, 0.5)
    assert dropout.layers(model) == []
