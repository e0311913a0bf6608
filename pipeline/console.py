"""What a user sees of a run: progress, a table, a verdict. Everything else that is printed goes to the run's log."""

import contextlib
import dataclasses
import logging
import math
import os
import pathlib
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from typing import TextIO

import rich.console
import rich.markup
import rich.progress
import rich.table
import rich.text

from components.datasets.files import is_remote
from components.errors import VocsegError
from components.progress import LOGGER, Progress
from components.versions import versions
from pipeline.runs import Summary
from pipeline_config import ConfigError

_QUIET_S = 10.0
"""Seconds between two lines of progress where the output is no terminal."""


@contextlib.contextmanager
def output_to(log: pathlib.Path, shown: int = 1) -> Iterator[TextIO]:
    """Sends all that this process prints, from C++ too, to a file; yields the standard output or error as it was.

    Args:
        log: the file; made, or continued.
        shown: 1 for the standard output, 2 for the standard error.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    with log.open("ab") as file:
        saved = os.dup(1), os.dup(2)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        with warnings.catch_warnings(), os.fdopen(os.dup(saved[shown - 1]), "w") as stream:
            yield stream
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        _flush_or_drop()
        for number, copy in zip((1, 2), saved, strict=True):
            os.dup2(copy, number)
            os.close(copy)


def _flush_or_drop() -> None:
    """Writes what is still to be written to a log; drops it where that is impossible, for it belongs nowhere else."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # The disk is full.
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())
            stream.flush()


class RunView(logging.Handler):
    """Shows each step with its progress and time: one live line on a terminal, a line now and then elsewhere.

    Args:
        stream: what to write to.
    """

    def __init__(self, stream: TextIO) -> None:
        """Starts with nothing shown."""
        super().__init__(logging.INFO)
        self.console = rich.console.Console(file=stream, highlight=False, soft_wrap=True, emoji=False)
        self._bar: rich.progress.Progress | None = None
        self._task = rich.progress.TaskID(0)
        self._title = ""
        self._totals: dict[str, int] = {}  # What the running step said of a unit; who counts need not know the total.
        self._started = self._printed = 0.0
        self._finished = ""  # The unit that was counted to its end.

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Shows what components report, while it lasts."""
        LOGGER.addHandler(self)
        LOGGER.setLevel(logging.INFO)
        try:
            yield
        finally:
            LOGGER.removeHandler(self)
            self._stop()

    def start(self, name: str, number: int = 0, total: int = 0) -> None:
        """Shows that a step begins: its name, its number from 1 and how many there are, if it is one of several."""
        self._title = f"[{number:>2}/{total}] {name}" if total else name
        self._totals.clear()
        self._finished = ""
        self._started = self._printed = time.monotonic()
        self._stop()
        if self.console.is_terminal:
            columns = ("{task.description}", rich.progress.BarColumn(), rich.progress.TimeElapsedColumn())
            # Rich would put something in the place of sys.stderr: what is printed there would come to the terminal.
            self._bar = rich.progress.Progress(
                *columns, console=self.console, transient=True, redirect_stdout=False, redirect_stderr=False
            )
            self._task = self._bar.add_task(rich.markup.escape(self._title), total=None)
            self._bar.start()

    def emit(self, record: logging.LogRecord) -> None:
        """Shows a report of the running step, with the time to go where the total is known."""
        progress = getattr(record, "progress", None)
        if not isinstance(progress, Progress):
            return
        if progress.total:
            self._totals[progress.unit] = progress.total
        else:
            progress = dataclasses.replace(progress, total=self._totals.get(progress.unit, 0))
        elapsed = time.monotonic() - self._started
        new = progress.done - progress.before
        left = elapsed * (progress.total - progress.done) / new if progress.total and new else 0.0
        if progress.total and progress.done >= progress.total and progress.unit != self._finished:
            # What is counted next, for instance another split, starts here; its pace is not slowed by what was before.
            self._finished, self._started = progress.unit, time.monotonic()
        line = f"{self._title}  {progress}" + (f", about {seconds(left)} to go" if left >= 1 else "")
        if self._bar:
            self._bar.update(
                self._task, description=rich.markup.escape(line), total=progress.total or None, completed=progress.done
            )
            if record.levelno >= logging.WARNING:  # The bar's next state would hide it.
                self.console.print(line, markup=False)
        elif record.levelno >= logging.WARNING or time.monotonic() - self._printed >= _QUIET_S:
            self._printed = time.monotonic()
            self.console.print(line, markup=False)

    def end(self, status: str, elapsed_s: float) -> None:
        """Shows how a step ended."""
        self._stop()
        self.console.print(f"{self._title:<28} {status:<9} {elapsed_s:6.1f} s", markup=False)

    def _stop(self) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None


@contextlib.contextmanager
def working(what: str) -> Iterator[str]:
    """Shows progress of a command that is no run, on the standard error, and keeps the libraries' chatter away.

    Args:
        what: is done, a word.

    Yields:
        A folder for what the command needs only while it lasts.
    """
    with tempfile.TemporaryDirectory() as folder, output_to(pathlib.Path(folder, "log.txt"), shown=2) as stream:
        view = RunView(stream)
        with view.listening():
            view.start(what)
            yield folder


def is_interrupt(error: BaseException) -> bool:
    """Tells Ctrl-C, also where Beam has made an error of its own of it."""
    return isinstance(error, KeyboardInterrupt) or str(error).startswith("KeyboardInterrupt")


def shorten(error: BaseException, limit: int = 600) -> str:
    """Returns an error's message; ours whole, others by their type and beginning, since Beam's run to pages."""
    if isinstance(error, VocsegError | ConfigError):
        return str(error)
    text = str(error).strip()
    return f"{type(error).__name__}: {text[:limit]}" + ("..." if len(text) > limit else "")


def seconds(duration_s: float) -> str:
    """Returns, for instance, `42 s` or `3 min 20 s`."""
    whole = round(duration_s)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def class_table(summary: Summary) -> rich.table.Table:
    """Returns the IoU of each class, beside the baseline's where there is one; `-` for a class that does not occur."""
    table = rich.table.Table(title=f"IoU a class, {(summary.verdict or {}).get('split')} split")
    table.add_column("class")
    table.add_column("IoU", justify="right")
    if summary.baseline:
        table.add_column("baseline", justify="right")
        table.add_column("change", justify="right")
    for key, value in (summary.metrics or {}).items():
        if not key.startswith("iou/"):
            continue
        row: list[str | rich.text.Text] = [rich.text.Text(key.removeprefix("iou/")), number(value)]
        if summary.baseline:
            before = summary.baseline.get(key)
            change = "-" if value is None or before is None else f"{100 * (value - before):+.1f} points"
            row += [number(before), change]
        table.add_row(*row)
    return table


def number(value: float | None) -> str:
    """Returns a metric with four decimals, or `-`."""
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"


def show_result(console: rich.console.Console, summary: Summary) -> None:
    """Prints the table, the verdict with its reasons, and where everything is."""
    if summary.metrics and summary.verdict:
        console.print()
        console.print(class_table(summary))
        blessed = "blessed" if summary.verdict["blessed"] else "not blessed"
        if summary.verdict["blessed"] and not summary.verdict.get("servable", True):  # Older runs were not tried.
            blessed += ", but it cannot be served"
        interval = summary.verdict.get("interval")
        spread = f" ({number(interval[0])} to {number(interval[1])} on other pictures of the kind)" if interval else ""
        console.print(f"mean IoU {number(summary.metrics['mean_iou'])}{spread}: {blessed}", style="bold")
        for reason in summary.verdict["reasons"]:
            console.print(f"  - {reason}", markup=False)
    if summary.quarantined:
        console.print(
            f"{summary.quarantined} of {summary.listed} listed pairs are not used: {summary.paths['quarantine']}", markup=False
        )
    if summary.near_duplicates:
        console.print(
            f"{summary.near_duplicates} pair(s) of pictures in two splits look alike, at which a score flatters: "
            f"{summary.paths['data report']}",
            markup=False,
        )
    if summary.unfinished:
        console.print(
            f"{summary.unfinished} interrupted training(s) of other data, code or settings are kept, and go on when they are "
            f"run again; what you will not go on with may be removed: {summary.paths['unfinished']}",
            markup=False,
        )
    executed = sum(step["status"] == "run" for step in summary.steps)
    if summary.steps and not executed:
        console.print("Nothing was executed: data, code and configuration are as in an earlier run.")
    console.print()
    rows = {"model": _model_line(summary), **_start_row(summary), **summary.paths}
    for name, value in rows.items():
        console.print(f"{name:<12} {value}", markup=False)
    memory = f"peak memory {summary.peak_memory_bytes / 2**30:.2f} GiB"
    console.print(f"{'run':<12} {summary.run}, {seconds(summary.seconds)}, {memory}", markup=False)


def _start_row(summary: Summary) -> dict[str, str]:
    """Returns what the training began with, where it was to begin with the weights of another model."""
    start = summary.start or {}
    words = f"fresh weights: {start['refusal']}" if start.get("refusal") else start.get("base", "")
    return {"started from": words} if words else {}


def _model_line(summary: Summary) -> str:
    if not summary.pushed:
        return "not pushed"
    path = summary.pushed["path"]
    if is_remote(path):
        return path if summary.pushed["new"] else f"{path} (pushed by an earlier run)"
    if not os.path.isdir(path):
        return f"{path} (pushed by an earlier run, and removed since)"
    if summary.pushed["new"]:
        return path
    newest = versions(pathlib.Path(path).parent)[-1:]
    served = f"; the current version is {newest[0].name}" if newest and newest[0].name != os.path.basename(path) else ""
    return f"{path} (pushed by an earlier run{served})"


def runs_table(summaries: list[Summary]) -> rich.table.Table:
    """Returns a row a run: name, pipeline, status, mean IoU, verdict, time."""
    table = rich.table.Table()
    for column in ("run", "pipeline", "status", "mean IoU", "verdict", "time"):
        table.add_column(column, justify="right" if column in ("mean IoU", "time") else "left", overflow="fold")
    for summary in summaries:
        blessed = "-" if summary.verdict is None else "blessed" if summary.verdict["blessed"] else "not blessed"
        score = number((summary.metrics or {}).get("mean_iou"))
        row = (summary.run, summary.pipeline, summary.status, score, blessed, seconds(summary.seconds))
        table.add_row(*map(rich.text.Text, row))
    return table
