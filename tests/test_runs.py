"""The record of a run: unique names, valid JSON, whole files, and a list that survives whatever lies in its folder."""

import dataclasses
import datetime
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from pipeline import runs
from pipeline.runs import Summary

NOON = datetime.datetime(2026, 11, 20, 12, 0, 0, tzinfo=datetime.UTC)


class _StoppedClock(datetime.datetime):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
        return NOON


@pytest.fixture
def stopped_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datetime, "datetime", _StoppedClock)


def _dead_pid() -> int:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


def _write(folder: pathlib.Path, name: str, **values: Any) -> None:
    (folder / name).mkdir(parents=True)
    runs.write(Summary(run=name, pipeline="mini.embedded", **values), folder / name / runs.SUMMARY_FILE)


# Names.


def test_new_run_is_named_by_its_start_in_utc(tmp_path: pathlib.Path, stopped_clock: None) -> None:
    summary, folder = runs.create(str(tmp_path / "deep" / "runs"), "mini.embedded")
    assert folder == tmp_path / "deep" / "runs" / "20261120T120000Z"
    assert dataclasses.asdict(summary) | {"pid": 0, "process_started": -1} == dataclasses.asdict(
        Summary(
            run="20261120T120000Z",
            pipeline="mini.embedded",
            status="running",
            started="2026-11-20T12:00:00+00:00",
            paths={"log": str(folder / "log.txt")},
        )
    )
    assert summary.pid == os.getpid()


def test_new_run_is_recorded_before_it_does_anything(tmp_path: pathlib.Path) -> None:
    summary, folder = runs.create(str(tmp_path), "mini.embedded")
    assert json.loads((folder / runs.SUMMARY_FILE).read_text()) == dataclasses.asdict(summary)


def test_runs_of_one_second_have_names_of_their_own(tmp_path: pathlib.Path, stopped_clock: None) -> None:
    names = [runs.create(str(tmp_path), "p")[0].run for _ in range(4)]
    assert names == ["20261120T120000Z", "20261120T120000Z-2", "20261120T120000Z-3", "20261120T120000Z-4"]


def test_runs_that_start_at_once_have_names_of_their_own(tmp_path: pathlib.Path, stopped_clock: None) -> None:
    barrier = threading.Barrier(8)
    names: list[str] = []

    def create() -> None:
        barrier.wait()
        names.append(runs.create(str(tmp_path), "p")[0].run)

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(names)) == 8
    assert {path.parent.name for path in tmp_path.glob("*/summary.json")} == set(names)


def test_names_by_the_real_clock_sort_by_time(tmp_path: pathlib.Path) -> None:
    name = runs.create(str(tmp_path), "p")[0].run
    assert re.fullmatch(r"\d{8}T\d{6}Z", name)
    assert abs(datetime.datetime.strptime(name, "%Y%m%dT%H%M%S%z") - datetime.datetime.now(datetime.UTC)).seconds < 60


# Writing.


def test_summary_with_absent_metrics_is_valid_json_with_null(tmp_path: pathlib.Path) -> None:
    runs.write(Summary(run="r", pipeline="p", metrics={"mean_iou": 0.5, "iou/cat": None}), tmp_path / "s.json")
    text = (tmp_path / "s.json").read_text()

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    assert json.loads(text, parse_constant=refuse)["metrics"] == {"mean_iou": 0.5, "iou/cat": None}
    assert text.endswith("}\n")


def test_nan_that_slipped_in_is_refused_and_leaves_the_old_file(tmp_path: pathlib.Path) -> None:
    runs.write(Summary(run="r", pipeline="p"), tmp_path / "s.json")
    before = (tmp_path / "s.json").read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        runs.write(Summary(run="r", pipeline="p", metrics={"mean_iou": math.nan}), tmp_path / "s.json")
    assert (tmp_path / "s.json").read_bytes() == before


def test_write_that_fails_midway_leaves_the_old_file(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.write(Summary(run="old", pipeline="p"), tmp_path / "s.json")
    before = (tmp_path / "s.json").read_bytes()

    def full(source: object, target: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        runs.write(Summary(run="new", pipeline="p"), tmp_path / "s.json")
    assert (tmp_path / "s.json").read_bytes() == before


def test_reader_never_sees_half_a_summary(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "s.json"
    paths = {f"path{index}": "x" * 1000 for index in range(200)}
    runs.write(Summary(run="0", pipeline="p", paths=paths), path)
    stop = threading.Event()

    def rewrite() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            runs.write(Summary(run=str(number), pipeline="p", paths=paths), path)

    writer = threading.Thread(target=rewrite)
    writer.start()
    seen: set[str] = set()
    deadline = time.monotonic() + 30
    try:
        while len(seen) < 20:  # Each is another write that fell between two of our readings.
            assert time.monotonic() < deadline
            seen.add(json.loads(path.read_text())["run"])
    finally:
        stop.set()
        writer.join()


def test_finished_write_leaves_nothing_else(tmp_path: pathlib.Path) -> None:
    runs.write(Summary(run="r", pipeline="p"), tmp_path / "s.json")
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]


# Reading.


def test_what_is_written_is_read_back(tmp_path: pathlib.Path) -> None:
    values = {
        "status": "succeeded",
        "started": "2026-11-20T12:00:00+00:00",
        "pid": 7,
        "process_started": 8,
        "seconds": 12.5,
        "steps": [{"name": "Trainer", "status": "run", "seconds": 9.25}],
        "metrics": {"mean_iou": 0.5, "iou/cat": None},
        "baseline": {"mean_iou": 0.25, "iou/cat": 0.1},
        "verdict": {"blessed": True, "split": "test", "reasons": ["a", "b"]},
        "pushed": {"version": "1", "path": "/m/1", "new": True},
        "listed": 9,
        "generated": 6,
        "quarantined": 3,
        "near_duplicates": 1,
        "unfinished": 2,
        "paths": {"log": "/ö/log.txt"},
        "peak_memory_bytes": 2**33,
        "error": "no",
        "metadata_run": "1.abc",
        "start": {"base": "/m/0", "refusal": ""},
    }
    assert set(values) | {"run", "pipeline"} == {field.name for field in dataclasses.fields(Summary)}
    _write(tmp_path, "r", **values)
    assert runs.read_all(str(tmp_path)) == [Summary(run="r", pipeline="mini.embedded", **values)]


def test_missing_folder_holds_no_runs(tmp_path: pathlib.Path) -> None:
    assert runs.read_all(str(tmp_path / "nowhere")) == []


def test_runs_come_oldest_first(tmp_path: pathlib.Path) -> None:
    names = ["20251231T235959Z", "20260101T000000Z", "20260101T000000Z-2", "20260101T000001Z"]
    for name in (names[2], names[0], names[3], names[1]):
        _write(tmp_path, name, status="succeeded")
    assert [summary.run for summary in runs.read_all(str(tmp_path))] == names


def test_eleven_runs_of_one_second_come_oldest_first(tmp_path: pathlib.Path, stopped_clock: None) -> None:
    names = [runs.create(str(tmp_path), "p")[0].run for _ in range(11)]
    assert [summary.run for summary in runs.read_all(str(tmp_path))] == names


def test_run_whose_process_is_gone_is_interrupted(tmp_path: pathlib.Path) -> None:
    _write(tmp_path, "r", status="running", pid=_dead_pid())
    assert [summary.status for summary in runs.read_all(str(tmp_path))] == ["interrupted"]


def test_run_of_a_living_process_is_running(tmp_path: pathlib.Path) -> None:
    runs.create(str(tmp_path), "p")
    assert [summary.status for summary in runs.read_all(str(tmp_path))] == ["running"]


def test_run_whose_number_a_later_process_has_is_interrupted(tmp_path: pathlib.Path) -> None:
    """In a container each command has the same process id, the one that looks at the dead one's record too."""
    summary, folder = runs.create(str(tmp_path), "p")
    summary.process_started -= 100  # A second.
    runs.write(summary, folder / runs.SUMMARY_FILE)
    assert [found.status for found in runs.read_all(str(tmp_path))] == ["interrupted"]


def test_start_of_a_process_is_told_apart_from_that_of_the_next(tmp_path: pathlib.Path) -> None:
    code = f"from pipeline import runs; print(runs.create({str(tmp_path)!r}, 'p')[0].process_started)"
    root = pathlib.Path(runs.__file__).parents[1]
    command = [sys.executable, "-c", code]
    starts = [int(subprocess.run(command, cwd=root, capture_output=True, check=True).stdout) for _ in range(2)]
    assert runs.create(str(tmp_path), "p")[0].process_started < starts[0] < starts[1]


def test_run_of_another_users_process_is_running(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_ours(pid: int, signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "kill", not_ours)
    runs.create(str(tmp_path), "p")
    assert [summary.status for summary in runs.read_all(str(tmp_path))] == ["running"]


@pytest.mark.parametrize("status", ["succeeded", "failed", "interrupted"])
def test_ended_run_keeps_its_status_though_its_process_is_gone(tmp_path: pathlib.Path, status: str) -> None:
    _write(tmp_path, "r", status=status, pid=_dead_pid())
    assert [summary.status for summary in runs.read_all(str(tmp_path))] == [status]


def test_reading_does_not_change_the_record(tmp_path: pathlib.Path) -> None:
    _write(tmp_path, "r", status="running", pid=_dead_pid())
    runs.read_all(str(tmp_path))
    assert json.loads((tmp_path / "r" / "summary.json").read_text())["status"] == "running"


def test_folder_without_summary_is_no_run(tmp_path: pathlib.Path) -> None:
    (tmp_path / "20260101T000000Z").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    _write(tmp_path, "r", status="succeeded")
    assert [summary.run for summary in runs.read_all(str(tmp_path))] == ["r"]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b'{"run": "b", "pipe',
        b"\xff\xfe\x00",
        b"[1, 2]",
        b"null",
        b'{"name": "not ours"}',
        b'{"run": "b", "pipeline": "p", "field_of_a_later_version": 1}',
    ],
    ids=["empty", "cut off", "binary", "a list", "null", "foreign", "of a later version"],
)
def test_broken_summary_hides_no_other_run(tmp_path: pathlib.Path, text: bytes) -> None:
    """One bad file, for instance after a full disk, must not take the list of all others with it."""
    for name in "ac":
        _write(tmp_path, name, status="succeeded")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "summary.json").write_bytes(text)
    assert [summary.run for summary in runs.read_all(str(tmp_path)) if summary.run != "b"] == ["a", "c"]


def test_summary_that_is_a_folder_hides_no_other_run(tmp_path: pathlib.Path) -> None:
    _write(tmp_path, "a", status="succeeded")
    (tmp_path / "b" / "summary.json").mkdir(parents=True)
    assert [summary.run for summary in runs.read_all(str(tmp_path)) if summary.run != "b"] == ["a"]


# Memory.

PEAK = "from pipeline import runs; print(runs.peak_memory_bytes())"
BLOCK = "block = bytearray(200 << 20); "


def _printed(code: str) -> int:
    """Returns what a process prints; a shell starts it, since Linux counts the memory of who starts a process as its own."""
    root = pathlib.Path(runs.__file__).parents[1]
    command = ["sh", "-c", '"$0" -c "$1"; true', sys.executable, code]
    return int(subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout)


def test_peak_memory_is_in_bytes_and_counts_what_was_freed() -> None:
    assert 200 << 20 < _printed(f"{BLOCK} del block; {PEAK}") < 300 << 20
    assert _printed(PEAK) < 100 << 20


def test_peak_memory_counts_an_ended_child() -> None:
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', '{BLOCK}'])"
    assert 200 << 20 < _printed(f"{child}; {PEAK}") < 300 << 20


def test_peak_memory_does_not_count_who_started_the_run() -> None:
    """A notebook or a scheduler that itself holds gigabytes."""
    assert _printed(f"{BLOCK} import subprocess, sys; subprocess.run([sys.executable, '-c', '{PEAK}'])") < 100 << 20


def test_peak_of_a_step_is_what_was_held_meanwhile_and_the_runs_that_of_its_largest_step() -> None:
    script = """
from pipeline import runs
runs.take_peak_memory_bytes()
held = bytearray(200 << 20)
del held
large = runs.take_peak_memory_bytes()
small = runs.take_peak_memory_bytes()
print(large, small, runs.peak_memory_bytes(), runs.peak_memory_bytes([{"peak_memory_bytes": large}]))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=pathlib.Path(runs.__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    large, small, now, run = map(int, done.stdout.split())
    assert large - small > 180 * 2**20
    assert now < large == run
