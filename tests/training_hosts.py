"""Trainings on several hosts, which are processes of this one: `run_fn` in each, under a `TF_CONFIG` of its own.

Takes one argument, a list in JSON of processes that run at the same time, each `{"fn_args": {...}, "log": FILE}` and, as wanted:

    "tf_config": what TF_CONFIG is to say
    "devices": logical CPU devices, among which MirroredStrategy divides each batch
    "kill_at": epoch before which the process kills itself

Prints their exit statuses as a list in JSON. Importing TensorFlow takes long, so it is done once.
"""

import json
import os
import signal
import sys
import traceback
from typing import Any

import tensorflow as tf
from tfx.components.trainer.fn_args_utils import FnArgs

from components import hosts, trainer


def _use_devices(count: int) -> None:
    [cpu] = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    hosts.local_strategy = lambda: tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(count)])


def _kill_at(epoch: int) -> None:
    train = trainer.Training._train_epoch

    def train_or_die(training: trainer.Training) -> Any:
        if training.state.epoch + 1 == epoch:
            os.kill(os.getpid(), signal.SIGKILL)
        return train(training)

    trainer.Training._train_epoch = train_or_die


def _run(job: dict[str, Any]) -> None:
    log = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    if "tf_config" in job:
        os.environ["TF_CONFIG"] = job["tf_config"]
    if "devices" in job:
        _use_devices(job["devices"])
    if "kill_at" in job:
        _kill_at(job["kill_at"])
    trainer.run_fn(FnArgs(**job["fn_args"]))


def _start(job: dict[str, Any]) -> int:
    process = os.fork()
    if process:
        return process
    try:
        _run(job)
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
    sys.exit(0)


if __name__ == "__main__":
    processes = [_start(job) for job in json.loads(sys.argv[1])]  # A child leaves from within.
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]))
