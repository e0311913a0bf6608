"""`vocseg report`: one self-contained HTML file about a run, gathered from its record and what its components left."""

import csv
import json
import logging
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from components.datasets import files
from components.errors import VocsegError
from pipeline import console, kept_pictures, lineage, metadata_server, report_page, report_pictures, runs
from pipeline.locations import check_writable, write_output

if TYPE_CHECKING:
    from components.datasets.report import Report
    from components.evaluation import Evaluation

REPORT_FILE = "report.html"
"""In a run's folder."""

_Found = TypeVar("_Found")


def report(run: str | None, root: str, output: str | None) -> None:
    """Writes the report of an earlier run, and prints its path.

    Args:
        run: the run's name, or None for the newest that has an evaluation.
        root: where outputs lie.
        output: the file, or None for the run's own place.

    Raises:
        VocsegError: no such run, a run without an evaluation, or a path that cannot be written.
    """
    folder = os.path.join(root, "runs")
    with console.working("report"):
        summary = choose_run(runs.read_all(folder), run, root)
        path = output or os.path.join(folder, summary.run, REPORT_FILE)
        if output:
            check_writable(output, "--output")
        content = make(summary, os.path.join(folder, summary.run))
    write_output(path, content, "--output")
    print(f"report: {path}")


def make(summary: runs.Summary, folder: str) -> bytes:
    """Returns the report's file; a name that is no Unicode, as files may have, is shown with its bytes.

    Args:
        summary: the run's record.
        folder: the run's.

    Raises:
        VocsegError: see `gather`.
    """
    return report_page.render(gather(summary, folder)).encode(errors="backslashreplace")


def choose_run(summaries: Sequence[runs.Summary], name: str | None, root: str) -> runs.Summary:
    """Returns the run of a name, or the newest that has an evaluation.

    Args:
        summaries: of the root's runs, oldest first.
        name: the run's name, or None.
        root: where they lie, for the message.

    Raises:
        VocsegError: there is none.
    """
    if not summaries:
        raise VocsegError(f"There are no runs in {root}. `vocseg run` makes one; --root says where.")
    if name is None:
        found = [summary for summary in summaries if has_evaluation(summary)]
        if not found:
            raise VocsegError(f"No run in {root} has left an evaluation to report: evaluation.json. Run `vocseg run` again.")
        return found[-1]
    chosen = next((summary for summary in summaries if summary.run == name), None)
    if chosen is None:
        known = ", ".join(summary.run for summary in reversed(summaries))
        raise VocsegError(f"There is no run {name} in {root}. There are: {known}.")
    return chosen


def has_evaluation(summary: runs.Summary) -> bool:
    """Tells whether there is something to report of a run."""
    from components.evaluation import EVALUATION_FILE

    folder = summary.paths.get("evaluation")
    return bool(folder) and files.exists(os.path.join(str(folder), EVALUATION_FILE))


def gather(summary: runs.Summary, folder: str) -> report_page.Content:
    """Reads all that is shown.

    Args:
        summary: the run's record.
        folder: the run's.

    Raises:
        VocsegError: the run has no evaluation, or it cannot be read.
    """
    evaluation = _read_evaluation(summary)
    missing: dict[str, str] = {}

    def attempt(section: str, read: Callable[[], _Found], empty: _Found) -> _Found:
        """Runs a part that the report can do without."""
        try:
            return read()
        except Exception as error:  # Whatever has become of old files: the rest of the report is worth having.
            logging.getLogger(__name__).warning("the report's %s", section, exc_info=True)
            missing[section] = console.shorten(error)
        return empty

    def place(name: str) -> str:
        if name not in summary.paths:
            raise VocsegError(f"The run's record does not say where its {name} is.")
        return summary.paths[name]

    def draw() -> report_pictures.Gallery:
        chosen = report_pictures.choose(evaluation.images)
        examples, trained = place("examples"), place("trained")
        return kept_pictures.find_or_draw(
            chosen,
            (examples, evaluation.split, trained),
            folder,
            lambda: report_pictures.draw_all(chosen, examples, evaluation.split, trained),
        )

    def trace() -> tuple[lineage.Execution, ...]:
        server = place("metadata")
        root = os.path.dirname(os.path.dirname(folder)) if metadata_server.is_address(server) else ""
        return lineage.read_lineage(server, summary.pipeline, summary.metadata_run or summary.run, root)

    return report_page.Content(
        summary=summary,
        config=attempt("configuration", lambda: _read_config(os.path.join(folder, runs.CONFIG_FILE)), {}),
        evaluation=evaluation,
        history=attempt("history", lambda: read_history(place("history")), []),
        data=attempt("data", lambda: _read_data_report(place("data report")), None),
        gallery=attempt("pictures", draw, report_pictures.Gallery({}, ())),
        executions=attempt("lineage", trace, ()),
        missing=missing,
    )


def _read_evaluation(summary: runs.Summary) -> "Evaluation":
    from components.evaluation import EVALUATION_FILE, read_evaluation

    folder = summary.paths.get("evaluation")
    if folder is None:
        why = f": it {summary.status}" + (f" ({summary.error})" if summary.error else "")
        raise VocsegError(f"The run {summary.run} has no evaluation to report{why}. Run it again.")
    path = os.path.join(folder, EVALUATION_FILE)
    if not files.exists(path):
        raise VocsegError(f"The run {summary.run} has no evaluation to report: there is no {path}. Run it again.")
    try:
        return read_evaluation(folder)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise VocsegError(f"{path} cannot be read ({console.shorten(error)}). Run it again.") from error


def _read_config(path: str) -> dict[str, dict[str, Any]]:
    """Returns the configuration's fields by stage; what belongs to none, to the pipeline."""
    values = json.loads(pathlib.Path(path).read_text())
    own = {name: value for name, value in values.items() if not isinstance(value, dict)}
    return {"pipeline": own} | {name: value for name, value in values.items() if isinstance(value, dict)}


def read_history(path: str) -> list[dict[str, float]]:
    """Returns the table of epochs, numbers by column; an empty cell is left out."""
    lines = files.read_bytes(path).decode().splitlines()
    return [{name: float(value) for name, value in row.items() if name and value} for row in csv.DictReader(lines)]


def _read_data_report(path: str) -> "Report":
    from components.datasets import report as data_report

    return data_report.from_dict(json.loads(files.read_bytes(path)))
