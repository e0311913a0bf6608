"""Data that comes in portions, a folder each: which folders a pattern such as `DIR/span-{SPAN}` means.

The conventions are TFX's (https://www.tensorflow.org/tfx/guide/examplegen#span): a span is a number from 0, `{SPAN}` stands for
its digits, and `{SPAN:2}` for just two, padded with zeros. Other than in TFX, a folder without a number there is passed over.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from components.datasets import files
from components.errors import DataError

SPAN = "{SPAN}"
"""Stands for a span's number in a pattern."""

_SPAN = re.compile(r"\{SPAN(?::(?P<width>[^{}]*))?\}")
_OTHER = re.compile(r"\{(?:VERSION|YYYY|MM|DD)(?::[^{}]*)?\}")

_LISTED = 8
"""So many names an error message gives."""


@dataclass(frozen=True)
class Span:
    """A portion of the data.

    Attributes:
        number: of the span, from 0.
        folder: the pattern with this span's digits in it.
    """

    number: int
    folder: str


@dataclass(frozen=True)
class _Pattern:
    """A pattern cut at the path component that holds the span.

    Attributes:
        parent: the folder whose names are matched.
        head: what stands before the component, as it was written; ends with a slash, or is empty.
        name: matches the component; its only group is the digits.
        tail: what stands behind the component, with its slash, or empty.
    """

    parent: str
    head: str
    name: re.Pattern[str]
    tail: str


def has_span(pattern: str) -> bool:
    """Tells whether a path is a pattern of spans: whether it holds `{SPAN}`, with a width or without."""
    return _SPAN.search(pattern) is not None


def _parse_pattern(pattern: str) -> _Pattern:
    """Cuts a pattern up.

    Raises:
        DataError: there is not exactly one span, its width is no number, or it is not in a folder's name.
    """
    matches = list(_SPAN.finditer(pattern))
    if len(matches) != 1:
        raise DataError(f"Expected {SPAN} once in a pattern of folders; {pattern!r} has it {len(matches)} times.")
    if other := _OTHER.search(pattern):
        raise DataError(f"{pattern!r} holds {other.group()}, which is not supported here. Number the folders, with {SPAN}.")
    width = matches[0]["width"]
    if width is not None and not re.fullmatch("0*[1-9][0-9]?", width):
        raise DataError(
            f"Expected {SPAN}, or a width of 1..99 digits as in {{SPAN:2}}; got {matches[0].group()} in {pattern!r}."
        )
    start = pattern.rfind("/", 0, matches[0].start()) + 1
    end = pattern.find("/", matches[0].end())
    end = len(pattern) if end < 0 else end
    head = pattern[:start]
    if head.endswith("://"):
        raise DataError(f"Expected {SPAN} in the name of a folder; in {pattern!r} it is in the bucket's.")
    digits = f"[0-9]{{{int(width)}}}" if width else "[0-9]+"
    before, behind = re.escape(pattern[start : matches[0].start()]), re.escape(pattern[matches[0].end() : end])
    return _Pattern(
        parent=head.rstrip("/") or ("/" if head else "."),
        head=head,
        name=re.compile(f"{before}({digits}){behind}"),
        tail=pattern[end:].rstrip("/"),
    )


def _names(folder: str) -> list[str] | None:
    """Returns the names in a folder, sorted; None where there is no such folder.

    Raises:
        DataError: the folder cannot be listed.
    """
    try:
        return files.names(folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        files.raise_passing(error)
        raise DataError(f"{folder} cannot be listed: {error.strerror}. Check the path and the rights.") from error


def find_spans(pattern: str) -> list[Span]:
    """Returns the folders that a pattern means, by ascending number; [] where there is none.

    Args:
        pattern: a path, local or remote, with `{SPAN}` or `{SPAN:<width>}` in one component, and perhaps components behind it.

    Raises:
        DataError: the pattern is bad, two folders have one number (span-1 and span-01), or the folder cannot be listed.
    """
    parsed = _parse_pattern(pattern)
    folders: dict[int, str] = {}
    for name in _names(parsed.parent) or []:
        match = parsed.name.fullmatch(name)
        folder = f"{parsed.head}{name}{parsed.tail}"
        if match is None or not files.is_folder(folder):
            continue
        number = int(match[1])
        if number in folders:
            raise DataError(
                f"Expected one folder a span; {folders[number]} and {folder} are both span {number}. "
                "Rename or remove one of them."
            )
        folders[number] = folder
    return [Span(number, folders[number]) for number in sorted(folders)]


def _parse_choice(choice: str) -> int | range:
    """Returns how many of the newest spans are chosen, or the numbers that are.

    Raises:
        DataError: the text is none of those allowed.
    """
    if choice == "newest":
        return 1
    # 18 digits fit into 64 bits.
    if (last := re.fullmatch("last:([0-9]{1,18})", choice)) and int(last[1]) > 0:
        return int(last[1])
    if numbers := re.fullmatch("([0-9]{1,18})(?:-([0-9]{1,18}))?", choice):
        first, last_number = int(numbers[1]), int(numbers[2] or numbers[1])
        if first <= last_number:
            return range(first, last_number + 1)
    raise DataError(
        'Expected spans as "newest", "last:N" (the newest N, at least 1), "A-B" (those from A to B, both included; '
        f'A not above B) or "A" (that one), with numbers from 0; got {choice!r}.'
    )


def check_choice(choice: str) -> None:
    """Checks the text of a choice, before anything is read.

    Raises:
        DataError: the text is none of those that `choose_spans` takes.
    """
    _parse_choice(choice)


def choose_spans(spans: Sequence[Span], choice: str) -> list[Span]:
    """Returns some of the spans, by ascending number.

    Args:
        spans: all there are.
        choice: "newest"; "last:N", the newest N, or all where there are fewer (a rolling window); "A-B", those that there are
            from A to B, both included; "A", that one. The newest is the one with the highest number.

    Raises:
        DataError: the choice is bad, or no span is left.
    """
    wanted = _parse_choice(choice)
    ordered = sorted(spans, key=lambda span: span.number)
    chosen = ordered[-wanted:] if isinstance(wanted, int) else [span for span in ordered if span.number in wanted]
    if not chosen:
        there = ", ".join(str(span.number) for span in ordered[-_LISTED:]) or "none"
        raise DataError(
            f"Expected at least one span of the choice {choice!r}, but there is none. "
            f"There are: {'..., ' if len(ordered) > _LISTED else ''}{there}. Choose among them, or add the data."
        )
    return chosen


def resolve_spans(pattern: str, choice: str) -> list[Span]:
    """Returns the chosen ones among the folders that a pattern means, by ascending number.

    Raises:
        DataError: see `find_spans` and `choose_spans`; or no folder matches the pattern.
    """
    check_choice(choice)
    spans = find_spans(pattern)
    if not spans:
        there = _describe(_parse_pattern(pattern).parent)
        raise DataError(f"{pattern} matches no folder: expected, for instance, {_example(pattern)}. {there}")
    return choose_spans(spans, choice)


def _example(pattern: str) -> str:
    return _SPAN.sub(lambda match: "1".zfill(int(match["width"] or 1)), pattern)


def _describe(folder: str) -> str:
    names = _names(folder)
    if names is None:
        return f"There is no folder {folder}."
    return f"{folder} holds: {', '.join(names[:_LISTED]) or 'nothing'}{', ...' if len(names) > _LISTED else ''}."
