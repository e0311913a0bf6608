"""The lists of a split: ids or pairs of paths, a line each, from whatever editor."""

import posixpath
import re
from collections.abc import Sequence

from components.datasets import files
from components.errors import DataError


def marks_of(text: bytes) -> list[str]:
    """Returns what an editor or another system has left in a list's bytes, in words."""
    lines = text.splitlines()
    marks = {
        "a byte order mark": text.startswith(b"\xef\xbb\xbf"),
        "CRLF line ends": b"\r\n" in text,
        "blanks around ids": any(line != line.strip() and line.strip() for line in lines),
        "blank lines": any(not line.strip() for line in lines),
        "no line end at its end": bool(lines) and not text.endswith((b"\n", b"\r")),
        "empty": not text.strip(),
    }
    return [mark for mark, there in marks.items() if there]


def read_list(path: str, folder: str = "") -> list[str]:
    """Returns the ids of a split's list; blank lines, blanks around ids, CRLF and a byte order mark are no part of them.

    Args:
        path: of the list.
        folder: the data folder, which the list may not leave, by a link; empty: wherever it is.

    Raises:
        DataError: the list is not text, or an id would leave the data folder or stands twice; all bad lines are named.
    """
    lines = _read_lines(path, folder)
    _refuse(
        path,
        [
            (number, key, "expected the id of an image: a file's name without its ending")
            for number, key in lines
            if not _is_inside(key)
        ],
    )
    _refuse_twice(path, lines)
    return [key for _, key in lines]


def read_pair_list(path: str, prefix: str = "", folder: str = "") -> list[tuple[str, str]]:
    """Returns the (image, mask) paths of a split's list, without the prefix.

    Args:
        path: of the list.
        prefix: what the paths begin with and is no part of them.
        folder: as in `read_list`.

    Raises:
        DataError: as in `read_list`, or a line does not hold two paths.
    """
    lines = _read_lines(path, folder)
    split = [(number, line, line.split()) for number, line in lines]
    _refuse(path, [(number, line, "expected two paths, of image and mask") for number, line, parts in split if len(parts) != 2])
    stripped = [(number, line, [part.removeprefix(prefix) for part in parts]) for number, line, parts in split]
    bad = [
        (number, line, f"expected paths inside the data folder{_behind(prefix)}")
        for number, line, parts in stripped
        if not all(map(_is_inside, parts))
    ]
    _refuse(path, bad)
    # What comes before the ending is the example's key, so it must differ.
    _refuse_twice(path, [(number, posixpath.splitext(parts[0])[0]) for number, _, parts in stripped])
    return [(image, mask) for _, _, (image, mask) in stripped]


def _behind(prefix: str) -> str:
    return f" behind the prefix {prefix}" if prefix else "; what they all begin with can be said: splits.prefix"


def _read_lines(path: str, folder: str) -> list[tuple[int, str]]:
    """Returns number, from 1, and text of each line that is not blank."""
    if folder and not files.stays_inside(path, folder):
        raise DataError(f"The list {path} is a link that leaves the data folder {folder}. Copy it there.")
    try:
        text = files.read_bytes(path).decode("utf-8-sig")
    except OSError as error:
        files.raise_passing(error)
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not a text file in UTF-8: {error}.") from error
    # As editors count lines: `splitlines` would also divide at form feeds and the like.
    lines = re.split(r"\r\n|\r|\n", text)
    return [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]


def _is_inside(path: str) -> bool:
    """Tells whether an id or a path of a list stays below its folder, and is one that a person could have meant."""
    parts = path.split("/")
    return (
        path.isprintable()
        and "\\" not in path
        and ":" not in parts[0]
        and not any(part == "" or part.startswith(".") for part in parts)
    )


def _refuse(path: str, bad: Sequence[tuple[int, str, str]], limit: int = 20) -> None:
    if bad:
        shown = [f"line {number}: {line!r}; {why}" for number, line, why in bad[:limit]]
        rest = [f"... and {len(bad) - limit} more"] if len(bad) > limit else []
        raise DataError("\n  ".join([f"{path} lists what cannot be used:", *shown, *rest]))


def _refuse_twice(path: str, lines: Sequence[tuple[int, str]]) -> None:
    first: dict[str, int] = {}
    again = [(number, key) for number, key in lines if first.setdefault(key, number) != number]
    _refuse(path, [(number, key, f"it stands in line {first[key]} already; remove one") for number, key in again])
