"""Whole runs killed at any moment and started again: they end blessed and pushed, nothing done twice, nothing left over."""

import dataclasses
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest
from ml_metadata import MetadataStore
from ml_metadata.proto import metadata_store_pb2

from components import version_records, versions
from components.datasets.fake_voc import write_fake_voc

PROJECT = pathlib.Path(__file__).parents[1]
KILLS = 30
SMALL = [
    "--preset=mini",
    "--epochs=3",
    "--set=model.filters=4",
    "--set=model.depth=2",
    "--set=evaluate.min_mean_iou=0",
    "--set=evaluate.beat_constant=false",
]
LOOKUPS = {"DataBaseline", "Baseline"}
State = metadata_store_pb2.Execution.State


class Server:
    """The parent of the runs."""

    def __init__(self, log: pathlib.Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(PROJECT), "CUDA_VISIBLE_DEVICES": "-1"}
        with log.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, str(PROJECT / "tests/run_server.py")],
                cwd=PROJECT,
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        assert self.read() == "ready", log.read_text()

    def read(self) -> str:
        return self._process.stdout.readline().strip()

    def tell(self, line: str) -> None:
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def start(self, job: dict) -> int:
        self.tell(json.dumps(job))
        return int(self.read())

    def wait(self) -> int:
        self.tell("")
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


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("data") / "mini"
    write_fake_voc(folder, split_sizes={"train": 24, "val": 21, "test": 21})
    return folder


@dataclasses.dataclass
class Ended:
    """A run that has ended.

    Attributes:
        status: its exit status, -9 if it was killed.
        seconds: from its start to its end.
    """

    status: int
    seconds: float


class Site:
    """A root with one configuration, and what lies in it."""

    def __init__(self, server: Server, folder: pathlib.Path, data: pathlib.Path) -> None:
        self.server, self.folder, self.root = server, folder, folder / "root"
        self.arguments = ["run", *SMALL, "--data", str(data), "--root", str(self.root)]
        (folder / "tmp").mkdir(parents=True)

    def run(self, kill_after_s: float = 0.0, kill_in: str = "", delay_s: float = 0.0) -> Ended:
        """Runs; kills the whole group so long after the start, or after a step began, where one is said."""
        output = self.folder / "output.txt"
        environment = {"TMPDIR": str(self.folder / "tmp")}
        started = time.monotonic()
        process = self.server.start({"arguments": self.arguments, "output": str(output), "environment": environment})
        group = pathlib.Path(f"/proc/{process}/stat")
        deadline = started + kill_after_s if kill_after_s else float("inf")
        while time.monotonic() < deadline and _is_alive(group):
            time.sleep(0.02)
            if kill_in and deadline == float("inf") and (kill_in, "RUNNING") in self.states():
                deadline = time.monotonic() + delay_s
        if _is_alive(group):
            os.killpg(process, signal.SIGKILL)
        seconds = time.monotonic() - started
        return Ended(self.server.wait(), seconds)

    def survivors(self) -> list[int]:
        """Returns the processes of a killed run that are still there after some seconds."""
        deadline = time.monotonic() + 5
        while (others := _others(self.folder / "tmp")) and time.monotonic() < deadline:
            time.sleep(0.05)
        return others

    def store(self) -> MetadataStore:
        config = metadata_store_pb2.ConnectionConfig()
        config.sqlite.filename_uri = str(self.root / "metadata.sqlite")
        config.sqlite.connection_mode = metadata_store_pb2.SqliteMetadataSourceConfig.READONLY
        return MetadataStore(config)

    def states(self) -> list[tuple[str, str]]:
        """Returns component and state of each execution, in order."""
        if not (self.root / "metadata.sqlite").exists():
            return []
        store = self.store()
        try:
            executions = sorted(store.get_executions(), key=lambda execution: execution.id)
        except Exception:  # The tables are not there yet.
            return []
        found = []
        for execution in executions:
            [node] = [c.name for c in store.get_contexts_by_execution(execution.id) if c.type == "node"] or ["?.?"]
            found.append((node.rpartition(".")[2], State.Name(execution.last_known_state)))
        return found

    def complete(self) -> list[str]:
        return [name for name, state in self.states() if state == "COMPLETE" and name not in LOOKUPS]

    def summary(self) -> dict:
        return json.loads(max((self.root / "runs").glob("*/summary.json")).read_text())

    def outputs(self) -> set[str]:
        """Returns the artifacts' folders on the disk."""
        found = (self.root / "artifacts").glob("*/*/*/*")
        return {str(path) for path in found if path.parent.name != ".system" and path.parents[1].name != ".system"}

    def known(self) -> set[str]:
        """Returns the artifacts' folders that complete executions have put out, as the store has them."""
        store = self.store()
        executions = [e.id for e in store.get_executions() if e.last_known_state == metadata_store_pb2.Execution.COMPLETE]
        events = [e for e in store.get_events_by_execution_ids(executions) if e.type == metadata_store_pb2.Event.OUTPUT]
        return {artifact.uri for artifact in store.get_artifacts_by_id([event.artifact_id for event in events])}

    def check_end(self, before: list[str]) -> list[str]:
        """Checks what the rerun left; returns what it executed.

        Args:
            before: the components that were complete when the run was killed.
        """
        summary = self.summary()
        assert summary["status"] == "succeeded" and summary["verdict"]["blessed"] and summary["pushed"]
        executed = [step["name"] for step in summary["steps"] if step["status"] == "run"]
        assert not set(executed) & set(before), (executed, before)
        complete = self.complete()
        assert sorted(complete) == sorted(set(complete)) and len(complete) == 12, self.states()
        assert {state for _, state in self.states()} <= {"COMPLETE", "CACHED", "FAILED"}, self.states()
        assert self.outputs() == self.known()
        [version] = versions.versions(pathlib.Path(summary["paths"]["models"]))
        assert version.name == summary["pushed"]["version"] and version_records.read_record(version) is not None
        assert not [path for path in version.parent.iterdir() if path.name not in (version.name, ".records", ".lock")]
        for path in (self.root / "runs").glob("*/summary.json"):
            json.loads(path.read_text())
        return executed


def _is_alive(stat: pathlib.Path) -> bool:
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _others(folder: pathlib.Path) -> list[int]:
    """Returns the processes whose environment names a folder."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def _kill_and_rerun(site: Site, moment_s: float) -> str:
    """Kills a run, checks what a plain rerun makes of it, and returns a row of the table."""
    killed = site.run(kill_after_s=moment_s)
    assert killed.status in (-signal.SIGKILL, 0), (site.folder / "output.txt").read_text()
    before = site.complete()
    at = next((name for name, state in reversed(site.states()) if state in ("RUNNING", "NEW")), "between steps")
    assert not site.survivors()
    orphans = len(site.outputs() - site.known()) if before else len(site.outputs())
    rerun = site.run()
    assert rerun.status == 0, (site.folder / "output.txt").read_text()
    executed = site.check_end(before)
    left = len(list((site.folder / "tmp").iterdir()))
    state = "done" if killed.status == 0 else f"in {at}"
    return (
        f"{moment_s:6.1f} s | {state:<26} | {len(before):2} complete, {orphans} half outputs | "
        f"reran {', '.join(executed) or 'nothing'} | {rerun.seconds:.0f} s, blessed, pushed; {left} temporary files"
    )


@pytest.fixture(scope="module")
def unbroken(server: Server, tmp_path_factory: pytest.TempPathFactory, data: pathlib.Path) -> Ended:
    site = Site(server, tmp_path_factory.mktemp("unbroken"), data)
    ended = site.run()
    assert ended.status == 0, (site.folder / "output.txt").read_text()
    assert len(site.check_end([])) == 12
    return ended


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(3))
def test_run_killed_at_ten_moments_ends_blessed_and_pushed(
    server: Server, tmp_path: pathlib.Path, data: pathlib.Path, unbroken: Ended, part: int
) -> None:
    rng = np.random.default_rng(part)
    for number in range(part, KILLS, 3):
        moment_s = unbroken.seconds * (number + rng.uniform()) / KILLS  # Spread over the whole run.
        site = Site(server, tmp_path / str(number), data)
        print(_kill_and_rerun(site, moment_s), flush=True)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_kills_in_the_steps_of_the_model_leave_one_version_a_model(
    server: Server, tmp_path: pathlib.Path, data: pathlib.Path
) -> None:
    rng = np.random.default_rng(7)
    site = Site(server, tmp_path, data)
    site.arguments += ["--set=evaluate.max_mean_iou_drop=1", "--set=evaluate.max_iou_drop=1"]
    arguments = list(site.arguments)
    killed = site.run(kill_in="Transform", delay_s=rng.uniform(0, 4.0))
    before = site.complete()
    assert killed.status == -signal.SIGKILL and "Trainer" not in before and not site.survivors()
    assert site.run().status == 0, (tmp_path / "output.txt").read_text()
    print(f"Transform | {len(before)} complete | reran {', '.join(site.check_end(before))} | blessed, pushed", flush=True)
    pushed = [site.summary()["pushed"]["version"]]
    steps = ["Pusher", "ServingCheck", "Pusher", "Evaluator", "Trainer", "ServingCheck", "Pusher", "ModelCardGen"]
    for seed, step in enumerate(steps, start=1):  # Another seed makes another model; what comes before the Trainer is cached.
        site.arguments = [*arguments, f"--seed={seed}"]
        before = site.complete()
        delay_s = rng.uniform(0, {"Pusher": 0.1, "ModelCardGen": 0.1, "Trainer": 15}.get(step, 4.0))
        killed = site.run(kill_in=step, delay_s=delay_s)
        done = site.complete()[len(before) :]
        at = [name for name, state in site.states() if state == "RUNNING"]
        partial = len(site.outputs() - site.known())
        assert not site.survivors()
        rerun = site.run()
        assert rerun.status == 0, (tmp_path / "output.txt").read_text()
        summary = site.summary()
        assert summary["verdict"]["blessed"] and summary["pushed"]
        executed = [row["name"] for row in summary["steps"] if row["status"] == "run"]
        assert sorted(done + executed) == sorted(["Trainer", "Evaluator", "ModelCardGen", "ServingCheck", "Pusher"])
        assert site.outputs() == site.known()
        pushed.append(summary["pushed"]["version"])
        found = versions.versions(pathlib.Path(summary["paths"]["models"]))
        assert [version.name for version in found] == pushed == sorted(pushed, key=int)
        assert all(version_records.read_record(version) is not None for version in found)
        print(
            f"{step} + {delay_s:.2f} s | killed in {', '.join(at) or 'no step'} ({killed.status}), {partial} half outputs | "
            f"reran {', '.join(executed) or 'nothing'} | {rerun.seconds:.0f} s, blessed, pushed",
            flush=True,
        )
