"""The local runner over steps that fail: what is tried again, with what left of the try before, and what is told."""

import errno
import os
import pathlib
import shutil
from typing import Any

import pytest
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.orchestration import metadata
from tfx.orchestration import pipeline as tfx_pipeline
from tfx.orchestration.portable import launcher
from tfx.types import standard_artifacts

from components.errors import VocsegError
from pipeline import full_disk, orphans, retries
from pipeline.runners import run_local

FAILURES: list[int] = []
"""Numbers of the system's errors that the next executions of `Write` raise."""
FOUND: list[list[str]] = []
"""What each execution of `Write` found in its output's folder."""


@component
def Write(written: OutputArtifact[standard_artifacts.Examples], number: Parameter[int]) -> None:
    FOUND.append(os.listdir(written.uri))
    pathlib.Path(written.uri, f"part-{len(FOUND)}").write_text(str(number))
    if FAILURES and (failure := FAILURES.pop(0)):
        raise OSError(failure, os.strerror(failure), "/data/a.jpg")


@component
def Read(written: InputArtifact[standard_artifacts.Examples], read: OutputArtifact[standard_artifacts.String]) -> None:
    read.value = " ".join(os.listdir(written.uri))


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    FAILURES.clear()
    FOUND.clear()
    monkeypatch.setattr(retries, "_FIRST_DELAY_S", 0.001)


def _connection(root: pathlib.Path) -> metadata_store_pb2.ConnectionConfig:
    return metadata.sqlite_metadata_connection_config(str(root / "metadata.sqlite"))


def _run(root: pathlib.Path, run: str = "1", number: int = 3) -> tuple[list[Any], list[Any]]:
    write = Write(number=number).with_id("Write")
    pipeline = tfx_pipeline.Pipeline(
        pipeline_name="p",
        pipeline_root=str(root / "artifacts" / "p"),
        components=[write, Read(written=write.outputs["written"]).with_id("Read")],
        enable_cache=True,
        metadata_connection_config=_connection(root),
    )
    told: list[Any] = []
    steps = run_local(
        pipeline,
        run,
        lambda *_: None,
        lambda _: None,
        on_retry=lambda name, error, delay_s, number: told.append((name, number)),
    )
    return steps, told


def _states(root: pathlib.Path) -> list[str]:
    with metadata.Metadata(_connection(root)) as handle:
        found = sorted(handle.store.get_executions(), key=lambda execution: execution.id)
        return [metadata_store_pb2.Execution.State.Name(execution.last_known_state) for execution in found]


def _outputs(root: pathlib.Path) -> list[str]:
    return sorted(str(path.relative_to(root / "artifacts/p")) for path in (root / "artifacts/p").glob("*/[a-z]*/*"))


def test_step_that_fails_twice_over_the_disk_succeeds_at_the_third_try(tmp_path: pathlib.Path) -> None:
    FAILURES[:] = [errno.EIO, errno.ESTALE]
    (write, read), told = _run(tmp_path)
    assert told == [("Write", 2), ("Write", 3)]
    assert FOUND == [[], [], []]
    assert (write.status, read.status) == ("run", "run")
    assert pathlib.Path(read.outputs["read"][0].uri).read_text() == "part-3"
    assert _states(tmp_path) == ["COMPLETE", "COMPLETE"]
    assert _outputs(tmp_path) == ["Read/read/2", "Write/written/1"]


def test_step_that_was_tried_again_is_cached_in_the_next_run(tmp_path: pathlib.Path) -> None:
    FAILURES[:] = [errno.EIO]
    _run(tmp_path)
    steps, told = _run(tmp_path, "2")
    assert [step.status for step in steps] == ["cached", "cached"] and told == []
    assert len(FOUND) == 2


@pytest.mark.parametrize("failure", [errno.EACCES, errno.ENOSPC])
def test_step_whose_failure_does_not_pass_is_tried_once(tmp_path: pathlib.Path, failure: int) -> None:
    FAILURES[:] = [failure]
    with pytest.raises(OSError, match=os.strerror(failure)):
        _run(tmp_path)
    assert len(FOUND) == 1 and _states(tmp_path) == ["FAILED"] and _outputs(tmp_path) == []


def test_step_that_fails_three_times_fails_the_run(tmp_path: pathlib.Path) -> None:
    FAILURES[:] = [errno.EIO] * 4
    with pytest.raises(OSError, match="Input/output error"):
        _run(tmp_path)
    assert len(FOUND) == retries.TRIES and FAILURES == [errno.EIO]
    assert _states(tmp_path) == ["FAILED"]


def test_what_was_written_before_publishing_failed_is_not_found_by_the_next_try(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = launcher.Launcher._publish_successful_execution
    failures = [OSError(errno.EIO, os.strerror(errno.EIO))]

    def publish_sometimes(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        publish(*arguments)

    monkeypatch.setattr(launcher.Launcher, "_publish_successful_execution", publish_sometimes)
    _, told = _run(tmp_path)
    assert told == [("Write", 2)]
    assert FOUND == [[], []]
    assert os.listdir(tmp_path / "artifacts/p/Write/written/1") == ["part-2"]


# What a kill leaves.


def _die_in_write(root: pathlib.Path, run: str = "dead") -> None:
    """Leaves what a kill leaves: TFX cleans up after no interrupt."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launcher.Launcher, "_publish_successful_execution", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            _run(root, run)


def _interrupt(*arguments: Any) -> None:
    raise KeyboardInterrupt


def _end(root: pathlib.Path, **more: Any) -> list[orphans.Orphan]:
    return orphans.end_orphans(_connection(root), lambda pipeline: str(root / "artifacts" / pipeline), **more)


def test_execution_that_never_ended_is_failed_and_its_outputs_removed(tmp_path: pathlib.Path) -> None:
    _die_in_write(tmp_path)
    assert _states(tmp_path) == ["RUNNING"] and _outputs(tmp_path) == ["Write/written/1"]
    assert _end(tmp_path) == [orphans.Orphan(1, "dead", "p", "Write")]
    assert _states(tmp_path) == ["FAILED"] and _outputs(tmp_path) == []
    assert not list((tmp_path / "artifacts/p/Write/.system").glob("*/*"))
    assert _end(tmp_path) == []


def test_execution_that_was_interrupted_in_its_driver_is_failed(tmp_path: pathlib.Path) -> None:
    """It has no note of what it writes yet."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(orphans, "note_folders", _interrupt)
        with pytest.raises(KeyboardInterrupt):
            _run(tmp_path, "dead")
    assert _states(tmp_path) == ["RUNNING"]
    assert _end(tmp_path) == [orphans.Orphan(1, "dead", "p", "Write")]
    assert _states(tmp_path) == ["FAILED"]


def test_step_that_fails_over_the_disk_in_its_driver_is_tried_again(tmp_path: pathlib.Path) -> None:
    note, failures = orphans.note_folders, [OSError(errno.EIO, os.strerror(errno.EIO))]

    def note_sometimes(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        note(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(orphans, "note_folders", note_sometimes)
        _, told = _run(tmp_path)
    assert told == [("Write", 2)] and _states(tmp_path)[-2:] == ["COMPLETE", "COMPLETE"]


def test_only_what_the_execution_says_is_removed(tmp_path: pathlib.Path) -> None:
    _die_in_write(tmp_path)
    others = [tmp_path / "artifacts/p/Write" / name / "1" for name in ("other", ".system/executor_execution/of")]
    for folder in others:
        folder.mkdir(parents=True)
    _end(tmp_path)
    assert _outputs(tmp_path) == ["Write/other/1"] and all(folder.exists() for folder in others)


def test_orphan_in_a_copy_of_a_root_takes_nothing_from_where_it_was_copied(tmp_path: pathlib.Path) -> None:
    _die_in_write(tmp_path / "one")
    shutil.copytree(tmp_path / "one", tmp_path / "two")
    assert len(_end(tmp_path / "two")) == 1
    assert _states(tmp_path / "two") == ["FAILED"]
    assert _outputs(tmp_path / "one") == _outputs(tmp_path / "two") == ["Write/written/1"]


def test_folder_of_a_value_is_removed_whole(tmp_path: pathlib.Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "listdir", lambda path: _interrupt() if "/written/" in str(path) and FOUND else [])
        with pytest.raises(KeyboardInterrupt):
            _run(tmp_path)
    assert "Read/read/2" in _outputs(tmp_path)
    _end(tmp_path)
    assert _outputs(tmp_path) == ["Write/written/1"]


def test_outputs_of_executions_that_ended_stay(tmp_path: pathlib.Path) -> None:
    _run(tmp_path, "1")
    _run(tmp_path, "2", number=4)
    before = _outputs(tmp_path)
    assert _end(tmp_path) == [] and _outputs(tmp_path) == before and len(before) == 4


def test_others_executions_in_a_shared_store_are_left_alone(tmp_path: pathlib.Path) -> None:
    _die_in_write(tmp_path, "theirs")
    assert _end(tmp_path, is_ours=lambda run: run == "ours") == []
    assert _states(tmp_path) == ["RUNNING"] and _outputs(tmp_path) == ["Write/written/1"]


def test_run_after_a_kill_does_not_take_the_half_output(tmp_path: pathlib.Path) -> None:
    _die_in_write(tmp_path)
    _end(tmp_path)
    steps, _ = _run(tmp_path, "2")
    assert [step.status for step in steps] == ["run", "run"]
    assert _outputs(tmp_path) == ["Read/read/3", "Write/written/2"]


# A full disk.


def test_full_disk_is_told_with_its_file_and_what_to_do(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "gone" / "a"
    error = RuntimeError(f"OSError: [Errno 28] No space left on device: '{file}' [while running 'Write']")
    said = full_disk.in_words(error, [str(tmp_path)])
    assert isinstance(said, VocsegError)
    assert f"while writing {file}: the disk of {tmp_path} is full" in str(said)
    assert "Make room there and run the same command again" in str(said)


def test_full_disk_that_nothing_names_is_that_with_the_least_room(tmp_path: pathlib.Path) -> None:
    said = full_disk.in_words(RuntimeError("database or disk is full"), [str(tmp_path)])
    assert isinstance(said, VocsegError) and " is full" in str(said)


def test_step_that_leaves_no_room_for_the_metadata_is_not_noted_as_complete(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(full_disk, "_free_bytes", lambda folder: 0 if FOUND else 1 << 30)
    with pytest.raises(OSError, match="No space left on device") as raised:
        _run(tmp_path)
    assert _states(tmp_path) == ["FAILED"] and len(FOUND) == 1
    assert f"while writing {tmp_path}/metadata.sqlite: the disk of" in str(full_disk.in_words(raised.value, [str(tmp_path)]))
    with pytest.raises(OSError, match="No space left on device"):
        _run(tmp_path, "2")
    assert _states(tmp_path) == ["FAILED"]


def test_transaction_that_sqlite_gave_up_is_told_as_a_full_disk_where_there_is_no_room(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = RuntimeError("Error when executing query: cannot commit - no transaction is active query: COMMIT;")
    assert full_disk.in_words(error, [str(tmp_path)]) is error and not retries.is_transient(error)
    monkeypatch.setattr(full_disk, "_free_bytes", lambda folder: 4096)
    assert " is full (0.0 MiB" in str(full_disk.in_words(error, [str(tmp_path)]))


def test_full_disk_of_a_worker_elsewhere_is_not_told_as_this_machine_s(tmp_path: pathlib.Path) -> None:
    error = RuntimeError("OSError: [Errno 28] No space left on device: '/tmp/a' [while running 'Write']")
    said = str(full_disk.in_words(error, [str(tmp_path)], elsewhere=True))
    assert "while writing /tmp/a: the disk of a worker of Beam's is full" in said
    own = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "a"))
    assert f"the disk of {tmp_path} is full" in str(full_disk.in_words(own, [str(tmp_path)], elsewhere=True))


@pytest.mark.parametrize("error", [OSError(errno.EACCES, "Permission denied"), VocsegError("No space left on device")])
def test_other_errors_stay_what_they_are(tmp_path: pathlib.Path, error: Exception) -> None:
    assert full_disk.in_words(error, [str(tmp_path)]) is error
