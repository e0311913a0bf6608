"""The local runner, on tiny pipelines of function components with a real metadata store."""

import errno
import io
import multiprocessing
import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, OutputDict, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.dsl.components.common.resolver import Resolver
from tfx.dsl.input_resolution.strategies.latest_artifact_strategy import LatestArtifactStrategy
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.types import Channel, standard_artifacts
from tfx.utils import dependency_utils

from components import progress
from components.errors import DataError, VocsegError
from pipeline import locks, runners, targets
from pipeline.locations import Locations
from pipeline.runners import Step, run_local

ROOT = pathlib.Path(runners.__file__).parents[1]
EXECUTED: list[str] = []
"""What was executed, in order: the components below run in this process."""


@component
def Make(number: Parameter[int], made: OutputArtifact[standard_artifacts.String]) -> OutputDict(double=int):
    EXECUTED.append(f"Make {number}")
    made.value = str(number)
    made.set_string_custom_property("note", f"made {number}")
    return {"double": 2 * number}


@component
def Take(made: InputArtifact[standard_artifacts.String], taken: OutputArtifact[standard_artifacts.String]) -> None:
    progress.report(1, 2, "things")
    EXECUTED.append(f"Take {made.value}")
    taken.value = made.value + made.value


@component
def Fail(
    made: InputArtifact[standard_artifacts.String],
    failed: OutputArtifact[standard_artifacts.String],
    message: Parameter[str],
) -> None:
    EXECUTED.append("Fail")
    failed.value = "half"
    if message == "interrupt":
        raise KeyboardInterrupt
    raise DataError(message)


@component
def Look(model: InputArtifact[standard_artifacts.Model]) -> None:
    EXECUTED.append("Look")


@pytest.fixture(autouse=True)
def _nothing_executed() -> None:
    EXECUTED.clear()


class Watcher:
    """Notes what the runner tells."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def start(self, name: str, number: int, total: int) -> None:
        self.told.append((name, number, total))

    def end(self, step: Step) -> None:
        self.told.append((step.name, step.status))


def _pipeline(root: pathlib.Path, *components: Any, name: str = "p") -> tfx_pipeline.Pipeline:
    return tfx_pipeline.Pipeline(
        pipeline_name=name,
        pipeline_root=str(root / "artifacts"),
        components=list(components),
        enable_cache=True,
        metadata_connection_config=metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite")),
    )


def _run(root: pathlib.Path, run: str, *components: Any, watcher: Watcher | None = None) -> list[Step]:
    watcher = watcher or Watcher()
    return run_local(_pipeline(root, *components), run, watcher.start, watcher.end)


def _two(number: int = 3) -> tuple[Any, Any]:
    make = Make(number=number)
    return make, Take(made=make.outputs["made"])


def _executions(root: pathlib.Path) -> list[tuple[str, str]]:
    """Returns component and state of each execution in the metadata store."""
    config = metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite"))
    with metadata.Metadata(config) as handle:
        kinds = {kind.id: kind.name for kind in handle.store.get_execution_types()}
        state = metadata_store_pb2.Execution.State.Name
        found = sorted(handle.store.get_executions(), key=lambda execution: execution.id)
        return [(kinds[e.type_id].rpartition(".")[2], state(e.last_known_state)) for e in found]


# Steps.


def test_steps_run_in_order_and_are_told_of_before_and_after(tmp_path: pathlib.Path) -> None:
    watcher = Watcher()
    steps = _run(tmp_path, "1", *_two(), watcher=watcher)
    assert EXECUTED == ["Make 3", "Take 3"]
    assert watcher.told == [("Make", 1, 2), ("Make", "run"), ("Take", 2, 2), ("Take", "run")]
    assert [(step.name, step.status) for step in steps] == [("Make", "run"), ("Take", "run")]


def test_order_is_that_of_the_data_and_not_that_of_the_list(tmp_path: pathlib.Path) -> None:
    make, take = _two()
    assert [step.name for step in _run(tmp_path, "1", take, make)] == ["Make", "Take"]


def test_step_says_its_outputs_and_its_time(tmp_path: pathlib.Path) -> None:
    started = time.monotonic()
    make, take = _run(tmp_path, "1", *_two())
    elapsed = time.monotonic() - started
    assert set(make.outputs) == {"made", "double"}
    [made] = make.outputs["made"]
    assert isinstance(made, standard_artifacts.String)
    assert pathlib.Path(made.uri).read_text() == "3"
    assert made.get_string_custom_property("note") == "made 3"
    assert pathlib.Path(take.outputs["taken"][0].uri).read_text() == "33"
    assert pathlib.Path(made.uri).is_relative_to(tmp_path / "artifacts" / "Make" / "made")
    assert 0 < make.seconds < elapsed and 0 < take.seconds < elapsed


def test_unchanged_second_run_executes_nothing_and_has_the_same_outputs(tmp_path: pathlib.Path) -> None:
    first = _run(tmp_path, "1", *_two())
    watcher = Watcher()
    second = _run(tmp_path, "2", *_two(), watcher=watcher)
    assert EXECUTED == ["Make 3", "Take 3"]
    assert [step.status for step in second] == ["cached", "cached"]
    assert watcher.told == [("Make", 1, 2), ("Make", "cached"), ("Take", 2, 2), ("Take", "cached")]
    for one, two in zip(first, second, strict=True):
        assert {k: [a.uri for a in v] for k, v in one.outputs.items()} == {
            k: [a.uri for a in v] for k, v in two.outputs.items()
        }
    assert second[0].outputs["made"][0].get_string_custom_property("note") == "made 3"


def test_changed_step_runs_and_so_does_what_reads_it(tmp_path: pathlib.Path) -> None:
    _run(tmp_path, "1", *_two(3))
    assert [step.status for step in _run(tmp_path, "2", *_two(4))] == ["run", "run"]
    assert [step.status for step in _run(tmp_path, "3", *_two(3))] == ["cached", "cached"]
    assert EXECUTED == ["Make 3", "Take 3", "Make 4", "Take 4"]


def test_other_pipeline_of_the_same_store_has_a_cache_of_its_own(tmp_path: pathlib.Path) -> None:
    _run(tmp_path, "1", *_two())
    watcher = Watcher()
    run_local(_pipeline(tmp_path, *_two(), name="q"), "1", watcher.start, watcher.end)
    assert EXECUTED == ["Make 3", "Take 3"] * 2


def test_lookup_is_resolved_and_neither_run_nor_cached(tmp_path: pathlib.Path) -> None:
    def components() -> list[Any]:
        make = Make(number=3)
        latest = Resolver(strategy_class=LatestArtifactStrategy, made=make.outputs["made"]).with_id("Latest")
        return [make, latest, Take(made=latest.outputs["made"])]

    steps = _run(tmp_path, "1", *components())
    assert [(step.name, step.status) for step in steps] == [("Make", "run"), ("Latest", "resolved"), ("Take", "run")]
    assert [step.status for step in _run(tmp_path, "2", *components())] == ["cached", "resolved", "cached"]
    assert EXECUTED == ["Make 3", "Take 3"]


# Failures.


def _failing(message: str) -> list[Any]:
    make = Make(number=3)
    fail = Fail(made=make.outputs["made"], message=message)
    return [make, fail, Take(made=fail.outputs["failed"])]


def test_failing_step_is_told_of_and_its_exception_comes_through(tmp_path: pathlib.Path) -> None:
    watcher = Watcher()
    with pytest.raises(DataError, match="^the message$"):
        _run(tmp_path, "1", *_failing("the message"), watcher=watcher)
    assert watcher.told == [("Make", 1, 3), ("Make", "run"), ("Fail", 2, 3), ("Fail", "failed")]
    assert EXECUTED == ["Make 3", "Fail"]
    assert _executions(tmp_path) == [("Make", "COMPLETE"), ("Fail", "FAILED")]
    assert not [path for path in (tmp_path / "artifacts" / "Fail" / "failed").rglob("*") if path.is_file()]


def test_failed_step_runs_again_where_those_before_it_are_cached(tmp_path: pathlib.Path) -> None:
    for run in "12":
        with pytest.raises(DataError):
            _run(tmp_path, run, *_failing("the message"))
    assert EXECUTED == ["Make 3", "Fail", "Fail"]


def test_interrupt_is_told_of_and_the_next_run_goes_on(tmp_path: pathlib.Path) -> None:
    watcher = Watcher()
    with pytest.raises(KeyboardInterrupt):
        _run(tmp_path, "1", *_failing("interrupt"), watcher=watcher)
    assert watcher.told[-1] == ("Fail", "failed")
    with pytest.raises(DataError):
        _run(tmp_path, "2", *_failing("the message"))
    assert EXECUTED == ["Make 3", "Fail", "Fail"]


def test_step_whose_inputs_are_missing_fails_with_a_message(tmp_path: pathlib.Path) -> None:
    """LocalDagRunner passes over such a step as if it had run."""
    nothing = Resolver(strategy_class=LatestArtifactStrategy, model=Channel(type=standard_artifacts.Model)).with_id("Nothing")
    watcher = Watcher()
    with pytest.raises(VocsegError, match=r"(Nothing|Look) could not run: its inputs are missing"):
        _run(tmp_path, "1", nothing, Look(model=nothing.outputs["model"]), watcher=watcher)
    assert watcher.told[-1][1] == "failed"
    assert EXECUTED == []


def test_error_in_a_callback_is_not_hidden(tmp_path: pathlib.Path) -> None:
    def broken(step: Step) -> None:
        raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        run_local(_pipeline(tmp_path, *_two()), "1", lambda *_: None, broken)


# Metadata.


def test_local_metadata_is_the_roots_own_file(tmp_path: pathlib.Path) -> None:
    locations = Locations(root=str(tmp_path / "deep" / "root"), pipeline_name="p", data="")
    connection = runners.local_metadata(locations)
    assert connection.sqlite.filename_uri == locations.metadata
    with metadata.Metadata(connection) as handle:
        assert handle.store.get_executions() == []
    assert os.path.isfile(locations.metadata)


def test_tfx_does_not_pack_itself_up_for_local_workers() -> None:
    assert dependency_utils.make_beam_dependency_flags(list(targets.LOCAL_BEAM_ARGS)) == list(targets.LOCAL_BEAM_ARGS)


# The lock of a root.


def _hold(root: pathlib.Path, ready: Any, release: Any) -> None:
    with locks.lock(str(root)):
        ready.set()
        release.wait(60)


def _holder(root: pathlib.Path) -> tuple[Any, Any]:
    """Starts another process that holds the lock; returns it and the event that ends it."""
    fork = multiprocessing.get_context("fork")
    ready, release = fork.Event(), fork.Event()
    process = fork.Process(target=_hold, args=(root, ready, release))
    process.start()
    assert ready.wait(30)
    return process, release


def test_second_run_on_a_root_is_refused_until_the_first_ends(tmp_path: pathlib.Path) -> None:
    process, release = _holder(tmp_path / "root")
    with pytest.raises(VocsegError, match="Another run is under way in .*root.*--root another folder"):
        with locks.lock(str(tmp_path / "root")):
            raise AssertionError("two runs at once")
    release.set()
    process.join()
    with locks.lock(str(tmp_path / "root")):
        pass


def test_killed_run_does_not_keep_the_lock(tmp_path: pathlib.Path) -> None:
    process, _ = _holder(tmp_path)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert process.exitcode == -signal.SIGKILL
    with locks.lock(str(tmp_path)):
        pass


def test_run_that_fails_does_not_keep_the_lock(tmp_path: pathlib.Path) -> None:
    with pytest.raises(DataError), locks.lock(str(tmp_path)):
        raise DataError("x")
    with locks.lock(str(tmp_path)):
        pass


def test_other_root_is_free(tmp_path: pathlib.Path) -> None:
    with locks.lock(str(tmp_path / "a")), locks.lock(str(tmp_path / "b")):
        pass


def test_child_that_a_run_leaves_behind_does_not_keep_the_lock(tmp_path: pathlib.Path) -> None:
    """Beam's workers outlive a killed run for a while."""
    code = "import time; print(flush=True); time.sleep(60)"
    with locks.lock(str(tmp_path)):
        child = subprocess.Popen([sys.executable, "-c", code], close_fds=False, stdout=subprocess.PIPE)
    with child:
        assert child.stdout is not None and child.stdout.readline() == b"\n"  # It runs.
        try:
            with locks.lock(str(tmp_path)):
                assert child.poll() is None
        finally:
            child.kill()


# A run that ends before its first step.


class _Terminal:
    """A stream that says that it is a terminal."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return True


def _refused_run(root: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Sequence[str]:
    """Returns what a refused run writes to a terminal."""
    from pipeline import console, datasets, run_graph, runs
    from pipeline.locations import locate
    from pipeline_config import preset

    monkeypatch.setenv("TERM", "xterm")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    terminal = _Terminal()
    view = console.RunView(terminal)  # type: ignore[arg-type]
    assert view.console.is_terminal
    config = preset("mini")

    def refuse(*_: Any) -> None:
        raise VocsegError("There is no data.")

    monkeypatch.setattr(datasets, "find_spec", refuse)
    try:
        with pytest.raises(VocsegError, match="There is no data"):
            run_graph.run_graph(config, locate(config, root, None), runs.Summary(run="r", pipeline="p"), view)
        return terminal.text
    finally:
        view._stop()


def test_refused_run_leaves_the_terminal_as_it_was(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = _refused_run(tmp_path, monkeypatch)
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    assert text.count(hidden) == text.count(shown)  # Else the user's shell has no cursor afterwards.


def test_what_comes_before_the_steps_is_tried_again_and_the_summary_has_the_tries_of_a_step(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import console, datasets, graph, retries, run_graph, runners, runs
    from pipeline.locations import locate
    from pipeline_config import preset

    passing = OSError(errno.EIO, os.strerror(errno.EIO), "/data/list.txt")
    failures: list[Exception] = [passing, passing]

    def find_spec(*_: Any) -> None:
        if failures:
            raise failures.pop()

    def run_local(pipeline: None, run: str, on_start: None, on_end: Any, beam: type, on_retry: Any) -> list[runners.Step]:
        on_retry("Write", passing, 4.0, 2)
        steps = [runners.Step(name, "run", 1.0, {}) for name in ("Write", "Read")]
        for step in steps:
            on_end(step)
        return steps

    monkeypatch.setattr(retries, "_FIRST_DELAY_S", 0.001)
    monkeypatch.setattr(datasets, "find_spec", find_spec)
    monkeypatch.setattr(graph, "create_pipeline", lambda *_: None)
    monkeypatch.setattr(runners, "run_local", run_local)
    told, config, summary = io.StringIO(), preset("mini"), runs.Summary(run="r", pipeline="p")
    run_graph.run_graph(config, locate(config, str(tmp_path), None), summary, console.RunView(told))
    assert [line for line in told.getvalue().splitlines() if "again" in line] == [
        "data: input/output error on /data/list.txt, trying again in 0 s (2 of 3)",
        "data: input/output error on /data/list.txt, trying again in 0 s (3 of 3)",
        "Write: input/output error on /data/list.txt, trying again in 4 s (2 of 3)",
    ]
    assert [(step["name"], step.get("tries")) for step in summary.steps] == [("Write", 2), ("Read", None)]
