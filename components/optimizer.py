"""Optimizers and their learning rates, as a `TrainConfig` describes them.

A *batch* is what a step passes on at once, an *update* what changes the weights: `accumulate_steps` batches.
"""

import contextlib
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from pipeline_config import TrainConfig

_AVERAGE_WARMUP = 9
"""Averages weigh old weights by t / (t + 9) at first: those of the initialisation would else stay in them for long."""


def learning_rate_at(step: Any, config: TrainConfig, steps_per_epoch: int) -> Any:
    """Returns the learning rate of one update: a line up during the warm-up, then what the schedule says.

    Args:
        step: number of updates made before, a number or an integer tensor.
        config: uses learning_rate, schedule, poly_power, warmup_epochs, epochs and accumulate_steps.
        steps_per_epoch: batches an epoch.

    Returns:
        A float32 scalar, above 0 as long as `step` is below the number of all updates.
    """
    updates, warmup = (n * steps_per_epoch // config.accumulate_steps for n in (config.epochs, config.warmup_epochs))
    step = ops.cast(step, "float32")
    rise = ops.minimum((step + 1) / max(1, warmup), 1)
    progress = ops.clip((step - warmup) / max(1, updates - warmup), 0, 1)
    if config.schedule == "poly":
        rise *= (1 - progress) ** config.poly_power
    elif config.schedule == "cosine":
        rise *= (1 + ops.cos(math.pi * progress)) / 2
    return config.learning_rate * rise


def old_share(updates: Any, momentum: float) -> Any:
    """Returns how much of an average is kept when it takes in something new, float32 [].

    Args:
        updates: made before.
        momentum: what it comes to, 0..1.
    """
    made = ops.cast(updates, "float32")
    return ops.minimum(made / (made + _AVERAGE_WARMUP), momentum)


def make_optimizer(
    config: TrainConfig, steps_per_epoch: int, encoder_variables: Sequence[keras.Variable] = ()
) -> keras.optimizers.Optimizer:
    """Returns the optimizer.

    All that it remembers is in `variables`, once it is built: whoever builds another one on the same model and assigns them
    goes on bit for bit.

    Args:
        config: of the training.
        steps_per_epoch: batches an epoch.
        encoder_variables: those that learn, and decay, at `encoder_rate_factor` of the rate.
    """
    options = {
        "learning_rate": functools.partial(learning_rate_at, config=config, steps_per_epoch=steps_per_epoch),
        "global_clipnorm": config.clip_norm or None,
        "gradient_accumulation_steps": config.accumulate_steps if config.accumulate_steps > 1 else None,
        "name": config.optimizer,
    }
    if config.optimizer == "sgd":
        return _SGD(config, encoder_variables, momentum=float(config.momentum), **options)
    return _Adam(config, encoder_variables, **options)


class _Update(keras.optimizers.Optimizer):
    """Mixed into an optimizer of Keras: rates a variable, decay of kernels, averages, and gradients over all devices.

    Keras 3.15 shortens each device's gradients by themselves, cannot accumulate under MirroredStrategy on CPUs, and counts
    batches, not updates, where it asks the schedule for the rate.
    """

    def __init__(self, config: TrainConfig, encoder_variables: Sequence[keras.Variable], **options: Any) -> None:
        super().__init__(**options)
        self._train = config
        self._encoder = frozenset(id(variable) for variable in encoder_variables)
        self._averages: list[keras.Variable] = []

    def build(self, variables: list[keras.Variable]) -> None:
        """Creates the state."""
        if self.built:
            return
        super().build(variables)
        self._factors = [self._train.encoder_rate_factor if id(v) in self._encoder else 1.0 for v in variables]
        self._decays = [self._train.weight_decay if v.name.endswith("kernel") else 0.0 for v in variables]
        if self._train.ema_momentum:
            self._averages = self.add_optimizer_variables(variables, "average")
            for average, variable in zip(self._averages, variables, strict=True):
                average.assign(variable)

    def _get_current_learning_rate(self) -> Any:
        return self._learning_rate(self.iterations)

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        return grads_and_vars  # Whoever calls us has summed them.

    def _backend_apply_gradients(self, grads: list[Any], trainable_variables: list[keras.Variable]) -> None:
        if self.gradient_accumulation_steps:
            sums = [self._accumulated_gradients[self._get_variable_index(v)] for v in trainable_variables]
            self._backend_increment_gradient_accumulators(grads, sums)
            grads = [gradient / self.gradient_accumulation_steps for gradient in sums]
        self._backend_update_step(self._clip_gradients(grads), trainable_variables, self.learning_rate)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Changes a variable, if all batches of the update are there."""
        if not self.gradient_accumulation_steps:
            self._update(gradient, variable, learning_rate)
            return
        due = (self._iterations + 1) % self.gradient_accumulation_steps == 0
        # A condition around all variables at once would be none that MirroredStrategy allows.
        ops.cond(due, lambda: self._update(gradient, variable, learning_rate), lambda: None)

    def _update(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        index = self._get_variable_index(variable)
        rate = learning_rate * self._factors[index]
        if self._decays[index]:
            self.assign_sub(variable, variable * (rate * self._decays[index]))
        super().update_step(gradient, variable, rate)
        if self._averages:
            old = old_share(self.iterations, self._train.ema_momentum)
            self.assign(self._averages[index], old * self._averages[index] + (1 - old) * variable)
        if self.gradient_accumulation_steps:
            self.assign(self._accumulated_gradients[index], ops.zeros_like(gradient))

    def swap_averages(self) -> None:
        """Exchanges the weights and their averages."""
        for variable, average in zip(self._trainable_variables, self._averages, strict=False):
            weights = np.array(variable)
            variable.assign(average)
            average.assign(weights)


class _Adam(_Update, keras.optimizers.Adam):
    pass


class _SGD(_Update, keras.optimizers.SGD):
    pass


@contextlib.contextmanager
def averaged(optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
    """Puts the moving averages in place of the weights for as long as it lasts, and then the weights back, bit for bit.

    Without averages (ema_momentum 0), or before the optimizer is built, nothing happens. State that is not trained, such as
    batch statistics, is the training loop's business.

    Args:
        optimizer: of `make_optimizer`.
    """
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # The outer one scales a loss in float16.
    inner.swap_averages()
    try:
        yield
    finally:
        inner.swap_averages()
