"""The rows of a report's tables, from what the Evaluator left: pure, in the order in which they are shown."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pipeline import charts

if TYPE_CHECKING:
    from components.evaluation import Evaluation, Measured, Slice

MAX_MATRIX_CLASSES = 60
"""Classes that the confusion matrix shows: of more, those with the most mistaken pixels."""

MEASURES = {"iou": "IoU", "accuracy": "accuracy", "dice": "Dice", "boundary_iou": "boundary IoU"}
"""Of a class: how the evaluation calls them, and how the report does."""

TOTALS = {
    "mean_dice": "mean Dice",
    "mean_boundary_iou": "mean boundary IoU",
    "mean_accuracy": "mean accuracy",
    "pixel_accuracy": "pixel accuracy",
}
"""Of the whole, beside the mean IoU, in the same way."""


@dataclasses.dataclass(frozen=True)
class Compared:
    """A measure of the candidate beside the baseline's; None where there is nothing to measure, or no baseline."""

    value: float | None
    baseline: float | None

    @property
    def change(self) -> float | None:
        """Value less baseline, or None."""
        return None if self.value is None or self.baseline is None else self.value - self.baseline


@dataclasses.dataclass(frozen=True)
class ClassRow:
    """A class: its name, and what was measured of it by the keys of `MEASURES`."""

    name: str
    measures: dict[str, Compared]


@dataclasses.dataclass(frozen=True)
class Cell:
    """An entry of the confusion matrix: what it says, its explanation, and its colours as CSS takes them."""

    text: str
    title: str
    ground: str
    ink: str


@dataclasses.dataclass(frozen=True)
class MatrixRow:
    """A class of the truth, and how its pixels were predicted."""

    name: str
    pixels: int
    cells: tuple[Cell, ...]


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Pixels of one class that were predicted as another.

    Attributes:
        truth: the class.
        predicted: the other one.
        pixels: how many.
        share: of the class's pixels, 0..1.
    """

    truth: str
    predicted: str
    pixels: int
    share: float


def compare(of: "Slice", key: str) -> Compared:
    """Returns a measure of both models on a slice."""
    return Compared(_finite(of.candidate, key), _finite(of.baseline, key) if of.baseline else None)


def _finite(measured: "Measured", key: str) -> float | None:
    value = measured.metrics.get(key)
    return None if value is None or math.isnan(value) else float(value)


def class_rows(evaluation: "Evaluation") -> list[ClassRow]:
    """Returns a row a class: the largest fall of IoU first, without a baseline the lowest IoU; unmeasured ones last."""
    rows = [
        ClassRow(name, {measure: compare(evaluation.overall, f"{measure}/{name}") for measure in MEASURES})
        for name in evaluation.class_names
    ]

    def order(row: ClassRow) -> tuple[bool, float, bool, float]:
        iou = row.measures["iou"]
        return iou.change is None, iou.change or 0.0, iou.value is None, iou.value or 0.0

    return sorted(rows, key=order)


def totals(evaluation: "Evaluation") -> dict[str, Compared]:
    """Returns the measures of the whole by what they are called; those that nobody measured are left out."""
    found = {title: compare(evaluation.overall, key) for key, title in TOTALS.items()}
    return {title: compared for title, compared in found.items() if compared != Compared(None, None)}


def shown_classes(matrix: Sequence[Sequence[int]], most: int = MAX_MATRIX_CLASSES) -> list[int]:
    """Returns the ids whose rows and columns are shown, ascending: all, or those with the most mistaken pixels."""
    columns = [sum(row[number] for row in matrix) for number in range(len(matrix))]
    mistaken = [sum(row) + columns[number] - 2 * row[number] for number, row in enumerate(matrix)]
    return sorted(sorted(range(len(matrix)), key=lambda number: -mistaken[number])[:most])


def matrix_rows(matrix: Sequence[Sequence[int]], names: Sequence[str], shown: Sequence[int]) -> list[MatrixRow]:
    """Returns the confusion matrix as shares of the truth's pixels.

    Args:
        matrix: [C][C] pixels, the truth's classes in rows.
        names: C of them.
        shown: ids of the rows and columns.
    """
    rows = []
    for truth in shown:
        shares = charts.shares(matrix[truth])
        cells = []
        for predicted in shown:
            share, pixels = shares[predicted], matrix[truth][predicted]
            ground = charts.heat(share or 0.0)
            title = f"{names[truth]} predicted as {names[predicted]}: {pixels:,} pixels"
            title += "" if share is None else f", {charts.percent(share, 2)}"
            text = "" if share is None or round(100 * share) == 0 else f"{100 * share:.0f}"
            cells.append(Cell(text, title, charts.to_hex(ground), charts.ink(ground)))
        rows.append(MatrixRow(names[truth], sum(matrix[truth]), tuple(cells)))
    return rows


def largest_confusions(matrix: Sequence[Sequence[int]], names: Sequence[str], most: int = 10) -> list[Confusion]:
    """Returns the confusions with the most pixels, the largest first."""
    found = [
        Confusion(names[truth], names[predicted], pixels, pixels / sum(row))
        for truth, row in enumerate(matrix)
        for predicted, pixels in enumerate(row)
        if pixels and truth != predicted
    ]
    return sorted(found, key=lambda confusion: -confusion.pixels)[:most]


def chosen_epoch(history: Sequence[Mapping[str, float]]) -> int | None:
    """Returns the epoch whose weights were kept: the first with the highest validation mean IoU; None if none was measured."""
    measured = [row for row in history if "val_mean_iou" in row and not math.isnan(row["val_mean_iou"])]
    return int(max(measured, key=lambda row: row["val_mean_iou"])["epoch"]) if measured else None
