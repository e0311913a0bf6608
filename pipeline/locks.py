"""The lock of a root: one run at a time."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator

from components.errors import VocsegError

_TRY_EVERY_S = 0.2


class BusyError(VocsegError):
    """Another run is under way in the root."""


@contextlib.contextmanager
def lock(root: str, wait_s: float = 0) -> Iterator[None]:
    """Allows one run a root at a time; the system releases the lock when the process dies.

    Args:
        root: a folder of this machine; made if missing.
        wait_s: for how long to wait for another run's end, in seconds.

    Raises:
        BusyError: another run holds it, also after the wait.
    """
    os.makedirs(root, exist_ok=True)
    deadline = time.monotonic() + wait_s
    with open(os.path.join(root, ".lock"), "w") as file:
        while not _taken(file.fileno()):
            if time.monotonic() >= deadline:
                raise BusyError(f"Another run is under way in {root}. Wait for it, or give --root another folder.")
            time.sleep(_TRY_EVERY_S)
        yield


def _taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
