"""Which errors are tried again, and when."""

import errno
import os
import sqlite3

import apache_beam as beam
import google.api_core.exceptions
import pytest
import requests
import tensorflow as tf
from apache_beam.io.filesystem import BeamIOError
from apache_beam.options.pipeline_options import PipelineOptions
from ml_metadata import errors as mlmd_errors

from components.errors import DataError, TrainingError
from pipeline import retries
from pipeline_config import ConfigError


def _system(number: int, file: str | None = "/data/a.jpg") -> OSError:
    return OSError(number, os.strerror(number), file)


def _raised(error: BaseException, cause: BaseException | None = None, context: BaseException | None = None) -> BaseException:
    error.__context__ = context
    if cause:  # Saying that there is none hides the context.
        error.__cause__ = cause
    return error


def _of_worker(text: str) -> RuntimeError:
    return RuntimeError(
        f"Traceback (most recent call last):\n  File \"x.py\", line 3, in process\n{text} [while running 'Read']\n"
    )


TRANSIENT = {
    "EIO": _system(errno.EIO),
    "stale": _system(errno.ESTALE),
    "timed out": _system(errno.ETIMEDOUT),
    "reset": ConnectionResetError(errno.ECONNRESET, "Connection reset by peer"),
    "reset without a number": ConnectionResetError("gone"),
    "TensorFlow unavailable": tf.errors.UnavailableError(None, None, "try later"),
    "TensorFlow aborted": tf.errors.AbortedError(None, None, "try later"),
    "TensorFlow's file system": tf.errors.UnknownError(None, None, "/data/a; Input/output error"),
    "service": google.api_core.exceptions.ServiceUnavailable("x"),
    "too many": google.api_core.exceptions.TooManyRequests("x"),
    "gateway": google.api_core.exceptions.GatewayTimeout("x"),
    "requests": requests.exceptions.ConnectTimeout("x"),
    "metadata": mlmd_errors.UnavailableError("x"),
    "locked": sqlite3.OperationalError("database is locked"),
    "locked metadata": RuntimeError("Failed to establish connection to Metadata storage with error: database is locked"),
    "cause": _raised(RuntimeError("step failed"), cause=_system(errno.EIO)),
    "cause of a cause": _raised(RuntimeError("a"), cause=_raised(ValueError("b"), cause=_system(errno.EHOSTUNREACH))),
    "context": _raised(RuntimeError("step failed"), context=_system(errno.EIO)),
    "argument": RuntimeError("step failed", _system(errno.EIO)),
    "worker": _of_worker("OSError: [Errno 5] Input/output error: '/data/a.jpg'"),
    "worker's store": _of_worker("google.api_core.exceptions.ServiceUnavailable: 503 x"),
    "worker's TensorFlow": _of_worker("tensorflow.python.framework.errors_impl.UnavailableError: x"),
    "refused by the metadata server": RuntimeError("mysql_real_connect failed: errno: , error: "),
    "store of Beam's": BeamIOError("List failed", {"gs://b/a": google.api_core.exceptions.ServiceUnavailable("x")}),
    "clean-up failed, too": _raised(FileNotFoundError(errno.ENOENT, "gone", "/tmp/a"), context=_system(errno.EIO)),
}
PERMANENT = {
    "ours": DataError("bad"),
    "ours of EIO": _raised(TrainingError("bad"), cause=_system(errno.EIO)),
    "EIO while ours was handled": _raised(_system(errno.EIO), context=ConfigError("bad")),
    "full": _system(errno.ENOSPC),
    "quota": _system(errno.EDQUOT),
    "EIO on a full disk": _raised(_system(errno.EIO), cause=_system(errno.ENOSPC)),
    "read-only": _system(errno.EROFS),
    "permission": _system(errno.EACCES),
    "missing": _system(errno.ENOENT),
    "too many files": _system(errno.EMFILE),
    "worker's permission": _of_worker("PermissionError: [Errno 13] Permission denied: '/data/a.jpg'"),
    "store of Beam's that refuses": BeamIOError("List failed", {"gs://b/a": google.api_core.exceptions.Forbidden("x")}),
    "worker's, of the data": _of_worker("components.errors.DataError: bad; Input/output error"),
    "worker's, of the configuration": _of_worker("pipeline_config.ConfigError: bad; Input/output error"),
    "worker's full disk": _of_worker("OSError: [Errno 28] No space left on device: '/data/a.jpg'"),
    "TensorFlow's missing file": tf.errors.NotFoundError(None, None, "/data/a; No such file or directory"),
    "TensorFlow's memory": tf.errors.ResourceExhaustedError(None, None, "OOM when allocating; temporarily unavailable"),
    "TensorFlow's full disk": tf.errors.ResourceExhaustedError(None, None, "/data/a; No space left on device"),
    "memory": _raised(RuntimeError("x"), cause=MemoryError()),
    "interrupt": KeyboardInterrupt(),
    "interrupt in Beam": _raised(RuntimeError("KeyboardInterrupt [while running 'Read']"), context=_system(errno.EIO)),
    "loss": ValueError("the loss is NaN"),
    "not found in the store": google.api_core.exceptions.NotFound("x"),
    "forbidden": google.api_core.exceptions.Forbidden("x"),
    "number that is none of the system": ValueError("[Errno 5] of the list"),
    "wrong argument to the metadata store": mlmd_errors.InvalidArgumentError("x"),
}
FULL = {
    "full": _system(errno.ENOSPC),
    "quota": _system(errno.EDQUOT),
    "worker": _of_worker("OSError: [Errno 28] No space left on device: '/data/a.jpg'"),
    "TensorFlow": tf.errors.ResourceExhaustedError(None, None, "/data/a; No space left on device"),
    "SQLite": sqlite3.OperationalError("database or disk is full"),
    "metadata": mlmd_errors.InternalError("Cannot commit: database or disk is full"),
    "cause": _raised(RuntimeError("x"), cause=_system(errno.ENOSPC)),
}


@pytest.mark.parametrize("error", TRANSIENT.values(), ids=TRANSIENT)
def test_what_may_pass_is_transient(error: BaseException) -> None:
    assert retries.is_transient(error)


@pytest.mark.parametrize("error", PERMANENT.values(), ids=PERMANENT)
def test_what_does_not_pass_is_permanent(error: BaseException) -> None:
    assert not retries.is_transient(error)


@pytest.mark.parametrize("error", FULL.values(), ids=FULL)
def test_full_disk_is_recognised_and_not_transient(error: BaseException) -> None:
    assert retries.is_full(error) and not retries.is_transient(error)


@pytest.mark.parametrize("name", TRANSIENT)
def test_what_may_pass_is_no_full_disk(name: str) -> None:
    assert not retries.is_full(TRANSIENT[name])


def test_chain_of_errors_in_a_circle_ends() -> None:
    one, two = RuntimeError("one"), RuntimeError("two")
    one.__cause__, two.__cause__ = two, one
    assert list(retries.chain(one)) == [one, two]
    assert not retries.is_transient(one)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("EIO", "input/output error on /data/a.jpg"),
        ("worker", "input/output error on /data/a.jpg"),
        ("cause of a cause", "no route to host on /data/a.jpg"),
        ("TensorFlow's file system", "UnknownError: /data/a; Input/output error"),
        ("locked", "OperationalError: database is locked"),
        ("service", "ServiceUnavailable: 503 x"),
    ],
)
def test_transient_error_is_told_in_a_few_words(name: str, words: str) -> None:
    assert retries.explain(TRANSIENT[name]) == words


def test_waits_grow_vary_with_the_seed_and_come_again_with_it() -> None:
    first, second = retries.delays("run 1")
    assert 3 <= first <= 5 and 12 <= second <= 20
    assert retries.delays("run 1") == [first, second] != retries.delays("run 2")


class Sometimes:
    """Raises some errors, then returns the number of the attempt."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.numbers: list[int] = []

    def __call__(self, number: int) -> int:
        self.numbers.append(number)
        if self.errors:
            raise self.errors.pop(0)
        return number


def _call(attempt: Sometimes) -> tuple[list[tuple], list[float], int | BaseException]:
    told: list[tuple] = []
    slept: list[float] = []
    try:
        result = retries.call(attempt, "seed", lambda *details: told.append(details), slept.append)
    except BaseException as error:
        return told, slept, error
    return told, slept, result


def test_third_try_succeeds_after_two_waits() -> None:
    one, two = _system(errno.EIO), _system(errno.ESTALE)
    attempt = Sometimes(one, two)
    told, slept, result = _call(attempt)
    assert (attempt.numbers, result) == ([1, 2, 3], 3)
    assert slept == retries.delays("seed")
    assert told == [(one, slept[0], 2), (two, slept[1], 3)]


def test_error_of_the_last_try_is_raised() -> None:
    errors = [_system(errno.EIO) for _ in range(4)]
    attempt = Sometimes(*errors)
    assert _call(attempt)[2] is errors[2]
    assert attempt.numbers == [1, 2, 3]


@pytest.mark.parametrize("error", [_system(errno.EACCES), DataError("x"), KeyboardInterrupt()])
def test_permanent_error_is_tried_once(error: BaseException) -> None:
    attempt = Sometimes(error)
    assert _call(attempt) == ([], [], error)
    assert attempt.numbers == [1]


def test_permanent_error_of_the_second_try_is_the_last() -> None:
    error = _system(errno.EACCES)
    attempt = Sometimes(_system(errno.EIO), error)
    assert _call(attempt)[2] is error
    assert attempt.numbers == [1, 2]


def _fail_in_beam(number: int, mode: str) -> BaseException:
    def fail(element: int) -> int:
        raise OSError(number, os.strerror(number), "/data/a.jpg")

    options = PipelineOptions(["--runner=FnApiRunner", f"--direct_running_mode={mode}", "--direct_num_workers=1"])
    with pytest.raises(Exception) as caught, beam.Pipeline(options=options) as pipeline:
        _ = pipeline | beam.Create([1]) | "Read" >> beam.Map(fail)
    return caught.value


@pytest.mark.parametrize("mode", ["in_memory", pytest.param("multi_processing", marks=pytest.mark.soak)])
def test_beam_s_own_errors_are_seen_through(mode: str) -> None:
    passing = _fail_in_beam(errno.EIO, mode)
    assert retries.is_transient(passing)
    assert retries.explain(passing) == "input/output error on /data/a.jpg"
    full = _fail_in_beam(errno.ENOSPC, mode)
    assert retries.is_full(full) and not retries.is_transient(full)
    assert not retries.is_transient(_fail_in_beam(errno.EACCES, mode))
