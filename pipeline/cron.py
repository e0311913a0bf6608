"""Cron expressions, checked before a schedule is made of one."""

import re
import zoneinfo

from components.errors import CloudError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = {
    "minute": (0, 59, ()),
    "hour": (0, 23, ()),
    "day of the month": (1, 31, ()),
    "month": (1, 12, _MONTHS),
    "day of the week": (0, 6, _DAYS),
}
"""Smallest and largest value of each field, and names that count up from the smallest."""


def check_cron(expression: str) -> None:
    """Fails over what is no cron expression of five fields, with `TZ=` or `CRON_TZ=` and a time zone before it or without.

    Raises:
        CloudError: see there; the message names the field.
    """
    fields = expression.split()
    if fields and (zone := re.fullmatch(r"(?:CRON_)?TZ=(.*)", fields[0])):
        _check_zone(zone[1])
        fields = fields[1:]
    if len(fields) != len(_FIELDS):
        raise CloudError(
            f"--cron takes five fields ({', '.join(_FIELDS)}), as in '0 3 * * 1': Mondays at three; got {expression!r}."
        )
    for text, (name, (least, most, names)) in zip(fields, _FIELDS.items(), strict=True):
        if not all(_fits(part, least, most, names) for part in text.split(",")):
            also = f", or {names[0]} to {names[-1]}" if names else ""
            raise CloudError(
                f"--cron: the {name} must be *, a number from {least} to {most}{also}, a range as A-B, a step as */N, "
                f"or several of these with commas between them; got {text!r} in {expression!r}."
            )


def _check_zone(name: str) -> None:
    if name not in zoneinfo.available_timezones():
        raise CloudError(f"--cron: {name!r} is no time zone; expected a name as Europe/Berlin.")


def _fits(part: str, least: int, most: int, names: tuple[str, ...]) -> bool:
    """Tells whether one of a field's parts can be."""
    span, slash, step = part.partition("/")
    if slash and not (re.fullmatch(r"[0-9]{1,2}", step) and 1 <= int(step) <= most):
        return False
    if span == "*":
        return True
    ends = [_number(end, least, names) for end in span.split("-")]
    return len(ends) <= 2 and all(least <= end <= most for end in ends) and ends == sorted(ends)


def _number(text: str, least: int, names: tuple[str, ...]) -> int:
    """Returns the value of a number or a name; -1 where it is neither."""
    if text.lower() in names:
        return least + names.index(text.lower())
    return int(text) if re.fullmatch(r"[0-9]{1,2}", text) else -1
