"""Which data set a command means: the description that it names, or that lies in the data folder, or a guess."""

import os
import posixpath
import shlex
from collections.abc import Callable

from components.datasets import files, registry, spans
from components.datasets.spec import SPEC_FILE, DatasetSpec, read_spec, to_toml
from components.errors import DataError
from pipeline.locations import write_file


def find_spec(named: str, folder: str, span: str, tell: Callable[[str], None], remembered: str = "") -> DatasetSpec:
    """Returns the description of the data in a folder.

    Args:
        named: the name of a built-in description or the path of a TOML file; empty where the folder is to tell.
        folder: the data folder, or a pattern of spans.
        span: which spans are meant.
        tell: is told in a sentence or several what was found where nothing was named.
        remembered: a local file for a guess, by which a later run reads the same folder: data that is added, or a stray pixel,
            must not change what the classes are. Empty: a guess is made anew.

    Raises:
        DataError: there is no such description, none fits, or two do.
    """
    if named in registry.BUILT_IN:
        return registry.built_in(named)
    if named:
        if not files.exists(named) and "/" not in named and not named.endswith(".toml"):
            raise DataError(
                f"There is no description {named!r}: expected {', '.join(registry.BUILT_IN)}, or a TOML file's path."
            )
        return read_spec(named)
    newest = spans.resolve_spans(folder, span)[-1].folder if spans.has_span(folder) else folder
    for place in dict.fromkeys((newest, _above_spans(folder))):
        if files.exists(path := files.join(place, SPEC_FILE)):
            tell(f"The description is {path}.")
            return read_spec(path)
    if remembered and files.exists(remembered):
        tell(f"The description is {remembered}, guessed by an earlier run. Correct it there, or give --spec.")
        return read_spec(remembered)
    from components.datasets.guess import guess

    guessed = guess(newest)
    if registry.builder_of(guessed.spec) != registry.CUSTOM:
        tell(f"This is the built-in data set {guessed.spec.name}.")
    elif spans.has_span(folder):
        raise DataError(
            f"{_above_spans(folder)} has no {SPEC_FILE}, and what each span looks like may change: write it down once, by\n"
            f"  vocseg data init {shlex.quote(newest)} --output {shlex.quote(posixpath.join(_above_spans(folder), SPEC_FILE))}"
        )
    else:
        tell("No description was given, and this was guessed (`vocseg data init` writes it down, to be corrected):")
        for note in guessed.notes:
            tell(f"  {note}")
        if remembered:
            os.makedirs(os.path.dirname(remembered), exist_ok=True)
            write_file(remembered, to_toml(guessed.spec).encode())
            tell(f"  Later runs read the data so, too: {remembered}")
    return guessed.spec


def _above_spans(folder: str) -> str:
    """Returns the folder in which the spans of a pattern lie, or the folder itself."""
    return folder.partition(spans.SPAN[:-1])[0].rpartition("/")[0] if spans.has_span(folder) else folder
