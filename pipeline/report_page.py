"""A run's report as HTML: what is shown of it, and the template filled in."""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from pipeline import charts, console, lineage, report_pictures, report_tables, runs

if TYPE_CHECKING:
    from components.datasets.report import Report
    from components.evaluation import Evaluation

_TEMPLATE = "report_template.html"
_QUARANTINED = 20
_FILTERS: dict[str, Callable[..., str]] = {
    "score": charts.score,
    "points": charts.points,
    "percent": charts.percent,
    "seconds": console.seconds,
    "hex": charts.to_hex,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Content:
    """All that is shown. What could not be had is None or empty, and `missing` says why, by the section's name.

    Attributes:
        summary: the run's record.
        config: its configuration: fields by stage.
        evaluation: what the Evaluator found and decided.
        history: the table of epochs: numbers by column, without what an epoch did not measure.
        data: what was found in the data.
        gallery: the pictures drawn.
        executions: the lineage.
        missing: why a section is empty: "history", "data", "pictures", "lineage" or "configuration".
    """

    summary: runs.Summary
    config: dict[str, dict[str, Any]]
    evaluation: "Evaluation"
    history: list[dict[str, float]]
    data: "Report | None"
    gallery: report_pictures.Gallery
    executions: tuple[lineage.Execution, ...]
    missing: dict[str, str]


def render(content: Content) -> str:
    """Returns the report as HTML; whatever comes from the data is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(os.path.dirname(os.path.abspath(__file__))),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name, function in _FILTERS.items():
        environment.filters[name] = function
    evaluation = content.evaluation
    overall, names = evaluation.overall, evaluation.class_names
    matrix = overall.candidate.confusion_matrix or []
    shown = report_tables.shown_classes(matrix)
    best = report_tables.chosen_epoch(content.history)
    verdict = content.summary.verdict or {}  # It knows of the ServingCheck, too.
    passed = evaluation.blessed and verdict.get("servable", True)  # Older runs were not tried.
    refusals = verdict.get("refusals", evaluation.refusals)
    drawn = [picture for group in content.gallery.groups.values() for picture in group]
    return environment.get_template(_TEMPLATE).render(
        content=content,
        summary=content.summary,
        evaluation=evaluation,
        passed=passed,
        state="Not blessed" if not evaluation.blessed else "Blessed" if passed else "Blessed, but it cannot be served",
        refusals=refusals,
        other_reasons=[reason for reason in verdict.get("reasons", evaluation.reasons) if reason not in refusals],
        overall_images=overall.candidate.metrics.get("example_count"),
        steps_have_memory=any("peak_memory_bytes" in step for step in content.summary.steps),
        mean_iou=report_tables.compare(overall, "mean_iou"),
        totals=report_tables.totals(evaluation),
        measures=report_tables.MEASURES,
        classes=report_tables.class_rows(evaluation),
        matrix=report_tables.matrix_rows(matrix, names, shown),
        shown_names=[names[number] for number in shown],
        confusions=report_tables.largest_confusions(matrix, names),
        slices=[(one, report_tables.compare(one, "mean_iou")) for one in evaluation.slices],
        curves=draw_history(content.history, best),
        best_epoch=best,
        quarantined=content.data.quarantined[:_QUARANTINED] if content.data else [],
        legend=[
            (names[number], content.gallery.palette[number])
            for number in sorted({number for picture in drawn for number in picture.classes})
            if number < min(len(names), len(content.gallery.palette))
        ],
    )


def draw_history(history: Sequence[dict[str, float]], marked: int | None) -> list[charts.Chart]:
    """Returns the curves of loss and mean IoU, training and validation, as far as they were measured."""
    found = []
    for title, column in (("loss", "loss"), ("mean IoU", "mean_iou")):
        curves = {
            name: [(int(row["epoch"]), row[key]) for row in history if key in row]
            for name, key in (("training", column), ("validation", f"val_{column}"))
        }
        if chart := charts.draw_curves(title, curves, marked):
            found.append(chart)
    return found
