"""A run from start to end: the pipeline in its folder, and the record of what happened."""

import contextlib
import functools
import pathlib
import time
import traceback
from collections.abc import Callable, Sequence

from components.datasets.files import is_remote
from pipeline import console, dataflow_jobs, full_disk, locks, metadata_server, runs
from pipeline.findings import fill_in
from pipeline.locations import Locations, write_file
from pipeline.profile import PROFILE_FOLDER, Profile
from pipeline.request import Request, check, locations_of, make_folders
from pipeline.run_graph import again, beam_args_of, run_graph
from pipeline_config import PipelineConfig, to_json


def run(
    config: PipelineConfig, request: Request, on_begin: Callable[[runs.Summary], None] = lambda summary: None
) -> runs.Summary:
    """Runs the pipeline on this machine and prints progress, table, verdict and places.

    Args:
        config: the run.
        request: where, and how.
        on_begin: is given the run's summary, which is filled in as the run goes on, also where that fails.

    Returns:
        The summary; it is in the run's folder too, and there also when the run fails.

    Raises:
        BusyError: another run is under way in the root; this one has left no record then.
        VocsegError: something else that a user can mend.
        Exception: whatever else a component raised.
    """
    check(request, config)
    beam_args = beam_args_of(request, config)
    make_folders(request)
    locations = locations_of(request, config)
    try:
        with locks.lock(locations.here, request.wait_s):
            return _run_recorded(config, request, locations, beam_args, on_begin)
    except BaseException as error:
        said = _in_words(error, request, locations)
        if said is error:
            raise
        raise said from error


def _run_recorded(
    config: PipelineConfig,
    request: Request,
    locations: Locations,
    beam_args: Sequence[str],
    on_begin: Callable[[runs.Summary], None],
) -> runs.Summary:
    """Runs the pipeline, and keeps record and log of it."""
    summary, folder = runs.create(locations.runs, locations.pipeline_name)
    on_begin(summary)
    summary.metadata_run = metadata_server.run_name(summary.run, locations.metadata_server, locations.here)
    runs.write(summary, folder / runs.SUMMARY_FILE)  # A kill must not hide where its metadata is.
    (folder / runs.CONFIG_FILE).write_text(to_json(config) + "\n")
    profile = Profile(folder / PROFILE_FOLDER) if request.profile else None
    started = time.monotonic()
    told = dataflow_jobs.told_of(request.runner, config.cloud, locations.pipeline_name, summary.run)
    with told, console.output_to(folder / runs.LOG_FILE) as stream:
        view = console.RunView(stream)
        view.console.print(f"{locations.pipeline_name}, run {summary.run}; log: {folder / runs.LOG_FILE}", markup=False)
        try:
            if request.verify and not is_remote(locations.digests):
                pathlib.Path(locations.digests).unlink(missing_ok=True)
            steps = run_graph(config, locations, summary, view, request.runner, beam_args, profile)
            again(functools.partial(fill_in, summary, locations, steps), "results", summary.run, view)
            summary.status = "succeeded"
        except BaseException as error:
            summary.status = "interrupted" if console.is_interrupt(error) else "failed"
            summary.error = console.shorten(_in_words(error, request, locations))
            with contextlib.suppress(OSError):  # The disk may be full: this error says more than that of writing it down.
                traceback.print_exc()  # Into the log: standard error is redirected.
            raise
        finally:
            summary.seconds = round(time.monotonic() - started, 1)
            summary.peak_memory_bytes = runs.peak_memory_bytes(summary.steps)
            with contextlib.suppress(OSError) if summary.error else contextlib.nullcontext():
                _write(summary, folder, request.summary)
        _report(summary, folder, view)
        if profile:
            _profile(profile, summary, view)
        _write(summary, folder, request.summary)
        console.show_result(view.console, summary)
    return summary


def _in_words(error: BaseException, request: Request, locations: Locations) -> BaseException:
    """Returns an error that says what to do, where that is known; else the error itself."""
    error = full_disk.in_words(error, [locations.here], elsewhere=request.runner != "local")
    return metadata_server.in_words(error, locations.metadata_server)


def _write(summary: runs.Summary, folder: pathlib.Path, copy: str | None) -> None:
    try:
        runs.write(summary, folder / runs.SUMMARY_FILE)
    finally:  # The copy may lie on another disk, which is not full.
        if copy:
            runs.write(summary, pathlib.Path(copy))


def _report(summary: runs.Summary, folder: pathlib.Path, view: console.RunView) -> None:
    """Writes the report of a run that has succeeded, which it also has where there can be no report."""
    from pipeline import report

    path = folder / report.REPORT_FILE
    view.start("report")
    started = time.monotonic()
    try:
        write_file(str(path), report.make(summary, str(folder)))
    except Exception as error:
        traceback.print_exc()  # Into the log.
        view.end("failed", time.monotonic() - started)
        view.console.print(f"There is no report of this run: {console.shorten(error)}", markup=False)
        return
    view.end("written", time.monotonic() - started)
    summary.paths["report"] = str(path)


def _profile(profile: "Profile", summary: runs.Summary, view: console.RunView) -> None:
    """Writes and shows where the time of a run that has succeeded went, which it also has where that is impossible."""
    try:
        profile.write(summary)
        profile.show(view.console, summary)
    except Exception as error:
        traceback.print_exc()  # Into the log.
        view.console.print(f"There is no profile of this run: {console.shorten(error)}", markup=False)
