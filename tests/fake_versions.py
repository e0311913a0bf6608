"""Folders with the files of a SavedModel, what lies in a folder, and jobs that are killed at a moment of their work on files.

What lies there is found with other means than the code under test.
"""

import multiprocessing
import os
import pathlib
import random
import signal
import sys
from collections.abc import Callable
from typing import Any

FORK = multiprocessing.get_context("fork")
"""A process of its own that need not import TFX again."""


def write_model(folder: pathlib.Path, seed: int = 0, files: int = 4, size_bytes: int = 1000) -> pathlib.Path:
    """Writes something with the files of a SavedModel."""
    content = random.Random(seed)
    names = ["saved_model.pb", "fingerprint.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"]
    names += [f"assets.extra/{number}/weights" for number in range(files - len(names))]
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content.randbytes(size_bytes))
    (folder / "assets").mkdir(exist_ok=True)  # TensorFlow writes it, empty as it is.
    return folder


def contents(folder: pathlib.Path) -> dict[str, bytes | None]:
    """Returns all that lies below a folder."""
    found: dict[str, bytes | None] = {}
    for parent, folders, files in os.walk(folder):
        found |= {os.path.relpath(os.path.join(parent, name), folder): None for name in folders}
        for name in files:
            path = os.path.join(parent, name)
            found[os.path.relpath(path, folder)] = pathlib.Path(path).read_bytes()
    return found


def kill_at(job: Callable[[], object], moment: int) -> int:
    """Does a job in a process that is killed at its nth operation on files; 0 for never.

    Returns:
        How many operations it came to.
    """
    seen = FORK.Value("i", 0)
    process = FORK.Process(target=_die_at, args=(job, moment, seen))
    process.start()
    process.join()
    assert process.exitcode == (-signal.SIGKILL if moment else 0)
    return seen.value


def _die_at(job: Callable[[], object], moment: int, seen: Any) -> None:
    def count(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" or (event.startswith(("os.", "shutil.")) and event != "os.kill"):
            seen.value += 1
            if seen.value == moment:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    job()
    os._exit(0)
