"""The record of a run: a folder with its log, its configuration and `summary.json`, written when it starts and when it ends."""

import contextlib
import dataclasses
import datetime
import json
import os
import pathlib
import resource
from collections.abc import Iterable, Mapping
from typing import Any

from pipeline.locations import write_file

SUMMARY_FILE = "summary.json"
CONFIG_FILE = "config.json"
LOG_FILE = "log.txt"


@dataclasses.dataclass(kw_only=True)
class Summary:
    """What happened.

    Attributes:
        run: the run's name: UTC time of its start, `20261120T054302Z`, with `-2` behind it where that is taken.
        pipeline: the pipeline's name.
        metadata_run: its name in the metadata store, another one where that is shared; empty in older records: the same.
        status: running, succeeded, failed or interrupted; "unreadable" where the record is damaged.
        started: ISO 8601, UTC.
        pid: of the process.
        process_started: when it was started, in ticks since boot: numbers of processes come again.
        seconds: from start to end.
        steps: name, status (run, cached, resolved, failed), seconds and peak_memory_bytes (of the process, meanwhile) of each
            component, in order; tries where it took more than one.
        metrics: of the candidate on the evaluated split; None for a class that does not occur.
        baseline: the same of the baseline, or None.
        verdict: blessed (bool), servable (bool; of a model that is not blessed False, as it is not tried), split, reasons,
            refusals (those of the reasons for which it is not pushed), interval (of the mean IoU); None before the Evaluator.
        start: base (the Model artifact whose weights the training began with; empty: fresh ones) and refusal (why it did not
            begin with those of the newest blessed model; empty if it did, or was not to).
        pushed: version, path and whether this run pushed it; None where nothing is pushed.
        listed: number of pairs that the data set lists.
        generated: number of those that became examples.
        quarantined: number of those that are not used.
        near_duplicates: number of pairs of pictures in two splits that look alike.
        unfinished: number of interrupted trainings, of other data, code or settings, that are kept.
        paths: log, metadata, trained (the candidate's SavedModel), models, examples, evaluation, model card, quarantine, data
            report, tensorboard, history (a row an epoch), picture, report; unfinished, if there are any; profile, a folder,
            with --profile.
        peak_memory_bytes: of the process, or of its largest child.
        error: why it failed.
    """

    run: str
    pipeline: str
    status: str = "running"
    started: str = ""
    pid: int = 0
    process_started: int = -1
    seconds: float = 0.0
    steps: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    metrics: dict[str, float | None] | None = None
    baseline: dict[str, float | None] | None = None
    verdict: dict[str, Any] | None = None
    start: dict[str, str] | None = None
    pushed: dict[str, Any] | None = None
    listed: int = 0
    generated: int = 0
    quarantined: int = 0
    near_duplicates: int = 0
    unfinished: int = 0
    paths: dict[str, str] = dataclasses.field(default_factory=dict)
    peak_memory_bytes: int = 0
    error: str | None = None
    metadata_run: str = ""


def create(folder: str, pipeline: str) -> tuple[Summary, pathlib.Path]:
    """Names a new run and makes its folder.

    Args:
        folder: of all runs.
        pipeline: the pipeline's name.

    Returns:
        Its summary and its folder.
    """
    now = datetime.datetime.now(datetime.UTC)
    stem = now.strftime("%Y%m%dT%H%M%SZ")
    os.makedirs(folder, exist_ok=True)
    number = 1
    while True:
        path = pathlib.Path(folder) / (stem if number == 1 else f"{stem}-{number}")
        try:
            path.mkdir()  # Fails where it exists: two runs never share a name.
            break
        except FileExistsError:
            number += 1
    started = now.isoformat(timespec="seconds")
    summary = Summary(run=path.name, pipeline=pipeline, started=started, paths={"log": str(path / LOG_FILE)})
    summary.pid = os.getpid()
    summary.process_started = _process_start(summary.pid)
    write(summary, path / SUMMARY_FILE)
    return summary, path


def write(summary: Summary, path: pathlib.Path) -> None:
    """Writes a summary as JSON, whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    write_file(str(path), (json.dumps(dataclasses.asdict(summary), indent=1, allow_nan=False) + "\n").encode())


def read_all(folder: str) -> list[Summary]:
    """Returns the runs of a root, oldest first; a run whose process is gone without an end is "interrupted"."""
    found = [_read(path) for path in pathlib.Path(folder).glob(f"*/{SUMMARY_FILE}")]
    return sorted(found, key=lambda summary: _order(summary.run))


def _order(run: str) -> tuple[str, int]:
    stem, _, number = run.partition("-")
    return stem, int(number) if number.isdecimal() else 1


def _read(path: pathlib.Path) -> Summary:
    """Returns a run's record; one that cannot be read has the status "unreadable", and hides no other."""
    try:
        values = json.loads(path.read_text())
        known = {field.name for field in dataclasses.fields(Summary)}
        summary = Summary(**{name: value for name, value in values.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return Summary(run=path.parent.name, pipeline="-", status="unreadable")
    if summary.status == "running" and not _alive(summary):
        summary.status = "interrupted"
    return summary


def _alive(summary: Summary) -> bool:
    """Tells whether the run's process is there, and is not a later one of the same number."""
    try:
        os.kill(summary.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return summary.process_started in (0, _process_start(summary.pid))


def _process_start(pid: int) -> int:
    """Returns when a process was started, in ticks since boot (field 22 of /proc/PID/stat), 0 where that is not known."""
    try:
        return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    except OSError:
        return 0


def peak_memory_bytes(steps: Iterable[Mapping[str, Any]] = ()) -> int:
    """Returns the largest resident size so far of this process or of one of its ended children.

    Linux counts in KiB. Its `ru_maxrss` of a process begins with that of whoever started it, so VmHWM is read instead.

    Args:
        steps: the summary's, whose peaks `take_peak_memory_bytes` has taken off the count.
    """
    children = 1024 * resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return max(_high_water_bytes(), children, *(step["peak_memory_bytes"] for step in steps))


def take_peak_memory_bytes() -> int:
    """Returns the largest resident size of this process since it was last taken, and has the system count anew."""
    peak = _high_water_bytes()
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # See proc(5). Where that is not allowed, the count goes on.
    return peak


def _high_water_bytes() -> int:
    status = pathlib.Path("/proc/self/status").read_text()
    return 1024 * next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:")), 0)
