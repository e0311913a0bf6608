"""What a user sees of a run, and that everything else lands in its log."""

import io
import logging
import math
import os
import pathlib
import subprocess
import sys
import textwrap
import types
from typing import Any

import pytest
import rich.console

from components import progress
from components.errors import DataError
from pipeline import console, runs
from pipeline.console import RunView
from pipeline.runs import Summary
from pipeline_config import ConfigError

ROOT = pathlib.Path(console.__file__).parents[1]
CLASSES = {"iou/background": 0.9, "iou/cat": 0.5, "iou/dog": 0.25}


# output_to. Each in a process of its own: under pytest, 1 and 2 are pytest's.


def _python(code: str, tmp_path: pathlib.Path, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs code that finds the log's path in `log`."""
    prelude = f"""
        import logging, os, pathlib, subprocess, sys, warnings
        from pipeline.console import output_to
        log = pathlib.Path({str(tmp_path / "log.txt")!r})
    """
    program = textwrap.dedent(prelude) + textwrap.dedent(code)
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, **options)


def test_everything_printed_goes_to_the_log_and_the_stream_to_the_user(tmp_path: pathlib.Path) -> None:
    done = _python(
        """
        print("user: before")
        with output_to(log) as stream:
            print("log: print")
            print("log: print to stderr", file=sys.stderr)
            os.write(1, b"log: as C++ writes to 1\\n")
            os.write(2, b"log: as C++ writes to 2\\n")
            subprocess.run(["sh", "-c", "echo log: a child; echo log: a child complains >&2"])
            logging.getLogger("tfx").info("log: a message")
            warnings.warn("log: a warning")
            print("user: inside", file=stream, flush=True)
        print("user: after")
        print("user: stderr", file=sys.stderr)
        os.write(1, b"user: 1 again\\n")
        """,
        tmp_path,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert done.stdout.splitlines() == ["user: before", "user: inside", "user: after", "user: 1 again"]
    assert done.stderr == "user: stderr\n"
    text = (tmp_path / "log.txt").read_text()
    assert "user:" not in text
    for expected in (
        "log: print\n",
        "log: print to stderr\n",
        "log: as C++ writes to 1\n",
        "log: as C++ writes to 2\n",
        "log: a child\n",
        "log: a child complains\n",
        "INFO tfx: log: a message\n",
        "UserWarning: log: a warning\n",
    ):
        assert text.count(expected) == 1, expected


def test_buffered_output_lands_on_its_own_side(tmp_path: pathlib.Path) -> None:
    done = _python(
        """
        print("user: before")  # Into a buffer: standard output is no terminal here.
        with output_to(log):
            print("log: inside")
        print("user: after")
        """,
        tmp_path,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )
    assert done.stdout == "user: before\nuser: after\n"
    assert (tmp_path / "log.txt").read_text() == "log: inside\n"


@pytest.mark.parametrize("error", ["ValueError('x')", "KeyboardInterrupt()", "SystemExit(3)"])
def test_output_is_restored_after_an_exception(tmp_path: pathlib.Path, error: str) -> None:
    done = _python(
        f"""
        handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
        descriptors = os.listdir("/proc/self/fd")
        try:
            with output_to(log) as stream:
                os.write(1, b"log: inside\\n")
                raise {error}
        except BaseException as caught:
            print("user:", type(caught).__name__)
        os.write(1, b"user: 1\\n")
        os.write(2, b"user: 2\\n")
        assert (logging.getLogger().handlers, logging.getLogger().level) == (handlers, level)
        assert os.listdir("/proc/self/fd") == descriptors
        """,
        tmp_path,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert done.stdout == f"user: {error.split('(')[0]}\nuser: 1\n"
    assert done.stderr == "user: 2\n"
    assert (tmp_path / "log.txt").read_text() == "log: inside\n"


def test_log_is_continued(tmp_path: pathlib.Path) -> None:
    (tmp_path / "log.txt").write_text("first\n")
    _python("with output_to(log): print('second')", tmp_path)
    assert (tmp_path / "log.txt").read_text() == "first\nsecond\n"


def test_filters_for_warnings_are_restored(tmp_path: pathlib.Path) -> None:
    _python(
        """
        before = list(warnings.filters)
        with output_to(log):
            warnings.simplefilter("error")
        assert warnings.filters == before
        """,
        tmp_path,
    )


def test_log_that_cannot_be_opened_leaves_the_output_alone(tmp_path: pathlib.Path) -> None:
    done = _python(
        """
        descriptors = os.listdir("/proc/self/fd")
        try:
            with output_to(log / "nowhere"):
                pass
        except OSError as error:
            print("user:", type(error).__name__)
        assert os.listdir("/proc/self/fd") == descriptors
        """,
        tmp_path,
    )
    assert done.stdout == "user: FileNotFoundError\n"


# RunView where the output is no terminal.


class _Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(console, "time", types.SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    return _Clock(monkeypatch)


def _view() -> tuple[RunView, io.StringIO]:
    stream = io.StringIO()
    return RunView(stream), stream


def test_step_is_one_line_with_status_and_time() -> None:
    view, stream = _view()
    view.start("[ 1/10] ExampleGen")
    view.end("run", 4.849)
    view.start("[10/10] Pusher")
    view.end("cached", 0.04)
    assert [line.split() for line in stream.getvalue().splitlines()] == [
        ["[", "1/10]", "ExampleGen", "run", "4.8", "s"],
        ["[10/10]", "Pusher", "cached", "0.0", "s"],
    ]


def test_columns_of_steps_stand_below_each_other() -> None:
    view, stream = _view()
    for number, (name, status, time) in enumerate(
        [("ExampleGen", "run", 4.8), ("ExampleValidator", "cached", 0.0), ("Trainer", "resolved", 1234.5)], start=1
    ):
        view.start(f"[{number:>2}/10] {name}")
        view.end(status, time)
    lines = stream.getvalue().splitlines()
    assert len({len(line) for line in lines}) == 1
    assert len({line.index(status) for line, status in zip(lines, ("run", "cached", "resolved"), strict=True)}) == 1


def test_progress_is_shown_every_ten_seconds_at_most(clock: _Clock) -> None:
    view, stream = _view()
    view.start("[ 7/10] Trainer")
    with view.listening():
        for second in range(1, 31):
            clock.now = 1000.0 + second
            progress.report(second, 0, "steps")
    assert stream.getvalue().splitlines() == [f"[ 7/10] Trainer  {second} steps" for second in (10, 20, 30)]


def test_short_step_shows_no_progress(clock: _Clock) -> None:
    view, stream = _view()
    view.start("[ 7/10] Trainer")
    with view.listening():
        clock.now += 9.9
        progress.report(99, 100, "steps")
    assert stream.getvalue() == ""


def test_each_step_waits_anew_before_its_progress(clock: _Clock) -> None:
    view, stream = _view()
    view.start("[ 6/10] Transform")
    clock.now += 9
    view.end("run", 9)
    view.start("[ 7/10] Trainer")
    with view.listening():
        clock.now += 9
        progress.report(1, 2, "epochs")
    assert "epochs" not in stream.getvalue()


def test_time_to_go_follows_from_the_time_so_far(clock: _Clock) -> None:
    view, stream = _view()
    view.start("[ 7/10] Trainer")
    with view.listening():
        clock.now += 30  # 3 of 12 epochs in 30 s: 9 more at 10 s each.
        progress.report(3, 12, "epochs", "loss 0.52")
        clock.now += 210  # 9 of 12 epochs in 240 s: 3 more at 26.7 s each, 80 s.
        progress.report(9, 12, "epochs")
    assert stream.getvalue().splitlines() == [
        "[ 7/10] Trainer  3/12 epochs, loss 0.52, about 1 min 30 s to go",
        "[ 7/10] Trainer  9/12 epochs, about 1 min 20 s to go",
    ]


def test_time_to_go_of_what_is_counted_next_begins_where_the_last_was_done(clock: _Clock) -> None:
    view, stream = _view()
    view.start("[ 1/10] ExampleGen")
    with view.listening():
        clock.now += 60
        progress.report(100, 100, "train pairs")
        clock.now += 20  # 50 of 100 in 20 s: 50 more at 0.4 s each.
        progress.report(50, 100, "test pairs")
    assert stream.getvalue().splitlines()[-1] == "[ 1/10] ExampleGen  50/100 test pairs, about 20 s to go"


def test_time_to_go_of_what_goes_on_leaves_out_what_an_earlier_run_did(clock: _Clock) -> None:
    view, stream = _view()
    view.start("[ 7/10] Trainer")
    with view.listening():
        clock.now += 5
        progress.report(8, 12, "epochs", "going on from there", at_once=True, before=8)
        clock.now += 25  # One epoch in 30 s: 3 more at 30 s each.
        progress.report(9, 12, "epochs", before=8)
    assert stream.getvalue().splitlines() == [
        "[ 7/10] Trainer  8/12 epochs, going on from there",
        "[ 7/10] Trainer  9/12 epochs, about 1 min 30 s to go",
    ]


@pytest.mark.parametrize(("done", "total"), [(0, 12), (5, 0), (12, 12), (13, 12)])
def test_no_time_to_go_where_there_is_none_to_tell(clock: _Clock, done: int, total: int) -> None:
    view, stream = _view()
    view.start("[ 7/10] Trainer")
    with view.listening():
        clock.now += 60
        progress.report(done, total, "epochs")
    assert "epochs" in stream.getvalue()
    assert "to go" not in stream.getvalue()


def test_total_that_a_step_said_before_holds_until_the_next_step(clock: _Clock) -> None:
    view, stream = _view()
    with view.listening():
        view.start("Evaluator", 9, 10)
        progress.report(0, 200, "images")
        clock.now += 60
        progress.report(50, 0, "images")
        view.start("Other", 10, 10)
        clock.now += 60
        progress.report(50, 0, "images")
    assert stream.getvalue().splitlines() == [
        "[ 9/10] Evaluator  50/200 images, about 3 min 0 s to go",
        "[10/10] Other  50 images",
    ]


def test_progress_is_heard_only_while_listening(clock: _Clock) -> None:
    view, stream = _view()
    view.start("[ 7/10] Trainer")
    clock.now += 60
    progress.report(1, 2, "epochs")
    with pytest.raises(DataError), view.listening():
        raise DataError("x")
    progress.report(1, 2, "epochs")
    assert stream.getvalue() == ""
    assert view not in progress.LOGGER.handlers


def test_other_messages_of_the_progress_logger_are_not_shown(clock: _Clock) -> None:
    view, stream = _view()
    view.start("[ 7/10] Trainer")
    with view.listening():
        clock.now += 60
        progress.LOGGER.info("not a report")
        progress.LOGGER.info("nor this", extra={"progress": "3/12"})
    assert stream.getvalue() == ""


def test_progress_reaches_the_log_as_text(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, progress.LOGGER.name):
        progress.report(3, 12, "epochs", "loss 0.52")
        progress.report(40, 0, "train pairs")
    assert [record.getMessage() for record in caplog.records] == ["3/12 epochs, loss 0.52", "40 train pairs"]


def test_text_in_brackets_is_shown_as_it_is(clock: _Clock) -> None:
    view, stream = _view()
    view.start("[ 7/10] Train[red]er")
    with view.listening():
        clock.now += 60
        progress.report(1, 0, "epochs", "on [bold]GPU[/bold] [/x]")
    view.end("run", 60)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "[ 7/10] Train[red]er  1 epochs, on [bold]GPU[/bold] [/x]"
    assert lines[1].startswith("[ 7/10] Train[red]er ")


# RunView on a terminal.


def _terminal_view() -> tuple[RunView, io.StringIO]:
    view, stream = _view()
    view.console = rich.console.Console(file=stream, force_terminal=True, highlight=False, soft_wrap=True, width=120)
    return view, stream


def test_terminal_shows_progress_at_once_and_text_in_brackets_as_it_is(clock: _Clock) -> None:
    view, stream = _terminal_view()
    view.start("[ 7/10] Train[red]er")
    assert "[ 7/10] Train[red]er" in stream.getvalue()
    with view.listening():
        clock.now += 30
        progress.report(3, 12, "epochs", "[/x]")
    view.end("run", 30)
    assert "Train[red]er  3/12 epochs, [/x], about 1 min 30 s to go" in stream.getvalue()
    assert stream.getvalue().splitlines()[-1].endswith("[ 7/10] Train[red]er         run         30.0 s")


def test_what_is_to_be_seen_at_once_stays_on_a_terminal(clock: _Clock) -> None:
    view, stream = _terminal_view()
    view.start("[ 7/10] Trainer")
    with view.listening():
        progress.report(8, 12, "epochs", "going on from [there]", at_once=True, before=8)
        progress.report(100, 120, "steps", before=96)
    view.end("run", 30)
    shown = "[ 7/10] Trainer  8/12 epochs, going on from [there]\n"
    assert shown in stream.getvalue().replace("\r", "").replace("\x1b[2K", "")


def test_terminal_gets_its_cursor_back_after_an_error() -> None:
    view, stream = _terminal_view()
    with pytest.raises(DataError), view.listening():
        view.start("[ 7/10] Trainer")
        raise DataError("x")
    hidden, shown = "\x1b[?25l", "\x1b[?25h"
    assert hidden in stream.getvalue()
    assert stream.getvalue().rindex(shown) > stream.getvalue().rindex(hidden)


# Errors and numbers in words.


def test_our_errors_are_shown_whole() -> None:
    text = "\n".join(f"line {number}" for number in range(200))
    assert console.shorten(DataError(text)) == text
    assert console.shorten(ConfigError(text)) == text


def test_other_errors_are_shown_by_type_and_beginning() -> None:
    assert console.shorten(RuntimeError(" beam said no\n")) == "RuntimeError: beam said no"
    assert console.shorten(RuntimeError("x" * 601)) == "RuntimeError: " + "x" * 600 + "..."
    assert console.shorten(RuntimeError("x" * 600)) == "RuntimeError: " + "x" * 600


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [(0.0, "0 s"), (41.6, "42 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (200.0, "3 min 20 s"), (7322.0, "122 min 2 s")],
)
def test_seconds_in_words(duration_s: float, text: str) -> None:
    assert console.seconds(duration_s) == text


@pytest.mark.parametrize(("value", "text"), [(None, "-"), (math.nan, "-"), (0.0, "0.0000"), (0.73148, "0.7315")])
def test_number_has_four_decimals_or_is_a_dash(value: float | None, text: str) -> None:
    assert console.number(value) == text


# Tables and the result.


def _printed(what: Any, width: int = 120) -> str:
    stream = io.StringIO()
    rich.console.Console(file=stream, width=width).print(what)
    return stream.getvalue()


def _rows(table: Any) -> list[list[str]]:
    """Returns the cells of a table's body as they are printed."""
    lines = [line for line in _printed(table).splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line.strip("│").split("│")] for line in lines]


def _summary(**values: Any) -> Summary:
    defaults: dict[str, Any] = {
        "run": "20261120T120000Z",
        "pipeline": "mini.embedded",
        "metrics": {"mean_iou": 0.55, "pixel_accuracy": 0.9, **CLASSES, "example_count": 42.0},
        "verdict": {"blessed": True, "split": "test", "reasons": ["it reaches the floor", "nothing to compare with"]},
    }
    return Summary(**defaults | values)


def test_class_table_has_a_row_a_class_and_nothing_else() -> None:
    table = console.class_table(_summary())
    assert _rows(table) == [["background", "0.9000"], ["cat", "0.5000"], ["dog", "0.2500"]]
    assert "IoU a class, test split" in _printed(table)


def test_class_table_stands_beside_the_baseline() -> None:
    table = console.class_table(_summary(baseline={"mean_iou": 0.5, **CLASSES, "iou/cat": 0.25, "iou/dog": 0.375}))
    assert _rows(table) == [
        ["background", "0.9000", "0.9000", "+0.0 points"],
        ["cat", "0.5000", "0.2500", "+25.0 points"],
        ["dog", "0.2500", "0.3750", "-12.5 points"],
    ]


def test_class_that_does_not_occur_is_a_dash() -> None:
    metrics = {**CLASSES, "iou/cat": None, "iou/bird": math.nan}
    assert _rows(console.class_table(_summary(metrics=metrics)))[1:] == [["cat", "-"], ["dog", "0.2500"], ["bird", "-"]]


def test_change_needs_both_numbers() -> None:
    table = console.class_table(
        _summary(
            metrics={"iou/cat": None, "iou/dog": 0.5, "iou/cow": 0.5, "iou/owl": None},
            baseline={"iou/cat": 0.5, "iou/dog": None, "iou/owl": None},
        )
    )
    assert _rows(table) == [
        ["cat", "-", "0.5000", "-"],
        ["dog", "0.5000", "-", "-"],
        ["cow", "0.5000", "-", "-"],
        ["owl", "-", "-", "-"],
    ]


@pytest.mark.parametrize("name", ["rock [wet]", "[bold]coal[/bold]", "[/]", ":cat:", "coal, grade [red]", "a\\[b]"])
def test_class_name_is_shown_as_it_is(name: str) -> None:
    assert _rows(console.class_table(_summary(metrics={f"iou/{name}": 0.5}))) == [[name, "0.5000"]]


def _result(summary: Summary) -> str:
    view, stream = _view()
    console.show_result(view.console, summary)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("verdict", "text"),
    [
        ({"servable": True}, "mean IoU 0.5000: blessed\n"),
        ({}, "mean IoU 0.5000: blessed\n"),  # Of an earlier version, which did not try models.
        ({"servable": False}, "mean IoU 0.5000: blessed, but it cannot be served\n"),
        ({"blessed": False, "servable": False}, "mean IoU 0.5000: not blessed\n"),
    ],
)
def test_verdict_says_whether_a_blessed_model_can_be_served(verdict: dict[str, bool], text: str) -> None:
    whole = {"blessed": True, "split": "test", "reasons": []} | verdict
    assert text in _result(_summary(metrics={"mean_iou": 0.5}, verdict=whole))


def test_result_is_table_then_verdict_then_reasons_then_places(tmp_path: pathlib.Path) -> None:
    paths = {"log": "/r/runs/x/log.txt", "metadata": "/r/metadata.sqlite", "models": "/r/models/mini.embedded"}
    text = _result(
        _summary(
            paths=paths,
            pushed={"version": "17", "path": str(tmp_path), "new": True},
            steps=[{"name": "Trainer", "status": "run", "seconds": 1.0}],
            seconds=200.0,
            peak_memory_bytes=3 << 29,
        )
    )
    expected = [
        "IoU a class, test split",
        "background",
        "dog",
        "mean IoU 0.5500: blessed\n",
        "  - it reaches the floor\n",
        "  - nothing to compare with\n",
        f"model        {tmp_path}\n",
        "log          /r/runs/x/log.txt\n",
        "metadata     /r/metadata.sqlite\n",
        "models       /r/models/mini.embedded\n",
        "run          20261120T120000Z, 3 min 20 s, peak memory 1.50 GiB\n",
    ]
    places = [text.index(part) for part in expected]
    assert places == sorted(places)
    assert "Nothing was executed" not in text
    assert "could not be used" not in text


def test_refused_model_is_said_to_be_neither_blessed_nor_pushed() -> None:
    text = _result(_summary(verdict={"blessed": False, "split": "eval", "reasons": ["it is below the floor"]}))
    assert "mean IoU 0.5500: not blessed\n  - it is below the floor\n" in text
    assert "model        not pushed\n" in text
    assert "IoU a class, eval split" in text


def test_model_of_an_earlier_run_is_said_to_be_one(tmp_path: pathlib.Path) -> None:
    text = _result(_summary(pushed={"version": "17", "path": str(tmp_path), "new": False}))
    assert f"model        {tmp_path} (pushed by an earlier run)\n" in text


def test_model_of_an_earlier_run_that_is_not_the_current_version_is_said_to_be_none(tmp_path: pathlib.Path) -> None:
    for name in ("17", "9", "100", ".incoming-200", "latest"):
        (tmp_path / name).mkdir()
    text = _result(_summary(pushed={"version": "17", "path": str(tmp_path / "17"), "new": False}))
    assert f"model        {tmp_path}/17 (pushed by an earlier run; the current version is 100)\n" in text


def test_model_that_is_gone_is_said_to_be_gone(tmp_path: pathlib.Path) -> None:
    text = _result(_summary(pushed={"version": "17", "path": str(tmp_path / "17"), "new": False}))
    assert f"model        {tmp_path}/17 (pushed by an earlier run, and removed since)\n" in text


def test_mean_that_is_no_number_is_a_dash() -> None:
    assert "mean IoU -: not blessed" in _result(
        _summary(metrics={"mean_iou": None}, verdict={"blessed": False, "split": "test", "reasons": []})
    )


@pytest.mark.parametrize(
    ("statuses", "said"),
    [(["cached", "resolved", "cached"], True), (["cached", "run"], False), (["run"], False), ([], False)],
    ids=str,
)
def test_run_that_executed_nothing_says_so(statuses: list[str], said: bool) -> None:
    steps = [{"name": "x", "status": status, "seconds": 0.0} for status in statuses]
    assert ("Nothing was executed" in _result(_summary(steps=steps))) == said


def test_quarantined_pairs_are_counted_and_their_list_named() -> None:
    text = _result(_summary(listed=9, quarantined=3, paths={"quarantine": "/r/quarantine.jsonl"}))
    assert "3 of 9 listed pairs are not used: /r/quarantine.jsonl\n" in text


def test_pictures_that_look_alike_are_counted_and_their_list_named() -> None:
    text = _result(_summary(near_duplicates=2, paths={"data report": "/r/report.json"}))
    assert "2 pair(s) of pictures in two splits look alike, at which a score flatters: /r/report.json\n" in text


def test_interrupted_trainings_that_are_kept_are_counted_and_their_folder_named() -> None:
    text = _result(_summary(unfinished=2, paths={"unfinished": "/r/unfinished"}))
    assert "2 interrupted training(s) of other data, code or settings are kept" in text
    assert "may be removed: /r/unfinished\n" in text
    assert "interrupted" not in _result(_summary())


@pytest.mark.parametrize("odd", ["[red]x", "[bold]/x", ":cat:", "long/" * 40])
def test_places_and_reasons_are_shown_as_they_are_on_one_line(tmp_path: pathlib.Path, odd: str) -> None:
    path = tmp_path / odd
    path.mkdir(parents=True)
    text = _result(
        _summary(
            paths={"log": str(path), "quarantine": str(path)},
            listed=2,
            quarantined=1,
            pushed={"version": "1", "path": str(path), "new": True},
            verdict={"blessed": True, "split": "test", "reasons": [f"see {path}"]},
        )
    )
    for line in (
        f"log          {path}",
        f"model        {path}",
        f"  - see {path}",
        f"1 of 2 listed pairs are not used: {path}",
    ):
        assert line in text.splitlines()


def test_table_of_runs_has_a_row_a_run() -> None:
    summaries = [
        _summary(status="succeeded", seconds=47.4),
        _summary(status="succeeded", verdict={"blessed": False, "split": "test", "reasons": []}, metrics={"mean_iou": None}),
        Summary(run="20261120T130000Z", pipeline="voc2007.x-123456", status="interrupted"),
        Summary(run="20261120T140000Z", pipeline="mini.[red]x", status="failed", seconds=3.0, error="no"),
    ]
    rows = [line.split("│")[1:-1] for line in _printed(console.runs_table(summaries)).splitlines() if "│" in line]
    assert [[cell.strip() for cell in row] for row in rows] == [
        ["20261120T120000Z", "mini.embedded", "succeeded", "0.5500", "blessed", "47 s"],
        ["20261120T120000Z", "mini.embedded", "succeeded", "-", "not blessed", "0 s"],
        ["20261120T130000Z", "voc2007.x-123456", "interrupted", "-", "-", "0 s"],
        ["20261120T140000Z", "mini.[red]x", "failed", "-", "-", "3 s"],
    ]


def test_table_of_runs_cuts_nothing_off_on_a_usual_terminal() -> None:
    summaries = [
        _summary(status="interrupted", seconds=5999.0),
        _summary(pipeline="voc2007.voc2007-a1b2c3", status="succeeded"),
    ]
    assert "…" not in _printed(console.runs_table(summaries), width=80)


def test_result_of_a_real_summary_file_can_be_shown(tmp_path: pathlib.Path) -> None:
    (tmp_path / "r").mkdir()
    runs.write(_summary(baseline={"mean_iou": 0.5, **CLASSES, "iou/cat": None}), tmp_path / "r" / runs.SUMMARY_FILE)
    [summary] = runs.read_all(str(tmp_path))
    assert "mean IoU 0.5500: blessed" in _result(summary)
    assert ["cat", "0.5000", "-", "-"] in _rows(console.class_table(summary))


def test_interrupt_that_beam_made_an_error_of_is_one() -> None:
    assert console.is_interrupt(KeyboardInterrupt())
    assert console.is_interrupt(RuntimeError("KeyboardInterrupt [while running 'Encode train']"))
    assert not console.is_interrupt(RuntimeError("no KeyboardInterrupt"))
