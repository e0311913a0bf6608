"""Several hosts that train together: processes on this machine, joined by TF_CONFIG."""

import csv
import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import sys
from typing import Any

import h5py
import numpy as np
import pytest
import tensorflow as tf
from fake_records import CLASS_NAMES, SIZE_PX, write_squares

from components import hosts, trainer, training_log
from components.errors import TrainingError
from components.hosts import Hosts
from components.trainer import TrainerConfig
from pipeline_config import AugmentConfig, ModelConfig, ServingConfig, TrainConfig, TransformConfig, to_json

PROJECT = pathlib.Path(trainer.__file__).parents[1]
CONFIG = TrainerConfig(
    transform=TransformConfig(height_px=SIZE_PX, width_px=SIZE_PX),
    augment=AugmentConfig(flip=True, max_scale=1.3),
    model=ModelConfig(filters=2, depth=1, dropout=0.0),
    train=TrainConfig(epochs=2, batch_size=3, seed=7, optimizer="sgd", learning_rate=0.05, panel_images=2),
    serving=ServingConfig(micro_batch_size=2),
    class_names=CLASS_NAMES,
    palette=((0, 0, 0), (250, 0, 0), (0, 0, 250)),
)
"""Adam would hide a gradient that counts twice. A batch of three is filled up for two devices."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a training wrote.

    Attributes:
        status: exit status of each of its processes.
        folder: `model` and `run` lie in it.
        log: what each process said.
    """

    status: tuple[int, ...]
    folder: pathlib.Path
    log: tuple[str, ...]

    def weights(self) -> dict[str, np.ndarray]:
        arrays: dict[str, np.ndarray] = {}
        with h5py.File(self.folder / "model" / trainer.WEIGHTS_FILE) as file:
            file.visititems(lambda name, item: arrays.update({name: item[()]} if isinstance(item, h5py.Dataset) else {}))
        return arrays

    def history(self) -> np.ndarray:
        """Returns loss and mean IoU of training and validation, float64 [epochs, 4]."""
        names = ("loss", "mean_iou", "val_loss", "val_mean_iou")
        with open(self.folder / "run" / training_log.HISTORY_FILE, newline="") as file:
            return np.array([[float(row[name]) for name in names] for row in csv.DictReader(file)])

    def files(self) -> list[str]:
        """Returns what there is, of TensorBoard's logs only which folder has one."""
        paths = (path.relative_to(self.folder) for path in self.folder.rglob("*") if path.is_file())
        return sorted(str(path.parent if "tfevents" in path.name else path) for path in paths)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """The folder of 10 records to train and 5 to validate."""
    folder = tmp_path_factory.mktemp("records")
    for split, count in (("train", 10), ("eval", 5)):
        (folder / f"Split-{split}").mkdir()
        write_squares(folder / f"Split-{split}" / "0.gz", count, seed=count)
    return folder


def _job(folder: pathlib.Path, records: pathlib.Path, config: TrainerConfig, **more: Any) -> dict[str, Any]:
    folder.mkdir(parents=True, exist_ok=True)
    custom_config = {"trainer": to_json(config), "code_digest": "of no matter", "state_dir": str(folder / "unfinished")}
    output = {"output": str(folder / "output"), "log": str(folder / "log-0.txt")}
    return {"records": str(records), "custom_config": custom_config, **output, **more}


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _tf_configs(count: int) -> list[str]:
    """Returns what TF_CONFIG says on each host; they have one output folder, as on Vertex AI."""
    addresses = [f"127.0.0.1:{port}" for port in _free_ports(count)]
    cluster = {"chief": addresses[:1], "worker": addresses[1:]}
    tasks = [("chief", 0), *(("worker", number) for number in range(count - 1))]
    return [json.dumps({"cluster": cluster, "task": {"type": role, "index": index}}) for role, index in tasks]


def _hosts(folder: pathlib.Path, records: pathlib.Path, config: TrainerConfig, count: int) -> list[dict[str, Any]]:
    tf_configs = _tf_configs(count)
    return [
        _job(folder, records, config, tf_config=tf_config, log=str(folder / f"log-{host}.txt"))
        for host, tf_config in enumerate(tf_configs)
    ]


def _train(*trainings: list[dict[str, Any]]) -> list[Trained]:
    """Trains all at once."""
    jobs = [job for training in trainings for job in training]
    environment = {name: value for name, value in os.environ.items() if name != "TF_CONFIG"}
    done = subprocess.run(
        [sys.executable, str(pathlib.Path(__file__).with_name("training_hosts.py")), json.dumps(jobs)],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
        cwd=PROJECT,
        env=environment | {"PYTHONPATH": str(PROJECT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    status = iter(json.loads(done.stdout))
    return [
        Trained(
            tuple(next(status) for _ in training),
            pathlib.Path(training[0]["output"]),
            tuple(pathlib.Path(job["log"]).read_text() for job in training),
        )
        for training in trainings
    ]


def _check_same(one: Trained, other: Trained, tolerance: float) -> None:
    np.testing.assert_allclose(one.history(), other.history(), rtol=tolerance, atol=tolerance)
    weights, expected = one.weights(), other.weights()
    assert weights.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(weights[name], array, rtol=tolerance, atol=tolerance, err_msg=name)


# What TF_CONFIG says.


def _config(cluster: Any, role: Any = "worker", index: Any = 0) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": role, "index": index}, "environment": "cloud"})


@pytest.mark.parametrize(
    ("tf_config", "expected"),
    [
        (None, (0, 1)),
        ("", (0, 1)),
        ("{}", (0, 1)),
        ('{"environment": "cloud", "cluster": {}, "task": {}}', (0, 1)),
        (_config({"chief": ["a:1"]}, "chief"), (0, 1)),
        (_config({"worker": ["a:1"]}), (0, 1)),
        (_config({"worker": ["a:1", "b:1"]}, index=1), (1, 2)),
        (_config({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, "chief"), (0, 3)),
        (_config({"chief": ["a:1"], "worker": ["b:1", "c:1"]}), (1, 3)),
        (_config({"chief": ["a:1"], "worker": ["b:1", "c:1"]}, index=1), (2, 3)),
    ],
)
def test_chief_is_the_first_of_the_hosts(tf_config: str | None, expected: tuple[int, int]) -> None:
    assert hosts.parse(tf_config) == expected


@pytest.mark.parametrize(
    ("tf_config", "reason"),
    [
        ("{", "it is no JSON: .*line 1"),
        ("[]", "it is no object with the object `cluster`"),
        ('{"cluster": ["a:1"]}', "it is no object with the object `cluster`"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', "`task` has no `type` and `index`"),
        (_config({"worker": ["a:1"]}, index="0"), "`task` has no `type` and `index`"),
        (_config({"worker": ["a:1"]}, role=None), "`task` has no `type` and `index`"),
        (_config({"worker": ["a:1", "b:1"]}, index=2), "this is worker 2 of 2"),
        (_config({"worker": ["a:1", "b:1"]}, index=-1), "this is worker -1 of 2"),
        (_config({"worker": ["a:1", "b:1"]}, role="chief"), "this is chief 0 of 0"),
        (_config({"worker": "a:1"}), "`worker` is no list of addresses with a port"),
        (_config({"worker": ["a"]}), "`worker` is no list of addresses with a port"),
        (_config({"chief": ["a:1", "b:1"]}, role="chief"), "it names 2 chiefs"),
    ],
)
def test_malformed_tf_config_is_refused_in_words(tf_config: str, reason: str) -> None:
    with pytest.raises(TrainingError, match=f"TF_CONFIG cannot be used, for {reason}.*Expected, for instance.*Unset it"):
        hosts.parse(tf_config)


@pytest.mark.parametrize("role", ["ps", "evaluator", "master"])
def test_roles_that_nobody_plays_here_are_refused(role: str) -> None:
    for tf_config in (_config({"chief": ["a:1"], role: ["b:1"]}, "chief"), _config({"chief": ["a:1"]}, role)):
        with pytest.raises(TrainingError, match=f"role '{role}'.*as chief or worker.*worker pools 0 and 1 only"):
            hosts.parse(tf_config)


def test_host_cannot_be_joined_after_tensorflow_was_used(monkeypatch: pytest.MonkeyPatch) -> None:
    tf.constant(1)
    [tf_config, _] = _tf_configs(2)
    monkeypatch.setenv("TF_CONFIG", tf_config)
    with pytest.raises(TrainingError, match=r"not be joined to the 1 others.*must not have been used in this process"):
        hosts.join(tf_config)


def test_host_alone_is_the_chief_and_waits_for_nobody() -> None:
    alone = hosts.join("")
    assert (alone.index, alone.count, alone.is_chief, alone.strategy.num_replicas_in_sync) == (0, 1, True, 1)
    assert alone.broadcast(b"content") == b"content"
    alone.check_same("name")
    alone.wait()


def test_only_several_hosts_can_lose_touch() -> None:
    error = tf.errors.UnavailableError(None, None, "heartbeat timeout")
    alone = Hosts(strategy=tf.distribute.get_strategy())
    with pytest.raises(tf.errors.UnavailableError), hosts.advice_on_loss(alone):
        raise error
    match = r"number 1 of 2, counted from 0, lost touch.*Start all of them again"
    with pytest.raises(TrainingError, match=match), hosts.advice_on_loss(dataclasses.replace(alone, index=1, count=2)):
        raise error


@pytest.mark.parametrize(
    ("message", "lost"),
    [("Collective ops is aborted by: peer is down", True), ("Blas GEMM launch failed", False)],
)
def test_internal_error_is_a_loss_only_if_it_says_so(message: str, lost: bool) -> None:
    team = Hosts(strategy=tf.distribute.get_strategy(), index=1, count=2)
    with pytest.raises(TrainingError if lost else tf.errors.InternalError, match=message), hosts.advice_on_loss(team):
        raise tf.errors.InternalError(None, None, message)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 20])
def test_broadcast_goes_in_pieces(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    monkeypatch.setattr(hosts, "_PIECE_BYTES", 8)
    sent: list[np.ndarray] = []
    content = bytes(range(1, size + 1))

    def keep(team: Hosts, words: np.ndarray) -> np.ndarray:
        sent.append(words)
        return words

    monkeypatch.setattr(Hosts, "_sum", keep)
    chief = Hosts(strategy=tf.distribute.get_strategy(), index=0, count=2)
    assert chief.broadcast(content) == content
    of_chief = list(sent)
    sent.clear()
    # Another host adds nothing but zeros, of the same shapes.
    monkeypatch.setattr(Hosts, "_sum", lambda team, words: keep(team, words) + of_chief[len(sent) - 1])
    assert dataclasses.replace(chief, index=1).broadcast(b"own, of no matter") == content
    assert [words.shape for words in sent] == [words.shape for words in of_chief] and not any(map(np.any, sent))
    assert max((words.nbytes for words in sent), default=0) <= 8


# Trainings.


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, records: pathlib.Path) -> tuple[Trained, Trained, Trained]:
    """The same on two hosts, and alone, where a batch has to be as large as one that is filled up for two devices.

    And two hosts of which the second has another configuration: at the same time, as starting takes the longest.
    """
    folder = tmp_path_factory.mktemp("trained")
    alone = dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, batch_size=4))
    differing = _hosts(folder / "differing", records, CONFIG, 2)
    differing[1]["custom_config"]["trainer"] = to_json(_with(CONFIG, {}, seed=8))
    differing[1]["records"] = str(folder / "nowhere")  # They refuse before they read anything.
    two_hosts, one, refused = _train(
        _hosts(folder / "hosts", records, CONFIG, 2), [_job(folder / "alone", records, alone)], differing
    )
    assert (two_hosts.status, one.status) == ((0, 0), (0,)), two_hosts.log
    return two_hosts, one, refused


def test_two_hosts_end_as_one_alone(trained: tuple[Trained, Trained, Trained]) -> None:
    two_hosts, alone, _ = trained
    _check_same(two_hosts, alone, 1e-5)


def test_only_the_chief_writes(trained: tuple[Trained, Trained, Trained]) -> None:
    two_hosts, alone, _ = trained
    assert two_hosts.files() == alone.files() and "run/validation" in alone.files()
    assert len(list((two_hosts.folder.parent / "unfinished").glob("*/epoch-*"))) == 1


def test_model_of_several_hosts_is_served_without_them(trained: tuple[Trained, Trained, Trained]) -> None:
    images = tf.constant(np.random.default_rng(0).random((2, SIZE_PX, SIZE_PX, 3), np.float32))
    of_two_hosts, of_one = (
        tf.saved_model.load(str(one.folder / "model" / "Format-Serving")).signatures["logits"](images=images)["logits"]
        for one in trained[:2]
    )
    assert np.abs(of_one).max() > 1e-3  # Not equal by being zero.
    np.testing.assert_allclose(of_two_hosts, of_one, rtol=1e-4, atol=1e-5)


def test_hosts_with_other_configurations_all_refuse(trained: tuple[Trained, Trained, Trained]) -> None:
    refused = trained[2]
    assert refused.status == (1, 1)
    for log in refused.log:
        assert "TrainingError: All 2 hosts must train the same" in log and "host 1 differ from those of host 0" in log
    assert not refused.folder.exists()


def _with(config: TrainerConfig, model: dict[str, Any], **train: Any) -> TrainerConfig:
    changed = dataclasses.replace(config.model, **model)
    return dataclasses.replace(config, model=changed, train=dataclasses.replace(config.train, **train))


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_three_hosts_or_devices_with_all_that_has_a_state_end_as_one(tmp_path: pathlib.Path, records: pathlib.Path) -> None:
    settings = {"epochs": 3, "batch_size": 6, "accumulate_steps": 2, "ema_momentum": 0.9, "clip_norm": 1.0}
    config = _with(CONFIG, {}, **settings, weight_decay=0.01, balance_classes=True, warmup_epochs=1, schedule="poly")
    three_hosts, three_devices, one = _train(
        _hosts(tmp_path / "hosts", records, config, 3),
        [_job(tmp_path / "devices", records, config, devices=3)],
        [_job(tmp_path / "one", records, config)],
    )
    assert (three_hosts.status, three_devices.status, one.status) == ((0, 0, 0), (0,), (0,)), three_hosts.log
    _check_same(three_hosts, one, 1e-5)
    _check_same(three_devices, one, 1e-5)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("killed", [0, 1])
def test_training_whose_host_is_killed_goes_on_when_all_are_started_again(
    tmp_path: pathlib.Path, records: pathlib.Path, killed: int
) -> None:
    # With all of the randomness and the state there is: what the hosts draw apart has to come again.
    model = {"dropout": 0.2, "normalization": "batch"}
    config = _with(CONFIG, model, epochs=4, batch_size=4, ema_momentum=0.9, optimizer="adamw", learning_rate=5e-3)
    jobs = _hosts(tmp_path / "broken", records, config, 2)
    jobs[killed]["kill_at"] = 3
    whole, broken = _train(_hosts(tmp_path / "whole", records, config, 2), jobs)
    assert whole.status == (0, 0), whole.log
    assert broken.status[killed] == -9 and broken.status[1 - killed] not in (0, -9), broken.status
    if killed == 1:
        assert f"TrainingError: This host, number {1 - killed} of 2" in broken.log[1 - killed]
    assert not (broken.folder / "model").exists()
    [again] = _train(_hosts(tmp_path / "broken", records, config, 2))
    assert again.status == (0, 0) and "2/4 epochs, done by an interrupted run" in again.log[0], again.log
    assert len(again.history()) == 4
    _check_same(again, whole, 1e-6)


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_loss_that_explodes_ends_all_hosts_with_the_same_advice(tmp_path: pathlib.Path, records: pathlib.Path) -> None:
    [trained] = _train(_hosts(tmp_path, records, _with(CONFIG, {}, learning_rate=1e30), 2))
    assert trained.status == (1, 1)
    for log in trained.log:
        assert "TrainingError: The loss became" in log and "epoch 1, step 2" in log
    assert not (trained.folder / "model").exists()
