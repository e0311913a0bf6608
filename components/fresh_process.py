"""A script in a Python of its own, within budgets of time and memory."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

_POLL_S = 0.05
_OUTPUT_FILE = "output.txt"
_WITHHELD = ("PYTHON", "VOCSEG_METADATA_")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ended:
    """How it went.

    Attributes:
        seconds: from start to end.
        peak_memory_bytes: largest resident size that was seen.
        over: the budget for which it was killed, "time" or "memory"; else "".
        signal: name of the signal that it died of by itself, as in SIGSEGV; else "".
        output: the end of what it printed.
    """

    seconds: float
    peak_memory_bytes: int
    over: str
    signal: str
    output: str


def run_script(script: str, arguments: Sequence[str], folder: pathlib.Path, max_seconds: float, max_bytes: float) -> Ended:
    """Runs a script isolated from this process's paths and settings of Python, without a GPU; nothing of it is left behind.

    The password of the metadata server, which a model's code has no use for, is kept from it.

    Memory is watched, and not limited by the system: TensorFlow reserves far more addresses than it uses.

    Args:
        script: its path.
        arguments: of the script.
        folder: an empty one, where it runs.
        max_seconds: after which it is killed.
        max_bytes: of resident memory, beyond which it is killed.
    """
    # The GPU's memory is this process's own already.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(_WITHHELD)}
    environment |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_CPP_MIN_LOG_LEVEL": "2"}
    output, over, peak = folder / _OUTPUT_FILE, "", 0
    started = time.monotonic()
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-I", "-W", "ignore", script, *arguments],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # A group of its own, so that what it may start ends with it.
        )
        try:
            while not over and not _has_ended(process.pid):
                peak = max(peak, _peak_bytes(process.pid))
                over = "memory" if peak > max_bytes else "time" if time.monotonic() - started > max_seconds else ""
                time.sleep(0 if over else _POLL_S)
        finally:
            os.killpg(process.pid, signal.SIGKILL)  # The number is still taken: nobody has waited for the process.
            status = process.wait()
    died_of = signal.Signals(-status).name if status < 0 and not over else ""
    return Ended(
        seconds=time.monotonic() - started,
        peak_memory_bytes=peak,
        over=over,
        signal=died_of,
        output=output.read_text(errors="replace")[-2000:],
    )


def _has_ended(number: int) -> bool:
    """Tells whether a child has ended, and leaves it to be waited for."""
    return os.waitid(os.P_PID, number, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _peak_bytes(number: int) -> int:
    """Returns the largest resident size of a process so far (VmHWM); 0 where it is ending."""
    try:
        lines = pathlib.Path(f"/proc/{number}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)
