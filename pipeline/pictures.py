"""Which pictures a command line names: files, folders, patterns and lists, and where below a folder their results go."""

import glob
import os
import pathlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from components.errors import VocsegError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
"""Of pictures in folders and patterns, in small or capital letters."""

LIST = "-"
"""Stands for a list of paths on the standard input."""

Places = dict[pathlib.Path, pathlib.PurePath]
"""For each picture, the path of its results below the output folder, mostly without suffix."""


def find_pictures(names: Sequence[str], listed: Iterable[bytes], out: pathlib.Path) -> Places:
    """Finds the pictures that are meant; one that is named twice comes once.

    A file's results are named as it is. Those of a folder, a pattern or a list keep their path below it, so that equal names in
    two folders do not clash: below the folder, the pattern's part without wildcards, or what all paths of the list have in
    common; of several such, below what all of them have in common. Where only the endings differ, as of a.jpg and a.png, the
    results keep theirs.

    Args:
        names: files, folders (with all below them, except links to folders and what is hidden), patterns as of the shell with
            `**` for any folders, or "-".
        listed: the lines of the list; read only if "-" is among the names. Its files need not exist.
        out: where results go; if it lies inside a folder or pattern, what is in it are earlier results, and no pictures.

    Returns:
        In the order of the names, sorted within each.

    Raises:
        VocsegError: there is nothing where a name says, or no pictures in it; or a name that nothing can be called after.
    """
    missing = [name for name in names if name != LIST and not _is_pattern(name) and not os.path.exists(name)]
    if missing:
        raise VocsegError(f"There is no file {missing[0]}" + (f", nor {len(missing) - 1} others." if missing[1:] else "."))
    found: dict[str, pathlib.Path] = {}  # By absolute path.
    alone: set[str] = set()
    bases: list[str] = []
    for name in dict.fromkeys(names):
        base, paths = _expand(name, listed, os.path.abspath(out))
        keyed = {os.path.abspath(path): path for path in paths}
        found |= {key: path for key, path in keyed.items() if key not in found}
        if base is None:
            alone.update(keyed)
        else:
            bases.append(base)
    common = os.path.commonpath(bases) if bases else ""
    places = {
        path: pathlib.PurePath(path.name if key in alone else os.path.relpath(key, common)) for key, path in found.items()
    }
    for path, place in places.items():
        if place.stem in ("", ".", ".."):
            raise VocsegError(f"{str(path)!r} cannot be a picture: its results would have no name. Rename or leave it out.")
    stems = Counter(place.with_suffix("") for place in places.values())
    return {path: place if stems[place.with_suffix("")] > 1 else place.with_suffix("") for path, place in places.items()}


def _expand(name: str, listed: Iterable[bytes], out: str) -> tuple[str | None, list[pathlib.Path]]:
    """Returns the folder below which a name's pictures lie, None for a file; and the pictures."""
    if name == LIST:
        found = [_read_line(line) for line in listed if line.strip()]
        base = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in found]) if found else None
        what = "The list on the standard input"
    elif os.path.isdir(name) or _is_pattern(name):
        matches: Iterable[str]
        if os.path.isdir(name):
            base, matches, what = os.path.abspath(name), _walk(name), f"The folder {name}"
        else:
            matches = filter(os.path.isfile, glob.iglob(name, recursive=True))
            base, what = os.path.abspath(_fixed_part(name)), f"The pattern {name}"
        found = [pathlib.Path(path) for path in sorted(matches) if _is_picture(path)]
        if _is_below(out, base):
            found = [path for path in found if not _is_below(os.path.abspath(path), out)]
    else:
        return None, [pathlib.Path(name)]
    if not found:
        raise VocsegError(f"{what} names no pictures; expected {', '.join(sorted(SUFFIXES))}.")
    return base, found


def _read_line(line: bytes) -> pathlib.Path:
    if b"\0" in line:
        raise VocsegError(f"The list on the standard input has a NUL in {line[:60]!r}; expected one path a line.")
    return pathlib.Path(os.fsdecode(line.rstrip(b"\r\n")))


def _walk(folder: str) -> Iterator[str]:
    """Yields the files in a folder and all below it, but for hidden folders and links to folders.

    Raises:
        VocsegError: a folder cannot be listed.
    """

    def fail(error: OSError) -> None:
        raise VocsegError(f"The folder {error.filename} cannot be listed: {error.strerror}.") from error

    for here, folders, files in os.walk(folder, onerror=fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (os.path.join(here, name) for name in files)


def _is_picture(path: str) -> bool:
    name = os.path.basename(path)
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith(".")


def _is_below(path: str, folder: str) -> bool:
    """Tells whether an absolute path lies in a folder, however deep; the folder itself does not."""
    return path != folder and path.startswith(os.path.join(folder, ""))


def _is_pattern(name: str) -> bool:
    """Tells a pattern; a file or folder that has such a name is itself."""
    return glob.has_magic(name) and not os.path.exists(name)


def _fixed_part(pattern: str) -> str:
    """Returns the folder of a pattern that is before all wildcards."""
    parts = pathlib.PurePath(pattern).parts
    fixed = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    return os.path.join(*parts[:fixed]) if fixed else "."
