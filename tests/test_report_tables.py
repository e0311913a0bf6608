"""The rows of a report's tables: their order, and what is missing in them."""

import dataclasses
import math

from fake_evaluation import NAMES, make_evaluation, make_measured

from pipeline import report_tables
from pipeline.report_tables import Compared, Confusion


def test_largest_fall_comes_first_and_what_cannot_be_compared_last() -> None:
    rows = report_tables.class_rows(make_evaluation())
    assert [row.name for row in rows] == ["cat", "background", NAMES[2]]
    assert rows[0].measures["iou"] == Compared(0.3, 0.6)
    assert math.isclose(rows[0].measures["iou"].change or 0, -0.3)
    assert rows[2].measures["iou"] == Compared(None, 0.2)
    assert rows[2].measures["iou"].change is None


def test_without_a_baseline_the_lowest_score_comes_first_and_the_absent_last() -> None:
    rows = report_tables.class_rows(make_evaluation(baseline=False))
    assert [(row.name, row.measures["iou"].value) for row in rows] == [("cat", 0.3), ("background", 0.8), (NAMES[2], None)]


def test_class_that_scores_zero_is_no_absent_one() -> None:
    evaluation = make_evaluation(baseline=False)
    overall = dataclasses.replace(evaluation.overall, candidate=make_measured((0.8, None, 0.0)))
    rows = report_tables.class_rows(dataclasses.replace(evaluation, overall=overall))
    assert [row.name for row in rows] == [NAMES[2], "background", "cat"]


def test_measure_that_nobody_took_is_left_out() -> None:
    evaluation = make_evaluation()
    for measured in (evaluation.overall.candidate, evaluation.overall.baseline):
        assert measured
        del measured.metrics["mean_dice"]
    assert list(report_tables.totals(evaluation)) == ["mean boundary IoU", "mean accuracy", "pixel accuracy"]


def test_confusion_matrix_in_percent_of_the_truth() -> None:
    matrix = [[996, 4, 0], [3, 1, 0], [0, 0, 0]]
    rows = report_tables.matrix_rows(matrix, ("a", "b", "c"), [0, 1, 2])
    # 0.4 percent is rounded to nothing, but not by its colour; of c there is no pixel.
    assert [[cell.text for cell in row.cells] for row in rows] == [["100", "", ""], ["75", "25", ""], ["", "", ""]]
    assert [row.pixels for row in rows] == [1000, 4, 0]
    assert rows[1].cells[0].title == "b predicted as a: 3 pixels, 75.00 %"
    assert rows[2].cells[0].title == "c predicted as a: 0 pixels"
    assert rows[0].cells[1].ground != rows[0].cells[2].ground == "#ffffff"


def test_of_many_classes_those_with_the_most_mistaken_pixels_are_shown() -> None:
    matrix = [[5, 0, 0], [0, 5, 1], [0, 1, 5]]
    assert report_tables.shown_classes(matrix) == [0, 1, 2]
    assert report_tables.shown_classes(matrix, most=2) == [1, 2]
    rows = report_tables.matrix_rows(matrix, ("a", "b", "c"), [1, 2])
    assert [(row.name, row.pixels, len(row.cells)) for row in rows] == [("b", 6, 2), ("c", 6, 2)]


def test_largest_confusions_by_pixels() -> None:
    matrix = [[90, 8, 2], [3, 1, 0], [0, 0, 0]]
    found = report_tables.largest_confusions(matrix, ("a", "b", "c"), most=2)
    assert found == [Confusion("a", "b", 8, 0.08), Confusion("b", "a", 3, 0.75)]


def test_chosen_epoch_is_the_first_of_the_best() -> None:
    history = [
        {"epoch": 1.0, "loss": 2.0},
        *({"epoch": float(n), "val_mean_iou": v} for n, v in ((2, 0.3), (3, 0.5), (4, 0.5))),
    ]
    assert report_tables.chosen_epoch([{"epoch": 0.0, "val_mean_iou": math.nan}, *history]) == 3
    assert report_tables.chosen_epoch(history[:1]) is None
