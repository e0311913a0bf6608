"""Learning rates and updates by hand, accumulation, averages, devices, and going on from saved state."""

import json
import pathlib
import subprocess
import sys
import textwrap
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from components import optimizer
from pipeline_config import TrainConfig, to_json

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(24, 8, 8, 3)).astype(np.float32)
TARGETS = RNG.normal(size=(24, 8, 8, 2)).astype(np.float32)
ALL = {  # Everything at once.
    "epochs": 2,
    "batch_size": 4,
    "learning_rate": 0.05,
    "encoder_rate_factor": 0.3,
    "schedule": "poly",
    "warmup_epochs": 1,
    "clip_norm": 0.5,
    "ema_momentum": 0.9,
}


def _rates(steps: list[float], steps_per_epoch: int, **settings: Any) -> list[float]:
    config = TrainConfig(learning_rate=0.1, **settings)
    return [float(optimizer.learning_rate_at(step, config, steps_per_epoch)) for step in steps]


def test_warm_up_rises_from_above_zero_to_the_rate_and_stays() -> None:
    assert _rates([0, 1, 2, 3, 4, 39], 4, epochs=10, warmup_epochs=1) == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1])


def test_constant_rate_without_warm_up_is_the_rate() -> None:
    assert _rates([0, 7, 19], 1, epochs=20) == pytest.approx([0.1] * 3)


def test_poly_falls_to_zero_after_the_last_update() -> None:
    # Ten updates: the first has 10/10 of them left, the last 1/10, and a further one none.
    rates = _rates([0, 5, 9, 10, 11], 2, epochs=5, schedule="poly", poly_power=2.0)
    assert rates == pytest.approx([0.1, 0.1 * 0.25, 0.1 * 0.01, 0, 0])


def test_poly_begins_to_fall_after_the_warm_up() -> None:
    rates = _rates([0, 1, 2, 3, 4, 5], 1, epochs=6, warmup_epochs=2, schedule="poly", poly_power=1.0)
    assert rates == pytest.approx([0.05, 0.1, 0.1, 0.075, 0.05, 0.025])


def test_training_that_ends_within_the_warm_up_only_rises() -> None:
    # Two updates an epoch: the warm-up has six, of which four are made.
    for schedule in ("constant", "poly", "cosine"):
        rates = _rates([0, 1, 2, 3], 2, epochs=2, warmup_epochs=3, schedule=schedule)
        assert rates == pytest.approx([0.1 / 6, 0.2 / 6, 0.3 / 6, 0.4 / 6])


def test_warm_up_as_long_as_the_training_ends_at_the_rate() -> None:
    assert _rates([0, 1, 2], 3, epochs=1, warmup_epochs=1, schedule="poly") == pytest.approx([0.1 / 3, 0.2 / 3, 0.1])


def test_cosine_falls_to_zero_after_the_last_update() -> None:
    # Thirds of the way: (1 + cos 60 degrees) / 2 = 0.75, and 0.25.
    assert _rates([0, 2, 3, 4, 6], 3, epochs=2, schedule="cosine") == pytest.approx([0.1, 0.075, 0.05, 0.025, 0], abs=1e-8)


def test_accumulation_makes_fewer_updates_of_the_schedule() -> None:
    # 4 * 6 // 3 = 8 updates, of which the first 2 warm up.
    rates = _rates([0, 1, 2, 5, 8], 6, epochs=4, accumulate_steps=3, warmup_epochs=1, schedule="poly", poly_power=1.0)
    assert rates == pytest.approx([0.05, 0.1, 0.1, 0.05, 0])


def test_fewer_batches_than_one_update_needs_are_no_error() -> None:
    assert _rates([0], 1, epochs=1, accumulate_steps=8, schedule="poly") == pytest.approx([0.1])


def test_rate_is_the_same_in_a_graph() -> None:
    config = TrainConfig(epochs=10, learning_rate=0.1, schedule="cosine")
    in_graph = tf.function(lambda step: optimizer.learning_rate_at(step, config, 1))
    for step in (0, 3, 5):
        assert float(in_graph(tf.constant(step, tf.int64))) == float(optimizer.learning_rate_at(step, config, 1))


class Weights:
    """Weights of a decoder and of an encoder, and an optimizer built on them."""

    def __init__(self, steps_per_epoch: int = 1000, **settings: Any) -> None:
        self.kernel = keras.Variable([1.0, -2.0], name="kernel")
        self.bias = keras.Variable([3.0], name="bias")
        self.encoder_kernel = keras.Variable([1.0, -2.0], name="kernel")  # Another one of the same path.
        self.variables = [self.kernel, self.bias, self.encoder_kernel]
        self.optimizer = optimizer.make_optimizer(TrainConfig(**settings), steps_per_epoch, [self.encoder_kernel])
        self.optimizer.build(self.variables)

    def update(self, *gradients: list[float]) -> list[list[float]]:
        """Passes on a batch's gradients, and returns the weights after it."""
        self.optimizer.apply_gradients(zip(map(tf.constant, gradients), self.variables, strict=True))
        return [variable.numpy().tolist() for variable in self.variables]

    def averages(self) -> list[list[float]]:
        return [v.numpy().tolist() for v in self.optimizer.variables if v.name.endswith("average")]


def test_encoder_learns_at_its_share_of_the_rate() -> None:
    weights = Weights(optimizer="sgd", momentum=0.0, learning_rate=0.5, encoder_rate_factor=0.1)
    kernel, bias, encoder = weights.update([1.0, 2.0], [4.0], [1.0, 2.0])
    assert kernel == pytest.approx([1 - 0.5 * 1, -2 - 0.5 * 2])
    assert bias == pytest.approx([3 - 0.5 * 4])
    assert encoder == pytest.approx([1 - 0.05 * 1, -2 - 0.05 * 2])


def test_momentum_is_not_that_of_nesterov() -> None:
    weights = Weights(optimizer="sgd", momentum=0.5, learning_rate=0.1)
    assert weights.update([1.0, 0.0], [0.0], [0.0, 0.0])[0] == pytest.approx([1 - 0.1, -2])
    assert weights.update([1.0, 0.0], [0.0], [0.0, 0.0])[0] == pytest.approx([0.9 - (0.05 + 0.1), -2])


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_first_step_of_adam_is_the_rate_in_the_gradients_direction(name: str) -> None:
    weights = Weights(optimizer=name, learning_rate=0.1, encoder_rate_factor=0.5)
    kernel, bias, encoder = weights.update([7.0, -0.2], [3.0], [7.0, -0.2])
    assert kernel == pytest.approx([1 - 0.1, -2 + 0.1], rel=1e-5)
    assert bias == pytest.approx([3 - 0.1], rel=1e-5)
    assert encoder == pytest.approx([1 - 0.05, -2 + 0.05], rel=1e-5)


@pytest.mark.parametrize("name", ["adamw", "sgd"])
def test_decay_is_decoupled_of_kernels_only_and_scaled_with_the_rate(name: str) -> None:
    weights = Weights(optimizer=name, learning_rate=0.5, weight_decay=0.1, encoder_rate_factor=0.2)
    for update in (1, 2):  # Without gradients nothing but the decay moves them, and moments know nothing of it.
        kernel, bias, encoder = weights.update([0.0, 0.0], [0.0], [0.0, 0.0])
        assert kernel == pytest.approx([0.95**update, -2 * 0.95**update])
        assert bias == [3.0]
        assert encoder == pytest.approx([0.99**update, -2 * 0.99**update])


def test_scales_and_offsets_of_norms_do_not_decay() -> None:
    model = _model({"optimizer": "adamw", "weight_decay": 1.0})
    before = {v.path: v.numpy() for v in model.trainable_variables}
    model.optimizer.build(model.trainable_variables)
    model.optimizer.apply([tf.zeros(v.shape) for v in model.trainable_variables])
    changed = {v.path.split("/")[-1] for v in model.trainable_variables if not np.array_equal(v, before[v.path])}
    assert changed == {"kernel"}
    assert {path.split("/")[-1] for path in before} == {"kernel", "bias", "gamma", "beta"}


def test_gradients_are_shortened_to_the_norm_of_all() -> None:
    weights = Weights(optimizer="sgd", momentum=0.0, learning_rate=1.0, clip_norm=1.0)
    kernel, bias, _ = weights.update([3.0, 0.0], [4.0], [0.0, 0.0])  # Their norm is 5.
    assert kernel == pytest.approx([1 - 0.6, -2])
    assert bias == pytest.approx([3 - 0.8])
    kernel, bias, _ = weights.update([0.3, 0.0], [0.4], [0.0, 0.0])  # Short enough.
    assert kernel == pytest.approx([0.4 - 0.3, -2])


def test_weights_change_by_the_mean_gradient_when_all_its_batches_are_there() -> None:
    weights = Weights(2, optimizer="sgd", momentum=0.0, learning_rate=1.0, accumulate_steps=2, epochs=2, schedule="poly")
    assert weights.update([1.0, 0.0], [2.0], [0.0, 0.0])[:2] == [[1.0, -2.0], [3.0]]
    assert float(weights.optimizer.learning_rate) == 1.0
    assert weights.update([3.0, 0.0], [0.0], [0.0, 0.0])[:2] == [[-1.0, -2.0], [2.0]]
    # Batches count two to an update also for the rate, and nothing of the first update is left over.
    rate = float(weights.optimizer.learning_rate)
    assert rate == pytest.approx(0.5**0.9)
    weights.update([1.0, 0.0], [0.0], [0.0, 0.0])
    assert weights.update([1.0, 0.0], [0.0], [0.0, 0.0])[0] == pytest.approx([-1 - rate, -2])


def test_averages_follow_the_weights_closely_at_first() -> None:
    weights = Weights(optimizer="sgd", momentum=0.0, learning_rate=1.0, ema_momentum=0.5)
    assert weights.averages()[1] == [3.0]
    found = []
    for _ in range(3):
        weights.update([0.0, 0.0], [1.0], [0.0, 0.0])
        found += weights.averages()[1]
    # The bias goes 2, 1, 0; old averages weigh 0, 1/10, 2/11.
    assert found == pytest.approx([2.0, 0.1 * 2 + 0.9 * 1, 2 / 11 * 1.1], rel=1e-5)


def test_averages_keep_no_more_than_the_momentum() -> None:
    weights = Weights(optimizer="sgd", momentum=0.0, learning_rate=1.0, ema_momentum=0.05)
    for _ in range(2):
        weights.update([0.0, 0.0], [1.0], [0.0, 0.0])
    assert weights.averages()[1] == pytest.approx([0.05 * 2 + 0.95 * 1])


def test_averages_wait_for_the_update_when_gradients_accumulate() -> None:
    weights = Weights(optimizer="sgd", momentum=0.0, learning_rate=1.0, ema_momentum=0.5, accumulate_steps=2)
    found = []
    for _ in range(4):
        weights.update([0.0, 0.0], [1.0], [0.0, 0.0])
        found += weights.averages()[1]
    assert found == pytest.approx([3.0, 2.0, 2.0, 0.1 * 2 + 0.9 * 1])


def _model(settings: dict[str, Any], wrap: Any = lambda inner: inner, **options: Any) -> keras.Model:
    """Returns a compiled model on a nested encoder, the same weights in each call."""
    keras.utils.set_random_seed(1)
    inside, inputs = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3, padding="same")(inside)
    encoder = keras.Model(inside, keras.layers.ReLU()(keras.layers.BatchNormalization()(x)), name="encoder")
    model = keras.Model(inputs, keras.layers.Conv2D(2, 3, padding="same")(encoder(inputs)))
    config = TrainConfig(**settings)
    model.compile(wrap(optimizer.make_optimizer(config, 6, encoder.trainable_variables)), "mse", **options)
    return model


def _fit(model: keras.Model, first: int = 0, last: int = 24, batch_size: int = 4) -> keras.Model:
    model.fit(IMAGES[first:last], TARGETS[first:last], batch_size=batch_size, shuffle=False, verbose=0)
    return model


def _state(model: keras.Model) -> list[np.ndarray]:
    return [np.array(v) for v in (*model.variables, *model.optimizer.variables)]


def _equal(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_encoder_of_a_model_is_told_from_the_rest() -> None:
    before = _model({}).get_weights()
    settings = {"optimizer": "sgd", "learning_rate": 1.0}
    slow, fast = (_fit(_model(settings | {"encoder_rate_factor": factor}), last=4) for factor in (0.125, 1.0))
    moved = [[np.abs(w - b).max() for w, b in zip(m.get_weights(), before, strict=True)] for m in (slow, fast)]
    kernel, gamma, decoder = 0, 2, -2
    assert moved[0][kernel] == pytest.approx(moved[1][kernel] / 8, rel=1e-3)
    assert moved[0][gamma] == pytest.approx(moved[1][gamma] / 8, rel=1e-3)
    assert moved[0][decoder] == moved[1][decoder] > 0


def test_accumulated_batches_are_one_larger_batch() -> None:
    settings = {**ALL, "optimizer": "sgd", "weight_decay": 0.1, "schedule": "constant", "warmup_epochs": 0}
    one, two = (_model(s) for s in (settings, settings | {"accumulate_steps": 3}))
    for model in (one, two):
        model.get_layer("encoder").layers[2].trainable = False  # Its statistics would be those of each batch.
    _fit(one, batch_size=12)
    _fit(two, batch_size=4)
    for a, b in zip(one.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["adam", "sgd"])
@pytest.mark.parametrize("accumulate_steps", [1, 2])
def test_step_compiled_by_xla_is_the_same_step(name: str, accumulate_steps: int) -> None:
    settings = {**ALL, "optimizer": name, "accumulate_steps": accumulate_steps}
    plain, compiled = (_fit(_model(settings, jit_compile=jit)) for jit in (False, True))
    for a, b in zip(_state(plain), _state(compiled), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3 if name == "adam" else 1e-5)


def _scaled(inner: keras.optimizers.Optimizer) -> keras.optimizers.Optimizer:
    return keras.optimizers.LossScaleOptimizer(inner)  # As Keras does where layers compute in float16.


CASES = [
    {"optimizer": "adam"},
    {"optimizer": "adamw", "weight_decay": 0.1},
    {"optimizer": "sgd", "weight_decay": 0.1},
    {"optimizer": "adamw", "weight_decay": 0.1, "accumulate_steps": 2},  # Halted in the midst of an update.
    {"optimizer": "sgd", "ema_momentum": 0.0},
]


@pytest.mark.parametrize("wrap", [lambda inner: inner, _scaled], ids=["plain", "scaled"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_training_goes_on_bit_for_bit_from_saved_state(case: dict[str, Any], wrap: Any) -> None:
    unbroken = _fit(_fit(_model(ALL | case, wrap), last=12), first=12)
    broken = _fit(_model(ALL | case, wrap), last=12)
    weights, state = broken.get_weights(), [np.array(v) for v in broken.optimizer.variables]

    resumed = _model(ALL | case, wrap)
    resumed.set_weights(weights)
    resumed.optimizer.build(resumed.trainable_variables)
    for variable, value in zip(resumed.optimizer.variables, state, strict=True):
        variable.assign(value)
    assert _equal(_state(_fit(resumed, first=12)), _state(unbroken))
    assert not _equal(_state(broken), _state(unbroken))


@pytest.mark.parametrize("wrap", [lambda inner: inner, _scaled], ids=["plain", "scaled"])
def test_averages_take_the_weights_place_and_give_it_back(wrap: Any) -> None:
    model = _fit(_model(ALL, wrap))
    before = _state(model)
    averages = [v.numpy() for v in model.optimizer.variables if v.name.endswith("average")]
    statistics = [v.numpy() for v in model.non_trainable_variables]
    with pytest.raises(KeyError), optimizer.averaged(model.optimizer):
        assert _equal([v.numpy() for v in model.trainable_variables], averages)
        assert _equal([v.numpy() for v in model.non_trainable_variables], statistics)
        assert not _equal(_state(model), before)
        raise KeyError
    assert _equal(_state(model), before)


@pytest.mark.parametrize("settings", [ALL, {"ema_momentum": 0.0}])
def test_swap_before_the_first_update_or_without_averages_changes_nothing(settings: dict[str, Any]) -> None:
    model = _model(settings)
    before = _state(model)
    model.optimizer.swap_averages()
    assert _equal(_state(model), before)
    model.optimizer.build(model.trainable_variables)
    before = _state(model)
    model.optimizer.swap_averages()
    assert _equal(_state(model), before)


TWO_DEVICES = """
    import json, sys
    import numpy as np
    import tensorflow as tf
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    import keras
    from components import optimizer
    from pipeline_config import TrainConfig, from_json

    rng = np.random.default_rng(0)
    images = rng.normal(size=(24, 8, 8, 3)).astype(np.float32)
    targets = rng.normal(size=(24, 8, 8, 2)).astype(np.float32)

    def fit(strategy, config):
        keras.utils.set_random_seed(1)
        with strategy.scope():
            inside, inputs = keras.Input((8, 8, 3)), keras.Input((8, 8, 3))
            x = keras.layers.GroupNormalization(2)(keras.layers.Conv2D(4, 3, use_bias=False, padding="same")(inside))
            encoder = keras.Model(inside, x, name="encoder")
            model = keras.Model(inputs, keras.layers.Conv2D(2, 3, padding="same")(encoder(inputs)))
            rule = optimizer.make_optimizer(config, 6, encoder.trainable_variables)
            rule.build(model.trainable_variables)

        @tf.function
        def step(images, targets):
            with tf.GradientTape() as tape:
                error = tf.reduce_mean(tf.square(model(images, training=True) - targets)) / strategy.num_replicas_in_sync
            weights = model.trainable_variables
            gradients = tape.gradient(error, [weight.value for weight in weights])
            gradients = tf.distribute.get_replica_context().all_reduce("SUM", gradients)
            rule.apply_gradients(zip(gradients, weights))

        batches = tf.data.Dataset.from_tensor_slices((images, targets)).batch(4).repeat(2)
        for pair in strategy.experimental_distribute_dataset(batches):
            strategy.run(step, pair)
        weights = model.get_weights()
        with optimizer.averaged(rule):
            averages = model.get_weights()
        assert all(np.array_equal(a, b) for a, b in zip(weights, model.get_weights()))
        return weights + averages

    differences = []
    for text in sys.argv[1:]:
        config = from_json(TrainConfig, text)
        one = fit(tf.distribute.get_strategy(), config)
        two = fit(tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]), config)
        differences.append(max(float(np.abs(a - b).max()) for a, b in zip(one, two)))
    print("RESULT", json.dumps(differences))
"""


def test_training_on_two_devices_is_the_training_on_one() -> None:
    cases = [case | {"accumulate_steps": steps} for case in CASES[1:3] for steps in (1, 3)]
    done = subprocess.run(
        [
            *(sys.executable, "-W", "ignore", "-c", textwrap.dedent(TWO_DEVICES)),
            *(to_json(TrainConfig(**ALL | case)) for case in cases),
        ],
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
        cwd=pathlib.Path(optimizer.__file__).parents[1],
    )
    result = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    assert done.returncode == 0 and result, done.stderr[-3000:]
    assert max(json.loads(result[0].removeprefix("RESULT "))) < 1e-5
