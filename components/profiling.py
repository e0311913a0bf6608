"""Where the time of a training goes, while someone watches: waiting for batches, and some steps in TensorFlow's profiler.

Whoever runs the Trainer in this process says so by `profiled`. It is no part of what a training is, and changes no result.
"""

import contextlib
import contextvars
import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import tensorflow as tf

PROFILED_STEPS = 10
"""That many steps are recorded, or the rest of the epoch where that has fewer: each takes some MB."""


@dataclasses.dataclass
class StepTimes:
    """What training steps took, from asking for the batch to asking for the next.

    Attributes:
        steps: number of those that count: without the ones below.
        seconds: that they took.
        waiting_s: of it, until the batch was there; and until it was known that there is none any more.
        traced_steps: number of those in which TensorFlow compiled the step, which takes seconds: as a rule, the first.
        traced_s: that those took.
        profiled_steps: number of those that TensorFlow's profiler has recorded.
    """

    steps: int = 0
    seconds: float = 0.0
    waiting_s: float = 0.0
    traced_steps: int = 0
    traced_s: float = 0.0
    profiled_steps: int = 0

    @property
    def input_share(self) -> float | None:
        """The input-bound share of a step, 0..1; None where no step counts."""
        return self.waiting_s / self.seconds if self.steps else None


class _Watch:
    """Times steps, and records the first ones that are not compiled.

    Args:
        folder: where TensorBoard will look for the profile.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._recording = self._recorded = False
        self.times = StepTimes()

    def watch(self, batches: Iterable, traces: Callable[[], int]) -> Iterator:
        iterator, times = iter(batches), self.times
        try:
            while True:
                self._begin_recording()
                known = traces()
                # The marker by which TensorBoard tells steps apart.
                with tf.profiler.experimental.Trace("train", step_num=times.steps + times.traced_steps, _r=1):
                    asked = time.perf_counter()
                    batch: Any = next(iterator, None)
                    waited_s = time.perf_counter() - asked
                    if batch is None:
                        times.seconds += waited_s
                        times.waiting_s += waited_s
                        return
                    yield batch
                    seconds = time.perf_counter() - asked
                self._note(seconds, waited_s, is_traced=traces() > known)
        finally:
            self.end_recording()

    def _note(self, seconds: float, waited_s: float, is_traced: bool) -> None:
        times = self.times
        if is_traced:
            times.traced_steps += 1
            times.traced_s += seconds
        else:
            times.steps += 1
            times.seconds += seconds
            times.waiting_s += waited_s
        times.profiled_steps += self._recording
        if times.profiled_steps == PROFILED_STEPS:
            self.end_recording()

    def _begin_recording(self) -> None:
        if self.times.traced_steps and not (self._recording or self._recorded):
            self._recording = self._try("start", lambda: tf.profiler.experimental.start(self._folder))
            self._recorded = not self._recording

    def end_recording(self) -> None:
        """Writes what is recorded; where an epoch had no more steps, another one is waited for."""
        if self._recording:
            self._recording = False
            self._recorded = self.times.profiled_steps > 0
            if not self._try("write", lambda: tf.profiler.experimental.stop(save=self._recorded)):
                self.times.profiled_steps = 0

    def _try(self, what: str, act: Callable[[], None]) -> bool:
        """Tells whether it worked: a training does not fail over what is written of its steps."""
        try:
            act()
        except (tf.errors.OpError, OSError) as error:
            logging.warning("TensorFlow's profiler could not %s its recording in %s: %s", what, self._folder, error)
            return False
        return True


_WATCH: contextvars.ContextVar[_Watch | None] = contextvars.ContextVar("_WATCH", default=None)


@contextlib.contextmanager
def profiled(folder: str) -> Iterator[StepTimes]:
    """Watches the trainings in this thread while it lasts.

    Args:
        folder: where TensorFlow's profile goes, for TensorBoard.

    Yields:
        What the steps took, filled in as they are done.
    """
    watch = _Watch(folder)
    token = _WATCH.set(watch)
    try:
        yield watch.times
    finally:
        _WATCH.reset(token)
        watch.end_recording()  # Of an epoch that an error has ended.


def watched(batches: Iterable, traces: Callable[[], int]) -> Iterable:
    """Returns the batches of an epoch as they are, or, where someone watches, such that steps are timed.

    Args:
        batches: each is asked for when the step before it is done.
        traces: returns how often the step has been compiled so far.
    """
    watch = _WATCH.get()
    return watch.watch(batches, traces) if watch else batches
