"""Cron expressions before they become schedules."""

import pytest

from components.errors import CloudError
from pipeline.cron import check_cron


@pytest.mark.parametrize(
    "expression",
    [
        "0 3 * * 1",
        "*/15 * * * *",
        "0,30 8-18/2 1,15 * *",
        "59 23 31 12 6",
        "0 0 * jan-MAR sun",
        "TZ=Europe/Berlin 0 3 * * 1",
        "CRON_TZ=America/New_York 1 * * * *",
    ],
)
def test_expressions_that_vertex_takes(expression: str) -> None:
    check_cron(expression)


@pytest.mark.parametrize(
    ("expression", "complaint"),
    [
        ("", "takes five fields"),
        ("0 3 * *", "takes five fields"),
        ("0 0 3 * * 1", "takes five fields"),
        ("@weekly", "takes five fields"),
        ("60 3 * * 1", "minute must be .* 0 to 59.*'60' in '60 3 \\* \\* 1'"),
        ("0 24 * * 1", "hour must be"),
        ("0 3 0 * 1", "day of the month must be"),
        ("0 3 * 13 1", "month must be .* 1 to 12, or jan to dec"),
        ("0 3 * * 7", "day of the week must be .* 0 to 6, or sun to sat"),
        ("0 3 * * monday", "day of the week"),
        ("0 18-8 * * *", "hour"),
        ("*/0 * * * *", "minute"),
        ("*/60 * * * *", "minute"),
        ("1-2-3 * * * *", "minute"),
        ("0,, * * * *", "minute"),
        ("-1 * * * *", "minute"),
        ("0 3 jan * *", "day of the month"),
        ("TZ=Berlin 0 3 * * 1", "'Berlin' is no time zone"),
        ("TZ= 0 3 * * 1", "'' is no time zone"),
    ],
)
def test_other_expressions_are_refused_in_words(expression: str, complaint: str) -> None:
    with pytest.raises(CloudError, match=complaint):
        check_cron(expression)
