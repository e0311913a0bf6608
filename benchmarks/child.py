"""A Python of its own for what is timed from its start to its end."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile

_LAST_WORDS = 2000
"""Characters of what a process said before it failed."""

_FAREWELL_S = 30


def python(*arguments: str) -> str:
    """Returns what a new process of Python printed; interrupted, it is given time to clean up.

    Raises:
        RuntimeError: it failed; with the end of what it said on its standard error.
    """
    quiet = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "2"}
    with tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, *arguments]
        # In a group of its own: a terminal would interrupt it, too, and a second interrupt falls into its cleaning up.
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, env=quiet, process_group=0) as process:
            try:
                printed, _ = process.communicate()
            except KeyboardInterrupt:
                process.send_signal(signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(_FAREWELL_S)
                process.kill()  # Does nothing to one that has ended.
                raise
        if process.returncode:
            said.seek(0)
            raise RuntimeError(f"{' '.join(arguments)[:200]} ended with {process.returncode}: {said.read()[-_LAST_WORDS:]}")
    return printed


def vocseg(*arguments: str) -> str:
    """Returns what a command of ours printed."""
    return python("-m", "pipeline", *arguments)
