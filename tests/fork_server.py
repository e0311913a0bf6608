"""Trainings that a test kills: a process each, forked from one that has imported TensorFlow and has not used it yet.

A line of JSON in asks for one, `{"fn_args": {...}, "events": FILE, "log": FILE, "pause_s": 0.1}`, and its process id comes out;
an empty line waits for its end, and its exit status comes out. What it does is appended to `events`, a line each:

    begin 3, step 18, step 18 validating 1/2, save 3 0, save 3 1 (writing a state; it pauses before each), saved 3, export, done
"""

import json
import os
import sys
import time
import traceback
from collections.abc import Callable
from typing import Any

import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from components import serving, trainer, training_state

_WRITES = ("makedirs", "rename", "rmtree", "remove")


def _train(job: dict[str, Any]) -> None:
    events = os.open(job["events"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(*event: object) -> None:
        os.write(events, (" ".join(map(str, event)) + "\n").encode())

    def before(owner: Any, name: str, action: Callable[..., None]) -> None:
        original = getattr(owner, name)

        def call(*arguments: Any, **options: Any) -> Any:
            action(*arguments)
            return original(*arguments, **options)

        setattr(owner, name, call)

    epoch, saving = 0, None

    def on_begin(training: trainer.Training) -> None:
        nonlocal epoch
        epoch = training.state.epoch + 1
        note("begin", epoch)

    def on_report(training: trainer.Training, done: int, steps: int, *details: str) -> None:
        note("step", done, *(detail for detail in details if detail.startswith("validating")))

    def on_write(*arguments: object) -> None:
        nonlocal saving
        if saving is not None:
            note("save", epoch, saving)
            saving += 1
            time.sleep(job["pause_s"])

    save = training_state.StateFolder.save

    def on_save(*arguments: Any) -> None:
        nonlocal saving
        saving = 0
        save(*arguments)
        saving = None
        note("saved", epoch)

    before(trainer.Training, "_train_epoch", on_begin)
    before(trainer.Training, "_report", on_report)
    before(serving, "save", lambda *_: note("export"))
    for name in _WRITES:
        before(tf.io.gfile, name, on_write)
    before(training_state, "_write", on_write)
    training_state.StateFolder.save = on_save
    try:
        trainer.run_fn(FnArgs(**job["fn_args"]))
    finally:
        note("done")


def main() -> None:
    """Serves until its input ends."""
    print("ready", flush=True)
    for line in iter(sys.stdin.readline, ""):
        job = json.loads(line)
        process = os.fork()
        if process == 0:
            try:
                log = os.open(job["log"], os.O_WRONLY | os.O_CREAT)
                os.dup2(log, 1)
                os.dup2(log, 2)
                _train(job)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
            os._exit(0)
        print(process, flush=True)
        sys.stdin.readline()  # Until then, the process's number stays its own.
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
