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
        begun: seconds after its start at which each step was first seen in the metadata store.
    """

    status: int
    seconds: float
    begun: dict[str, float]


class Site:
    """A root with one configuration, and what lies in it."""

    def __init__(self, server: Server, folder: pathlib.Path, data: pathlib.Path) -> None:
        self.server, self.folder, self.root = server, folder, folder / "root"
        self.arguments = ["run", *SMALL, "--data", str(data), "--root", str(self.root)]
        (folder / "tmp").mkdir(parents=True)

    def run(self, kill_after_s: float = 0.0, kill_at: str = "", delay_s: float = 0.0) -> Ended:
        """Runs; kills the whole group so long after the start, or after a step began, where one is said."""
        output = self.folder / "output.txt"
        environment = {"TMPDIR": str(self.folder / "tmp")}
        started = time.monotonic()
        process = self.server.start({"arguments": self.arguments, "output": str(output), "environment": environment})
        group = pathlib.Path(f"/proc/{process}/stat")
        begun: dict[str, float] = {}
        deadline = started + kill_after_s if kill_after_s else float("inf")
        while time.monotonic() < deadline and _is_alive(group):
            time.sleep(0.02)
            for name in self.steps():
                begun.setdefault(name, time.monotonic() - started)
            if kill_at in begun and deadline == float("inf"):
                deadline = time.monotonic() + delay_s
        if _is_alive(group):
            os.killpg(process, signal.SIGKILL)
        seconds = time.monotonic() - started
        return Ended(self.server.wait(), seconds, begun)

    def steps(self) -> list[str]:
        """Returns the components that have been launched, which make a folder each, in no order."""
        return [path.name for path in (self.root / "artifacts").glob("*/*")]

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


def _kill_and_rerun(site: Site, moment: str, **kill: float | str) -> str:
    """Kills a run, checks what a plain rerun makes of it, and returns a row of the table."""
    killed = site.run(**kill)
    assert killed.status in (-signal.SIGKILL, 0), (site.folder / "output.txt").read_text()
    before = site.complete()
    at = next((name for name, state in reversed(site.states()) if state in ("RUNNING", "NEW")), "between steps")
    waited = time.monotonic()
    while others := _others(site.folder / "tmp"):
        assert time.monotonic() - waited < 5, others
        time.sleep(0.05)
    orphans = len(site.outputs() - site.known()) if before else len(site.outputs())
    rerun = site.run()
    assert rerun.status == 0, (site.folder / "output.txt").read_text()
    executed = site.check_end(before)
    left = len(list((site.folder / "tmp").iterdir()))
    state = "done" if killed.status == 0 else f"in {at}"
    return (
        f"{moment:>14} | {state:<26} | {len(before):2} complete, {orphans} half outputs | "
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
        print(_kill_and_rerun(site, f"{moment_s:.1f} s", kill_after_s=moment_s), flush=True)


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("step", ["ServingCheck", "Pusher"])
def test_kill_around_the_push_leaves_one_version(
    server: Server, tmp_path: pathlib.Path, data: pathlib.Path, unbroken: Ended, step: str
) -> None:
    rng = np.random.default_rng(7)
    longest_s = {"ServingCheck": 3.0, "Pusher": 0.3}[step]
    for number in range(4):
        delay_s = longest_s * (number + rng.uniform()) / 4
        site = Site(server, tmp_path / str(number), data)
        print(_kill_and_rerun(site, f"{step} + {delay_s:.2f} s", kill_at=step, delay_s=delay_s), flush=True)
