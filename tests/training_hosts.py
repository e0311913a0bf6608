"""Trainings on several hosts, which are processes of this one: TFX's Trainer in each, under a `TF_CONFIG` of its own.

Takes one argument, a list in JSON of processes that run at the same time, each with `records` (a folder of the splits),
`output` (where the artifacts go), `custom_config`, `log` (a file), and, as wanted:

    "tf_config": what TF_CONFIG is to say
    "devices": number of logical CPU devices, among which MirroredStrategy divides each batch
    "kill_at": the epoch before which the process kills itself, counted from where it begins

Prints their exit statuses as a list in JSON. Importing TensorFlow takes long, so it is done once.
"""

import itertools
import json
import os
import signal
import sys
import traceback
from typing import Any

import tensorflow as tf
from tfx.components.trainer.executor import GenericExecutor
from tfx.types import artifact_utils, standard_artifacts

from components import hosts
from components.training_loop import TrainingLoop


def _use_devices(count: int) -> None:
    [cpu] = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * count)
    hosts.local_strategy = lambda: tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(count)])


def _kill_at(epoch: int) -> None:
    """Patches the loop: TFX loads the Trainer's own module anew before it calls it."""
    train, epochs = TrainingLoop.train, itertools.count(1)

    def train_or_die(*arguments: Any) -> Any:
        if next(epochs) == epoch:
            os.kill(os.getpid(), signal.SIGKILL)
        return train(*arguments)

    TrainingLoop.train = train_or_die


def _train(job: dict[str, Any]) -> None:
    examples, model, model_run = standard_artifacts.Examples(), standard_artifacts.Model(), standard_artifacts.ModelRun()
    examples.uri, model.uri, model_run.uri = job["records"], f"{job['output']}/model", f"{job['output']}/run"
    examples.split_names = artifact_utils.encode_split_names(["train", "eval"])
    properties = {
        "run_fn": "components.trainer.run_fn",
        "train_args": json.dumps({"splits": ["train"]}),
        "eval_args": json.dumps({"splits": ["eval"]}),
        "custom_config": json.dumps(job["custom_config"]),
    }
    GenericExecutor().Do({"examples": [examples]}, {"model": [model], "model_run": [model_run]}, properties)


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
    _train(job)


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
    processes = [_start(job) for job in json.loads(sys.argv[1])]
    print(json.dumps([os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in processes]))
