"""The data's files, on this machine or in any store that TensorFlow knows (gs://, s3://, ram://, ...): looked at and read only.

Paths are texts. Errors are Python's own, whichever file system raised them.
"""

import contextlib
import errno
import os
import posixpath
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import tensorflow as tf

_Result = TypeVar("_Result")


def is_remote(path: str) -> bool:
    """Tells an address such as gs://bucket/folder from a path on this machine."""
    return "://" in path


def join(folder: str, *parts: str) -> str:
    """Joins what is not empty by slashes."""
    return posixpath.join(folder, *(part for part in parts if part))


def completion_mark(folder: str) -> str:
    """Returns the path of the object beside a folder in a store that says that the folder is whole; it is written last."""
    return folder.rstrip("/") + ".complete"


def printable(text: str) -> str:
    """Returns a text for a terminal: whatever a file is called, it starts no line and no escape sequence there."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


@contextlib.contextmanager
def os_errors(path: str) -> Iterator[None]:
    """Raises TensorFlow's errors as Python's, with the store's message; EIO and others of `PASSING` only what may pass."""
    import tensorflow as tf

    try:
        yield
    except tf.errors.NotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path) from error
    except (tf.errors.PermissionDeniedError, tf.errors.UnauthenticatedError) as error:
        raise PermissionError(errno.EACCES, error.message, path) from error
    except tf.errors.OpError as error:
        raise OSError(_number_of(error), error.message, path) from error


_NUMBERS = {os.strerror(number): number for number in errno.errorcode}


def _number_of(error: "tf.errors.OpError") -> int:
    """Returns the system's number that an error of TensorFlow's ends with in words, `FILE; Is a directory`, or the nearest."""
    import tensorflow as tf

    may_pass = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError, tf.errors.UnknownError)
    said = str(error.message).rpartition("; ")[2]
    return _NUMBERS.get(said, errno.EIO if isinstance(error, may_pass) else errno.EINVAL)


PASSING = frozenset(
    {
        errno.EIO,
        errno.EAGAIN,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTDOWN,
        errno.EHOSTUNREACH,
        errno.ENETDOWN,
        errno.ENETRESET,
        errno.ENETUNREACH,
        errno.EREMOTEIO,
    }
)
"""Numbers of the system's errors that a file system or a network may get over: they say nothing of the file."""

PASSING_CODES = frozenset({408, 429, 500, 502, 503, 504})
"""Of HTTP: what a store may get over."""

FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Those of a disk or a quota that is used up."""

MAX_FILE_BYTES = 1 << 30
"""A picture, a mask or a list that is larger is none: it would fill a worker's memory."""


def raise_passing(error: OSError) -> None:
    """Raises an error of `PASSING`, for what would else say that the data is at fault."""
    if error.errno in PASSING:
        raise error


def stays_inside(path: str, folder: str) -> bool:
    """Tells whether a local path, links followed, lies below a folder; always true of a store's objects, which are no links."""
    if is_remote(path):
        return True
    top = os.path.realpath(folder)
    return os.path.commonpath((os.path.realpath(path), top)) == top


def refuse_special(path: str) -> None:
    """Refuses what must not be opened as a file on this machine: a pipe makes one wait for ever, a device need not end.

    Raises:
        OSError: it is such.
    """
    if not os.path.isfile(path) and not os.path.isdir(path) and os.path.exists(path):
        raise OSError(errno.EINVAL, "it is a pipe, a socket or a device, not a file", path)


def _refuse_large(path: str, size_bytes: int) -> None:
    if size_bytes > MAX_FILE_BYTES:
        raise OSError(errno.EFBIG, f"it has {size_bytes} bytes, more than {MAX_FILE_BYTES}", path)


def read_bytes(path: str) -> bytes:
    """Returns a file's content.

    Raises:
        OSError: it cannot be read; FileNotFoundError where there is none.
    """
    if not is_remote(path):
        refuse_special(path)
        with open(path, "rb") as file:
            _refuse_large(path, os.fstat(file.fileno()).st_size)
            return file.read()
    import tensorflow as tf

    try:
        with os_errors(path), tf.io.gfile.GFile(path, "rb") as file:
            _refuse_large(path, file.size())
            return file.read()
    except OSError as error:
        if is_folder(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path) from error
        raise


def exists(path: str) -> bool:
    """Tells whether there is a file or a folder.

    Raises:
        OSError: a store cannot be asked, or the file system fails in a way that may pass.
    """
    if not is_remote(path):
        return _mode(path) is not None
    import tensorflow as tf

    with os_errors(path):
        return tf.io.gfile.exists(path)


def is_folder(path: str) -> bool:
    """Tells whether there is a folder.

    Raises:
        OSError: of `PASSING`; whatever else fails, there is none.
    """
    if not is_remote(path):
        mode = _mode(path)
        return mode is not None and stat.S_ISDIR(mode)
    import tensorflow as tf

    if tf.io.gfile.isdir(path):
        return True
    try:  # It says so of a store that cannot be asked, too.
        with os_errors(path):
            tf.io.gfile.stat(path)
    except OSError as error:
        raise_passing(error)
    return False


def _mode(path: str) -> int | None:
    """Returns a local file's type and rights; None where there is none, or none that can be looked at."""
    try:
        return os.stat(path).st_mode
    except OSError as error:
        raise_passing(error)
    except ValueError:  # A name with a zero byte.
        pass
    return None


def names(folder: str) -> list[str]:
    """Returns the names in a folder, sorted.

    Raises:
        OSError: it cannot be listed; FileNotFoundError where there is none.
    """
    if not is_remote(folder):
        return sorted(os.listdir(folder))
    import tensorflow as tf

    try:
        with os_errors(folder):
            return sorted(name.rstrip("/") for name in tf.io.gfile.listdir(folder))  # gs:// ends folders with a slash.
    except FileNotFoundError as error:
        if exists(folder):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder) from error
        raise


def files_below(folder: str) -> Iterator[str]:
    """Yields the files below a folder, links to folders left alone, by paths relative to it; hidden ones are left out.

    Where there is no such folder, there are none.

    Raises:
        OSError: a folder cannot be listed.
    """
    guard: contextlib.AbstractContextManager[None] = contextlib.nullcontext()
    if is_remote(folder):
        import tensorflow as tf

        guard, walk = os_errors(folder), tf.io.gfile.walk(folder)
    else:
        walk = os.walk(folder, onerror=_raise_unless_missing)
    with guard:
        for where, folders, found in walk:
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            inner = where[len(folder) :].strip("/")
            yield from (join(inner, name) for name in sorted(found) if not name.startswith("."))


def links_below(folder: str) -> list[str]:
    """Returns the links to folders below a local folder, by paths relative to it: `files_below` does not follow them."""
    found = []
    for where, folders, _ in os.walk(folder) if not is_remote(folder) else ():
        inner = where[len(folder) :].strip("/")
        found += [join(inner, name) for name in folders if os.path.islink(os.path.join(where, name))]
    return sorted(found)


def _raise_unless_missing(error: OSError) -> None:
    """Is called where `os.walk` would pass over a folder without a word."""
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
