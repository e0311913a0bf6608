"""The geometry and the colours of a report's drawings, by numbers."""

import math

import pytest

from pipeline import charts
from pipeline.charts import Tick


def test_curve_runs_from_corner_to_corner_of_its_axes() -> None:
    # Steps from 0 to 2 of at most 6: 0, 0.5 ... 2, so 2 is the upper edge (12) and 0 the lower one (260 - 36).
    chart = charts.draw_curves("loss", {"training": [(1, 2.0), (2, 1.0), (3, 0.0)]}, None)
    assert chart is not None
    assert chart.lines[0].points == ((52, 12), (259, 118), (466, 224))
    assert chart.lines[0].path == "52.0,12.0 259.0,118.0 466.0,224.0"
    assert chart.y_ticks[0] == Tick(224, "0")
    assert chart.y_ticks[-1] == Tick(12, "2")
    assert chart.x_ticks == (Tick(52, "1"), Tick(259, "2"), Tick(466, "3"))
    assert (chart.mark, chart.marked) == (None, None)


def test_marked_epoch_stands_where_its_point_does() -> None:
    chart = charts.draw_curves("mean IoU", {"validation": [(5, 0.1), (10, 0.5), (15, 0.4)]}, 10)
    assert chart is not None
    assert (chart.mark, chart.marked) == (chart.lines[0].points[1][0], 10)


def test_what_is_not_finite_is_left_out_and_nothing_at_all_is_no_chart() -> None:
    chart = charts.draw_curves(
        "loss", {"training": [(1, math.nan), (2, 1.0), (3, math.inf)], "validation": [(2, math.nan)]}, None
    )
    assert chart is not None
    assert [(line.name, len(line.points)) for line in chart.lines] == [("training", 1)]
    assert charts.draw_curves("loss", {"training": [(1, math.nan)]}, None) is None
    assert charts.draw_curves("loss", {}, 1) is None


def test_one_epoch_stands_in_the_middle() -> None:
    chart = charts.draw_curves("loss", {"training": [(1, 0.0)]}, 1)
    assert chart is not None
    assert chart.lines[0].path == "259.0,224.0"
    assert [tick.text for tick in chart.x_ticks] == ["1"]


def test_value_below_zero_stays_within_the_axes() -> None:
    chart = charts.draw_curves("loss", {"training": [(1, -3.0), (2, 1.0)]}, None)
    assert chart is not None
    assert all(12 <= y <= 224 for line in chart.lines for _, y in line.points)


def test_first_and_last_epoch_have_numbers_that_do_not_run_into_others() -> None:
    chart = charts.draw_curves("loss", {"training": [(epoch, 1.0) for epoch in range(1, 60)]}, None)
    assert chart is not None
    assert [tick.text for tick in chart.x_ticks] == ["1", "10", "20", "30", "40", "50", "59"]
    assert min(b.at - a.at for a, b in zip(chart.x_ticks, chart.x_ticks[1:], strict=False)) > 24


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 0.75, [0, 0.2, 0.4, 0.6, 0.8]),
        (0, 3.06, [0, 1, 2, 3, 4]),
        (0, 0, [0, 0.2]),
        (0, 1e6, [0, 200_000, 400_000, 600_000, 800_000, 1_000_000]),
    ],
)
def test_steps_are_round_and_hold_both_ends(low: float, high: float, expected: list[float]) -> None:
    assert charts.steps(low, high) == expected


def test_heat_runs_from_white_to_dark_blue_by_the_root() -> None:
    assert charts.heat(0) == (255, 255, 255)
    assert charts.heat(1) == (8, 64, 129)
    assert charts.heat(0.25) == (132, 160, 192)  # Half the way: 131.5, 159.5 and 192, rounded to even.
    assert charts.heat(1.5) == charts.heat(1)


def test_ink_is_readable_on_every_heat() -> None:
    assert (charts.ink((255, 255, 255)), charts.ink((0, 0, 0))) == ("#000", "#fff")
    for number in range(101):
        ground = charts.heat(number / 100)
        light, dark = sorted((charts.luminance(ground), 0.0 if charts.ink(ground) == "#000" else 1.0), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5  # WCAG 2.1, AA


def test_shares_of_an_empty_row_are_none() -> None:
    assert charts.shares([1, 3]) == [0.25, 0.75]
    assert charts.shares([0, 0]) == [None, None]


def test_colours_and_shares_as_text() -> None:
    assert charts.to_hex((0, 15, 255)) == "#000fff"
    assert (charts.score(0.5), charts.score(None)) == ("0.5000", "\u2013")
    assert (charts.points(0.012), charts.points(-0.5), charts.points(None)) == ("+1.20", "\u221250.00", "\u2013")
    assert (charts.percent(0.125), charts.percent(0.12345, 2), charts.percent(None)) == ("12.5 %", "12.35 %", charts.NOTHING)
