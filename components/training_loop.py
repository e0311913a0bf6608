"""One epoch of training or validation, on one device or on several, of one host or of several."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np
import tensorflow as tf

from components import features, iou_tensorflow, profiling
from components.losses import Loss
from components.optimizer import averaged, old_share

Measured = tuple[float, np.ndarray]
"""Loss, the mean of the batches' by their counted pixels, and the confusion matrix, int64 [C, C]."""


class TrainingLoop:
    """A network with what it takes to fit it.

    Keras' own `fit` cannot go on in the middle of a training to the bit.

    Args:
        model: from float [B, H, W, 3] in [0, 1] to logits [B, H, W, C], made in the strategy's scope.
        loss: of a batch, as `losses.make_loss` makes it.
        optimizer: likewise made in the scope.
        strategy: how batches are divided among devices.
        ema_momentum: that of the optimizer's averages of the weights, 0..1; 0: there are none.
    """

    def __init__(
        self,
        model: keras.Model,
        loss: Loss,
        optimizer: keras.optimizers.Optimizer,
        strategy: tf.distribute.Strategy,
        ema_momentum: float,
    ) -> None:
        """Makes the optimizer's variables."""
        self.model, self.optimizer = model, optimizer
        self.devices = strategy.num_replicas_in_sync
        self._loss, self._strategy = loss, strategy
        with strategy.scope():
            optimizer.build(model.trainable_variables)
            # Averaged weights want averaged batch statistics: the newest are of a few batches, and of other weights.
            self._statistics = model.non_trainable_weights if ema_momentum else []
            self._averages = [keras.Variable(now, trainable=False, aggregation="mean") for now in self._statistics]
        self._ema_momentum = ema_momentum
        self.retrace()

    def retrace(self) -> None:
        """Compiles the steps; to be called again after a layer's settings changed, which are part of them."""
        # XLA fuses what a GPU would do one by one; on a CPU and among devices it gains nothing.
        compiled = bool(tf.config.list_physical_devices("GPU")) and self._strategy.num_replicas_in_sync == 1
        self._train_step = tf.function(self._distributed(self._train_replica, compiled))
        self._validation_step = tf.function(self._distributed(self._validate_replica, compiled))
        self._mean_statistics = tf.function(self._reduce_statistics)

    def _distributed(self, step: Callable, compiled: bool) -> Callable:
        replica = tf.function(step, jit_compile=True) if compiled else step

        def run(images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            loss, matrix = self._strategy.run(replica, (images, labels))
            total = tf.distribute.ReduceOp.SUM
            return self._strategy.reduce(total, loss, axis=None), self._strategy.reduce(total, matrix, axis=None)

        return run

    def _train_replica(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        weights = self.model.trainable_variables
        with tf.GradientTape() as tape:
            logits = self.model(images, training=True)
            loss = self._share(labels, logits)
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, [weight.value for weight in weights])
        # Summed before the optimizer sees them: whether they are finite, and how long, is then the same on each device.
        gradients = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        before = tf.identity(self.optimizer.iterations)
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        # Moved by updates only, as the averages of the weights: not where gradients were added up, or overflowed.
        new = tf.where(self.optimizer.iterations > before, 1 - old_share(before, self._ema_momentum), 0.0)
        for average, now in zip(self._averages, self._statistics, strict=True):
            average.assign(average + new * (now - average))  # Frozen ones stay as they are, to the bit.
        return loss, iou_tensorflow.confusion_matrix(labels, logits)

    def _reduce_statistics(self) -> list[tf.Tensor]:
        """Returns the means over all devices of the batch statistics, of which each device has those of its own shares.

        Were they left apart, one device's would be saved for all, and a training that goes on would not be the same.
        """
        read = self._strategy.run(lambda: [tf.identity(now.value) for now in self.model.non_trainable_weights])
        return [self._strategy.reduce(tf.distribute.ReduceOp.MEAN, values, axis=None) for values in read]

    def _validate_replica(self, images: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = self.model(images, training=False)
        return self._share(labels, logits), iou_tensorflow.confusion_matrix(labels, logits)

    def _share(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Returns a device's share of the batch's loss, by its part of the pixels that count; all shares add up to the loss."""
        loss = self._loss(labels, logits)
        counted = tf.reduce_sum(tf.cast(labels != features.IGNORE_LABEL, tf.float32))
        total = tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, counted)
        return loss * tf.math.divide_no_nan(counted, total)

    def train(self, batches: tf.data.Dataset, on_step: Callable[[int, float], None]) -> Measured:
        """Learns from each batch once.

        Args:
            batches: of (image float32 [B, H, W, 3] in [0, 1], label int32 [B, H, W]); where several devices share a batch, the
                shares of this host's devices, in turn.
            on_step: called after each, with its number from 0 and its loss; what it raises ends the epoch.
        """
        watched = profiling.watched(self._distribute(batches), self._train_step.experimental_get_tracing_count)
        measured = self._measure(self._train_step, watched, on_step)
        if self.devices > 1:
            for now, mean in zip(self.model.non_trainable_weights, self._mean_statistics(), strict=True):
                now.assign(mean)
        return measured

    def validate(self, batches: tf.data.Dataset, on_step: Callable[[int, float], None]) -> Measured:
        """Measures without learning; arguments as of `train`."""
        return self._measure(self._validation_step, self._distribute(batches), on_step)

    def _distribute(self, batches: tf.data.Dataset) -> Iterable:
        return self._strategy.distribute_datasets_from_function(lambda context: batches)

    def _measure(self, step: Callable, batches: Iterable, on_step: Callable[[int, float], None]) -> Measured:
        weighted, total = 0.0, np.zeros((self.model.output_shape[-1],) * 2, np.int64)
        for number, (images, labels) in enumerate(batches):
            loss, matrix = (result.numpy() for result in step(images, labels))
            weighted += float(loss) * matrix.sum()
            total = total + matrix
            on_step(number, float(loss))
        return float(weighted / max(total.sum(), 1)), total

    def weights(self) -> list[np.ndarray]:
        """Returns the network's weights."""
        return self.model.get_weights()

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Puts the moving averages, where there are any, in place of weights and batch statistics for as long as it lasts."""
        with averaged(self.optimizer):
            self._swap_statistics()
            try:
                yield
            finally:
                self._swap_statistics()

    def _swap_statistics(self) -> None:
        for average, now in zip(self._averages, self._statistics, strict=True):
            kept = np.array(now)
            now.assign(average)
            average.assign(kept)

    def arrays(self) -> list[np.ndarray]:
        """Returns the network's weights, what the optimizer remembers, and averages; dropout is seeded anew each epoch."""
        return [np.asarray(variable) for variable in self._variables()]

    def restore(self, arrays: list[np.ndarray]) -> None:
        """Sets what `arrays` returned."""
        for variable, array in zip(self._variables(), arrays, strict=True):
            variable.assign(array)

    def _variables(self) -> list[keras.Variable]:
        return [*self.model.weights, *self.optimizer.variables, *self._averages]
