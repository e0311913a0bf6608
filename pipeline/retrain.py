"""`vocseg retrain`: a run for timers. What happened is its exit code, and one line of JSON."""

import contextlib
import dataclasses
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TextIO

from components.errors import VocsegError
from pipeline import console, prune, run, runs
from pipeline.locks import BusyError
from pipeline.request import Request, locations_of
from pipeline_config import PipelineConfig

EXIT_CODES = {"unchanged": 0, "pushed": 0, "failed": 1, "refused": 3, "busy": 4, "interrupted": 130}
"""Of the process, by what happened. 2 is a wrong command line, of which there is no line of JSON."""

_ENDED = ("unchanged", "pushed", "refused")
"""Results of a run that came to its end: whatever goes wrong then, in its report or the pruning, must not hide them."""


@dataclasses.dataclass(kw_only=True)
class Outcome:
    """What a retraining came to; as JSON, the last line on the standard output.

    Attributes:
        result: unchanged (nothing to do), pushed, refused (trained, and not pushed), failed, busy or interrupted.
        pipeline: its name; "" where it failed before it had one.
        run: the run's name; "" where there was none.
        mean_iou: of the candidate; None before it was measured.
        baseline: mean IoU of the model that it was compared with, or None.
        version: the version that was pushed, or that had been pushed of the same model; None where there is none.
        started_from: the Model artifact whose weights the training began with; "" for fresh weights.
        reasons: of the verdict, in words.
        error: what went wrong, or None.
        seconds: from start to end.
        pruned_bytes: freed by --keep.
    """

    result: str = "failed"
    pipeline: str = ""
    run: str = ""
    mean_iou: float | None = None
    baseline: float | None = None
    version: str | None = None
    started_from: str = ""
    reasons: list[str] = dataclasses.field(default_factory=list)
    error: str | None = None
    seconds: float = 0.0
    pruned_bytes: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """How to retrain.

    Attributes:
        request: where, and how, as for any run.
        keep: how many runs' artifacts stay; 0: all.
        debug: print a traceback with an error.
    """

    request: Request
    keep: int = 0
    debug: bool = False


def retrain(configure: Callable[[], PipelineConfig], options: Options) -> int:
    """Runs the pipeline, prunes, and prints the outcome; whatever happens, its line is the last.

    Args:
        configure: returns the run's configuration; a mistake in it is an outcome, too.
        options: how.

    Returns:
        The exit code.
    """
    started = time.monotonic()
    outcome = Outcome()
    with _output_to_stderr() as line, _terminable():
        try:
            _retrain(configure, options, outcome)
        except BaseException as error:
            _explain(error, outcome, options.debug)
        outcome.seconds = round(time.monotonic() - started, 1)
        print(json.dumps(dataclasses.asdict(outcome)), file=line, flush=True)
    return 1 if outcome.error and outcome.result in _ENDED else EXIT_CODES[outcome.result]


def _retrain(configure: Callable[[], PipelineConfig], options: Options, outcome: Outcome) -> None:
    config = configure()
    outcome.pipeline = locations_of(options.request, config).pipeline_name
    if options.keep:
        _check_prunable(options.request)
    begun: list[runs.Summary] = []
    try:
        run.run(config, options.request, begun.append)
    finally:
        for summary in begun:
            _take_over(summary, outcome)
    if options.keep:
        outcome.pruned_bytes = _prune(options, outcome.pipeline)


def _check_prunable(request: Request) -> None:
    """Fails before a run after which nothing could be pruned.

    Raises:
        VocsegError: its metadata or its root are not on this machine, or those of an earlier run were not.
    """
    if request.metadata:
        raise VocsegError(
            "--keep prunes by the root's own metadata.sqlite, and --metadata names a server. Leave one of them out."
        )
    prune.check_root(request.root)


def _prune(options: Options, pipeline: str) -> int:
    """Prunes, and returns the bytes freed; where another run has begun since, that is left to the next time."""
    try:
        with console.working("pruning"):
            freed = sum(one.size_bytes for one in prune.prune(options.request.root, options.keep, pipeline))
    except BusyError as error:
        print(f"not pruned: {error}")
        return 0
    print(f"pruned {freed / 1e6:.1f} MB")
    return freed


def judge(summary: runs.Summary) -> str:
    """Returns what a run that came to its end amounts to: unchanged, pushed or refused."""
    if not any(step["status"] == "run" for step in summary.steps):
        return "unchanged"
    if summary.pushed is None:
        return "refused"
    return "pushed" if summary.pushed["new"] else "unchanged"


def _take_over(summary: runs.Summary, outcome: Outcome) -> None:
    """Copies from a run's summary what the outcome has of it, also of a run that failed."""
    if summary.status == "succeeded":
        outcome.result = judge(summary)
    outcome.run, outcome.pipeline = summary.run, summary.pipeline
    outcome.mean_iou = (summary.metrics or {}).get("mean_iou")
    outcome.baseline = (summary.baseline or {}).get("mean_iou")
    outcome.version = (summary.pushed or {}).get("version")
    outcome.started_from = (summary.start or {}).get("base", "")
    outcome.reasons = (summary.verdict or {}).get("reasons", [])


def _explain(error: BaseException, outcome: Outcome, debug: bool) -> None:
    """Says what went wrong, in the outcome and to who reads along."""
    interrupted = console.is_interrupt(error)
    outcome.error = "interrupted; run the same command again to go on" if interrupted else console.shorten(error)
    if outcome.result not in _ENDED:
        outcome.result = "interrupted" if interrupted else "busy" if isinstance(error, BusyError) else "failed"
    if debug:
        sys.excepthook(type(error), error, error.__traceback__)
    print(f"error: {outcome.error}", file=sys.stderr)


@contextlib.contextmanager
def _output_to_stderr() -> Iterator[TextIO]:
    """Sends to the standard error what is meant for the standard output, and yields the latter: it gets one line only."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept), "w") as stream, contextlib.redirect_stdout(sys.stderr):
            yield stream
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


@contextlib.contextmanager
def _terminable() -> Iterator[None]:
    """Makes SIGTERM, by which systemd stops a service, an interrupt as Ctrl-C is; a second one is not heeded."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        del frame
        signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
