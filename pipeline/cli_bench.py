"""`vocseg bench`: the benchmarks of the repository's checkout, which are no part of the installed package."""

import argparse
import os
import pathlib
import sys
from typing import Any

from components.errors import VocsegError

CHECKOUT = pathlib.Path(__file__).parents[1]
"""The folder with `pipeline`: a checkout, or where packages are installed."""


def add_commands(commands: Any) -> None:
    """Adds bench, whose arguments `benchmarks` knows: here all are words, `--help` too."""
    bench = commands.add_parser(
        "bench", help="time it beside plain code (in the repository's checkout)", add_help=False, prefix_chars="\0"
    )
    bench.add_argument("words", nargs="*")
    bench.set_defaults(function=_bench, debug=False)


def _bench(arguments: argparse.Namespace) -> int:
    """Becomes `python -m benchmarks`, which then gets the signals and makes the status.

    Raises:
        VocsegError: this is no checkout.
    """
    if not (CHECKOUT / "benchmarks" / "__main__.py").is_file():
        raise VocsegError(
            f"There are no benchmarks in {CHECKOUT}: they are not installed with vocseg. Run `make bench` in the repository's "
            "checkout, or the `.venv/bin/vocseg bench` that `make install` makes there."
        )
    path = os.pathsep.join(filter(None, (str(CHECKOUT), os.environ.get("PYTHONPATH"))))
    # Else a folder `benchmarks` where the user stands would go first, and in the processes that are timed, `pipeline`.
    environment = os.environ | {"PYTHONPATH": path, "PYTHONSAFEPATH": "1"}
    os.execve(sys.executable, [sys.executable, "-m", "benchmarks", *arguments.words], environment)
