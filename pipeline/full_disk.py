"""A full disk, in words: which one it is, and what to do."""

import errno
import os
import tempfile
from collections.abc import Iterable

from components.errors import VocsegError
from pipeline import retries


class FullDiskError(VocsegError):
    """There is no room left on a disk, or a quota is used up."""


_RESERVE_BYTES = 4 << 20
"""Room for ML Metadata's file. Where SQLite cannot write it gives a transaction up, which ML Metadata notices only at
its COMMIT: half of what was to be noted of a step may then stand there, and be taken for a step that was completed."""

_OF_A_WORKER = ("[while running '", "Traceback (most recent call last)", "Workflow failed")
"""What Beam's errors have in their texts that tell of those of its workers."""


def in_words(error: BaseException, folders: Iterable[str], elsewhere: bool = False) -> BaseException:
    """Returns an error that says which disk is full, where that is the cause of one that is not ours; else the error itself.

    Args:
        error: that a step, the metadata store or the run's own record raised.
        folders: where a run writes, beside the folder of temporary files.
        elsewhere: whether Beam's work is done on other machines.
    """
    if isinstance(error, VocsegError | KeyboardInterrupt):
        return error
    folders = [*folders, tempfile.gettempdir()]
    if not retries.is_full(error) and not _rolled_back_for_lack_of_room(error, folders):
        return error
    if elsewhere and all(_is_of_worker(link) for link in filter(retries.is_full_link, retries.chain(error))):
        return FullDiskError(_describe_worker(retries.find_file(error, retries.is_full_link)))
    return FullDiskError(_describe(retries.find_file(error, retries.is_full_link), folders))


def require_room(folder: str) -> None:
    """Fails, before anything is written, where there is hardly any room left; to be asked before ML Metadata is written to.

    Args:
        folder: of ML Metadata's file.

    Raises:
        OSError: ENOSPC, with the folder.
    """
    if _free_bytes(folder) < _RESERVE_BYTES:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), os.path.join(folder, "metadata.sqlite"))


def _rolled_back_for_lack_of_room(error: BaseException, folders: list[str]) -> bool:
    """Tells of ML Metadata's error where SQLite gave a transaction up by itself: it does so on a full disk, and elsewhere."""
    gave_up = any(retries.ROLLED_BACK in str(link) for link in retries.chain(error))
    return gave_up and any(_free_bytes(folder) < _RESERVE_BYTES for folder in filter(os.path.isdir, folders))


def _is_of_worker(link: BaseException) -> bool:
    return any(mark in str(link) for mark in _OF_A_WORKER)


def _describe_worker(file: str) -> str:
    writing = f" while writing {file}" if file else ""
    return (
        f"{os.strerror(errno.ENOSPC)}{writing}: the disk of a worker of Beam's is full; this machine's only if it runs here. "
        "Nothing that was published is harmed. Give the workers more room (of Dataflow's: --set cloud.beam_disk_gb=N) and run "
        "the same command again: finished steps are not run again."
    )


def _describe(file: str, folders: list[str]) -> str:
    folder = _existing(file) if file.startswith("/") else min(filter(os.path.isdir, folders), key=_free_bytes)
    of_quota = _free_bytes(folder) > 64 << 20 and _free_inodes(folder) > 0
    free = "" if of_quota else f" ({_free_bytes(folder) / 2**20:.1f} MiB and {_free_inodes(folder)} inodes are free)"
    writing = f" while writing {file}" if file else ""
    return (
        f"{os.strerror(errno.ENOSPC)}{writing}: the disk of {folder} is full{free}, or a quota on it is used up. Nothing that "
        "was published is harmed. Make room there and run the same command again: finished steps are not run again."
    )


def _existing(file: str) -> str:
    """Returns the nearest folder above a file that is there."""
    folder = os.path.dirname(file)
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    return folder


def _free_bytes(folder: str) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def _free_inodes(folder: str) -> int:
    return os.statvfs(folder).f_favail
