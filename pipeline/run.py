"""A run from start to end: the pipeline in its folder, and the summary of what happened."""

import contextlib
import os
import pathlib
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from typing import TYPE_CHECKING

from components.code_digest import code_digest
from components.datasets import fake_voc, files, spans
from components.errors import VocsegError
from pipeline import console, runs
from pipeline.locations import DEFAULT_LOCAL, Locations, local_folder, locate, write_file
from pipeline_config import PipelineConfig, to_json

if TYPE_CHECKING:
    from pipeline.runners import Step


def run(
    config: PipelineConfig,
    root: str,
    data: str | None,
    summary_path: str | None = None,
    verify: bool = False,
    local: str = DEFAULT_LOCAL,
) -> runs.Summary:
    """Runs the pipeline on this machine and prints progress, table, verdict and places.

    Args:
        config: the run.
        root: where outputs go.
        data: the data folder, or None.
        summary_path: where a copy of the summary goes, or None.
        verify: reads all data again, whatever is remembered of it.
        local: folder on this machine for metadata, locks and logs, where the root is in a store.

    Returns:
        The summary; it is in the run's folder too, and there also when the run fails.

    Raises:
        VocsegError: something that a user can mend.
        Exception: whatever else a component raised.
    """
    _check_paths(local_folder(root, local), data, summary_path)
    check_span(data or "", config.data.span)
    if config.data.spec and config.data.embedded and not data:
        raise VocsegError(f"--spec needs --data: the preset {config.preset} has its own embedded data.")
    locations = locate(config, root, data, local)
    summary, folder = runs.create(locations.runs, locations.pipeline_name)
    (folder / runs.CONFIG_FILE).write_text(to_json(config) + "\n")
    started = time.monotonic()
    with console.output_to(folder / runs.LOG_FILE) as stream:
        view = console.RunView(stream)
        view.console.print(f"{locations.pipeline_name}, run {summary.run}; log: {folder / runs.LOG_FILE}", markup=False)
        try:
            if verify and not files.is_remote(locations.digests):
                pathlib.Path(locations.digests).unlink(missing_ok=True)
            _run_steps(config, locations, summary, view)
            summary.status = "succeeded"
        except BaseException as error:
            summary.status = "interrupted" if console.is_interrupt(error) else "failed"
            summary.error = console.shorten(error)
            traceback.print_exc()  # Into the log: standard error is redirected.
            raise
        finally:
            summary.seconds = round(time.monotonic() - started, 1)
            summary.peak_memory_bytes = runs.peak_memory_bytes(summary.steps)
            _write(summary, folder, summary_path)
        _report(summary, folder, view)
        _write(summary, folder, summary_path)
        console.show_result(view.console, summary)
    return summary


def _write(summary: runs.Summary, folder: pathlib.Path, copy: str | None) -> None:
    for path in (folder / runs.SUMMARY_FILE, pathlib.Path(copy) if copy else None):
        if path:
            runs.write(summary, path)


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


def check_span(data: str, span: str) -> None:
    """Fails over a choice of spans that cannot be, or where there is nothing to choose from.

    Raises:
        VocsegError: see there.
    """
    spans.check_choice(span)
    if span != "newest" and not spans.has_span(data):
        raise VocsegError(f"--span {span} needs {{SPAN}} in the path of the data, for instance 'DIR/span-{{SPAN}}'.")


def check_folder(data: str) -> None:
    """Fails over a local data folder in which there cannot be any data.

    Raises:
        VocsegError: it is a file, does not exist, or is empty.
    """
    if os.path.isfile(data):
        raise VocsegError(f"{data} is a file. Give --data the folder that holds it.")
    if not os.path.isdir(data):
        raise VocsegError(f"The data folder {data} does not exist. Give --data a folder that holds the data set.")
    if not os.listdir(data):
        raise VocsegError(f"The data folder {data} is empty. Give --data a folder that holds the data set.")


def _check_paths(root: str, data: str | None, summary_path: str | None) -> None:
    """Fails at once over a path that would fail later."""
    if data is not None and not files.is_remote(data) and not spans.has_span(data):
        check_folder(data)
    folders = {"--root": pathlib.Path(root)} | ({"--summary": pathlib.Path(summary_path).parent} if summary_path else {})
    for option, folder in folders.items():
        try:
            folder.mkdir(parents=True, exist_ok=True)
            usable = os.access(folder, os.W_OK | os.X_OK)
        except OSError as error:
            raise VocsegError(f"{option}: the folder {folder} cannot be made: {error.strerror}. Give another one.") from error
        if not usable:
            raise VocsegError(f"{option}: the folder {folder} cannot be written to. Give another one.")
    if summary_path and os.path.isdir(summary_path):
        raise VocsegError(f"--summary: {summary_path} is a folder; expected a file's path.")
    if summary_path and os.path.exists(summary_path) and not os.path.isfile(summary_path):
        raise VocsegError(f"--summary: {summary_path} is no regular file; expected the path of one, or of none yet.")


@contextlib.contextmanager
def _no_arguments() -> Iterator[None]:
    """Hides our command line: TFX parses `sys.argv` with absl, whose flags are not ours."""
    before = sys.argv
    sys.argv = before[:1]
    try:
        yield
    finally:
        sys.argv = before


def _run_steps(config: PipelineConfig, locations: Locations, summary: runs.Summary, view: console.RunView) -> None:
    """Runs the components and fills in the summary as they end."""
    with view.listening():
        steps = _run_graph(config, locations, summary, view)
    _fill_in(summary, locations, steps)


def _run_graph(config: PipelineConfig, locations: Locations, summary: runs.Summary, view: console.RunView) -> "dict[str, Step]":
    view.start("importing TensorFlow and TFX")
    from components import training_state
    from pipeline import datasets, runners  # Takes seconds, and prints: not before the output is redirected.

    def note(step: "Step") -> None:
        cost = {"seconds": round(step.seconds, 2), "peak_memory_bytes": runs.take_peak_memory_bytes()}
        summary.steps.append({"name": step.name, "status": step.status, **cost})
        if step.name == "Trainer" and step.status != "failed":  # Its artifacts are published.
            training_state.remove_finished(locations.unfinished)
        view.end(step.status, step.seconds)

    with runners.lock(locations.here), _no_arguments():
        if files.is_remote(locations.root):
            _check_store(locations.root)
        if config.data.embedded and not locations.data:
            locations = locations.with_data(_write_embedded(locations.work_dir))
            named = config.data.official
        elif locations.data:
            named = config.data.spec
        else:
            named = config.data.spec or config.data.official

        def tell(text: str) -> None:
            view.console.print(text, markup=False)

        spec = datasets.find_spec(named, locations.data, config.data.span, tell, locations.description)
        from pipeline import graph, targets

        target = targets.Target(metadata=runners.local_metadata(locations), beam_args=targets.LOCAL_BEAM_ARGS)
        pipeline = graph.create_pipeline(config, locations, spec, target)
        return {step.name: step for step in runners.run_local(pipeline, summary.run, view.start, note)}


def _check_store(root: str) -> None:
    """Fails at once over a store that would fail later.

    Raises:
        VocsegError: nothing can be written there.
    """
    from components import stores

    try:
        stores.try_writing(root)
    except OSError as error:
        raise VocsegError(
            f"--root: nothing can be written to {root}: {error.strerror or error}. "
            "Check the address, the bucket, the rights and the network."
        ) from error


def _write_embedded(work_dir: str) -> str:
    """Writes the embedded data where all who run steps can read it, once; returns its folder."""
    folder = f"{work_dir}/embedded-{code_digest(fake_voc.__name__)[:8]}"
    if not files.is_remote(folder):
        fake_voc.write_fake_voc(folder)
        return folder
    from components import stores

    if not stores.is_complete(folder):
        with tempfile.TemporaryDirectory(prefix="vocseg-embedded-") as scratch:
            fake_voc.write_fake_voc(scratch)
            stores.upload(scratch, folder)
    return folder


def _count_unfinished(folder: str) -> int:
    return len(files.names(folder)) if files.is_folder(folder) else 0


def _fill_in(summary: runs.Summary, locations: Locations, steps: "dict[str, Step]") -> None:
    """Reads metrics, verdict and places from what the components left."""
    from tfx.utils import path_utils

    from components import blessings, card_files, trainer, training_log
    from components.evaluation import read_evaluation
    from components.example_gen import QUARANTINE_FILE, REPORT_FILE, read_report

    evaluation = steps["Evaluator"].outputs["evaluation"][0]
    found = read_evaluation(evaluation.uri)
    summary.metrics = found.overall.candidate.metrics
    summary.baseline = found.overall.baseline.metrics if found.overall.baseline else None
    tried = steps["ServingCheck"].outputs["blessing"][0]
    servable = tried.get_int_custom_property(blessings.BLESSED) == 1
    refusals = list(found.refusals)
    if found.blessed and not servable:
        why = tried.get_string_custom_property(blessings.REASONS).split("\n")
        refusals += [f"cannot be served: {reason}" for reason in why]
    summary.verdict = {
        "blessed": found.blessed,
        "servable": servable,
        "split": found.split,
        "reasons": [*found.reasons, *(refusal for refusal in refusals if refusal not in found.reasons)],
        "refusals": refusals,
        "interval": found.overall.candidate.interval,
    }
    pushed = steps["Pusher"].outputs["pushed_model"][0]
    if pushed.get_int_custom_property("pushed"):
        summary.pushed = {
            "version": pushed.get_string_custom_property("pushed_version"),
            "path": pushed.get_string_custom_property("pushed_destination"),
            "new": steps["Pusher"].status == "run" and pushed.get_int_custom_property("new_version") == 1,
        }
    quarantine = steps["ExampleGen"].outputs["quarantine"][0].uri
    data_report = steps["ExampleGen"].outputs["report"][0].uri
    data = read_report(data_report)
    summary.listed, summary.generated, summary.quarantined = data.listed, data.generated, len(data.quarantined)
    summary.near_duplicates = len(data.near_duplicates)
    summary.unfinished = _count_unfinished(locations.unfinished)
    model_run = steps["Trainer"].outputs["model_run"][0].uri
    summary.paths |= {
        "trained": path_utils.serving_model_path(steps["Trainer"].outputs["model"][0].uri),
        "metadata": locations.metadata,
        "models": locations.models,
        "examples": steps["ExampleGen"].outputs["examples"][0].uri,
        "evaluation": evaluation.uri,
        "model card": os.path.join(steps["ModelCardGen"].outputs["card"][0].uri, card_files.HTML_FILE),
        "quarantine": os.path.join(quarantine, QUARANTINE_FILE),
        "data report": os.path.join(data_report, REPORT_FILE),
        "tensorboard": model_run,
        "history": os.path.join(model_run, training_log.HISTORY_FILE),
        "picture": os.path.join(model_run, trainer.PICTURE_FILE),
    }
    if summary.unfinished:
        summary.paths["unfinished"] = locations.unfinished
