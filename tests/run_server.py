"""Command lines that a test kills: a process group each, forked from one process that has imported TensorFlow and TFX.

A line of JSON in asks for one, `{"arguments": ["run", ...], "output": FILE, "environment": {...}}`, and its process id comes
out; an empty line waits for its end, and its exit status comes out.
"""

import atexit
import importlib
import json
import os
import pathlib
import pkgutil
import sys
import tempfile
import traceback

import components
import pipeline
from pipeline import cli

_HARMLESS = {"pipeline.__main__"}


def _import_everything() -> None:
    for package in (components, pipeline):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if module.name not in _HARMLESS:
                importlib.import_module(module.name)


def _run(job: dict) -> int:
    os.setsid()
    os.environ.update(job["environment"])
    tempfile.tempdir = None  # It is another one now.
    output = os.open(job["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    return cli.main(job["arguments"])


def main() -> None:
    """Serves until its input ends."""
    tell = os.fdopen(os.dup(1), "w")  # Imports print, too.
    os.dup2(2, 1)
    _import_everything()
    print("ready", file=tell, flush=True)
    for line in iter(sys.stdin.readline, ""):
        job = json.loads(line)
        process = os.fork()
        if process == 0:
            status = 1
            try:
                status = _run(job)
            except BaseException:
                traceback.print_exc()
            atexit._run_exitfuncs()  # What os._exit leaves out; some of them remove temporary files.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        print(process, file=tell, flush=True)
        sys.stdin.readline()  # Until then, the process's number stays its own.
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), file=tell, flush=True)


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(cli.__file__).parents[1]))
    main()
