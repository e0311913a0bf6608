"""Trainings killed at any moment and started again: they end as if nothing had been, and do nothing twice that was done."""

import csv
import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import h5py
import numpy as np
import pytest
from fake_records import CLASS_NAMES, SIZE_PX, write_squares

from components import trainer, training_log
from components.trainer import TrainerConfig
from pipeline_config import AugmentConfig, ModelConfig, ServingConfig, TrainConfig, TransformConfig, to_json

PROJECT = pathlib.Path(trainer.__file__).parents[1]
EPOCHS = 6
CONFIG = TrainerConfig(
    transform=TransformConfig(height_px=SIZE_PX, width_px=SIZE_PX),
    augment=AugmentConfig(flip=True, min_scale=0.7, max_scale=1.4, rotation_deg=10, brightness=0.2, copy_paste=0.5),
    model=ModelConfig(filters=4, depth=2, dropout=0.2, normalization="batch"),
    train=TrainConfig(
        epochs=EPOCHS,
        batch_size=4,
        seed=3,
        optimizer="adamw",
        learning_rate=5e-3,
        weight_decay=0.01,
        schedule="poly",
        warmup_epochs=1,
        ema_momentum=0.9,
        accumulate_steps=2,
        balance_classes=True,
        panel_images=2,
    ),
    serving=ServingConfig(micro_batch_size=2),
    class_names=CLASS_NAMES,
    palette=((0, 0, 0), (250, 0, 0), (0, 0, 250)),
)


class Server:
    """Starts trainings quickly, see `fork_server`."""

    def __init__(self, log: pathlib.Path) -> None:
        environment = os.environ | {"PYTHONPATH": f"{PROJECT}{os.pathsep}{pathlib.Path(__file__).parent}"}
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(pathlib.Path(__file__).with_name("fork_server.py"))],
                **{"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": errors, "text": True},
                **{"cwd": PROJECT, "env": environment},
            )
        assert self.read() == "ready", log.read_text()

    def read(self) -> str:
        return self._process.stdout.readline().strip()

    def start(self, job: dict) -> int:
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        return int(self.read())

    def wait(self) -> int:
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return int(self.read())

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("server") / "log.txt")
    yield server
    server.close()


@dataclasses.dataclass(frozen=True)
class Attempt:
    """A training from its start to its end or its death, in folders of its own as TFX makes them.

    Attributes:
        status: its exit status, -9 if it was killed.
        events: what it did.
        folder: `model` and `run` lie in it.
    """

    status: int
    events: list[str]
    folder: pathlib.Path

    def begun(self) -> list[int]:
        return [int(event.split()[1]) for event in self.events if event.startswith("begin ")]

    def weights(self) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        with h5py.File(self.folder / "model" / trainer.WEIGHTS_FILE) as file:
            file.visititems(lambda name, item: arrays.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
        return arrays

    def history(self) -> list[dict[str, str]]:
        with open(self.folder / "run" / training_log.HISTORY_FILE, newline="") as file:
            return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


class Site:
    """A folder with records, in which one training is tried again and again."""

    def __init__(self, server: Server, folder: pathlib.Path, records: pathlib.Path, pause_s: float = 0.0) -> None:
        self.server, self.folder, self.records, self.pause_s = server, folder, records, pause_s
        self.attempts: list[Attempt] = []

    def run(self, kill_at: str | None = None, delay_s: float = 0.0) -> Attempt:
        """Trains; kills it that long after the event, where one is named."""
        folder = self.folder / f"attempt-{len(self.attempts)}"
        folder.mkdir(parents=True)
        fn_args = {
            "train_files": [str(self.records / "train.gz")],
            "eval_files": [str(self.records / "eval.gz")],
            "serving_model_dir": str(folder / "model" / "Format-Serving"),
            "model_run_dir": str(folder / "run"),
            "custom_config": {"trainer": to_json(CONFIG), "state_dir": str(self.folder / "unfinished")},
        }
        events = folder / "events.txt"
        events.touch()
        job = {"fn_args": fn_args, "events": str(events), "log": str(folder / "log.txt"), "pause_s": self.pause_s}
        process = self.server.start(job)
        if kill_at:
            while not {kill_at, "done"} & set(events.read_text().splitlines()):
                time.sleep(0.002)
            time.sleep(delay_s)
            os.kill(process, signal.SIGKILL)
        status = self.server.wait()
        assert status in ((0, -signal.SIGKILL) if kill_at else (0,)), (folder / "log.txt").read_text()[-3000:]
        self.attempts.append(Attempt(status, events.read_text().splitlines(), folder))
        return self.attempts[-1]

    def newest_state(self) -> int:
        """Returns the epochs done of the newest whole state, 0 if there is none."""
        states = (self.folder / "unfinished").glob("*/epoch-*/state.json")
        return max((int(path.parent.name.removeprefix("epoch-")) for path in states), default=0)

    def check_nothing_is_done_twice(self) -> None:
        done = 0
        for attempt in self.attempts:
            begun = attempt.begun()
            assert begun == list(range(begun[0], begun[-1] + 1)) if begun else True
            assert not begun or begun[0] > done, [other.events for other in self.attempts]
            done = max([done, *(int(event.split()[1]) for event in attempt.events if event.startswith("saved "))])
        assert {epoch for attempt in self.attempts for epoch in attempt.begun()} == set(range(1, EPOCHS + 1))

    def check_end_is_that_of(self, unbroken: Attempt) -> None:
        weights, expected = self.attempts[-1].weights(), unbroken.weights()
        assert weights.keys() == expected.keys() and len(weights) > 10
        for name, array in expected.items():
            assert weights[name].dtype == array.dtype and weights[name].tobytes() == array.tobytes(), name
        assert self.attempts[-1].history() == unbroken.history()


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder of 16 records to train, 4 steps an epoch, and 6 to validate."""
    folder = tmp_path_factory.mktemp("records")
    write_squares(folder / "train.gz", 16, seed=1)
    write_squares(folder / "eval.gz", 6, seed=2)
    return folder


@pytest.fixture(scope="module")
def unbroken(server: Server, tmp_path_factory: pytest.TempPathFactory, records: pathlib.Path) -> Attempt:
    attempt = Site(server, tmp_path_factory.mktemp("unbroken"), records).run()
    assert attempt.begun() == list(range(1, EPOCHS + 1))
    assert attempt.events[-2:] == ["export", "done"] and len(attempt.history()) == EPOCHS
    return attempt


def _choose(rng: np.random.Generator, events: list[str], prefix: str) -> str:
    return str(rng.choice([event for event in events if event.startswith(prefix)]))


def test_training_killed_three_times_ends_as_an_unbroken_one(
    server: Server, tmp_path: pathlib.Path, records: pathlib.Path, unbroken: Attempt
) -> None:
    rng = np.random.default_rng(0)
    site = Site(server, tmp_path, records, pause_s=0.05)

    first_epoch = unbroken.events[: unbroken.events.index("begin 2")]
    site.run(kill_at=_choose(rng, first_epoch, "step "), delay_s=0.02)
    assert site.newest_state() == 0

    epoch = int(rng.integers(2, EPOCHS))
    site.run(kill_at=_choose(rng, unbroken.events, f"save {epoch} "), delay_s=0.02)
    assert site.newest_state() in (epoch - 1, epoch)

    killed = site.run(kill_at="export")  # All epochs are done, and nothing is saved but the state.
    assert site.newest_state() == EPOCHS
    assert killed.status < 0 and not (killed.folder / "model" / trainer.WEIGHTS_FILE).exists()

    assert site.run().begun() == []
    site.check_nothing_is_done_twice()
    site.check_end_is_that_of(unbroken)


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("moments", ["", "save "], ids=["any", "writing"])
@pytest.mark.parametrize("seed", [0, 1])
def test_training_killed_ten_times_ends_as_an_unbroken_one(
    server: Server, tmp_path: pathlib.Path, records: pathlib.Path, unbroken: Attempt, moments: str, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    site = Site(server, tmp_path, records, pause_s=0.1)
    for left in range(10, 0, -1):
        done = site.newest_state()
        coming = unbroken.events[unbroken.events.index(f"begin {done + 1}" if done < EPOCHS else "export") :]
        near = coming[: max(2 * len(coming) // (left + 1), 3)]  # So that ten kills reach from the first epoch to the last.
        if not any(event.startswith(moments) for event in near):
            near = coming
        site.run(kill_at=_choose(rng, near, moments if done < EPOCHS else ""), delay_s=rng.uniform(0, 0.2))
    site.run()
    site.check_nothing_is_done_twice()
    site.check_end_is_that_of(unbroken)
