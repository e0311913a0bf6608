"""Which errors pass by themselves, and how long to wait for that.

An error is judged by its whole chain of causes. Beam makes errors of its own of those of its workers, of which only the text
may be left: `OSError: [Errno 5] Input/output error: 'FILE' [while running 'STEP']`, or a whole traceback.
"""

import os
import random
import re
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from components.datasets.files import FULL, PASSING, PASSING_CODES
from components.errors import VocsegError
from pipeline_config import ConfigError

TRIES = 3
"""Of a step, in all."""

_FIRST_DELAY_S = 4.0
_Result = TypeVar("_Result")

_TRANSIENT_NAMES = frozenset(
    {
        "tensorflow.UnavailableError",
        "tensorflow.AbortedError",
        "tensorflow.DeadlineExceededError",
        "ml_metadata.UnavailableError",
        "ml_metadata.AbortedError",
        "ml_metadata.DeadlineExceededError",
        "google.ServiceUnavailable",
        "google.TooManyRequests",
        "google.InternalServerError",
        "google.BadGateway",
        "google.GatewayTimeout",
        "google.DeadlineExceeded",
        "google.RetryError",
        "requests.ConnectionError",
        "requests.Timeout",
        "requests.ConnectTimeout",
        "requests.ReadTimeout",
        "requests.ChunkedEncodingError",
        "urllib3.ProtocolError",
        "urllib3.ReadTimeoutError",
        "urllib3.MaxRetryError",
    }
)
"""Package and class: a name alone says too little, and importing them all here would take seconds."""

ROLLED_BACK = "no transaction is active"
"""Of SQLite, which gives a transaction up by itself where it cannot write: then ML Metadata's COMMIT fails."""

_TRANSIENT_TEXTS = (
    "database is locked",
    "disk i/o error",  # SQLite's.
    "input/output error",  # As TensorFlow's file systems say it, whose error is an UnknownError.
    "stale file handle",
    "connection reset by peer",
    "connection refused",
    "connection timed out",
    "temporarily unavailable",
    "lost connection to mysql server",
    "mysql server has gone away",
    "can't connect to mysql server",
    "can't connect to server on",
    "mysql_real_connect failed",  # All that ML Metadata says of a server that restarts, and of a wrong password alike.
)
_FULL_TEXTS = (
    "no space left on device",
    "disk quota exceeded",
    "database or disk is full",
)
_PERMANENT_TYPES = (VocsegError, ConfigError, KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError)
_PERMANENT_TEXTS = (
    "keyboardinterrupt",
    "memoryerror",
    "resourceexhaustederror",
    "out of memory",
    "components.errors.",  # Of a worker's error, of which this is left, the class.
    "pipeline_config.configerror",
)
_ERRNO = re.compile(r"\[Errno (\d+)\]")
_OF_THE_SYSTEM = re.compile(r"\b(?:OSError|IOError|\w*Connection\w*Error|BlockingIOError|InterruptedError|TimeoutError): ")
_FILE = re.compile(r"""\[Errno \d+\] [^:'"\n]+: (?:'([^'\n]+)'|"([^"\n]+)")|^([/\w.-]*/[^;:\n]+); """)


def chain(error: BaseException) -> Iterator[BaseException]:
    """Yields an error, and what it was raised from or while handling, the last one first."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop(0)
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting += [link.__cause__, None if link.__suppress_context__ else link.__context__]
        details = getattr(link, "exception_details", None)  # Of Beam's file systems: the errors of the store's client, by path.
        inner = [*link.args, *(details.values() if isinstance(details, dict) else ())]
        waiting += [error for error in inner if isinstance(error, BaseException)]


def is_transient(error: BaseException) -> bool:
    """Tells whether an error may be gone when the same is tried again; what is not known to be so is not.

    What is ours, a full disk, an interrupt or a lack of memory is never, at whatever place of the chain it stands.
    """
    links = list(chain(error))
    if is_full(error) or any(_is_permanent(link) for link in links):
        return False
    return any(_link_is_transient(link) for link in links)


def is_full(error: BaseException) -> bool:
    """Tells whether a disk or a quota was used up."""
    return any(is_full_link(link) for link in chain(error))


def is_full_link(link: BaseException) -> bool:
    """Tells whether one link of a chain says that a disk or a quota was used up."""
    text = str(link).lower()
    return not FULL.isdisjoint(_numbers(link)) or any(part in text for part in _FULL_TEXTS)


def explain(error: BaseException) -> str:
    """Returns a transient error in a few words, with its file where it names one."""
    for link in reversed(list(chain(error))):
        if not _link_is_transient(link):
            continue
        numbers = _numbers(link)
        if not numbers:
            return f"{type(link).__name__}: {str(link).strip()[:200]}"
        file = find_file(link)
        return os.strerror(numbers[0]).lower() + (f" on {file}" if file else "")
    return type(error).__name__


def find_file(error: BaseException, of: Callable[[BaseException], bool] = lambda link: True) -> str:
    """Returns the file that an error or its causes name, or "".

    Args:
        error: with its chain.
        of: tells which links of the chain count.
    """
    for link in filter(of, reversed(list(chain(error)))):
        name = getattr(link, "filename", None)
        if isinstance(name, str | bytes):
            return os.fsdecode(name)
        if found := _FILE.search(str(link)):
            return next(filter(None, found.groups()))
    return ""


def call(
    attempt: Callable[[int], _Result],
    seed: str,
    on_retry: Callable[[BaseException, float, int], None],
    sleep: Callable[[float], None] = time.sleep,
) -> _Result:
    """Returns what an attempt returns; tries again after a transient error, `TRIES` times in all.

    Args:
        attempt: is given its number from 1.
        seed: see `delays`.
        on_retry: is told the error, the wait in seconds and the number of the next attempt, before the wait.
        sleep: waits.

    Raises:
        Exception: that of the last attempt.
    """
    for number, delay_s in enumerate(delays(seed), start=1):
        try:
            return attempt(number)
        except Exception as error:
            if not is_transient(error):
                raise
            on_retry(error, delay_s, number + 1)
        sleep(delay_s)
    return attempt(TRIES)


def delays(seed: str, tries: int = TRIES) -> list[float]:
    """Returns how long to wait before each further try, in seconds: about 4, 16, 64 ..., a quarter more or less.

    Args:
        seed: makes the jitter, so that runs that failed together do not come back together.
        tries: in all.
    """
    rng = random.Random(seed)
    return [_FIRST_DELAY_S * 4**number * rng.uniform(0.75, 1.25) for number in range(tries - 1)]


def _is_permanent(link: BaseException) -> bool:
    if isinstance(link, _PERMANENT_TYPES):
        return True
    text = f"{type(link).__name__}: {link}".lower()
    return any(part in text for part in _PERMANENT_TEXTS)


def _link_is_transient(link: BaseException) -> bool:
    numbers = _numbers(link)
    if numbers:
        return PASSING.issuperset(numbers)
    if isinstance(link, ConnectionError | TimeoutError) or _name(link) in _TRANSIENT_NAMES:
        return True
    if getattr(link, "code", None) in PASSING_CODES:  # Of Beam's clients of stores.
        return True
    text = str(link)
    if any(f"{name.partition('.')[2]}: " in text for name in _TRANSIENT_NAMES):  # A worker's error, of which this is left.
        return True
    return any(part in text.lower() for part in _TRANSIENT_TEXTS)


def _numbers(link: BaseException) -> list[int]:
    """Returns the system's numbers of an error, from the text where the error is not the system's own."""
    if isinstance(link, OSError) and isinstance(link.errno, int):
        return [link.errno]
    text = str(link)
    return [int(number) for number in _ERRNO.findall(text)] if _OF_THE_SYSTEM.search(text) else []


def _name(link: BaseException) -> str:
    return f"{type(link).__module__.partition('.')[0]}.{type(link).__name__}"
